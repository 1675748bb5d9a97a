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
mod tests;
