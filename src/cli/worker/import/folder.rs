//! Reads the roster file, lists the folder of photos, and assigns the photos to the rows.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::super::file::bounded;
use crate::roster::import::{self, Assigned, FILE_MAX, Listed, RosterFile};

/// Maximum number of entries in the folder of photos and its subfolders.
const ENTRIES_MAX: usize = 100_000;

pub(super) fn read(
    roster: &Path,
    photos: Option<&Path>,
    contractor: Option<&str>,
) -> anyhow::Result<(RosterFile, Assigned)> {
    let bytes = bounded(roster, FILE_MAX).with_context(|| roster.display().to_string())?;
    let bytes = bytes.with_context(|| {
        format!(
            "{}: a roster has at most {} MiB; delete pictures and other sheets from the file",
            roster.display(),
            FILE_MAX >> 20
        )
    })?;
    let file = import::read_with(&bytes, contractor);
    let file = file.with_context(|| roster.display().to_string())?;
    let listed = match photos {
        Some(dir) => list(dir).with_context(|| format!("photos in {}", dir.display()))?,
        None => Vec::new(),
    };
    let assigned = import::assign(&file.rows, listed);
    Ok((file, assigned))
}

/// Lists the files in a folder and its subfolders. Links are not followed: they may lead anywhere.
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
                bail!("more than {ENTRIES_MAX} files: give a folder that holds only the photos");
            }
            // Files that file managers create.
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
