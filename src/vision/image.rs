//! Photos and frames into pixels.
//!
//! The bytes come from outside (a camera on the network, a file somebody
//! uploaded), so they are taken for hostile: the format is told by its magic
//! number, the size is checked in the header before a pixel is decoded, and
//! whatever the decoder does ends as a [`DecodeError`].

use std::fmt;
use std::io::Cursor;
use std::panic::{UnwindSafe, catch_unwind};

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits, RgbImage};

use super::jpeg::{self, Jpeg, Scale};

/// Longest side accepted, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Most pixels accepted: 50 Mpx, what the largest phone cameras take. Decoded
/// that is 150 MB, and twice that while an EXIF rotation is carried out.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Most pixels accepted of a camera at a gate, where several frames are in
/// memory at once: 12 Mpx, more than a 4K camera's. Decoded that is 36 MB,
/// twice that while an EXIF rotation is carried out, and 72 MB more while a
/// progressive JPEG is decoded.
pub const MAX_FRAME_PIXELS: u64 = 12_000_000;
/// Most bytes a pixel the decoder may be asked to fill, on average over the
/// most pixels accepted. Only a PNG with 16 bits a channel reaches this first.
const MAX_BYTES_PER_PIXEL: u64 = 4;

pub(super) const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";
const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A picture: RGB, 8 bits a channel, row-major, no padding between rows.
/// Neither side is 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// Why bytes are not a picture this program looks at.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("it is neither a JPEG nor a PNG")]
    UnknownFormat,
    #[error("the {format} is damaged: {why}")]
    Damaged { format: &'static str, why: String },
    #[error(
        "it is {width} x {height} pixels, more than this program takes \
         ({MAX_SIDE} a side, {} million in all)",
        .most / 1_000_000
    )]
    TooLarge { width: u32, height: u32, most: u64 },
    #[error("{width} x {height} RGB pixels do not make {bytes} bytes")]
    WrongLength { width: u32, height: u32, bytes: usize },
}

impl Image {
    /// Takes pixels that are decoded already: `rgb` holds 3 * width * height
    /// bytes. The limits of [`decode`] hold here too.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Image, DecodeError> {
        check_size(width, height, MAX_PIXELS)?;
        if rgb.len() as u64 != u64::from(width) * u64::from(height) * 3 || rgb.is_empty() {
            return Err(DecodeError::WrongLength { width, height, bytes: rgb.len() });
        }
        Ok(Image { width, height, rgb })
    }

    /// In pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// In pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// 3 * width * height bytes: R, G, B of the first pixel of the top row,
    /// and so on.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

/// Size only: a picture of a person does not belong in a log.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} x {})", self.width, self.height)
    }
}

/// Decodes a photo of at most [`MAX_PIXELS`], a JPEG or PNG, upright: an EXIF orientation is carried out.
/// Transparency is dropped, 16-bit channels are reduced to 8.
///
/// A JPEG cut off in its pixel data decodes, with the missing part grey; torn
/// camera frames are common, and the face may be in the part that came.
pub fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    decode_within(bytes, MAX_PIXELS)
}

/// As [`decode`], a camera's frame of at most [`MAX_FRAME_PIXELS`].
pub fn decode_frame(bytes: &[u8]) -> Result<Image, DecodeError> {
    decode_within(bytes, MAX_FRAME_PIXELS)
}

fn decode_within(bytes: &[u8], most: u64) -> Result<Image, DecodeError> {
    let format = if bytes.starts_with(JPEG_MAGIC) {
        "JPEG"
    } else if bytes.starts_with(PNG_MAGIC) {
        "PNG"
    } else {
        return Err(DecodeError::UnknownFormat);
    };
    guarded(format, || match format {
        "JPEG" => {
            jpeg::check_scans(bytes)?;
            jpeg_pixels(bytes, most, Scale::Full)
        }
        _ => png_pixels(bytes, most),
    })
}

