//! The parts of a workbook, which is a zip. They tell what calamine does not: the rows that are
//! hidden, the cells that are merged, and formulas that no program has computed.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    io::{Cursor, Read as _},
};

use encoding_rs::UTF_8;
use quick_xml::{
    Reader,
    escape::unescape,
    events::{BytesStart, Event},
};
use zip::ZipArchive;

use super::{ImportError, Merged, damaged};

pub(super) struct Parts<'a>(pub ZipArchive<Cursor<&'a [u8]>>);

/// What a program shows of a sheet.
#[derive(Default)]
pub(super) struct Shown {
    /// Numbers of the hidden lines.
    pub hidden: BTreeSet<u32>,
    pub merged: Vec<Merged>,
    /// The first cell whose formula has no value.
    pub uncomputed: Option<String>,
}

impl Parts<'_> {
    /// Returns the text of a part. Upper and lower case in its path are the same.
    pub(super) fn text(&mut self, path: &str) -> Result<Option<String>, ImportError> {
        let is = |name: &Cow<'_, str>| name.eq_ignore_ascii_case(path);
        let name = self.0.file_names().filter_map(Result::ok).find(is).map(Cow::into_owned);
        let Some(name) = name else { return Ok(None) };
        let mut bytes = Vec::new();
        self.0.by_name(&name).map_err(damaged)?.read_to_end(&mut bytes).map_err(damaged)?;
        // A mark at the beginning may say UTF-16.
        Ok(Some(UTF_8.decode(&bytes).0.into_owned()))
    }

    fn required(&mut self, path: &str) -> Result<String, ImportError> {
        self.text(path)?.ok_or_else(|| damaged(format!("it has no {path}")))
    }

    /// Returns the path of each sheet's part, by the sheet's name. True: no program has computed the
    /// formulas since a library wrote the workbook.
    pub(super) fn sheets(&mut self) -> Result<(HashMap<String, String>, bool), ImportError> {
        const DOCUMENT: &str = "/officeDocument";
        let mut book = None;
        each(&self.required("_rels/.rels")?, |e| {
            if local(e) == "Relationship" && value(e, "Type")?.ends_with(DOCUMENT) {
                book = Some(value(e, "Target")?.trim_start_matches('/').to_owned());
            }
            Ok(())
        })?;
        let book = book.unwrap_or_else(|| "xl/workbook.xml".to_owned());
        let (folder, file) = book.rsplit_once('/').unwrap_or(("", &book));
        let mut paths = HashMap::new();
        each(&self.required(&format!("{folder}/_rels/{file}.rels"))?, |e| {
            if local(e) == "Relationship" {
                let target = value(e, "Target")?;
                let path = match target.strip_prefix('/') {
                    Some(absolute) => absolute.to_owned(),
                    None => format!("{folder}/{target}"),
                };
                paths.insert(value(e, "Id")?, path);
            }
            Ok(())
        })?;
        let (mut sheets, mut never_computed) = (HashMap::new(), false);
        each(&self.required(&book)?, |e| {
            match local(e) {
                "sheet" => {
                    if let Some(path) = paths.get(&value(e, "id")?) {
                        sheets.insert(value(e, "name")?, path.clone());
                    }
                }
                "calcPr" => never_computed = is_true(&value(e, "fullCalcOnLoad")?),
                _ => {}
            }
            Ok(())
        })?;
        Ok((sheets, never_computed))
    }

    /// Reads the part of a sheet. `never_computed`: a zero is the value that a library writes, and
    /// the program is to compute it.
    pub(super) fn shown(&mut self, path: &str, never_computed: bool) -> Result<Shown, ImportError> {
        let text = self.required(path)?;
        let mut shown = Shown::default();
        let (mut line, mut hides) = (0_u32, false);
        // The cell: its place, whether its value may be an empty text, its formula, its value.
        let (mut place, mut is_text, mut formula, mut result) =
            (String::new(), false, false, String::new());
        let mut in_value = false;
        let mut reader = reader(&text);
        loop {
            match reader.read_event().map_err(damaged)? {
                Event::Start(e) => match local(&e) {
                    "row" => {
                        line = value(&e, "r")?.parse().unwrap_or(line.saturating_add(1));
                        hides = is_true(&value(&e, "hidden")?);
                        if hides {
                            shown.hidden.insert(line);
                        }
                    }
                    "c" => {
                        (place, is_text) = (value(&e, "r")?, value(&e, "t")? == "str");
                        (formula, result) = (false, String::new());
                    }
                    "f" => formula = true,
                    "v" => in_value = true,
                    "mergeCell" => shown.merged.extend(region(&value(&e, "ref")?)),
                    _ => {}
                },
                Event::Text(text) if in_value => result.push_str(&text),
                Event::End(e) => match e.local_name().as_ref() {
                    "v" => in_value = false,
                    "c" => {
                        let empty = result.is_empty() && !is_text;
                        let open = empty || (result == "0" && never_computed);
                        if formula && open && !hides && shown.uncomputed.is_none() {
                            shown.uncomputed = Some(std::mem::take(&mut place));
                        }
                    }
                    _ => {}
                },
                Event::Eof => break,
                _ => {}
            }
        }
        Ok(shown)
    }
}

/// Returns a reader that is as lenient as calamine's.
pub(super) fn reader(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.expand_empty_elements = true;
    reader
}

/// Calls a function for each element.
fn each(
    text: &str,
    mut of: impl FnMut(&BytesStart<'_>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut reader = reader(text);
    loop {
        match reader.read_event().map_err(damaged)? {
            Event::Start(e) => of(&e)?,
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// Returns the name of an element without its prefix.
pub(super) fn local<'e>(e: &'e BytesStart<'_>) -> &'e str {
    e.local_name().into_inner()
}

/// Returns an attribute by its name without the prefix, or an empty text.
pub(super) fn value(e: &BytesStart<'_>, name: &str) -> Result<String, ImportError> {
    for attribute in e.attributes().with_checks(false) {
        let attribute = attribute.map_err(damaged)?;
        if attribute.key.local_name().as_ref() == name {
            return Ok(unescape(&attribute.value).map_err(damaged)?.into_owned());
        }
    }
    Ok(String::new())
}

pub(super) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true" | "on")
}

/// Reads a region such as `D2:E4`. `None`: it has one line.
fn region(text: &str) -> Option<Merged> {
    let place = |text: &str| {
        let at = text.find(|c: char| c.is_ascii_digit())?;
        let (column, line) = text.split_at_checked(at)?;
        let letter = |sum: usize, c: u8| {
            let value = c.to_ascii_uppercase().checked_sub(b'A').filter(|v| *v < 26)?;
            sum.checked_mul(26)?.checked_add(usize::from(value) + 1)
        };
        let column = column.bytes().try_fold(0, letter)?.checked_sub(1)?;
        Some((line.parse::<u32>().ok()?, column))
    };
    let (from, to) = text.split_once(':')?;
    let ((first, column), (last, _)) = (place(from)?, place(to)?);
    (last > first).then_some(Merged { first, last, column })
}
