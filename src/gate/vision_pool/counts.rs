//! Counts of a camera's frames by their result (I6).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::clock::Monotonic;

/// Maximum time between two frames with a face that belong together.
const FACES_APART: Duration = Duration::from_secs(10);

/// Counts since the daemon's start.
#[derive(Debug, Default)]
pub struct FrameCounts(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    counts: SeenCounts,
    showing: Option<Showing>,
    /// The same for faces that are too small, since the last large enough face.
    showing_small: Option<Showing>,
}

/// First and last of the latest frames with a face that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Showing {
    pub first: Monotonic,
    pub last: Monotonic,
}

impl Showing {
    fn one_more(showing: Option<Showing>, at: Monotonic) -> Option<Showing> {
        let together = showing.filter(|s| at.since(s.last) <= FACES_APART);
        let Showing { first, last } = together.unwrap_or(Showing { first: at, last: at });
        Some(Showing { first, last: last.max(at) })
    }
}

/// [`FrameCounts`] at one moment.
///
/// A frame that a newer one replaced before a worker took it counts as the camera's `dropped`. So
/// do frames beyond 15 a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCounts {
    /// Frames that a worker took.
    pub analysed: u64,
    /// Frames that could not be decoded.
    pub undecodable: u64,
    /// Frames of more pixels than [`MAX_FRAME_PIXELS`](crate::vision::MAX_FRAME_PIXELS): set the
    /// camera to send smaller ones.
    pub too_large: u64,
    /// Frames not searched for a face: nothing moved, and no recent frame had a face.
    pub unchanged: u64,
    /// Frames waiting for a search that a newer frame replaced.
    pub overtaken: u64,
    /// Frames with a face large enough.
    pub faces: u64,
    /// Frames whose faces were all smaller than `min_face_px`.
    pub too_small: u64,
    /// Frames set aside because their face was blurred, turned away, too dark or too bright. If no
    /// better frame came, the best of them was used.
    pub poor: u64,
    /// Frames skipped because enough sightings of the same visit agreed.
    pub settled: u64,
    /// Sightings dropped because the lane's queue was full.
    pub lane_full: u64,
    /// Frames on which a model failed.
    pub failed: u64,
}

impl FrameCounts {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one to a count and returns it.
    pub(super) fn count(&self, what: impl FnOnce(&mut SeenCounts) -> &mut u64) -> u64 {
        let mut counted = self.counted();
        let count = what(&mut counted.counts);
        *count += 1;
        *count
    }

    /// Counts a frame with a face that is large enough.
    pub(super) fn face(&self, at: Monotonic) {
        let mut counted = self.counted();
        counted.counts.faces += 1;
        counted.showing = Showing::one_more(counted.showing, at);
        counted.showing_small = None;
    }

    /// Counts a frame whose faces are all too small.
    pub(super) fn small_face(&self, at: Monotonic) {
        let mut counted = self.counted();
        counted.counts.too_small += 1;
        counted.showing_small = Showing::one_more(counted.showing_small, at);
    }

    /// Returns the latest frames with a face that is large enough.
    pub fn showing(&self) -> Option<Showing> {
        self.counted().showing
    }

    /// Returns the latest frames with faces that are too small; `None` after a large enough face.
    pub fn showing_small(&self) -> Option<Showing> {
        self.counted().showing_small
    }

    pub fn counts(&self) -> SeenCounts {
        self.counted().counts
    }
}
