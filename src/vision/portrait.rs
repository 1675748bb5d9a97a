//! Portraits: small pictures of the head, kept of enrolment photos and for some days of passages.
//!
//! An admin has to recognise a worker's face, not the room behind it. The limit of each portrait
//! also limits the size of the database.

use std::io;

use image::RgbImage;

use super::{
    decode::{decode_frame, guarded},
    face::Face,
    image::Image,
    jpeg,
    scale::{scaled, scaled_part},
};

/// Maximum length of a portrait's longer side in pixels.
const LONGEST_SIDE: u32 = 320;
/// Factor by which the face's box is widened.
const AROUND: f32 = 2.0;
const QUALITY: u8 = 85;
/// Qualities of a photo that is too large, before the picture itself is made smaller.
const REDUCED: [u8; 2] = [70, 50];
/// Minimum length of the shorter side of a photo that is reduced, in pixels.
const SHORTEST_SIDE: u32 = 64;

/// Returns a JPEG of the head, at most 320 pixels a side.
pub fn portrait(image: &Image, face: &Face) -> Result<Vec<u8>, io::Error> {
    let part = face.bbox.around(AROUND, (image.width(), image.height()));
    let (w, h) = part[1];
    let longest = w.max(h).max(LONGEST_SIDE);
    let shorter = |side: u32| (side * LONGEST_SIDE / longest).max(1);
    encode(&scaled_part(image.pixels(), part, (shorter(w), shorter(h))))
}

/// Returns a JPEG of the whole picture, which must be small.
pub(super) fn small(image: &Image) -> Result<Vec<u8>, io::Error> {
    encode(image.pixels())
}

pub(super) fn encode(picture: &RgbImage) -> Result<Vec<u8>, io::Error> {
    with_quality(picture, QUALITY)
}

fn with_quality(picture: &RgbImage, quality: u8) -> Result<Vec<u8>, io::Error> {
    guarded("JPEG", || jpeg::encode(picture, quality)).map_err(io::Error::other)
}

/// Returns a photo with at most `most` bytes: `jpeg` itself, or the picture with less detail, then
/// smaller. Returns `None` if it cannot be read, or if a side would have less than
/// [`SHORTEST_SIDE`].
pub fn fitting(jpeg: Vec<u8>, most: usize) -> Option<Vec<u8>> {
    if jpeg.len() <= most {
        return Some(jpeg);
    }
    let mut picture = decode_frame(&jpeg).ok()?.into_pixels();
    loop {
        for quality in REDUCED {
            let reduced = with_quality(&picture, quality).ok()?;
            if reduced.len() <= most {
                return Some(reduced);
            }
        }
        let [w, h] = [picture.width(), picture.height()].map(|side| side * 3 / 4);
        if w.min(h) < SHORTEST_SIDE {
            return None;
        }
        picture = scaled(&picture, w, h);
    }
}

#[cfg(test)]
mod tests;
