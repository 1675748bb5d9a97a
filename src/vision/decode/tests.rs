use super::*;
use crate::vision::jpeg::MAX_SCANS;
use proptest::prelude::*;

/// Returns a 6 x 4 gradient, in which rotations are visible.
fn gradient() -> Image {
    let rgb = (0..6 * 4u32).flat_map(|i| [(i % 6 * 40) as u8, (i / 6 * 60) as u8, 128]).collect();
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

/// Returns `jpeg` with an EXIF segment that holds only the orientation.
fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut out = vec![0xff, 0xd8, 0xff, 0xe1];
    out.extend(((exif.len() + 2) as u16).to_be_bytes());
    out.extend(exif);
    out.extend(&jpeg[2..]);
    out
}

/// A build without an assembler works, and takes up to three times as long for each picture.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn this_build_decodes_with_the_cpus_vectors() {
    assert!(
        crate::vision::decodes_with_vectors(),
        "install nasm, run `cargo clean --release -p mozjpeg-sys -p openh264-sys2`, and build again"
    );
}

#[test]
fn png_comes_back_exactly() {
    assert_eq!(decode(&png()).unwrap(), gradient());
}

#[test]
fn each_exif_orientation_turns_the_picture_upright() {
    let plain = decode(&jpeg()).unwrap();
    assert_eq!((plain.width(), plain.height()), (6, 4));
    let upright = |orientation| {
        let mut image = DynamicImage::ImageRgb8(plain.clone().into_pixels());
        image.apply_orientation(Orientation::from_exif(orientation).unwrap());
        let (width, height) = (image.width(), image.height());
        Image::from_rgb(width, height, image.into_rgb8().into_raw()).unwrap()
    };
    // 6: turn 90 degrees clockwise, which moves the left bottom corner to the left top.
    assert_eq!(upright(6).rgb()[..3], plain.rgb()[3 * 6 * 3..3 * 6 * 3 + 3]);
    for orientation in 1..=8 {
        let turned = oriented(&jpeg(), orientation);
        assert!(decode(&turned).unwrap() == upright(orientation), "{orientation}");
        assert!(decode_frame(&turned).unwrap() == upright(orientation), "{orientation}");
    }
}

#[test]
fn garbage_is_refused_by_its_magic() {
    for bytes in [&b"\xff\xd8"[..], b"BM\x01\x02", &[0xa5; 64]] {
        assert_eq!(decode(bytes), Err(DecodeError::UnknownFormat));
        assert_eq!(decode_frame(bytes), Err(DecodeError::UnknownFormat));
    }
}

#[test]
fn a_jpeg_without_a_picture_is_damaged_and_says_why() {
    let error = decode_frame(&jpeg()[..20]).unwrap_err();
    let DecodeError::Damaged { format: "JPEG", why } = error else {
        panic!("{error}");
    };
    assert!(!why.is_empty());
}

