//! The one database and its one writer thread.
//!
//! In: closures that run inside a transaction, from the rooms that own the tables. Out: their
//! results, after the commit is on the disk (WAL, `synchronous=FULL`). Passages overtake
//! everything else in the queue. Readers have connections of their own, read only. Touches: the
//! storage folder, and nothing in it is readable by others.

mod sealing;

use std::{
    fs::File,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Storage;
pub use sealing::{KeyError, SealError, Sealer};

/// Each is run once, in order; the database's `user_version` says how many have been.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];
/// "GATE": tells our file from any other SQLite database.
const APPLICATION_ID: i32 = 0x4741_5445;
/// Passages and denials waiting to be committed. A lane has one passage at a time and a denial a
/// visit, so this is hardly ever full; a sender then waits.
const ATTENDANCE_QUEUE: usize = 64;
/// Denials waiting; when full the sender waits.
const EVENT_QUEUE: usize = 64;
/// Enrolments and strike-offs waiting; when full the sender waits.
const BULK_QUEUE: usize = 64;
/// Connections kept open for readers; more are opened and closed as needed.
const READERS_KEPT: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("storage folder {}: {source}; it must exist and be writable by the daemon's user", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(
        "storage folder {} holds other files and others may look into it (mode {mode:o}): \
         name a folder of its own, or chmod 700 it",
        path.display()
    )]
    Shared { path: PathBuf, mode: u32 },
    #[error("the file system of {} carries no write-ahead log: use a local one", path.display())]
    NoWal { path: PathBuf },
    #[error("{} is used by another gatehouse; stop that one first", path.display())]
    InUse { path: PathBuf },
    #[error("{} is not a Gatehouse database", path.display())]
    Foreign { path: PathBuf },
    #[error("{} was written by a newer gatehouse (schema {found}, this one knows {known}): install that version again", path.display())]
    Newer { path: PathBuf, found: usize, known: usize },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the sealing key is not the one that {} was sealed with: put the right key back", path.display())]
    WrongKey { path: PathBuf },
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("{} is damaged: {found}; stop the daemon and put a copy aside before anything else", path.display())]
    Damaged { path: PathBuf, found: String },
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the store has stopped")]
    Stopped,
    #[error("the kernel gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// What is written: who goes first in the writer's queue, and who is refused first when the disk
/// fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Grants, releases by hand and their outcomes: before all else, and to the last byte.
    Attendance,
    /// Denials: next in the queue, and the first to be given up.
    Event,
    /// What holds photos: given up after events.
    Photo,
    /// What takes next to no room, or makes some: strike-offs, removals, entries on the clock and
    /// the disk. Never given up.
    Upkeep,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the store; clones share it. The thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    attendance: mpsc::Sender<Job>,
    events: mpsc::Sender<Job>,
    bulk: mpsc::Sender<Job>,
    path: PathBuf,
    readers: Arc<Mutex<Vec<Connection>>>,
    sealer: Arc<Sealer>,
    commits: Arc<watch::Sender<u64>>,
}

/// Ends when the writer's thread does.
pub struct StoreThread {
    /// For whoever watches over it, once.
    pub ended: Option<oneshot::Receiver<()>>,
    thread: JoinHandle<()>,
}

impl StoreThread {
    /// Waits for what is queued to be written. All [`Store`] handles must be gone.
    pub fn join(self) -> Result<(), StoreError> {
        self.thread.join().map_err(|_| StoreError::Stopped)
    }
}

/// Opens (or makes) the database and starts its writer.
pub fn open(config: &Storage) -> Result<(Store, StoreThread), StoreError> {
    let lock = lock_folder(config)?;
    let path = config.database();
    let (mut connection, sealer) = open_database(&path, &config.key)?;
    let (attendance, mut attendance_jobs) = mpsc::channel::<Job>(ATTENDANCE_QUEUE);
    let (events, mut event_jobs) = mpsc::channel::<Job>(EVENT_QUEUE);
    let (bulk, mut bulk_jobs) = mpsc::channel::<Job>(BULK_QUEUE);
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|source| StoreError::Folder { path: config.dir.clone(), source })?;
    let thread = std::thread::Builder::new()
        .name("store".into())
        .spawn(move || {
            let (_lock, _end) = (lock, end);
            runtime.block_on(async {
                loop {
                    let job = tokio::select! {
                        biased;
                        Some(job) = attendance_jobs.recv() => job,
                        Some(job) = event_jobs.recv() => job,
                        Some(job) = bulk_jobs.recv() => job,
                        else => break,
                    };
                    job(&mut connection);
                }
            });
        })
        .map_err(|source| StoreError::Folder { path: config.dir.clone(), source })?;
    let store = Store {
        attendance,
        events,
        bulk,
        path,
        readers: Arc::default(),
        sealer: Arc::new(sealer),
        commits: Arc::new(watch::Sender::new(0)),
    };
    Ok((store, StoreThread { ended: Some(ended), thread }))
}

