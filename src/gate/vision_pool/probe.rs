//! Measures a look at a face, without a camera and without a person.
//!
//! In: the models. Out: the time of a look at a made-up frame. The time of a look depends on the size
//! of the frame, and not on its contents.

use std::{sync::Arc, time::Duration};

use super::{GATE_LONGEST_SIDE, Lost};
use crate::{
    camera::{Layout, Picture, Yuv},
    clock::Clock,
    config::FaceLimits,
    failpoint,
    vision::{self, Aligned, Face, Rect, Template, View, Vision, VisionError},
};

/// Size of the made-up frame in pixels.
const SIZE: (u32, u32) = (1280, 720);
/// Number of looks of which the shortest counts.
const LOOKS: usize = 2;

/// Returns the times of looks at a face. The detector's plan for the size is made before.
pub fn looks(vision: &Vision, clock: &dyn Clock, count: usize) -> Result<Vec<Duration>, Lost> {
    let (width, height) = SIZE;
    let data = (0..width * height * 2).map(|at| (at % 251) as u8).collect();
    let picture = Picture::Raw(Arc::new(Yuv { width, height, layout: Layout::Yuyv, data }));
    let view = View::new(&picture)?;
    vision.detect(view.for_detection(GATE_LONGEST_SIDE)?.image(), GATE_LONGEST_SIDE)?;
    let look = |_| {
        let begun = clock.monotonic();
        look(vision, &view)?;
        Ok(clock.monotonic().since(begun))
    };
    (0..count).map(look).collect()
}

/// Returns the shortest time of some looks, because other programs may delay one.
pub fn best_look(vision: &Vision, clock: &dyn Clock) -> Result<Duration, Lost> {
    Ok(looks(vision, clock, LOOKS)?.into_iter().min().unwrap_or_default())
}

fn look(vision: &Vision, view: &View<'_>) -> Result<(), Lost> {
    let small = view.for_detection(GATE_LONGEST_SIDE)?;
    vision.detect(small.image(), GATE_LONGEST_SIDE)?;
    let face = face();
    let near = view.for_face(&face, small)?;
    let cut_out = near.cut_out(&face)?;
    vision::assess(&face, &cut_out, &FaceLimits::default());
    near.portrait(&face);
    embed(vision, cut_out)?;
    Ok(())
}

/// Returns the template of a face.
pub(super) fn embed(vision: &Vision, face: Aligned) -> Result<Template, VisionError> {
    failpoint::at("sight.embed");
    vision.embed_aligned(face)
}

/// Returns a face in the middle of the frame.
fn face() -> Face {
    let (x, y, w) = (560.0, 260.0, 160.0);
    let at = |right: f32, down: f32| [x + right * w, y + down * w];
    Face {
        score: 1.0,
        bbox: Rect { x, y, w, h: 1.3 * w },
        landmarks: [at(0.3, 0.5), at(0.7, 0.5), at(0.5, 0.75), at(0.35, 1.0), at(0.65, 1.0)],
    }
}
