//! Recent denials: a repeated denial is recorded once.
//!
//! The denials of workers are kept apart, so that strangers' pictures never displace them.

use std::{collections::VecDeque, time::Duration};

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

/// Maximum number of recent denials without a worker; the oldest is dropped.
pub(super) const MOST: usize = 16;
/// Maximum number of recent denials of workers; the oldest is dropped. More workers than this do
/// not come to one lane within [`WORKER_AGAIN`].
pub(super) const WORKERS: usize = 1024;
/// Interval between two recorded denials of a worker for one reason.
pub(super) const WORKER_AGAIN: Duration = Duration::from_secs(10 * 60);
/// Interval before a worker's denial that could not be recorded is tried again.
const LOST_AGAIN: Duration = Duration::from_secs(10);

/// The key of a repeated denial without a worker.
#[derive(Debug, PartialEq)]
enum Denied {
    Visit(u64),
    /// A card.
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

/// A denial of a worker, by face or by card.
#[derive(Debug)]
struct WorkerDenial {
    worker: WorkerId,
    direction: Direction,
    reason: Reason,
    until: Monotonic,
}

impl WorkerDenial {
    fn is_of(&self, worker: &WorkerId, direction: Direction) -> bool {
        self.direction == direction && self.worker == *worker
    }
}

#[derive(Debug, Default)]
pub(super) struct Denials {
    others: VecDeque<Denial>,
    workers: VecDeque<WorkerDenial>,
}

impl Denials {
    /// Remembers a denial. Returns whether it repeats a recent one.
    pub(super) fn repeats(&mut self, claim: &Claim, reason: Reason) -> bool {
        let denied = match (&claim.who, claim.visit) {
            (Ok(worker), _) => return self.repeats_worker(&worker.person.id, claim, reason),
            (Err(_), Some(visit)) => Denied::Visit(visit),
            (Err(_), None) => Denied::Shown(claim.evidence.clone()),
        };
        let denied = (claim.direction, reason, denied);
        let before = self.others.iter().position(|before| before.denied == denied);
        let known_until = before.and_then(|at| self.others.remove(at)).map(|before| before.until);
        if self.others.len() >= MOST {
            self.others.pop_front();
        }
        let until = known_until.max(Some(claim.captured + GAP_UNSEARCHED)).unwrap_or_default();
        self.others.push_back(Denial { denied, visit: claim.visit, until });
        known_until.is_some_and(|until| claim.captured <= until)
    }

    fn repeats_worker(&mut self, worker: &WorkerId, claim: &Claim, reason: Reason) -> bool {
        let (direction, at) = (claim.direction, claim.captured);
        self.workers.retain(|denial| at <= denial.until);
        let same = |d: &WorkerDenial| d.reason == reason && d.is_of(worker, direction);
        if self.workers.iter().any(same) {
            return true;
        }
        if self.workers.len() >= WORKERS {
            self.workers.pop_front();
        }
        let (worker, until) = (worker.clone(), at + WORKER_AGAIN);
        self.workers.push_back(WorkerDenial { worker, direction, reason, until });
        false
    }

    /// A worker's denial was not recorded: the next one is recorded sooner.
    pub(super) fn lost(&mut self, now: Monotonic, worker: &WorkerId, direction: Direction) {
        for denial in self.workers.iter_mut().filter(|denial| denial.is_of(worker, direction)) {
            denial.until = denial.until.min(now + LOST_AGAIN);
        }
    }

    /// Extends the denials of this visit: the person is still before the camera.
    pub(super) fn extend(&mut self, sighting: &Sighting) {
        let (place, at) = ((sighting.direction, Some(sighting.visit)), sighting.captured);
        let gap = sighting.pace.gap_unsearched();
        let later = gap.saturating_sub(GAP_UNSEARCHED);
        let same = |denial: &&mut Denial| denial.place() == place && at <= denial.until + later;
        for denial in self.others.iter_mut().filter(same) {
            denial.until = denial.until.max(at + gap);
        }
    }

    /// Forgets the denials of a granted worker, and of the claim's visit: the next denial is a new
    /// one. A card belongs to no visit, and its grant says nothing of other cards.
    pub(super) fn granted(&mut self, claim: &Claim) {
        let granted = (claim.direction, claim.visit);
        self.others.retain(|denial| denial.visit.is_none() || denial.place() != granted);
        if let Ok(worker) = &claim.who {
            self.workers.retain(|denial| !denial.is_of(&worker.person.id, claim.direction));
        }
    }
}
