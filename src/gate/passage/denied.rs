//! Denials of a moment ago: one that repeats is recorded once.

use std::collections::VecDeque;

use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{
        claim::{Claim, Sighting},
        policy::Reason,
        visit::GAP_UNSEARCHED,
    },
    ledger::Evidence,
    roster::WorkerId,
};

/// Maximum number of denials that are remembered; the oldest goes.
pub(super) const MOST: usize = 16;

/// By what a denial is known again.
#[derive(Debug, PartialEq)]
enum Denied {
    /// By whatever means.
    Worker(WorkerId),
    Visit(u64),
    Shown(Vec<Evidence>),
}

#[derive(Debug)]
struct Denial {
    denied: (Direction, Reason, Denied),
    visit: Option<u64>,
    /// The same one until then is a repetition.
    until: Monotonic,
}

impl Denial {
    fn place(&self) -> (Direction, Option<u64>) {
        (self.denied.0, self.visit)
    }
}

#[derive(Debug, Default)]
pub(super) struct Denials(VecDeque<Denial>);

impl Denials {
    /// Takes note of a denial. Returns whether it repeats one of a moment ago.
    pub(super) fn repeats(&mut self, claim: &Claim, reason: Reason) -> bool {
        let denied = match (&claim.who, claim.visit) {
            (Ok(worker), _) => Denied::Worker(worker.person.id.clone()),
            (Err(_), Some(visit)) => Denied::Visit(visit),
            (Err(_), None) => Denied::Shown(claim.evidence.clone()),
        };
        let denied = (claim.direction, reason, denied);
        let before = self.0.iter().position(|before| before.denied == denied);
        let known_until = before.and_then(|at| self.0.remove(at)).map(|before| before.until);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        let until = known_until.max(Some(claim.captured + GAP_UNSEARCHED)).unwrap_or_default();
        self.0.push_back(Denial { denied, visit: claim.visit, until });
        known_until.is_some_and(|until| claim.captured <= until)
    }

    /// Who was denied and still is before the camera makes the same visit.
    pub(super) fn linger(&mut self, sighting: &Sighting) {
        let (place, at) = ((sighting.direction, Some(sighting.visit)), sighting.captured);
        for denial in
            self.0.iter_mut().filter(|denial| denial.place() == place && at <= denial.until)
        {
            denial.until = denial.until.max(at + GAP_UNSEARCHED);
        }
    }

    /// The claim was granted: a denial of the same visit is a new one from then on.
    pub(super) fn granted(&mut self, claim: &Claim) {
        self.0.retain(|denial| denial.place() != (claim.direction, claim.visit));
    }
}
