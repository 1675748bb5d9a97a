//! Feeds systemd's watchdog while all vital parts make progress.
//!
//! In: the heartbeats of the vital parts. Out: `WATCHDOG=1` while none of them is late, and a log
//! message when one is. So systemd restarts a daemon that hangs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    store::Store,
    supervision::{Heartbeat, Heartbeats, Late},
};

/// Timeout of the watchdog if systemd gives none: the value of the shipped unit.
const USUAL: Duration = Duration::from_secs(60);
/// Minimum timeout of the watchdog; it bounds the checks to some in a second.
const SHORTEST: Duration = Duration::from_millis(400);

/// Returns the maximum age of a heartbeat: a quarter of the watchdog's timeout, so that one or two
/// feeds may be missed.
pub(super) fn timeout() -> Duration {
    sd_notify::watchdog_enabled().unwrap_or(USUAL).max(SHORTEST) / 4
}

/// The parts that were late at the last check.
#[derive(Default)]
struct Lateness(BTreeSet<String>);

impl Lateness {
    /// Returns whether no part is late. Logs each part once when it becomes late, and once when it
    /// makes progress again.
    fn look(&mut self, late: &[Late]) -> bool {
        let late: BTreeSet<String> = late.iter().map(|late| late.part.clone()).collect();
        for part in late.difference(&self.0) {
            tracing::error!(%part, "makes no progress; systemd restarts the daemon if this lasts");
        }
        for part in self.0.difference(&late) {
            tracing::warn!(%part, "makes progress again");
        }
        self.0 = late;
        self.0.is_empty()
    }
}

/// Beats for the store, checks all heartbeats, and feeds the watchdog if systemd asks for it. Ends
/// at the cancellation; from then on the timeout of the shutdown applies.
pub(super) async fn watch(beats: Arc<Heartbeats>, store: Store, stop: CancellationToken) {
    let beat = beats.part("store");
    tokio::select! {
        () = beat_for(&store, &beat) => {}
        () = feed(&beats) => {}
        () = stop.cancelled() => {}
    }
}

/// Beats for the store: each heartbeat is an answer of the writer, in its turn among the commits.
async fn beat_for(store: &Store, beat: &Heartbeat) {
    loop {
        if store.beat().await.is_ok() {
            beat.beat();
        }
        beat.due().await;
    }
}

async fn feed(beats: &Heartbeats) {
    let asked_for = sd_notify::watchdog_enabled().is_some();
    let mut lateness = Lateness::default();
    let mut looks = tokio::time::interval(beats.timeout());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once; it is skipped, because the start is not over for systemd.
    looks.tick().await;
    loop {
        looks.tick().await;
        if lateness.look(&beats.late()) && asked_for {
            // The call blocks if systemd does not read.
            let fed = tokio::task::spawn_blocking(|| sd_notify::notify(&[NotifyState::Watchdog]));
            if let Ok(Err(error)) = fed.await {
                tracing::warn!(%error, "cannot feed systemd's watchdog");
            }
        }
    }
}

#[cfg(test)]
mod tests;
