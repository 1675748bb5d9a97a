//! Decides on a request for a manual release.

use super::{Action, DECISION_LIFE, Machine, Passage, State};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::claim::ManualRelease,
    ledger::{Evidence, GuardRelease, LaneMode},
    turnstile::PassageId,
};

pub(super) const NOT_RECORDED: &str =
    "the last passage cannot be recorded, so the lane releases nothing; see `gatehouse status`";

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
        let problem = match &self.state {
            _ if now > deadline => {
                self.counters.void += 1;
                Some("void: the request reached the lane after its deadline")
            }
            State::Closing { retry_at: Some(_), .. } => Some(NOT_RECORDED),
            _ if self.is_free() && closed => {
                Some("the lane is closed for entry; `gatehouse lane mode` opens it")
            }
            _ if self.is_free() && !self.aside_blocks(now, request.direction) => None,
            _ => Some("another passage through this lane is under way; ask again"),
        };
        if let Some(problem) = problem {
            return vec![Action::Answer { passage: fresh, answer: Err(problem.to_owned()) }];
        }
        if self.in_grace() {
            self.waits = Some((request, fresh));
            return self.give_way(now);
        }
        let passage = Passage {
            id: fresh,
            direction: request.direction,
            worker: request.person.as_ref().map(|p| p.id.clone()),
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
            person: request.person,
            reason: request.reason,
            evidence: vec![Evidence::Guard(request.by)],
            flags: Vec::new(),
        };
        vec![Action::Commit { passage: fresh, body: release.into(), photo: None }]
    }
}
