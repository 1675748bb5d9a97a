//! Reads a roster from a spreadsheet, for `worker import`.
//!
//! In: the bytes of a CSV file or of a workbook, and the names of the photos that come with it.
//! Out: a [`Row`] for each worker, with a [`Candidate`] or the reason for the refusal, and the
//! worker of each photo. Touches nothing. It runs in the client; the daemon checks each candidate
//! again.
//!
//! | file | what it does |
//! |---|---|
//! | `text` | CSV: its encoding, its separator, its lines |
//! | `workbook` | XLSX and XLSB, measured before they are opened; the choice of the sheet |
//! | `parts` | XLSX: hidden rows, merged cells, formulas without values |
//! | `ods` | ODS, as its program shows it |
//! | `number_format` | a number as its cell shows it |
//! | `headings` | the field of each column, by its heading in Chinese or English |
//! | `cells` | a cell as text |
//! | `rows` | a line to a candidate, or to its faults |
//! | `closing` | lines that are no workers: sums, signatures, repeated headings |
//! | `photos` | the worker of each photo, by the file's name |
//! | `report` | texts without ID numbers, and cells without formulas |

mod cells;
mod closing;
mod headings;
mod number_format;
mod ods;
mod parts;
mod photos;
mod report;
mod rows;
mod text;
mod workbook;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

pub use headings::Names;
pub use photos::{Assigned, Listed, Photo, assign};
pub use report::{masked, neutral};
pub use rows::{Candidate, PhotoConsent, Row};

/// Maximum size of a file, in bytes.
pub const FILE_MAX: u64 = 32 * 1024 * 1024;
/// Maximum number of workers in a file. It equals the maximum of a roster.
pub const ROWS_MAX: usize = 10_000;
/// Maximum number of lines that are not empty.
const LINES_MAX: usize = 2 * ROWS_MAX;
/// Maximum number of columns.
const COLUMNS_MAX: usize = 100;
/// Maximum text of a cell, in bytes: the 32,767 characters of Excel, of three bytes each.
const CELL_MAX: usize = 32_767 * 3;
/// Maximum text of all cells, in bytes: a workbook may repeat one long text in every cell.
const TEXT_MAX: usize = 64 * 1024 * 1024;
/// Maximum number of lines that are searched for the headings; a title may come before them.
const HEADINGS_WITHIN: usize = 10;

/// Minimum number of ID numbers ending in 000 that refuses a file, unless all its numbers do. About
/// one right number in 1,000 ends so.
const CUT_MIN: usize = 3;
/// Maximum share of such numbers, as its denominator: 1 in 50.
const CUT_SHARE: usize = 50;

/// The reason for which a whole file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{0}")]
    Format(&'static str),
    #[error(
        "line {line}: mixed encodings: this line has another encoding than the rest of the file; \
         open the file in a program that shows it correctly, and save it again as UTF-8"
    )]
    Encoding { line: usize },
    #[error(
        "line {line}: a quote that is opened is never closed; close it, or write it twice in a cell"
    )]
    OpenQuote { line: u32 },
    #[error("the workbook is damaged: {0}; open it in a spreadsheet program and save it again")]
    Workbook(String),
    #[error("{what}; the maximum is {most}: {remedy}")]
    TooMuch { what: String, most: usize, remedy: &'static str },
    #[error("{0}")]
    Headings(String),
    #[error(
        "the visible sheets have no headings, and a hidden sheet has them: {0}; unhide the sheet that \
         is to be imported, and save the file"
    )]
    Hidden(String),
    #[error(
        "sheet {sheet}: the formula {place} has no value, because no spreadsheet program has computed \
         it; open the file in a spreadsheet program and save it"
    )]
    Uncomputed { sheet: String, place: String },
    #[error(
        "{cut} of {all} ID numbers end in 000: a spreadsheet program has kept 15 digits of each and \
         made the others 0, and this file does not hold them any more. Nothing is imported. Take the \
         numbers from the original list, in a column that is formatted as text"
    )]
    CutNumbers { cut: usize, all: usize },
}

/// A cell of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Cell {
    #[default]
    Empty,
    Text(String),
    Number(f64),
    Date(Date),
    /// The cell has no usable value; this is the reason.
    Broken(&'static str),
}

/// A line that is not empty, and its number in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub number: u32,
    pub cells: Vec<Cell>,
}

/// The lines of a sheet, within all bounds. They may come in any order.
#[derive(Debug, Default)]
struct Table {
    lines: BTreeMap<u32, Vec<Cell>>,
    text: usize,
}

impl Table {
    fn add(&mut self, number: u32, column: usize, cell: Cell) -> Result<(), ImportError> {
        if column >= COLUMNS_MAX {
            return Err(ImportError::TooMuch {
                what: format!("line {number} has a cell in column {}", column + 1),
                most: COLUMNS_MAX,
                remedy: "delete the columns that are not part of the roster",
            });
        }
        if let Cell::Text(text) = &cell {
            self.text += text.len();
            let too_long = |what: &str, most| ImportError::TooMuch {
                what: format!("line {number}: the text of {what} has too many bytes"),
                most,
                remedy: "look for a quote that is never closed, and for pasted documents",
            };
            if text.len() > CELL_MAX {
                return Err(too_long("one cell", CELL_MAX));
            }
            if self.text > TEXT_MAX {
                return Err(too_long("all cells", TEXT_MAX));
            }
        }
        if !self.lines.contains_key(&number) && self.lines.len() == LINES_MAX {
            return Err(too_many_rows());
        }
        let cells = self.lines.entry(number).or_default();
        cells.resize(cells.len().max(column + 1), Cell::Empty);
        if let Some(place) = cells.get_mut(column) {
            *place = cell;
        }
        Ok(())
    }

