//! What one camera's frames are looked at for. Touches nothing; time is an argument.
//!
//! Each frame that is due is glanced at: a thumbnail, and whether anything moves. It is searched
//! for a face when something does, when a face was there just now, and every other second whatever
//! happens, so that who stood still all the time is found. The first frame with a change in it is
//! searched at once.

use std::time::Duration;

use super::visit::Visits;
use crate::{
    camera::Frame,
    clock::Monotonic,
    vision::{Luma, Motion},
};

/// From one look at a camera to the next, on average: 15 a second, whatever it sends.
const LOOK_EVERY: Duration = Duration::from_millis(66);
/// A frame may come so much before its time, for cameras are not punctual.
const EARLY: Duration = Duration::from_millis(40);
/// For so long after a face, each frame is searched for the next.
const AFTER_A_FACE: Duration = Duration::from_secs(2);
/// At least so often a frame is searched.
const SEARCH_EVERY: Duration = Duration::from_secs(2);
/// So often is the frame of a settled visit.
const SEARCH_SETTLED_EVERY: Duration = Duration::from_millis(200);

/// One camera's state; whoever looks at its frames holds it.
#[derive(Debug, Default)]
pub struct Watch {
    motion: Motion,
    pub(super) visits: Visits,
    /// A frame to be searched.
    pub(super) waiting: Option<Frame>,
    /// When the next look would come if looks were spaced evenly.
    due: Monotonic,
    searched: Option<Monotonic>,
    face: Option<Monotonic>,
    /// The latest search found a face.
    face_there: bool,
    /// When the camera last had its turn at being searched.
    pub(super) served: Monotonic,
}

/// What a glance at a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    Search,
    Unchanged,
    Settled,
}

impl Watch {
    /// How long until a frame may be looked at; zero where it may be now.
    pub(super) fn due_in(&self, now: Monotonic) -> Duration {
        self.due.since(now + EARLY)
    }

    pub(super) fn glance(&mut self, frame: Monotonic, luma: &Luma, frames_to_agree: u32) -> Glance {
        let lately = self.face.is_some_and(|at| frame.since(at) <= AFTER_A_FACE);
        let moves = self.motion.moves(luma, frame, !lately);
        let since = self.searched.map(|at| frame.since(at));
        let settled = self.face_there && self.visits.settled(frames_to_agree);
        if settled && since.is_some_and(|since| since < SEARCH_SETTLED_EVERY) {
            Glance::Settled
        } else if moves || lately || since.is_none_or(|since| since >= SEARCH_EVERY) {
            Glance::Search
        } else {
            Glance::Unchanged
        }
    }

    /// Takes note of a look at `now`.
    pub(super) fn looked(&mut self, now: Monotonic) {
        self.due = self.due.max(now) + LOOK_EVERY;
    }

    /// Takes note of what a search of this frame found.
    pub(super) fn searched(&mut self, frame: Monotonic, found: bool) {
        self.searched = self.searched.max(Some(frame));
        self.face_there = found;
        if found {
            self.face = self.face.max(Some(frame));
        }
    }
}

#[cfg(test)]
mod tests;
