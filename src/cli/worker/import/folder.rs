//! The files: the roster, and the folder of photos.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context as _, bail, ensure};

use super::Work;
use crate::{
    roster::import::{self, FILE_MAX, Listed, Photo},
    services::PHOTO_MAX,
};

/// Entries of the folder of photos, and of the folders in it.
const ENTRIES_MAX: usize = 100_000;

pub(super) fn read(roster: &Path, photos: Option<&Path>) -> anyhow::Result<Work> {
    let bytes = bounded(roster, FILE_MAX).with_context(|| roster.display().to_string())?;
    let bytes = bytes.with_context(|| {
        format!(
            "{}: a roster has at most {} MiB; take pictures and other sheets out of it",
            roster.display(),
            FILE_MAX >> 20
        )
    })?;
    let file = import::read(&bytes).with_context(|| roster.display().to_string())?;
    let listed = match photos {
        Some(dir) => list(dir).with_context(|| format!("photos in {}", dir.display()))?,
        None => Vec::new(),
    };
    let assigned = import::assign(&file.rows, listed);
    Ok(Work {
        rows: file.rows,
        ignored: file.ignored,
        passed_over: file.passed_over,
        names: file.names,
        photos: assigned.of_rows,
        left_over: assigned.left_over,
    })
}

/// A photo's bytes; one that is too large is not read.
pub(super) fn photo(photo: &Photo) -> anyhow::Result<Vec<u8>> {
    let bytes = bounded(&photo.path, PHOTO_MAX as u64).with_context(|| photo.shown.clone())?;
    bytes.with_context(|| {
        format!("{}: a photo has at most {} MiB; scale it down", photo.shown, PHOTO_MAX >> 20)
    })
}

/// `None`: it is larger than that.
fn bounded(path: &Path, most: u64) -> anyhow::Result<Option<Vec<u8>>> {
    // A pipe in a file's place would be waited for for ever.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    ensure!(about.is_file(), "is no file");
    if about.len() > most {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    // It may grow while it is read.
    File::take(file, most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// Every file in a folder and in the folders in it. Links are not followed: they may lead anywhere.
fn list(dir: &Path) -> anyhow::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let mut seen = 0;
    let mut folders = vec![(dir.to_owned(), None)];
    while let Some((path, folder)) = folders.pop() {
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            seen += 1;
            if seen > ENTRIES_MAX {
                bail!("more than {ENTRIES_MAX} files: give the folder that has the photos alone");
            }
            // What file managers leave behind.
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if hidden || name == "Thumbs.db" || name == "desktop.ini" {
                continue;
            }
            if kind.is_file() {
                listed.push(Listed { path: entry.path(), folder: folder.clone(), name });
            } else if kind.is_dir() && folder.is_none() {
                folders.push((entry.path(), Some(name)));
            }
        }
    }
    Ok(listed)
}
