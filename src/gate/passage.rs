//! One lane's passages, as a machine that touches nothing.
//!
//! Sightings, answers of the store and of the turnstile, and time go in; what to commit and what
//! to release comes out. A lane has one arm, so it has one passage at a time:
//!
//! ```text
//! Idle --grant or manual release--> Committing --committed--> Releasing --released--> Open
//!   ^                                    |                        |                     |
//!   +------------------------------------+---- Closing <----------+------ outcome ------+
//! ```
//!
//! A lane that stands open (free mode) releases nothing: whoever is recognised goes from Committing
//! to Closing. What passes without a release there is nobody's doing; elsewhere it is a tailgate.
//!
//! I1: a release is asked for only in answer to the commit of its own cause. I4: only before its
//! deadline, and only once: an answer that belongs to another passage changes nothing.

mod taken;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::taken::Taken;
use self::taken::Undecided;
use super::policy::{self, Decision, Reason, Sighted};
use crate::{
    clock::Monotonic,
    config::{Direction, MatchThreshold},
    ledger::{
        Actor, Body, Denial, Detail, Evidence, FaceEvidence, Grant, GuardRelease, LaneMode,
        Outcome, Score, Tailgate,
    },
    roster::{Match, Person, WorkerId},
    turnstile::{NotReleased, PassageId, Release, TurnstileEvent},
};

/// From the frame that decides to the release: what takes longer is void, for the worker has
/// moved on and somebody else may stand there.
pub const DECISION_LIFE: Duration = Duration::from_secs(3);
/// Who went through and is before the camera still is the same visit until they are gone for so long.
const VISIT_GAP: Duration = Duration::from_millis(1500);
/// Without a sighting for so long, a visit is over here too, whatever whoever looks says. They may
/// have no time to look for a while, where many lanes are busy.
const VISIT_UNSEEN: Duration = Duration::from_secs(4);
/// A recognised worker who turns to walk shows no face that anybody knows for so long.
const TURNING_AWAY: Duration = Duration::from_millis(1000);
/// A release whose answer the turnstile task owes for longer than its deadline and this is over.
const ANSWER_GRACE: Duration = Duration::from_millis(1500);
/// An outcome that could not be committed is tried again this often.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Tailgates of a lane that are recorded within [`TAILGATE_WINDOW`]; a sensor that chatters would
/// fill the disk.
const TAILGATES: u32 = 20;
const TAILGATE_WINDOW: Duration = Duration::from_secs(60);
/// Workers whose last passage is remembered for the cool-down; the oldest goes.
const COOLING: usize = 64;
const STANDS_OPEN: Detail = Detail::new("lane_stands_open");

/// What a lane's machine goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    pub lane: String,
    pub threshold: MatchThreshold,
    pub frames_to_agree: u32,
    pub cool_down: Duration,
    pub pass_within: Duration,
    /// Nobody enters who was not trained in safety.
    pub require_training: bool,
    /// The embedder's name, for the entries.
    pub model: String,
    /// The kind of the camera each way, for the entries; empty where there is none.
    pub cameras: [&'static str; 2],
}

/// A face before one of the lane's cameras.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub direction: Direction,
    /// Rises when another person steps before this camera.
    pub visit: u64,
    pub captured: Monotonic,
    pub sighted: Sighted,
    pub roster_version: u64,
    /// Today at the site, where the clock is trusted.
    pub today: Option<Date>,
    /// What is kept of the frame for a while, if somebody is let through by it.
    pub photo: Option<PassagePhoto>,
}

/// A JPEG of the face that was let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassagePhoto {
    pub jpeg: Arc<[u8]>,
    pub sha256: [u8; 32],
}

impl PassagePhoto {
    pub fn new(jpeg: Vec<u8>) -> PassagePhoto {
        PassagePhoto { sha256: Sha256::digest(&jpeg).into(), jpeg: jpeg.into() }
    }
}

/// Somebody asks for the gate to be opened by hand.
#[derive(Clone, Debug)]
pub struct ManualRelease {
    pub direction: Direction,
    pub person: Option<Person>,
    pub reason: String,
    pub by: Actor,
    /// After this nothing is released; absent where somebody at the gateway waits for it.
    pub void_after: Option<Monotonic>,
}

