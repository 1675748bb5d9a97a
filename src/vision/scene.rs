//! The scene of a passage: the frame scaled down, with every face but the worker's blurred (I5).

use image::{RgbImage, imageops};

use super::{
    detect::overlap,
    face::{Face, Rect},
    portrait::encode,
    scale::scaled,
    view::Reduced,
};

/// Maximum length of a scene's longer side in pixels.
pub const SCENE_LONGEST_SIDE: u32 = 640;
/// Minimum overlap of two boxes of one face, found at two sizes, as a share of their union.
const SAME_FACE: f32 = 0.3;
/// Factor by which a blurred face's box is widened.
const AROUND: f32 = 1.6;
/// Pixels along a side that are left of a blurred face. They show colours and no features.
const LEFT: u32 = 4;

/// Returns a JPEG of the frame. `found`: the faces of two searches, the second one in a picture of
/// at least the scene's size, in pixels of the frame. Returns `None` if a search has not found the
/// worker: it may not have found others either.
pub fn scene(whole: &Reduced<'_>, worker: &Face, found: [&[Face]; 2]) -> Option<Vec<u8>> {
    let mut others = Vec::new();
    for faces in found {
        let likeness = |face: &Face| overlap(&face.bbox, &worker.bbox);
        let nearest = faces.iter().map(likeness).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let (same, _) = nearest.filter(|(_, overlap)| *overlap >= SAME_FACE)?;
        let rest = faces.iter().enumerate().filter(|(n, _)| *n != same);
        others.extend(rest.map(|(_, face)| whole.here(face).bbox));
    }
    let mut picture = whole.image().pixels().clone();
    let longest = picture.width().max(picture.height());
    if longest > SCENE_LONGEST_SIDE {
        let shorter = |side: u32| (side * SCENE_LONGEST_SIDE / longest).max(1);
        picture = scaled(&picture, shorter(picture.width()), shorter(picture.height()));
        let by = SCENE_LONGEST_SIDE as f32 / longest as f32;
        for Rect { x, y, w, h } in &mut others {
            [x, y, w, h].into_iter().for_each(|value| *value *= by);
        }
    }
    others.into_iter().for_each(|face| blur(&mut picture, face));
    encode(&picture).ok()
}

fn blur(picture: &mut RgbImage, face: Rect) {
    let [(x, y), (w, h)] = face.around(AROUND, picture.dimensions());
    let part = imageops::crop_imm(picture, x, y, w, h).to_image();
    let filter = imageops::FilterType::Triangle;
    let left = imageops::resize(&part, LEFT.min(w), LEFT.min(h), filter);
    let blurred = imageops::resize(&left, w, h, filter);
    imageops::replace(picture, &blurred, x.into(), y.into());
}
