//! The database and its writer thread.
//!
//! In: closures that run inside a transaction, from the rooms that own the tables. Out: their
//! results, after the commit is on the disk (WAL, `synchronous=FULL`), and a [`StoreState`].
//! Attendance has priority in the queue, and is recorded to the last byte of a disk that fills up
//! ([`Room`]). Readers have read-only connections of their own. Touches: the storage folder. No
//! file in it is readable by other users.
//!
//! A database that is damaged when it is opened, or an older copy, is set aside, never deleted, and a
//! new one takes its place ([`predecessor`]). A sound database that has lost its end stays
//! ([`lost_end`]). Damage that SQLite finds later ends the writer, and so the daemon.
//! The next start sets the database aside.

#![warn(missing_docs)]

mod aside;
mod database;
mod folder;
mod mark;
mod meta;
pub mod photo_store;
mod room;
mod rotation;
mod sealing;
mod settling;
mod signing;
mod writer;

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot, watch};

#[cfg(test)]
pub use self::database::SCHEMA;
pub use self::{
    aside::{
        Predecessor, Rescue, files_of, open_damaged, open_set_aside, predecessor, read_from,
        succeeded,
    },
    database::examine,
    folder::{all_set_aside, renew, was_renewed, why_set_aside},
    mark::{Mark, count_start, lost_end, older_copy},
    meta::{clear_meta, meta, metas, set_meta},
    room::{RESERVE, Room, space},
    rotation::{NewKey, Rotated, rotate},
    sealing::{KeyError, SealError, Sealer},
    signing::{
        Link, MOST_LINKS, PublicKey, SigningKey, SigningRotated, carry_keys_over, links_to,
        record_key, recorded_key, replaced_key, rotate_signing,
    },
    writer::StoreState,
};
use self::{
    database::is_damage,
    room::Disk,
    writer::{Job, Queues, Shared, Writer, is_disk_error},
};
use crate::{clock::Clock, config::Storage, supervision::cause, timing::Histogram};

/// Maximum number of grants, releases by hand and outcomes that wait for a commit. A lane has one
/// passage at a time, so the queue is hardly ever full. Further senders wait.
const ATTENDANCE_QUEUE: usize = 64;
/// Maximum number of denials that wait for a commit. Further senders wait.
const EVENT_QUEUE: usize = 64;
/// Maximum number of enrolments and strike-offs that wait for a commit. Further senders wait.
const BULK_QUEUE: usize = 64;
/// Maximum number of reader connections that stay open. Further ones are closed after use.
const READERS_KEPT: usize = 4;

