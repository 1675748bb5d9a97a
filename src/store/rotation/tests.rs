use super::*;
use crate::{
    clock::SystemClock,
    store::{self, Priority, Store, StoreThread, meta},
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

/// Seals the word in `meta` again.
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
    store::examine(&storage, |_| Ok(())).unwrap();
    std::fs::write(dir.path().join("key"), old).unwrap();
    assert!(matches!(start(&storage), Err(StoreError::WrongKey { .. })));
    let again = rotate(&storage, &clock(), NewKey::default(), word);
    assert!(matches!(again, Err(StoreError::WrongKey { .. })));
    assert!(!dir.path().join("key.next").exists());
}

#[tokio::test]
async fn a_rotation_that_fails_changes_nothing() {
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
    // A damaged database that was set aside could not be opened after the change.
    std::fs::create_dir_all(storage.dir.join("set-aside/1-x")).unwrap();
    let refused = rotate(&storage, &clock(), key(), word).unwrap_err().to_string();
    assert!(refused.contains("set-aside/1-x"), "{refused}");
}

#[tokio::test]
async fn the_new_key_of_a_credential_is_written_to_the_named_file() {
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
    // The right key is lost, and a next key is there.
    std::fs::remove_file(dir.path().join("key")).unwrap();
    make_key(&dir.path().join("key")).unwrap();
    make_key(&dir.path().join("key.next")).unwrap();
    assert!(matches!(start(&storage), Err(StoreError::WrongKey { .. })));
    assert!(dir.path().join("key.next").exists());
}
