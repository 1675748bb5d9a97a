//! The storage folder: its lock, and the folder for databases that were set aside.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use super::StoreError;
use crate::{clock::Stamp, config::Storage};

/// Makes the folder (0700) and takes its lock, which lasts until the returned file is dropped. A
/// folder that other users may read is changed to 0700, if it is empty or holds our database.
pub(super) fn lock_folder(config: &Storage) -> Result<File, StoreError> {
    let dir = &config.dir;
    let folder = |source| StoreError::Folder { path: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(folder)?;
    let mode = std::fs::metadata(dir).map_err(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        let empty = std::fs::read_dir(dir).map_err(folder)?.next().is_none();
        if !empty && !config.database().exists() {
            return Err(StoreError::Shared { path: dir.to_owned(), mode: mode & 0o777 });
        }
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(folder)?;
    }
    locked(own_file(&dir.join("lock")).map_err(folder)?, dir)
}

/// Opens a file of the folder. A missing file is made with mode 0600.
pub(super) fn own_file(path: &Path) -> std::io::Result<File> {
    std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

pub(super) fn locked(lock: File, dir: &Path) -> Result<File, StoreError> {
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(StoreError::Folder { path: dir.to_owned(), source })
        }
    }
}

/// Returns whether a database was made here and not set aside since; the lock file says so. An
/// empty database is then a damaged one.
pub(super) fn was_made(dir: &Path) -> bool {
    std::fs::metadata(dir.join("lock")).is_ok_and(|m| m.len() > 0)
}

pub(super) fn mark_made(dir: &Path, made: bool) -> std::io::Result<()> {
    if was_made(dir) == made {
        return Ok(());
    }
    let text = if made { "a database was made here\n" } else { "" };
    std::fs::write(dir.join("lock"), text)?;
    File::open(dir.join("lock"))?.sync_all()
}

const FOLDER: &str = "set-aside";
/// Name of the text file beside a damaged database that describes the damage.
const WHY: &str = "why.txt";
/// Maximum number of damaged databases. A failing disk would otherwise fill up with them.
const MOST_SET_ASIDE: usize = 16;
const LOG: &str = "gatehouse.db-wal";
const INDEX: &str = "gatehouse.db-shm";

/// Moves the database into a folder of its own, with a text that describes the damage. It is never
/// deleted. The database moves before its log: without its log it could pass for a sound, older
/// one.
pub(super) fn set_aside(config: &Storage, now: Stamp, found: &str) -> Result<PathBuf, StoreError> {
    let dir = &config.dir;
    let folder = |source| StoreError::Folder { path: dir.join(FOLDER), source };
    let all = dir.join(FOLDER);
    if all_set_aside(dir).len() >= MOST_SET_ASIDE {
        return Err(StoreError::TooManySetAside { path: all, found: found.to_owned() });
    }
    let mut make = std::fs::DirBuilder::new();
    make.recursive(true).mode(0o700).create(&all).map_err(folder)?;
    let next = newest(dir).and_then(|place| number(&place)).unwrap_or(0).saturating_add(1);
    let place = all.join(format!("{next}-{}", now.timestamp().strftime("%Y%m%dT%H%M%SZ")));
    make.recursive(false).create(&place).map_err(folder)?;
    let mut why = File::create(place.join(WHY)).map_err(folder)?;
    why.write_all(found.as_bytes()).and_then(|()| why.sync_all()).map_err(folder)?;
    // Root may run `ledger renew`, and the daemon must read the folder.
    let owner = std::fs::metadata(dir).map_err(folder)?;
    for made in [&all, &place, &place.join(WHY)] {
        if std::fs::metadata(made).map_err(folder)?.uid() != owner.uid() {
            chown(made, Some(owner.uid()), Some(owner.gid())).map_err(folder)?;
        }
    }
    sync(&all).map_err(folder)?;
    // From here on an empty database is a new one.
    mark_made(dir, false).map_err(folder)?;
    let database = config.database();
    if database.exists() {
        std::fs::rename(&database, place.join("gatehouse.db")).map_err(folder)?;
        sync(&place).and_then(|()| sync(dir)).map_err(folder)?;
    }
    take_log(dir, &place).map_err(folder)?;
    Ok(place)
}

/// Completes a move that a power cut interrupted. A log without its database is moved too, because
/// SQLite would take it for the log of the next database.
pub(super) fn finish_setting_aside(config: &Storage, now: Stamp) -> Result<(), StoreError> {
    let dir = &config.dir;
    let log = std::fs::metadata(dir.join(LOG)).is_ok_and(|m| m.len() > 0);
    if config.database().exists() || !log {
        return Ok(());
    }
    match newest(dir).filter(|place| !place.join(LOG).exists()) {
        Some(place) => take_log(dir, &place)
            .map_err(|source| StoreError::Folder { path: place.clone(), source }),
        None => set_aside(config, now, "the file is missing, and only its log was found").map(drop),
    }
}

/// How the text of a database begins that a person set aside.
const RENEWED: &str = "a new ledger was begun by ";

/// Sets a sound database aside, so that the next start begins a new ledger. No daemon may run. Returns
/// the database's folder.
pub fn renew(
    config: &Storage,
    now: Stamp,
    user: &str,
    reason: &str,
) -> Result<PathBuf, StoreError> {
    let path = config.database();
    if !path.exists() {
        return Err(StoreError::NothingSealed { path });
    }
    let _lock = lock_folder(config)?;
    set_aside(config, now, &format!("{RENEWED}{user}: {reason}"))
}

/// Returns whether a person set this database aside.
pub fn was_renewed(place: &Path) -> bool {
    why_set_aside(place).starts_with(RENEWED)
}

fn take_log(dir: &Path, place: &Path) -> std::io::Result<()> {
    for name in [LOG, INDEX] {
        match std::fs::rename(dir.join(name), place.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    sync(place)?;
    sync(dir)
}

fn sync(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Returns the folders of the databases that were set aside, oldest first.
pub fn all_set_aside(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir.join(FOLDER)) else { return Vec::new() };
    let mut all: Vec<(u32, PathBuf)> =
        entries.flatten().filter_map(|e| Some((number(&e.path())?, e.path()))).collect();
    all.sort();
    all.into_iter().map(|(_, path)| path).collect()
}

/// Returns the number at the start of a folder's name, such as `1-20261122T033855Z`. The numbers
/// give the order, because the clock may be wrong.
fn number(place: &Path) -> Option<u32> {
    place.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

pub(super) fn newest(dir: &Path) -> Option<PathBuf> {
    all_set_aside(dir).pop()
}

/// Returns the text that describes the damage of a database that was set aside.
pub fn why_set_aside(place: &Path) -> String {
    std::fs::read_to_string(place.join(WHY)).unwrap_or_else(|e| format!("{WHY}: {e}"))
}
