//! One lane's passages, as a machine that touches nothing.
//!
//! In: sightings, claims, answers of the store and of the turnstile, and time. Out: actions: what
//! to commit and what to release. A lane has one arm, so it has one passage at a time:
//!
//! ```text
//! Idle --grant or manual release--> Committing --committed--> Releasing --released--> Open
//!   ^                                    |                        |                     |
//!   +------------------------------------+---- Closing <----------+------ outcome ------+
//! ```
//!
//! After a passage with another face before it, the machine waits in Leaving until it is known
//! whether that face is still there ([`others`]). An open arm through which no one walks yields to
//! the other side ([`yielding`]). Only then a lane has two passages, one in each direction.
//!
//! A passage within [`GRACE`] after the time of the release is still that of the release. So the
//! machine stays in Open for that long. The next grant or manual release ends it.
//!
//! An outcome rests on the passage sensor only as far as the sensor works ([`sensor`]).
//!
//! A lane that stands open (free mode) releases nothing: a recognised worker's passage goes from
//! Committing to Closing. There, a person who passes without a release is not recorded. In the
//! other modes it is a tailgate.
//!
//! I1: the machine asks for a release only in answer to the commit of its own cause. I4: it asks
//! only before the deadline, and only once. An answer for another passage changes nothing.

mod budget;
mod claims;
mod cooling;
mod denied;
mod events;
mod looks;
mod others;
mod outcome;
mod requests;
pub(super) mod sensor;
mod shown;
mod taken;
mod turnstile;
mod yielding;

use std::time::Duration;

use self::{
    budget::Budget,
    cooling::CoolDown,
    denied::Denials,
    looks::Undecided,
    others::{OTHER_FACES, Others},
    outcome::{Ended, Open},
    sensor::Sensor,
    shown::Shown,
    yielding::Aside,
};
pub use self::{
    events::{Action, Answered, Counters, Event, Rules},
    sensor::{Health, Suspicion},
    taken::Taken,
};
use super::{
    Refusal,
    claim::{Claim, ManualRelease},
    guarding::{Fallback, Guarding},
    policy::Reason,
    visit::Visit,
};
use crate::{
    clock::Monotonic,
    config::Direction,
    ledger::{Detail, Flag, LaneMode, Outcome},
    roster::WorkerId,
    turnstile::{PassageId, Release},
};

/// Maximum time from the deciding frame to the release. A later release is void: the worker has
/// moved on, and another person may stand there.
pub const DECISION_LIFE: Duration = Duration::from_secs(3);
/// Timeout after a release's deadline for the answer of the turnstile task.
const ANSWER_GRACE: Duration = Duration::from_millis(1500);
/// Time after a release's time is over in which a passage is still that of the release.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Interval between two attempts to commit an outcome.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Maximum number of recorded tailgates of a lane within [`budget::WINDOW`].
const TAILGATES: usize = 20;
/// Maximum number of recorded denials without a worker, of a lane within [`budget::WINDOW`].
const STRANGERS: usize = 20;
const STANDS_OPEN: Detail = Detail::new("lane_stands_open");

#[derive(Debug)]
struct Passage {
    id: PassageId,
    direction: Direction,
    worker: Option<WorkerId>,
    visit: Option<u64>,
    manual: bool,
    /// The turnstile acknowledged the release.
    released: bool,
    /// The faces before the passage; `None` without a recognised face.
    others: Option<Others>,
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
    /// The arm is free, or was free a moment ago.
    Open(Open),
    /// A person went through, and another face was there before: is it still there?
    Leaving {
        passage: Passage,
        ended: Ended,
    },
    Closing {
        passage: Passage,
        ended: Ended,
        retry_at: Option<Monotonic>,
    },
}

#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    /// Whether the turnstile reports passages at all.
    confirms: bool,
    mode: LaneMode,
    state: State,
    aside: Option<Aside>,
    visits: [Visit; 2],
    undecided: [Undecided; 2],
    /// The result for the latest sighting or claim.
    pub taken: Option<Taken>,
    /// The last released passage in each direction, and the time of its outcome.
    released: [Option<(PassageId, Monotonic)>; 2],
    /// For each direction the claim that waits until the outcome before it is recorded: in a lane
    /// that stands open, and after a release whose time is over. There, a worker does not wait for
    /// another sighting.
    next: [Option<(Claim, PassageId)>; 2],
    /// A manual release that waits until the outcome before it is recorded.
    waits: Option<(ManualRelease, PassageId)>,
    sensors: [Sensor; 2],
    tailgates: Budget<TAILGATES>,
    /// The recorded denials without a worker.
    strangers: Budget<STRANGERS>,
    /// The recorded events of other faces.
    other_faces: Budget<OTHER_FACES>,
    cooling: CoolDown,
    denied: Denials,
    shown: Shown,
    guarding: Guarding,
    pub counters: Counters,
}

