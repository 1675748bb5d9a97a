//! The cool-down: a worker who passed a moment ago gets no second grant for a while.
//!
//! A worker who went through and stays before the camera gets none for as long as that lasts. A
//! worker who did not walk through gets a further release after a pause. The pause grows from one
//! release to the next, so that a worker who stays there does not free the arm for ever. It ends
//! when the worker has stepped away.

use std::{collections::VecDeque, time::Duration};

use super::{
    super::{claim::Sighting, pace::Pace},
    Passage,
};
use crate::{clock::Monotonic, config::Direction, roster::WorkerId};

/// Maximum number of workers in the cool-down; the oldest is dropped.
pub(super) const MOST: usize = 64;
/// Maximum pause after a release through which no one walked, and the minimum of the second pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SECOND_PAUSE: Duration = Duration::from_secs(1);

/// A worker who gets no second grant on this side for a while.
#[derive(Debug)]
struct Cooling {
    worker: WorkerId,
    direction: Direction,
    /// The visit of the grant; `None` for a card or a manual release.
    visit: Option<u64>,
    until: Monotonic,
    /// The worker went through, as far as is known. A face that stays before the camera is still
    /// the same visit.
    went: bool,
    /// The pause, if the worker did not go through.
    pause: Duration,
    /// Time of the outcome, or of a later sighting of the worker.
    seen: Monotonic,
}

impl Cooling {
    /// Returns whether it must be kept: during the pause, and while the next pause may be longer.
    fn lasts(&self, now: Monotonic, pace: [Pace; 2]) -> bool {
        let gap = pace[self.direction as usize].gap_unsearched();
        self.until > now || (!self.went && now.since(self.seen) <= gap)
    }

    /// Returns whether a worker who did not go through has stepped away before this sighting.
    fn stepped_away(&self, at: Monotonic, visit: Option<u64>, pace: Pace) -> bool {
        let gap = if visit == self.visit { pace.gap_unsearched() } else { pace.next_sighting() };
        !self.went && at.since(self.seen) > gap
    }
}

#[derive(Debug, Default)]
pub(super) struct CoolDown {
    workers: VecDeque<Cooling>,
    /// The pace of the latest sighting in each direction.
    pace: [Pace; 2],
}

impl CoolDown {
    /// Begins the cool-down of a passage's worker. `went`: the worker went through, as far as is
    /// known.
    pub(super) fn begin(
        &mut self,
        now: Monotonic,
        passage: &Passage,
        went: bool,
        cool_down: Duration,
    ) {
        let Some(worker) = &passage.worker else { return };
        let direction = passage.direction;
        let same = |c: &Cooling| c.worker == *worker && c.direction == direction;
        let before = self.workers.iter().position(same).and_then(|at| self.workers.remove(at));
        let stays = before.filter(|c| !c.went && c.lasts(now, self.pace));
        let pause = match stays {
            Some(before) => (before.pause * 2).max(SECOND_PAUSE),
            None => cool_down,
        };
        let pause = pause.min(LONGEST_PAUSE);
        if self.workers.len() >= MOST {
            self.workers.pop_front();
        }
        self.workers.push_back(Cooling {
            worker: worker.clone(),
            direction,
            visit: passage.visit,
            until: now + if went { cool_down } else { pause },
            went,
            pause,
            seen: now,
        });
    }

    /// Returns whether the worker is in the cool-down. For a worker who went through and is still
    /// there, the cool-down is extended. For a worker who did not and has stepped away, it ends.
    pub(super) fn holds(
        &mut self,
        now: Monotonic,
        id: &WorkerId,
        (direction, visit): (Direction, Option<u64>),
        captured: Monotonic,
    ) -> bool {
        let (all, pace) = (self.pace, self.pace[direction as usize]);
        self.workers.retain(|c| c.lasts(now, all));
        let same = |c: &Cooling| c.worker == *id && c.direction == direction;
        let Some(at) = self.workers.iter().position(same) else { return false };
        let Some(cooling) = self.workers.get_mut(at) else { return false };
        if cooling.stepped_away(captured, visit, pace) {
            self.workers.remove(at);
            return false;
        }
        cooling.seen = cooling.seen.max(captured);
        if cooling.went {
            cooling.until = cooling.until.max(captured + pace.gap());
        }
        cooling.until > now
    }

    /// Extends the cool-down of a worker who is still before the camera: it is the same visit, also
    /// if the sighting names no worker.
    pub(super) fn extend(&mut self, sighting: &Sighting) {
        let (at, pace) = (sighting.captured, sighting.pace);
        self.pace[sighting.direction as usize] = pace;
        for cooling in &mut self.workers {
            let same =
                cooling.direction == sighting.direction && cooling.visit == Some(sighting.visit);
            if same && cooling.went && at < cooling.until + pace.gap_unsearched() {
                cooling.until = cooling.until.max(at + pace.next_sighting());
            } else if same && !cooling.stepped_away(at, Some(sighting.visit), pace) {
                cooling.seen = cooling.seen.max(at);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }
}
