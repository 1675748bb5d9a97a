//! The state of a link, as `gatehouse status` and the metrics show it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::photos::LeftOut;
use crate::{
    clock::Monotonic,
    config::{Ack, MqttVersion},
    words::words,
};

/// The state of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamState {
    pub name: String,
    pub broker: String,
    pub connected: bool,
    /// Uptime at which it became connected or disconnected.
    #[serde(skip)]
    pub since: Monotonic,
    pub last_error: Option<String>,
    /// When the login is tried again that every broker refused; milliseconds since boot.
    #[serde(rename = "next_try_uptime_ms", default)]
    pub next_try: Option<Monotonic>,
    pub published: u64,
    pub acknowledged: u64,
    pub connects: u64,
    /// Connections lost to a fault in this program (a panic).
    pub restarts: u64,
    /// The version of MQTT of the last attempt to connect.
    pub version: Option<MqttVersion>,
    pub ack: Ack,
    /// With `ack = "platform"`: the seq up to which the consumer has acknowledged everything.
    pub acknowledged_upto: Option<u64>,
    /// Refused acknowledgements of the platform: of another ledger, of a seq that was never sent,
    /// or malformed.
    pub acks_refused: u64,
    /// Number of times that the broker refused a record. The record is offered again.
    pub refused: u64,
    /// Records that the broker took and reported to have no subscriber.
    pub unheard: u64,
    /// Rows that are not for this platform and were struck off unsent.
    #[serde(default)]
    pub left_out: u64,
    /// Records sent with the mark that they may have been sent before.
    pub repeated: u64,
    /// Why the key for the platform's signatures cannot be used. Nothing that is signed counts then.
    #[serde(default)]
    pub command_key_error: Option<String>,
    /// Whether the last acknowledgement of the platform was signed.
    #[serde(default)]
    pub acks_signed: Option<bool>,
    /// Why the broker refused a subscription. Commands or the platform's acknowledgements do not
    /// come then.
    pub not_subscribed: Option<String>,
    /// The accessories that the broker forbids. Records go on without them.
    #[serde(default)]
    pub without: Vec<Without>,
    /// Records of which the platform has a stub only: the broker takes no message of their size, or
    /// none on their topic.
    #[serde(default)]
    pub withheld: u64,
    /// Records that the platform refused, or for which the gateway lacks something. They stand aside.
    #[serde(default)]
    pub refused_rows: u64,
    /// Records that stand aside and that a person has dismissed.
    #[serde(default)]
    pub dismissed_rows: u64,
    /// Records of which the platform has not given its verdict yet.
    #[serde(default)]
    pub undecided: u64,
    /// Photos that the broker or the platform has taken, alone or within their records.
    #[serde(default)]
    pub photos_sent: u64,
    /// Photos that wait to be sent after their records.
    #[serde(default)]
    pub photos_waiting: u64,
    /// Photos that were not sent, by the reason.
    #[serde(default)]
    pub photos_left_out: BTreeMap<LeftOut, u64>,
    /// The sessions that are down while others are up.
    #[serde(default)]
    pub sessions_down: Vec<Without>,
    /// Entries of the platform's lists of workers that are illegible and were passed over.
    #[serde(default)]
    pub unreadable: u64,
    /// The last refused or unheard record or acknowledgement, in words.
    pub last_trouble: Option<String>,
    /// Uptime of `last_trouble`.
    #[serde(skip)]
    pub troubled_at: Monotonic,
    /// Connections given up for want of an acknowledgement: of the broker or of the platform.
    pub stalls: u64,
    /// Commands handed to the task that runs them.
    pub commands: u64,
    /// Commands that were refused because too many waited.
    pub commands_refused: u64,
    /// The certificates that this link depends on, as far as they are known.
    pub certificates: Vec<Certificate>,
}

impl UpstreamState {
    /// Counts photos that do not go. A passage without a photo does not count.
    pub fn photo_left_out(&mut self, why: LeftOut, photos: u64) {
        if photos > 0 && why != LeftOut::None {
            *self.photos_left_out.entry(why).or_default() += photos;
        }
    }

    /// Whether it is a platform that answers each call, and no broker.
    pub fn is_platform(&self) -> bool {
        !self.broker.starts_with("mqtt")
    }

    /// Records a trouble and its time.
    pub fn trouble(&mut self, at: Monotonic, what: String) {
        (self.last_trouble, self.troubled_at) = (Some(what), at);
    }
}

/// An accessory that the broker forbids, or a session that is down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Without {
    /// The accessory, in words: the will, retained messages, subscriptions, messages on a topic. Or the
    /// session's lane and direction.
    pub what: String,
    /// How the broker forbade it, or why the session is down.
    pub why: String,
    /// Uptime at which it last did so.
    #[serde(skip)]
    pub since: Monotonic,
}

/// A certificate that this link needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub whose: CertificateOf,
    /// The file that holds it; `None` for the broker's own, which came over the link.
    pub path: Option<PathBuf>,
    /// End of its validity.
    pub until: jiff::Timestamp,
}

words! {
    pub enum CertificateOf {
        Authority = "authority",
        Gateway = "gateway",
        Broker = "broker",
    }
}