/// Why the store does not open, or does not carry out a request.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant shows its fields")]
pub enum StoreError {
    /// The storage folder, or a file in it, cannot be made, read or written.
    #[error("storage folder {}: {source}; it must exist and be writable by the daemon's user", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    /// Other users may read the folder, and it does not hold our database.
    #[error(
        "storage folder {} holds other files and other users may read it (mode {mode:o}): \
         name an empty folder, or chmod 700 this one",
        path.display()
    )]
    Shared { path: PathBuf, mode: u32 },
    /// The file system supports no write-ahead log.
    #[error("the file system of {} supports no write-ahead log: use a local one", path.display())]
    NoWal { path: PathBuf },
    /// Another process has the folder's lock.
    #[error("{} is used by another gatehouse process; stop it first: systemctl stop gatehouse", path.display())]
    InUse { path: PathBuf },
    /// The file is a database of another program.
    #[error("{} is not a Gatehouse database", path.display())]
    Foreign { path: PathBuf },
    /// The schema is newer than this version's.
    #[error(
        "{} was written by a newer gatehouse (schema {found}; this one, {version}, knows {known}) and \
         was not changed: install that version again, or a newer one",
        path.display(), version = env!("CARGO_PKG_VERSION")
    )]
    Newer { path: PathBuf, found: usize, known: usize },
    /// The sealing key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The sealing key does not open the database's proof.
    #[error("the sealing key is not the one that {} was sealed with: put the right key back", path.display())]
    WrongKey { path: PathBuf },
    /// A value cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database's file is damaged. The next start sets it aside.
    #[error("{} is damaged: {found}; the daemon sets it aside at its next start and begins a new one", path.display())]
    Damaged { path: PathBuf, found: String },
    /// A copy of the database was put back. The next start sets it aside.
    #[error("{}: {found}; the daemon sets it aside at its next start and begins a new ledger", path.display())]
    OlderCopy { path: PathBuf, found: String },
    /// The disk has too little room for a write of this priority. Nothing was written.
    #[error("the disk of {} has only {free_mib} MiB free, so this was not stored: make room on it. Attendance is still recorded", path.display())]
    NoRoom { path: PathBuf, free_mib: u64 },
    /// The database is damaged, and no further one is set aside.
    #[error(
        "the database is damaged again ({found}), and {} holds the maximum number of damaged ones: \
         replace the disk, or copy the damaged databases elsewhere and remove them",
        path.display()
    )]
    TooManySetAside { path: PathBuf, found: String },
    /// The key cannot be changed, because there is no database.
    #[error("there is no database at {} yet, so nothing is sealed", path.display())]
    NothingSealed { path: PathBuf },
    /// The signing key is not the one that the ledger recorded, or it has recorded none.
    #[error(
        "the ledger has not recorded this signing key: start the daemon once, which records it, then stop it and try again"
    )]
    NothingSigned,
    /// The key cannot be changed, because a database that was set aside needs the present one.
    #[error(
        "{} is sealed with the present key and could not be opened after the change: copy it and the \
         key to a safe place, remove it here, and try again", place.display()
    )]
    SetAsideSealed { place: PathBuf },
    /// The present key is a systemd credential, and no file was named for the new one.
    #[error(
        "the key is a systemd credential, which this command cannot write: name a file for the \
         new key with --to FILE, and make it the credential afterwards"
    )]
    KeyNotWritable,
    /// A file was named for the new key, and the present key's file takes it.
    #[error("the key is the file {}, which is replaced in its place: omit --to", path.display())]
    KeyInPlace { path: PathBuf },
    /// SQLite's error, of the disk or of a statement.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The writer's thread has ended, so the daemon is ending.
    #[error("the store has stopped")]
    Stopped,
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl StoreError {
    /// Returns whether the disk is full, read-only or failing. A later attempt may succeed.
    pub fn is_of_the_disk(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let io = |e: &std::io::Error| {
            matches!(e.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
                || e.raw_os_error() == Some(libc::EIO)
        };
        match self {
            StoreError::Folder { source, .. } => io(source),
            StoreError::Key(KeyError::NotMade { source, .. }) => io(source),
            StoreError::Sqlite(e) => is_disk_error(e) && !is_damage(e),
            _ => false,
        }
    }
}

/// The priority of a write: its order in the writer's queue, and whether it is refused when the
/// disk fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Grants, releases by hand and their outcomes: first in the queue, and never refused.
    Attendance,
    /// Denials: next in the queue, and refused first.
    Event,
    /// Writes with photos: refused after events.
    Photo,
    /// Writes that take little room or free some: strike-offs, removals, entries on the clock and
    /// the disk. Never refused.
    Upkeep,
}

/// A handle to the store; clones share it. The writer's thread ends when the last handle is
/// dropped.
#[derive(Clone)]
pub struct Store {
    attendance: mpsc::Sender<Job>,
    events: mpsc::Sender<Job>,
    bulk: mpsc::Sender<Job>,
    path: PathBuf,
    readers: Arc<Mutex<Vec<Connection>>>,
    sealer: Arc<Sealer>,
    shared: Arc<Shared>,
}

/// The writer's thread.
pub struct StoreThread {
    /// Ends with the thread. The supervision takes it once.
    pub ended: Option<oneshot::Receiver<()>>,
    thread: JoinHandle<()>,
}

impl StoreThread {
    /// Waits until all queued jobs are done. All [`Store`] handles must be dropped before.
    pub fn join(self) -> Result<(), StoreError> {
        self.thread.join().map_err(|_| StoreError::Stopped)
    }
}

