//! JPEG bytes into RGB, by libjpeg-turbo.
//!
//! The decoder of the crate `image` (zune-jpeg) rounds chroma upwards, by a
//! tenth of a grey level. The eye does not see that, but it moves the
//! detector's landmarks far enough to shift the likeness of two faces by
//! 0.025. The thresholds were measured with OpenCV, which uses libjpeg.

mod outline;
mod strict;

use std::io::{self, BufRead, Read};

use image::RgbImage;
use image::metadata::Orientation;
use mozjpeg::{ColorSpace, Compress, Decompress, Marker};

pub(super) use self::outline::{Outline, outline};
use super::image::{DecodeError, Image, check_size};

const EXIF: &[u8] = b"Exif\0\0";
const EOI: &[u8] = b"\xff\xd9";

/// Maximum number of scans in one picture, without those of its thumbnail and of what a phone appends.
/// A progressive picture has some ten. A hostile one has as many as fit, and each costs the time of a
/// whole picture.
pub(super) const MAX_SCANS: usize = 32;

unsafe extern "C" {
    // libjpeg-turbo's own; it looks at the CPU only.
    safe fn jsimd_can_idct_islow() -> std::ffi::c_int;
}

/// Returns whether pictures are decoded with the CPU's vector instructions. If nasm is missing, the
/// library is built without them, and says nothing.
pub fn decodes_with_vectors() -> bool {
    jsimd_can_idct_islow() != 0
}

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

/// Reads the header of a picture of at most `most` pixels. Unwinds as [`decode`] does.
pub(super) fn header(bytes: &[u8], most: u64) -> Result<Header, DecodeError> {
    Ok(begin(bytes, most, false)?.1)
}

/// Decodes at most `most` pixels, upright by the EXIF orientation. Missing pixel data becomes grey.
///
/// Unwinds with a `String` if libjpeg gives up. libjpeg's error handler must
/// not return, so the crate leaves it by unwinding. The caller catches that.
pub(super) fn decode(bytes: &[u8], most: u64, scale: Scale) -> Result<Image, DecodeError> {
    pixels(begin(bytes, most, false)?, scale, false)
}

/// Decodes a picture as [`decode`] does, and refuses a damaged one: see [`strict`]. `picture` ends at
/// its end marker. `padded`: it has zeros before that marker.
pub(super) fn decode_whole(
    picture: &[u8],
    most: u64,
    scale: Scale,
    padded: bool,
) -> Result<Image, DecodeError> {
    let data = if padded { outline::unpadded(picture) } else { picture };
    pixels(begin(data.chain(if padded { EOI } else { &[] }), most, true)?, scale, true)
}

/// Decodes the part of a picture from `from` with `size`, both in pixels of the result, as it is stored.
/// Nothing below the part is decoded. Unwinds as [`decode`] does.
pub(super) fn decode_part(
    bytes: &[u8],
    most: u64,
    scale: Scale,
    [(left, top), (width, height)]: [(u32, u32); 2],
) -> Result<Vec<u8>, DecodeError> {
    let (mut source, _) = begin(bytes, most, false)?;
    source.scale(8 / scale as u8);
    let mut pixels = source.to_colorspace(ColorSpace::JCS_RGB).map_err(damaged)?;
    let mut row = vec![0; 3 * pixels.width()];
    let columns = 3 * left as usize..3 * (left + width) as usize;
    let mut rgb = Vec::with_capacity(columns.len() * height as usize);
    for y in 0..top + height {
        pixels.read_scanlines_into(&mut row).map_err(damaged)?;
        if y >= top {
            rgb.extend_from_slice(row.get(columns.clone()).unwrap_or_default());
        }
    }
    Ok(rgb)
}

