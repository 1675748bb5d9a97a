//! Another sealing key: everything sealed with the old one is sealed anew, and the old one opens
//! nothing any more.
//!
//! A power cut at any moment leaves a database that opens with exactly one of two keys. The new one
//! is on the disk, beside the old one, before the transaction begins that seals everything anew;
//! `key_proof` changes in it too, and says afterwards which of the two it is. A start finishes what
//! was interrupted ([`settle`]).

use std::{
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{
    Sealer, StoreError,
    database::{KEY_PROOF, meta, set_meta, try_open},
    folder::{lock_folder, newest},
    sealing::{make_key, next_key, sync_beside},
};
use crate::{
    clock::Clock,
    config::{Secret, Storage},
    failpoint,
};

/// Where the keys are, if `storage.key` is a credential.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewKey<'a> {
    /// The new one, to be made.
    pub to: Option<&'a Path>,
    /// The present one, where the credential cannot be read from here.
    pub from: Option<&'a Path>,
}

/// What came of a rotation.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// Where the new key is.
    pub key: PathBuf,
    /// Whether it stands in the old one's place.
    pub in_place: bool,
    /// False where another program read the database: values sealed with the old key are in its
    /// files until the next start.
    pub emptied: bool,
}

/// Makes a new key, has `reseal` seal everything with it (old, new) in one transaction, and puts it
/// in the old one's place. `to`: where it goes if the old one is a credential. No daemon may run.
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
        // Nothing is sealed with it.
        let _ = std::fs::remove_file(&next);
        return Err(error);
    }
    failpoint::at("rotation.written");
    // Where this fails, the next start sees which of the two keys it is.
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

/// Made by root, it must be readable for the daemon.
fn belongs_to_owner(key: &Path, database: &Path) -> Result<(), StoreError> {
    let folder = |source| StoreError::Folder { path: key.to_owned(), source };
    let owner = std::fs::metadata(database).map_err(folder)?;
    let made = std::fs::metadata(key).map_err(folder)?;
    if (owner.uid(), owner.gid()) == (made.uid(), made.gid()) {
        return Ok(());
    }
    chown(key, Some(owner.uid()), Some(owner.gid())).map_err(folder)
}

fn takes_place(next: &Path, key: &Path) -> Result<(), StoreError> {
    std::fs::rename(next, key)
        .and_then(|()| sync_beside(key))
        .map_err(|source| StoreError::Folder { path: key.to_owned(), source })
}

fn opens(key: &Path, proof: &[u8]) -> bool {
    let sealer = Sealer::load(&Secret::File(key.to_owned()), false);
    sealer.is_ok_and(|sealer| sealer.open(KEY_PROOF, proof).is_ok())
}

/// The key and the one that is to take its place, where a rotation was interrupted.
fn interrupted(config: &Storage) -> Option<(&Path, PathBuf)> {
    let Secret::File(key) = &config.key else { return None };
    let next = next_key(key);
    next.exists().then_some((key, next))
}

/// Whether a rotation was interrupted after everything had been sealed with the new key.
pub(super) fn is_to_be_finished(
    connection: &Connection,
    config: &Storage,
) -> Result<bool, StoreError> {
    let Some((_, next)) = interrupted(config) else { return Ok(false) };
    Ok(meta(connection, "key_proof")?.is_some_and(|proof| opens(&next, &proof)))
}

