//! The cool-down: a worker who passed a moment ago gets no second grant for a while.

use std::collections::VecDeque;

use super::super::{claim::Sighting, pace::GAP};
use crate::{clock::Monotonic, config::Direction, roster::WorkerId};

/// Maximum number of workers in the cool-down; the oldest is dropped.
pub(super) const MOST: usize = 64;

/// A worker who gets no second grant on this side for a while.
#[derive(Debug)]
pub(super) struct Cooling {
    pub(super) worker: WorkerId,
    pub(super) direction: Direction,
    /// The visit of the grant; `None` for a card or a manual release.
    pub(super) visit: Option<u64>,
    pub(super) until: Monotonic,
    /// The worker went through, as far as is known. A face that stays before the camera is still
    /// the same visit.
    pub(super) went: bool,
}

#[derive(Debug, Default)]
pub(super) struct CoolDown(pub(super) VecDeque<Cooling>);

impl CoolDown {
    pub(super) fn begin(&mut self, cooling: Cooling) {
        let same = |c: &Cooling| (&c.worker, c.direction) == (&cooling.worker, cooling.direction);
        self.0.retain(|c| !same(c));
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(cooling);
    }

    /// Returns whether the worker is in the cool-down. For a worker who went through and is still
    /// there, the cool-down is extended.
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

    /// Extends the cool-down of a worker who went through and is still before the camera: it is the
    /// same visit, also if the sighting names no worker.
    pub(super) fn extend(&mut self, sighting: &Sighting) {
        for cooling in &mut self.0 {
            let same = cooling.went
                && cooling.direction == sighting.direction
                && cooling.visit == Some(sighting.visit);
            if same && sighting.captured < cooling.until + sighting.pace.gap_unsearched() {
                cooling.until =
                    cooling.until.max(sighting.captured + sighting.pace.next_sighting());
            }
        }
    }
}
