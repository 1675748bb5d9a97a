//! Reads XLSX with calamine. A workbook is a zip, which may unpack to a thousand times its size.
//! Therefore it is measured before it is opened.

use std::io::{Cursor, Read as _};

use calamine::{DataRef, Reader as _, Xlsx, XlsxError};
use jiff::civil::Date;
use zip::ZipArchive;

use super::{Cell, ImportError, Line, Table, headings};

/// Maximum number of parts of a workbook.
const PARTS_MAX: usize = 1_000;
/// Maximum unpacked size of one part, in bytes.
const PART_MAX: u64 = 32 * 1024 * 1024;
/// Maximum unpacked size of all parts, in bytes.
const WHOLE_MAX: u64 = 128 * 1024 * 1024;
/// Maximum number of sheets that are searched for headings.
const SHEETS_MAX: usize = 20;

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Line>, ImportError> {
    measure(bytes)?;
    // calamine panics at a cell position outside of any sheet, because its sums overflow.
    std::panic::catch_unwind(|| lines(bytes))
        .unwrap_or_else(|_| Err(damaged("the position of a cell is outside of any sheet")))
}

/// Returns the lines of the first sheet with headings, or of the sheet with the most headings.
fn lines(bytes: &[u8]) -> Result<Vec<Line>, ImportError> {
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut best = (0, Vec::new());
    for name in workbook.sheet_names().into_iter().take(SHEETS_MAX) {
        let lines = match sheet(&mut workbook, &name) {
            // A chart may be a sheet of its own.
            Err(XlsxError::NotAWorksheet(_) | XlsxError::WorksheetNotFound(_)) => continue,
            read => read.map_err(damaged)??,
        };
        let found = headings::most(&lines);
        if found >= headings::ENOUGH {
            return Ok(lines);
        }
        if found > best.0 {
            best = (found, lines);
        }
    }
    Ok(best.1)
}

fn damaged(e: impl std::fmt::Display) -> ImportError {
    ImportError::Workbook(e.to_string())
}

/// Unpacks each part up to the maximum and drops the bytes, because the sizes that a zip states may
/// be wrong. calamine uses the same crate, so it reads no more bytes than this.
fn measure(bytes: &[u8]) -> Result<(), ImportError> {
    let bomb = |what: String, most: usize| ImportError::TooMuch {
        what,
        most,
        remedy: "this is no roster; copy the rows to a new workbook",
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > PARTS_MAX {
        return Err(bomb(format!("the workbook has {} parts", archive.len()), PARTS_MAX));
    }
    let mut whole = 0;
    for number in 0..archive.len() {
        let part = archive.by_index(number).map_err(damaged)?;
        let most = PART_MAX.min(WHOLE_MAX - whole);
        let unpacked = if part.size() > most {
            part.size()
        } else {
            std::io::copy(&mut part.take(most + 1), &mut std::io::sink()).map_err(damaged)?
        };
        if unpacked > most {
            let what = "the workbook unpacks to too many bytes".to_owned();
            return Err(bomb(what, usize::try_from(most).unwrap_or(usize::MAX)));
        }
        whole += unpacked;
    }
    Ok(())
}

/// Returns the lines of one sheet. The outer error is the workbook's.
fn sheet(
    workbook: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
) -> Result<Result<Vec<Line>, ImportError>, XlsxError> {
    let mut cells = workbook.worksheet_cells_reader(name)?;
    let mut table = Table::default();
    while let Some(cell) = cells.next_cell()? {
        let (row, column) = cell.get_position();
        let value = match cell.get_value() {
            DataRef::Empty => continue,
            DataRef::Int(n) => Cell::Number(*n as f64),
            DataRef::Float(n) => Cell::Number(*n),
            DataRef::String(text) => Cell::Text(text.clone()),
            DataRef::SharedString(text) => Cell::Text((*text).to_owned()),
            DataRef::Bool(truth) => Cell::Text(truth.to_string()),
            DataRef::DateTime(at) if at.is_datetime() => {
                let (year, month, day, ..) = at.to_ymd_hms_milli();
                date(year, month, day).map_or(Cell::Broken("is no date"), Cell::Date)
            }
            DataRef::DateTimeIso(text) => Cell::Text(text.clone()),
            DataRef::DateTime(_) | DataRef::DurationIso(_) => {
                Cell::Broken("is formatted as a time: format it as text or as a date")
            }
            DataRef::Error(_) => {
                Cell::Broken("is a formula with an error; replace it with the value")
            }
        };
        if matches!(&value, Cell::Text(text) if text.trim().is_empty()) {
            continue;
        }
        if let Err(e) = table.add(row.saturating_add(1), column as usize, value) {
            return Ok(Err(e));
        }
    }
    Ok(Ok(table.into_lines()))
}

fn date(year: u16, month: u8, day: u8) -> Option<Date> {
    let (year, month) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?);
    Date::new(year, month, i8::try_from(day).ok()?).ok()
}
