//! How a link is doing, as `gatehouse status` and the metrics show it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Monotonic,
    config::{Ack, MqttVersion},
    words::words,
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
    /// Rows that are not for this platform, and were struck off unsent.
    #[serde(default)]
    pub left_out: u64,
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
    pub fn trouble(&mut self, at: Monotonic, what: String) {
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

words! {
    pub enum CertificateOf {
        Authority = "authority",
        Gateway = "gateway",
        Broker = "broker",
    }
}
