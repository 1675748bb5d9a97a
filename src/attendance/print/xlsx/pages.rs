//! Where the pages of the workbook end.

use super::*;

/// Where pages end: the two rows of a worker stay together, a team's name with its first worker, and
/// its last two workers with its sum.
pub(super) struct Pages {
    /// Height of a page's rows, in points.
    pub(super) page: f64,
    pub(super) used: f64,
    pub(super) breaks: Vec<u32>,
}

impl Pages {
    /// Pages onto which columns of these widths, in digits, just find room.
    pub(super) fn of(widths: impl Iterator<Item = f64>, used: f64) -> Pages {
        let px: f64 = widths.map(|digits| (digits * DIGIT_PX + CELL_PX).trunc()).sum();
        let (side, top, bottom) = MARGINS;
        let scale = (PAPER.0 - 2.0 * side) * 72.0 / (px * POINTS_OF_PX);
        let page = SURE * (PAPER.1 - top - bottom) * 72.0 / scale.min(1.0);
        Pages { page, used, breaks: Vec::new() }
    }

    /// A row, or rows, that is followed on the same page by so much more.
    pub(super) fn put(&mut self, row: u32, height: f64, followed_by: f64) {
        if self.used + height + followed_by > self.page && self.breaks.len() < BREAKS_MAX {
            self.breaks.push(row);
            self.used = 2.0 * HEADING;
        }
        self.used += height;
    }
}
