//! Detects motion before a camera.
//!
//! In: each frame's thumbnail and its time. Out: yes or no. A thumbnail is averaged into some 80 x
//! 45 cells, in which a camera's noise is small. Each cell is compared with its background. The
//! background follows still cells within seconds, and moving cells slowly. A change of light or
//! exposure changes all cells in proportion, and is removed first. Cells that are never at rest (a
//! tree, a flickering lamp) must change by more.
//!
//! It prefers a wrong "yes", which costs one search for a face. The caller also searches every
//! other second, and so finds a face that this file missed.

use std::time::Duration;

use super::view::Luma;
use crate::clock::Monotonic;

/// Maximum number of cells along each side.
const COLUMNS: u32 = 80;
const ROWS: u32 = 60;
/// Minimum difference, in grey levels, of a cell that has changed. A cheap camera's noise in the
/// mean of a cell is several times smaller. A face in twilight makes twice this difference.
const CHANGED: f32 = 6.0;
/// Maximum difference, in grey levels, that a restless cell needs.
const CHANGED_MOST: f32 = 30.0;
/// Factor by which a restless cell's difference must exceed its usual difference.
const OUT_OF_THE_USUAL: f32 = 5.0;
/// Number of cells for each changed cell that does not count as motion: more than one changed cell
/// in a thousand is motion. A face of the minimum width covers two to eight times as many.
const CELLS_FOR_ONE: usize = 1000;
/// Time constants of the exponential by which the background follows a cell: a still cell, which is
/// the same as in the frame before, and a moving cell.
const FOLLOWS_STILL: Duration = Duration::from_secs(2);
const FOLLOWS_MOVING: Duration = Duration::from_secs(20);
/// Time constant with which a cell's usual difference follows.
const FOLLOWS_UNREST: Duration = Duration::from_secs(10);
/// Range of a change of light that is removed. A change outside counts as motion.
const GAIN: std::ops::RangeInclusive<f32> = 0.5..=2.0;

/// One camera's background, of some 60 KiB.
#[derive(Debug, Default)]
pub struct Motion {
    /// Width and height of the thumbnail.
    size: (u32, u32),
    at: Monotonic,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    background: f32,
    last: f32,
    /// The usual difference to the background.
    unrest: f32,
}

impl Motion {
    /// Returns whether this frame shows a change. The first frame, and the first of another size,
    /// always does.
    ///
    /// `learn` says that no person is there, so that restless cells move by themselves.
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

/// Returns the mean of each cell, row by row. Pixels at the right and the bottom that fill no whole
/// cell are ignored.
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
