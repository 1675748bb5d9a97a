//! Whether anything moves before a camera.
//!
//! In: each frame's thumbnail and its time. Out: yes or no. A thumbnail is averaged into some 80 x
//! 45 cells, in which a camera's noise is small, and each is compared with what stood there before:
//! a background that follows what stays as it is within seconds and what moves slowly. Where light
//! or exposure changes, all cells change in proportion, and that is taken out first. Cells that are
//! never at rest (a tree, a flickering lamp) must change by more.
//!
//! It errs towards "yes": that costs one search for a face. What it misses all the same is found by
//! the search that its caller makes every other second anyway.

use std::time::Duration;

use super::view::Luma;
use crate::clock::Monotonic;

/// Cells along a side, at most.
const COLUMNS: u32 = 80;
const ROWS: u32 = 60;
/// A cell that is off by so many grey levels has changed: several times what is left of a cheap
/// camera's noise in the mean of its pixels, and half of what a face in twilight makes.
const CHANGED: f32 = 6.0;
/// No cell is so restless that more than this is asked of it.
const CHANGED_MOST: f32 = 30.0;
/// A restless cell must be off by so many times what it usually is.
const OUT_OF_THE_USUAL: f32 = 5.0;
/// One cell of so many is enough. A face of the least width covers two to eight times as many.
const CELLS_FOR_ONE: usize = 1000;
/// How fast the background follows a cell that is the same as in the frame before, and one that
/// is not: the time constants of an exponential.
const FOLLOWS_STILL: Duration = Duration::from_secs(2);
const FOLLOWS_MOVING: Duration = Duration::from_secs(20);
/// The same for how restless a cell is.
const FOLLOWS_UNREST: Duration = Duration::from_secs(10);
/// A change of light beyond this is taken for a change.
const GAIN: std::ops::RangeInclusive<f32> = 0.5..=2.0;

/// One camera's background. Some 60 KiB.
#[derive(Debug, Default)]
pub struct Motion {
    /// Of the thumbnail.
    size: (u32, u32),
    at: Monotonic,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    background: f32,
    last: f32,
    /// How far it is usually off.
    unrest: f32,
}

impl Motion {
    /// Whether this frame shows a change; the first one does, and the first of another size.
    ///
    /// `learn`: nobody is there, so that what is restless now is so by itself.
    pub fn moves(&mut self, luma: &Luma, at: Monotonic, learn: bool) -> bool {
        let now = cells(luma);
        let size = (luma.width, luma.height);
        if self.size != size || self.cells.len() != now.len() {
            let cells = now.iter().map(|v| Cell { background: *v, last: *v, unrest: 0.0 });
            (self.size, self.at, self.cells) = (size, at, cells.collect());
            return true;
        }
        let elapsed = at.since(self.at).as_secs_f32();
        self.at = self.at.max(at);
        let part = |of: Duration| 1.0 - (-elapsed / of.as_secs_f32()).exp();
        let (still, moving) = (part(FOLLOWS_STILL), part(FOLLOWS_MOVING));
        let unrest = part(FOLLOWS_UNREST);
        let before = median(self.cells.iter().map(|cell| cell.background).collect());
        let gain = median(now.clone()) / before.max(1.0);
        let gain = if GAIN.contains(&gain) { gain } else { 1.0 };

        let mut changed = 0;
        for (cell, value) in self.cells.iter_mut().zip(&now) {
            let off = (value - gain * cell.background).abs();
            let limit = (OUT_OF_THE_USUAL * cell.unrest).clamp(CHANGED, CHANGED_MOST);
            changed += usize::from(off > limit);
            if learn {
                cell.unrest += unrest * (off - cell.unrest);
            }
            let rests = (value - cell.last).abs() <= CHANGED;
            cell.background += if rests { still } else { moving } * (value - cell.background);
            cell.last = *value;
        }
        changed > now.len() / CELLS_FOR_ONE
    }
}

