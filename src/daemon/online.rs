//! Keeps the links' retained status of this gateway up to date.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    services::{LanePanel, Services},
    supervision::{Backoff, caught},
    uplink,
};

/// Interval between two checks of the lanes' states for the links' retained status.
const ONLINE_EVERY: Duration = Duration::from_secs(1);

/// Keeps the links' retained status up to date. After a fault it starts again.
pub(super) async fn keep_online(
    services: Arc<Services>,
    online: watch::Sender<uplink::Online>,
    cancel: CancellationToken,
) {
    let mut backoff = Backoff::default();
    loop {
        let begun = services.clock.monotonic();
        let Err(fault) = caught(report_online(&services, &online, &cancel)).await else { return };
        tracing::error!(%fault, "the task of the links' status restarts");
        tokio::select! {
            _ = cancel.cancelled() => return,
            _ = tokio::time::sleep(backoff.after(services.clock.monotonic().since(begun))) => {}
        }
    }
}

async fn report_online(
    services: &Services,
    online: &watch::Sender<uplink::Online>,
    cancel: &CancellationToken,
) {
    let booted_at = services.origin.time(services.clock.stamp().timestamp());
    let mut tick = tokio::time::interval(ONLINE_EVERY);
    loop {
        let fresh = uplink::Online {
            state: "online",
            version: env!("CARGO_PKG_VERSION"),
            booted_at: booted_at.clone(),
            roster_version: services.roster.borrow().version(),
            outbox: 0,
            lanes: services.lanes.iter().map(online_lane).collect(),
            at: jiff::Timestamp::default(),
        };
        online.send_if_modified(|current| {
            let changed = *current != fresh;
            *current = fresh;
            changed
        });
        tokio::select! {
            _ = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
    }
}

fn online_lane(lane: &LanePanel) -> uplink::OnlineLane {
    uplink::OnlineLane {
        name: lane.name.clone(),
        mode: lane.state.borrow().mode.mode,
        turnstile: lane.turnstile.borrow().connected,
        cameras: lane.cameras.iter().map(|c| c.state.borrow().connected).collect(),
    }
}
