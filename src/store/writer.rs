//! The writer's thread: it owns the writing connection, and records the state of the disk.

use std::{
    error::Error,
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Priority, StoreError,
    database::{is_damage, suspect},
    mark::Mark,
    room::{Disk, Room},
};
use crate::{
    clock::{Clock, Monotonic},
    supervision::cause,
    timing::Histogram,
};

/// A job for the writer. It sends its own result to the caller.
pub(super) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// The state of the store and its disk, for `gatehouse status`. Counters start with the daemon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreState {
    /// The state of the disk.
    pub room: Room,
    /// Free bytes when the last transaction or beat began.
    pub free_bytes: u64,
    /// Size of the reserve for attendance, in bytes.
    pub reserve_bytes: u64,
    /// Number of transactions committed.
    pub commits: u64,
    /// Number of transactions that failed because of the disk.
    pub failures: u64,
    /// Number of events not recorded, because the disk had too little room.
    pub unrecorded: u64,
    /// Number of writes with photos refused, because the disk had too little room.
    pub photos_refused: u64,
    /// The disk's last error; `None` after the next transaction that succeeds.
    pub failing: Option<String>,
    /// The disk's last error, also after the disk works again.
    pub last_error: Option<String>,
    /// Time of the first error of this failure; milliseconds since boot.
    pub failing_since: Monotonic,
    /// The damage, if any: the store ends, and the next start sets the database aside.
    pub damaged: Option<String>,
    /// The slowest commit of the last minute or two.
    pub slowest: Slowest,
    /// Number of times that another program was seen to have written to the database.
    pub foreign_writes: u64,
}

/// The slowest commit of this minute and of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slowest {
    began: Monotonic,
    this: Duration,
    before: Duration,
}

impl Slowest {
    const MINUTE: Duration = Duration::from_secs(60);

    fn add(&mut self, now: Monotonic, took: Duration) {
        if now.since(self.began) >= Self::MINUTE {
            let before =
                if now.since(self.began) < 2 * Self::MINUTE { self.this } else { Duration::ZERO };
            *self = Slowest { began: now, this: Duration::ZERO, before };
        }
        self.this = self.this.max(took);
    }

    pub fn get(&self, now: Monotonic) -> Duration {
        if now.since(self.began) < 2 * Self::MINUTE {
            self.this.max(self.before)
        } else {
            Duration::ZERO
        }
    }
}

/// State that the writer and the handles share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<StoreState>,
    /// Changes after each commit.
    pub(super) commits: watch::Sender<u64>,
    /// Times from the start of a transaction until it is on the disk.
    pub(super) commit_times: Histogram,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether the disk, and not the statement, caused the error.
pub(super) fn is_disk_error(error: &rusqlite::Error) -> bool {
    use ErrorCode::*;
    matches!(
        error.sqlite_error_code(),
        Some(
            DiskFull
                | SystemIoFailure
                | ReadOnly
                | CannotOpen
                | DatabaseCorrupt
                | NotADatabase
                | FileLockingProtocolFailed
                | DatabaseBusy
                | DatabaseLocked
                | NoLargeFileSupport
                | PermissionDenied
        )
    )
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) disk: Disk,
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
    /// SQLite's number of the database's version. Only another program changes it.
    pub(super) version: Option<i64>,
    /// The mark in the file `committed`.
    pub(super) mark: Mark,
    /// The folder's lock, held until the thread ends.
    pub(super) _lock: File,
}

/// The writer's queues, in the order of their priority.
pub(super) struct Queues {
    pub(super) attendance: mpsc::Receiver<Job>,
    pub(super) events: mpsc::Receiver<Job>,
    pub(super) bulk: mpsc::Receiver<Job>,
}

