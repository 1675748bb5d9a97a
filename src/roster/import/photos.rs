//! Finds the worker of each photo by the file's name: `KEY.jpg`, `KEY_1.jpg`, `KEY-2.png`,
//! `KEY (3).jpeg`, or any name in a folder `KEY`. The key is an ID number, a worker's id, or a name
//! that only one row has. Keys within a longer name count too (`inside`).

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use encoding_rs::GB18030;

use super::{Row, compact, masked};
use crate::{
    roster::identity::starred,
    words::{composed, folded_name},
};

/// Maximum number of photos of one worker.
const MOST: usize = 5;

/// Maximum number of pieces of a name that are one key: W-001, or a name of several words.
const PIECES_OF_KEY: usize = 8;
/// Number of digits below which a number in a name may be a counter or part of a date.
const SHORT: usize = 6;
/// Minimum number of digits of an ID number in a name.
const NUMBER: usize = 15;
/// Ends of the names of photos. What a file is, its bytes say.
const PICTURES: &str = "jpg jpeg jpe jfif png webp bmp dib tif tiff";
/// Ends of the names of pictures that cannot be decoded. A row that has no other photo is refused with
/// the remedy, so that its worker is not enrolled without a face.
const FOREIGN: &str = "heic heif hif avif gif jxl jp2";
/// Words beside a key that say nothing of the worker.
const LABELS: &str = "副本 复件 拷贝 copy 照片 相片 证件照 免冠照 登记照 一寸照 二寸照 一寸 二寸 寸照 正面照 正面 头像 \
    人脸 近照 姓名 工号 编号 证件号码 证件号 身份证号码 身份证号 身份证 号码 号 photo face id no";

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

/// The rows of a key.
struct Found {
    rows: Vec<usize>,
    /// The key, where it is an ID number.
    number: Option<String>,
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
        let Some(stem) = picture(&name) else {
            left_over.push((masked(&whole), "its name does not end as a photo's: .jpg, .png, …"));
            continue;
        };
        let key = folder.as_deref().unwrap_or(stem);
        let found = keys.owner(key).or_else(|| match &folder {
            Some(_) => None,
            None => keys.owner(unnumbered(stem)),
        });
        let found = match found {
            Some(Found { ref rows, .. }) if rows.len() == 1 => found,
            // A name that several rows have may have an id beside it.
            several => match keys.inside(key) {
                Ok(inside) => inside.or(several),
                Err(why) => {
                    left_over.push((masked(&whole), why));
                    continue;
                }
            },
        };
        match found {
            Some(Found { rows, number }) if rows.len() == 1 => {
                let shown = match number {
                    Some(number) => masked(&whole.replace(&number, &starred(&number))),
                    None => masked(&whole),
                };
                let photos = rows.first().and_then(|at| of_rows.get_mut(*at));
                if let Some(photos) = photos {
                    photos.push(Photo { path: file.path, shown });
                }
            }
            Some(Found { rows, .. }) => {
                let shown = masked(&whole);
                left_over.push((shown.clone(), "several rows have this name"));
                unclear.extend(rows.into_iter().map(|at| (at, shown.clone())));
            }
            None => left_over.push((masked(&whole), "no row has this ID number, id or name")),
        }
    }
    for photos in of_rows.iter_mut().filter(|photos| !photos.iter().all(is_foreign)) {
        let foreign = photos.extract_if(.., |photo| is_foreign(photo));
        let why = "its format is not read, and its worker has another photo";
        left_over.extend(foreign.map(|photo| (photo.shown, why)));
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
                let rows = to.entry(folded_name(key)).or_default();
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

    fn owner(&self, key: &str) -> Option<Found> {
        if let Some(at) = self.numbers.get(&compact(key)) {
            return Some(Found { rows: vec![*at], number: Some(key.to_owned()) });
        }
        let key = folded_name(key);
        let rows = self.ids.get(&key).or_else(|| self.names.get(&key))?;
        Some(Found { rows: rows.clone(), number: None })
    }

    /// Finds the keys within a longer name: 姓名_证件号, 工号-姓名, 姓名 - 副本. All keys must agree on
    /// one worker. A short number may be a counter or a date; it only decides between namesakes, or
    /// where nothing but labels is beside it.
    fn inside(&self, name: &str) -> Result<Option<Found>, &'static str> {
        let name = &*composed(name);
        let pieces = pieces(name);
        let mut agreed: Option<Vec<usize>> = None;
        let (mut short, mut number): (Vec<Found>, _) = (Vec::new(), None);
        // Longer keys come first; a piece belongs to one key.
        let mut used = vec![false; pieces.len()];
        let most = pieces.len().min(PIECES_OF_KEY);
        for length in (1..=most).rev() {
            for (at, window) in pieces.windows(length).enumerate() {
                let places = at..at + length;
                let taken = used.get(places.clone()).is_none_or(|used| used.contains(&true));
                let ends = window.first().zip(window.last());
                let text = ends.and_then(|(first, last)| name.get(first.start..last.end));
                let (false, Some(text)) = (taken, text) else { continue };
                let Some(found) = self.owner(text) else { continue };
                used.get_mut(places).into_iter().flatten().for_each(|used| *used = true);
                if is_short(text) && found.number.is_none() {
                    short.push(found);
                    continue;
                }
                number = number.or_else(|| found.number.clone());
                agreed = Some(match agreed {
                    None => found.rows,
                    Some(rows) => common(rows, &found.rows),
                });
            }
        }
        let rest = pieces.iter().zip(&used).filter(|(_, used)| !**used);
        let rest: Vec<&str> = rest.filter_map(|(piece, _)| name.get(piece.clone())).collect();
        let is_number = |text: &&str| text.bytes().filter(u8::is_ascii_digit).count() >= NUMBER;
        if number.is_none() && rest.iter().any(is_number) {
            return Err("no row has the ID number in its name");
        }
        match (&agreed, short.as_slice()) {
            (Some(rows), _) if rows.len() > 1 => {
                let mut narrowed = short.iter().map(|found| common(rows.clone(), &found.rows));
                agreed = narrowed.find(|rows| rows.len() == 1).or(agreed);
            }
            (None, [one]) if rest.iter().all(|text| is_label(text)) => {
                agreed = Some(one.rows.clone());
            }
            _ => {}
        }
        match agreed {
            Some(rows) if rows.is_empty() => Err("its name fits several workers"),
            agreed => Ok(agreed.map(|rows| Found { rows, number })),
        }
    }
}

