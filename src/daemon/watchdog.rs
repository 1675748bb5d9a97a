//! systemd's watchdog, fed by progress and not by a timer.
//!
//! In: the beats of the vital parts. Out: `WATCHDOG=1` for as long as none of them is late, and a
//! word in the log when one is. A daemon that stands still is so started anew by systemd.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    store::Store,
    supervision::{Heartbeat, Heartbeats, Late},
};

/// Where there is no watchdog: that of the unit we ship.
const USUAL: Duration = Duration::from_secs(60);
/// Whatever the environment says, there are no more than some looks a second.
const SHORTEST: Duration = Duration::from_millis(400);

/// A part may be late for so long, a quarter of what systemd waits: a feed or two may be missed.
pub(super) fn timeout() -> Duration {
    sd_notify::watchdog_enabled().unwrap_or(USUAL).max(SHORTEST) / 4
}

/// Who was late at the last look.
#[derive(Default)]
struct Lateness(BTreeSet<String>);

impl Lateness {
    /// Whether all make progress; says who no longer does, and who does again, once each.
    fn look(&mut self, late: &[Late]) -> bool {
        let late: BTreeSet<String> = late.iter().map(|late| late.part.clone()).collect();
        for part in late.difference(&self.0) {
            tracing::error!(%part, "makes no progress: where it stays so, systemd is to restart us");
        }
        for part in self.0.difference(&late) {
            tracing::warn!(%part, "makes progress again");
        }
        self.0 = late;
        self.0.is_empty()
    }
}

/// Beats for the store, looks at all beats, and feeds where systemd asks for it. Ends by being
/// dropped; from the cancellation on, the bound of the shutdown holds instead.
pub(super) async fn watch(beats: Arc<Heartbeats>, store: Store, stop: CancellationToken) {
    let beat = beats.part("store");
    tokio::select! {
        () = beat_for(&store, &beat) => {}
        () = feed(&beats) => {}
        () = stop.cancelled() => {}
    }
}

/// The writer beats by answering, in its turn among all that is to be committed.
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
    // The first is at once, and systemd still waits to hear that the start is over.
    looks.tick().await;
    loop {
        looks.tick().await;
        if lateness.look(&beats.late()) && asked_for {
            // It blocks where systemd does not read.
            let fed = tokio::task::spawn_blocking(|| sd_notify::notify(&[NotifyState::Watchdog]));
            if let Ok(Err(error)) = fed.await {
                tracing::warn!(%error, "systemd's watchdog is not to be fed");
            }
        }
    }
}

#[cfg(test)]
mod tests;
