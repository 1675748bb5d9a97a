//! Photos and frames into pixels.
//!
//! The bytes come from outside (a camera on the network, a file somebody
//! uploaded), so they are taken for hostile: the format is told by its magic
//! number, the size is checked in the header before a pixel is decoded, and
//! whatever the decoder does ends as a [`DecodeError`].

use std::io::Cursor;
use std::panic::{UnwindSafe, catch_unwind};

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};

use super::image::{DecodeError, Image, MAX_FRAME_PIXELS, MAX_PIXELS, check_size};
use super::jpeg::{self, Jpeg, Scale};

/// Most bytes a pixel the decoder may be asked to fill, on average over the
/// most pixels accepted. Only a PNG with 16 bits a channel reaches this first.
const MAX_BYTES_PER_PIXEL: u64 = 4;

pub(super) const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";
const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

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
    if bytes.starts_with(JPEG_MAGIC) {
        jpeg::check_scans(bytes)?;
        guarded("JPEG", || jpeg_pixels(bytes, most, Scale::Full))
    } else if bytes.starts_with(PNG_MAGIC) {
        guarded("PNG", || png_pixels(bytes, most))
    } else {
        Err(DecodeError::UnknownFormat)
    }
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

/// Sides have no limit here: [`check_size`] looks at them, and has better words.
fn limits(most: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(most * MAX_BYTES_PER_PIXEL);
    limits
}

#[cfg(test)]
mod tests;
