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
mod taken;
mod yielding;

use std::time::Duration;

use self::{
    budget::Budget,
    cooling::CoolDown,
    denied::Denials,
    looks::Undecided,
    others::{OTHER_FACES, Others},
    yielding::Aside,
};
pub use self::{
    events::{Action, Answered, Counters, Event, Rules},
    taken::Taken,
};
use super::{
    claim::{Claim, ManualRelease},
    policy::Reason,
    visit::Visit,
};
use crate::{
    clock::Monotonic,
    config::Direction,
    ledger::{Detail, Evidence, Flag, GuardRelease, LaneMode, Outcome, Tailgate},
    roster::WorkerId,
    turnstile::{NotReleased, PassageId, Release, TurnstileEvent},
};

/// Maximum time from the deciding frame to the release. A later release is void: the worker has
/// moved on, and another person may stand there.
pub const DECISION_LIFE: Duration = Duration::from_secs(3);
/// Timeout after a release's deadline for the answer of the turnstile task.
const ANSWER_GRACE: Duration = Duration::from_millis(1500);
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
    /// The flags of the outcome.
    flags: Vec<Flag>,
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
    /// The arm is free. `lost_sight`: the controller was disconnected for some of the time.
    Open {
        passage: Passage,
        until: Monotonic,
        lost_sight: bool,
    },
    /// A person went through, and another face was there before: is it still there?
    Leaving {
        passage: Passage,
    },
    Closing {
        passage: Passage,
        outcome: Outcome,
        detail: Option<Detail>,
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
    /// In a lane that stands open, for each direction the claim that came while another passage was
    /// being recorded. There, a worker does not wait for another sighting.
    next: [Option<(Claim, PassageId)>; 2],
    tailgates: Budget<TAILGATES>,
    /// The recorded denials without a worker.
    strangers: Budget<STRANGERS>,
    /// The recorded events of other faces.
    other_faces: Budget<OTHER_FACES>,
    cooling: CoolDown,
    denied: Denials,
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
            aside: None,
            visits: Default::default(),
            undecided: Default::default(),
            taken: None,
            released: Default::default(),
            next: Default::default(),
            tailgates: Budget::default(),
            strangers: Budget::default(),
            other_faces: Budget::default(),
            cooling: CoolDown::default(),
            denied: Denials::default(),
            counters: Counters::default(),
        }
    }

    /// Returns the time at which [`Event::Tick`] is due, and the reason.
    pub fn timeout(&self) -> Option<(Monotonic, &'static str)> {
        match &self.state {
            State::Idle => self.aside_due(),
            State::Committing { .. } => None,
            State::Releasing { deadline, .. } => {
                Some((*deadline + ANSWER_GRACE, "waits for the turnstile's answer"))
            }
            State::Open { until, .. } => Some((*until, "waits for a person to walk through")),
            State::Leaving { passage } => {
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
        self.mode = mode;
        if mode == LaneMode::Free {
            self.aside_stands_open(now);
        }
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

    fn asked(&mut self, now: Monotonic, request: ManualRelease, fresh: PassageId) -> Vec<Action> {
        let life = now + DECISION_LIFE;
        let deadline = request.void_after.map_or(life, |void_after| life.min(void_after));
        let closed = self.mode == LaneMode::Closed && request.direction == Direction::Entry;
        let problem = match &self.state {
            _ if now > deadline => {
                self.counters.void += 1;
                Some("void: the request reached the lane after its deadline")
            }
            State::Closing { retry_at: Some(_), .. } => Some(
                "the last passage cannot be recorded, so the lane releases nothing; see `gatehouse status`",
            ),
            State::Idle if closed => {
                Some("the lane is closed for entry; `gatehouse lane mode` opens it")
            }
            State::Idle if !self.aside_blocks(now, request.direction) => None,
            _ => Some("another passage through this lane is under way; ask again"),
        };
        if let Some(problem) = problem {
            return vec![Action::Answer { passage: fresh, answer: Err(problem.to_owned()) }];
        }
        let passage = Passage {
            id: fresh,
            direction: request.direction,
            worker: request.person.as_ref().map(|p| p.id.clone()),
            visit: None,
            manual: true,
            released: false,
            others: None,
            flags: Vec::new(),
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
        vec![Action::Commit { passage: fresh, body: release.into(), photo: None }]
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
                    let answer =
                        Err(format!("not released: the release cannot be recorded: {error}"));
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
                let (manual, direction) = (passage.manual, passage.direction);
                let other = passage.other_face();
                self.state = State::Idle;
                let answer = Action::Answer { passage: id, answer: Ok(answered) };
                let mut actions = Vec::from_iter(manual.then_some(answer));
                actions
                    .extend(other.and_then(|other| self.other_face(now, (id, direction), &other)));
                actions.extend(self.next(now));
                actions
            }
            _ => Vec::new(),
        }
    }

    fn turnstile(&mut self, now: Monotonic, event: TurnstileEvent) -> Vec<Action> {
        if matches!(event, TurnstileEvent::Down { .. }) {
            self.aside_lost_sight();
        }
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
            (State::Open { passage, .. }, TurnstileEvent::Passed { direction, at })
                if passage.direction == direction =>
            {
                self.went(now, at, passage)
            }
            (State::Open { passage, until, .. }, TurnstileEvent::Down { .. }) => {
                self.state = State::Open { passage, until, lost_sight: true };
                Vec::new()
            }
            (state, TurnstileEvent::Passed { direction, at }) => {
                self.state = state;
                if self.aside_passed(at, direction) {
                    return Vec::new();
                }
                self.tailgate(now, direction)
            }
            (state, _) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    /// Counts a tailgate, and records it if there were not too many.
    fn tailgate(&mut self, now: Monotonic, direction: Direction) -> Vec<Action> {
        if self.mode == LaneMode::Free {
            return Vec::new();
        }
        self.counters.tailgates += 1;
        if !self.tailgates.spend(now) {
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
            State::Leaving { passage } => self.close(now, passage, Outcome::Passed, None),
            State::Closing { passage, outcome, detail, .. } => {
                let close = passage.close(outcome, detail.clone());
                self.state = State::Closing { passage, outcome, detail, retry_at: None };
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
        mut passage: Passage,
        outcome: Outcome,
        detail: impl Into<Option<Detail>>,
    ) -> Vec<Action> {
        let went = outcome != Outcome::NotPassed;
        self.cooling.begin(now, &passage, went, self.rules.cool_down);
        if passage.released {
            self.released[passage.direction as usize] = Some((passage.id, now));
        }
        if passage.other_face().is_some() {
            passage.flags.push(Flag::OTHER_FACE);
        }
        let detail = detail.into();
        let close = passage.close(outcome, detail.clone());
        self.state = State::Closing { passage, outcome, detail, retry_at: None };
        vec![close]
    }
}

impl Passage {
    fn close(&self, outcome: Outcome, detail: Option<Detail>) -> Action {
        Action::Close { passage: self.id, outcome, detail, flags: self.flags.clone() }
    }
}

#[cfg(test)]
mod tests;
