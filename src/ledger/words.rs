//! Words that several kinds of entries share.

use serde::{Deserialize, Serialize};

use crate::{roster::WorkerId, words::words};

/// A cosine in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Score(pub i32);

impl Score {
    pub fn of(cosine: f32) -> Score {
        // A cosine is within ±1. `as` saturates a value outside.
        Score((f64::from(cosine) * 10_000.0).round() as i32)
    }

    pub fn value(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

/// Another entry of this ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRef {
    pub index: u64,
    /// Its leaf hash.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
}

/// The way by which an order reached this gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The control socket. The kernel names the user at the other end.
    #[default]
    Socket,
    /// A command that works on the storage folder itself while no daemon runs.
    Console,
    /// A platform's command: `user` is the upstream's name in the configuration, `uid` the daemon's
    /// own.
    Upstream,
    /// A guard's button at a turnstile's controller: `user` is `guard_button`, `uid` the daemon's own.
    Button,
}

/// The origin of an order: a user of the operating system, or a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub uid: u32,
    pub user: String,
    pub via: Via,
}

/// An enrolled worker with a similar face, such as a twin. The new worker was enrolled all the
/// same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alike {
    pub worker: WorkerId,
    pub score: Score,
    /// Why both are enrolled.
    pub reason: String,
}

/// New faces of a worker were taken that the anchor does not show to be the worker's. A person at
/// the gateway vouched for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    pub anchor: AnchorWas,
    /// Of the least similar face; absent where there was nothing to compare with.
    pub score: Option<Score>,
}

impl Compared {
    /// Returns the comparison with this score of the least similar face.
    pub fn of(score: Option<f32>) -> Compared {
        let anchor = if score.is_some() { AnchorWas::Unlike } else { AnchorWas::Gone };
        Compared { anchor, score: score.map(Score::of) }
    }
}

words! {
    /// The templates of a worker's first enrolment, beside new faces.
    pub enum AnchorWas {
        /// The similarity is below the gate's threshold.
        Unlike = "unlike",
        /// They were erased, are damaged, or are of another embedder.
        Gone = "gone",
    }
}

/// A change of a worker's templates and photos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FacesChanged {
    pub what: FacesWhat,
    /// The embedder that made the new ones.
    pub model: String,
    /// Number of templates after the change.
    pub templates: u32,
}

words! {
    pub enum FacesWhat {
        Added = "added",
        Replaced = "replaced",
        Erased = "erased",
    }
}

/// The result of a grant or a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    NotPassed,
    /// The controller could not tell, or a restart lost its answer.
    Unconfirmed,
}

words! {
    /// How a lane works.
    #[derive(Default)]
    pub enum LaneMode {
        /// A recognised worker whose enrolment is in force passes.
        #[default]
        Normal = "normal",
        /// The lane stands open both ways, for an emergency. A recognised worker is still recorded.
        Free = "free",
        /// No one enters. A recognised worker may leave, so that no one is locked in.
        Closed = "closed",
    }
}

words! {
    /// What is deleted when its time is over.
    pub enum DeletedWhat {
        /// The content of entries.
        Attendance = "attendance",
        /// Photos of passages.
        Photos = "photos",
        /// Templates and photos of workers.
        Faces = "faces",
    }
}
