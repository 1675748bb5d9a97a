//! Decides on a request for a manual release.

use super::{Action, DECISION_LIFE, Machine, Passage, State};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{Refusal, claim::ManualRelease},
    ledger::{Evidence, GuardRelease, LaneMode, Via},
    turnstile::PassageId,
};

impl Machine {
    pub(super) fn asked(
        &mut self,
        now: Monotonic,
        request: ManualRelease,
        fresh: PassageId,
    ) -> Vec<Action> {
        let life = now + DECISION_LIFE;
        let deadline = request.void_after.map_or(life, |void_after| life.min(void_after));
        let closed = self.mode == LaneMode::Closed && request.direction == Direction::Entry;
        let refusal = match &self.state {
            _ if now > deadline => {
                self.counters.void += 1;
                Some(Refusal::Void)
            }
            State::Closing { retry_at: Some(_), .. } => Some(Refusal::PassageNotRecorded),
            _ if self.is_free() && closed => Some(Refusal::ClosedForEntry),
            _ if self.is_free() && !self.aside_blocks(now, request.direction) => None,
            _ => Some(Refusal::PassageUnderWay),
        };
        if let Some(refusal) = refusal {
            return vec![Action::Answer { passage: fresh, answer: Err(refusal) }];
        }
        if self.in_grace() {
            self.waits = Some((request, fresh));
            return self.give_way(now);
        }
        // A guard's button names no worker. It is pressed for the worker for whom the guard is asked.
        let pressed = request.by.via == Via::Button && request.direction == Direction::Entry;
        let asked = self.guarding.asked(now).filter(|_| pressed);
        let (person, evidence) = match asked {
            Some((worker, evidence)) => (Some(worker.person.clone()), evidence.to_vec()),
            None => (request.person, Vec::new()),
        };
        let passage = Passage {
            id: fresh,
            direction: request.direction,
            worker: person.as_ref().map(|p| p.id.clone()),
            visit: None,
            manual: true,
            released: false,
            others: None,
        };
        self.state = State::Committing { passage, deadline };
        let release = GuardRelease {
            passage: fresh,
            lane: self.rules.lane.clone(),
            direction: request.direction,
            person,
            reason: request.reason,
            evidence: [Evidence::Guard(request.by)].into_iter().chain(evidence).collect(),
            flags: Vec::new(),
        };
        vec![Action::Commit { passage: fresh, body: release.into(), photo: None, code: None }]
    }
}
