//! Something needs attention from now on, or does no longer.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::Detail;

/// What an alarm is about. Clock and disk have kinds of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmWhat {
    /// Records wait for an upstream for too long.
    Outbox,
    /// The link to an upstream is down.
    Link,
    /// A certificate that a link needs ends soon.
    Certificate,
    /// It has ended.
    CertificateEnded,
    Camera,
    Turnstile,
    /// Many faces in a short time that nobody knows.
    UnknownFaces,
    /// The box is on another network than before.
    Neighbourhood,
    /// A camera shows faces, and the lane decides on none.
    Undecided,
}

impl std::fmt::Display for AlarmWhat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Of one `what` and `subject`, what is raised and what is not take turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub what: AlarmWhat,
    /// Which one of its kind: an upstream, a lane, a lane and a direction, a router's address.
    pub subject: String,
    pub raised: bool,
    pub detail: Detail,
}

impl Kind for Alarm {
    const NAME: &str = "alarm";
}