/// Opens an existing database as [`open`] would and has SQLite look it through, for `check`.
pub fn examine(config: &Storage) -> Result<(), StoreError> {
    let path = config.database();
    // Nothing is made, migrated or given another mode: `check` may be run by root, and the daemon
    // could not open what is root's.
    if !path.exists() {
        return Ok(());
    }
    let _lock = match File::open(config.dir.join("lock")) {
        Ok(lock) => Some(locked(lock, &config.dir)?),
        Err(_) => None,
    };
    // Able to write only so that SQLite can take its own log away again at the end.
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", "ON")?;
    let schema = schema(&connection, &path)?;
    if schema > 0 {
        let sealer = Sealer::load(&config.key, false)?;
        prove_key(&connection, &path, &sealer)?;
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged { path, found }) }
}

impl Store {
    /// Runs `work` in a transaction of its own. It is committed, and on the disk, when this
    /// returns `Ok`; nothing of it happened when it returns `Err`.
    pub async fn write<T, E>(
        &self,
        priority: Priority,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let commits = self.commits.clone();
        let job: Job = Box::new(move |connection| {
            let sqlite = |e| E::from(StoreError::Sqlite(e));
            let outcome = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(sqlite)
                .and_then(|transaction| {
                    let value = work(&transaction)?;
                    transaction.commit().map_err(sqlite)?;
                    Ok(value)
                });
            if outcome.is_ok() {
                commits.send_modify(|n| *n = n.wrapping_add(1));
            }
            // A caller that went away (a closed socket) does not undo what it asked for.
            let _ = reply.send(outcome);
        });
        let queue = match priority {
            Priority::Attendance => &self.attendance,
            Priority::Event => &self.events,
            Priority::Photo | Priority::Upkeep => &self.bulk,
        };
        queue.send(job).await.map_err(|_| StoreError::Stopped)?;
        result.await.map_err(|_| StoreError::Stopped)?
    }

    /// Returns when the writer has come by: it makes progress.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move |_| {
            let _ = reply.send(());
        });
        self.attendance.send(job).await.map_err(|_| StoreError::Stopped)?;
        result.await.map_err(|_| StoreError::Stopped)
    }

    /// Empties the write-ahead log into the database, so that what was erased is gone from both.
    /// False where a reader that would not end kept it from being emptied; it will be later.
    pub async fn checkpoint(&self) -> Result<bool, StoreError> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let busy: rusqlite::Result<bool> =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            let _ = reply.send(busy);
        });
        self.bulk.send(job).await.map_err(|_| StoreError::Stopped)?;
        Ok(!result.await.map_err(|_| StoreError::Stopped)??)
    }

    /// Runs `work` on a read-only connection, in one consistent snapshot.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (path, readers) = (self.path.clone(), self.readers.clone());
        let read = move || {
            let kept = readers.lock().unwrap_or_else(|p| p.into_inner()).pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            let result = match connection.transaction() {
                Ok(transaction) => work(&transaction),
                Err(e) => Err(StoreError::Sqlite(e).into()),
            };
            let mut readers = readers.lock().unwrap_or_else(|p| p.into_inner());
            if readers.len() < READERS_KEPT {
                readers.push(connection);
            }
            result
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Stopped)?
    }

    pub fn sealer(&self) -> &Arc<Sealer> {
        &self.sealer
    }

    /// Changes after each commit: what waits for rows looks again then.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the folder (0700) and holds its lock for as long as the file lives. A folder that others
/// may look into is closed to them, but only where it is ours: empty, or with our database.
fn lock_folder(config: &Storage) -> Result<File, StoreError> {
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
    let lock = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(folder)?;
    locked(lock, dir)
}

