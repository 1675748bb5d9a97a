//! Portraits: small pictures of the head, kept of enrolment photos and for some days of passages.
//!
//! An admin has to recognise a worker's face, not the room behind it. The limit of each portrait
//! also limits the size of the database.

use image::{RgbImage, codecs::jpeg::JpegEncoder, imageops};

use super::{face::Face, image::Image};

/// Maximum length of a portrait's longer side in pixels.
const LONGEST_SIDE: u32 = 320;
/// Factor by which the face's box is widened.
const AROUND: f32 = 2.0;
const QUALITY: u8 = 85;

/// Returns a JPEG of the head, at most 320 pixels a side.
pub fn portrait(image: &Image, face: &Face) -> Result<Vec<u8>, image::ImageError> {
    let [(x, y), (w, h)] = face.bbox.around(AROUND, (image.width(), image.height()));
    let mut head = imageops::crop_imm(image.pixels(), x, y, w, h).to_image();
    let longest = w.max(h);
    if longest > LONGEST_SIDE {
        let scaled = |side: u32| (side * LONGEST_SIDE / longest).max(1);
        head = imageops::resize(&head, scaled(w), scaled(h), imageops::FilterType::Triangle);
    }
    encode(&head)
}

/// Returns a JPEG of the whole picture, which must be small.
pub(super) fn small(image: &Image) -> Result<Vec<u8>, image::ImageError> {
    encode(image.pixels())
}

pub(super) fn encode(head: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(head)?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests;
