//! Rotation of the sealing key: everything sealed with the old key is sealed again with a new one.
//! The old key opens nothing afterwards.
//!
//! A power cut at any moment leaves a database that opens with exactly one of two keys. The new key
//! is on the disk, beside the old one, before the transaction that seals everything again begins.
//! `key_proof` changes in the same transaction, and shows afterwards which key is right. A start
//! completes an interrupted rotation ([`settling::settle`](super::settling::settle)).

use std::{
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Transaction, TransactionBehavior};

use super::{
    Sealer, StoreError,
    database::try_open,
    folder::{lock_folder, newest},
    meta::{KEY_PROOF, set_meta},
    sealing::{make_key, next_key},
    settling::takes_place,
};
use crate::{
    clock::Clock,
    config::{Secret, Storage},
    failpoint,
};

/// The files of the keys, if `storage.key` is a credential.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewKey<'a> {
    /// The file of the new key, which is made.
    pub to: Option<&'a Path>,
    /// The file of the present key, if the credential cannot be read from here.
    pub from: Option<&'a Path>,
}

/// The result of a rotation.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The file of the new key.
    pub key: PathBuf,
    /// Whether it replaced the old key's file.
    pub in_place: bool,
    /// False if another program read the database. Its files then hold values sealed with the old
    /// key until the next start.
    pub emptied: bool,
}

/// Makes a new key, calls `reseal` with the old and the new key in one transaction, and replaces
/// the old key. `to` is the new key's file if the old key is a credential. No daemon may run.
pub fn rotate<E: From<StoreError>>(
    config: &Storage,
    clock: &Arc<dyn Clock>,
    NewKey { to, from }: NewKey<'_>,
    reseal: impl FnOnce(&Transaction<'_>, &Sealer, &Sealer) -> Result<(), E>,
) -> Result<Rotated, E> {
    let database = config.database();
    if !database.exists() {
        return Err(StoreError::NothingSealed { path: database }.into());
    }
    let _lock = lock_folder(config)?;
    if let Some(place) = newest(&config.dir) {
        return Err(StoreError::SetAsideSealed { place }.into());
    }
    let (next, replaces) = match (&config.key, to) {
        (Secret::File(key), None) => (next_key(key), Some(key)),
        (Secret::File(key), Some(_)) => {
            return Err(StoreError::KeyInPlace { path: key.clone() }.into());
        }
        (_, Some(to)) => (to.to_owned(), None),
        (_, None) => return Err(StoreError::KeyNotWritable.into()),
    };
    let key = from.map_or_else(|| config.key.clone(), |from| Secret::File(from.to_owned()));
    let (mut connection, old) = try_open(&Storage { key, ..config.clone() }, clock)?;
    make_key(&next).map_err(StoreError::from)?;
    let new = belongs_to_owner(&next, &database)
        .and_then(|()| Ok(Sealer::load(&Secret::File(next.clone()), false)?));
    failpoint::at("rotation.made");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::from)?;
    let resealed = new.map_err(E::from).and_then(|new| {
        reseal(&transaction, &old, &new)?;
        let proof = new.seal(KEY_PROOF, b"gatehouse").map_err(StoreError::from)?;
        Ok(set_meta(&transaction, "key_proof", &proof).map_err(StoreError::from)?)
    });
    if let Err(error) = resealed {
        // Nothing is sealed with the new key.
        let _ = std::fs::remove_file(&next);
        return Err(error);
    }
    failpoint::at("rotation.written");
    // If the commit fails, the next start finds out which of the two keys is right.
    transaction.commit().map_err(StoreError::from)?;
    failpoint::at("rotation.committed");
    let emptied = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        .is_ok_and(|busy| !busy);
    failpoint::at("rotation.emptied");
    let key = match replaces {
        Some(key) => {
            takes_place(&next, key)?;
            key.clone()
        }
        None => next,
    };
    failpoint::at("rotation.renamed");
    Ok(Rotated { key, in_place: replaces.is_some(), emptied })
}

/// Gives the key's file the database's owner. A key made by root must be readable by the daemon.
pub(super) fn belongs_to_owner(key: &Path, database: &Path) -> Result<(), StoreError> {
    let folder = |source| StoreError::Folder { path: key.to_owned(), source };
    let owner = std::fs::metadata(database).map_err(folder)?;
    let made = std::fs::metadata(key).map_err(folder)?;
    if (owner.uid(), owner.gid()) == (made.uid(), made.gid()) {
        return Ok(());
    }
    chown(key, Some(owner.uid()), Some(owner.gid())).map_err(folder)
}

#[cfg(test)]
mod tests;
