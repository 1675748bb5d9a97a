//! Sets the paper and its margins, and computes the page breaks.

use rust_xlsxwriter::{Worksheet, XlsxError};

use super::cells::DIGIT_PX;

const A4: u8 = 9;
/// Width of a column's margins, in pixels.
const CELL_PX: f64 = 5.0;
const POINTS_OF_PX: f64 = 0.75;
/// Maximum number of page breaks; this is Excel's limit.
const BREAKS_MAX: usize = 1_000;

/// Margins in inches: left and right, top, bottom.
const MARGINS: (f64, f64, f64) = (0.3, 0.4, 0.55);
/// Width and height of A4 landscape, in inches.
const PAPER: (f64, f64) = (297.0 / 25.4, 210.0 / 25.4);
/// Part of a page's height that is used. Programs round the scale down to whole percents, and fonts
/// differ by some pixels.
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

/// Computes the page breaks. The two rows of a worker stay on one page, and so do a team's name and
/// its first worker, and a team's last two workers and its sum.
pub(super) struct Pages {
    /// Height of a page's rows, in points.
    page: f64,
    used: f64,
    /// Height of the headings that each page repeats.
    headings: f64,
    pub(super) breaks: Vec<u32>,
}

impl Pages {
    /// Returns pages for columns of these widths (in digits), which fit exactly on the page's
    /// width. `used`: height of the rows above the headings of the first page.
    pub(super) fn of(widths: impl Iterator<Item = f64>, used: f64, headings: f64) -> Pages {
        let px: f64 = widths.map(|digits| (digits * DIGIT_PX + CELL_PX).trunc()).sum();
        let (side, top, bottom) = MARGINS;
        let scale = (PAPER.0 - 2.0 * side) * 72.0 / (px * POINTS_OF_PX);
        let page = SURE * (PAPER.1 - top - bottom) * 72.0 / scale.min(1.0);
        Pages { page, used: used + headings, headings, breaks: Vec::new() }
    }

    /// Places rows of this height. `followed_by`: height of the rows that must be on the same page.
    pub(super) fn put(&mut self, row: u32, height: f64, followed_by: f64) {
        if self.used + height + followed_by > self.page && self.breaks.len() < BREAKS_MAX {
            self.breaks.push(row);
            self.used = self.headings;
        }
        self.used += height;
    }
}
