//! What became of a camera's frames, in numbers (I6).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::clock::Monotonic;

/// Frames with a face that are further apart than this do not belong together.
const FACES_APART: Duration = Duration::from_secs(10);

/// Counts from the daemon's start.
#[derive(Debug, Default)]
pub struct FrameCounts(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    counts: SeenCounts,
    showing: Option<Showing>,
    /// The same of faces that are too small, since the last one that was not.
    showing_small: Option<Showing>,
}

/// Frames with a face, one soon after the other.
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
/// A frame that a newer one replaced before anybody looked is the camera's `dropped`; that is also
/// what becomes of those beyond 15 a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCounts {
    /// Frames looked at.
    pub analysed: u64,
    /// Frames that were no image.
    pub undecodable: u64,
    /// Frames of more pixels than [`MAX_FRAME_PIXELS`](crate::vision::MAX_FRAME_PIXELS): set the
    /// camera to send smaller ones.
    pub too_large: u64,
    /// Frames not searched for a face: nothing moved, and nobody was there just now.
    pub unchanged: u64,
    /// Frames to be searched that a newer one replaced before a worker had time.
    pub overtaken: u64,
    /// Frames with a face large enough.
    pub faces: u64,
    /// Frames whose faces were all smaller than `min_face_px`.
    pub too_small: u64,
    /// Frames whose face was blurred, turned away, too dark or too bright, and was set aside for a
    /// better one; where none came, the best of them was used.
    pub poor: u64,
    /// Frames passed over because enough of the same visit had agreed.
    pub settled: u64,
    /// Sightings that the lane was too busy to take.
    pub lane_full: u64,
    /// Frames on which a model failed.
    pub failed: u64,
}

impl FrameCounts {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, and says how many there are then.
    pub(super) fn count(&self, what: impl FnOnce(&mut SeenCounts) -> &mut u64) -> u64 {
        let mut counted = self.counted();
        let count = what(&mut counted.counts);
        *count += 1;
        *count
    }

    /// Takes note of a frame with a face that is large enough.
    pub(super) fn face(&self, at: Monotonic) {
        let mut counted = self.counted();
        counted.counts.faces += 1;
        counted.showing = Showing::one_more(counted.showing, at);
        counted.showing_small = None;
    }

    /// Takes note of a frame whose faces are all too small.
    pub(super) fn small_face(&self, at: Monotonic) {
        let mut counted = self.counted();
        counted.counts.too_small += 1;
        counted.showing_small = Showing::one_more(counted.showing_small, at);
    }

    /// The latest frames with a face that is large enough.
    pub fn showing(&self) -> Option<Showing> {
        self.counted().showing
    }

    /// The latest frames with faces that are too small, if none was large enough since.
    pub fn showing_small(&self) -> Option<Showing> {
        self.counted().showing_small
    }

    pub fn counts(&self) -> SeenCounts {
        self.counted().counts
    }
}