/// The mean of each cell, row by row. What is left over at the right and the bottom is not looked
/// at.
fn cells(luma: &Luma) -> Vec<f32> {
    let wide = luma.width.div_ceil(COLUMNS).max(1) as usize;
    let high = luma.height.div_ceil(ROWS).max(1) as usize;
    let columns = luma.width as usize / wide;
    let mut sums = vec![0_u32; columns];
    let mut cells = Vec::new();
    for rows in luma.values.chunks_exact((luma.width as usize * high).max(1)) {
        sums.fill(0);
        for row in rows.chunks_exact(luma.width as usize) {
            for (sum, pixels) in sums.iter_mut().zip(row.chunks_exact(wide)) {
                *sum += pixels.iter().map(|v| u32::from(*v)).sum::<u32>();
            }
        }
        cells.extend(sums.iter().map(|sum| *sum as f32 / (wide * high) as f32));
    }
    cells
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if middle >= values.len() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: u32 = 160;
    const HEIGHT: u32 = 90;
    /// 15 frames a second.
    const FRAME_MS: u64 = 67;

    /// A scene of 720p as a thumbnail: a slope from dark to light, and what `change` makes of it.
    fn scene(change: impl Fn(u32, u32, f32) -> f32) -> Luma {
        let values = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
        let values = values.map(|(x, y)| {
            let value = 40.0 + x as f32;
            change(x, y, value).clamp(0.0, 255.0) as u8
        });
        Luma { width: WIDTH, height: HEIGHT, values: values.collect() }
    }

    fn empty() -> Luma {
        scene(|_, _, value| value)
    }

    /// A face of 48 pixels in a frame of 720p is 6 wide here.
    fn face(left: u32) -> Luma {
        scene(move |x, y, value| {
            if (left..left + 6).contains(&x) && (40..48).contains(&y) {
                value + 30.0
            } else {
                value
            }
        })
    }

    /// Whether each of these moved, frame by frame.
    struct Camera {
        motion: Motion,
        ms: u64,
    }

    impl Camera {
        fn before_nobody() -> Camera {
            let mut camera = Camera { motion: Motion::default(), ms: 1000 };
            assert!(camera.sees(&empty()), "the first frame is looked at");
            for _ in 0..30 {
                assert!(!camera.sees(&empty()));
            }
            camera
        }

        fn sees(&mut self, luma: &Luma) -> bool {
            self.ms += FRAME_MS;
            self.motion.moves(luma, Monotonic::from_millis(self.ms), true)
        }
    }

    #[test]
    fn a_small_face_is_seen_at_once_and_for_as_long_as_it_moves() {
        let mut camera = Camera::before_nobody();
        for frame in 0..100 {
            assert!(camera.sees(&face(20 + frame)), "{frame}");
        }
    }

    #[test]
    fn what_stays_becomes_background_and_its_leaving_is_a_change() {
        let mut camera = Camera::before_nobody();
        let quiet_after = (0..).find(|_| !camera.sees(&face(70))).unwrap();
        assert!((15..150).contains(&quiet_after), "{quiet_after} frames");
        assert!((0..100).all(|_| !camera.sees(&face(70))));
        assert!(camera.sees(&empty()));
    }

    /// With noise of this spread in each pixel of the thumbnail: an eighth of the sensor's.
    fn noisy(luma: Luma, sigma: f32, state: &mut u32) -> Luma {
        let mut luma = luma;
        for value in &mut luma.values {
            // The sum of four even ones, whose own spread is 2/3.
            let mut noise = 0.0;
            for _ in 0..4 {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise += (*state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            }
            let noise = (noise * sigma / 1.155).round() as i8;
            *value = value.saturating_add_signed(noise);
        }
        luma
    }

    #[test]
    fn a_sensors_noise_in_twilight_is_no_motion_and_a_worse_ones_is_learned() {
        let mut state = 1;
        let mut camera = Camera::before_nobody();
        for _ in 0..300 {
            assert!(!camera.sees(&noisy(empty(), 2.0, &mut state)));
        }
        assert!(camera.sees(&noisy(face(70), 2.0, &mut state)));
        let mut camera = Camera::before_nobody();
        let moved: Vec<bool> =
            (0..600).map(|_| camera.sees(&noisy(empty(), 4.0, &mut state))).collect();
        let late = moved[300..].iter().filter(|moved| **moved).count();
        assert!(late < 10, "{late} of 300");
        assert!(camera.sees(&noisy(face(70), 4.0, &mut state)));
    }

    #[test]
    fn a_change_of_exposure_is_no_motion_but_who_comes_during_it_is() {
        let mut camera = Camera::before_nobody();
        for step in 0..12 {
            let gain = 1.0 + 0.02 * step as f32;
            assert!(!camera.sees(&scene(|_, _, value| value * gain)), "{gain}");
        }
        let mut camera = Camera::before_nobody();
        let brighter = face(70);
        let brighter = scene(|x, y, _| 1.3 * f32::from(brighter.values[(y * WIDTH + x) as usize]));
        assert!(camera.sees(&brighter));
    }

    #[test]
    fn the_light_is_switched_on_and_all_is_quiet_within_seconds() {
        let mut camera = Camera::before_nobody();
        let lit = scene(|x, y, value| if x + y < 120 { value + 90.0 } else { value });
        assert!(camera.sees(&lit));
        let quiet_after = (0..).find(|_| !camera.sees(&lit)).unwrap();
        assert!(quiet_after < 150, "{quiet_after} frames");
    }

    #[test]
    fn a_lamp_that_flickers_is_learned_and_a_face_before_it_is_seen() {
        let mut camera = Camera::before_nobody();
        let lamp = |frame: u32, luma: Luma| {
            let mut luma = luma;
            for (at, value) in luma.values.iter_mut().enumerate() {
                let (x, y) = (at as u32 % WIDTH, at as u32 / WIDTH);
                if x >= 140 && y < 20 {
                    *value = if frame.is_multiple_of(3) { 200 } else { 185 };
                }
            }
            luma
        };
        let moved: Vec<bool> = (0..600).map(|n| camera.sees(&lamp(n, empty()))).collect();
        assert!(moved[0], "it is new");
        assert!(!moved[300..].contains(&true), "it is learned");
        assert!(camera.sees(&lamp(600, face(70))));
    }

    #[test]
    fn nothing_is_learned_while_somebody_is_there() {
        let mut camera = Camera::before_nobody();
        for frame in 0..300 {
            let at = Monotonic::from_millis(camera.ms + FRAME_MS * (frame + 1));
            camera.motion.moves(&face(20 + (frame as u32 * 7) % 100), at, false);
        }
        assert!(camera.motion.cells.iter().all(|cell| cell.unrest < 1.0));
    }

    #[test]
    fn a_picture_of_any_size_is_looked_at() {
        let mut motion = Motion::default();
        let mut ms = 0;
        for (width, height) in
            [(1, 1), (1, 500), (500, 1), (79, 61), (161, 91), (2048, 2), (0, 0), (0, 9)]
        {
            let luma =
                |value| Luma { width, height, values: vec![value; (width * height) as usize] };
            let mut moves = |value| {
                ms += FRAME_MS;
                motion.moves(&luma(value), Monotonic::from_millis(ms), true)
            };
            assert!(moves(50), "the first of its size");
            assert!(!moves(50), "{width} x {height}");
            assert_eq!(moves(255), width > 0, "{width} x {height}");
        }
        // A thumbnail that is shorter than it says.
        motion.moves(
            &Luma { width: 80, height: 60, values: vec![1; 100] },
            Monotonic::from_millis(ms),
            true,
        );
        // Time that goes backwards.
        motion.moves(&empty(), Monotonic::from_millis(5), true);
        motion.moves(&empty(), Monotonic::from_millis(1), true);
        assert!(motion.cells.iter().all(|cell| cell.background.is_finite()));
    }
}
