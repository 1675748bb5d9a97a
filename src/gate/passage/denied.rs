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

#[derive(Debug)]
struct Denied {
    direction: Direction,
    reason: Reason,
    person: Option<WorkerId>,
    visit: Option<u64>,
    evidence: Vec<Evidence>,
    /// The same claim until then is a repetition.
    until: Monotonic,
}

impl Denied {
    fn of(claim: &Claim, reason: Reason) -> Denied {
        Denied {
            direction: claim.direction,
            reason,
            person: claim.who.as_ref().ok().map(|worker| worker.person.id.clone()),
            visit: claim.visit,
            evidence: claim.evidence.clone(),
            until: claim.captured + GAP_UNSEARCHED,
        }
    }

    /// Of a worker, by whatever means; of no worker, in the same visit or by the same card.
    fn is_same(&self, other: &Denied) -> bool {
        let claims = (self.direction, self.reason, &self.person)
            == (other.direction, other.reason, &other.person);
        let presented = match self.visit {
            Some(_) => self.visit == other.visit,
            None => self.evidence == other.evidence,
        };
        claims && (self.person.is_some() || presented)
    }
}

#[derive(Debug, Default)]
pub(super) struct Denials(VecDeque<Denied>);

impl Denials {
    /// Takes note of a denial. Returns whether it repeats one of a moment ago.
    pub(super) fn repeats(&mut self, claim: &Claim, reason: Reason) -> bool {
        let denied = Denied::of(claim, reason);
        let before = self.0.iter().position(|before| before.is_same(&denied));
        let until = before.and_then(|at| self.0.remove(at)).map(|before| before.until);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        let repeats = until.is_some_and(|until| claim.captured <= until);
        self.0.push_back(Denied { until: denied.until.max(until.unwrap_or_default()), ..denied });
        repeats
    }

    /// Who was denied and still is before the camera makes the same visit.
    pub(super) fn linger(&mut self, sighting: &Sighting) {
        for denied in &mut self.0 {
            let same =
                denied.direction == sighting.direction && denied.visit == Some(sighting.visit);
            if same && sighting.captured <= denied.until {
                denied.until = denied.until.max(sighting.captured + GAP_UNSEARCHED);
            }
        }
    }

    /// The claim was granted: a denial of the same visit is a new one from then on.
    pub(super) fn granted(&mut self, claim: &Claim) {
        self.0.retain(|d| (d.direction, d.visit) != (claim.direction, claim.visit));
    }
}
