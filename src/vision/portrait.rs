//! What is kept of an enrolment photo, and for a while of a passage: the head, small.
//!
//! An admin who looks a worker up needs to recognise a face, not the room behind it, and a bound
//! on each photo bounds the database.

use image::{RgbImage, codecs::jpeg::JpegEncoder, imageops};

use super::{face::Face, image::Image};

/// The longer side of a portrait in pixels, at most.
const LONGEST_SIDE: u32 = 320;
/// The face's box is widened to so many times its width and height.
const AROUND: f32 = 2.0;
const QUALITY: u8 = 85;

/// A JPEG of the head, at most 320 pixels a side.
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

/// A JPEG of the whole picture, which is small already.
pub(super) fn small(image: &Image) -> Result<Vec<u8>, image::ImageError> {
    encode(image.pixels())
}

fn encode(head: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(head)?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests;
