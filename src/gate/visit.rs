//! Agreement of the sightings of a visit, on one side of a lane: pure.
//!
//! In: sightings with the number of their visit; the vision workers follow a face and give it
//! ([`super::vision_pool`]). Out: a claim when enough sightings in a row agree. The claim names a
//! worker, or says that the face is on no roster entry.

use std::time::Duration;

use super::{
    claim::{Claim, Sighting},
    policy::Sighted,
};
use crate::{
    clock::Monotonic,
    ledger::{Evidence, FaceEvidence, Score},
    roster::WorkerId,
};

/// Maximum time after a recognition in which a sighting without a match is not counted: a worker
/// who turns to walk shows a face that matches no one.
const TURNING_AWAY: Duration = Duration::from_millis(1000);

/// The latest looks in a row that name the same worker, or no worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    named: Option<WorkerId>,
    looks: u32,
}

impl Agreement {
    /// Counts a look. Returns the number of looks in a row that agree with it.
    pub fn look(&mut self, named: Option<&WorkerId>) -> u32 {
        if self.named.as_ref() != named {
            *self = Agreement { named: named.cloned(), looks: 0 };
        }
        self.looks = self.looks.saturating_add(1);
        self.looks
    }

    /// Ends the agreement on a worker, for a look that names no one and is not counted.
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

    /// Returns the number of looks needed for a decision: more for a denial than for a grant.
    pub fn needed(&self, frames_to_agree: u32) -> u32 {
        match self.named {
            Some(_) => frames_to_agree,
            None => frames_to_agree.saturating_mul(2).max(3),
        }
    }

    /// Returns whether the looks are enough for a decision of the lane.
    pub fn suffices(&self, frames_to_agree: u32) -> bool {
        self.looks >= self.needed(frames_to_agree)
    }
}

/// Rules for faces; the evidence of a claim contains them.
#[derive(Clone, Debug)]
pub struct FaceRules {
    pub frames_to_agree: u32,
    /// The embedder's name.
    pub model: String,
    /// The kind of the camera in each direction; empty if there is no camera.
    pub cameras: [&'static str; 2],
}

/// Result of a look.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Enough looks agree on a worker, or on no worker.
    Agreed(Box<Claim>),
    /// Number of looks in a row that agree; `of` must agree.
    Agreeing { looks: u32, of: u32 },
    /// The face matches no one, but a worker was recognised a moment ago and turns to walk.
    TurningAway,
    /// The face matches no one, and the lane does not deny now.
    Ignored,
}

/// The current visit on one side of a lane.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// As [`Sighting::visit`].
    id: u64,
    last_face: Monotonic,
    last_named: Option<Monotonic>,
    agreement: Agreement,
}

impl Visit {
    /// Counts a sighting. `counts`: a face that matches no one is counted, too.
    pub(super) fn look(&mut self, sighting: &Sighting, rules: &FaceRules, counts: bool) -> Verdict {
        let at = sighting.captured;
        if self.id != sighting.visit || at.since(self.last_face) > sighting.pace.gap_unsearched() {
            // The face of a worker who turns to walk may begin a new visit. The time of the
            // recognition stays.
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
            Verdict::Agreed(Box::new(self.claim(sighting, rules)))
        } else {
            Verdict::Agreeing { looks, of: self.agreement.needed(rules.frames_to_agree) }
        }
    }

    /// Returns the claim of the visit, with the values of the latest sighting.
    pub(super) fn claim(&self, sighting: &Sighting, rules: &FaceRules) -> Claim {
        let (who, margin) = match &sighting.sighted {
            Sighted::Worker(found) => (Ok(found.worker.clone()), found.margin),
            unnamed => (Err(unnamed.reason()), None),
        };
        let face = FaceEvidence {
            score: Score::of(sighting.sighted.score()),
            threshold: Score::of(sighting.threshold.cosine()),
            margin: margin.map(Score::of),
            model: rules.model.clone(),
            frames: self.agreement.looks(),
            camera: rules.cameras[sighting.direction as usize].to_owned(),
            presentation: sighting.face.presentation.clone(),
        };
        Claim {
            direction: sighting.direction,
            who,
            evidence: vec![Evidence::Face(face)],
            flags: Vec::new(),
            visit: Some(sighting.visit),
            captured: sighting.captured,
            roster_version: sighting.roster_version,
            today: sighting.today,
            photo: sighting.photo.clone(),
            code: None,
            face: None,
        }
    }
}
