//! Photos and frames into pixels.
//!
//! The bytes come from outside (a camera on the network, an uploaded file), so
//! they may be hostile. The magic number decides the format, and the size in
//! the header is checked before a pixel is decoded. Every failure of a decoder,
//! even a panic, becomes a [`DecodeError`].

use std::io::Cursor;
use std::panic::{UnwindSafe, catch_unwind};

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};

use super::image::{DecodeError, Image, MAX_FRAME_PIXELS, MAX_PIXELS, check_size};
use super::jpeg::{self, Jpeg, Scale};

/// Maximum number of bytes a pixel that a decoder may allocate, at the maximum
/// number of pixels. Only a PNG with 16 bits a channel reaches this limit first.
const MAX_BYTES_PER_PIXEL: u64 = 4;

pub(super) const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";
const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Decodes a photo of at most [`MAX_PIXELS`], a JPEG or PNG, and turns it upright by its EXIF
/// orientation. Transparency is dropped, and 16-bit channels are reduced to 8.
///
/// A JPEG that was cut off in its pixel data decodes with the missing part
/// grey. Cut-off camera frames are common, and the face may be in the rest.
pub fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    decode_within(bytes, MAX_PIXELS)
}

/// Decodes a camera's frame of at most [`MAX_FRAME_PIXELS`], as [`decode`] does.
pub fn decode_frame(bytes: &[u8]) -> Result<Image, DecodeError> {
    decode_within(bytes, MAX_FRAME_PIXELS)
}

/// Decodes a photo of at most [`MAX_PIXELS`] into at most some [`MAX_FRAME_PIXELS`], as [`decode`]
/// does. Returns also the number of pixels of the photo, along a side, that one pixel stands for.
///
/// A larger JPEG is decoded at half its width and height. A larger PNG, and a larger JPEG of several
/// scans, would need all pixels in memory at once: it is refused.
pub(super) fn decode_photo(bytes: &[u8]) -> Result<(Image, u32), DecodeError> {
    if !bytes.starts_with(JPEG_MAGIC) || jpeg::scans(bytes) > 1 {
        return Ok((decode_frame(bytes)?, 1));
    }
    guarded("JPEG", || {
        let header = jpeg::header(bytes, MAX_PIXELS)?;
        let large = u64::from(header.width) * u64::from(header.height) > MAX_FRAME_PIXELS;
        let scale = if large { Scale::Half } else { Scale::Full };
        Ok((jpeg_pixels(bytes, MAX_PIXELS, scale)?, scale.step()))
    })
}

fn decode_within(bytes: &[u8], most: u64) -> Result<Image, DecodeError> {
    if bytes.starts_with(JPEG_MAGIC) {
        jpeg::check_scans(bytes)?;
        guarded("JPEG", || jpeg_pixels(bytes, most, Scale::Full))
    } else if bytes.starts_with(PNG_MAGIC) {
        guarded("PNG", || png_pixels(bytes, most))
    } else {
        Err(DecodeError::UnknownFormat)
    }
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

/// Decodes a JPEG and turns it upright. May unwind: see [`guarded`].
pub(super) fn jpeg_pixels(bytes: &[u8], most: u64, scale: Scale) -> Result<Image, DecodeError> {
    let Jpeg { width, height, rgb, orientation } = jpeg::decode(bytes, most, scale)?;
    let image = Image::from_rgb(width, height, rgb)?;
    upright(DynamicImage::ImageRgb8(image.into_pixels()), orientation)
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

/// Returns the PNG decoder's limit of memory. [`check_size`] limits the sides, with a better
/// message.
fn limits(most: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(most * MAX_BYTES_PER_PIXEL);
    limits
}

#[cfg(test)]
mod tests;
