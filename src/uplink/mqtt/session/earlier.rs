//! Publishes the waiting records of databases that were set aside, under their own ledger ids.
//!
//! They go out a few at a time, as other messages beside the rows, and each is marked as a possible
//! repeat. The broker's acknowledgement ends a record's way, also with `ack = "platform"`: the record
//! stays in the database that was set aside.

use std::collections::{HashSet, VecDeque};

use super::{Session, work::EarlierRead};
use crate::{
    ledger::{self, LedgerError, Stored},
    store::Priority,
    uplink::{
        link::LinkError,
        rows::{Maker, Row, RowMade},
    },
};

/// Maximum number of these records on their way.
const AT_ONCE: usize = 4;

/// The records of databases that were set aside, over one connection.
#[derive(Default)]
pub(super) struct Earlier {
    /// For each message without a row that the client has not numbered: whether it is one of these.
    unnumbered: VecDeque<bool>,
    on_their_way: HashSet<u16>,
    /// Number of records handed to the client that the broker has not acknowledged.
    unacknowledged: usize,
    /// What is noted when all of them are acknowledged.
    progress: Option<(String, u64)>,
    /// Nothing more goes out over this connection: none is left, or one was refused.
    pub(super) rests: bool,
}

impl Earlier {
    pub(super) fn published_other(&mut self) {
        self.unnumbered.push_back(false);
    }

    /// Notes the packet id of the oldest message without a row.
    pub(super) fn numbered(&mut self, packet: u16) {
        if self.unnumbered.pop_front() == Some(true) {
            self.on_their_way.insert(packet);
        }
    }

    pub(super) fn acknowledged(&mut self, packet: u16) {
        if self.on_their_way.remove(&packet) {
            self.unacknowledged -= 1;
        }
    }

    pub(super) fn refused(&mut self, packet: u16) {
        self.rests |= self.on_their_way.remove(&packet);
    }

    /// Returns what is to be noted now.
    fn taken(&mut self) -> Option<(String, u64)> {
        self.progress.take_if(|_| self.unacknowledged == 0)
    }
}

impl Session<'_> {
    /// Begins to read the next records, if none is on its way. It first notes that the upstream has
    /// the records before them.
    pub(super) fn next_earlier(&mut self) -> Option<EarlierRead> {
        let taken = self.earlier.taken();
        // Without an acknowledgement nothing shows that the upstream has them, so they wait.
        if self.qos_0 || self.earlier.rests && taken.is_none() || self.earlier.unacknowledged > 0 {
            return None;
        }
        let (store, name) = (self.context.store.clone(), self.to.upstream.name.clone());
        let (origin, profile) = (self.context.origin.clone(), self.to.profile.clone());
        let dir = self.context.storage_dir.clone();
        let at_ms = self.context.clock.stamp().wall_ms;
        Some(Box::pin(async move {
            if let Some(progress) = taken {
                let note = move |tx: &rusqlite::Transaction<'_>| ledger::drained(tx, &progress);
                store.write::<_, LedgerError>(Priority::Upkeep, note).await?;
            }
            let sealed = store.clone();
            let read = store.read(move |tx| {
                let maker = Maker {
                    profile: &*profile,
                    origin: &origin,
                    upstream: &name,
                    store: &sealed,
                    photos: None,
                    at_ms,
                    tx,
                    dates: std::cell::OnceCell::new(),
                };
                // A record for which the gateway lacks something stays in that database.
                let make = |stored: Stored, cause| {
                    let made = maker.row(&stored, cause, true)?;
                    Some(made.map(|(_, made)| match made {
                        RowMade::Row(row) => Some(*row),
                        RowMade::LeftOut | RowMade::Lacks(_) => None,
                    }))
                };
                let next = ledger::next_to_drain(tx, &dir, &name, AT_ONCE, make)?;
                let Some((rows, progress)) = next.map(ledger::Drained::split) else {
                    return Ok(None);
                };
                let messages = rows.into_iter().flatten().filter_map(Result::transpose);
                let messages = messages.collect::<Result<Vec<_>, _>>()?;
                Ok::<_, LinkError>(Some((messages, progress)))
            });
            read.await
        }))
    }

    /// Publishes records that were read.
    pub(super) fn publish_earlier(
        &mut self,
        read: Option<(Vec<Row>, (String, u64))>,
    ) -> Result<(), LinkError> {
        let Some((rows, progress)) = read else {
            self.earlier.rests = true;
            return Ok(());
        };
        self.earlier.progress = Some(progress);
        for row in rows {
            // A record in place of which a stub goes stays in the database that was set aside.
            let (message, _) = self.fitting(row)?;
            self.handed_row(&message, None);
            self.rows.delivery.publish_other(self.context.clock.monotonic());
            self.earlier.unnumbered.push_back(true);
            self.earlier.unacknowledged += 1;
            self.others += 1;
            self.publish(message)?;
        }
        Ok(())
    }
}
