//! Photos and frames into pixels.
//!
//! The bytes come from outside (a camera on the network, an uploaded file), so
//! they may be hostile. The magic number decides the format, and the size in
//! the header is checked before a pixel is decoded. Every failure of a decoder,
//! even a panic, becomes a [`DecodeError`].

mod container;

use std::io::{Cursor, ErrorKind};
use std::panic::{UnwindSafe, catch_unwind};

use image::codecs::{bmp::BmpDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageResult, Limits};

use super::format::Format;
use super::image::{DecodeError, Image, MAX_FRAME_PIXELS, MAX_PIXELS, check_size};
use super::jpeg::{self, Scale};

/// Maximum number of bytes a pixel that a decoder may allocate, at the maximum
/// number of pixels. Only a picture with 16 bits a channel reaches this limit first.
const MAX_BYTES_PER_PIXEL: u64 = 4;

pub(super) const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";

/// Decodes a photo of at most [`MAX_PIXELS`], and turns it upright by its EXIF orientation.
/// Transparency is dropped, and 16-bit channels are reduced to 8.
///
/// A photo that is cut off or damaged is refused, as far as its format shows that. What follows after
/// the picture's end does not count.
pub fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    Ok(decode_whole(bytes, MAX_PIXELS, MAX_PIXELS)?.0)
}

/// Decodes a photo as [`decode`] does, into at most some [`MAX_FRAME_PIXELS`]. Returns also the number of
/// pixels of the photo, along a side, that one pixel stands for.
///
/// A larger JPEG is decoded at half its width and height. A larger picture of another format, and a
/// larger JPEG of several scans, would need all pixels in memory at once: it is refused.
pub(super) fn decode_photo(bytes: &[u8]) -> Result<(Image, u32), DecodeError> {
    decode_whole(bytes, MAX_PIXELS, MAX_FRAME_PIXELS)
}

/// Decodes a camera's frame of at most [`MAX_FRAME_PIXELS`], a JPEG or PNG, as [`decode`] does.
///
/// A JPEG that was cut off in its pixel data decodes with the missing part
/// grey. Cut-off camera frames are common, and the face may be in the rest.
pub fn decode_frame(bytes: &[u8]) -> Result<Image, DecodeError> {
    match Format::of(bytes)? {
        Format::Jpeg => {
            jpeg::check_scans(jpeg::outline(bytes))?;
            guarded("JPEG", || jpeg::decode(bytes, MAX_FRAME_PIXELS, Scale::Full))
        }
        Format::Png => guarded("PNG", || png_pixels(bytes, MAX_FRAME_PIXELS)),
        Format::WebP | Format::Bmp | Format::Tiff => Err(DecodeError::UnknownFormat),
    }
}

/// Decodes a photo into at most some `at_once` pixels.
fn decode_whole(bytes: &[u8], most: u64, at_once: u64) -> Result<(Image, u32), DecodeError> {
    let format = Format::of(bytes)?;
    let bytes = container::whole(format, bytes, at_once)?;
    let image = match format {
        Format::Jpeg => return whole_jpeg(bytes, most, at_once),
        Format::Png => guarded("PNG", || png_pixels(bytes, at_once)),
        Format::WebP => {
            guarded("WebP", || pixels_of(format, WebPDecoder::new(Cursor::new(bytes)), at_once))
        }
        Format::Bmp => {
            guarded("BMP", || pixels_of(format, BmpDecoder::new(Cursor::new(bytes)), at_once))
        }
        Format::Tiff => {
            guarded("TIFF", || pixels_of(format, TiffDecoder::new(Cursor::new(bytes)), at_once))
        }
    };
    Ok((image?, 1))
}

fn whole_jpeg(picture: &[u8], most: u64, at_once: u64) -> Result<(Image, u32), DecodeError> {
    let outline = jpeg::outline(picture);
    jpeg::check_scans(outline)?;
    let decoded = |padded: bool| {
        let most = if outline.scans > 1 { at_once } else { most };
        let header = jpeg::header(picture, most)?;
        let large = u64::from(header.width) * u64::from(header.height) > at_once;
        let scale = if large { Scale::Half } else { Scale::Full };
        Ok((jpeg::decode_whole(picture, most, scale, padded)?, scale.step()))
    };
    // Zeros before the end may be pixel data: a plain area in the shortest code.
    guarded("JPEG", || decoded(false)).or_else(|_| guarded("JPEG", || decoded(true)))
}

/// Runs a decoder and turns unwinding into a [`DecodeError`]. A bad picture
/// then costs only itself, and not the lane. The JPEG decoder unwinds by
/// design; a panic of another decoder would be a fault.
pub(super) fn guarded<T>(
    format: &'static str,
    decode: impl FnOnce() -> Result<T, DecodeError> + UnwindSafe,
) -> Result<T, DecodeError> {
    catch_unwind(decode).unwrap_or_else(|reason| {
        let why = match reason.downcast::<String>() {
            Ok(message) => *message,
            Err(_) => "the decoder failed".to_owned(),
        };
        Err(DecodeError::Damaged { format, why })
    })
}

fn png_pixels(bytes: &[u8], most: u64) -> Result<Image, DecodeError> {
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits(most));
    pixels_of(Format::Png, decoder, most)
}

fn pixels_of<D: ImageDecoder>(
    format: Format,
    decoder: ImageResult<D>,
    most: u64,
) -> Result<Image, DecodeError> {
    let failed = |error: ImageError| match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeError::CutOff { format: format.name() }
        }
        error => DecodeError::Damaged { format: format.name(), why: error.to_string() },
    };
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, most)?;
    if decoder.total_bytes() > most * MAX_BYTES_PER_PIXEL {
        return Err(DecodeError::TooLarge { width, height, most });
    }
    decoder.set_limits(limits(most)).map_err(failed)?;
    // Unreadable EXIF is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    Image::from_rgb(width, height, image.into_raw())
}

/// Returns the PNG decoder's limit of memory. [`check_size`] limits the sides, with a better
/// message.
fn limits(most: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(most * MAX_BYTES_PER_PIXEL);
    limits
}

#[cfg(test)]
mod tests;
