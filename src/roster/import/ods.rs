//! Reads an OpenDocument spreadsheet (.ods) as its program shows it: the texts of numbers, the sheets
//! and rows that are hidden, the cells that are merged. calamine gives the bare numbers.

use std::{collections::HashSet, io::Cursor};

use jiff::civil::Date;
use quick_xml::{
    escape::unescape,
    events::{BytesStart, Event},
};
use zip::ZipArchive;

use super::{
    COLUMNS_MAX, Cell, ImportError, Merged, Sheet,
    cells::EXACT,
    damaged, folded,
    parts::{Parts, local, reader, value},
};

/// Maximum number of lines of a sheet in the program.
const LAST_LINE: u32 = 1 << 20;

/// A cell that is being read.
#[derive(Default)]
struct Open {
    kind: String,
    value: String,
    formula: bool,
    error: bool,
    repeated: usize,
    /// Number of lines that it is merged over.
    lines: u32,
    text: String,
    paragraphs: usize,
}

/// The sheet and line that are being read.
#[derive(Default)]
struct At {
    sheet: Sheet,
    line: u32,
    repeated: u32,
    column: usize,
    hides: bool,
    cells: Vec<(usize, Cell)>,
}

pub(super) fn read(archive: ZipArchive<Cursor<&[u8]>>) -> Result<Vec<Sheet>, ImportError> {
    let mut parts = Parts(archive);
    let manifest = parts.text("META-INF/manifest.xml")?.unwrap_or_default();
    if manifest.contains("encryption-data") {
        return Err(ImportError::Format(
            "this spreadsheet has a password: save it without a password",
        ));
    }
    let text = parts.text("content.xml")?.ok_or_else(|| damaged("it has no content.xml"))?;
    let mut reader = reader(&text);
    let (mut style, mut hidden_styles) = (String::new(), HashSet::new());
    let (mut sheets, mut at): (Vec<Sheet>, Option<At>) = (Vec::new(), None);
    let mut cell: Option<Open> = None;
    // Depth within a remark, whose text is no part of the cell.
    let mut remark = 0_u32;
    loop {
        let event = reader.read_event().map_err(damaged)?;
        match event {
            Event::Eof => break,
            Event::Start(e) if local(&e) == "annotation" || remark > 0 => remark += 1,
            Event::End(_) if remark > 0 => remark -= 1,
            _ if remark > 0 => {}
            Event::Start(e) => match local(&e) {
                "style" => style = value(&e, "name")?,
                "table-properties" if value(&e, "display")? == "false" => {
                    hidden_styles.insert(std::mem::take(&mut style));
                }
                "table" => {
                    let visible = !hidden_styles.contains(&value(&e, "style-name")?);
                    let sheet = Sheet { name: value(&e, "name")?, visible, ..Sheet::default() };
                    at = Some(At { sheet, line: 1, ..At::default() });
                }
                "table-row" => {
                    if let Some(at) = &mut at {
                        at.repeated = value(&e, "number-rows-repeated")?.parse().unwrap_or(1);
                        at.hides = matches!(&*value(&e, "visibility")?, "collapse" | "filter");
                        (at.column, at.cells) = (0, Vec::new());
                    }
                }
                "table-cell" | "covered-table-cell" => cell = Some(open(&e)?),
                "p" => {
                    if let Some(cell) = &mut cell {
                        cell.text.extend((cell.paragraphs > 0).then_some('\n'));
                        cell.paragraphs += 1;
                    }
                }
                "s" | "tab" | "line-break" => {
                    if let Some(cell) = &mut cell {
                        cell.text.push(' ');
                    }
                }
                _ => {}
            },
            Event::Text(text) => {
                if let Some(cell) = cell.as_mut().filter(|cell| cell.paragraphs > 0) {
                    cell.text.push_str(&text);
                }
            }
            Event::GeneralRef(name) => {
                let c = match &*name {
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "amp" => Some('&'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => name.resolve_char_ref().map_err(damaged)?,
                };
                if let Some(cell) = &mut cell {
                    cell.text.extend(c);
                }
            }
            Event::End(e) => match e.local_name().as_ref() {
                "table-cell" | "covered-table-cell" => {
                    if let (Some(at), Some(cell)) = (&mut at, cell.take()) {
                        at.close_cell(cell);
                    }
                }
                "table-row" => {
                    if let Some(at) = &mut at {
                        at.close_line()?;
                    }
                }
                "table" => sheets.extend(at.take().map(|at| at.sheet)),
                _ => {}
            },
            _ => {}
        }
    }
    Ok(sheets)
}

fn open(e: &BytesStart<'_>) -> Result<Open, ImportError> {
    let number = |name: &str| Ok::<_, ImportError>(value(e, name)?.parse().unwrap_or(1_u32));
    let mut cell = Open {
        repeated: number("number-columns-repeated")? as usize,
        lines: number("number-rows-spanned")?,
        ..Open::default()
    };
    for attribute in e.attributes().with_checks(false) {
        let attribute = attribute.map_err(damaged)?;
        let text = unescape(&attribute.value).map_err(damaged)?;
        match attribute.key.as_ref() {
            "office:value-type" => cell.kind = text.into_owned(),
            "calcext:value-type" => cell.error = text == "error",
            "table:formula" => cell.formula = true,
            "office:value"
            | "office:date-value"
            | "office:boolean-value"
            | "office:string-value" => cell.value = text.into_owned(),
            _ => {}
        }
    }
    Ok(cell)
}

impl Open {
    fn read(self) -> Cell {
        let Open { kind, value, text, .. } = self;
        match kind.as_str() {
            _ if self.error => {
                Cell::Broken("is a formula with an error; replace it with the value")
            }
            "" => Cell::Empty,
            "float" => match value.parse::<f64>() {
                Ok(number) if number.abs() < EXACT && shows(&text, number) => Cell::Text(text),
                Ok(number) => Cell::Number(number),
                Err(_) => Cell::Text(text),
            },
            "date" => {
                let day = value.get(..10).and_then(|day| day.parse::<Date>().ok());
                day.map_or(Cell::Broken("is no date"), Cell::Date)
            }
            "time" => Cell::Broken("is formatted as a time: format it as text or as a date"),
            "boolean" => Cell::Text(value),
            _ if text.is_empty() => Cell::Text(value),
            _ => Cell::Text(text),
        }
    }
}

/// Returns whether a cell's text has the digits of its number, perhaps after zeros and other signs.
/// An amount, such as 1,200.00, has not.
fn shows(text: &str, number: f64) -> bool {
    let digits: String = folded(text).chars().filter(char::is_ascii_digit).collect();
    let amount = text.contains(['.', ',', '%']);
    number >= 0.0 && !amount && digits.parse::<f64>().is_ok_and(|shown| shown == number)
}

impl At {
    fn close_cell(&mut self, cell: Open) {
        let (column, repeated) = (self.column, cell.repeated);
        self.column = self.column.saturating_add(repeated);
        if cell.lines > 1 {
            let last = self.line.saturating_add(cell.lines - 1);
            self.sheet.merged.push(Merged { first: self.line, last, column });
        }
        if cell.formula && cell.kind.is_empty() && !self.hides {
            let place = || format!("in column {} of line {}", column + 1, self.line);
            self.sheet.uncomputed.get_or_insert_with(place);
        }
        let read = cell.read();
        if read == Cell::Empty || matches!(&read, Cell::Text(t) if t.trim().is_empty()) {
            return;
        }
        let columns = (column..).take(repeated.min(COLUMNS_MAX + 1));
        self.cells.extend(columns.map(|column| (column, read.clone())));
    }

    fn close_line(&mut self) -> Result<(), ImportError> {
        let next = self.line.saturating_add(self.repeated).min(LAST_LINE);
        let cells = std::mem::take(&mut self.cells);
        if !cells.is_empty() {
            for line in self.line..next {
                for (column, cell) in &cells {
                    self.sheet.table.add(line, *column, cell.clone())?;
                }
                if self.hides {
                    self.sheet.hidden.insert(line);
                }
            }
        }
        self.line = next;
        Ok(())
    }
}
