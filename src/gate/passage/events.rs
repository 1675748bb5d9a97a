//! What goes into a lane's machine, and what comes out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    gate::{
        claim::{ManualRelease, PassagePhoto, Presented},
        visit::FaceRules,
    },
    ledger::{Body, Detail, LaneMode, Outcome},
    turnstile::{PassageId, Release, TurnstileEvent},
};

/// What a lane's machine goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    pub lane: String,
    pub cool_down: Duration,
    pub pass_within: Duration,
    /// Nobody enters who was not trained in safety.
    pub require_training: bool,
    pub faces: FaceRules,
}

#[derive(Debug)]
pub enum Event {
    /// `fresh` names the passage that may begin with it.
    Presented {
        what: Presented,
        fresh: PassageId,
    },
    Asked {
        request: ManualRelease,
        fresh: PassageId,
    },
    /// The cause of this passage is on the disk, or could not be put there.
    Committed {
        passage: PassageId,
        result: Result<(), String>,
    },
    /// The outcome of this passage is on the disk, or could not be put there.
    Closed {
        passage: PassageId,
        result: Result<(), String>,
    },
    Turnstile(TurnstileEvent),
    /// The lane works otherwise from now on.
    Mode(LaneMode),
    /// Time has passed; see [`Machine::timeout`](super::Machine::timeout).
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put the cause of a passage into the ledger and report [`Event::Committed`].
    Commit {
        passage: PassageId,
        body: Body,
        /// For the album, once the cause is there.
        photo: Option<PassagePhoto>,
    },
    /// Put a denial into the ledger.
    Deny {
        body: Body,
    },
    Release(Release),
    /// Put the outcome into the ledger and report [`Event::Closed`].
    Close {
        passage: PassageId,
        outcome: Outcome,
        detail: Option<Detail>,
    },
    /// Tell who asked for this manual release what became of it.
    Answer {
        passage: PassageId,
        answer: Result<Answered, String>,
    },
    /// Put it into the ledger that somebody went through whom nobody let through.
    Tailgate {
        body: Body,
    },
}

/// What became of a manual release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The turnstile acknowledged the release.
    pub released: bool,
    pub outcome: Outcome,
    /// Why it is not `passed`; empty when it is.
    pub detail: String,
}

/// What the machine counted of what it did not act on (I6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Looks and claims older than [`DECISION_LIFE`](super::DECISION_LIFE) when they came in.
    pub stale: u64,
    /// Passages that nobody was let through for.
    pub tailgates: u64,
    /// Those of them that came too fast to be recorded one by one.
    pub tailgates_unrecorded: u64,
    /// Decisions that became void before they could be carried out.
    pub void: u64,
}
