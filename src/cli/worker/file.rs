//! Reads whole files that an admin names, up to a maximum size.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context as _, ensure};

use crate::services::{PHOTO_MAX, Photo};

/// Reads a file of at most `most` bytes. Returns `None` if it is larger.
pub(in crate::cli) fn bounded(path: &Path, most: u64) -> anyhow::Result<Option<Vec<u8>>> {
    // To open a pipe without O_NONBLOCK would wait for a writer, perhaps for ever.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    ensure!(about.is_file(), "not a regular file: name a file here");
    if about.len() > most {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    // The file may grow during the read.
    File::take(file, most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// Reads one photo. Returns its name and size for the request, and its bytes.
pub(super) fn photo(path: &Path, name: String) -> anyhow::Result<(Photo, Vec<u8>)> {
    let bytes = bounded(path, PHOTO_MAX as u64).with_context(|| name.clone())?;
    let bytes = bytes.with_context(|| {
        let (is, most) = (path.metadata().map_or(0, |about| about.len()) >> 20, PHOTO_MAX >> 20);
        format!("{name}: {is} MiB; a photo has at most {most} MiB, scale it down")
    })?;
    Ok((Photo { name, bytes: bytes.len() as u64 }, bytes))
}
