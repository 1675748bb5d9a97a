//! The audit of the ledger's rows, at leisure and before a list.
//!
//! In: the ledger's entries. Out: the entries that a list has to read beside the rows that its query
//! finds ([`Altered`]), and their number for `status`. A row whose columns its owner changed would
//! otherwise vanish from the lists. Nothing is repaired.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use super::{Audit, evidence::newest_head};
use crate::{
    clock::Monotonic,
    ledger::{
        self, Altered, HeadState, LedgerError, LedgerId,
        audit::{self, Fault, Finding},
    },
    store::{PublicKey, Store},
};

/// Maximum number of entries that one turn of the audit before a list reads.
const PAGE: u64 = 2000;
/// Maximum number of failed reads of a page in a row. After it, the page's entries are read one at
/// a time, and each that cannot be read counts as damaged.
const UNREAD: u32 = 10;
/// Interval between the end of an audit and the next one.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Audits the rows, a page at each turn.
pub struct Checker {
    store: Store,
    ledger: LedgerId,
    key: PublicKey,
    audit: watch::Sender<Audit>,
    heads: watch::Sender<HeadState>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The run under way; `None` between two runs.
    run: Option<audit::Audit>,
    /// The store's number of writes by others when the run began.
    foreign: u64,
    /// The result of the last run over the whole ledger.
    known: Option<Known>,
    /// Number of failed reads in a row.
    unread: u32,
    /// The index before which entries are audited one at a time.
    singly_before: u64,
    /// The entries with a fault in this run.
    found: Audit,
}

struct Known {
    foreign: u64,
    altered: Arc<Altered>,
    at: Monotonic,
}

impl Checker {
    /// Returns a checker that has read nothing. It tells `audit` and `heads` what it finds. `key`
    /// signed the heads.
    pub fn new(
        store: Store,
        ledger: LedgerId,
        key: PublicKey,
        audit: watch::Sender<Audit>,
        heads: watch::Sender<HeadState>,
    ) -> Checker {
        Checker { store, ledger, key, audit, heads, state: Mutex::default() }
    }

    /// Audits at most `limit` further entries. A day after a whole run, and after a write by another
    /// program, a new run begins. Returns whether a run is under way.
    pub async fn turn(&self, limit: u64, now: Monotonic) -> bool {
        let mut state = self.state.lock().await;
        let foreign = self.store.state().foreign_writes;
        let due = match (&state.run, &state.known) {
            (Some(_), _) => state.foreign != foreign,
            (None, Some(known)) => known.foreign != foreign || now.since(known.at) >= AGAIN,
            (None, None) => true,
        };
        let turn = async {
            if due {
                self.begin(&mut state, foreign).await?;
            }
            self.page(&mut state, limit, now).await
        };
        if let Err(error) = turn.await {
            tracing::debug!(%error, "the audit of the ledger goes on later");
        }
        state.run.is_some()
    }

    /// Returns what lists need to know of the rows. Audits the whole ledger first, where that was
    /// not done since the start, or since another program wrote to the database.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn altered(&self, now: Monotonic) -> Result<Arc<Altered>, LedgerError> {
        // The writer looks for writes by others now. A disk that fails stops no list.
        let _ = self.store.beat().await;
        let mut state = self.state.lock().await;
        loop {
            let foreign = self.store.state().foreign_writes;
            if let Some(known) = state.known.as_ref().filter(|known| known.foreign == foreign) {
                return Ok(known.altered.clone());
            }
            if state.run.is_none() || state.foreign != foreign {
                self.begin(&mut state, foreign).await?;
            }
            self.page(&mut state, PAGE, now).await?;
        }
    }

    /// Returns the entries with a fault that were found since the start.
    pub fn found(&self) -> Audit {
        self.audit.borrow().clone()
    }

    async fn begin(&self, state: &mut State, foreign: u64) -> Result<(), LedgerError> {
        let key = self.key;
        let head = self.store.read(move |tx| newest_head(tx, key)).await?;
        let wanted = head.into_iter().map(|head| (head.size, head.root)).collect();
        (state.run, state.foreign) = (Some(audit::Audit::of_rows(self.ledger, wanted)), foreign);
        (state.singly_before, state.found) = (0, Audit::default());
        Ok(())
    }

    /// Audits one page. A page that cannot be read is read again at the next call.
    ///
    /// # Errors
    /// Nothing of the database can be read.
    async fn page(&self, state: &mut State, limit: u64, now: Monotonic) -> Result<(), LedgerError> {
        let Some(run) = state.run.take() else { return Ok(()) };
        let singly = run.next() < state.singly_before;
        let (from, limit) = (run.next(), if singly { 1 } else { limit });
        let mut reading = run.clone();
        let read = self.store.read(move |tx| {
            let page = reading.page(tx, limit)?;
            Ok::<_, LedgerError>((reading, page))
        });
        let (run, (found, more)) = match read.await {
            Ok(read) => {
                state.unread = 0;
                read
            }
            // A read that fails now may succeed later.
            Err(_) if !singly && state.unread < UNREAD => {
                state.unread += 1;
                state.run = Some(run);
                return Ok(());
            }
            Err(error) => {
                let mut run = run;
                // If the size cannot be read, the failure is not one of entries.
                let size = match self.store.read(ledger::size).await {
                    Ok(size) => size,
                    Err(error) => {
                        state.run = Some(run);
                        return Err(error);
                    }
                };
                state.unread = 0;
                if !singly {
                    state.singly_before = from.saturating_add(limit).min(size);
                    state.run = Some(run);
                    return Ok(());
                }
                tracing::error!(from, %error, "this ledger entry cannot be read");
                run.pass_over();
                let found = vec![Finding { index: from, fault: Fault::Bytes }];
                let more = run.next() < size;
                (run, (found, more))
            }
        };
        for Finding { index, fault } in &found {
            tracing::error!(index, %fault, "this ledger entry is damaged or was altered");
        }
        state.found.found(&found);
        self.audit.send_if_modified(|audit| audit.takes(&state.found));
        let before = state.known.as_ref().map_or(0, |known| known.altered.count());
        if run.altered() > before {
            // The last run did not know this.
            state.known = None;
        }
        if more {
            state.run = Some(run);
        } else {
            if let Some(size) = run.other_roots.first() {
                tracing::error!(size, "the ledger is not the one that this gateway signed");
                self.heads.send_modify(|heads| heads.broken = heads.broken.or(Some(*size)));
            }
            let altered = Arc::new(run.into_altered());
            state.known = Some(Known { foreign: state.foreign, altered, at: now });
        }
        Ok(())
    }
}

impl super::Services {
    /// Returns what lists need to know of the ledger's rows.
    pub(super) async fn altered(&self) -> Result<Arc<Altered>, LedgerError> {
        self.checker.altered(self.clock.monotonic()).await
    }
}
