//! JPEG bytes into RGB, by libjpeg-turbo.
//!
//! Why not the decoder `image` brings (zune-jpeg): it rounds chroma upwards,
//! by a tenth of a grey level. Nobody sees that, but it moves the detector's
//! landmarks far enough to shift the likeness of two faces by 0.025. libjpeg's
//! pixels are the ones OpenCV sees, on which the thresholds were measured.

use std::io;

use image::metadata::Orientation;
use mozjpeg::{Decompress, Marker};

use super::image::{DecodeError, check_size};

const EXIF: &[u8] = b"Exif\0\0";

/// The picture as it is stored, and how to turn it upright.
pub(super) struct Jpeg {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
    pub orientation: Orientation,
}

/// Decodes at most `most` pixels; what is cut off in the pixel data stays grey.
///
/// Unwinds with a `String` where libjpeg gives up: its error handler may not
/// return, and this is how the crate leaves it. The caller catches that.
pub(super) fn decode(bytes: &[u8], most: u64) -> Result<Jpeg, DecodeError> {
    let source = Decompress::with_markers(&[Marker::APP(1)]).from_mem(bytes).map_err(damaged)?;
    let (width, height) = match (source.width().try_into(), source.height().try_into()) {
        (Ok(width), Ok(height)) => (width, height),
        _ => (u32::MAX, u32::MAX),
    };
    check_size(width, height, most)?;
    let orientation = source
        .markers()
        .find_map(|marker| Orientation::from_exif_chunk(marker.data.strip_prefix(EXIF)?))
        .unwrap_or(Orientation::NoTransforms);
    let rgb = source.rgb().and_then(|mut pixels| pixels.read_scanlines()).map_err(damaged)?;
    Ok(Jpeg { width, height, rgb, orientation })
}

fn damaged(error: io::Error) -> DecodeError {
    DecodeError::Damaged { format: "JPEG", why: error.to_string() }
}
