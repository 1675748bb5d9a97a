//! Signs the ledger's tree heads.
//!
//! In: the ledger, the signing key. Out: the newest head, for the links and for `status`. The tree
//! grows here and not at a commit, a few entries at each turn.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Monotonic, Stamp},
    ledger::{self, Head, HeadState, LedgerError, LedgerId, SignedHead, growth},
    store::{Priority, SigningKey, Store, set_meta},
};

/// Interval between two turns.
const EVERY: Duration = Duration::from_secs(1);
/// Interval between two heads. Platforms get one at least every 10 minutes.
const HEAD_EVERY: Duration = Duration::from_secs(300);
/// Interval between two attempts after a failure.
const AGAIN: Duration = Duration::from_secs(60);
/// Maximum number of entries by which the tree grows at a turn.
const GROWN: u64 = 2000;
/// Key in `meta`: the newest head's COSE_Sign1 message.
const HEAD: &str = "head";

pub(super) struct HeadKeeper {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ledger: LedgerId,
    pub(super) gateway: String,
    pub(super) key: Arc<SigningKey>,
    pub(super) heads: watch::Sender<HeadState>,
}

impl HeadKeeper {
    /// Signs a head at the start and at each [`HEAD_EVERY`], until cancelled.
    pub(super) async fn run(self, cancel: CancellationToken) {
        let mut due = Monotonic::default();
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            let now = self.clock.monotonic();
            if now < due {
                continue;
            }
            match self.turn().await {
                // The tree has not reached the ledger's end yet.
                Ok(None) => {}
                Ok(Some(signed)) => {
                    due = now + HEAD_EVERY;
                    self.heads
                        .send_replace(HeadState { newest: Some(Arc::new(signed)), problem: None });
                }
                Err(error) => {
                    due = now + AGAIN;
                    let problem = Some(error.to_string());
                    if self.heads.borrow().problem != problem {
                        tracing::error!(%error, "the ledger cannot be signed");
                    }
                    self.heads.send_modify(|state| state.problem = problem);
                }
            }
        }
    }

    /// Lets the tree grow. Returns a head if the tree has reached the ledger's end.
    async fn turn(&self) -> Result<Option<SignedHead>, LedgerError> {
        let (ledger, gateway, key) = (self.ledger, self.gateway.clone(), self.key.clone());
        let stamp = self.clock.stamp();
        let turn = move |tx: &rusqlite::Transaction<'_>| sign(tx, ledger, stamp, &gateway, &key);
        self.store.write(Priority::Upkeep, turn).await
    }
}

fn sign(
    tx: &rusqlite::Transaction<'_>,
    ledger: LedgerId,
    stamp: Stamp,
    gateway: &str,
    key: &SigningKey,
) -> Result<Option<SignedHead>, LedgerError> {
    let edge = growth::grow(tx, GROWN)?;
    if edge.size() < ledger::size(tx)? {
        return Ok(None);
    }
    let signed = Head::new(ledger, (edge.size(), edge.root()), stamp, gateway).sign(key)?;
    set_meta(tx, HEAD, &signed.bytes)?;
    Ok(Some(signed))
}
