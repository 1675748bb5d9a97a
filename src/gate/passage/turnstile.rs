//! Takes the turnstile's events: releases, passages, and passages without a release.

use super::{Action, Machine, State, outcome::Open};
use crate::{
    clock::Monotonic,
    config::Direction,
    ledger::{Detail, LaneMode, Outcome, Tailgate},
    turnstile::{NotReleased, PassageId, TurnstileEvent},
};

impl Machine {
    pub(super) fn turnstile(&mut self, now: Monotonic, event: TurnstileEvent) -> Vec<Action> {
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
                self.state = State::Open(Open::new(passage, until));
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
            (State::Open(open), TurnstileEvent::Passed { direction, at })
                if open.passage.direction == direction =>
            {
                self.passed(now, at, open)
            }
            (state, TurnstileEvent::Passed { direction, at }) => {
                self.state = state;
                if self.aside_passed(now, at, direction) {
                    return Vec::new();
                }
                self.tailgate(now, direction)
            }
            (state, event) => {
                self.state = state;
                self.sensed(now, &event);
                Vec::new()
            }
        }
    }

    /// Counts a tailgate, and records it if there were not too many.
    pub(super) fn tailgate(&mut self, now: Monotonic, direction: Direction) -> Vec<Action> {
        if self.mode == LaneMode::Free {
            return Vec::new();
        }
        self.sensors[direction as usize].strayed(now);
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
}