    /// Adds a workbook's cell, whose position counts from 0. An empty cell is left out.
    fn add_shown(&mut self, row: u32, column: u32, cell: Cell) -> Result<(), ImportError> {
        match &cell {
            Cell::Empty => Ok(()),
            Cell::Text(text) if text.trim().is_empty() => Ok(()),
            _ => self.add(row.saturating_add(1), column as usize, cell),
        }
    }

    /// Copies the value of each merged cell to its other lines, as far as they have cells.
    fn spread(&mut self, merged: &[Merged]) -> Result<(), ImportError> {
        let mut copied = 0;
        for Merged { first, last, column } in merged {
            let at = |cells: &Vec<Cell>| cells.get(*column).cloned().unwrap_or_default();
            let value = self.lines.get(first).map(at).unwrap_or_default();
            if value == Cell::Empty || last <= first {
                continue;
            }
            let below: Vec<u32> = self.lines.range(first + 1..=*last).map(|(n, _)| *n).collect();
            copied += below.len();
            if copied > LINES_MAX * COLUMNS_MAX {
                return Err(damaged("its merged cells overlap"));
            }
            for number in below {
                self.add(number, *column, value.clone())?;
            }
        }
        Ok(())
    }

    fn into_lines(self) -> Vec<Line> {
        self.lines.into_iter().map(|(number, cells)| Line { number, cells }).collect()
    }
}

/// A cell that is merged over several lines; its value is in the first.
#[derive(Debug)]
struct Merged {
    first: u32,
    last: u32,
    column: usize,
}

/// A sheet as its program shows it.
#[derive(Debug, Default)]
struct Sheet {
    name: String,
    visible: bool,
    table: Table,
    /// The lines of the table, when it is complete.
    lines: Vec<Line>,
    /// Numbers of lines that a filter hides, or that are hidden by hand.
    hidden: BTreeSet<u32>,
    merged: Vec<Merged>,
    /// The first cell whose formula has no value.
    uncomputed: Option<String>,
    notes: Vec<String>,
}

impl Sheet {
    fn finished(mut self) -> Result<Sheet, ImportError> {
        self.table.spread(&self.merged)?;
        self.lines = std::mem::take(&mut self.table).into_lines();
        Ok(self)
    }
}

fn damaged(e: impl std::fmt::Display) -> ImportError {
    ImportError::Workbook(e.to_string())
}

fn too_many_rows() -> ImportError {
    ImportError::TooMuch {
        what: "the file has too many rows".to_owned(),
        most: ROWS_MAX,
        remedy: "split the file, and import the parts one after the other",
    }
}

/// The contents of a file.
#[derive(Debug)]
pub struct RosterFile {
    pub rows: Vec<Row>,
    /// Headings of columns that are ignored.
    pub ignored: Vec<String>,
    /// Lines that are no workers, by their numbers, with the first text of each: 合计, 制表人.
    pub passed_over: Vec<(u32, String)>,
    /// Numbers of lines that the file's program hides. They are not imported.
    pub hidden: Vec<u32>,
    /// What an admin must know of the reading, such as the name of the sheet.
    pub notes: Vec<String>,
    pub names: Names,
}

/// Reads a whole file. Its first bytes decide its format, not its name.
pub fn read(bytes: &[u8]) -> Result<RosterFile, ImportError> {
    read_with(bytes, None)
}

/// Reads a whole file. `contractor` is the heading of the contractor's column, where several columns
/// may be it.
pub fn read_with(bytes: &[u8], contractor: Option<&str>) -> Result<RosterFile, ImportError> {
    const OLD: &str = "this is a workbook of the old kind (.xls), or one with a password: save it \
                       as .xlsx without a password, or as CSV";
    const WIDE: &str = "this text is saved as UTF-16 (\"Unicode text\"): save it as CSV UTF-8, or \
                        as .xlsx";
    const OTHER: &str = "this is neither a CSV file nor a workbook (.xlsx, .ods, .xlsb): save the \
                         roster as .xlsx";
    let begins = |with: &[u8]| bytes.starts_with(with);
    let workbook = begins(b"PK\x03\x04") || begins(b"PK\x05\x06");
    let sheet = if workbook {
        workbook::read(bytes)?
    } else if begins(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Err(ImportError::Format(OLD));
    } else if let Some(what) = text::markup(bytes) {
        return Err(ImportError::Format(what));
    } else if begins(&[0xff, 0xfe]) || begins(&[0xfe, 0xff]) {
        return Err(ImportError::Format(WIDE));
    } else if begins(b"%PDF") || bytes.contains(&0) {
        return Err(ImportError::Format(OTHER));
    } else {
        Sheet { lines: text::read(bytes)?, ..Sheet::default() }
    };
    let layout = headings::find(&sheet.lines, contractor)?;
    rows::read(sheet, layout, !workbook)
}

/// Returns a text for comparisons: Unicode's NFKC form (half width, no ligatures) in lower case.
fn folded(text: &str) -> String {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(text).to_lowercase()
}

/// Returns a document's number for comparisons: folded, without the blanks that people put between
/// its parts.
fn compact(number: &str) -> String {
    let plain = super::identity::without_blanks(&folded(number));
    super::identity::with_latin_x(&plain).to_lowercase()
}

#[cfg(test)]
mod tests;