/// Returns an RGB PNG whose header has this size, without a pixel.
fn png_header(width: u32, height: u32, bits: u8) -> Vec<u8> {
    let mut png = png()[..8].to_vec();
    let mut ihdr = b"IHDR".to_vec();
    ihdr.extend(width.to_be_bytes());
    ihdr.extend(height.to_be_bytes());
    ihdr.extend([bits, 2, 0, 0, 0]);
    png.extend(13u32.to_be_bytes());
    png.extend(&ihdr);
    png.extend(crc32(&ihdr).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    png
}

/// Returns a whole JPEG whose header has another size.
fn jpeg_claiming(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg();
    let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[sof + 5..sof + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[sof + 7..sof + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

fn grey(width: u32, height: u32) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let grey = image::GrayImage::from_pixel(width, height, image::Luma([90]));
    grey.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
    out.into_inner()
}

#[test]
fn a_frame_of_a_size_that_is_allowed_for_photos_is_refused() {
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
    assert!(decode(&grey(4000, 3001)).is_ok());
    assert!(!too_large(&png_header(4000, 3000, 8)));
    assert!(too_large(&png_header(4000, 3001, 8)));
    // 16 bits a channel need 72 MB before they are reduced.
    assert!(too_large(&png_header(4000, 3000, 16)));
    let error = decode_frame(&jpeg_claiming(4000, 3001)).unwrap_err();
    assert!(error.to_string().contains("12 million in all"), "{error}");
}

/// Returns the JPEG with a second scan, as a progressive one has.
fn with_two_scans(jpeg: &[u8]) -> Vec<u8> {
    let (picture, end) = jpeg.split_at(jpeg.len() - 2);
    [picture, b"\xff\xda\0\x02", end].concat()
}

#[test]
fn i8_a_large_photo_is_decoded_at_half_its_size_or_refused() {
    let size = |bytes: &[u8]| {
        decode_photo(bytes).map(|(image, step)| ((image.width(), image.height()), step))
    };
    assert_eq!(size(&grey(4000, 3000)), Ok(((4000, 3000), 1)));
    assert_eq!(size(&grey(4000, 3001)), Ok(((2000, 1501), 2)));
    assert_eq!(size(&oriented(&grey(4000, 3200), 6)), Ok(((1600, 2000), 2)));
    let too_large = |bytes: &[u8]| matches!(size(bytes), Err(DecodeError::TooLarge { .. }));
    assert!(too_large(&jpeg_claiming(10_000, 6000)));
    // These need all pixels in memory at once.
    assert!(!too_large(&with_two_scans(&jpeg_claiming(4000, 3000))));
    assert!(too_large(&with_two_scans(&jpeg_claiming(4000, 3001))));
    assert!(too_large(&png_header(4000, 3001, 8)));
}

#[test]
fn scans_of_a_thumbnail_and_after_the_end_do_not_count() {
    let jpeg = jpeg();
    let scans = |bytes: &[u8]| jpeg::outline(bytes).scans;
    assert_eq!(jpeg::outline(&jpeg), jpeg::Outline { scans: 1, length: Some(jpeg.len()) });
    assert_eq!(scans(&with_two_scans(&jpeg)), 2);
    let thumbnail = [&b"\xff\xe1\x00\x06\xff\xda\xff\xd9"[..], &jpeg[2..]].concat();
    assert_eq!(scans(&[&jpeg[..2], &thumbnail].concat()), 1);
    for end in 0..jpeg.len() {
        let outline = jpeg::outline(&jpeg[..end]);
        assert!(outline.scans <= 1 && outline.length.is_none(), "{end}: {outline:?}");
    }
    // A film, and a gallery of pictures.
    let film = [&b"\0\0\0\x18ftypmp42"[..], &b"\xff\xda\0\x02".repeat(MAX_SCANS + 1)].concat();
    for behind in [&film, &jpeg.repeat(MAX_SCANS + 1)] {
        let photo = [&jpeg[..], behind].concat();
        assert_eq!(jpeg::outline(&photo), jpeg::outline(&jpeg));
        assert_eq!(decode(&photo), decode(&jpeg));
        assert_eq!(decode_frame(&photo), decode_frame(&jpeg));
    }
}

/// Returns a picture with noise, so that a scan has many bytes.
fn noise(width: u32, height: u32) -> Image {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    Image::from_rgb(width, height, (0..3 * width * height).map(|_| next()).collect()).unwrap()
}

#[test]
fn a_photo_that_is_cut_off_at_any_byte_is_refused_and_a_frame_is_not() {
    use image::ImageFormat::{Bmp, Jpeg, Png, Tiff, WebP};
    let picture = noise(40, 24);
    for format in [Jpeg, Png, WebP, Bmp, Tiff] {
        let whole = encoded(&picture, format);
        let (image, step) = decode_photo(&whole).unwrap();
        assert_eq!(((image.width(), image.height()), step), ((40, 24), 1), "{format:?}");
        assert!(format == Jpeg || image == picture, "{format:?}");
        for end in 0..whole.len() {
            let cut = decode_photo(&whole[..end]);
            assert!(cut.is_err(), "{format:?}: {end} of {}", whole.len());
            if end > whole.len() / 2 {
                assert!(matches!(cut, Err(DecodeError::CutOff { .. })), "{format:?}: {cut:?}");
            }
        }
        // What a copying program appends does no harm.
        let behind = decode_photo(&[&whole[..], &[0; 300]].concat());
        assert!(behind.is_ok_and(|(behind, _)| behind == image), "{format:?}");
    }
    let jpeg = encoded(&picture, Jpeg);
    let frame = decode_frame(&jpeg[..jpeg.len() * 3 / 4]).unwrap();
    assert_eq!((frame.width(), frame.height()), (40, 24));
}

/// A copy that was interrupted may have its full length, with zeros in place of the rest.
#[test]
fn a_photo_whose_rest_or_middle_is_zeros_is_refused() {
    let jpeg = encoded(&noise(40, 24), image::ImageFormat::Jpeg);
    let scan = jpeg.windows(2).position(|two| two == [0xff, 0xda]).unwrap() + 14;
    for from in (scan..jpeg.len()).step_by(16) {
        let zeros = [&jpeg[..from], &vec![0; jpeg.len() - from]].concat();
        assert_eq!(decode(&zeros), Err(DecodeError::CutOff { format: "JPEG" }), "{from}");
    }
    for from in (scan..jpeg.len() - 300).step_by(16) {
        let mut hole = jpeg.clone();
        hole[from..from + 64].fill(0);
        assert!(matches!(decode(&hole), Err(DecodeError::Damaged { .. })), "{from}");
        assert!(decode_frame(&hole).is_ok(), "{from}");
    }
}

#[test]
fn a_damaged_png_is_refused() {
    let png = encoded(&noise(40, 24), image::ImageFormat::Png);
    let data = png.windows(4).position(|four| four == b"IDAT").unwrap() + 4;
    for at in (data..png.len() - 16).step_by(32) {
        let mut damaged = png.clone();
        damaged[at] ^= 1;
        assert!(matches!(decode(&damaged), Err(DecodeError::Damaged { .. })), "{at}");
    }
}

#[test]
fn a_jpeg_whose_pixel_data_end_with_zeros_is_whole() {
    let (width, height) = (64, 400);
    let mut encoder = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_GRAYSCALE);
    encoder.set_size(width, height);
    encoder.set_fastest_defaults();
    encoder.set_optimize_coding(true);
    let pixels: Vec<u8> = (0..width * height)
        .map(|at| if at < 64 * 16 { (at * 37 % 251) as u8 } else { 128 })
        .collect();
    let mut started = encoder.start_compress(Vec::new()).unwrap();
    started.write_scanlines(&pixels).unwrap();
    let jpeg = started.finish().unwrap();
    let data = &jpeg[..jpeg.len() - 2];
    assert!(data.ends_with(&[0; 4]) || data[..data.len() - 1].ends_with(&[0; 4]), "{data:?}");
    let image = decode(&jpeg).unwrap();
    assert_eq!((image.width(), image.height()), (64, 400));
}

#[test]
fn a_byte_or_zeros_before_the_end_of_a_jpeg_are_no_damage_and_more_is() {
    let jpeg = encoded(&noise(40, 24), image::ImageFormat::Jpeg);
    let (data, end) = jpeg.split_at(jpeg.len() - 2);
    let with = |more: &[u8]| decode(&[data, more, end].concat());
    let whole = decode(&jpeg).unwrap();
    for more in [&[][..], b"\x7f", b"\0", &[0; 500], b"\xff\xff\xff"] {
        assert_eq!(with(more).as_ref(), Ok(&whole), "{more:?}");
    }
    let error = with(b"more data than the picture has").unwrap_err();
    assert!(matches!(error, DecodeError::Damaged { .. }), "{error}");
}

/// Returns a JPEG of four inks, as Adobe's programs write them. `inks`: JCS_CMYK or JCS_YCCK.
fn in_inks(picture: &Image, inks: mozjpeg::ColorSpace) -> Vec<u8> {
    let mut jpeg = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_CMYK);
    jpeg.set_size(picture.width() as usize, picture.height() as usize);
    jpeg.set_color_space(inks);
    jpeg.set_quality(95.0);
    let mut jpeg = jpeg.start_compress(Vec::new()).unwrap();
    // No black: the other inks alone.
    let paper = picture.rgb().as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]);
    jpeg.write_scanlines(&paper.collect::<Vec<u8>>()).unwrap();
    jpeg.finish().unwrap()
}

