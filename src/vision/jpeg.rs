//! JPEG bytes into RGB, by libjpeg-turbo.
//!
//! The decoder of the crate `image` (zune-jpeg) rounds chroma upwards, by a
//! tenth of a grey level. The eye does not see that, but it moves the
//! detector's landmarks far enough to shift the likeness of two faces by
//! 0.025. The thresholds were measured with OpenCV, which uses libjpeg.

use std::io;

use image::metadata::Orientation;
use mozjpeg::{Decompress, Marker};

use super::image::{DecodeError, check_size};

const EXIF: &[u8] = b"Exif\0\0";

/// Maximum number of scans in one picture. A progressive picture has some ten. A hostile one has as
/// many as fit, and each costs the time of a whole picture.
const MAX_SCANS: usize = 32;
/// The marker that begins a scan. In pixel data 0xFF is never followed by 0xDA.
const SOS: [u8; 2] = [0xff, 0xda];

/// The scale at which a picture is decoded: the number of pixels, along each side, that become one.
/// libjpeg then computes only that part of each block of 8 x 8 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scale {
    Full = 1,
    Half = 2,
    Quarter = 4,
    Eighth = 8,
}

impl Scale {
    /// Returns the coarsest scale at which `length` still has at least `least` pixels.
    pub(super) fn keeping(length: f32, least: f32) -> Scale {
        let enough = |scale: &Scale| length / scale.step() as f32 >= least;
        [Scale::Eighth, Scale::Quarter, Scale::Half].into_iter().find(enough).unwrap_or(Scale::Full)
    }

    /// Returns the number of pixels of the whole picture, along a side, per decoded pixel.
    pub(super) fn step(self) -> u32 {
        self as u32
    }
}

/// The facts in a picture's header.
pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    pub orientation: Orientation,
}

/// The picture as it is stored, and the orientation that turns it upright.
pub(super) struct Jpeg {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
    pub orientation: Orientation,
}

/// Reads the header of a picture of at most `most` pixels. Unwinds as [`decode`] does.
pub(super) fn header(bytes: &[u8], most: u64) -> Result<Header, DecodeError> {
    Ok(begin(bytes, most)?.1)
}

/// Decodes at most `most` pixels. Missing pixel data becomes grey.
///
/// Unwinds with a `String` if libjpeg gives up. libjpeg's error handler must
/// not return, so the crate leaves it by unwinding. The caller catches that.
pub(super) fn decode(bytes: &[u8], most: u64, scale: Scale) -> Result<Jpeg, DecodeError> {
    let (mut source, Header { orientation, .. }) = begin(bytes, most)?;
    source.scale(8 / scale as u8);
    let mut pixels = source.rgb().map_err(damaged)?;
    let (width, height) = (pixels.width() as u32, pixels.height() as u32);
    let rgb = pixels.read_scanlines().map_err(damaged)?;
    Ok(Jpeg { width, height, rgb, orientation })
}

/// Returns the picture in grey, at an eighth of its width and height, as it is stored. Unwinds as
/// [`decode`] does.
pub(super) fn thumbnail(bytes: &[u8], most: u64) -> Result<(u32, u32, Vec<u8>), DecodeError> {
    let (mut source, _) = begin(bytes, most)?;
    source.scale(8 / Scale::Eighth as u8);
    let mut pixels = source.grayscale().map_err(damaged)?;
    let (width, height) = (pixels.width() as u32, pixels.height() as u32);
    Ok((width, height, pixels.read_scanlines().map_err(damaged)?))
}

fn begin(bytes: &[u8], most: u64) -> Result<(Decompress<&[u8]>, Header), DecodeError> {
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
    Ok((source, Header { width, height, orientation }))
}

/// Returns the number of scans of the picture. Its thumbnail, and pictures after its end, do not
/// count.
pub(super) fn scans(bytes: &[u8]) -> usize {
    const EOI: [u8; 2] = [0xff, 0xd9];
    let mut rest = bytes.get(2..).unwrap_or_default();
    // Before the first scan each segment has its marker and its length, so that it can be skipped.
    while let [0xff, marker, high, low, ..] = rest
        && *marker != SOS[1]
    {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = rest.get(2 + length..).unwrap_or_default();
    }
    rest.windows(2).take_while(|pair| **pair != EOI).filter(|pair| **pair == SOS).count()
}

/// Refuses a picture whose scans would keep a thread busy for minutes.
pub(super) fn check_scans(bytes: &[u8]) -> Result<(), DecodeError> {
    let scans = bytes.windows(2).filter(|pair| **pair == SOS).count();
    if scans > MAX_SCANS {
        let why = format!("it has {scans} scans, more than {MAX_SCANS}");
        return Err(DecodeError::Damaged { format: "JPEG", why });
    }
    Ok(())
}

fn damaged(error: io::Error) -> DecodeError {
    DecodeError::Damaged { format: "JPEG", why: error.to_string() }
}

/// Returns whether width and height change places when a picture is turned upright.
pub(super) fn is_on_its_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}
