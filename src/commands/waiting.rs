//! Removals that came while the clock was not trusted.
//!
//! A removal cannot be undone, and the age of the command is not known then. So the worker is
//! barred at once, and erased when the clock is trusted again and shows that the command was in its
//! time (I11). Otherwise the worker stays barred, and a person or a new command decides. Touches:
//! rows of the table `meta`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::times::Times;
use crate::{
    clock::{BootId, Stamp},
    ledger::{Actor, Via},
    roster::{State, WorkerId},
    services::{Failure, Remove, Services, SetState},
    store::{self, Priority, StoreError},
};

/// Key in `meta`, before the worker's id: a removal that waits for a trusted clock.
pub const REMOVAL_WAITS: &str = "removal_waits/";
/// Interval between two looks whether the clock is trusted again.
const EVERY: Duration = Duration::from_secs(5);

/// A removal that waits.
#[derive(Serialize, Deserialize)]
struct Waits {
    upstream: String,
    reason: Option<String>,
    issued_ms: i64,
    expires_ms: i64,
    /// When it was received.
    boot: BootId,
    uptime_ms: u64,
}

impl Waits {
    /// Returns whether the command was in its time when it was received, by a clock that is trusted
    /// now. The time of a reception in an earlier boot is not known; then it must be in its time
    /// still.
    fn was_in_time(&self, now: Stamp) -> bool {
        let ago = match self.boot == now.boot {
            true => now.uptime_ms.saturating_sub(self.uptime_ms),
            false => 0,
        };
        let received_ms = now.wall_ms.saturating_sub_unsigned(ago);
        Times::contain(self.issued_ms, self.expires_ms, received_ms)
    }
}

/// Bars a worker who is to be removed, and remembers the removal. At most one waits for each worker.
pub(super) async fn bar(
    services: &Services,
    Remove { id, reason }: Remove,
    by: Actor,
    times: Times,
) -> Result<Value, Failure> {
    let boot = services.clock.stamp().boot;
    let waits = Waits {
        upstream: by.user.clone(),
        reason: reason.clone(),
        issued_ms: times.issued_at.as_millisecond(),
        expires_ms: times.expires_at.as_millisecond(),
        boot,
        uptime_ms: times.received.as_millis(),
    };
    let why = reason.unwrap_or_else(|| "to be removed".to_owned());
    services.set_state(SetState { id: id.clone(), state: State::Barred, reason: why }, by).await?;
    let (key, kept) =
        (format!("{REMOVAL_WAITS}{id}"), serde_json::to_vec(&waits).map_err(Failure::internal)?);
    let kept = services
        .store
        .write(Priority::Upkeep, move |tx| Ok::<_, StoreError>(store::set_meta(tx, &key, &kept)?));
    kept.await?;
    tracing::warn!(worker = %id, "a removal waits until the clock is trusted; the worker is barred");
    Ok(json!({ "id": id, "state": State::Barred, "waits_for": "clock" }))
}

/// Completes the removals that wait, each time the clock is trusted.
pub(super) async fn settle(services: &Services) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let now = services.clock.stamp();
        if !now.synced {
            continue;
        }
        let waiting =
            services.store.read(|tx| Ok::<_, StoreError>(store::metas(tx, REMOVAL_WAITS)?)).await;
        for (key, waits) in waiting.unwrap_or_default() {
            if let Err(error) = complete(services, &key, &waits, now).await {
                tracing::warn!(key, %error, "a removal waits still");
            }
        }
    }
}

async fn complete(services: &Services, key: &str, waits: &[u8], now: Stamp) -> Result<(), Failure> {
    let id = key.strip_prefix(REMOVAL_WAITS).and_then(|id| id.parse::<WorkerId>().ok());
    if let (Some(id), Ok(waits)) = (id, serde_json::from_slice::<Waits>(waits)) {
        let worker = services.roster.borrow().worker(&id).cloned();
        // A person may have readmitted or removed the worker meanwhile.
        let barred = worker.is_some_and(|worker| worker.state == State::Barred);
        if barred && waits.was_in_time(now) {
            let uid = nix::unistd::geteuid().as_raw();
            let by = Actor { uid, user: waits.upstream, via: Via::Upstream };
            services.remove(Remove { id, reason: waits.reason }, by).await?;
        } else if barred {
            tracing::warn!(worker = %id, "a removal came too late, and the worker stays barred");
            services.commands.count(&waits.upstream, |c| c.commands_expired += 1);
        }
    }
    let key = key.to_owned();
    let done = services
        .store
        .write(Priority::Upkeep, move |tx| Ok::<_, StoreError>(store::clear_meta(tx, &key)?));
    Ok(done.await?)
}

#[cfg(test)]
mod tests;