#[test]
fn a_jpeg_of_four_inks_has_its_colours() {
    let picture = Image::from_rgb(16, 16, [30, 200, 90].repeat(256)).unwrap();
    for inks in [mozjpeg::ColorSpace::JCS_CMYK, mozjpeg::ColorSpace::JCS_YCCK] {
        let jpeg = in_inks(&picture, inks);
        let decoded = decode(&jpeg).unwrap();
        let differs = |(a, b): (&u8, &u8)| a.abs_diff(*b);
        let most = decoded.rgb().iter().zip(picture.rgb()).map(differs).max();
        assert!(most.is_some_and(|most| most < 8), "{inks:?}: {most:?}");
        assert!(decode(&jpeg[..jpeg.len() - 2]).is_err());
    }
}

#[test]
fn i8_a_webp_whose_pixels_have_another_size_than_its_header_is_refused_before_decoding() {
    let webp = encoded(&gradient(), image::ImageFormat::WebP);
    let mut canvas = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x05\0\0\x03\0\0".to_vec();
    canvas.extend(&webp[12..]);
    let set_length = |webp: &mut Vec<u8>| {
        let length = (webp.len() as u32 - 8).to_le_bytes();
        webp[4..8].copy_from_slice(&length);
    };
    set_length(&mut canvas);
    assert_eq!(decode(&canvas), Ok(gradient()));
    // 16,383 x 16,383 pixels in the chunk VP8.
    let mut hostile = canvas[..30].to_vec();
    hostile.extend(b"VP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f");
    set_length(&mut hostile);
    let error = decode(&hostile).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { width: 16_383, .. }), "{error}");
    // A chunk beyond the end.
    let mut cut = canvas.clone();
    cut.extend(b"EXIF\xff\xff\xff\xff");
    set_length(&mut cut);
    assert_eq!(decode(&cut), Err(DecodeError::CutOff { format: "WebP" }));
    let mut film = canvas[..30].to_vec();
    film.extend(b"ANIM\x06\0\0\0\0\0\0\0\0\0");
    set_length(&mut film);
    assert!(matches!(decode(&film), Err(DecodeError::Foreign { .. })));
}

#[test]
fn a_huge_size_in_the_header_is_refused_before_decoding() {
    for (width, height) in [(16_385u32, 1u32), (10_000, 10_000), (u32::MAX >> 1, 2)] {
        let png = png_header(width, height, 8);
        let error = decode(&png).unwrap_err();
        // The decoder's own limit may refuse it first. Both messages name a limit.
        assert!(
            matches!(error, DecodeError::TooLarge { .. }) || error.to_string().contains("limit"),
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
        format in prop::sample::select(vec![
            image::ImageFormat::Jpeg,
            image::ImageFormat::Png,
            image::ImageFormat::WebP,
            image::ImageFormat::Bmp,
            image::ImageFormat::Tiff,
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&gradient(), format);
        if format == image::ImageFormat::Jpeg {
            bytes = oriented(&bytes, 3);
        }
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let keep = keep.index(bytes.len() + 1);
        let _ = decode_photo(&bytes);
        let _ = decode_photo(&bytes[..keep]);
        let _ = decode_frame(&bytes[..keep]);
    }
}
