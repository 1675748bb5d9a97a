//! Files that an admin names, read whole and within a bound.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context as _, ensure};

use crate::services::{PHOTO_MAX, Photo};

/// `None`: it is larger than that, and not read.
pub(super) fn bounded(path: &Path, most: u64) -> anyhow::Result<Option<Vec<u8>>> {
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

/// What is announced of a photo, and its bytes.
pub(super) fn photo(path: &Path, name: String) -> anyhow::Result<(Photo, Vec<u8>)> {
    let bytes = bounded(path, PHOTO_MAX as u64).with_context(|| name.clone())?;
    let bytes = bytes.with_context(|| {
        let (is, most) = (path.metadata().map_or(0, |about| about.len()) >> 20, PHOTO_MAX >> 20);
        format!("{name}: {is} MiB; a photo has at most {most} MiB, scale it down")
    })?;
    Ok((Photo { name, bytes: bytes.len() as u64 }, bytes))
}
