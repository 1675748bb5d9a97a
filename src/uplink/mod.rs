//! Records to the platforms, over whatever link there is.
//!
//! In: outbox rows, read from the database after each commit. Out: MQTT publishes, and rows
//! struck off once the broker, or the platform, has acknowledged them. One task an upstream; a slow one holds up
//! nobody. Touches: the network, and the table `outbox`.

mod client;
pub mod delivery;
mod mqtt;
mod probe;
pub mod profiles;
mod route;
#[cfg(test)]
mod survival;
pub mod tls;

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    attendance::Origin,
    clock::{Clock, Monotonic},
    config::{Ack, MqttVersion, Upstream},
    ledger::{LedgerError, LedgerId},
    store::{Store, StoreError},
    vigil::Panicked,
};

pub use self::{
    probe::{Found, probe},
    profiles::{NoProfile, Online, OnlineLane, Profile, check},
};

/// How one upstream is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// What the last connection spoke.
    pub version: Option<MqttVersion>,
    pub ack: Ack,
    /// With `ack = "platform"`: the consumer has said that it has all up to this seq.
    pub acknowledged_upto: Option<u64>,
    /// The platform's acknowledgements that were not taken: of another ledger, of what was never
    /// sent, or no acknowledgements at all.
    pub acks_refused: u64,
    /// How often the broker did not take a record; it is offered again.
    pub refused: u64,
    /// Records that the broker took though, as it said, nobody is subscribed to them.
    pub unheard: u64,
    /// Records sent that may have been sent before, and are marked so.
    pub repeated: u64,
    /// Why the broker does not let us subscribe: neither commands nor the platform's acknowledgements
    /// come then.
    pub not_subscribed: Option<String>,
    /// What was counted last as refused or unheard, in words, and when.
    pub last_trouble: Option<String>,
    #[serde(skip)]
    pub troubled_at: Monotonic,
    /// Connections given up because the broker did not acknowledge.
    pub stalls: u64,
    /// Commands handed on, and those that were not: too many at once, or too large.
    pub commands: u64,
    pub commands_refused: u64,
    /// Of which this link's safety hangs on, as far as they are known.
    pub certificates: Vec<Certificate>,
}

impl UpstreamState {
    fn trouble(&mut self, at: Monotonic, what: String) {
        (self.last_trouble, self.troubled_at) = (Some(what), at);
    }
}

/// A certificate that this link needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub whose: CertificateOf,
    /// Where it lies; the broker's own came over the link.
    pub path: Option<PathBuf>,
    /// Valid until.
    pub until: jiff::Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateOf {
    Authority,
    Gateway,
    Broker,
}

impl CertificateOf {
    pub const ALL: [CertificateOf; 3] =
        [CertificateOf::Authority, CertificateOf::Gateway, CertificateOf::Broker];

    pub fn word(self) -> &'static str {
        match self {
            CertificateOf::Authority => "authority",
            CertificateOf::Gateway => "gateway",
            CertificateOf::Broker => "broker",
        }
    }
}

/// A command of a platform as it came, for whoever carries it out. The answer is the reply's payload; where it is dropped there is none.
pub struct Incoming {
    pub upstream: String,
    pub profile: Arc<dyn Profile>,
    pub remote_release: bool,
    pub payload: Vec<u8>,
    pub received: Monotonic,
    pub answer: oneshot::Sender<Vec<u8>>,
}

/// What an upstream's task is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Rows with these seqs were put back into its outbox.
    Again { from: u64, to: u64 },
}

/// Commands of all upstreams that wait; the next one is answered that the gateway is busy.
pub const COMMANDS: usize = 2;
/// What is asked of an upstream's task and waits; whoever asks waits.
const ASKED: usize = 4;

/// What a task for one upstream is given.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub origin: Origin,
    /// What the retained status says now; its `outbox` is filled in here.
    pub online: watch::Receiver<Online>,
    /// The highest seq that an earlier run may have sent.
    pub sent_before: u64,
    /// The ledger whose records go out.
    pub ledger: LedgerId,
    /// Where commands go.
    pub commands: mpsc::Sender<Incoming>,
    pub cancel: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{broker}: {problem}")]
    Connection { broker: String, problem: String, version_in_doubt: bool },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("the password: {0}")]
    Secret(#[from] crate::config::SecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// An upstream's task, from outside.
pub struct Link {
    pub state: watch::Receiver<UpstreamState>,
    pub asked: mpsc::Sender<Asked>,
}

/// Starts the task of one upstream.
pub fn spawn(upstream: Upstream, context: Context) -> Result<(Link, JoinHandle<()>), NoProfile> {
    let profile = profiles::of(&upstream, &context.origin)?;
    let (state, watched) = watch::channel(UpstreamState {
        name: upstream.name.clone(),
        broker: upstream.brokers.first().map(ToString::to_string).unwrap_or_default(),
        since: context.clock.monotonic(),
        ack: upstream.ack,
        ..UpstreamState::default()
    });
    let (asked, asks) = mpsc::channel(ASKED);
    let task = tokio::spawn(mqtt::run(upstream, profile, context, state, asks));
    Ok((Link { state: watched, asked }, task))
}
