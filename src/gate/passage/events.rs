//! Events into a lane's machine, and actions out of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    config::Direction,
    gate::{
        Refusal,
        claim::{ManualRelease, PassagePhoto, Presented},
        visit::FaceRules,
    },
    ledger::{Body, Detail, Flag, LaneMode, Outcome, Score},
    roster::{UsedCode, WorkerId},
    turnstile::{PassageId, Release, TurnstileEvent},
};

/// Rules of a lane's machine.
#[derive(Clone, Debug)]
pub struct Rules {
    pub lane: String,
    pub cool_down: Duration,
    pub pass_within: Duration,
    /// A worker without safety training is denied entry.
    pub require_training: bool,
    pub faces: FaceRules,
    /// The liveness score below which a visit at the entry goes to the guard; `None` where none
    /// does.
    pub guard: Option<Score>,
}

#[derive(Debug)]
pub enum Event {
    /// A sighting or a claim. `fresh` is the id for the passage that it may begin.
    Presented {
        what: Presented,
        fresh: PassageId,
    },
    Asked {
        request: ManualRelease,
        fresh: PassageId,
    },
    /// The commit of this passage's cause succeeded or failed.
    Committed {
        passage: PassageId,
        result: Result<(), String>,
    },
    /// The commit of this passage's outcome succeeded or failed.
    Closed {
        passage: PassageId,
        result: Result<(), String>,
    },
    /// A denial of this worker was not recorded.
    DenialLost {
        worker: WorkerId,
        direction: Direction,
    },
    Turnstile(TurnstileEvent),
    /// The lane's mode changed.
    Mode(LaneMode),
    /// Time has passed; see [`Machine::timeout`](super::Machine::timeout).
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Commit the cause of a passage and report [`Event::Committed`].
    Commit {
        passage: PassageId,
        body: Body,
        /// For the photo store, after the commit of the cause.
        photo: Option<PassagePhoto>,
        /// The code that is used up in the same commit.
        code: Option<UsedCode>,
    },
    /// Record a denial.
    Deny {
        body: Body,
    },
    /// Tell the guard that a worker's visit was not judged to be a living person's.
    AskGuard {
        worker: WorkerId,
    },
    Release(Release),
    /// Commit the outcome and report [`Event::Closed`].
    Close {
        passage: PassageId,
        outcome: Outcome,
        detail: Option<Detail>,
        flags: Vec<Flag>,
    },
    /// Answer the request for this manual release.
    Answer {
        passage: PassageId,
        answer: Result<Answered, Refusal>,
    },
    /// Record a tailgate.
    Tailgate {
        body: Body,
    },
    /// Record that several cards were shown within a moment.
    SeveralCards {
        body: Body,
    },
    /// Record that another face vanished with a passage.
    OtherFace {
        body: Body,
    },
}

/// Result of a manual release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The turnstile acknowledged the release.
    pub released: bool,
    pub outcome: Outcome,
    /// The reason of an outcome other than `passed`; else empty.
    pub detail: String,
}

/// Counts of events on which the machine did not act (I6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Sightings and claims older than [`DECISION_LIFE`](super::DECISION_LIFE) on arrival.
    pub stale: u64,
    /// Passages without a grant or a release.
    pub tailgates: u64,
    /// Tailgates that came too fast to be recorded one by one.
    pub tailgates_unrecorded: u64,
    /// Visits of unknown faces, also if their denial is not recorded.
    pub unknown_faces: u64,
    /// Denials without a worker that came too fast to be recorded one by one.
    pub denials_unrecorded: u64,
    /// Passages with which another face vanished; see [`OtherFace`](crate::ledger::OtherFace).
    pub other_faces: u64,
    /// Those of them whose event came too fast to be recorded. Their records are flagged.
    pub other_faces_unrecorded: u64,
    /// Cards, ID cards and codes that were shown while a passage was under way, and led to nothing. One
    /// that stays on the reader may count several times.
    #[serde(default)]
    pub cards_busy: u64,
    /// Decisions that became void before they could be carried out.
    pub void: u64,
}
