//! Chooses among the faces of a frame the one that may be the next person's. Touches nothing; time is an argument.
//!
//! A camera also shows posters, people outside the zone, and halves of faces at its edge. They are
//! set aside, each for its own reason. Of the others the nearest face is followed
//! ([`super::visit`]). The people behind it are the queue, and change nothing. Only a second face of
//! like width stands beside the first one: then it is not known who comes next.
//!
//! A face on a poster stays in its place for minutes. A person who waits moves more than that.

use std::time::Duration;

use crate::{
    clock::Monotonic,
    config::Zone,
    gate::claim::Beside,
    vision::{Face, Rect},
    words::words,
};

/// Maximum ratio of the widths of two faces that are side by side. The next one in a queue is
/// further away than that.
pub(super) const ALIKE: f32 = 1.3;
/// Maximum distance of a half face from the picture's edge, in sizes of its box.
const EDGE: f32 = 0.05;
/// Time for which two faces are side by side, until one person is asked for.
const SIDE_BY_SIDE: Duration = Duration::from_secs(1);
/// Maximum time without the second face in which it counts as missed by the detector.
const MISSED: Duration = Duration::from_millis(500);
/// Maximum movement of a face in its place, in widths of the face, and the maximum change of its
/// width. The detector's boxes differ by less from frame to frame.
const MOVES: f32 = 0.15;
const GROWS: f32 = 1.15;
/// Time in one place after which a face is a picture: without others, and while others move.
const FIXED_AFTER: Duration = Duration::from_secs(180);
const FIXED_AMONG_OTHERS: Duration = Duration::from_secs(60);
/// Minimum number of frames with a face in its place, and with others that move.
const FRAMES: u32 = 20;
/// Maximum time without the face in its place, before and after it counts as a picture. A person
/// who stands before a poster covers it.
const LEFT_AFTER: Duration = Duration::from_secs(5);
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Maximum number of places that are kept; the one seen longest ago is dropped.
const PLACES: usize = 64;

words! {
    /// Why a face cannot be the next person's.
    pub enum Aside {
        /// Narrower than `min_face_px`.
        TooSmall = "too_small",
        /// An eye, the nose or the mouth is beyond the edge of the picture, or only half of the face is seen
        /// there.
        CutOff = "cut_off",
        /// Outside the camera's zone.
        Outside = "outside",
        /// In one place for minutes: a picture.
        Fixed = "fixed",
    }
}

/// Where a camera looks for the next person.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    pub zone: &'a Zone,
    pub min_face_px: f32,
    /// Width and height of the frame in pixels.
    pub frame: (u32, u32),
}

impl Aim<'_> {
    /// Returns why this face cannot be the next person's, as far as one frame shows it.
    pub fn aside(&self, face: &Face) -> Option<Aside> {
        let (width, height) = (self.frame.0 as f32, self.frame.1 as f32);
        let within = |[x, y]: &[f32; 2]| (0.0..width).contains(x) && (0.0..height).contains(y);
        let (x, y) = middle(face.bbox);
        // A width that is NaN is too small.
        if face.bbox.w.is_nan() || face.bbox.w < self.min_face_px {
            Some(Aside::TooSmall)
        } else if !face.landmarks.iter().all(within) || self.is_half(face.bbox) {
            Some(Aside::CutOff)
        } else if !self.zone.contains(x / width, y / height) {
            Some(Aside::Outside)
        } else {
            None
        }
    }
}

impl Aim<'_> {
    /// Returns whether a box at the picture's edge has not the shape of a face, whose height is some
    /// 1.3 times its width. The detector guesses the landmarks that it cannot see.
    fn is_half(&self, Rect { x, y, w, h }: Rect) -> bool {
        let at_edge = |from: f32, size: f32, limit: u32| {
            let reach = EDGE * size;
            from <= reach || from + size >= limit as f32 - reach
        };
        (h < w && at_edge(y, h, self.frame.1)) || (h > 2.0 * w && at_edge(x, w, self.frame.0))
    }
}

/// Returns what one frame shows of each face, the widest of which come first: `followed`, `beside` or
/// `behind` that face, or why the face is set aside.
pub fn nearest(faces: &[Face], aim: Aim<'_>) -> Vec<&'static str> {
    let mut widest = None;
    let what = |face: &Face| match (aim.aside(face), widest) {
        (Some(why), _) => why.word(),
        (None, None) => {
            widest = Some(face.bbox.w);
            "followed"
        }
        (None, Some(width)) if face.bbox.w * ALIKE >= width => "beside",
        (None, Some(_)) => "behind",
    };
    faces.iter().map(what).collect()
}

/// The faces of one frame.
#[derive(Debug)]
pub(super) struct Sorted {
    /// Those of which one may be the next person's.
    pub near: Vec<Face>,
    /// Why the widest of the others was set aside.
    pub aside: Option<(Aside, f32)>,
    pub beside: Beside,
}

/// What a camera's earlier frames say on the faces of the next one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: Vec<Place>,
    /// First and last frame with two faces side by side.
    pair: Option<(Monotonic, Monotonic)>,
}

