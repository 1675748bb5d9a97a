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

use super::{Action, Ended, Machine, Passage, State};
use crate::{
    clock::Monotonic,
    config::{Direction, MatchThreshold},
    gate::{
        claim::{Passing, Sighting},
        pace::Pace,
        policy::Sighted,
    },
    ledger::{Evidence, FaceEvidence, OtherFace, Score},
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
/// Time after a passage in which the other face may be seen again.
const SEEN_AGAIN_WITHIN: Duration = Duration::from_millis(1500);
/// Minimum number of frames after a passage without the other face. A slow box searches few frames;
/// it waits for them, but at most for [`Pace::gap_unsearched`]. Without them there is no flag.
const FRAMES_WITHOUT: u32 = 2;
/// Maximum number of recorded events of a lane within [`WINDOW`](super::budget::WINDOW).
pub(super) const OTHER_FACES: usize = 20;

/// The faces before the passage of a worker whose face was recognised.
#[derive(Debug)]
pub(super) struct Others {
    worker: WorkerId,
    /// Width of the worker's face in pixels, at the widest.
    width_px: f32,
    other: Option<Other>,
    /// The pace of the latest sighting.
    pace: Pace,
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
    score: f32,
    threshold: MatchThreshold,
    margin: Option<f32>,
    /// The worker that all good looks name.
    named: Option<Arc<Worker>>,
    /// The face was seen after the passage.
    remains: bool,
    /// Number of frames after the passage without this face.
    without: u32,
}

impl Others {
    /// Takes a sighting on the passage's side.
    pub(super) fn look(&mut self, sighting: &Sighting) {
        let at = sighting.captured;
        self.pace = sighting.pace;
        let named = sighting.sighted.named();
        let same = |other: &&mut Other| {
            let its_name = other.named.as_ref().map(|worker| &worker.person.id);
            other.visit == sighting.visit || (its_name.is_some() && its_name == named)
        };
        if let Some(passed) = self.passed {
            match self.other.as_mut().filter(same) {
                Some(other) => other.remains |= at.since(passed) >= WALKS,
                None => self.no_face(at),
            }
        } else if named == Some(&self.worker) {
            self.width_px = self.width_px.max(sighting.face.width_px);
            self.other = None;
        } else if self.is_other(sighting) {
            let before = self.other.take().filter(|other| other.visit == sighting.visit);
            self.other = Some(Other::of(sighting, before));
        } else if let Some(other) = self.other.as_mut().filter(same) {
            other.last = other.last.max(at);
        }
    }

    /// Takes a frame without the other face.
    pub(super) fn no_face(&mut self, at: Monotonic) {
        if let (Some(passed), Some(other)) = (self.passed, &mut self.other)
            && at.since(passed) >= WALKS
        {
            other.without = other.without.saturating_add(1);
        }
    }

    fn is_other(&self, sighting: &Sighting) -> bool {
        let face = &sighting.face;
        face.unlike.as_ref() == Some(&self.worker) && face.width_px >= NEAR * self.width_px
    }

    /// Takes the passage. Returns whether there was another face just before it.
    fn passed(&mut self, at: Monotonic) -> bool {
        let just_before =
            |other: &Other| other.looks >= LOOKS && at.since(other.last) <= VANISHES_WITHIN;
        self.passed = self.other.as_ref().is_some_and(just_before).then_some(at);
        self.passed.is_some()
    }

    /// Returns the time from which it is known, or stays unknown, whether the other face is still
    /// there; `None` without another face before the passage.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let (passed, other) = (self.passed?, self.other.as_ref()?);
        Some(match other {
            Other { remains: true, .. } => passed,
            Other { without: FRAMES_WITHOUT.., .. } => passed + SEEN_AGAIN_WITHIN,
            _ => passed + self.pace.gap_unsearched(),
        })
    }

    /// Returns the other face that came before the passage and vanished with it.
    fn vanished(&self) -> Option<&Other> {
        self.passed?;
        self.other.as_ref().filter(|other| !other.remains && other.without >= FRAMES_WITHOUT)
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
            score: 0.0,
            threshold: sighting.threshold,
            margin: None,
            named: named.clone(),
            remains: false,
            without: 0,
        });
        other.looks = other.looks.saturating_add(1);
        other.last = other.last.max(sighting.captured);
        (other.score, other.margin) = (sighting.sighted.score(), margin);
        other.threshold = sighting.threshold;
        let name = |worker: &Arc<Worker>| worker.person.id.clone();
        if other.named.as_ref().map(name) != named.as_ref().map(name) {
            other.named = None;
        }
        other
    }
}

impl State {
    /// Returns the passage whose outcome is not known yet.
    pub(super) fn passage(&mut self) -> Option<&mut Passage> {
        match self {
            State::Committing { passage, .. }
            | State::Releasing { passage, .. }
            | State::Leaving { passage, .. } => Some(passage),
            State::Open(open) => Some(&mut open.passage),
            State::Idle | State::Closing { .. } => None,
        }
    }
}

impl Machine {
    /// Returns the workers whose passages are under way.
    pub fn passing(&mut self) -> Passing {
        let mut passing = Passing::default();
        let under_way =
            [self.state.passage(), self.aside.as_mut().map(|aside| &mut aside.open.passage)];
        for passage in under_way.into_iter().flatten() {
            passing[passage.direction as usize].clone_from(&passage.worker);
        }
        passing
    }

    /// Begins to watch the faces before the passage that this sighting began.
    pub(super) fn watches(&mut self, granted: &Sighting) {
        if let Some(passage) = self.state.passage() {
            let width_px = granted.face.width_px;
            let others =
                |worker| Others { worker, width_px, other: None, pace: granted.pace, passed: None };
            passage.others = passage.worker.clone().map(others);
        }
    }

    /// Shows a frame to the passages of its side that are under way.
    pub(super) fn follow(
        &mut self,
        now: Monotonic,
        direction: Direction,
        frame: impl Fn(&mut Others),
    ) -> Vec<Action> {
        let under_way =
            [self.state.passage(), self.aside.as_mut().map(|aside| &mut aside.open.passage)];
        for passage in under_way.into_iter().flatten() {
            if passage.direction == direction
                && let Some(others) = &mut passage.others
            {
                frame(others);
            }
        }
        match self.state {
            State::Leaving { .. } => self.tick(now),
            _ => Vec::new(),
        }
    }

    /// Ends the wait for a passage. If there was another face before it, the outcome waits until
    /// it is known whether that face is still there.
    pub(super) fn went(
        &mut self,
        now: Monotonic,
        at: Monotonic,
        mut passage: Passage,
        ended: Ended,
    ) -> Vec<Action> {
        if passage.passed(at) {
            self.released[passage.direction as usize] = Some((passage.id, now));
            self.state = State::Leaving { passage, ended };
            return Vec::new();
        }
        self.cool(now, &passage, true);
        self.end(now, passage, ended)
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
            threshold: Score::of(other.threshold.cosine()),
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
    /// Takes the passage. Returns whether there was another face just before it.
    pub(super) fn passed(&mut self, at: Monotonic) -> bool {
        self.others.as_mut().is_some_and(|others| others.passed(at))
    }

    /// Returns the other face that came before this passage and vanished with it.
    pub(super) fn other_face(&self) -> Option<Other> {
        self.others.as_ref().and_then(Others::vanished).cloned()
    }
}
