//! Sightings of faces: from sightings to a claim, and the denial of a face without a decision.

use std::time::Duration;

use super::{
    Machine, Taken,
    claims::{Decided, nothing},
};
use crate::{
    clock::Monotonic,
    gate::{
        claim::{Beside, Claim, Sighting},
        policy::Reason,
        visit::Verdict,
    },
    ledger::LaneMode,
    turnstile::{Direction, PassageId},
};

/// Timeout after which a face without a decision is denied, in at least [`UNDECIDED_LOOKS`] looks.
/// Its looks name no worker twice in a row, or each belongs to another visit.
const UNDECIDED_FOR: Duration = Duration::from_secs(5);
const UNDECIDED_LOOKS: u32 = 8;
/// Interval between two denials of this kind on one side.
const DENIED_EVERY: Duration = Duration::from_secs(30);

impl Machine {
    pub(super) fn look(
        &mut self,
        now: Monotonic,
        sighting: &Sighting,
        fresh: PassageId,
    ) -> Decided {
        let (side, at) = (sighting.direction as usize, sighting.captured);
        // The person of an earlier sighting is gone, or is seen again.
        self.next[side].take_if(|(claim, _)| claim.visit.is_some());
        self.cooling.extend(sighting);
        self.open().for_each(|open| open.look(sighting));
        self.denied.extend(sighting);
        // No person is denied during a passage or in free mode.
        let ignores = !self.is_free() || self.mode == LaneMode::Free;
        let verdict = self.visits[side].look(sighting, &self.rules.faces, !ignores);
        let named = sighting.sighted.named();
        if let (Direction::Entry, Some(_)) = (sighting.direction, named) {
            self.guarding.another(named);
        }
        let place = (sighting.direction, Some(sighting.visit));
        let cools = named.is_some_and(|id| self.cooling.holds(now, id, place, at));
        // An exit is denied to no recognised worker, and a lane that stands open records each one.
        let either = sighting.direction == Direction::Exit || self.mode == LaneMode::Free;
        let beside = if either { Beside::NoOne } else { sighting.face.beside };
        let decided = match verdict {
            _ if cools => nothing(Taken::CoolingDown),
            Verdict::Agreed(_) if beside == Beside::Briefly => nothing(Taken::Beside),
            Verdict::Agreed(claim) if beside == Beside::Long => {
                let claim = Claim { who: Err(Reason::SeveralFaces), photo: None, ..*claim };
                self.decide(now, claim, fresh)
            }
            Verdict::Agreed(claim) => {
                if sighting.direction == Direction::Entry && claim.who.is_err() {
                    self.guarding.another(None);
                }
                self.decide(now, *claim, fresh)
            }
            Verdict::Agreeing { looks, of } => nothing(Taken::Agreeing { looks, of }),
            Verdict::TurningAway => nothing(Taken::TurningAway),
            Verdict::Ignored => nothing(if !self.is_free() { Taken::Busy } else { Taken::Free }),
        };
        if self.undecided[side].look(sighting, decided.0) {
            let reason = sighting.sighted.reason();
            let claim = self.visits[side].claim(sighting, &self.rules.faces);
            let claim = Claim { who: Err(reason), ..claim };
            if let (Taken::Denied(_), deny) = self.deny(now, claim, reason) {
                return (Taken::Wavers(reason), deny);
            }
        }
        decided
    }
}

/// The looks on one side of a lane since its last decision there.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    looks: Option<Looks>,
    denied: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
struct Looks {
    first: Monotonic,
    last: Monotonic,
    /// Number of all looks, and of the looks that named a worker.
    number: u32,
    named: u32,
}

impl Undecided {
    /// Counts a look. Returns whether to deny the face now. The first look that names a worker never
    /// leads to a denial, because the next one may agree with it.
    pub(super) fn look(&mut self, sighting: &Sighting, taken: Taken) -> bool {
        let (at, named) = (sighting.captured, sighting.sighted.named().is_some());
        if taken.settled() {
            self.looks = None;
        }
        if !matches!(taken, Taken::Agreeing { .. }) {
            return false;
        }
        let together =
            self.looks.filter(|looks| at.since(looks.last) <= sighting.pace.gap_unsearched());
        let mut looks = together.unwrap_or(Looks { first: at, last: at, number: 0, named: 0 });
        looks.last = at;
        looks.number = looks.number.saturating_add(1);
        looks.named = looks.named.saturating_add(named.into());
        self.looks = Some(looks);
        let enough = looks.number >= UNDECIDED_LOOKS && at.since(looks.first) >= UNDECIDED_FOR;
        let lately = self.denied.is_some_and(|denied| at.since(denied) < DENIED_EVERY);
        let may_agree = named && looks.named == 1;
        let denies = enough && !lately && !may_agree;
        if denies {
            self.denied = Some(at);
        }
        denies
    }
}