#[derive(Debug)]
pub enum Event {
    /// `fresh` names the passage that may begin with it.
    Seen {
        sighting: Sighting,
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
    /// Time has passed; see [`Machine::timeout`].
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put the cause of a passage into the ledger and report [`Event::Committed`].
    Commit {
        passage: PassageId,
        body: Body,
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
    /// Sightings older than [`DECISION_LIFE`] when they came in.
    pub stale: u64,
    /// Passages that nobody was let through for.
    pub tailgates: u64,
    /// Those of them that came too fast to be recorded one by one.
    pub tailgates_unrecorded: u64,
    /// Decisions that became void before they could be carried out.
    pub void: u64,
}

#[derive(Debug)]
struct Passage {
    id: PassageId,
    direction: Direction,
    worker: Option<WorkerId>,
    visit: Option<u64>,
    manual: bool,
    /// The turnstile acknowledged the release.
    released: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Committing {
        passage: Passage,
        deadline: Monotonic,
    },
    Releasing {
        passage: Passage,
        deadline: Monotonic,
    },
    /// The arm is free. `lost_sight`: the controller was away for a part of it.
    Open {
        passage: Passage,
        until: Monotonic,
        lost_sight: bool,
    },
    Closing {
        passage: Passage,
        outcome: Outcome,
        detail: Option<Detail>,
        retry_at: Option<Monotonic>,
    },
}

/// One visit to a camera.
#[derive(Debug, Default)]
struct Visit {
    /// As [`Sighting::visit`].
    id: u64,
    last_face: Monotonic,
    /// The worker whom the latest frames name, and how many of them do.
    named: Option<(WorkerId, u32)>,
    last_named: Option<Monotonic>,
    strangers: u32,
    denied: Option<(Option<WorkerId>, Reason)>,
}

/// A worker who is not admitted again on this side for a while.
#[derive(Debug)]
struct Cooling {
    worker: WorkerId,
    direction: Direction,
    /// In which visit they were let through; `None`: by hand.
    visit: Option<u64>,
    until: Monotonic,
    /// Went through, as far as is known: who lingers before the camera is still the same visit.
    went: bool,
}

#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    /// Whether the turnstile reports passages at all.
    confirms: bool,
    mode: LaneMode,
    state: State,
    visits: [Visit; 2],
    undecided: [Undecided; 2],
    /// What the latest sighting was taken for.
    pub taken: Option<Taken>,
    /// The last passage that was released each way, and when it was over.
    released: [Option<(PassageId, Monotonic)>; 2],
    /// Who was recognised, each way, while another was being recorded in a lane that stands open:
    /// there nobody waits to be seen again.
    next: [Option<(Sighting, Match, PassageId)>; 2],
    /// When the tailgates under count began to be counted, and how many they are.
    tailgates: (Monotonic, u32),
    cooling: VecDeque<Cooling>,
    pub counters: Counters,
}

impl Machine {
    /// `confirms`: the turnstile reports passages.
    pub fn new(rules: Rules, confirms: bool, mode: LaneMode) -> Machine {
        Machine {
            rules,
            confirms,
            mode,
            state: State::Idle,
            visits: Default::default(),
            undecided: Default::default(),
            taken: None,
            released: Default::default(),
            next: Default::default(),
            tailgates: Default::default(),
            cooling: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// When [`Event::Tick`] is due, and why.
    pub fn timeout(&self) -> Option<(Monotonic, &'static str)> {
        match &self.state {
            State::Idle | State::Committing { .. } => None,
            State::Releasing { deadline, .. } => {
                Some((*deadline + ANSWER_GRACE, "the turnstile owes an answer"))
            }
            State::Open { until, .. } => Some((*until, "somebody may walk through")),
            State::Closing { retry_at, .. } => {
                retry_at.map(|at| (at, "the outcome is to be recorded again"))
            }
        }
    }

    /// Whether a passage is under way.
    pub fn busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    pub fn handle(&mut self, now: Monotonic, event: Event) -> Vec<Action> {
        match event {
            Event::Seen { sighting, fresh } => self.seen(now, sighting, fresh),
            Event::Asked { request, fresh } => self.asked(now, request, fresh),
            Event::Committed { passage, result } => self.committed(now, passage, result),
            Event::Closed { passage, result } => self.closed(now, passage, result),
            Event::Turnstile(event) => self.turnstile(now, event),
            Event::Mode(mode) => self.mode(now, mode),
            Event::Tick => self.tick(now),
        }
    }

    /// What is under way goes on; but in an arm that stands open nobody is waited for.
    fn mode(&mut self, now: Monotonic, mode: LaneMode) -> Vec<Action> {
        self.mode = mode;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open { passage, .. } if mode == LaneMode::Free => {
                self.close(now, passage, Outcome::Unconfirmed, STANDS_OPEN)
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn seen(&mut self, now: Monotonic, sighting: Sighting, fresh: PassageId) -> Vec<Action> {
        let (mut taken, mut actions) = self.take(now, &sighting, fresh);
        let undecided = &mut self.undecided[sighting.direction as usize];
        let named = sighting.sighted.named().is_some();
        if undecided.look(sighting.captured, named, taken) {
            let reason = match sighting.sighted {
                Sighted::Stranger { .. } => Reason::UnknownFace,
                Sighted::Worker(_) | Sighted::Ambiguous { .. } => Reason::AmbiguousFace,
            };
            let denial = self.deny(&sighting, None, reason, sighting.sighted.score());
            if let (Taken::Denied(_), deny) = denial {
                (taken, actions) = (Taken::Wavers(reason), deny);
            }
        }
        self.taken = Some(taken);
        actions
    }

    fn take(
        &mut self,
        now: Monotonic,
        sighting: &Sighting,
        fresh: PassageId,
    ) -> (Taken, Vec<Action>) {
        if now.since(sighting.captured) > DECISION_LIFE {
            self.counters.stale += 1;
            return (Taken::Stale, Vec::new());
        }
        let frames_to_agree = self.rules.frames_to_agree;
        let side = sighting.direction as usize;
        self.next[side] = None;
        self.linger(sighting);
        let visit = &mut self.visits[sighting.direction as usize];
        if visit.id != sighting.visit || sighting.captured.since(visit.last_face) > VISIT_UNSEEN {
            // Who turns to walk may look like another: that is remembered.
            let last_named = visit.last_named;
            *visit = Visit { id: sighting.visit, last_named, ..Visit::default() };
        }
        visit.last_face = visit.last_face.max(sighting.captured);
        match &sighting.sighted {
            Sighted::Worker(found) => {
                let id = &found.worker.person.id;
                visit.strangers = 0;
                visit.last_named = Some(sighting.captured);
                let count = match &mut visit.named {
                    Some((named, count)) if named == id => {
                        *count = count.saturating_add(1);
                        *count
                    }
                    named => {
                        *named = Some((id.clone(), 1));
                        1
                    }
                };
                let id = id.clone();
                if self.cooling(now, &id, sighting) {
                    return (Taken::CoolingDown, Vec::new());
                }
                if count < frames_to_agree {
                    let taken = Taken::Agreeing { looks: count, of: frames_to_agree };
                    return (taken, Vec::new());
                }
                let found = found.clone();
                if self.busy() {
                    if self.mode == LaneMode::Free {
                        self.next[side] = Some((sighting.clone(), found, fresh));
                    }
                    return (Taken::Busy, Vec::new());
                }
                self.recognised(sighting, found, fresh)
            }
            unnamed @ (Sighted::Stranger { score } | Sighted::Ambiguous { score }) => {
                visit.named = None;
                let turning_away =
                    visit.last_named.is_some_and(|at| sighting.captured.since(at) < TURNING_AWAY);
                let nothing = if self.busy() {
                    Some(Taken::Busy)
                } else if self.mode == LaneMode::Free {
                    Some(Taken::Free)
                } else {
                    turning_away.then_some(Taken::TurningAway)
                };
                if let Some(taken) = nothing {
                    return (taken, Vec::new());
                }
                let visit = &mut self.visits[sighting.direction as usize];
                visit.strangers = visit.strangers.saturating_add(1);
                let (looks, of) = (visit.strangers, (2 * frames_to_agree).max(3));
                if looks < of {
                    return (Taken::Agreeing { looks, of }, Vec::new());
                }
                let score = *score;
                let reason = match unnamed {
                    Sighted::Ambiguous { .. } => Reason::AmbiguousFace,
                    _ => Reason::UnknownFace,
                };
                self.deny(sighting, None, reason, score)
            }
        }
    }

    fn cooling(&mut self, now: Monotonic, id: &WorkerId, sighting: &Sighting) -> bool {
        self.cooling.retain(|c| c.until > now);
        let same = |c: &&mut Cooling| c.worker == *id && c.direction == sighting.direction;
        let Some(cooling) = self.cooling.iter_mut().find(same) else { return false };
        if cooling.went {
            cooling.until = cooling.until.max(sighting.captured + VISIT_GAP);
        }
        true
    }

    fn recognised(
        &mut self,
        sighting: &Sighting,
        found: Match,
        fresh: PassageId,
    ) -> (Taken, Vec<Action>) {
        let person = found.worker.person.clone();
        let Rules { require_training, .. } = self.rules;
        let (direction, today) = (sighting.direction, sighting.today);
        match policy::decide(&found.worker, direction, self.mode, today, require_training) {
            Decision::Deny(reason) => self.deny(sighting, Some(person), reason, found.score),
            Decision::Grant => {
                let grant = Grant {
                    passage: fresh,
                    lane: self.rules.lane.clone(),
                    direction: sighting.direction,
                    person: person.clone(),
                    evidence: self.evidence(sighting, found.score, found.margin),
                    flags: Vec::new(),
                    roster: sighting.roster_version,
                    photo: sighting.photo.as_ref().map(|photo| photo.sha256),
                };
                let body = grant.into();
                self.visits[sighting.direction as usize].denied = None;
                let passage = Passage {
                    id: fresh,
                    direction: sighting.direction,
                    worker: Some(person.id),
                    visit: Some(sighting.visit),
                    manual: false,
                    released: false,
                };
                let deadline = sighting.captured + DECISION_LIFE;
                self.state = State::Committing { passage, deadline };
                (Taken::Granted, vec![Action::Commit { passage: fresh, body }])
            }
        }
    }

    /// Once a visit for the same person and reason.
    fn deny(
        &mut self,
        sighting: &Sighting,
        person: Option<Person>,
        reason: Reason,
        score: f32,
    ) -> (Taken, Vec<Action>) {
        let visit = &mut self.visits[sighting.direction as usize];
        let denial = (person.as_ref().map(|p| p.id.clone()), reason);
        if visit.denied.as_ref() == Some(&denial) {
            return (Taken::DeniedBefore(reason), Vec::new());
        }
        visit.denied = Some(denial);
        let denial = Denial {
            lane: self.rules.lane.clone(),
            direction: sighting.direction,
            reason: reason.word().to_owned(),
            person,
            evidence: self.evidence(sighting, score, None),
            flags: Vec::new(),
        };
        (Taken::Denied(reason), vec![Action::Deny { body: denial.into() }])
    }

    fn evidence(&self, sighting: &Sighting, score: f32, margin: Option<f32>) -> Vec<Evidence> {
        let side = sighting.direction as usize;
        let named = self.visits[side].named.as_ref().map(|(_, looks)| *looks);
        vec![Evidence::Face(FaceEvidence {
            score: Score::of(score),
            threshold: Score::of(self.rules.threshold.cosine()),
            margin: margin.map(Score::of),
            model: self.rules.model.clone(),
            frames: named.unwrap_or(self.visits[side].strangers),
            camera: self.rules.cameras[side].to_owned(),
            presentation: None,
        })]
    }

    fn asked(&mut self, now: Monotonic, request: ManualRelease, fresh: PassageId) -> Vec<Action> {
        let life = now + DECISION_LIFE;
        let deadline = request.void_after.map_or(life, |void_after| life.min(void_after));
        if now > deadline {
            self.counters.void += 1;
            let answer = Err("void: its time was over before the lane heard of it".to_owned());
            return vec![Action::Answer { passage: fresh, answer }];
        }
        if self.busy() {
            let unrecorded = matches!(self.state, State::Closing { retry_at: Some(_), .. });
            let problem = if unrecorded {
                "the last passage cannot be recorded, so nobody is let through; see `gatehouse status`"
            } else {
                "somebody is passing through this lane; ask again"
            };
            let answer = Err(problem.to_owned());
            return vec![Action::Answer { passage: fresh, answer }];
        }
        if self.mode == LaneMode::Closed && request.direction == Direction::Entry {
            let problem = "it is closed: nobody enters; `gatehouse lane mode` opens it";
            return vec![Action::Answer { passage: fresh, answer: Err(problem.to_owned()) }];
        }
        let passage = Passage {
            id: fresh,
            direction: request.direction,
            worker: request.person.as_ref().map(|p| p.id.clone()),
            visit: None,
            manual: true,
            released: false,
        };
        self.state = State::Committing { passage, deadline };
        let release = GuardRelease {
            passage: fresh,
            lane: self.rules.lane.clone(),
            direction: request.direction,
            person: request.person,
            reason: request.reason,
            evidence: vec![Evidence::Guard(request.by)],
            flags: Vec::new(),
        };
        vec![Action::Commit { passage: fresh, body: release.into() }]
    }

    fn committed(
        &mut self,
        now: Monotonic,
        id: PassageId,
        result: Result<(), String>,
    ) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Committing { mut passage, deadline } if passage.id == id => match result {
                Err(_) if !passage.manual => Vec::new(),
                Err(error) => {
                    let answer = Err(format!("not released, for it cannot be recorded: {error}"));
                    vec![Action::Answer { passage: id, answer }]
                }
                Ok(()) if self.mode == LaneMode::Free => {
                    passage.released = true;
                    self.close(now, passage, Outcome::Unconfirmed, STANDS_OPEN)
                }
                Ok(()) if now > deadline => {
                    self.counters.void += 1;
                    self.close(now, passage, Outcome::NotPassed, Detail::new("commit_late"))
                }
                Ok(()) => {
                    let release = Release { passage: id, direction: passage.direction, deadline };
                    self.state = State::Releasing { passage, deadline };
                    vec![Action::Release(release)]
                }
            },
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn closed(&mut self, now: Monotonic, id: PassageId, result: Result<(), String>) -> Vec<Action> {
        match &mut self.state {
            State::Closing { passage, outcome, detail, retry_at } if passage.id == id => {
                if result.is_err() {
                    *retry_at = Some(now + RETRY);
                    return Vec::new();
                }
                let answered = Answered {
                    released: passage.released,
                    outcome: *outcome,
                    detail: detail.take().map(|d| d.to_string()).unwrap_or_default(),
                };
                let manual = passage.manual;
                self.state = State::Idle;
                let answer = Action::Answer { passage: id, answer: Ok(answered) };
                let mut actions = Vec::from_iter(manual.then_some(answer));
                actions.extend(self.next(now));
                actions
            }
            _ => Vec::new(),
        }
    }

    /// Records who was recognised meanwhile.
    fn next(&mut self, now: Monotonic) -> Vec<Action> {
        let waiting = self.next.iter_mut().find_map(Option::take);
        match waiting.filter(|(sighting, ..)| now.since(sighting.captured) <= DECISION_LIFE) {
            Some((sighting, found, fresh)) => {
                let id = found.worker.person.id.clone();
                if self.cooling(now, &id, &sighting) {
                    return Vec::new();
                }
                self.recognised(&sighting, found, fresh).1
            }
            None => Vec::new(),
        }
    }

    /// Who went through and still is before the camera is the same visit, recognised or not.
    fn linger(&mut self, sighting: &Sighting) {
        for cooling in self.cooling.iter_mut() {
            let same = cooling.went
                && cooling.direction == sighting.direction
                && cooling.visit == Some(sighting.visit);
            if same && sighting.captured < cooling.until + VISIT_UNSEEN {
                cooling.until = cooling.until.max(sighting.captured + VISIT_GAP);
            }
        }
    }

    fn turnstile(&mut self, now: Monotonic, event: TurnstileEvent) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        match (state, event) {
            (
                State::Releasing { mut passage, .. },
                TurnstileEvent::Released { passage: id, .. },
            ) if passage.id == id => {
                passage.released = true;
                if !self.confirms {
                    let detail = Detail::new("no_passage_reports");
                    return self.close(now, passage, Outcome::Unconfirmed, detail);
                }
                let until = now + self.rules.pass_within;
                self.state = State::Open { passage, until, lost_sight: false };
                Vec::new()
            }
            (
                State::Releasing { passage, .. },
                TurnstileEvent::NotReleased { passage: id, why, may_have_released },
            ) if passage.id == id => {
                let detail = match why {
                    NotReleased::Late => {
                        self.counters.void += 1;
                        Detail::new("release_late")
                    }
                    NotReleased::Failed(problem) => {
                        Detail::new("not_released").with("problem", problem.to_string())
                    }
                };
                let outcome =
                    if may_have_released { Outcome::Unconfirmed } else { Outcome::NotPassed };
                self.close(now, passage, outcome, detail)
            }
            (State::Open { passage, .. }, TurnstileEvent::Passed { direction, .. })
                if passage.direction == direction =>
            {
                self.close(now, passage, Outcome::Passed, None)
            }
            (State::Open { passage, until, .. }, TurnstileEvent::Down { .. }) => {
                self.state = State::Open { passage, until, lost_sight: true };
                Vec::new()
            }
            (state, TurnstileEvent::Passed { direction, .. }) => {
                self.state = state;
                self.tailgate(now, direction)
            }
            (state, _) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    /// Somebody went through whom nobody let through.
    fn tailgate(&mut self, now: Monotonic, direction: Direction) -> Vec<Action> {
        if self.mode == LaneMode::Free {
            return Vec::new();
        }
        self.counters.tailgates += 1;
        let (begun, count) = &mut self.tailgates;
        if now.since(*begun) > TAILGATE_WINDOW {
            (*begun, *count) = (now, 0);
        }
        *count += 1;
        if *count > TAILGATES {
            self.counters.tailgates_unrecorded += 1;
            return Vec::new();
        }
        let recent = |(_, at): &(PassageId, Monotonic)| now.since(*at) < self.rules.pass_within;
        let after = self.released[direction as usize].filter(recent).map(|(id, _)| id);
        let lane = self.rules.lane.clone();
        vec![Action::Tailgate { body: Tailgate { lane, direction, after }.into() }]
    }

    fn tick(&mut self, now: Monotonic) -> Vec<Action> {
        if self.timeout().is_none_or(|(at, _)| now < at) {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Releasing { passage, .. } => {
                let detail = Detail::new("no_answer");
                self.close(now, passage, Outcome::Unconfirmed, detail)
            }
            State::Open { passage, lost_sight: false, .. } => {
                self.close(now, passage, Outcome::NotPassed, Detail::new("nothing_passed"))
            }
            State::Open { passage, .. } => {
                let detail = Detail::new("controller_away");
                self.close(now, passage, Outcome::Unconfirmed, detail)
            }
            State::Closing { passage, outcome, detail, .. } => {
                let close = Action::Close { passage: passage.id, outcome, detail: detail.clone() };
                self.state = State::Closing { passage, outcome, detail, retry_at: None };
                vec![close]
            }
            state @ (State::Idle | State::Committing { .. }) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn close(
        &mut self,
        now: Monotonic,
        passage: Passage,
        outcome: Outcome,
        detail: impl Into<Option<Detail>>,
    ) -> Vec<Action> {
        if let Some(worker) = &passage.worker {
            if self.cooling.len() >= COOLING {
                self.cooling.pop_front();
            }
            let until = now + self.rules.cool_down;
            self.cooling.push_back(Cooling {
                worker: worker.clone(),
                direction: passage.direction,
                visit: passage.visit,
                until,
                went: outcome != Outcome::NotPassed,
            });
        }
        if passage.released {
            self.released[passage.direction as usize] = Some((passage.id, now));
        }
        let detail = detail.into();
        let close = Action::Close { passage: passage.id, outcome, detail: detail.clone() };
        self.state = State::Closing { passage, outcome, detail, retry_at: None };
        vec![close]
    }
}

#[cfg(test)]
mod tests;