/// The decoders are other people's code reading other people's bytes. One
/// that unwinds (libjpeg does so by design, a panic would be a fault) costs
/// this picture and not the lane.
pub(super) fn guarded<T>(
    format: &'static str,
    decode: impl FnOnce() -> Result<T, DecodeError> + UnwindSafe,
) -> Result<T, DecodeError> {
    catch_unwind(decode).unwrap_or_else(|reason| {
        let why = match reason.downcast::<String>() {
            Ok(message) => *message,
            Err(_) => "the decoder gave up on it".to_owned(),
        };
        Err(DecodeError::Damaged { format, why })
    })
}

/// Upright. Unwinds: see [`guarded`].
pub(super) fn jpeg_pixels(bytes: &[u8], most: u64, scale: Scale) -> Result<Image, DecodeError> {
    let Jpeg { width, height, rgb, orientation } = jpeg::decode(bytes, most, scale)?;
    if orientation == Orientation::NoTransforms {
        return Image::from_rgb(width, height, rgb);
    }
    let found = rgb.len();
    let pixels = RgbImage::from_raw(width, height, rgb).ok_or(DecodeError::WrongLength {
        width,
        height,
        bytes: found,
    })?;
    upright(DynamicImage::ImageRgb8(pixels), orientation)
}

fn png_pixels(bytes: &[u8], most: u64) -> Result<Image, DecodeError> {
    let damaged =
        |error: ImageError| DecodeError::Damaged { format: "PNG", why: error.to_string() };
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits(most)).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, most)?;
    if decoder.total_bytes() > most * MAX_BYTES_PER_PIXEL {
        return Err(DecodeError::TooLarge { width, height, most });
    }
    // Unreadable EXIF is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    upright(DynamicImage::from_decoder(decoder).map_err(damaged)?, orientation)
}

fn upright(mut image: DynamicImage, orientation: Orientation) -> Result<Image, DecodeError> {
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    Image::from_rgb(width, height, image.into_raw())
}

/// Sides have no limit here: [`check_size`] looks at them, and has better words.
fn limits(most: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(most * MAX_BYTES_PER_PIXEL);
    limits
}

