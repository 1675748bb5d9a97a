//! Recent denials: a repeated denial is recorded once.

use std::collections::VecDeque;

use crate::{
    clock::Monotonic,
    config::Direction,
    gate::{
        claim::{Claim, Sighting},
        pace::GAP_UNSEARCHED,
        policy::Reason,
    },
    ledger::Evidence,
    roster::WorkerId,
};

/// Maximum number of recent denials; the oldest is dropped.
pub(super) const MOST: usize = 16;

/// The key of a repeated denial.
#[derive(Debug, PartialEq)]
enum Denied {
    /// A worker, by face or by card.
    Worker(WorkerId),
    /// A visit without a worker.
    Visit(u64),
    /// A card without a worker.
    Shown(Vec<Evidence>),
}

#[derive(Debug)]
struct Denial {
    denied: (Direction, Reason, Denied),
    visit: Option<u64>,
    /// The same denial until this time is a repetition.
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
    /// Remembers a denial. Returns whether it repeats a recent one.
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

    /// Extends the denials of this visit: the person is still before the camera.
    pub(super) fn extend(&mut self, sighting: &Sighting) {
        let (place, at) = ((sighting.direction, Some(sighting.visit)), sighting.captured);
        let gap = sighting.pace.gap_unsearched();
        let later = gap.saturating_sub(GAP_UNSEARCHED);
        let same = |denial: &&mut Denial| denial.place() == place && at <= denial.until + later;
        for denial in self.0.iter_mut().filter(same) {
            denial.until = denial.until.max(at + gap);
        }
    }

    /// Forgets the denials of a granted claim's visit: the next denial of the visit is a new one. A
    /// card belongs to no visit, and its grant says nothing of other cards.
    pub(super) fn granted(&mut self, claim: &Claim) {
        let granted = (claim.direction, claim.visit);
        self.0.retain(|denial| denial.visit.is_none() || denial.place() != granted);
    }
}
