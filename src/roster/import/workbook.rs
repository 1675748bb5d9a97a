//! Reads XLSX and XLSB with calamine, and chooses the sheet. A workbook is a zip, which may unpack to
//! a thousand times its size. Therefore it is measured before it is opened.

use std::io::{Cursor, Read as _};

use calamine::{DataRef, Reader as _, SheetType, SheetVisible, Xlsb, Xlsx, XlsxError};
use jiff::civil::Date;
use zip::ZipArchive;

use super::{
    Cell, ImportError, Sheet, Table, damaged, headings, number_format, ods,
    parts::{Parts, Shown},
};

/// Maximum number of parts of a workbook.
const PARTS_MAX: usize = 1_000;
/// Maximum unpacked size of one part, in bytes.
const PART_MAX: u64 = 32 * 1024 * 1024;
/// Maximum unpacked size of all parts, in bytes.
const WHOLE_MAX: u64 = 128 * 1024 * 1024;
/// Maximum number of sheets that are searched for headings.
const SHEETS_MAX: usize = 20;

/// Reads the sheet that its program shows and that has the headings.
pub(super) fn read(bytes: &[u8]) -> Result<Sheet, ImportError> {
    measure(bytes)?;
    // calamine panics at a cell position outside of any sheet, because its sums overflow.
    std::panic::catch_unwind(|| shown(bytes))
        .unwrap_or_else(|_| Err(damaged("the position of a cell is outside of any sheet")))
}

fn shown(bytes: &[u8]) -> Result<Sheet, ImportError> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let has = |part: &str| {
        archive.file_names().filter_map(Result::ok).any(|name| name.eq_ignore_ascii_case(part))
    };
    if has("content.xml") {
        let mut sheets = ods::read(archive)?;
        let names = sheets.iter().map(|sheet| (sheet.name.clone(), sheet.visible)).collect();
        choose(names, |at, _| Ok(sheets.get_mut(at).map(std::mem::take)))
    } else if has("xl/workbook.bin") {
        binary(bytes)
    } else {
        excel(bytes, Parts(archive))
    }
}

fn excel(bytes: &[u8], mut parts: Parts<'_>) -> Result<Sheet, ImportError> {
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(damaged)?;
    let (paths, never_computed) = parts.sheets()?;
    choose(names(workbook.sheets_metadata()), |_, name| {
        let mut cells = match workbook.worksheet_cells_reader(name) {
            // A chart may be a sheet of its own.
            Err(XlsxError::NotAWorksheet(_) | XlsxError::WorksheetNotFound(_)) => return Ok(None),
            cells => cells.map_err(damaged)?,
        };
        let mut table = Table::default();
        while let Some((cell, style)) = cells.next_cell_with_style_id().map_err(damaged)? {
            let (row, column) = cell.get_position();
            let mut value = value(cell.get_value());
            let format = cells.styles().get(style).and_then(|s| s.number_format.as_ref());
            if let (Cell::Number(number), Some(format)) = (&value, format)
                && let Some(text) = number_format::shown(*number, &format.format_code)
            {
                value = Cell::Text(text);
            }
            table.add_shown(row, column, value)?;
        }
        drop(cells);
        let path = paths.get(name).ok_or_else(|| damaged(format!("sheet {name} has no part")))?;
        let Shown { hidden, merged, uncomputed } = parts.shown(path, never_computed)?;
        Ok(Some(Sheet { table, hidden, merged, uncomputed, ..Sheet::default() }))
    })
}

/// Reads a workbook of the binary kind (.xlsb). calamine does not tell its hidden rows, merged cells
/// and number formats.
fn binary(bytes: &[u8]) -> Result<Sheet, ImportError> {
    const NOTE: &str = "this is an .xlsb workbook: hidden rows are imported too, leading zeros that \
                        only a cell format shows are lost, and merged cells hold for one row; \
                        where it has these, save it as .xlsx";
    let mut workbook: Xlsb<_> = Xlsb::new(Cursor::new(bytes)).map_err(damaged)?;
    let names = names(workbook.sheets_metadata());
    let is_sheet = |name: &str, sheets: &[calamine::Sheet]| {
        sheets.iter().any(|s| s.name == name && s.typ == SheetType::WorkSheet)
    };
    let mut sheet = choose(names, |_, name| {
        if !is_sheet(name, workbook.sheets_metadata()) {
            return Ok(None);
        }
        let mut cells = workbook.worksheet_cells_reader(name).map_err(damaged)?;
        let mut table = Table::default();
        while let Some(cell) = cells.next_cell().map_err(damaged)? {
            let (row, column) = cell.get_position();
            table.add_shown(row, column, value(cell.get_value()))?;
        }
        Ok(Some(Sheet { table, ..Sheet::default() }))
    })?;
    sheet.notes.push(NOTE.to_owned());
    Ok(sheet)
}

fn names(sheets: &[calamine::Sheet]) -> Vec<(String, bool)> {
    let one = |s: &calamine::Sheet| (s.name.clone(), s.visible == SheetVisible::Visible);
    sheets.iter().map(one).collect()
}

/// Returns the first visible sheet with headings, or the one with the most headings. Its notes name
/// the sheet, and other sheets with headings.
fn choose(
    names: Vec<(String, bool)>,
    mut read: impl FnMut(usize, &str) -> Result<Option<Sheet>, ImportError>,
) -> Result<Sheet, ImportError> {
    let mut best: Option<(usize, Sheet)> = None;
    let (mut others, mut hidden) = (Vec::new(), Vec::new());
    for (at, (name, visible)) in names.into_iter().take(SHEETS_MAX).enumerate() {
        let found_enough = best.as_ref().is_some_and(|(found, _)| *found >= headings::ENOUGH);
        let sheet = read(at, &name).and_then(|sheet| sheet.map(Sheet::finished).transpose());
        let sheet = match sheet {
            Ok(Some(sheet)) => Sheet { name, visible, ..sheet },
            // The faults of a sheet that is not imported do not matter.
            Err(e) if visible && !found_enough => return Err(e),
            Ok(None) | Err(_) => continue,
        };
        let found = headings::most(&sheet.lines);
        let enough = found >= headings::ENOUGH;
        if !visible {
            hidden.extend(enough.then_some(sheet.name));
        } else if found_enough {
            others.extend(enough.then_some(sheet.name));
        } else if best.as_ref().is_none_or(|(most, _)| found > *most) {
            best = Some((found, sheet));
        }
    }
    let (found, mut sheet) = best.unwrap_or_default();
    if found < headings::ENOUGH && !hidden.is_empty() {
        return Err(ImportError::Hidden(hidden.join(", ")));
    }
    if let Some(place) = sheet.uncomputed {
        return Err(ImportError::Uncomputed { sheet: sheet.name, place });
    }
    sheet.notes.push(format!("sheet {} is imported", sheet.name));
    others.extend(hidden.into_iter().map(|name| format!("{name} (hidden)")));
    if !others.is_empty() {
        sheet.notes.push(format!(
            "other sheets have headings too, and are not imported: {}; to import one of them, save \
             it as a file of its own",
            others.join(", ")
        ));
    }
    Ok(sheet)
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

fn value(value: &DataRef<'_>) -> Cell {
    match value {
        DataRef::Empty => Cell::Empty,
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
        DataRef::Error(_) => Cell::Broken("is a formula with an error; replace it with the value"),
    }
}

fn date(year: u16, month: u8, day: u8) -> Option<Date> {
    let (year, month) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?);
    Date::new(year, month, i8::try_from(day).ok()?).ok()
}