/// Finishes a rotation that was interrupted, or takes back what there was of it. Which key is the
/// right one: where the key's folder may not be written, the one of the two that opens.
pub(super) fn settle(connection: &Connection, config: &Storage) -> Result<Secret, StoreError> {
    let present = config.key.clone();
    let Some((key, next)) = interrupted(config) else { return Ok(present) };
    let proof = meta(connection, "key_proof")?;
    match proof {
        Some(proof) if opens(&next, &proof) => {
            if let Err(error) = takes_place(&next, key) {
                tracing::warn!(%error, key = %next.display(), "it is the sealing key now: move it over the old one");
                return Ok(Secret::File(next));
            }
            tracing::warn!(key = %key.display(), "an interrupted change of the sealing key is finished");
        }
        Some(proof) if opens(key, &proof) => {
            match std::fs::remove_file(&next).and_then(|()| sync_beside(key)) {
                Ok(()) => tracing::warn!("an interrupted change of the sealing key is taken back"),
                Err(error) => {
                    tracing::warn!(%error, key = %next.display(), "it is no key of anything: remove it");
                }
            }
        }
        // It may open what was set aside.
        _ => {
            tracing::warn!(key = %next.display(), "a second sealing key, which opens nothing here")
        }
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::SystemClock,
        store::{self, Priority, Store, StoreThread},
    };

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new().unwrap())
    }

    fn storage(dir: &Path) -> Storage {
        Storage::usual(dir.join("data"), Secret::File(dir.join("key")))
    }

    fn start(storage: &Storage) -> Result<(Store, StoreThread), StoreError> {
        store::open(storage, clock())
    }

    fn stop((store, thread): (Store, StoreThread)) {
        drop(store);
        thread.join().unwrap();
    }

    /// Seals a word anew that stands in `meta`.
    fn word(tx: &Transaction<'_>, old: &Sealer, new: &Sealer) -> Result<(), StoreError> {
        let sealed = meta(tx, "word")?.unwrap();
        Ok(set_meta(tx, "word", &new.seal("word", &old.open("word", &sealed)?)?)?)
    }

    async fn with_a_word(storage: &Storage) {
        let (store, thread) = start(storage).unwrap();
        let sealed = store.sealer().seal("word", b"plain").unwrap();
        let put = store
            .write(Priority::Upkeep, move |tx| Ok::<_, StoreError>(set_meta(tx, "word", &sealed)?));
        put.await.unwrap();
        stop((store, thread));
    }

    async fn has_the_word(storage: &Storage) {
        let (store, thread) = start(storage).unwrap();
        let sealed = store.read(|tx| Ok::<_, StoreError>(meta(tx, "word")?)).await.unwrap();
        assert_eq!(**store.sealer().open("word", &sealed.unwrap()).unwrap(), *b"plain");
        stop((store, thread));
    }

    #[tokio::test]
    async fn the_new_key_opens_everything_and_the_old_one_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(dir.path());
        with_a_word(&storage).await;
        let old = std::fs::read(dir.path().join("key")).unwrap();
        let rotated = rotate(&storage, &clock(), NewKey::default(), word).unwrap();
        assert!(rotated.in_place && rotated.emptied);
        assert!(!dir.path().join("key.next").exists());
        has_the_word(&storage).await;
        store::examine(&storage).unwrap();
        std::fs::write(dir.path().join("key"), old).unwrap();
        assert!(matches!(start(&storage), Err(StoreError::WrongKey { .. })));
        let again = rotate(&storage, &clock(), NewKey::default(), word);
        assert!(matches!(again, Err(StoreError::WrongKey { .. })));
        assert!(!dir.path().join("key.next").exists());
    }

    #[tokio::test]
    async fn a_rotation_that_fails_leaves_all_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(dir.path());
        let key = NewKey::default;
        let none = rotate(&storage, &clock(), key(), word);
        assert!(matches!(none, Err(StoreError::NothingSealed { .. })));
        with_a_word(&storage).await;
        let running = start(&storage).unwrap();
        let refused = rotate(&storage, &clock(), key(), word).unwrap_err().to_string();
        assert!(refused.contains("systemctl stop gatehouse"), "{refused}");
        stop(running);
        let fails = |tx: &Transaction<'_>, old: &Sealer, new: &Sealer| {
            word(tx, old, new)?;
            Err(StoreError::Stopped)
        };
        assert!(rotate(&storage, &clock(), key(), fails).is_err());
        assert!(!dir.path().join("key.next").exists());
        has_the_word(&storage).await;
        // A damaged database that was set aside would not open any more.
        std::fs::create_dir_all(storage.dir.join("set-aside/1-x")).unwrap();
        let refused = rotate(&storage, &clock(), key(), word).unwrap_err().to_string();
        assert!(refused.contains("set-aside/1-x"), "{refused}");
    }

    #[tokio::test]
    async fn the_key_of_a_credential_goes_where_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = storage(dir.path());
        with_a_word(&file).await;
        let credential = Secret::Credential("gatehouse-key".into());
        let storage = Storage { key: credential, ..file.clone() };
        let (key, fresh) = (dir.path().join("key"), dir.path().join("fresh.new"));
        let to = |to, from| NewKey { to, from };
        let nowhere = rotate(&storage, &clock(), to(None, Some(&*key)), word);
        assert!(matches!(nowhere, Err(StoreError::KeyNotWritable)));
        let in_place = rotate(&file, &clock(), to(Some(&*fresh), None), word);
        assert!(matches!(in_place, Err(StoreError::KeyInPlace { .. })));
        // Another key is never overwritten.
        assert!(rotate(&storage, &clock(), to(Some(&*key), Some(&*key)), word).is_err());
        has_the_word(&file).await;
        let rotated = rotate(&storage, &clock(), to(Some(&*fresh), Some(&*key)), word).unwrap();
        assert_eq!((rotated.key, rotated.in_place), (fresh.clone(), false));
        assert!(matches!(start(&file), Err(StoreError::WrongKey { .. })));
        has_the_word(&Storage { key: Secret::File(fresh), ..file }).await;
    }

    #[tokio::test]
    async fn a_second_key_that_opens_nothing_is_left_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(dir.path());
        with_a_word(&storage).await;
        // The right key is lost, and there is one that was to take its place.
        std::fs::remove_file(dir.path().join("key")).unwrap();
        make_key(&dir.path().join("key")).unwrap();
        make_key(&dir.path().join("key.next")).unwrap();
        assert!(matches!(start(&storage), Err(StoreError::WrongKey { .. })));
        assert!(dir.path().join("key.next").exists());
    }
}
