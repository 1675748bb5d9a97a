//! Tests of the store on real files, sound and damaged.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use super::*;
use crate::{clock::SystemClock, config::Secret};

fn open(config: &Storage) -> Result<(Store, StoreThread), StoreError> {
    super::open(config, Arc::new(SystemClock::new().unwrap()))
}

pub fn storage(dir: &Path) -> Storage {
    let key = Secret::File(dir.join("key"));
    Storage::usual(dir.to_owned(), key)
}

fn count(tx: &Transaction<'_>) -> Result<u32, StoreError> {
    Ok(tx.query_row("SELECT count(*) FROM upstream", [], |r| r.get(0))?)
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing_and_a_committed_one_survives() {
    let dir = tempfile::tempdir().unwrap();
    let (store, thread) = open(&storage(dir.path())).unwrap();
    let add = |tx: &Transaction<'_>| tx.execute("INSERT INTO upstream VALUES ('a', NULL)", []);
    let failed: Result<(), StoreError> = store
        .write(Priority::Upkeep, move |tx| {
            add(tx)?;
            Err(StoreError::Stopped)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(store.read(count).await.unwrap(), 0);
    let mut commits = store.commits();
    commits.mark_unchanged();
    store.write(Priority::Attendance, move |tx| Ok::<_, StoreError>(add(tx)?)).await.unwrap();
    assert!(commits.has_changed().unwrap());
    assert!(matches!(open(&storage(dir.path())), Err(StoreError::InUse { .. })));
    drop(store);
    thread.join().unwrap();
    let (store, _thread) = open(&storage(dir.path())).unwrap();
    assert_eq!(store.read(count).await.unwrap(), 1);
}

#[test]
fn files_are_private_and_the_pragmas_hold() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(&storage(dir.path())).unwrap();
    for name in ["gatehouse.db", "gatehouse.db-wal", "gatehouse.db-shm", "key", "lock"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} {mode:o}");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let (connection, _) = database::open(&storage(dir.path()), &clock).unwrap();
    let pragma = |name| connection.query_row(name, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(pragma("PRAGMA synchronous"), 2);
    assert_eq!(pragma("PRAGMA secure_delete"), 1);
}

#[test]
fn examining_an_empty_folder_leaves_it_empty() {
    let dir = tempfile::tempdir().unwrap();
    examine(&storage(dir.path()), |_| Ok(())).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let (store, thread) = open(&storage(dir.path())).unwrap();
    drop(store);
    thread.join().unwrap();
    examine(&storage(dir.path()), |_| Ok(())).unwrap();
}

#[test]
fn examining_the_storage_makes_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |m| {
        let permissions = std::fs::Permissions::from_mode(m);
        std::fs::set_permissions(dir.path(), permissions).unwrap();
    };
    mode(0o755);
    examine(&storage(dir.path()), |_| Ok(())).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    std::fs::write(dir.path().join("another file"), "").unwrap();
    assert!(matches!(open(&storage(dir.path())), Err(StoreError::Shared { mode: 0o755, .. })));
    std::fs::remove_file(dir.path().join("another file")).unwrap();
    let (store, thread) = open(&storage(dir.path())).unwrap();
    assert!(matches!(examine(&storage(dir.path()), |_| Ok(())), Err(StoreError::InUse { .. })));
    drop(store);
    thread.join().unwrap();
    let names = || {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        entries.map(|e| e.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    examine(&storage(dir.path()), |_| Ok(())).unwrap();
    assert_eq!(names(), before);
}

#[test]
fn a_wrong_key_a_missing_key_and_a_newer_schema_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = storage(dir.path());
    let reopen = || {
        let opened = open(&config);
        opened.map(|(store, thread)| {
            drop(store);
            thread.join().unwrap()
        })
    };
    reopen().unwrap();
    let key = std::fs::read_to_string(dir.path().join("key")).unwrap();
    std::fs::remove_file(dir.path().join("key")).unwrap();
    assert!(matches!(reopen(), Err(StoreError::Key(KeyError::Missing { .. }))));
    assert!(!dir.path().join("key").exists(), "a new key must not be made over sealed data");
    Sealer::load(&config.key, true).unwrap();
    assert!(matches!(reopen(), Err(StoreError::WrongKey { .. })));
    std::fs::write(dir.path().join("key"), key).unwrap();
    reopen().unwrap();
    let raw = Connection::open(config.database()).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    for found in [reopen().map(drop), examine(&config, |_| Ok(())).map(drop)] {
        let said = found.unwrap_err().to_string();
        let (file, known) = (config.database(), database::MIGRATIONS.len());
        let versions =
            format!("(schema 99; this one, {}, knows {known})", env!("CARGO_PKG_VERSION"));
        for part in [file.to_str().unwrap(), &versions, "install that version again"] {
            assert!(said.contains(part), "{said} lacks {part}");
        }
    }
}

/// Rows in the columns of the first schema. They are a worker with a template and a photo, a
/// passage with an outcome, a passage without one, and outbox rows.
const A_PAST: &str = "
    INSERT INTO worker (id, name, team, contractor, trade, identity, identity_lookup, valid_from,
        valid_until, consent, state)
        VALUES ('W001', '刘峰', 'Steel 1', 'Fuding', 'fixer', x'01', x'02', '2026-03-01', NULL,
        'C-1', 'active'), ('W002', '陈静', 't', 'c', 'd', x'03', x'04', NULL, NULL, NULL, 'removed');
    INSERT INTO template VALUES ('W001', 0, 'm', x'05');
    INSERT INTO photo VALUES ('W001', 0, x'06');
    INSERT INTO entry VALUES (0, NULL, 'boot', 1, NULL, NULL, NULL, x'07', zeroblob(32)),
        (1, 1, 'grant', 2, 'W001', 'north', NULL, x'08', zeroblob(32)),
        (2, NULL, 'outcome', 3, NULL, 'north', 1, x'09', zeroblob(32)),
        (3, 2, 'grant', 4, 'W001', 'north', NULL, x'0a', zeroblob(32));
    INSERT INTO open_passage VALUES (zeroblob(16), 3);
    INSERT INTO upstream VALUES ('platform', NULL), ('old', 1);
    INSERT INTO outbox VALUES ('platform', 1), ('platform', 2);";

/// Returns the rows that [`A_PAST`] wrote, in the same columns.
fn past(connection: &Connection) -> Vec<Vec<rusqlite::types::Value>> {
    let columns = [
        "id, name, team, contractor, trade, identity, identity_lookup, valid_from, valid_until, \
         consent, state FROM worker",
        "worker, ordinal, model, sealed FROM template",
        "worker, ordinal, sealed FROM photo",
        "idx, seq, kind, at_ms, worker, lane, cause, bytes, leaf FROM entry",
        "passage, cause FROM open_passage",
        "name, left_at FROM upstream",
        "upstream, seq FROM outbox",
        "key, value FROM meta WHERE key = 'ledger'",
    ];
    let rows = |columns: &str| {
        let mut found = connection.prepare(&format!("SELECT {columns} ORDER BY 1, 2")).unwrap();
        let width = found.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..width).map(|n| row.get(n)).collect();
        found.query_map([], row).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    columns.into_iter().flat_map(rows).collect()
}

fn tables(connection: &Connection) -> Vec<String> {
    let schema = "SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY type, name";
    let mut found = connection.prepare(schema).unwrap();
    found.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_database_of_each_older_schema_is_migrated_with_all_its_rows() {
    let fresh = Connection::open_in_memory().unwrap();
    fresh.execute_batch(SCHEMA).unwrap();
    let newest = database::MIGRATIONS.len();
    for schema in 1..=newest {
        let dir = tempfile::tempdir().unwrap();
        let config = storage(dir.path());
        let old = Connection::open(config.database()).unwrap();
        old.pragma_update(None, "application_id", database::APPLICATION_ID).unwrap();
        for sql in &database::MIGRATIONS[..schema] {
            old.execute_batch(sql).unwrap();
        }
        old.pragma_update(None, "user_version", schema).unwrap();
        set_meta(&old, "ledger", &[9; 16]).unwrap();
        old.execute_batch(A_PAST).unwrap();
        let before = past(&old);
        assert_eq!(before.len(), 14);
        drop(old);
        let (store, thread) = open(&config).unwrap();
        drop(store);
        thread.join().unwrap();
        examine(&config, |_| Ok(())).unwrap();
        let now = Connection::open(config.database()).unwrap();
        let version: usize = now.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
        assert_eq!((version, past(&now) == before), (newest, true), "from schema {schema}");
        assert_eq!(tables(&now), tables(&fresh), "from schema {schema}");
        let astray = now.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
        assert!(!astray, "from schema {schema}");
    }
}

async fn add(store: &Store, n: u32) -> Result<(), StoreError> {
    let add = move |tx: &Transaction<'_>| {
        Ok(tx.execute("INSERT INTO upstream VALUES (?1, NULL)", [format!("{n:0>900}")])?)
    };
    store.write(Priority::Attendance, add).await.map(drop)
}

/// Makes a database of several pages, and closes it.
async fn filled(dir: &Path) {
    let (store, thread) = open(&storage(dir)).unwrap();
    for n in 0..40 {
        add(&store, n).await.unwrap();
    }
    drop(store);
    thread.join().unwrap();
}

fn overwrite(path: &Path, at: usize, length: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at..at + length].fill(0xA5);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_whole_and_a_new_one_says_whose_place_it_takes() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("header", |path| overwrite(path, 0, 100)),
        ("schema", |path| overwrite(path, 100, 3000)),
        ("a page in the middle", |path| overwrite(path, 9 * 4096, 4096)),
        ("cut short", |path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(7 * 4096).unwrap();
        }),
        ("empty", |path| drop(std::fs::File::create(path).unwrap())),
    ];
    for (what, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path()).await;
        let path = storage(dir.path()).database();
        harm(&path);
        let harmed = std::fs::read(&path).unwrap();
        let (store, thread) = open(&storage(dir.path())).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(store.read(count).await.unwrap(), 0, "{what}");
        let all = all_set_aside(dir.path());
        assert_eq!(all.len(), 1, "{what}");
        assert_eq!(std::fs::read(all[0].join("gatehouse.db")).unwrap(), harmed, "{what}");
        assert!(!why_set_aside(&all[0]).is_empty());
        let place = dir.path().to_owned();
        let old = move |tx: &Transaction<'_>| {
            let old = predecessor(tx, &place)?;
            succeeded(tx)?;
            Ok::<_, StoreError>((old.map(|old| old.place), predecessor(tx, &place)?.is_none()))
        };
        let old = store.write(Priority::Upkeep, old).await.unwrap();
        assert_eq!(old, (Some(all[0].clone()), true), "{what}");
        drop(store);
        thread.join().unwrap();
        // A sound database is not set aside.
        drop(open(&storage(dir.path())).unwrap());
        assert_eq!(all_set_aside(dir.path()), all, "{what}");
    }
}

