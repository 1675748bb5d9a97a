//! Converts a cell of a roster to text.

use super::Cell;
use crate::words::is_blank;

/// Maximum number of characters of a field's text. The roster's own bounds are narrower.
const FIELD_CHARS: usize = 500;
/// Limit below which each whole number of a spreadsheet is exact.
pub(super) const EXACT: f64 = 1e15;

/// Returns a cell's text, without the blanks and marks that spreadsheets and web pages add. `None`:
/// the cell is blank.
pub(super) fn plain(cell: &Cell) -> Result<Option<String>, String> {
    let text = match cell {
        Cell::Empty => return Ok(None),
        Cell::Broken(problem) => return Err((*problem).to_owned()),
        Cell::Date(date) => date.to_string(),
        Cell::Number(n) if n.abs() < EXACT && n.fract() == 0.0 => format!("{n:.0}"),
        Cell::Number(n) if n.abs() >= EXACT => {
            return Err("is stored as a number, so its last digits are lost; format the \
                        column as text and type the number again"
                .to_owned());
        }
        Cell::Number(n) => n.to_string(),
        Cell::Text(text) => text.clone(),
    };
    let mut text = trimmed(&text);
    // Excel's way to keep a number as text in a CSV file.
    if let Some(inner) = text.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"')) {
        text = trimmed(inner);
    }
    // Excel puts an apostrophe before a text that looks like a number.
    text = trimmed(text.strip_prefix(['\'', '’']).unwrap_or(text));
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('=') {
        return Err("is a formula; replace it with its value".to_owned());
    }
    if text.chars().count() > FIELD_CHARS {
        return Err(format!("must have at most {FIELD_CHARS} characters"));
    }
    Ok(Some(text.to_owned()))
}

/// Returns a text without the blanks and invisible marks around it.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}
