//! Writes texts and hours into cells, and computes the number of lines of a text.

use rust_xlsxwriter::{Format, Worksheet, XlsxError};

/// Maximum number of characters of a text. Excel's maximum for a cell is 32,767.
const CELL_MAX: usize = 32_000;
const MINUTES_OF_A_DAY: f64 = 1440.0;
/// Width of a digit of the default font, in pixels.
pub(super) const DIGIT_PX: f64 = 7.0;

/// Writes a text into a cell. The text never becomes a formula.
pub(super) fn put(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    text: &str,
    look: &Format,
) -> Result<(), XlsxError> {
    let shown = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let text: String = text.chars().take(CELL_MAX).map(shown).collect();
    sheet.write_string_with_format(row, column, text, look).map(drop)
}

pub(super) fn put_hours(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    minutes: u64,
    look: &Format,
) -> Result<(), XlsxError> {
    sheet.write_number_with_format(row, column, minutes as f64 / MINUTES_OF_A_DAY, look).map(drop)
}

/// Returns the number of half-width characters that fit on a line of `digits`. The text's font is
/// larger than the font by which columns are measured.
pub(super) fn half_widths(digits: f64) -> f64 {
    digits * DIGIT_PX / 7.5
}

/// Returns the number of lines that a text takes. `width`: half-width characters on a line.
pub(super) fn lines(text: &str, width: f64) -> usize {
    let of_line = |line: &str| {
        let halves: usize = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        1 + (halves.saturating_sub(1) as f64 / width) as usize
    };
    text.lines().map(of_line).sum::<usize>().max(1)
}
