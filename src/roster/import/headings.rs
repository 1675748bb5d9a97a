//! Finds the field of each column by its heading. Case, width, spaces, brackets and signs do not
//! count.

use std::sync::LazyLock;

use super::{Cell, HEADINGS_WITHIN, ImportError, Line, folded};
use crate::words::words;

words! {
    /// A field that a column may hold, with its label in messages.
    pub(super) enum Field {
        Id = "id",
        Name = "name",
        IdNumber = "id-number",
        Team = "team",
        Contractor = "contractor",
        Trade = "trade",
        IdType = "id-type",
        Gender = "gender",
        BirthDate = "birth-date",
        Phone = "phone",
        ValidFrom = "valid-from",
        ValidUntil = "valid-until",
        Consent = "consent",
        ConsentOn = "consent-on",
        ContractSigned = "contract-signed",
        TrainedOn = "trained-on",
        BankTail = "bank-tail",
    }
}

/// A field and the spellings of its heading (`headings.txt`).
struct Heading {
    field: Field,
    spellings: &'static str,
}

/// Number of required fields. They come first in [`KNOWN`].
const REQUIRED: usize = 6;
static KNOWN: LazyLock<Vec<Heading>> = LazyLock::new(|| {
    let known = |line: &'static str| {
        let (label, spellings) = line.split_once(": ")?;
        Some(Heading { field: Field::from_word(label)?, spellings })
    };
    include_str!("headings.txt").lines().filter_map(known).collect()
});

/// Minimum number of known headings that makes a line the line of the headings.
pub(super) const ENOUGH: usize = 3;

impl Field {
    /// Returns the field that a heading names. The text in brackets may be part of the name
    /// (`有效期（起）`) or not (`姓名（必填）`).
    pub(super) fn named(heading: &str) -> Option<Field> {
        let find = |text: &str| {
            let plain: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
            KNOWN.iter().find(|k| k.spellings.split_whitespace().any(|s| s == plain))
        };
        let heading = folded(heading);
        let mut depth = 0_u32;
        let outside = |c: &char| {
            match c {
                '(' | '[' | '【' | '〔' | '〈' | '<' => depth += 1,
                ')' | ']' | '】' | '〕' | '〉' | '>' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        };
        let without: String = heading.chars().filter(outside).collect();
        find(&heading).or_else(|| find(&without)).map(|k| k.field)
    }
}

/// The positions of the headings and fields in a file.
#[derive(Debug)]
pub(super) struct Layout {
    /// Number of lines up to the headings, with the line of the headings.
    pub above: usize,
    pub columns: Vec<Option<Field>>,
    pub ignored: Vec<String>,
    pub names: Names,
}

impl Layout {
    /// Returns the cell of a line under the heading of a field.
    pub(super) fn cell<'l>(&self, line: &'l Line, field: Field) -> &'l Cell {
        let mut known = self.columns.iter().zip(&line.cells);
        known.find(|(f, _)| **f == Some(field)).map_or(&Cell::Empty, |(_, cell)| cell)
    }
}

/// The file's heading of each field, for messages about the file.
#[derive(Debug, Default)]
pub struct Names(Vec<(Field, String)>);

impl Names {
    /// Returns the heading as the file spells it. Returns a known spelling where the file has no
    /// column for the field.
    pub(super) fn of(&self, field: Field) -> String {
        let own = self.0.iter().find(|(known, _)| *known == field).map(|(_, name)| name.clone());
        own.unwrap_or_else(|| {
            let known = KNOWN.iter().find(|k| k.field == field);
            let mut spellings = known.map_or("", |k| k.spellings).split_whitespace();
            let (english, chinese) = (spellings.next(), spellings.next());
            format!("{} ({})", chinese.unwrap_or_default(), english.unwrap_or_default())
        })
    }

    /// Returns the heading of the field with this label. Returns the label where no column may hold
    /// the field.
    pub fn called(&self, label: &str) -> String {
        Field::from_word(label).map_or_else(|| label.to_owned(), |field| self.of(field))
    }
}

fn fields(line: &Line) -> impl Iterator<Item = Option<Field>> {
    line.cells.iter().map(|cell| match cell {
        Cell::Text(text) => Field::named(text),
        _ => None,
    })
}

/// Returns the line with the most headings, and their number.
fn best(lines: &[Line]) -> Option<(usize, usize)> {
    let counted = lines.iter().take(HEADINGS_WITHIN).map(|line| fields(line).flatten().count());
    // Of lines with the same number of headings, the first one counts.
    counted.enumerate().max_by_key(|(at, count)| (*count, std::cmp::Reverse(*at)))
}

/// Returns whether a line has headings, as on each page of a printed roster.
pub(super) fn are_headings(line: &Line) -> bool {
    fields(line).flatten().count() >= ENOUGH
}

/// Returns the number of headings of the line with the most headings.
pub(super) fn most(lines: &[Line]) -> usize {
    best(lines).map_or(0, |(_, count)| count)
}

pub(super) fn find(lines: &[Line]) -> Result<Layout, ImportError> {
    let wrong = |problem: String| Err(ImportError::Headings(problem));
    let Some((at, line)) = best(lines)
        .filter(|(_, count)| *count > 0)
        .and_then(|(at, _)| lines.get(at).map(|line| (at, line)))
    else {
        return wrong(format!(
            "none of the first {HEADINGS_WITHIN} lines has headings; the headings must name at least {}",
            spelled(&KNOWN.iter().take(REQUIRED).collect::<Vec<_>>())
        ));
    };
    let columns: Vec<Option<Field>> = fields(line).collect();
    let texts = line.cells.iter().map(|cell| match cell {
        Cell::Text(text) => text.trim(),
        _ => "",
    });
    let headings: Vec<(Option<Field>, &str)> = columns.iter().copied().zip(texts).collect();
    let of = |field: Option<Field>| {
        headings.iter().filter(move |(f, _)| *f == field).map(|(_, heading)| *heading)
    };
    for known in &*KNOWN {
        let twice: Vec<&str> = of(Some(known.field)).collect();
        if twice.len() > 1 {
            return wrong(format!(
                "line {}: {} columns are the {}: {}; keep one of them",
                line.number,
                twice.len(),
                known.field,
                twice.join(", ")
            ));
        }
    }
    let required = KNOWN.iter().take(REQUIRED);
    let missing: Vec<&Heading> =
        required.filter(|known| !columns.contains(&Some(known.field))).collect();
    if !missing.is_empty() {
        return wrong(format!(
            "headings are missing in line {}: {}; other columns are optional",
            line.number,
            spelled(&missing)
        ));
    }
    let ignored = of(None).filter(|heading| !heading.is_empty()).map(str::to_owned).collect();
    // A message has one line, and a heading may have several.
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = |(field, heading): &(Option<Field>, &str)| Some(((*field)?, one_line(heading)));
    let names = Names(headings.iter().filter_map(named).collect());
    Ok(Layout { above: at + 1, columns, ignored, names })
}

/// Returns the fields with some spellings of each.
fn spelled(known: &[&Heading]) -> String {
    let one = |known: &&Heading| {
        let spellings: Vec<&str> = known.spellings.split_whitespace().skip(1).take(3).collect();
        format!("{} ({})", known.field, spellings.join(", "))
    };
    known.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) fn every_spelling() -> impl Iterator<Item = (Field, &'static str)> {
    KNOWN.iter().flat_map(|k| k.spellings.split_whitespace().map(|s| (k.field, s)))
}

#[cfg(test)]
pub(super) fn every_field() -> usize {
    KNOWN.iter().filter(|k| k.spellings.split(' ').count() >= 2).count()
}
