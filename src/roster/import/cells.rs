//! A cell of a roster as text.

use super::Cell;
use crate::roster::identity::is_blank;

/// Characters of a field's text. The roster's own bounds are narrower.
const FIELD_CHARS: usize = 500;
/// Up to here every whole number of a spreadsheet is exact.
const EXACT: f64 = 1e15;

/// A cell's text, without what spreadsheets and web pages put around it. `None`: it is blank.
pub(super) fn plain(cell: &Cell) -> Result<Option<String>, String> {
    let text = match cell {
        Cell::Empty => return Ok(None),
        Cell::Broken(problem) => return Err((*problem).to_owned()),
        Cell::Date(date) => date.to_string(),
        Cell::Number(n) if n.abs() < EXACT && n.fract() == 0.0 => format!("{n:.0}"),
        Cell::Number(n) if n.abs() >= EXACT => {
            return Err("is stored as a number, of which the last digits are lost: format the \
                        column as text and type it again"
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
    // Excel marks text so, where it would take it for a number.
    text = trimmed(text.strip_prefix(['\'', '’']).unwrap_or(text));
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('=') {
        return Err("is a formula: put the value in its place".to_owned());
    }
    if text.chars().count() > FIELD_CHARS {
        return Err(format!("must have at most {FIELD_CHARS} characters"));
    }
    Ok(Some(text.to_owned()))
}

/// Without blanks of any width around it, and without marks that cannot be seen.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}