fn locked(lock: File, dir: &Path) -> Result<File, StoreError> {
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(StoreError::Folder { path: dir.to_owned(), source })
        }
    }
}

fn open_database(
    path: &Path,
    key: &crate::config::Secret,
) -> Result<(Connection, Sealer), StoreError> {
    // Made by us first, so that SQLite's three files are 0600 from their first byte.
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::Folder { path: path.to_owned(), source })?;
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::NoWal { path: path.to_owned() });
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let new = migrate(&mut connection, path)?;
    let sealer = Sealer::load(key, new)?;
    if !prove_key(&connection, path, &sealer)? {
        set_meta(&connection, "key_proof", &sealer.seal(KEY_PROOF, b"gatehouse")?)?;
    }
    Ok((connection, sealer))
}

/// How many migrations a database has had; 0 for an empty one.
fn schema(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    let id: i32 = connection.query_row("PRAGMA application_id", [], |r| r.get(0))?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if id != APPLICATION_ID && (found != 0 || tables != 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let known = MIGRATIONS.len();
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Brings the schema up to date. True where the database holds nothing sealed yet.
fn migrate(connection: &mut Connection, path: &Path) -> Result<bool, StoreError> {
    let found = schema(connection, path)?;
    for (done, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        if done == 0 {
            let mut ledger = [0; 16];
            getrandom::fill(&mut ledger)?;
            transaction.execute("INSERT INTO meta VALUES ('ledger', ?1)", [&ledger[..]])?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        transaction.execute_batch(&format!("PRAGMA user_version = {}", done + 1))?;
        transaction.commit()?;
    }
    Ok(meta(connection, "key_proof")?.is_none())
}

/// A value of the database's own table of facts.
pub fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()
}

/// Puts a value into the database's own table of facts.
pub fn set_meta(connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection
        .execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", rusqlite::params![key, value])?;
    Ok(())
}

const KEY_PROOF: &str = "meta/key_proof";

/// A sealed word in the database shows whether the key is the one it was sealed with. False where
/// there is no such word yet.
fn prove_key(connection: &Connection, path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
    match meta(connection, "key_proof")? {
        Some(sealed) => match sealer.open(KEY_PROOF, &sealed) {
            Ok(_) => Ok(true),
            Err(_) => Err(StoreError::WrongKey { path: path.to_owned() }),
        },
        None => Ok(false),
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    pub fn storage(dir: &Path) -> Storage {
        let key = Secret::File(dir.join("key"));
        Storage { dir: dir.to_owned(), key, attendance_keep_years: 3 }
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
        let (connection, _) =
            open_database(&dir.path().join("gatehouse.db"), &storage(dir.path()).key).unwrap();
        let pragma = |name| connection.query_row(name, [], |r| r.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("PRAGMA synchronous"), 2);
        assert_eq!(pragma("PRAGMA secure_delete"), 1);
    }

    #[test]
    fn to_examine_an_empty_folder_leaves_it_empty() {
        let dir = tempfile::tempdir().unwrap();
        examine(&storage(dir.path())).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let (store, thread) = open(&storage(dir.path())).unwrap();
        drop(store);
        thread.join().unwrap();
        examine(&storage(dir.path())).unwrap();
    }

    #[test]
    fn a_look_at_the_storage_makes_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |m| {
            let permissions = std::fs::Permissions::from_mode(m);
            std::fs::set_permissions(dir.path(), permissions).unwrap();
        };
        mode(0o755);
        examine(&storage(dir.path())).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::write(dir.path().join("somebody's"), "").unwrap();
        assert!(matches!(open(&storage(dir.path())), Err(StoreError::Shared { mode: 0o755, .. })));
        std::fs::remove_file(dir.path().join("somebody's")).unwrap();
        let (store, thread) = open(&storage(dir.path())).unwrap();
        assert!(matches!(examine(&storage(dir.path())), Err(StoreError::InUse { .. })));
        drop(store);
        thread.join().unwrap();
        let names = || {
            let entries = std::fs::read_dir(dir.path()).unwrap();
            entries.map(|e| e.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
        };
        let before = names();
        examine(&storage(dir.path())).unwrap();
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
        assert!(matches!(reopen(), Err(StoreError::Newer { found: 99, .. })));
    }
}
