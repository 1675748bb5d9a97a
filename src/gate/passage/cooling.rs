//! Workers who passed a moment ago, and are not let through again for a while.

use std::collections::VecDeque;

use super::super::{
    claim::Sighting,
    visit::{GAP, GAP_UNSEARCHED},
};
use crate::{clock::Monotonic, config::Direction, roster::WorkerId};

/// Maximum number of workers that are remembered; the oldest goes.
pub(super) const MOST: usize = 64;

/// A worker who is not admitted again on this side for a while.
#[derive(Debug)]
pub(super) struct Cooling {
    pub(super) worker: WorkerId,
    pub(super) direction: Direction,
    /// In which visit they were let through; `None`: by hand.
    pub(super) visit: Option<u64>,
    pub(super) until: Monotonic,
    /// Went through, as far as is known: who lingers before the camera is still the same visit.
    pub(super) went: bool,
}

#[derive(Debug, Default)]
pub(super) struct CoolDown(pub(super) VecDeque<Cooling>);

impl CoolDown {
    pub(super) fn begin(&mut self, cooling: Cooling) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(cooling);
    }

    /// Whether the worker is not to be let through now. Who went and is still there stays so.
    pub(super) fn holds(
        &mut self,
        now: Monotonic,
        id: &WorkerId,
        direction: Direction,
        captured: Monotonic,
    ) -> bool {
        self.0.retain(|c| c.until > now);
        let same = |c: &&mut Cooling| c.worker == *id && c.direction == direction;
        let Some(cooling) = self.0.iter_mut().find(same) else { return false };
        if cooling.went {
            cooling.until = cooling.until.max(captured + GAP);
        }
        true
    }

    /// Who went through and still is before the camera is the same visit, recognised or not.
    pub(super) fn linger(&mut self, sighting: &Sighting) {
        for cooling in &mut self.0 {
            let same = cooling.went
                && cooling.direction == sighting.direction
                && cooling.visit == Some(sighting.visit);
            if same && sighting.captured < cooling.until + GAP_UNSEARCHED {
                cooling.until = cooling.until.max(sighting.captured + GAP);
            }
        }
    }
}