/// `most`: pixels.
pub(super) fn check_size(width: u32, height: u32, most: u64) -> Result<(), DecodeError> {
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > most {
        return Err(DecodeError::TooLarge { width, height, most });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A 6 x 4 gradient, so that rotations show.
    fn gradient() -> Image {
        let rgb =
            (0..6 * 4u32).flat_map(|i| [(i % 6 * 40) as u8, (i / 6 * 60) as u8, 128]).collect();
        Image::from_rgb(6, 4, rgb).unwrap()
    }

    fn encoded(image: &Image, format: image::ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image::RgbImage::from_raw(image.width(), image.height(), image.rgb().to_vec())
            .unwrap()
            .write_to(&mut out, format)
            .unwrap();
        out.into_inner()
    }

    fn png() -> Vec<u8> {
        encoded(&gradient(), image::ImageFormat::Png)
    }

    fn jpeg() -> Vec<u8> {
        encoded(&gradient(), image::ImageFormat::Jpeg)
    }

    /// `jpeg` with an EXIF segment that holds nothing but the orientation.
    fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let mut out = vec![0xff, 0xd8, 0xff, 0xe1];
        out.extend(((exif.len() + 2) as u16).to_be_bytes());
        out.extend(exif);
        out.extend(&jpeg[2..]);
        out
    }

    #[test]
    fn png_comes_back_exactly() {
        assert_eq!(decode(&png()).unwrap(), gradient());
    }

    #[test]
    fn exif_orientation_turns_the_picture_upright() {
        let plain = decode(&jpeg()).unwrap();
        assert_eq!((plain.width(), plain.height()), (6, 4));
        let turned = decode(&oriented(&jpeg(), 6)).unwrap();
        assert_eq!((turned.width(), turned.height()), (4, 6));
        // 6: turn 90 degrees clockwise, so the left bottom corner comes to
        // the left top.
        assert_eq!(turned.rgb()[..3], plain.rgb()[3 * 6 * 3..3 * 6 * 3 + 3]);
    }

    #[test]
    fn garbage_is_refused_by_its_magic() {
        for bytes in [&b""[..], b"GIF89a", b"\xff\xd8", b"BM", &[0; 64]] {
            assert_eq!(decode(bytes), Err(DecodeError::UnknownFormat));
        }
    }

    #[test]
    fn a_cut_off_png_is_damaged() {
        let png = png();
        let error = decode(&png[..png.len() / 2]).unwrap_err();
        assert!(matches!(error, DecodeError::Damaged { format: "PNG", .. }));
    }

    #[test]
    fn a_jpeg_without_a_picture_is_damaged_and_says_why() {
        let error = decode(&jpeg()[..20]).unwrap_err();
        let DecodeError::Damaged { format: "JPEG", why } = error else {
            panic!("{error}");
        };
        assert!(!why.is_empty());
    }

    /// A PNG that claims a size and holds no pixel; RGB.
    fn png_header(width: u32, height: u32, bits: u8) -> Vec<u8> {
        let mut png = PNG_MAGIC.to_vec();
        let mut ihdr = b"IHDR".to_vec();
        ihdr.extend(width.to_be_bytes());
        ihdr.extend(height.to_be_bytes());
        ihdr.extend([bits, 2, 0, 0, 0]);
        png.extend(13u32.to_be_bytes());
        png.extend(&ihdr);
        png.extend(crc32(&ihdr).to_be_bytes());
        png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
        png
    }

    /// A whole JPEG whose header claims another size.
    fn jpeg_claiming(width: u16, height: u16) -> Vec<u8> {
        let mut jpeg = jpeg();
        let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        jpeg[sof + 5..sof + 7].copy_from_slice(&height.to_be_bytes());
        jpeg[sof + 7..sof + 9].copy_from_slice(&width.to_be_bytes());
        jpeg
    }

    #[test]
    fn a_frame_is_refused_where_a_photo_of_its_size_is_taken() {
        let too_large = |bytes: &[u8]| match decode_frame(bytes) {
            Err(DecodeError::TooLarge { most, .. }) => most == MAX_FRAME_PIXELS,
            _ => false,
        };
        assert_eq!(decode_frame(&png()), decode(&png()));
        assert_eq!(decode_frame(&oriented(&jpeg(), 6)), decode(&oriented(&jpeg(), 6)));
        // 12 Mpx, and one row more.
        let largest = decode_frame(&jpeg_claiming(4000, 3000)).unwrap();
        assert_eq!((largest.width(), largest.height()), (4000, 3000));
        assert!(too_large(&jpeg_claiming(4000, 3001)));
        assert!(decode(&jpeg_claiming(4000, 3001)).is_ok());
        assert!(!too_large(&png_header(4000, 3000, 8)));
        assert!(too_large(&png_header(4000, 3001, 8)));
        // 16 bits a channel: 72 MB before they are reduced.
        assert!(too_large(&png_header(4000, 3000, 16)));
        let error = decode_frame(&jpeg_claiming(4000, 3001)).unwrap_err();
        assert!(error.to_string().contains("12 million in all"), "{error}");
    }

    #[test]
    fn a_huge_header_is_refused_before_a_pixel_is_made() {
        for (width, height) in [(16_385u32, 1u32), (10_000, 10_000), (u32::MAX >> 1, 2)] {
            let png = png_header(width, height, 8);
            let error = decode(&png).unwrap_err();
            // The decoder's own limit may speak first; either names a limit.
            assert!(
                matches!(error, DecodeError::TooLarge { .. })
                    || error.to_string().contains("limit"),
                "{error}"
            );
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    #[test]
    fn pixels_that_do_not_fill_the_picture_are_refused() {
        assert!(Image::from_rgb(2, 2, vec![0; 11]).is_err());
        assert!(Image::from_rgb(0, 2, vec![]).is_err());
        assert!(Image::from_rgb(16_385, 1, vec![0; 3 * 16_385]).is_err());
    }

    proptest! {
        #[test]
        fn mutated_pictures_never_panic(
            jpg in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut bytes = if jpg { oriented(&jpeg(), 3) } else { png() };
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let keep = keep.index(bytes.len() + 1);
            let _ = decode(&bytes);
            let _ = decode_frame(&bytes[..keep]);
        }
    }
}