impl Machine {
    /// `confirms`: the turnstile reports passages.
    pub fn new(rules: Rules, confirms: bool, mode: LaneMode) -> Machine {
        Machine {
            guarding: Guarding::new(rules.guard),
            rules,
            confirms,
            mode,
            state: State::Idle,
            aside: None,
            visits: Default::default(),
            undecided: Default::default(),
            taken: None,
            released: Default::default(),
            next: Default::default(),
            waits: None,
            sensors: Default::default(),
            tailgates: Budget::default(),
            strangers: Budget::default(),
            other_faces: Budget::default(),
            cooling: CoolDown::default(),
            denied: Denials::default(),
            shown: Shown::default(),
            counters: Counters::default(),
        }
    }

    /// Continues with what was known of the sensors and of the guard before a restart.
    pub fn resume(&mut self, now: Monotonic, sensors: [Health; 2], fallback: Option<Fallback>) {
        self.guarding.resume(fallback);
        self.sensors = sensors.map(|health| Sensor::resumed(health, now));
    }

    /// Returns the time at which [`Event::Tick`] is due, and the reason.
    pub fn timeout(&self) -> Option<(Monotonic, &'static str)> {
        let sensors = self.sensors.iter().filter(|_| self.mode != LaneMode::Free);
        let sensors = sensors.filter_map(Sensor::due).map(|at| (at, "a sensor is on for long"));
        let guard = self.guarding.due().map(|at| (at, "the fallback of the guard may be over"));
        self.state_timeout().into_iter().chain(sensors).chain(guard).min()
    }

    /// Returns whether the entry has fallen back to `watch`.
    pub fn fallback(&self) -> Option<Fallback> {
        self.guarding.fallback()
    }

    fn state_timeout(&self) -> Option<(Monotonic, &'static str)> {
        match &self.state {
            State::Idle => self.aside_due(),
            State::Committing { .. } => None,
            State::Releasing { deadline, .. } => {
                Some((*deadline + ANSWER_GRACE, "waits for the turnstile's answer"))
            }
            State::Open(open) => Some((open.until, "waits for a person to walk through")),
            State::Leaving { passage, .. } => {
                let due = passage.others.as_ref().and_then(Others::due);
                due.map(|at| (at, "waits for another face to be seen again"))
            }
            State::Closing { retry_at, .. } => {
                retry_at.map(|at| (at, "waits to record the outcome again"))
            }
        }
    }

    /// Returns whether a passage is under way.
    pub fn busy(&self) -> bool {
        !matches!(self.state, State::Idle) || self.aside.is_some()
    }

    /// Returns whether the next passage may begin: none is under way, or only one whose time is
    /// over.
    fn is_free(&self) -> bool {
        matches!(self.state, State::Idle) || self.in_grace()
    }

    /// Returns whether the time of a release is over, and a passage would still be its own.
    fn in_grace(&self) -> bool {
        matches!(self.state, State::Open(Open { late: true, .. }))
    }

    fn in_grace_of(&self, worker: &WorkerId, direction: Direction) -> bool {
        let State::Open(Open { passage, late: true, .. }) = &self.state else { return false };
        passage.worker.as_ref() == Some(worker) && passage.direction == direction
    }

    pub fn handle(&mut self, now: Monotonic, event: Event) -> Vec<Action> {
        match event {
            Event::Presented { what, fresh } => self.presented(now, what, fresh),
            Event::Asked { request, fresh } => self.asked(now, request, fresh),
            Event::Committed { passage, result } => self.committed(now, passage, result),
            Event::Closed { passage, result } => self.closed(now, passage, result),
            Event::DenialLost { worker, direction } => {
                self.denied.lost(now, &worker, direction);
                Vec::new()
            }
            Event::Turnstile(event) => self.turnstile(now, event),
            Event::Mode(mode) => self.mode(now, mode),
            Event::Tick => self.tick(now),
        }
    }

