//! Decides on a claim of a camera or of a reader: a grant, a denial, or nothing.

use std::sync::Arc;

use super::{Action, DECISION_LIFE, Machine, Others, Passage, State, Taken};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{
        claim::{Claim, Presented},
        guarding::Guarded,
        policy::{self, Reason},
    },
    ledger::{Denial, Grant, LaneMode, SeveralCards},
    roster::Worker,
    turnstile::PassageId,
};

/// The result for a sighting or a claim, and its actions.
pub(super) type Decided = (Taken, Vec<Action>);

pub(super) fn nothing(taken: Taken) -> Decided {
    (taken, Vec::new())
}

impl Machine {
    pub(super) fn presented(
        &mut self,
        now: Monotonic,
        presented: Presented,
        fresh: PassageId,
    ) -> Vec<Action> {
        if let Presented::NoFace { direction, captured } = presented {
            return self.follow(now, direction, |others| others.no_face(captured));
        }
        let (taken, actions) = if now.since(presented.captured()) > DECISION_LIFE {
            self.counters.stale += 1;
            nothing(Taken::Stale)
        } else {
            match presented {
                Presented::Look(sighting) => {
                    let look = |others: &mut Others| others.look(&sighting);
                    let mut actions = self.follow(now, sighting.direction, look);
                    let (taken, more) = self.look(now, &sighting, fresh);
                    if taken == Taken::Granted {
                        self.watches(&sighting);
                    }
                    actions.extend(more);
                    (taken, actions)
                }
                Presented::Claim(claim) => self.card(now, claim, fresh),
                Presented::NoFace { .. } => nothing(Taken::Busy),
            }
        };
        self.taken = Some(taken);
        actions
    }

    /// Takes a claim of a reader. A card that stays there is granted once.
    fn card(&mut self, now: Monotonic, claim: Claim, fresh: PassageId) -> Decided {
        if claim.direction == Direction::Entry {
            self.guarding.another(claim.who.as_ref().ok().map(|worker| &worker.person.id));
        }
        let (repeats, lent) = self.shown.shows(&claim);
        if repeats {
            return nothing(Taken::CoolingDown);
        }
        let event = (lent && self.mode != LaneMode::Free).then(|| SeveralCards {
            lane: self.rules.lane.clone(),
            direction: claim.direction,
            person: claim.who.as_ref().ok().map(|worker| worker.person.clone()),
            evidence: claim.evidence.clone(),
        });
        let shown = claim.clone();
        let (taken, mut actions) = self.decide(now, claim, fresh);
        if taken == Taken::Granted {
            self.shown.granted(&shown);
        }
        // The next passage may be this one's.
        let waits = self.next[shown.direction as usize]
            .as_ref()
            .is_some_and(|(next, _)| next.captured == shown.captured);
        self.counters.cards_busy += u64::from(taken == Taken::Busy && !waits);
        actions.extend(event.map(|event| Action::SeveralCards { body: event.into() }));
        (taken, actions)
    }

    pub(super) fn decide(&mut self, now: Monotonic, mut claim: Claim, fresh: PassageId) -> Decided {
        let (direction, captured) = (claim.direction, claim.captured);
        if let Ok(worker) = &claim.who
            && self.cooling.holds(now, &worker.person.id, (direction, claim.visit), captured)
        {
            return nothing(Taken::CoolingDown);
        }
        let may_begin =
            !self.aside_blocks(now, direction) && (self.is_free() || self.yields(now, &claim));
        if !may_begin {
            if self.mode == LaneMode::Free && claim.who.is_ok() {
                self.next[direction as usize] = Some((claim, fresh));
            }
            return nothing(Taken::Busy);
        }
        let (mode, training) = (self.mode, self.rules.require_training);
        let decision = claim.who.clone().and_then(|worker| {
            policy::decide(&worker, direction, mode, claim.today, training)?;
            let beside = claim.face.as_ref().map(|face| {
                let seen = face.seen.as_ref().map(|(_, likeness)| *likeness);
                policy::beside(face.rule, (direction, mode), seen)
            });
            claim.flags.extend(beside.transpose()?.flatten());
            Ok(worker)
        });
        match decision {
            // A worker who stays has not walked yet, and may still walk late.
            Ok(worker) if self.in_grace_of(&worker.person.id, direction) => nothing(Taken::Busy),
            Ok(worker) => match self.guarded(now, &claim, &worker) {
                Guarded::Waits => nothing(Taken::Judging),
                Guarded::Asks { first } => self.ask_guard(now, claim, &worker, first),
                // The outcome of the release before it comes first.
                Guarded::Passes if self.in_grace() => {
                    self.next[direction as usize] = Some((claim, fresh));
                    (Taken::Busy, self.give_way(now))
                }
                Guarded::Passes => self.grant(now, claim, &worker, fresh),
            },
            Err(_) if mode == LaneMode::Free => nothing(Taken::Free),
            Err(reason) => self.deny(now, claim, reason),
        }
    }

