//! The files: the roster, and the folder of photos.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::super::file::bounded;
use crate::roster::import::{self, Assigned, FILE_MAX, Listed, RosterFile};

/// Entries of the folder of photos, and of the folders in it.
const ENTRIES_MAX: usize = 100_000;

pub(super) fn read(roster: &Path, photos: Option<&Path>) -> anyhow::Result<(RosterFile, Assigned)> {
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
    Ok((file, assigned))
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
