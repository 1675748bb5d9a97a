//! Another face before a passage. The sensor reports that a person went through, and not which one.
//!
//! In: the sightings on the passage's side, from the grant on. Out: whether another person stood
//! where the worker had stood, and vanished with the passage. Then the record has the flag
//! `other_face`, and an event says so. The outcome stays what the sensor reported.
//!
//! A face that is still there after the passage is the next one in the queue. Only if there was
//! another face does the outcome wait until this is known. A poor look is no evidence, because the
//! worker who turns to walk gives poor looks.

use std::{sync::Arc, time::Duration};

use super::{Action, Machine, Passage, State};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{claim::Sighting, policy::Sighted, visit::GAP_UNSEARCHED},
    ledger::{Evidence, FaceEvidence, OtherFace, Outcome, Score},
    roster::{Worker, WorkerId},
    turnstile::PassageId,
};

/// Minimum number of good looks at another face. Of a public set of people, no good look at a
/// worker is taken for another person's, and 95 % of the looks at others are.
const LOOKS: u32 = 2;
/// Minimum width of the other face, in widths of the worker's. The next one in the queue stands
/// further away.
const NEAR: f32 = 0.75;
/// Maximum time from the last look at the other face to the passage. On the way from the camera to
/// the sensor a person shows no face.
const VANISHES_WITHIN: Duration = Duration::from_secs(3);
/// Time after a passage in which the camera may still see the face of the person who walks.
const WALKS: Duration = Duration::from_millis(500);
/// Time after a passage in which the other face may be seen again. On a slow box it is two
/// intervals between looks, and at most [`GAP_UNSEARCHED`].
const SEEN_AGAIN_WITHIN: Duration = Duration::from_millis(1500);
/// Maximum number of recorded events of a lane within [`WINDOW`](super::budget::WINDOW).
pub(super) const OTHER_FACES: usize = 20;

/// The faces before the passage of a worker whose face was recognised.
#[derive(Debug)]
pub(super) struct Others {
    worker: WorkerId,
    /// Width of the worker's face in pixels, at the widest.
    width_px: f32,
    other: Option<Other>,
    /// Time of the passage, if the other face came just before it.
    passed: Option<Monotonic>,
}

/// A face of another person.
#[derive(Clone, Debug)]
pub(super) struct Other {
    visit: u64,
    /// Number of good looks.
    looks: u32,
    last: Monotonic,
    /// Interval between the last two looks.
    apart: Duration,
    score: f32,
    margin: Option<f32>,
    /// The worker that all good looks name.
    named: Option<Arc<Worker>>,
    /// The face was seen after the passage.
    remains: bool,
}

impl Others {
    /// Takes a sighting on the passage's side.
    pub(super) fn look(&mut self, sighting: &Sighting) {
        let at = sighting.captured;
        let named = sighting.sighted.named();
        let same = |other: &&mut Other| {
            let its_name = other.named.as_ref().map(|worker| &worker.person.id);
            other.visit == sighting.visit || (its_name.is_some() && its_name == named)
        };
        if let Some(passed) = self.passed {
            if let Some(other) = self.other.as_mut().filter(same) {
                other.remains |= at.since(passed) >= WALKS;
            }
        } else if named == Some(&self.worker) {
            self.width_px = self.width_px.max(sighting.face.width_px);
            self.other = None;
        } else if self.is_other(sighting) {
            let before = self.other.take().filter(|other| other.visit == sighting.visit);
            self.other = Some(Other::of(sighting, before));
        } else if let Some(other) = self.other.as_mut().filter(same) {
            other.saw(at);
        }
    }

    fn is_other(&self, sighting: &Sighting) -> bool {
        let face = &sighting.face;
        face.unlike.as_ref() == Some(&self.worker) && face.width_px >= NEAR * self.width_px
    }

    /// Takes the passage. Returns the time until which the other face may be seen again; `None` if
    /// there was no other face.
    pub(super) fn passed(&mut self, at: Monotonic) -> Option<Monotonic> {
        let other = self.other.as_ref()?;
        if other.looks < LOOKS || at.since(other.last) > VANISHES_WITHIN {
            return None;
        }
        self.passed = Some(at);
        Some(at + SEEN_AGAIN_WITHIN.max(other.apart * 2).min(GAP_UNSEARCHED))
    }

