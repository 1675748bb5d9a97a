//! An open arm through which no one walks yields to the other side.
//!
//! A worker who stays before the camera would else keep the arm from the people on the other side.
//! The passage is put aside, and the other side has its release. The passage put aside keeps its
//! time: a person who walks in its direction still is that worker. Until its outcome is recorded,
//! no one else is granted in its direction, so there are never two people on one grant.

use std::time::Duration;

use super::{Action, Ended, GRACE, Machine, Open, Others, STANDS_OPEN, State};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{claim::Claim, policy},
    ledger::{Detail, Outcome},
};

/// Minimum time for which an arm is open before it yields, so that two people who meet do not take
/// the arm from each other.
pub(super) const YIELDS_AFTER: Duration = Duration::from_millis(2500);

/// A passage that yielded.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) open: Open,
    /// Time from which the outcome is recorded, as soon as the lane is idle. After another face it is
    /// later.
    until: Monotonic,
    /// The outcome, if it is known before its time.
    ended: Option<Ended>,
}

impl Aside {
    fn due(&self) -> Monotonic {
        self.open.passage.others.as_ref().and_then(Others::due).unwrap_or(self.until)
    }
}

impl Machine {
    /// Returns whether a passage put aside keeps a claim of this direction from a grant.
    pub(super) fn aside_blocks(&self, now: Monotonic, direction: Direction) -> bool {
        self.aside
            .as_ref()
            .is_some_and(|aside| aside.open.passage.direction == direction || aside.due() <= now)
    }

    /// Puts the passage of an open arm aside, if the claim comes from the other side and would be
    /// granted. A guard's release does not yield. Returns whether the lane is idle now.
    pub(super) fn yields(&mut self, now: Monotonic, claim: &Claim) -> bool {
        let State::Open(Open { passage, until, late: false, .. }) = &self.state else {
            return false;
        };
        let open_for = self.rules.pass_within.saturating_sub(until.since(now));
        let may_yield = open_for >= YIELDS_AFTER
            && passage.direction != claim.direction
            && !passage.manual
            && self.aside.is_none();
        let training = self.rules.require_training;
        let is_grant = claim.who.as_ref().is_ok_and(|worker| {
            policy::decide(worker, claim.direction, self.mode, claim.today, training).is_ok()
        });
        if !(may_yield && is_grant) {
            return false;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(open) => {
                self.aside = Some(Aside { until: open.until + GRACE, open, ended: None });
                true
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    /// Takes a passage for the passage put aside. Returns whether it was in that direction.
    pub(super) fn aside_passed(
        &mut self,
        now: Monotonic,
        at: Monotonic,
        direction: Direction,
    ) -> bool {
        let is_its =
            |aside: &mut Aside| aside.open.passage.direction == direction && aside.ended.is_none();
        let Some(mut aside) = self.aside.take_if(is_its) else { return false };
        aside.open.late = at >= aside.open.until;
        aside.open.passage.passed(at);
        aside.ended = Some(self.seen(now, &aside.open));
        aside.until = at;
        self.aside = Some(aside);
        true
    }

    /// Ends the wait of the passage put aside, because the arm stands open.
    pub(super) fn aside_stands_open(&mut self, now: Monotonic) {
        if let Some(aside) = self.aside.as_mut().filter(|aside| aside.ended.is_none()) {
            let (outcome, detail) = (Outcome::Unconfirmed, Some(STANDS_OPEN));
            let ended = Ended { outcome, detail, flags: Vec::new() };
            (aside.until, aside.ended) = (now, Some(ended));
        }
    }

    /// Returns the time at which the outcome of the passage put aside is due.
    pub(super) fn aside_due(&self) -> Option<(Monotonic, &'static str)> {
        let due = |aside: &Aside| (aside.due(), "waits for a person whose arm has yielded");
        self.aside.as_ref().map(due)
    }

    /// Closes the passage put aside, if it is due and the lane is idle.
    pub(super) fn close_aside(&mut self, now: Monotonic) -> Vec<Action> {
        let Some(aside) = self.aside.take_if(|aside| aside.due() <= now) else { return Vec::new() };
        let Aside { open, ended, .. } = aside;
        if let Some(ended) = ended {
            self.cool(now, &open.passage, true);
            return self.end(now, open.passage, ended);
        }
        self.was_silent(now, &open);
        let mut ended = self.not_seen(now, &open);
        if ended.outcome == Outcome::NotPassed {
            ended.detail = Some(Detail::new("yielded"));
        }
        self.cool(now, &open.passage, open.may_have_gone(now, &ended));
        self.end(now, open.passage, ended)
    }
}
