//! Finds the worker of each photo by the file's name: `KEY.jpg`, `KEY_1.jpg`, `KEY-2.png`,
//! `KEY (3).jpeg`, or any name in a folder `KEY`. The key is an ID number, a worker's id, or a name
//! that only one row has.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use encoding_rs::GB18030;

use super::{Row, compact, folded, masked};
use crate::{roster::identity::starred, words::is_blank};

/// Maximum number of photos of one worker.
const MOST: usize = 5;

/// A file in the folder of photos, or in one of its folders.
#[derive(Clone, Debug)]
pub struct Listed {
    pub path: PathBuf,
    pub folder: Option<OsString>,
    pub name: OsString,
}

/// A row's photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    pub path: PathBuf,
    /// The name in messages, without an ID number.
    pub shown: String,
}

/// The photos of each row, and the files of no row.
#[derive(Debug, Default)]
pub struct Assigned {
    /// For each row, in order: its photos, or the reason for which they are not clear.
    pub of_rows: Vec<Result<Vec<Photo>, String>>,
    /// Files that belong to no row: the name to show, and the reason.
    pub left_over: Vec<(String, &'static str)>,
}

/// The owner of a key.
enum Owner {
    /// One row; true where the key is its ID number.
    Row(usize, bool),
    /// Several rows with this name or id.
    Several(Vec<usize>),
}

pub fn assign(rows: &[Row], mut files: Vec<Listed>) -> Assigned {
    let keys = Keys::of(rows);
    let mut of_rows: Vec<Vec<Photo>> = vec![Vec::new(); rows.len()];
    let mut unclear: HashMap<usize, String> = HashMap::new();
    let mut left_over = Vec::new();
    files.sort_by(|a, b| (&a.folder, &a.name).cmp(&(&b.folder, &b.name)));
    for file in files {
        let name = name_of(&file.name);
        let folder = file.folder.as_deref().map(name_of);
        let whole = folder.as_ref().map_or_else(|| name.clone(), |f| format!("{f}/{name}"));
        let Some((stem, suffix)) = picture(&name) else {
            left_over.push((masked(&whole), "no .jpg, .jpeg or .png"));
            continue;
        };
        let (key, rest) = match &folder {
            Some(folder) => (folder.as_str(), format!("/{name}")),
            None if keys.owner(stem).is_some() => (stem, format!(".{suffix}")),
            None => {
                let key = unnumbered(stem);
                (key, name.strip_prefix(key).unwrap_or_default().to_owned())
            }
        };
        match keys.owner(key) {
            Some(Owner::Row(at, by_id_number)) => {
                let key = if by_id_number { starred(key) } else { masked(key) };
                let shown = format!("{key}{}", masked(&rest));
                if let Some(photos) = of_rows.get_mut(at) {
                    photos.push(Photo { path: file.path, shown });
                }
            }
            Some(Owner::Several(rows)) => {
                let shown = masked(&whole);
                left_over.push((shown.clone(), "several rows have this name"));
                unclear.extend(rows.into_iter().map(|at| (at, shown.clone())));
            }
            None => left_over.push((masked(&whole), "no row has this ID number, id or name")),
        }
    }
    let checked = |(at, photos): (usize, Vec<Photo>)| match (photos.len(), unclear.get(&at)) {
        (0, Some(shown)) => Err(format!(
            "photo {shown}: the name is ambiguous, several rows have it; name the photo by the \
             worker's id or ID number"
        )),
        (count, _) if count > MOST => Err(format!(
            "there are {count} photos of this worker, and the maximum is {MOST}; keep the best ones"
        )),
        _ => Ok(photos),
    };
    Assigned { of_rows: of_rows.into_iter().enumerate().map(checked).collect(), left_over }
}

/// The keys of all rows: ID number, id and name, in the form for comparisons.
#[derive(Default)]
struct Keys {
    numbers: HashMap<String, usize>,
    ids: HashMap<String, Vec<usize>>,
    names: HashMap<String, Vec<usize>>,
}

impl Keys {
    /// Collects the keys. Where two rows have the same id, the first one counts.
    fn of(rows: &[Row]) -> Keys {
        let mut keys = Keys::default();
        for (at, row) in rows.iter().enumerate() {
            let other = |earlier: &usize| rows.get(*earlier).is_some_and(|e| e.id != row.id);
            let add = |to: &mut HashMap<String, Vec<usize>>, key: &str| {
                let rows = to.entry(key_of(key)).or_default();
                if rows.iter().all(other) {
                    rows.push(at);
                }
            };
            if !row.id_number.is_empty() {
                keys.numbers.entry(compact(&row.id_number)).or_insert(at);
            }
            if !row.id.is_empty() {
                add(&mut keys.ids, &row.id);
            }
            if !row.name.is_empty() {
                add(&mut keys.names, &row.name);
            }
        }
        keys
    }

    fn owner(&self, key: &str) -> Option<Owner> {
        if let Some(at) = self.numbers.get(&compact(key)) {
            return Some(Owner::Row(*at, true));
        }
        let key = key_of(key);
        let rows = self.ids.get(&key).or_else(|| self.names.get(&key))?;
        match rows.as_slice() {
            [one] => Some(Owner::Row(*one, false)),
            several => Some(Owner::Several(several.to_vec())),
        }
    }
}

fn key_of(text: &str) -> String {
    folded(text).trim_matches(is_blank).to_owned()
}

/// Returns a file's name as text: from UTF-8, else from GB18030 as a Chinese Windows writes it.
fn name_of(name: &OsStr) -> String {
    let bytes = name.as_bytes();
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => GB18030
            .decode_without_bom_handling_and_without_replacement(bytes)
            .map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), |text| text.into_owned()),
    }
}

/// Returns the name of a picture file before its last point, and the suffix.
fn picture(name: &str) -> Option<(&str, &str)> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let known = ["jpg", "jpeg", "png"].iter().any(|known| suffix.eq_ignore_ascii_case(known));
    known.then_some((stem, suffix))
}

/// Returns the name without `_1`, `-1`, ` 1` or `(1)` at the end.
fn unnumbered(stem: &str) -> &str {
    let open = stem.strip_suffix([')', '）']).unwrap_or(stem);
    let key = open.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = open.len() - key.len();
    let before = key.strip_suffix(['_', '-', ' ', '(', '（']);
    match before {
        Some(key) if (1..=2).contains(&digits) => key.trim_end(),
        _ => stem,
    }
}