/// A place in which a face stays.
#[derive(Debug)]
struct Place {
    bbox: Rect,
    first: Monotonic,
    last: Monotonic,
    frames: u32,
    /// Number of these frames in which another face moved.
    others_move: u32,
    fixed: bool,
}

impl Queue {
    /// Sorts the faces of one frame.
    pub(super) fn sort(&mut self, at: Monotonic, faces: Vec<Face>, aim: Aim<'_>) -> Sorted {
        let fixed = self.places(at, &faces);
        let (mut near, mut aside) = (Vec::new(), None::<(Aside, f32)>);
        for (face, fixed) in faces.into_iter().zip(fixed) {
            let why = aim.aside(&face).or(fixed.then_some(Aside::Fixed));
            match why {
                None => near.push(face),
                Some(why) if aside.is_none_or(|(_, wider)| face.bbox.w > wider) => {
                    aside = Some((why, face.bbox.w));
                }
                Some(_) => {}
            }
        }
        let beside = self.beside(at, &near);
        Sorted { near, aside, beside }
    }

    /// Records where the faces are. Returns for each one whether it is a picture.
    fn places(&mut self, at: Monotonic, faces: &[Face]) -> Vec<bool> {
        self.places.retain(|place| {
            at.since(place.last) <= if place.fixed { FORGOTTEN_AFTER } else { LEFT_AFTER }
        });
        let known: Vec<Option<usize>> = faces
            .iter()
            .map(|face| self.places.iter().position(|place| place.holds(face.bbox)))
            .collect();
        let moving = known.iter().filter(|known| known.is_none()).count();
        for at_index in known.iter().flatten() {
            self.places[*at_index].seen(at, moving > 0);
        }
        let fixed = known.iter().map(|known| known.is_some_and(|n| self.places[n].fixed)).collect();
        for (face, _) in faces.iter().zip(&known).filter(|(_, known)| known.is_none()) {
            if self.places.len() >= PLACES
                && let Some(oldest) = (0..PLACES).min_by_key(|n| self.places[*n].last)
            {
                self.places.swap_remove(oldest);
            }
            self.places.push(Place::new(at, face.bbox));
        }
        fixed
    }

    /// Returns for how long two of the faces have been side by side.
    fn beside(&mut self, at: Monotonic, near: &[Face]) -> Beside {
        let widest = near.iter().map(|face| face.bbox.w).fold(0.0, f32::max);
        let alike = near.iter().filter(|face| face.bbox.w * ALIKE >= widest).count() > 1;
        self.pair = self.pair.filter(|(_, last)| alike || at.since(*last) <= MISSED);
        if alike {
            let first = self.pair.map_or(at, |(first, _)| first);
            self.pair = Some((first, at));
        }
        match self.pair {
            None => Beside::NoOne,
            Some((first, last)) if last.since(first) < SIDE_BY_SIDE => Beside::Briefly,
            Some(_) => Beside::Long,
        }
    }
}

impl Place {
    fn new(at: Monotonic, bbox: Rect) -> Place {
        Place { bbox, first: at, last: at, frames: 1, others_move: 0, fixed: false }
    }

    fn holds(&self, is: Rect) -> bool {
        let was = self.bbox;
        let ((x0, y0), (x1, y1)) = (middle(was), middle(is));
        (x1 - x0).hypot(y1 - y0) <= MOVES * was.w && is.w.max(was.w) <= GROWS * is.w.min(was.w)
    }

    fn seen(&mut self, at: Monotonic, others_move: bool) {
        self.last = self.last.max(at);
        self.frames = self.frames.saturating_add(1);
        self.others_move = self.others_move.saturating_add(others_move.into());
        let stays = self.last.since(self.first);
        let alone = stays >= FIXED_AFTER && self.frames >= FRAMES;
        let among = stays >= FIXED_AMONG_OTHERS && self.others_move >= FRAMES;
        self.fixed |= alone || among;
    }
}

fn middle(r: Rect) -> (f32, f32) {
    (r.x + r.w / 2.0, r.y + r.h / 2.0)
}

#[cfg(test)]
mod tests;
