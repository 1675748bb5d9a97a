//! Whether the surroundings of a face move with it, as the paper of a photo does. No model is needed.
//!
//! The move of the face from one look to the next is known from its landmarks. Cells beside and above
//! the head vote: a cell that fits better where the move takes it rides along, and one that fits
//! better in its old place stays. Two looks at a person who sits still decide nothing.

use super::{
    align::Similarity,
    face::{Face, Landmarks, Rect},
    image::Image,
};

/// Distance from the face's middle, in widths of the face, where the surroundings begin and end.
const FROM: f32 = 0.62;
const TO: f32 = 1.5;
/// Side of a cell in widths of the face, and the number of points along it.
const CELL: f32 = 0.25;
const POINTS: u32 = 5;
/// Minimum move of a cell in pixels and in widths of the face, and the maximum one. A small move
/// shows no difference, and after a large one it is another person.
const MOVES_PX: f64 = 1.5;
const MOVES: f64 = 0.05;
const MOVES_MOST: f64 = 1.0;
/// Minimum standard deviation of a cell's grey levels. A plain wall fits everywhere.
const TEXTURE: f32 = 6.0;
/// Minimum ratio of the two misfits of a cell that votes.
const CLEARLY: f32 = 1.5;

/// A face and what is around it, in a small grey picture.
#[derive(Clone)]
pub struct Surroundings {
    grey: Vec<u8>,
    width: usize,
    height: usize,
    bbox: Rect,
    landmarks: Landmarks,
}

/// Shows nothing of the picture, which does not belong in a log.
impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings(..)")
    }
}

/// The votes of the cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    pub ride: u32,
    pub stay: u32,
}

impl Votes {
    /// Minimum number of votes that decide anything.
    pub const LEAST: u32 = 6;

    pub fn add(&mut self, more: Votes) {
        self.ride = self.ride.saturating_add(more.ride);
        self.stay = self.stay.saturating_add(more.stay);
    }

    /// Returns the part of the surroundings that rides along; `None` with too few votes.
    pub fn riding(self) -> Option<f32> {
        let all = self.ride.saturating_add(self.stay);
        (all >= Votes::LEAST).then(|| self.ride as f32 / all as f32)
    }
}

impl Surroundings {
    /// `face`: in pixels of the picture.
    pub(super) fn of(image: &Image, face: &Face) -> Surroundings {
        let grey = image.rgb().as_chunks::<3>().0.iter();
        let luma = |[r, g, b]: &[u8; 3]| {
            ((77 * u32::from(*r) + 150 * u32::from(*g) + 29 * u32::from(*b)) >> 8) as u8
        };
        Surroundings {
            grey: grey.map(luma).collect(),
            width: image.width() as usize,
            height: image.height() as usize,
            bbox: face.bbox,
            landmarks: face.landmarks,
        }
    }

    /// Returns the votes of the surroundings on the move of the face to the next look.
    pub fn votes(&self, next: &Surroundings) -> Votes {
        let mut votes = Votes::default();
        if (self.width, self.height) != (next.width, next.height) {
            return votes;
        }
        let Some(moved) = Similarity::fit(&self.landmarks, &next.landmarks) else { return votes };
        let wide = self.bbox.w;
        let (x, y) = (self.bbox.x + wide / 2.0, self.bbox.y + self.bbox.h / 2.0);
        let cells = (TO / CELL) as i32;
        for (column, row) in (-cells..=cells).flat_map(|c| (-cells..=1).map(move |r| (c, r))) {
            let (dx, dy) = (column as f32 * CELL, row as f32 * CELL);
            if (FROM..=TO).contains(&dx.hypot(dy)) {
                match self.vote(next, moved, (x + dx * wide, y + dy * wide)) {
                    Some(true) => votes.ride += 1,
                    Some(false) => votes.stay += 1,
                    None => {}
                }
            }
        }
        votes
    }

