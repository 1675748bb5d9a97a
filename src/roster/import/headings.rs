//! Finds the field of each column by its heading. Case, width, spaces, brackets and signs do not
//! count.

use std::{collections::BTreeSet, sync::LazyLock};

use super::{Cell, HEADINGS_WITHIN, ImportError, Line, compact, folded};
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
        PhotoConsent = "photo-consent",
        ContractSigned = "contract-signed",
        TrainedOn = "trained-on",
        BankTail = "bank-tail",
        Card = "card",
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
    /// The file has no ids, and the column of the id holds the 序号.
    pub numbered: bool,
    pub ignored: Vec<String>,
    pub names: Names,
    pub photo_consents: Vec<PhotoColumn>,
}

/// A column of consents to photos for a platform.
#[derive(Clone, Debug)]
pub(super) struct PhotoColumn {
    pub at: usize,
    pub heading: String,
    /// The upstream in brackets behind the heading.
    pub upstream: Option<String>,
}

/// Returns the upstream that a heading names in brackets: 照片同意（guizhou）. A hint such as （是/否）
/// is none.
fn upstream_of(heading: &str) -> Option<String> {
    let folded = folded(heading);
    let (_, behind) = folded.split_once(['(', '[', '【'])?;
    let (name, _) = behind.split_once([')', ']', '】'])?;
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
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

/// The line of the headings, or the second of two.
struct Head {
    at: usize,
    /// For each column: its field, and the heading.
    columns: Vec<(Option<Field>, String)>,
}

impl Head {
    fn known(&self) -> usize {
        self.columns.iter().filter(|(field, _)| field.is_some()).count()
    }
}

fn text(line: &Line, column: usize) -> &str {
    match line.cells.get(column) {
        Some(Cell::Text(text)) => text.trim(),
        _ => "",
    }
}

/// Reads the headings of a line, or of two lines. The heading of a column is the lower one, behind
/// the upper one where only both together name a field: 有效期 over 起. Where there is no lower one,
/// it is the upper one.
fn head(lines: &[Line], at: usize, both: bool) -> Option<Head> {
    let lower = lines.get(at)?;
    let upper = if both { lines.get(at.checked_sub(1)?) } else { None };
    let width = lower.cells.len().max(upper.map_or(0, |line| line.cells.len()));
    let mut group = "";
    let column = |column: usize| {
        let (above, below) = (upper.map_or("", |line| text(line, column)), text(lower, column));
        if !above.is_empty() {
            group = above;
        }
        let heading = if below.is_empty() { above } else { below };
        let together = || Field::named(&format!("{group}{below}"));
        let field = match Field::named(heading) {
            None if !below.is_empty() && !group.is_empty() => together(),
            field => field,
        };
        (field, heading.to_owned())
    };
    Some(Head { at, columns: (0..width).map(column).collect() })
}

/// Returns the line with the most headings, or two lines where they have more.
fn best(lines: &[Line]) -> Option<Head> {
    let places = 0..lines.len().min(HEADINGS_WITHIN);
    // Of lines with the same number of headings, the first one counts.
    let known = |head: &Head| (head.known(), std::cmp::Reverse(head.at));
    let one = places.filter_map(|at| head(lines, at, false)).max_by_key(known)?;
    // The lines are neighbours. A worker's line below the headings would name fewer fields.
    let with = [one.at, one.at + 1].into_iter().filter(|at| {
        let line = |at: usize| lines.get(at).map(|line| line.number);
        at.checked_sub(1).and_then(line).is_some_and(|n| line(*at) == Some(n + 1))
    });
    let two = with.filter_map(|at| head(lines, at, true)).max_by_key(known);
    Some(match two.filter(|two| two.known() > one.known()) {
        Some(two) => two,
        None => one,
    })
}

/// Returns whether a line has headings, as on each page of a printed roster.
pub(super) fn are_headings(line: &Line) -> bool {
    head(std::slice::from_ref(line), 0, false).is_some_and(|head| head.known() >= ENOUGH)
}

/// Returns the number of headings of the line with the most headings.
pub(super) fn most(lines: &[Line]) -> usize {
    best(lines).map_or(0, |head| head.known())
}

/// Finds the column of each field. `contractor` is the heading of the contractor's column.
pub(super) fn find(lines: &[Line], contractor: Option<&str>) -> Result<Layout, ImportError> {
    let wrong = |problem: String| Err(ImportError::Headings(problem));
    let found = best(lines).filter(|head| head.known() > 0);
    let found = found.and_then(|head| lines.get(head.at).map(|line| (head, line.number)));
    let Some((Head { at, mut columns }, number)) = found else {
        return wrong(format!(
            "none of the first {HEADINGS_WITHIN} lines has headings; the headings must name at least {}",
            spelled(&KNOWN.iter().take(REQUIRED).collect::<Vec<_>>())
        ));
    };
    if let Some(contractor) = contractor {
        choose(&mut columns, contractor, number)?;
    }
    let numbered = columns.iter().all(|(field, _)| *field != Some(Field::Id));
    let numbered = numbered && number_by_serial(&mut columns);
    let of = |field: Option<Field>| {
        columns.iter().filter(move |(f, _)| *f == field).map(|(_, heading)| heading.as_str())
    };
    for known in &*KNOWN {
        let twice: Vec<&str> = of(Some(known.field)).collect();
        // Each platform may have a column of its own.
        let upstreams: BTreeSet<_> = twice.iter().map(|heading| upstream_of(heading)).collect();
        let apart = known.field == Field::PhotoConsent && upstreams.len() == twice.len();
        if twice.len() < 2 || apart && !upstreams.contains(&None) {
            continue;
        }
        let (count, all) = (twice.len(), twice.join(", "));
        return wrong(match known.field {
            Field::Contractor => format!(
                "line {number}: {count} columns may be the contractor, who employs the worker: {all}; \
                 say which with --contractor HEADING, such as --contractor {}",
                twice.last().copied().unwrap_or_default()
            ),
            field => {
                format!("line {number}: {count} columns are the {field}: {all}; keep one of them")
            }
        });
    }
    let required = KNOWN.iter().take(REQUIRED);
    let missing: Vec<&Heading> =
        required.filter(|known| of(Some(known.field)).next().is_none()).collect();
    if !missing.is_empty() {
        return wrong(format!(
            "headings are missing in line {number}: {}; other columns are optional",
            spelled(&missing)
        ));
    }
    let ignored = of(None).filter(|heading| !heading.is_empty()).map(str::to_owned).collect();
    // A message has one line, and a heading may have several.
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = |(field, heading): &(Option<Field>, String)| Some(((*field)?, one_line(heading)));
    let of_photos = columns.iter().enumerate();
    let of_photos = of_photos.filter(|(_, (field, _))| *field == Some(Field::PhotoConsent));
    let photo_consents = of_photos.map(|(at, (_, heading))| PhotoColumn {
        at,
        heading: one_line(heading),
        upstream: upstream_of(heading),
    });
    let photo_consents = photo_consents.collect();
    let names = Names(columns.iter().filter_map(named).collect());
    let columns = columns.into_iter().map(|(field, _)| field).collect();
    Ok(Layout { above: at + 1, columns, numbered, ignored, names, photo_consents })
}

/// Makes the column with this heading the only one of the contractor.
fn choose(
    columns: &mut [(Option<Field>, String)],
    contractor: &str,
    number: u32,
) -> Result<(), ImportError> {
    let is = |heading: &str| compact(heading) == compact(contractor);
    if !columns.iter().any(|(_, heading)| is(heading)) {
        let all: Vec<&str> =
            columns.iter().map(|(_, h)| h.as_str()).filter(|h| !h.is_empty()).collect();
        return Err(ImportError::Headings(format!(
            "line {number} has no heading {contractor:?} for --contractor; its headings are {}",
            all.join(", ")
        )));
    }
    for (field, heading) in columns {
        if is(heading) {
            *field = Some(Field::Contractor);
        } else if *field == Some(Field::Contractor) {
            *field = None;
        }
    }
    Ok(())
}

/// Makes the column of the 序号 that of the id. Returns whether there is one.
fn number_by_serial(columns: &mut [(Option<Field>, String)]) -> bool {
    let is =
        |heading: &str| matches!(&*compact(heading), "序号" | "serialno" | "serialnumber" | "no");
    let serial = columns.iter_mut().find(|(field, heading)| field.is_none() && is(heading));
    serial.map(|(field, _)| *field = Some(Field::Id)).is_some()
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
