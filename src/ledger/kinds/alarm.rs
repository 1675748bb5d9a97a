//! Something needs attention from now on, or does no longer.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{ledger::Detail, words::words};

words! {
    /// What an alarm is about. Clock and disk have kinds of their own.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum AlarmWhat {
        /// Records wait for an upstream for too long.
        Outbox = "outbox",
        /// The link to an upstream is down.
        Link = "link",
        /// A certificate that a link needs ends soon.
        Certificate = "certificate",
        /// It has ended.
        CertificateEnded = "certificate_ended",
        Camera = "camera",
        Turnstile = "turnstile",
        /// Many faces in a short time that nobody knows.
        UnknownFaces = "unknown_faces",
        /// The box is on another network than before.
        Neighbourhood = "neighbourhood",
        /// A camera shows faces, and the lane decides on none.
        Undecided = "undecided",
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
