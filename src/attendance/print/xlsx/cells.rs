//! What stands in a cell: texts, hours, and how many lines they take.

use rust_xlsxwriter::{Format, Worksheet, XlsxError};

/// A cell takes 32,767 characters.
const CELL_MAX: usize = 32_000;
const MINUTES_OF_A_DAY: f64 = 1440.0;
/// Width of a digit of a column, in pixels.
pub(super) const DIGIT_PX: f64 = 7.0;

/// A text in a cell, whatever it begins with.
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

/// Returns the half-width characters that fit on a line of so many digits: the text's font is larger than
/// the one that columns are measured by.
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
