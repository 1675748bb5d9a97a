//! Decides which frames of one camera are searched. Touches nothing; time is an argument.
//!
//! A glance compares the thumbnail of each frame that is due, to find motion. A frame is searched
//! for a face if something moves, or if a recent frame had a face. Every two seconds a frame is
//! searched in any case, so that a person who does not move is found. The first frame with motion
//! is searched at once.

use std::time::Duration;

use super::{counts::Blind, queue::Queue, visit::Visits};
use crate::{
    camera::Frame,
    clock::Monotonic,
    vision::{Face, Luma, Motion},
};

/// Interval between two glances at a camera, on average: 15 a second, also if it sends more frames.
const LOOK_EVERY: Duration = Duration::from_millis(66);
/// Maximum time by which a frame may come early, because cameras are not punctual.
const EARLY: Duration = Duration::from_millis(40);
/// Time after a face in which each frame is searched.
const AFTER_A_FACE: Duration = Duration::from_secs(2);
/// Maximum interval between two searches.
const SEARCH_EVERY: Duration = Duration::from_secs(2);
/// Time with the same thumbnail after which a camera's picture is frozen. The noise of a sensor
/// changes some of its pixels in each frame.
const FROZEN_AFTER: Duration = Duration::from_secs(30);
/// Maximum grey level of a black picture. Video has 16 for black.
const BLACK: u8 = 32;
/// Maximum difference of a plain picture's grey levels, without the darkest and the lightest
/// twentieth. A clock in the picture is smaller than that. An open lens has 50 and more.
const PLAIN: u8 = 12;
/// Interval between two searches of a settled visit.
const SEARCH_SETTLED_EVERY: Duration = Duration::from_millis(200);

/// One camera's state; the worker that handles the camera's frame locks it.
#[derive(Debug, Default)]
pub struct Watch {
    motion: Motion,
    pub(super) visits: Visits,
    pub(super) queue: Queue,
    /// The latest thumbnail, and since when it is the same.
    thumbnail: Option<(Luma, Monotonic)>,
    /// Why the latest frame shows nothing.
    pub(super) blind: Option<Blind>,
    /// The face of the latest search, if it searched the whole frame and found no other one.
    pub(super) alone: Option<(Monotonic, Face)>,
    /// A frame that waits for a search.
    pub(super) waiting: Option<Frame>,
    /// Time of the next glance if glances were spaced evenly.
    due: Monotonic,
    searched: Option<Monotonic>,
    face: Option<Monotonic>,
    /// The latest search found a face.
    face_there: bool,
    /// Time of the camera's last search.
    pub(super) served: Monotonic,
    /// Number of searches in the camera's current turn.
    turn: u32,
}

/// Result of a glance at a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    Search,
    Unchanged,
    Settled,
    /// The frame is black or frozen.
    Blind,
}

impl Watch {
    /// Returns the time until a frame is due; zero if it is due now.
    pub(super) fn due_in(&self, now: Monotonic) -> Duration {
        self.due.since(now + EARLY)
    }

    pub(super) fn glance(&mut self, frame: Monotonic, luma: &Luma, frames_to_agree: u32) -> Glance {
        let lately = self.face.is_some_and(|at| frame.since(at) <= AFTER_A_FACE);
        let moves = self.motion.moves(luma, frame, !lately);
        self.blind = self.blind(frame, luma);
        if matches!(self.blind, Some(Blind::Black | Blind::Frozen)) {
            return Glance::Blind;
        }
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

    fn blind(&mut self, frame: Monotonic, luma: &Luma) -> Option<Blind> {
        let same = self.thumbnail.take_if(|(thumbnail, _)| thumbnail == luma);
        let (_, since) = self.thumbnail.insert(same.unwrap_or_else(|| (luma.clone(), frame)));
        if luma.values.iter().all(|value| *value <= BLACK) {
            Some(Blind::Black)
        } else if frame.since(*since) >= FROZEN_AFTER {
            Some(Blind::Frozen)
        } else {
            is_plain(luma).then_some(Blind::Plain)
        }
    }

    /// Returns the width of the face whose visit goes on in this turn: the last search found the
    /// face, and more looks are needed. A turn ends with the looks needed for a decision, so that
    /// other cameras wait for a limited time.
    pub(super) fn goes_on(&self, frames_to_agree: u32) -> Option<f32> {
        let left = self.turn < self.visits.needed(frames_to_agree);
        self.visits.unsettled(frames_to_agree).filter(|_| self.face_there && left)
    }

    /// Begins a search at `now`.
    pub(super) fn serves(&mut self, now: Monotonic, frames_to_agree: u32) {
        let goes_on = self.goes_on(frames_to_agree).is_some();
        self.turn = if goes_on { self.turn.saturating_add(1) } else { 1 };
        self.served = now;
    }

    /// Records a glance at `now`.
    pub(super) fn looked(&mut self, now: Monotonic) {
        self.due = self.due.max(now) + LOOK_EVERY;
    }

    /// Records the result of a search of this frame.
    pub(super) fn searched(&mut self, frame: Monotonic, found: bool) {
        self.searched = self.searched.max(Some(frame));
        self.face_there = found;
        if found {
            self.face = self.face.max(Some(frame));
        }
    }
}

/// Returns whether a picture has one grey level.
fn is_plain(luma: &Luma) -> bool {
    let mut values = luma.values.clone();
    let twentieth = values.len() / 20;
    let Some(last) = values.len().checked_sub(1 + twentieth) else { return false };
    let dark = *values.select_nth_unstable(twentieth).1;
    let light = *values.select_nth_unstable(last).1;
    light.saturating_sub(dark) <= PLAIN
}

#[cfg(test)]
mod tests;
