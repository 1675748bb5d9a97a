//! Entries that wait for their commit, because the disk may fail.

use std::collections::VecDeque;

use rusqlite::Transaction;

use crate::{
    clock::Stamp,
    ledger::LedgerError,
    store::{Priority, Store},
};

/// Entries in the order of their time, with a maximum number.
pub(super) struct Pending<T> {
    entries: VecDeque<(Stamp, T)>,
    most: usize,
}

impl<T: Clone> Pending<T> {
    /// Creates an empty queue of at most `most` entries.
    pub(super) fn new(most: usize) -> Pending<T> {
        Pending { entries: VecDeque::new(), most }
    }

    /// Returns the number of entries for which there is room.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.entries.len())
    }

    /// Adds an entry. Returns it if there is no room.
    pub(super) fn add(&mut self, stamp: Stamp, entry: T) -> Result<(), T> {
        if self.room() == 0 {
            return Err(entry);
        }
        self.entries.push_back((stamp, entry));
        Ok(())
    }

    /// Commits the entries in their order, each in a transaction of its own, until one fails. That
    /// one stays, and the next call tries it again.
    pub(super) async fn commit<W>(&mut self, store: &Store, work: impl Fn(Stamp, T) -> W)
    where
        W: FnOnce(&Transaction<'_>) -> Result<(), LedgerError> + Send + 'static,
    {
        while let Some((stamp, entry)) = self.entries.front().cloned() {
            if let Err(error) = store.write(Priority::Upkeep, work(stamp, entry)).await {
                // The store reports its errors itself; other errors would repeat at each check.
                tracing::debug!(%error, "not recorded yet");
                return;
            }
            self.entries.pop_front();
        }
    }
}