/// Opens the database, counts a start, adds an entry for each seq, and closes it.
async fn run_with(dir: &Path, seqs: std::ops::RangeInclusive<u64>) {
    let (store, thread) = open(&storage(dir)).unwrap();
    let work = move |tx: &Transaction<'_>| {
        count_start(tx)?;
        for seq in seqs {
            let entry = "INSERT INTO entry VALUES \
                         (?1, ?1, 'boot', 0, NULL, NULL, NULL, x'', zeroblob(32))";
            tx.execute(entry, [seq])?;
        }
        Ok(())
    };
    store.write::<_, StoreError>(Priority::Upkeep, work).await.unwrap();
    store.beat().await.unwrap();
    drop(store);
    thread.join().unwrap();
}

#[tokio::test]
async fn i3_a_database_that_ends_before_its_mark_is_kept_and_its_lost_end_is_known() {
    let dir = tempfile::tempdir().unwrap();
    run_with(dir.path(), 1..=9).await;
    let path = storage(dir.path()).database();
    Connection::open(&path).unwrap().execute("DELETE FROM entry WHERE seq > 7", []).unwrap();
    let (store, thread) = open(&storage(dir.path())).unwrap();
    assert_eq!(all_set_aside(dir.path()).len(), 0);
    let found = {
        let dir = dir.path().to_owned();
        move |tx: &Transaction<'_>| Ok::<_, StoreError>(lost_end(tx, &dir)?)
    };
    let mark = Mark { starts: 1, seq: 9, entries: 10 };
    assert_eq!(store.read(found.clone()).await.unwrap(), Some(mark));
    // A heartbeat does not lower the mark before the ledger has recorded the loss.
    store.beat().await.unwrap();
    assert_eq!(store.read(found).await.unwrap(), Some(mark));
    drop(store);
    thread.join().unwrap();
}

