//! A start completes or undoes a change of the sealing key that was interrupted.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{
    Sealer, StoreError,
    meta::{KEY_PROOF, meta},
    sealing::{next_key, sync_beside},
};
use crate::config::{Secret, Storage};

pub(super) fn takes_place(next: &Path, key: &Path) -> Result<(), StoreError> {
    std::fs::rename(next, key)
        .and_then(|()| sync_beside(key))
        .map_err(|source| StoreError::Folder { path: key.to_owned(), source })
}

fn opens(key: &Path, proof: &[u8]) -> bool {
    let sealer = Sealer::load(&Secret::File(key.to_owned()), false);
    sealer.is_ok_and(|sealer| sealer.open(KEY_PROOF, proof).is_ok())
}

/// Returns the present key and the next key, if a rotation was interrupted.
fn interrupted(config: &Storage) -> Option<(&Path, PathBuf)> {
    let Secret::File(key) = &config.key else { return None };
    let next = next_key(key);
    next.exists().then_some((key, next))
}

/// Returns whether a rotation was interrupted after everything had been sealed with the new key.
pub(super) fn is_to_be_finished(
    connection: &Connection,
    config: &Storage,
) -> Result<bool, StoreError> {
    let Some((_, next)) = interrupted(config) else { return Ok(false) };
    Ok(meta(connection, "key_proof")?.is_some_and(|proof| opens(&next, &proof)))
}

/// Completes or undoes an interrupted rotation, and returns the key that opens the database. If the
/// key's folder cannot be written, the new key stays beside the old one and is returned there.
pub(super) fn settle(connection: &Connection, config: &Storage) -> Result<Secret, StoreError> {
    let present = config.key.clone();
    let Some((key, next)) = interrupted(config) else { return Ok(present) };
    let proof = meta(connection, "key_proof")?;
    match proof {
        Some(proof) if opens(&next, &proof) => {
            if let Err(error) = takes_place(&next, key) {
                tracing::warn!(%error, key = %next.display(), "this file is the sealing key now: move it over the old key");
                return Ok(Secret::File(next));
            }
            tracing::warn!(key = %key.display(), "an interrupted change of the sealing key is completed");
        }
        Some(proof) if opens(key, &proof) => {
            match std::fs::remove_file(&next).and_then(|()| sync_beside(key)) {
                Ok(()) => tracing::warn!("an interrupted change of the sealing key is undone"),
                Err(error) => {
                    tracing::warn!(%error, key = %next.display(), "this key seals nothing: remove the file");
                }
            }
        }
        // The key stays: it may open a database that was set aside.
        _ => {
            tracing::warn!(key = %next.display(), "a second sealing key does not open this database")
        }
    }
    Ok(present)
}
