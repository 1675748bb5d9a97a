//! What an alarm says in the ledger.

use serde::{Deserialize, Serialize};

use super::cbor::{CborError, Fields, Map};

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

impl AlarmWhat {
    pub const ALL: [AlarmWhat; 9] = [
        AlarmWhat::Outbox,
        AlarmWhat::Link,
        AlarmWhat::Certificate,
        AlarmWhat::CertificateEnded,
        AlarmWhat::Camera,
        AlarmWhat::Turnstile,
        AlarmWhat::UnknownFaces,
        AlarmWhat::Neighbourhood,
        AlarmWhat::Undecided,
    ];

    pub fn word(self) -> &'static str {
        match self {
            AlarmWhat::Outbox => "outbox",
            AlarmWhat::Link => "link",
            AlarmWhat::Certificate => "certificate",
            AlarmWhat::CertificateEnded => "certificate_ended",
            AlarmWhat::Camera => "camera",
            AlarmWhat::Turnstile => "turnstile",
            AlarmWhat::UnknownFaces => "unknown_faces",
            AlarmWhat::Neighbourhood => "neighbourhood",
            AlarmWhat::Undecided => "undecided",
        }
    }
}

impl std::fmt::Display for AlarmWhat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Something needs attention from now on, or does no longer. Of one `what` and `subject`, what is
/// raised and what is not take turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub what: AlarmWhat,
    /// Which one of its kind: an upstream, a lane, a lane and a direction, a router's address.
    pub subject: String,
    pub raised: bool,
    pub detail: String,
}

impl Alarm {
    pub(super) fn on(&self, map: Map) -> Map {
        map.with("what", self.what.word())
            .with("subject", self.subject.as_str())
            .with("raised", self.raised)
            .with("detail", self.detail.as_str())
    }

    pub(super) fn read(data: Fields<'_>) -> Result<Alarm, CborError> {
        let word = data.word("what")?;
        let what = AlarmWhat::ALL.into_iter().find(|what| what.word() == word);
        Ok(Alarm {
            what: what.ok_or(CborError::Field("what"))?,
            subject: data.text("subject")?,
            raised: data.bool("raised")?,
            detail: data.text("detail")?,
        })
    }
}
