//! Signs the ledger's tree heads.
//!
//! In: the ledger. Out: the newest head, for the links and for `status`. The tree grows here and not
//! at a commit, some entries at each turn.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{clock::Monotonic, services::Services};

/// Interval between two turns while the tree grows.
const EVERY: Duration = Duration::from_secs(1);
/// Interval between two heads. Platforms get one at least every 10 minutes.
const HEAD_EVERY: Duration = Duration::from_secs(300);
/// Interval between two attempts after a failure.
const AGAIN: Duration = Duration::from_secs(60);

/// Compares the ledger with the newest head, before a newer one takes its place.
async fn check_head(services: &Services) {
    match services.check_head().await {
        Ok(None) => {}
        Ok(Some(_)) if services.heads.borrow().broken.is_some() => {}
        Ok(Some(size)) => {
            tracing::error!(size, "the ledger is not the one that this gateway signed");
            services.heads.send_modify(|state| state.broken = Some(size));
        }
        Err(error) => tracing::warn!(%error, "the newest tree head is not compared"),
    }
}

/// Signs a head at the start, at each [`HEAD_EVERY`], and after another program wrote to the
/// database; until cancelled. The ledger is compared with the head before.
pub(super) async fn sign_heads(services: Arc<Services>, cancel: CancellationToken) {
    let mut due = Monotonic::default();
    let mut foreign = None;
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = services.clock.monotonic();
        let others = services.store.state().foreign_writes;
        let written = foreign.replace(others) != Some(others);
        if now < due && !written {
            continue;
        }
        check_head(&services).await;
        match services.grow_tree().await {
            // The tree has not reached the ledger's end yet.
            Ok(None) => {}
            Ok(Some(signed)) => {
                due = now + HEAD_EVERY;
                services.heads.send_modify(|state| {
                    (state.newest, state.problem) = (Some(Arc::new(signed)), None);
                });
            }
            Err(error) => {
                due = now + AGAIN;
                let problem = Some(error.to_string());
                if services.heads.borrow().problem != problem {
                    tracing::error!(%error, "the ledger cannot be signed");
                }
                services.heads.send_modify(|state| state.problem = problem);
            }
        }
    }
}
