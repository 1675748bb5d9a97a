//! Words that several kinds of entries share.

use serde::{
    Deserialize, Serialize,
    de::{self, value::StrDeserializer},
};

use crate::roster::WorkerId;

/// A cosine in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Score(pub i32);

impl Score {
    pub fn of(cosine: f32) -> Score {
        // A cosine is within ±1, and `as` saturates where it is not.
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

/// How somebody could tell this gateway to do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The control socket; the kernel says who is behind it.
    #[default]
    Socket,
    /// A command that works on the storage folder itself while no daemon runs.
    Console,
    /// A platform's command: `user` is the upstream's name in the configuration, `uid` the daemon's
    /// own.
    Upstream,
}

/// Who told the gateway to do something: a user of the operating system, or a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub uid: u32,
    pub user: String,
    pub via: Via,
}

/// Somebody whose face is like this worker's, and who was enrolled all the same: a twin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alike {
    pub worker: WorkerId,
    pub score: Score,
    /// Why both are enrolled.
    pub reason: String,
}

/// What became of a worker's templates and photos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FacesChanged {
    pub what: FacesWhat,
    /// The embedder that made the new ones.
    pub model: String,
    /// How many templates there are then.
    pub templates: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FacesWhat {
    Added,
    Replaced,
    Erased,
}

/// Whether somebody went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    NotPassed,
    /// The controller could not tell, or a restart lost its answer.
    Unconfirmed,
}

/// How a lane works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneMode {
    /// Who is recognised and in force passes.
    #[default]
    Normal,
    /// It stands open both ways, for an emergency. Who is recognised is recorded all the same.
    Free,
    /// Nobody enters. Who is recognised leaves: nobody is locked in.
    Closed,
}

impl LaneMode {
    pub fn from_word(word: &str) -> Option<Self> {
        LaneMode::deserialize(StrDeserializer::<de::value::Error>::new(word)).ok()
    }
}

impl std::fmt::Display for LaneMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}