    pub(super) fn remains(&self) -> bool {
        self.other.as_ref().is_some_and(|other| other.remains)
    }

    /// Returns the other face that came before the passage and vanished with it.
    fn vanished(&self) -> Option<&Other> {
        self.passed?;
        self.other.as_ref().filter(|other| !other.remains)
    }
}

impl Other {
    fn of(sighting: &Sighting, before: Option<Other>) -> Other {
        let (named, margin) = match &sighting.sighted {
            Sighted::Worker(found) => (Some(found.worker.clone()), found.margin),
            Sighted::Stranger { .. } | Sighted::Ambiguous { .. } => (None, None),
        };
        let mut other = before.unwrap_or(Other {
            visit: sighting.visit,
            looks: 0,
            last: sighting.captured,
            apart: Duration::ZERO,
            score: 0.0,
            margin: None,
            named: named.clone(),
            remains: false,
        });
        other.looks = other.looks.saturating_add(1);
        other.saw(sighting.captured);
        (other.score, other.margin) = (sighting.sighted.score(), margin);
        let name = |worker: &Arc<Worker>| worker.person.id.clone();
        if other.named.as_ref().map(name) != named.as_ref().map(name) {
            other.named = None;
        }
        other
    }

    fn saw(&mut self, at: Monotonic) {
        self.apart = at.since(self.last);
        self.last = self.last.max(at);
    }
}

impl Machine {
    /// Begins to watch the faces before the passage that this sighting began.
    pub(super) fn watches(&mut self, granted: &Sighting) {
        if let Some(passage) = self.state.passage() {
            let width_px = granted.face.width_px;
            let others = |worker| Others { worker, width_px, other: None, passed: None };
            passage.others = passage.worker.clone().map(others);
        }
    }

    /// Shows a sighting to the passages of its side that are under way.
    pub(super) fn follow(&mut self, now: Monotonic, sighting: &Sighting) -> Vec<Action> {
        let under_way = [self.state.passage(), self.aside.as_mut().map(|aside| &mut aside.passage)];
        for passage in under_way.into_iter().flatten() {
            if passage.direction == sighting.direction
                && let Some(others) = &mut passage.others
            {
                others.look(sighting);
            }
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Leaving { passage, .. }
                if passage.others.as_ref().is_some_and(Others::remains) =>
            {
                self.close(now, passage, Outcome::Passed, None)
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// Ends the wait for a passage. If there was another face before it, the outcome waits until
    /// it is known whether that face is still there.
    pub(super) fn went(
        &mut self,
        now: Monotonic,
        at: Monotonic,
        mut passage: Passage,
    ) -> Vec<Action> {
        match passage.others.as_mut().and_then(|others| others.passed(at)) {
            None => self.close(now, passage, Outcome::Passed, None),
            Some(until) => {
                self.released[passage.direction as usize] = Some((passage.id, now));
                self.state = State::Leaving { passage, until };
                Vec::new()
            }
        }
    }

    /// Returns the event of a passage with which another face vanished, after its outcome. Counts
    /// the passage, and returns nothing if there were too many.
    pub(super) fn other_face(
        &mut self,
        now: Monotonic,
        (passage, direction): (PassageId, Direction),
        other: &Other,
    ) -> Option<Action> {
        self.counters.other_faces += 1;
        if !self.other_faces.spend(now) {
            self.counters.other_faces_unrecorded += 1;
            return None;
        }
        let faces = &self.rules.faces;
        let face = FaceEvidence {
            score: Score::of(other.score),
            threshold: Score::of(faces.threshold.cosine()),
            margin: other.margin.map(Score::of),
            model: faces.model.clone(),
            frames: other.looks,
            camera: faces.cameras[direction as usize].to_owned(),
            presentation: None,
        };
        let body = OtherFace {
            passage,
            lane: self.rules.lane.clone(),
            direction,
            person: other.named.as_ref().map(|worker| worker.person.clone()),
            evidence: vec![Evidence::Face(face)],
        };
        Some(Action::OtherFace { body: body.into() })
    }
}

impl Passage {
    /// Returns the other face that came before this passage and vanished with it.
    pub(super) fn other_face(&self) -> Option<Other> {
        self.others.as_ref().and_then(Others::vanished).cloned()
    }
}