    /// Decides on the living face of a claim. I15: no exit is denied. A lane that stands open asks no
    /// guard.
    fn guarded(&mut self, now: Monotonic, claim: &Claim, worker: &Arc<Worker>) -> Guarded {
        if claim.direction == Direction::Exit || self.mode == LaneMode::Free {
            return Guarded::Passes;
        }
        self.guarding.judge(now, claim, worker)
    }

    /// Leaves a visit to the guard: tells the guard, and records the denial.
    fn ask_guard(
        &mut self,
        now: Monotonic,
        claim: Claim,
        worker: &Arc<Worker>,
        first: bool,
    ) -> Decided {
        let worker = worker.person.id.clone();
        let asks = first.then_some(Action::AskGuard { worker });
        let (_, denies) = self.deny(now, claim, Reason::NotJudged);
        (Taken::AsksGuard, asks.into_iter().chain(denies).collect())
    }

    fn grant(
        &mut self,
        now: Monotonic,
        claim: Claim,
        worker: &Arc<Worker>,
        fresh: PassageId,
    ) -> Decided {
        if claim.direction == Direction::Entry {
            self.guarding.granted(now, &claim);
        }
        self.denied.granted(&claim);
        let person = worker.person.clone();
        let passage = Passage {
            id: fresh,
            direction: claim.direction,
            worker: Some(person.id.clone()),
            visit: claim.visit,
            manual: false,
            released: false,
            others: None,
        };
        self.state = State::Committing { passage, deadline: claim.captured + DECISION_LIFE };
        let grant = Grant {
            passage: fresh,
            lane: self.rules.lane.clone(),
            direction: claim.direction,
            person,
            evidence: claim.all_evidence(),
            flags: claim.flags,
            roster: claim.roster_version,
            photo: claim.photo.as_ref().map(|photo| photo.sha256),
        };
        let (passage, body) = (fresh, grant.into());
        let (photo, code) = (claim.photo, claim.code);
        (Taken::Granted, vec![Action::Commit { passage, body, photo, code }])
    }

    /// Denies a claim. A repeated denial is recorded once. Denials without a worker have a budget;
    /// a worker's denial is that worker's proof, and has none.
    pub(super) fn deny(&mut self, now: Monotonic, claim: Claim, reason: Reason) -> Decided {
        if self.denied.repeats(&claim, reason) {
            return nothing(Taken::DeniedBefore(reason));
        }
        self.counters.unknown_faces += u64::from(reason == Reason::UnknownFace);
        if claim.who.is_err() && !self.strangers.spend(now) {
            self.counters.denials_unrecorded += 1;
            return nothing(Taken::Denied(reason));
        }
        let denial = Denial {
            lane: self.rules.lane.clone(),
            direction: claim.direction,
            reason: reason.to_string(),
            evidence: claim.all_evidence(),
            person: claim.who.ok().map(|worker| worker.person.clone()),
            flags: Vec::new(),
        };
        (Taken::Denied(reason), vec![Action::Deny { body: denial.into() }])
    }

    /// Decides on a claim that waited for the end of the passage before it.
    pub(super) fn next(&mut self, now: Monotonic) -> Vec<Action> {
        match self.next.iter_mut().find_map(Option::take) {
            Some((claim, fresh)) if now.since(claim.captured) <= DECISION_LIFE => {
                self.decide(now, claim, fresh).1
            }
            _ => Vec::new(),
        }
    }
}
