//! Reads CSV in UTF-8 or GB18030, separated by commas, semicolons or tabs.

use std::borrow::Cow;

use encoding_rs::GB18030;

use super::{Cell, ImportError, Line, Table, headings};

/// Maximum number of bytes that are searched for the signs of markup.
const MARKUP_WITHIN: usize = 4_096;

/// Returns what a file with markup is, with the remedy. `None`: it has no markup. Offices' systems
/// export web pages and XML under the name .xls, and Excel opens them.
pub(super) fn markup(bytes: &[u8]) -> Option<&'static str> {
    const HTML: &str = "this is a web page (HTML), even if its name ends in .xls: open it in a \
                        spreadsheet program and save it as .xlsx";
    const XML: &str = "this is an XML Spreadsheet 2003, even if its name ends in .xls: open it in a \
                       spreadsheet program and save it as .xlsx";
    const OTHER: &str = "this is an XML file and no roster: open it in a spreadsheet program and \
                         save it as .xlsx";
    let head = bytes.get(..bytes.len().min(MARKUP_WITHIN))?;
    // A mark at the beginning may say UTF-16.
    let text = encoding_rs::UTF_8.decode(head).0.to_ascii_lowercase();
    let text = text.trim_start();
    let has = |word: &str| text.contains(word);
    if text.starts_with("mime-version:") {
        return Some(HTML);
    }
    if !text.starts_with('<') {
        return None;
    }
    let html = ["<html", "<table", "<!doctype html", "<meta", "<body", "<head"];
    match () {
        () if has("urn:schemas-microsoft-com:office:spreadsheet") && has("<workbook") => Some(XML),
        () if has("progid=\"excel.sheet\"") => Some(XML),
        () if html.into_iter().any(has) => Some(HTML),
        () if has("<?xml") || has("xmlns") => Some(OTHER),
        () => None,
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Line>, ImportError> {
    let text = decoded(bytes)?;
    // The separator that gives the most headings is the file's separator.
    let mut best = (0, b',');
    for separator in [b',', b';', b'\t'] {
        let lines = lines(&text, separator, super::HEADINGS_WITHIN).unwrap_or_default();
        let found = headings::most(&lines);
        if found > best.0 {
            best = (found, separator);
        }
    }
    lines(&text, best.1, usize::MAX)
}

/// Returns the file as text. A file in two encodings is refused, because in the wrong encoding a
/// name becomes another name.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, ImportError> {
    let (bytes, marked) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (rest, true),
        None => (bytes, false),
    };
    if let Ok(text) = str::from_utf8(bytes) {
        return Ok(text.into());
    }
    // The lines can be checked one by one: no character of either encoding contains the byte of a
    // line end. GB18030 text is hardly ever valid UTF-8 with characters of three or more bytes.
    let lines = || bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_ascii());
    let utf8 = |line: &[u8]| str::from_utf8(line).is_ok();
    let wide = |text: &str| text.chars().any(|c| c >= '\u{800}');
    let surely = |line: &[u8]| str::from_utf8(line).is_ok_and(wide);
    let first_is_utf8 = marked || lines().next().is_some_and(|(_, line)| surely(line));
    let decoded = GB18030.decode_without_bom_handling_and_without_replacement(bytes);
    let strange = |line: &[u8]| match (first_is_utf8, decoded.is_some()) {
        (true, _) => !utf8(line),
        (false, true) => surely(line),
        (false, false) => {
            surely(line)
                || GB18030.decode_without_bom_handling_and_without_replacement(line).is_none()
        }
    };
    match (lines().find(|(_, line)| strange(line)), decoded) {
        (None, Some(text)) => Ok(text),
        (found, _) => Err(ImportError::Encoding { line: found.map_or(1, |(n, _)| n + 1) }),
    }
}

/// Returns the first lines that are not empty, at most `most`.
fn lines(text: &str, separator: u8, most: usize) -> Result<Vec<Line>, ImportError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(text.as_bytes());
    let mut table = Table::default();
    let mut record = csv::StringRecord::new();
    // The lines are counted here, because the reader skips empty lines before a record.
    let (mut counted, mut number) = (0, 1_u32);
    let mut last = (1, 0);
    while table.lines.len() < most {
        // A read of UTF-8 text in memory cannot fail.
        if !reader.read_record(&mut record).unwrap_or(false) {
            let rest = text.get(last.1..).unwrap_or_default().trim_end();
            let ends_open = record_ends_open(rest, separator);
            return if ends_open {
                Err(ImportError::OpenQuote { line: last.0 })
            } else {
                Ok(table.into_lines())
            };
        }
        let start = record.position().map_or(0, |p| usize::try_from(p.byte()).unwrap_or(0));
        let blank = text.get(start..).unwrap_or_default();
        let start = start + (blank.len() - blank.trim_start_matches(['\r', '\n']).len());
        let passed = text.get(counted..start).unwrap_or_default();
        let ends = passed.matches('\n').count() + passed.matches('\r').count()
            - passed.matches("\r\n").count();
        number = number.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        (counted, last) = (start, (number, start));
        for (column, cell) in record.iter().enumerate() {
            if !cell.trim().is_empty() {
                table.add(number, column, Cell::Text(cell.to_owned()))?;
            }
        }
    }
    Ok(table.into_lines())
}

/// Returns whether the last record ends within quotes.
fn record_ends_open(record: &str, separator: u8) -> bool {
    let (mut quoted, mut at_start) = (false, true);
    let mut bytes = record.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
            }
            b'"' if quoted => quoted = false,
            b'"' if at_start => quoted = true,
            _ => {}
        }
        at_start = !quoted && (byte == separator || byte == b'\n' || byte == b'\r');
    }
    quoted
}