fn pixels<R: BufRead>(
    (mut source, header): (Decompress<R>, Header),
    scale: Scale,
    whole: bool,
) -> Result<Image, DecodeError> {
    let Header { orientation, .. } = header;
    source.scale(8 / scale as u8);
    // No camera sends four inks.
    let inks = whole && matches!(source.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let space = if inks { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB };
    let mut pixels = source.to_colorspace(space).map_err(damaged)?;
    let (mut width, mut height) = (pixels.width(), pixels.height());
    let rgb = if inks || orientation != Orientation::NoTransforms {
        // A copy of a large photo would be too much, so each row is put in its place at once.
        let mut row = vec![0; if inks { 4 } else { 3 } * width];
        let mut rgb = vec![0; 3 * width * height];
        let upright = rgb.as_chunks_mut().0;
        for y in 0..height {
            pixels.read_scanlines_into(&mut row).map_err(damaged)?;
            let place = place_of_row(orientation, (width, height), y);
            if inks {
                put(upright, place, row.as_chunks().0.iter().map(of_inks));
            } else {
                put(upright, place, row.as_chunks().0.iter().copied());
            }
        }
        rgb
    } else {
        pixels.read_scanlines().map_err(damaged)?
    };
    if whole {
        pixels.finish().map_err(damaged)?;
    }
    if is_on_its_side(orientation) {
        std::mem::swap(&mut width, &mut height);
    }
    Image::from_rgb(width as u32, height as u32, rgb)
}

/// Returns the place of a row's first pixel in the upright picture, in pixels, and the distance to the
/// place of the next pixel. `width` and `height` are those of the picture as it is stored.
fn place_of_row(
    orientation: Orientation,
    (width, height): (usize, usize),
    y: usize,
) -> (usize, isize) {
    let (up, left) = (height - 1 - y, width - 1);
    match orientation {
        Orientation::NoTransforms => (y * width, 1),
        Orientation::FlipHorizontal => (y * width + left, -1),
        Orientation::FlipVertical => (up * width, 1),
        Orientation::Rotate180 => (up * width + left, -1),
        Orientation::Rotate90 => (up, height as isize),
        Orientation::Rotate90FlipH => (y, height as isize),
        Orientation::Rotate270 => (left * height + y, -(height as isize)),
        Orientation::Rotate270FlipH => (left * height + up, -(height as isize)),
    }
}

/// Puts a row in its place.
fn put(
    upright: &mut [[u8; 3]],
    (mut place, step): (usize, isize),
    row: impl Iterator<Item = [u8; 3]>,
) {
    for pixel in row {
        if let Some(at) = upright.get_mut(place) {
            *at = pixel;
        }
        place = place.wrapping_add_signed(step);
    }
}

/// Returns the colour of four inks. Adobe's programs store the paper that shows through: 255 is no ink.
/// All common programs read all JPEGs so.
fn of_inks([cyan, magenta, yellow, black]: &[u8; 4]) -> [u8; 3] {
    let seen = |ink: &u8| (u16::from(*ink) * u16::from(*black) / 255) as u8;
    [cyan, magenta, yellow].map(seen)
}

/// Returns the picture in grey, at an eighth of its width and height, as it is stored. Unwinds as
/// [`decode`] does.
pub(super) fn thumbnail(bytes: &[u8], most: u64) -> Result<(u32, u32, Vec<u8>), DecodeError> {
    let (mut source, _) = begin(bytes, most, false)?;
    source.scale(8 / Scale::Eighth as u8);
    let mut pixels = source.grayscale().map_err(damaged)?;
    let (width, height) = (pixels.width() as u32, pixels.height() as u32);
    Ok((width, height, pixels.read_scanlines().map_err(damaged)?))
}

/// Reads the header. `strict`: the decoder gives up where it finds damage.
fn begin<R: BufRead>(
    bytes: R,
    most: u64,
    strict: bool,
) -> Result<(Decompress<R>, Header), DecodeError> {
    let mut builder = Decompress::with_markers(&[Marker::APP(1)]);
    if strict {
        builder = builder.with_err(strict::handlers());
    }
    let source = builder.from_reader(bytes).map_err(damaged)?;
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

/// Refuses a picture whose scans would keep a thread busy for minutes.
pub(super) fn check_scans(outline: Outline) -> Result<(), DecodeError> {
    let scans = outline.scans;
    if scans > MAX_SCANS {
        let why = format!("it has {scans} scans, more than {MAX_SCANS}");
        return Err(DecodeError::Damaged { format: "JPEG", why });
    }
    Ok(())
}

/// Returns a JPEG of a picture. Quality: 1 to 100. Unwinds as [`decode`] does.
pub(super) fn encode(picture: &RgbImage, quality: u8) -> Result<Vec<u8>, DecodeError> {
    let mut encoder = Compress::new(ColorSpace::JCS_RGB);
    encoder.set_size(picture.width() as usize, picture.height() as usize);
    encoder.set_fastest_defaults();
    // Each pixel has its own colour, so that thin lines keep theirs.
    encoder.set_chroma_sampling_pixel_sizes((1, 1), (1, 1));
    encoder.set_quality(quality.into());
    let mut started = encoder.start_compress(Vec::new()).map_err(damaged)?;
    started.write_scanlines(picture.as_raw()).map_err(damaged)?;
    started.finish().map_err(damaged)
}

fn damaged(error: io::Error) -> DecodeError {
    DecodeError::Damaged { format: "JPEG", why: error.to_string() }
}

/// Returns whether width and height change places when a picture is turned upright.
pub(super) fn is_on_its_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}
