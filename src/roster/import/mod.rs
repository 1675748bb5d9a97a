//! A roster as a spreadsheet has it: what `worker import` reads.
//!
//! In: the bytes of a CSV file or an XLSX workbook, and the names of the photos that come with it.
//! Out: a [`Row`] for each worker, which is a [`Candidate`] or the reason why not, and whose photo
//! is whose. Touches nothing: it runs in the client, and the daemon judges each candidate again.
//!
//! | file | what it does |
//! |---|---|
//! | `text` | CSV: its encoding, its separator, its lines |
//! | `workbook` | XLSX, measured before it is opened |
//! | `headings` | which column is what, in Chinese or English |
//! | `cells` | a cell as text |
//! | `rows` | a line to a candidate, or to what is wrong with it |
//! | `closing` | lines that are no workers: sums, signatures, headings once more |
//! | `photos` | whose photo a file is, by its name |
//! | `report` | what may be shown of it, and to a spreadsheet |

mod cells;
mod closing;
mod headings;
mod photos;
mod report;
mod rows;
mod text;
mod workbook;

use std::collections::BTreeMap;

use jiff::civil::Date;

pub use headings::Names;
pub use photos::{Assigned, Listed, Photo, assign};
pub use report::{masked, neutral};
pub use rows::{Candidate, Row};

/// A file's bytes.
pub const FILE_MAX: u64 = 32 * 1024 * 1024;
/// Workers in a file: as many as a roster holds.
pub const ROWS_MAX: usize = 10_000;
/// Lines with anything in them, counted or not.
const LINES_MAX: usize = 2 * ROWS_MAX;
const COLUMNS_MAX: usize = 100;
/// What a cell of a spreadsheet may hold.
const CELL_MAX: usize = 32_767 * 3;
/// All of its text together: a workbook may repeat one long text in every cell.
const TEXT_MAX: usize = 64 * 1024 * 1024;
/// The headings stand within so many lines of the top, below a title.
const HEADINGS_WITHIN: usize = 10;

/// Why a file is not taken at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{0}")]
    Format(&'static str),
    #[error(
        "line {line}: mixed encodings: this line is not in the one that the rest is in; open the \
         file where it is shown right, and save it anew as UTF-8"
    )]
    Encoding { line: usize },
    #[error(
        "line {line}: a quote that is opened is never closed; close it, or double it inside a cell"
    )]
    OpenQuote { line: u32 },
    #[error("the workbook is damaged: {0}; open it in a spreadsheet program and save it anew")]
    Workbook(String),
    #[error("{what}; that is more than the {most} allowed: {remedy}")]
    TooMuch { what: String, most: usize, remedy: &'static str },
    #[error("{0}")]
    Headings(String),
}

/// A cell as the file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Cell {
    #[default]
    Empty,
    Text(String),
    Number(f64),
    Date(Date),
    /// What stands in place of a value.
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
                remedy: "delete the columns that belong to no roster",
            });
        }
        if let Cell::Text(text) = &cell {
            self.text += text.len();
            let too_long = |what: &str, most| ImportError::TooMuch {
                what: format!("line {number} brings the text of {what} to too many bytes"),
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

    fn into_lines(self) -> Vec<Line> {
        self.lines.into_iter().map(|(number, cells)| Line { number, cells }).collect()
    }
}

fn too_many_rows() -> ImportError {
    ImportError::TooMuch {
        what: "the file has too many rows".to_owned(),
        most: ROWS_MAX,
        remedy: "split the file, and import one after the other",
    }
}

/// What a file holds.
#[derive(Debug)]
pub struct RosterFile {
    pub rows: Vec<Row>,
    /// Headings of columns that are not taken in.
    pub ignored: Vec<String>,
    /// Lines that are no workers, by their numbers, and what stands first in each: 合计, 制表人.
    pub passed_over: Vec<(u32, String)>,
    pub names: Names,
}

/// Reads a whole file. What it is its bytes say, not its name.
pub fn read(bytes: &[u8]) -> Result<RosterFile, ImportError> {
    const OLD: &str = "this is a workbook of the old kind (.xls), or one with a password: save it \
                       as .xlsx without a password, or as CSV";
    const WIDE: &str = "this text is saved as UTF-16 (\"Unicode text\"): save it as CSV UTF-8, or \
                        as .xlsx";
    const OTHER: &str = "this is neither a CSV file nor an .xlsx workbook: save the roster as one \
                         of them";
    let begins = |with: &[u8]| bytes.starts_with(with);
    let workbook = begins(b"PK\x03\x04") || begins(b"PK\x05\x06");
    let lines = if workbook {
        workbook::read(bytes)?
    } else if begins(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Err(ImportError::Format(OLD));
    } else if begins(&[0xff, 0xfe]) || begins(&[0xfe, 0xff]) {
        return Err(ImportError::Format(WIDE));
    } else if begins(b"%PDF") || bytes.contains(&0) {
        return Err(ImportError::Format(OTHER));
    } else {
        text::read(bytes)?
    };
    let layout = headings::find(&lines)?;
    rows::read(&lines, layout, !workbook)
}

/// Text by which things are compared: Unicode's compatible, composed form (half width, no ligatures)
/// in lower case.
fn folded(text: &str) -> String {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(text).to_lowercase()
}

/// A document's number to be compared: folded, without the blanks that people put between its parts.
fn compact(number: &str) -> String {
    super::identity::without_blanks(&folded(number))
}

#[cfg(test)]
mod tests;