#[tokio::test]
async fn an_older_copy_that_was_put_back_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    run_with(dir.path(), 1..=7).await;
    let copy = std::fs::read(storage(dir.path()).database()).unwrap();
    run_with(dir.path(), 8..=9).await;
    run_with(dir.path(), 10..=10).await;
    assert_eq!(all_set_aside(dir.path()).len(), 0);
    std::fs::write(storage(dir.path()).database(), copy).unwrap();
    run_with(dir.path(), 1..=1).await;
    let all = all_set_aside(dir.path());
    assert_eq!(all.len(), 1);
    let why = why_set_aside(&all[0]);
    assert!(why.contains("older copy") && why.contains("11 entries and 3 starts"), "{why}");
    // The new database has a new ledger, whose mark starts again.
    run_with(dir.path(), 2..=2).await;
    assert_eq!(all_set_aside(dir.path()), all);
}

#[test]
fn a_mark_with_a_damaged_digit_or_of_another_ledger_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mark, ledger) = (Mark { starts: 2, seq: 4711, entries: 4800 }, [7; 16]);
    mark.write(dir.path(), &ledger).unwrap();
    assert_eq!(Mark::read(dir.path(), &ledger), Some(mark));
    assert_eq!(Mark::read(dir.path(), &[8; 16]), None);
    let file = dir.path().join("committed");
    let whole = std::fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(Mark::read(dir.path(), &ledger), None, "byte {at}");
    }
}

