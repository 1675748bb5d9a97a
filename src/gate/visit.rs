//! Who stands before one side of a lane, by the looks of a visit: pure.
//!
//! The vision workers follow a face and say which looks belong to one visit ([`super::vision_pool`]). Here
//! the looks of a visit agree, or do not. Where they do, a claim comes out: to be a worker, or nobody
//! whom the roster knows.

use std::time::Duration;

use super::{
    claim::{Claim, Sighting},
    policy::Sighted,
};
use crate::{
    clock::Monotonic,
    config::MatchThreshold,
    ledger::{Evidence, FaceEvidence, Score},
    roster::WorkerId,
};

/// A visit is over after this time without its face.
pub const GAP: Duration = Duration::from_millis(1500);
/// The same where no frame was searched in between: the box has no time to look for a while, where
/// many lanes are busy.
pub const GAP_UNSEARCHED: Duration = Duration::from_secs(4);
/// A recognised worker who turns to walk shows a face that matches no one, for this time.
const TURNING_AWAY: Duration = Duration::from_millis(1000);

/// The latest looks, as far as they name the same worker, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    named: Option<WorkerId>,
    looks: u32,
}

impl Agreement {
    /// Takes note of a look. Returns the number of looks in a row that agree with it.
    pub fn look(&mut self, named: Option<&WorkerId>) -> u32 {
        if self.named.as_ref() != named {
            *self = Agreement { named: named.cloned(), looks: 0 };
        }
        self.looks = self.looks.saturating_add(1);
        self.looks
    }

    /// A look that names no one and does not count.
    fn pause(&mut self) {
        if self.named.is_some() {
            *self = Agreement::default();
        }
    }

    pub fn named(&self) -> Option<&WorkerId> {
        self.named.as_ref()
    }

    pub fn looks(&self) -> u32 {
        self.looks
    }

    /// Number of looks by which the lane decides: to deny takes more of them than to grant.
    fn needed(&self, frames_to_agree: u32) -> u32 {
        match self.named {
            Some(_) => frames_to_agree,
            None => frames_to_agree.saturating_mul(2).max(3),
        }
    }

    /// Whether the lane can decide by them.
    pub fn suffices(&self, frames_to_agree: u32) -> bool {
        self.looks >= self.needed(frames_to_agree)
    }
}

/// What a face is judged by, for its evidence too.
#[derive(Clone, Debug)]
pub struct FaceRules {
    pub threshold: MatchThreshold,
    pub frames_to_agree: u32,
    /// The embedder's name.
    pub model: String,
    /// The kind of the camera each way; empty where there is none.
    pub cameras: [&'static str; 2],
}

/// What the looks of a visit say.
#[derive(Debug)]
pub(super) enum Verdict {
    /// They agree on a worker, or that it is none.
    Agreed(Claim),
    /// This number of looks in a row agree, and more must.
    Agreeing { looks: u32, of: u32 },
    /// A worker was recognised a moment ago, and turns to walk.
    TurningAway,
    /// The face matches no one, and that is of no interest now.
    Ignored,
}

/// One side of a lane.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// As [`Sighting::visit`].
    id: u64,
    last_face: Monotonic,
    last_named: Option<Monotonic>,
    agreement: Agreement,
}

impl Visit {
    /// Takes in a look. `counts`: a face that matches no one is of interest now.
    pub(super) fn look(&mut self, sighting: &Sighting, rules: &FaceRules, counts: bool) -> Verdict {
        let at = sighting.captured;
        if self.id != sighting.visit || at.since(self.last_face) > GAP_UNSEARCHED {
            // Who turns to walk may look like another: that is remembered.
            let last_named = self.last_named;
            *self = Visit { id: sighting.visit, last_named, ..Visit::default() };
        }
        self.last_face = self.last_face.max(at);
        let named = sighting.sighted.named();
        if named.is_some() {
            self.last_named = Some(at);
        } else {
            let turning = self.last_named.is_some_and(|named| at.since(named) < TURNING_AWAY);
            if turning || !counts {
                self.agreement.pause();
                return if counts { Verdict::TurningAway } else { Verdict::Ignored };
            }
        }
        let looks = self.agreement.look(named);
        if self.agreement.suffices(rules.frames_to_agree) {
            Verdict::Agreed(self.claim(sighting, rules))
        } else {
            Verdict::Agreeing { looks, of: self.agreement.needed(rules.frames_to_agree) }
        }
    }

    /// What the looks of the visit claim, the latest one for all.
    pub(super) fn claim(&self, sighting: &Sighting, rules: &FaceRules) -> Claim {
        let (who, margin) = match &sighting.sighted {
            Sighted::Worker(found) => (Ok(found.worker.clone()), found.margin),
            unnamed => (Err(unnamed.reason()), None),
        };
        let face = FaceEvidence {
            score: Score::of(sighting.sighted.score()),
            threshold: Score::of(rules.threshold.cosine()),
            margin: margin.map(Score::of),
            model: rules.model.clone(),
            frames: self.agreement.looks(),
            camera: rules.cameras[sighting.direction as usize].to_owned(),
            presentation: None,
        };
        Claim {
            direction: sighting.direction,
            who,
            evidence: vec![Evidence::Face(face)],
            visit: Some(sighting.visit),
            captured: sighting.captured,
            roster_version: sighting.roster_version,
            today: sighting.today,
            photo: sighting.photo.clone(),
        }
    }
}
