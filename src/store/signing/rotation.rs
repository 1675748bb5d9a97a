//! Rotation of the signing key: the old key endorses the new one, and the ledger records both.
//!
//! The new key is on the disk, beside the old one, before the transaction that records it begins. A
//! power cut at any moment leaves two files at most, and the record shows which of them is right
//! ([`SigningKey::settled`]).

use std::{path::PathBuf, sync::Arc};

use rusqlite::{Transaction, TransactionBehavior};

use super::{Link, PublicKey, SigningKey, record_key, recorded_key};
use crate::{
    clock::Clock,
    config::{Secret, Storage},
    failpoint,
    store::{
        NewKey, StoreError,
        database::open_unsealed,
        folder::lock_folder,
        rotation::belongs_to_owner,
        sealing::{KeyError, make_key, next_key, sync_beside},
        settling::takes_place,
    },
};

/// The result of a rotation of the signing key.
#[derive(Clone, Debug)]
pub struct SigningRotated {
    /// The file of the new key.
    pub file: PathBuf,
    /// Whether it replaced the old key's file.
    pub in_place: bool,
    /// The new key's public half.
    pub key: PublicKey,
}

/// Makes a new signing key, calls `record` with the old key's endorsement of it and the new key in
/// one transaction, and replaces the old key. No daemon may run.
pub fn rotate_signing<E: From<StoreError>>(
    config: &Storage,
    clock: &Arc<dyn Clock>,
    NewKey { to, from }: NewKey<'_>,
    record: impl FnOnce(&Transaction<'_>, &Link, PublicKey) -> Result<(), E>,
) -> Result<SigningRotated, E> {
    let database = config.database();
    if !database.exists() {
        return Err(StoreError::NothingSigned.into());
    }
    let _lock = lock_folder(config)?;
    let (next, replaces) = match (&config.signing_key, to) {
        (Secret::File(key), None) => (next_key(key), Some(key)),
        (Secret::File(key), Some(_)) => {
            return Err(StoreError::KeyInPlace { path: key.clone() }.into());
        }
        (_, Some(to)) => (to.to_owned(), None),
        (_, None) => return Err(StoreError::KeyNotWritable.into()),
    };
    let mut connection = open_unsealed(config, clock)?;
    let recorded = recorded_key(&connection).map_err(StoreError::from)?;
    let secret = from.map_or_else(|| config.signing_key.clone(), |from| Secret::File(from.into()));
    let settled = Storage { signing_key: secret, ..config.clone() };
    let old = SigningKey::settled(&settled, recorded).map_err(StoreError::from)?;
    if recorded != Some(old.public()) {
        return Err(StoreError::NothingSigned.into());
    }
    make_key(&next).map_err(StoreError::from)?;
    let new = belongs_to_owner(&next, &database)
        .and_then(|()| Ok(SigningKey::load(&Secret::File(next.clone()))?));
    failpoint::at("signing.made");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::from)?;
    let recorded = new.map_err(E::from).and_then(|new| {
        let link = Link { key: old.public(), endorsement: old.endorse(&new.public()) };
        record(&transaction, &link, new.public())?;
        record_key(&transaction, new.public(), Some(link)).map_err(StoreError::from)?;
        Ok(new.public())
    });
    let key = match recorded {
        Ok(key) => key,
        Err(error) => {
            // Nothing names the new key.
            let _ = std::fs::remove_file(&next);
            return Err(error);
        }
    };
    failpoint::at("signing.written");
    // If the commit fails, the next start finds out which of the two keys is right.
    transaction.commit().map_err(StoreError::from)?;
    failpoint::at("signing.committed");
    let file = match replaces {
        Some(key) => {
            takes_place(&next, key)?;
            key.clone()
        }
        None => next,
    };
    failpoint::at("signing.renamed");
    Ok(SigningRotated { file, in_place: replaces.is_some(), key })
}

impl SigningKey {
    /// Completes or undoes an interrupted rotation, and reads the key. `recorded`: the key that the
    /// ledger recorded last.
    pub fn settled(config: &Storage, recorded: Option<PublicKey>) -> Result<SigningKey, KeyError> {
        let Secret::File(key) = &config.signing_key else {
            return SigningKey::load(&config.signing_key);
        };
        let next = next_key(key);
        if !next.exists() {
            return SigningKey::load(&config.signing_key);
        }
        let made = SigningKey::load(&Secret::File(next.clone()));
        match made {
            Ok(made) if recorded == Some(made.public()) => {
                if let Err(error) = takes_place(&next, key) {
                    tracing::warn!(%error, key = %next.display(), "this file is the signing key now: move it over the old key");
                    return Ok(made);
                }
                tracing::warn!(key = %key.display(), "an interrupted change of the signing key is completed");
                Ok(made)
            }
            _ => {
                let present = SigningKey::load(&config.signing_key)?;
                if recorded == Some(present.public()) {
                    match std::fs::remove_file(&next).and_then(|()| sync_beside(key)) {
                        Ok(()) => {
                            tracing::warn!("an interrupted change of the signing key is undone")
                        }
                        Err(error) => {
                            tracing::warn!(%error, key = %next.display(), "this key signs nothing: remove the file");
                        }
                    }
                }
                Ok(present)
            }
        }
    }
}
