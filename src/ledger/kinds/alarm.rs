//! An alarm was raised, or is over.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{ledger::Detail, words::words};

words! {
    /// The subject of an alarm. Clock and disk have kinds of their own.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum AlarmWhat {
        /// Records have waited too long for an upstream.
        Outbox = "outbox",
        /// The link to an upstream is down.
        Link = "link",
        /// A certificate that a link needs ends soon.
        Certificate = "certificate",
        /// A certificate that a link needs has ended.
        CertificateEnded = "certificate_ended",
        Camera = "camera",
        /// A reader of cards.
        Reader = "reader",
        Turnstile = "turnstile",
        /// Many unknown faces in a short time.
        UnknownFaces = "unknown_faces",
        /// The box is on another network than before.
        Neighbourhood = "neighbourhood",
        /// A camera shows faces, and the lane decides on none.
        Undecided = "undecided",
        /// A passage sensor that seems to have failed.
        PassageSensor = "passage_sensor",
        /// Another hand keeps an arm released.
        ForeignRelease = "foreign_release",
        /// A glitch of the fire alarm's input opened the lanes for a moment.
        FireGlitch = "fire_glitch",
        /// The fire alarm's input has glitches again and again.
        FireInput = "fire_input",
        /// The ledger was altered or is damaged.
        Ledger = "ledger",
        /// The roster is in doubt, because entries were lost.
        Roster = "roster",
        /// An entry asks no guard, because too many visits were not judged.
        Liveness = "liveness",
    }
}

/// An alarm that begins (`raised`) or ends. For one `what` and `subject` the two alternate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub what: AlarmWhat,
    /// The affected part: an upstream, a lane, a lane and a direction, or a router's address.
    pub subject: String,
    pub raised: bool,
    pub detail: Detail,
}

impl Kind for Alarm {
    const NAME: &str = "alarm";
}
