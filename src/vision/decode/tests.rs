use super::*;
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
    // 6: turn 90 degrees clockwise, which moves the left bottom corner to the
    // left top.
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

/// Returns an RGB PNG whose header has this size, without a pixel.
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

/// Returns a whole JPEG whose header has another size.
fn jpeg_claiming(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg();
    let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[sof + 5..sof + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[sof + 7..sof + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
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
    assert!(decode(&jpeg_claiming(4000, 3001)).is_ok());
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
    [picture, b"\xff\xda", end].concat()
}

#[test]
fn i8_a_large_photo_is_decoded_at_half_its_size_or_refused() {
    let size = |bytes: &[u8]| {
        decode_photo(bytes).map(|(image, step)| ((image.width(), image.height()), step))
    };
    assert_eq!(size(&jpeg_claiming(4000, 3000)), Ok(((4000, 3000), 1)));
    assert_eq!(size(&jpeg_claiming(4000, 3001)), Ok(((2000, 1501), 2)));
    assert_eq!(size(&oriented(&jpeg_claiming(8000, 6000), 6)), Ok(((3000, 4000), 2)));
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
    assert_eq!(jpeg::scans(&jpeg), 1);
    assert_eq!(jpeg::scans(&with_two_scans(&jpeg)), 2);
    let thumbnail = [&b"\xff\xe1\x00\x06\xff\xda\xff\xd9"[..], &jpeg[2..]].concat();
    assert_eq!(jpeg::scans(&[&jpeg[..2], &thumbnail].concat()), 1);
    assert_eq!(jpeg::scans(&[&jpeg[..], &jpeg[..]].concat()), 1);
    (0..jpeg.len()).for_each(|end| assert!(jpeg::scans(&jpeg[..end]) <= 1));
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