fn common(rows: Vec<usize>, others: &[usize]) -> Vec<usize> {
    rows.into_iter().filter(|row| others.contains(row)).collect()
}

/// Returns whether a key may be a counter or part of a date.
fn is_short(key: &str) -> bool {
    key.len() < SHORT && key.bytes().all(|b| b.is_ascii_digit())
}

/// Returns whether a piece of a name says nothing of the worker.
fn is_label(piece: &str) -> bool {
    let piece = folded_name(piece);
    LABELS.split(' ').any(|label| label == piece)
}

/// Returns the places of the pieces of a name: runs of Chinese characters with the dots within a
/// name, runs of letters, and runs of digits with their X. Labels at the ends of a run are cut off.
fn pieces(name: &str) -> Vec<Range<usize>> {
    let kind = |c: char| match c {
        c if c.is_ascii_digit() => Some(0),
        c if c.is_ascii_alphabetic() => Some(1),
        c if c.is_alphanumeric() || folded_name(&c.to_string()) == "·" => Some(2),
        _ => None,
    };
    let mut pieces: Vec<(Range<usize>, u8)> = Vec::new();
    for (at, c) in name.char_indices() {
        let end = at + c.len_utf8();
        let Some(kind) = kind(c) else { continue };
        match pieces.last_mut() {
            Some((last, of)) if last.end == at => {
                let digits = last.len() >= 17 && *of == 0 && matches!(c, 'x' | 'X');
                if *of == kind || digits {
                    last.end = end;
                    continue;
                }
            }
            _ => {}
        }
        pieces.push((at..end, kind));
    }
    pieces.into_iter().flat_map(|(piece, kind)| unlabelled(name, piece, kind)).collect()
}

/// Divides a run of Chinese characters at the labels at its ends: 姓名王小明照片.
fn unlabelled(name: &str, mut piece: Range<usize>, kind: u8) -> Vec<Range<usize>> {
    let mut ends = Vec::new();
    let open = |text: &&str| kind == 2 && !is_label(text);
    while let Some(text) = name.get(piece.clone()).filter(open) {
        let labels = || LABELS.split(' ').filter(|label| label.len() < text.len());
        if let Some(label) = labels().find(|label| text.starts_with(*label)) {
            ends.push(piece.start..piece.start + label.len());
            piece.start += label.len();
        } else if let Some(label) = labels().find(|label| text.ends_with(*label)) {
            ends.push(piece.end - label.len()..piece.end);
            piece.end -= label.len();
        } else {
            break;
        }
    }
    ends.push(piece);
    ends.sort_by_key(|place| place.start);
    ends
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

/// Returns the name of a picture file before its last point.
fn picture(name: &str) -> Option<&str> {
    let (stem, suffix) = name.rsplit_once('.')?;
    (is_of(suffix, PICTURES) || is_of(suffix, FOREIGN)).then_some(stem)
}

fn is_of(suffix: &str, known: &str) -> bool {
    known.split(' ').any(|known| suffix.eq_ignore_ascii_case(known))
}

/// Returns whether the end of the name says that the picture cannot be decoded.
fn is_foreign(photo: &Photo) -> bool {
    photo.path.extension().and_then(OsStr::to_str).is_some_and(|suffix| is_of(suffix, FOREIGN))
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
