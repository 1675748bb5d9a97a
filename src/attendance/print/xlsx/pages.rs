//! The paper: its margins, and where pages end.

use rust_xlsxwriter::{Worksheet, XlsxError};

use super::cells::DIGIT_PX;

const A4: u8 = 9;
/// Width of a column's margins, in pixels.
const CELL_PX: f64 = 5.0;
const POINTS_OF_PX: f64 = 0.75;
/// As many as Excel takes.
const BREAKS_MAX: usize = 1_000;

/// Margins in inches: left and right, top, bottom.
const MARGINS: (f64, f64, f64) = (0.3, 0.4, 0.55);
/// A4 across, in inches.
const PAPER: (f64, f64) = (297.0 / 25.4, 210.0 / 25.4);
/// What of a page is sure to find room: programs round the scale down to whole percents, and fonts are
/// not alike to the last pixel.
const SURE: f64 = 0.96;

pub(super) fn page(
    sheet: &mut Worksheet,
    name: &str,
    headings: (u32, u32),
) -> Result<(), XlsxError> {
    let (side, top, bottom) = MARGINS;
    sheet
        .set_name(name)?
        .set_paper_size(A4)
        .set_landscape()
        .set_print_fit_to_pages(1, 0)
        .set_margins(side, side, top, bottom, 0.2, 0.25)
        .set_print_center_horizontally(true)
        .set_repeat_rows(headings.0, headings.1)?
        .set_footer("&C第 &P 页，共 &N 页  Page &P of &N");
    sheet.set_freeze_panes(headings.1 + 1, 0)?;
    Ok(())
}

/// Where pages end: the two rows of a worker stay together, a team's name with its first worker, and
/// its last two workers with its sum.
pub(super) struct Pages {
    /// Height of a page's rows, in points.
    page: f64,
    used: f64,
    /// Height of the headings that each page repeats.
    headings: f64,
    pub(super) breaks: Vec<u32>,
}

impl Pages {
    /// Pages onto which columns of these widths, in digits, just find room. `used`: what stands on the
    /// first one above its headings.
    pub(super) fn of(widths: impl Iterator<Item = f64>, used: f64, headings: f64) -> Pages {
        let px: f64 = widths.map(|digits| (digits * DIGIT_PX + CELL_PX).trunc()).sum();
        let (side, top, bottom) = MARGINS;
        let scale = (PAPER.0 - 2.0 * side) * 72.0 / (px * POINTS_OF_PX);
        let page = SURE * (PAPER.1 - top - bottom) * 72.0 / scale.min(1.0);
        Pages { page, used: used + headings, headings, breaks: Vec::new() }
    }

    /// A row, or rows, that is followed on the same page by so much more.
    pub(super) fn put(&mut self, row: u32, height: f64, followed_by: f64) {
        if self.used + height + followed_by > self.page && self.breaks.len() < BREAKS_MAX {
            self.breaks.push(row);
            self.used = self.headings;
        }
        self.used += height;
    }
}