    /// Sets the mode. A passage under way goes on, except that an arm that stands open does not
    /// wait for a person.
    fn mode(&mut self, now: Monotonic, mode: LaneMode) -> Vec<Action> {
        if (self.mode == LaneMode::Free) != (mode == LaneMode::Free) {
            self.sensors.iter_mut().for_each(|sensor| sensor.out_of_sight(now, false));
        }
        self.mode = mode;
        if mode == LaneMode::Free {
            self.aside_stands_open(now);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(Open { passage, .. }) if mode == LaneMode::Free => {
                self.close(now, passage, Outcome::Unconfirmed, STANDS_OPEN)
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn committed(
        &mut self,
        now: Monotonic,
        id: PassageId,
        result: Result<(), String>,
    ) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Committing { mut passage, deadline } if passage.id == id => match result {
                Err(_) if !passage.manual => {
                    self.shown.not_through(passage.direction);
                    Vec::new()
                }
                Err(error) => {
                    let answer = Err(Refusal::ReleaseNotRecorded { error });
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
            State::Closing { passage, ended, retry_at } if passage.id == id => {
                if result.is_err() {
                    *retry_at = Some(now + RETRY);
                    let waited = self.waits.take().map(|(_, passage)| Action::Answer {
                        passage,
                        answer: Err(Refusal::PassageNotRecorded),
                    });
                    return Vec::from_iter(waited);
                }
                let answered = Answered {
                    released: passage.released,
                    outcome: ended.outcome,
                    detail: ended.detail.take().map(|d| d.to_string()).unwrap_or_default(),
                };
                let (manual, direction) = (passage.manual, passage.direction);
                let other = passage.other_face();
                self.state = State::Idle;
                let answer = Action::Answer { passage: id, answer: Ok(answered) };
                let mut actions = Vec::from_iter(manual.then_some(answer));
                actions
                    .extend(other.and_then(|other| self.other_face(now, (id, direction), &other)));
                actions.extend(match self.waits.take() {
                    Some((request, fresh)) => self.asked(now, request, fresh),
                    None => self.next(now),
                });
                actions
            }
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Monotonic) -> Vec<Action> {
        self.guarding.tick(now);
        if self.mode != LaneMode::Free {
            self.sensors.iter_mut().for_each(|sensor| sensor.tick(now));
        }
        if self.state_timeout().is_none_or(|(at, _)| now < at) {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Releasing { passage, .. } => {
                let detail = Detail::new("no_answer");
                self.close(now, passage, Outcome::Unconfirmed, detail)
            }
            State::Open(open) if open.late => {
                let ended = self.not_seen(now, &open);
                self.unseen(now, open, ended)
            }
            State::Open(open) => {
                self.begin_grace(now, open);
                Vec::new()
            }
            State::Leaving { passage, ended } => {
                self.cool(now, &passage, true);
                self.end(now, passage, ended)
            }
            State::Closing { passage, ended, .. } => {
                let close = ended.action(passage.id);
                self.state = State::Closing { passage, ended, retry_at: None };
                vec![close]
            }
            State::Idle => self.close_aside(now),
            state @ State::Committing { .. } => {
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
        self.cool(now, &passage, outcome != Outcome::NotPassed);
        self.end(now, passage, Ended { outcome, detail: detail.into(), flags: Vec::new() })
    }

    fn end(&mut self, now: Monotonic, passage: Passage, mut ended: Ended) -> Vec<Action> {
        if passage.released {
            self.released[passage.direction as usize] = Some((passage.id, now));
        }
        if passage.other_face().is_some() {
            ended.flags.push(Flag::OTHER_FACE);
        }
        let close = ended.action(passage.id);
        self.state = State::Closing { passage, ended, retry_at: None };
        vec![close]
    }

    /// Begins the cool-down of a passage's worker. `went`: the worker went through, as far as is
    /// known.
    fn cool(&mut self, now: Monotonic, passage: &Passage, went: bool) {
        // The passage may be that of the person before the one for whom the guard is asked.
        let is_asked = |asked: &WorkerId| match &passage.worker {
            Some(worker) => worker == asked,
            None => passage.manual,
        };
        let asked = self.guarding.asked(now).is_some_and(|(asked, _)| is_asked(&asked.person.id));
        if went && asked && passage.direction == Direction::Entry {
            self.guarding.went();
        }
        self.cooling.begin(now, passage, went, self.rules.cool_down);
        if !went {
            self.shown.not_through(passage.direction);
        }
    }
}

#[cfg(test)]
mod tests;