impl Writer {
    /// Runs until all handles are gone, or the database is damaged.
    pub(super) async fn run(mut self, mut queues: Queues, _ended: oneshot::Sender<()>) {
        loop {
            let job = tokio::select! {
                biased;
                Some(job) = queues.attendance.recv() => job,
                Some(job) = queues.events.recv() => job,
                Some(job) = queues.bulk.recv() => job,
                else => break,
            };
            job(&mut self);
            let damaged = self.shared.state().damaged.clone();
            if let Some(found) = damaged {
                tracing::error!(%found, "the database is damaged: the next start sets it aside");
                break;
            }
        }
        self.write_mark();
    }

    /// Runs `work` in a transaction, if the disk has room for its priority, and updates the
    /// counters.
    pub(super) fn transaction<T, E>(
        &mut self,
        priority: Priority,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: Error + From<StoreError> + 'static,
    {
        self.look();
        if self.disk.room.refuses(priority) {
            let mut state = self.shared.state();
            state.unrecorded += u64::from(priority == Priority::Event);
            state.photos_refused += u64::from(priority == Priority::Photo);
            let (path, free_mib) = (self.path.clone(), self.disk.free_bytes >> 20);
            return Err(StoreError::NoRoom { path, free_mib }.into());
        }
        let began = self.clock.monotonic();
        let outcome = self.attempt(work);
        let now = self.clock.monotonic();
        match &outcome {
            Ok(_) => {
                self.shared.commit_times.observe(now.since(began));
                let mut state = self.shared.state();
                state.commits += 1;
                state.failing = None;
                state.slowest.add(now, now.since(began));
                drop(state);
                self.shared.commits.send_modify(|n| *n = n.wrapping_add(1));
            }
            Err(error) => {
                if let Some(cause) = cause(error).filter(|e| is_disk_error(e)) {
                    self.failed(now, cause);
                }
            }
        }
        outcome
    }

    /// Writes down what was committed, if the file does not say it yet. A mark that is beyond the
    /// database stays until the ledger has recorded what is lost.
    pub(super) fn write_mark(&mut self) {
        let Some(dir) = self.path.parent() else { return };
        let written = Mark::of(&self.connection).map(|(ledger, mark)| {
            if !mark.is_beyond(&self.mark) || self.mark.is_beyond(&mark) {
                return Ok(());
            }
            mark.write(dir, &ledger).inspect(|()| self.mark = mark)
        });
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the mark is not written"),
            Err(error) => tracing::debug!(%error, "the mark cannot be read from the database"),
        }
    }

    pub(super) fn look(&mut self) {
        self.disk.look();
        let Disk { room, free_bytes, reserve_bytes, .. } = self.disk;
        let mut state = self.shared.state();
        (state.room, state.free_bytes, state.reserve_bytes) = (room, free_bytes, reserve_bytes);
    }

    /// Notes whether another program has written to the database, whose only writer this is.
    pub(super) fn look_for_others(&mut self) {
        let version = "PRAGMA data_version";
        let Ok(version) = self.connection.query_row(version, [], |row| row.get(0)) else { return };
        if self.version.replace(version).is_some_and(|before| before != version) {
            tracing::error!("another program has written to the database: the ledger is audited");
            self.shared.state().foreign_writes += 1;
        }
    }

    fn attempt<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let sqlite = |e| E::from(StoreError::Sqlite(e));
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(sqlite)?;
        let value = work(&transaction)?;
        transaction.commit().map_err(sqlite)?;
        Ok(value)
    }

    fn failed(&self, now: Monotonic, cause: &rusqlite::Error) {
        let error = cause.to_string();
        let mut state = self.shared.state();
        state.failures += 1;
        if state.failing.is_none() {
            state.failing_since = now;
            tracing::error!(%error, "the disk cannot be written");
        }
        state.failing = Some(error.clone());
        state.last_error = Some(error.clone());
        if is_damage(cause) {
            suspect(&self.path, &error);
            state.damaged = Some(error);
        }
    }

    /// Empties the write-ahead log into the database.
    pub(super) fn checkpoint(&mut self) -> rusqlite::Result<bool> {
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.connection.query_row(truncate, [], |row| row.get(0))
    }
}

#[cfg(test)]
mod tests;
