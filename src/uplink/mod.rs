//! Records to the platforms, over whatever link there is.
//!
//! In: outbox rows, read from the database after each commit. Out: MQTT publishes, and rows
//! struck off once the broker has acknowledged them. One task an upstream; a slow one holds up
//! nobody. Touches: the network, and the table `outbox`.

pub mod delivery;
mod mqtt;
pub mod native;
#[cfg(test)]
mod survival;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    attendance::Origin,
    clock::{Clock, Monotonic},
    config::Upstream,
    ledger::LedgerError,
    store::Store,
    vigil::Panicked,
};

/// How one upstream is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamState {
    pub name: String,
    pub broker: String,
    pub connected: bool,
    /// Since when it is (not) connected; ms of uptime.
    #[serde(skip)]
    pub since: Monotonic,
    pub last_error: Option<String>,
    pub published: u64,
    pub acknowledged: u64,
    pub connects: u64,
    /// Connections lost to a fault in this program.
    pub restarts: u64,
}

/// What a task for one upstream is given.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub origin: Origin,
    /// What the retained status says now; its `outbox` is filled in here.
    pub online: watch::Receiver<native::Online>,
    /// The highest seq that an earlier run may have sent.
    pub sent_before: u64,
    pub cancel: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{broker}: {problem}")]
    Connection { broker: String, problem: String },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the password: {0}")]
    Secret(#[from] crate::config::SecretError),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Starts the task of one upstream.
pub fn spawn(
    upstream: Upstream,
    context: Context,
) -> (watch::Receiver<UpstreamState>, JoinHandle<()>) {
    let (state, watched) = watch::channel(UpstreamState {
        name: upstream.name.clone(),
        broker: upstream.brokers.first().map(ToString::to_string).unwrap_or_default(),
        connected: false,
        since: context.clock.monotonic(),
        last_error: None,
        published: 0,
        acknowledged: 0,
        connects: 0,
        restarts: 0,
    });
    (watched, tokio::spawn(mqtt::run(upstream, context, state)))
}