    /// Returns whether the cell around a place rides along; `None` if it does not say.
    fn vote(&self, next: &Surroundings, moved: Similarity, (x, y): (f32, f32)) -> Option<bool> {
        let wide = self.bbox.w;
        let (to_x, to_y) = moved.apply(x.into(), y.into());
        let step = (to_x - f64::from(x)).hypot(to_y - f64::from(y));
        let wide_px = f64::from(wide);
        if !(MOVES_PX.max(MOVES * wide_px)..=MOVES_MOST * wide_px).contains(&step) {
            return None;
        }
        let at = |n: u32| (n as f32 / (POINTS - 1) as f32 - 0.5) * CELL * wide;
        let (mut values, mut rides, mut stays) = (Vec::new(), 0.0, 0.0);
        for (dx, dy) in (0..POINTS).flat_map(|n| (0..POINTS).map(move |m| (at(n), at(m)))) {
            let (x, y) = (x + dx, y + dy);
            let value = self.grey_at(x, y)?;
            let (to_x, to_y) = moved.apply(x.into(), y.into());
            rides += (next.grey_at(to_x as f32, to_y as f32)? - value).abs();
            stays += (next.grey_at(x, y)? - value).abs();
            values.push(value);
        }
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let spread = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count;
        // One grey level of noise is no difference.
        let (rides, stays) = (rides / count + 1.0, stays / count + 1.0);
        let clear = rides.max(stays) >= CLEARLY * rides.min(stays);
        (spread >= TEXTURE * TEXTURE && clear).then_some(rides < stays)
    }

    /// Returns the grey level at a place between pixels; `None` beyond the picture.
    fn grey_at(&self, x: f32, y: f32) -> Option<f32> {
        let inside = x >= 0.0 && y >= 0.0;
        let (column, row) = (x as usize, y as usize);
        if !inside || column + 1 >= self.width || row + 1 >= self.height {
            return None;
        }
        let pixel = |c: usize, r: usize| self.grey.get(r * self.width + c).copied().map(f32::from);
        let (right, down) = (x.fract(), y.fract());
        let above = pixel(column, row)? * (1.0 - right) + pixel(column + 1, row)? * right;
        let below = pixel(column, row + 1)? * (1.0 - right) + pixel(column + 1, row + 1)? * right;
        Some(above * (1.0 - down) + below * down)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A textured wall, shifted by this many pixels.
    fn wall(shift: (i32, i32)) -> Image {
        let pixels = (0..240).flat_map(|y| (0..320).map(move |x| (x - shift.0, y - shift.1)));
        let grey = |(x, y): (i32, i32)| {
            (127.0
                + 60.0 * (x as f32 * 0.37).sin()
                + 50.0 * (y as f32 * 0.29 + x as f32 * 0.05).cos()) as u8
        };
        Image::from_rgb(320, 240, pixels.flat_map(|at| [grey(at); 3]).collect()).unwrap()
    }

    fn face(x: f32, y: f32) -> Face {
        let landmarks = [[-8.0, -6.0], [8.0, -6.0], [0.0, 0.0], [-6.0, 8.0], [6.0, 8.0]]
            .map(|[dx, dy]| [x + dx, y + dy]);
        Face { score: 0.9, bbox: Rect { x: x - 20.0, y: y - 25.0, w: 40.0, h: 50.0 }, landmarks }
    }

    proptest! {
        /// A face that moves before a wall leaves the wall behind, and a photo takes its paper along.
        #[test]
        fn paper_rides_along_and_a_wall_stays(dx in 3..8_i32, dy in -5..5_i32) {
            let before = Surroundings::of(&wall((0, 0)), &face(160.0, 130.0));
            let at = face(160.0 + dx as f32, 130.0 + dy as f32);
            let person = before.votes(&Surroundings::of(&wall((0, 0)), &at));
            let paper = before.votes(&Surroundings::of(&wall((dx, dy)), &at));
            prop_assert!(person.riding().unwrap() < 0.2, "{person:?}");
            prop_assert!(paper.riding().unwrap() > 0.8, "{paper:?}");
        }
    }

    #[test]
    fn who_sits_still_or_jumps_decides_nothing() {
        let before = Surroundings::of(&wall((0, 0)), &face(160.0, 130.0));
        for (x, y) in [(160.0, 130.0), (161.0, 130.0), (260.0, 60.0), (f32::NAN, 0.0)] {
            let votes = before.votes(&Surroundings::of(&wall((0, 0)), &face(x, y)));
            assert_eq!((votes, votes.riding()), (Votes::default(), None), "{x} {y}");
        }
    }
}