#[tokio::test]
async fn a_new_database_that_a_power_cut_left_empty_is_not_taken_for_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    overwrite(&storage(dir.path()).database(), 0, 100);
    folder::set_aside(&storage(dir.path()), SystemClock::new().unwrap().stamp(), "x").unwrap();
    std::fs::write(storage(dir.path()).database(), "").unwrap();
    let (store, _thread) = open(&storage(dir.path())).unwrap();
    assert_eq!(all_set_aside(dir.path()).len(), 1);
    let place = dir.path().to_owned();
    let old = move |tx: &Transaction<'_>| Ok::<_, StoreError>(predecessor(tx, &place)?.is_some());
    assert!(store.read(old).await.unwrap());
}

#[tokio::test]
async fn a_log_whose_database_was_set_aside_is_moved_to_it_before_the_next_database_is_made() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    // A power cut between the two moves leaves this state.
    let place = dir.path().join("set-aside/3-20261122T033855Z");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::rename(storage(dir.path()).database(), place.join("gatehouse.db")).unwrap();
    std::fs::write(dir.path().join("gatehouse.db-wal"), "its log").unwrap();
    let (store, _thread) = open(&storage(dir.path())).unwrap();
    assert_eq!(std::fs::read(place.join("gatehouse.db-wal")).unwrap(), b"its log");
    assert_eq!(all_set_aside(dir.path()), [place]);
    assert_eq!(store.read(count).await.unwrap(), 0);
}

#[tokio::test]
async fn i8_no_more_than_the_maximum_of_damaged_databases_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    for n in 1..=16 {
        std::fs::create_dir_all(dir.path().join(format!("set-aside/{n}-x"))).unwrap();
    }
    overwrite(&storage(dir.path()).database(), 0, 100);
    assert!(matches!(open(&storage(dir.path())), Err(StoreError::TooManySetAside { .. })));
    assert!(storage(dir.path()).database().exists());
}

#[tokio::test]
async fn damage_found_by_a_reader_ends_the_store_and_the_next_start_looks_closer() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut thread) = open(&storage(dir.path())).unwrap();
    for n in 0..40 {
        add(&store, n).await.unwrap();
    }
    store.checkpoint().await.unwrap();
    let path = storage(dir.path()).database();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for page in 2..std::fs::metadata(&path).unwrap().len() / 4096 {
        use std::os::unix::fs::FileExt;
        file.write_at(&[0xA5; 4096], page * 4096).unwrap();
    }
    let all = |tx: &Transaction<'_>| -> Result<u64, StoreError> {
        Ok(tx.query_row("SELECT sum(length(name)) FROM upstream", [], |r| r.get(0))?)
    };
    assert!(store.read(all).await.is_err());
    thread.ended.take().unwrap().await.unwrap_err();
    assert!(store.state().damaged.is_some());
    assert!(matches!(add(&store, 50).await, Err(StoreError::Stopped)));
    assert!(dir.path().join("gatehouse.db.suspect").exists());
    drop(store);
    thread.join().unwrap();
    let (_store, _thread) = open(&storage(dir.path())).unwrap();
    assert_eq!(all_set_aside(dir.path()).len(), 1);
    assert!(!dir.path().join("gatehouse.db.suspect").exists());
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_reported_until_a_write_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _thread) = open(&storage(dir.path())).unwrap();
    let pages = |most: u32| {
        let limit =
            move |tx: &Transaction<'_>| Ok(tx.pragma_update(None, "max_page_count", most)?);
        store.write::<_, StoreError>(Priority::Upkeep, limit)
    };
    pages(1).await.unwrap();
    let mut error = None;
    for n in 0..100 {
        error = error.or(add(&store, n).await.err());
    }
    assert!(matches!(error, Some(StoreError::Sqlite(_))), "{error:?}");
    let state = store.state();
    assert!(state.failing.as_deref().is_some_and(|e| e.contains("full")), "{state:?}");
    assert!(state.failures > 0 && state.failing_since.as_millis() > 0);
    // A statement that breaks a constraint is not a failure of the disk.
    pages(1_000_000).await.unwrap();
    assert_eq!(store.state().failing, None);
    add(&store, 900).await.unwrap();
    assert!(add(&store, 900).await.is_err());
    assert_eq!(store.state().failing, None);
    assert!(store.state().last_error.is_some());
    tokio::time::timeout(Duration::from_secs(120), store.probe()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_probe_reaches_the_disk_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _thread) = open(&storage(dir.path())).unwrap();
    let log = || std::fs::metadata(dir.path().join("gatehouse.db-wal")).unwrap().len();
    for _ in 0..3 {
        let before = log();
        store.probe().await.unwrap();
        assert!(log() > before);
    }
}