/// Opens (or makes) the database and starts its writer. A damaged database is set aside first.
pub fn open(config: &Storage, clock: Arc<dyn Clock>) -> Result<(Store, StoreThread), StoreError> {
    let lock = folder::lock_folder(config)?;
    let path = config.database();
    let disk = Disk::of(&config.dir);
    let (connection, sealer) = database::open(config, &clock)?;
    let (attendance, attendance_jobs) = mpsc::channel(ATTENDANCE_QUEUE);
    let (events, event_jobs) = mpsc::channel(EVENT_QUEUE);
    let (bulk, bulk_jobs) = mpsc::channel(BULK_QUEUE);
    let queues = Queues { attendance: attendance_jobs, events: event_jobs, bulk: bulk_jobs };
    let (end, ended) = oneshot::channel();
    let shared = Arc::<Shared>::default();
    // A mark is never lowered: the ledger has to record first what is lost.
    let ledger = meta(&connection, "ledger")?.unwrap_or_default();
    let mark = Mark::read(&config.dir, &ledger).unwrap_or_default();
    let writer = Writer {
        connection,
        disk,
        path: path.clone(),
        clock,
        shared: shared.clone(),
        mark,
        version: None,
        _lock: lock,
    };
    let no_thread = |source| StoreError::Folder { path: config.dir.clone(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(no_thread)?;
    let thread = std::thread::Builder::new()
        .name("store".into())
        .spawn(move || runtime.block_on(writer.run(queues, end)))
        .map_err(no_thread)?;
    let (readers, sealer) = (Arc::default(), Arc::new(sealer));
    let store = Store { attendance, events, bulk, path, readers, sealer, shared };
    Ok((store, StoreThread { ended: Some(ended), thread }))
}

impl Store {
    /// Runs `work` in a transaction of its own. After `Ok` the transaction is on the disk; after
    /// `Err` it changed nothing.
    pub async fn write<T, E>(
        &self,
        priority: Priority,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Error + From<StoreError> + Send + 'static,
    {
        let queue = match priority {
            Priority::Attendance => &self.attendance,
            Priority::Event => &self.events,
            Priority::Photo | Priority::Upkeep => &self.bulk,
        };
        self.turn(queue, move |writer| writer.transaction(priority, work)).await?
    }

    /// Queues a job for the writer and returns its result. A caller may go away meanwhile (a closed
    /// socket); the job is done all the same.
    async fn turn<T: Send + 'static>(
        &self,
        queue: &mpsc::Sender<Job>,
        what: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            let _ = reply.send(what(writer));
        });
        queue.send(job).await.map_err(|_| StoreError::Stopped)?;
        result.await.map_err(|_| StoreError::Stopped)
    }

    /// Empties the write-ahead log into the database, so that erased data is gone from both.
    /// Returns false if a long reader prevented it; a later checkpoint empties the log then.
    pub async fn checkpoint(&self) -> Result<bool, StoreError> {
        Ok(!self.turn(&self.bulk, Writer::checkpoint).await??)
    }

    /// Writes a row without meaning, to test whether a failed disk can be written again.
    pub async fn probe(&self) -> Result<(), StoreError> {
        // SQLite writes nothing when a row is replaced by the same bytes.
        let mut fresh = [0; 16];
        getrandom::fill(&mut fresh)?;
        self.write(Priority::Upkeep, move |tx| Ok(set_meta(tx, "probe", &fresh)?)).await
    }

    /// Returns when the writer has done one job, which proves its progress. The job measures the
    /// disk and writes down what was committed.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let beat = |writer: &mut Writer| {
            writer.look();
            writer.look_for_others();
            writer.write_mark();
        };
        self.turn(&self.attendance, beat).await
    }

    /// Runs `work` on a read-only connection, in one consistent snapshot.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Error + From<StoreError> + Send + 'static,
    {
        let (path, readers) = (self.path.clone(), self.readers.clone());
        let read = move || {
            let kept = readers.lock().unwrap_or_else(|p| p.into_inner()).pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => database::open_reader(&path)?,
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
        let result = tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Stopped)?;
        if let Err(error) = &result
            && let Some(cause) = cause(error).filter(|e| is_damage(e))
        {
            let found = cause.to_string();
            database::suspect(&self.path, &found);
            self.shared.state().damaged = Some(found);
            // An empty job wakes the writer, which checks for damage after each job.
            let _ = self.attendance.try_send(Box::new(|_: &mut Writer| {}));
        }
        result
    }

    /// Returns the sealer of the present key.
    pub fn sealer(&self) -> &Arc<Sealer> {
        &self.sealer
    }

    /// Returns a number that changes after each commit. A task that waits for rows reads again
    /// then.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
    }

    /// Returns the present state.
    pub fn state(&self) -> StoreState {
        self.shared.state().clone()
    }

    /// Returns the durations of commits.
    pub fn commit_times(&self) -> &Histogram {
        &self.shared.commit_times
    }

    /// Returns the path of the database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
