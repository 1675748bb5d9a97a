//! Lists and reads the folder of photos.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::super::worker::file::bounded;
use crate::{services::PHOTO_MAX, words::counted};

/// Maximum number of photos. Their templates take 1 KiB each.
const PHOTOS_MAX: usize = 200_000;

/// The people and their photos, in the order of their names.
pub(super) struct Found {
    pub people: Vec<(String, Vec<PathBuf>)>,
}

/// Lists the folders of the people, and the files in each.
pub(super) fn list(dir: &Path) -> anyhow::Result<Found> {
    let (folders, beside) = entries(dir)?;
    let (mut people, mut photos, mut nested) = (Vec::new(), 0, None);
    for folder in folders {
        let (within, files) = entries(&folder).with_context(|| folder.display().to_string())?;
        nested = nested.or(within.into_iter().next());
        photos += files.len();
        if photos > PHOTOS_MAX {
            bail!("it holds more than {PHOTOS_MAX} photos: give a folder with fewer people");
        }
        if !files.is_empty() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            people.push((name, files));
        }
    }
    const FORM: &str = "it needs a folder for each person, with that person's photos";
    match (people.len(), beside.len(), &nested) {
        (0, 0, None) => bail!("it is empty; {FORM}"),
        (0, files, None) => {
            bail!("it has {} and no folders; {FORM}", counted(files, "file"))
        }
        (0, _, Some(nested)) => {
            bail!("its folders hold folders, such as {}; {FORM}", nested.display())
        }
        (1, ..) => {
            bail!("it has the photos of one person, and errors are measured between people; {FORM}")
        }
        _ => {}
    }
    if !beside.is_empty() {
        eprintln!("{} in no person's folder: not used", counted(beside.len(), "file"));
    }
    if let Some(nested) = nested {
        eprintln!(
            "{} and the like: folders within a person's folder are not used",
            nested.display()
        );
    }
    Ok(Found { people })
}

/// A kind of presentation and its people, each with the photos.
pub(super) type Kind = (String, Vec<(String, Vec<PathBuf>)>);

/// Lists the kinds of presentation: a folder for each, and in it a folder for each person.
pub(super) fn kinds(dir: &Path) -> anyhow::Result<Vec<Kind>> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut kinds, mut photos) = (Vec::new(), 0);
    for kind in entries(dir)?.0 {
        let mut people = Vec::new();
        for person in entries(&kind).with_context(|| kind.display().to_string())?.0 {
            let files = entries(&person).with_context(|| person.display().to_string())?.1;
            photos += files.len();
            if photos > PHOTOS_MAX {
                bail!("it holds more than {PHOTOS_MAX} photos: give a folder with fewer people");
            }
            people.push((name(&person), files));
        }
        kinds.push((name(&kind), people));
    }
    Ok(kinds)
}

/// Returns the folders and the files of a folder, sorted. Files that file managers create are left
/// out.
fn entries(dir: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if hidden || name == "Thumbs.db" || name == "desktop.ini" {
            continue;
        }
        // A set may be put together of links. A link that leads nowhere counts as an unreadable photo.
        let is_folder = std::fs::metadata(entry.path()).is_ok_and(|found| found.is_dir());
        if is_folder { &mut folders } else { &mut files }.push(entry.path());
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

/// Returns the bytes of a photo; `None` if it cannot be read, is no file, or is too large.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    bounded(path, PHOTO_MAX as u64).ok().flatten()
}