#[tokio::test]
async fn i8_a_sender_waits_while_a_queue_is_full_and_nothing_is_lost() {
    for (priority, bound) in [
        (Priority::Attendance, ATTENDANCE_QUEUE),
        (Priority::Event, EVENT_QUEUE),
        (Priority::Upkeep, BULK_QUEUE),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _thread) = open(&storage(dir.path())).unwrap();
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let mut senders = tokio::task::JoinSet::new();
        let held_store = store.clone();
        senders.spawn(async move {
            let hold = move |_: &mut Writer| {
                let _ = (begin.send(()), held.recv());
            };
            held_store.turn(&held_store.attendance, hold).await
        });
        begun.await.unwrap();
        for n in 0..bound + 10 {
            let store = store.clone();
            senders.spawn(async move {
                let add = move |tx: &Transaction<'_>| {
                    tx.execute("INSERT INTO upstream VALUES (?1, NULL)", [n.to_string()])?;
                    Ok(())
                };
                store.write::<_, StoreError>(priority, add).await
            });
        }
        let queue = match priority {
            Priority::Attendance => &store.attendance,
            Priority::Event => &store.events,
            _ => &store.bulk,
        };
        assert_eq!(queue.max_capacity(), bound);
        while queue.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(senders.try_join_next().is_none(), "all wait");
        go_on.send(()).unwrap();
        senders.join_all().await.into_iter().for_each(|sent| sent.unwrap());
        assert_eq!(store.read(count).await.unwrap() as usize, bound + 10, "{priority:?}");
    }
}

#[tokio::test]
async fn i8_of_many_readers_at_once_few_connections_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _thread) = open(&storage(dir.path())).unwrap();
    let all = READERS_KEPT + 3;
    let together = Arc::new(std::sync::Barrier::new(all));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..all {
        let (store, together) = (store.clone(), together.clone());
        readers.spawn(async move {
            let read = move |tx: &Transaction<'_>| {
                together.wait();
                count(tx)
            };
            store.read(read).await
        });
    }
    readers.join_all().await.into_iter().for_each(|read| assert_eq!(read.unwrap(), 0));
    assert_eq!(store.readers.lock().unwrap().len(), READERS_KEPT);
}

#[tokio::test]
async fn i8_the_log_that_a_long_reader_let_grow_is_cut_back_when_the_reader_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _thread) = open(&storage(dir.path())).unwrap();
    let log = || std::fs::metadata(dir.path().join("gatehouse.db-wal")).unwrap().len();
    let reader = Connection::open(store.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM meta").unwrap();
    for n in 0..20 {
        let photo = move |tx: &Transaction<'_>| {
            Ok::<_, StoreError>(set_meta(tx, &format!("photo{n}"), &[0xA5; 1 << 20])?)
        };
        store.write(Priority::Photo, photo).await.unwrap();
    }
    assert!(log() > 20 << 20, "the log grows while the reader is open");
    drop(reader);
    // The first commit copies the log into the database. The next commit starts the log again.
    store.probe().await.unwrap();
    store.probe().await.unwrap();
    assert_eq!(log(), 16 << 20);
    let photos = |tx: &Transaction<'_>| -> Result<u32, StoreError> {
        let photos = "SELECT count(*) FROM meta WHERE key LIKE 'photo%'";
        Ok(tx.query_row(photos, [], |row| row.get(0))?)
    };
    assert_eq!(store.read(photos).await.unwrap(), 20);
}
