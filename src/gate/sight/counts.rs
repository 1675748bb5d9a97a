//! What became of a camera's frames, in numbers (I6).

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::clock::Monotonic;

/// Frames with a face that are further apart than this do not belong together.
const FACES_APART: Duration = Duration::from_secs(10);

/// Counts from the daemon's start.
#[derive(Debug, Default)]
pub struct Seen {
    pub(super) analysed: Counter,
    pub(super) undecodable: Counter,
    pub(super) too_large: Counter,
    pub(super) unchanged: Counter,
    pub(super) overtaken: Counter,
    pub(super) faces: Counter,
    pub(super) too_small: Counter,
    pub(super) poor: Counter,
    pub(super) settled: Counter,
    pub(super) lane_full: Counter,
    pub(super) failed: Counter,
    showing: Mutex<Option<Showing>>,
    /// The same of faces that are too small, since the last one that was not.
    showing_small: Mutex<Option<Showing>>,
}

/// Frames with a face, one soon after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Showing {
    pub first: Monotonic,
    pub last: Monotonic,
}

impl Showing {
    fn one_more(showing: &Mutex<Option<Showing>>, at: Monotonic) {
        let mut showing = showing.lock().unwrap_or_else(PoisonError::into_inner);
        let together = showing.filter(|s| at.since(s.last) <= FACES_APART);
        let Showing { first, last } = together.unwrap_or(Showing { first: at, last: at });
        *showing = Some(Showing { first, last: last.max(at) });
    }

    fn read(showing: &Mutex<Option<Showing>>) -> Option<Showing> {
        *showing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Counts one more, and says how many there are then.
    pub(super) fn count(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// [`Seen`] at one moment.
///
/// A frame that a newer one replaced before anybody looked is the camera's `dropped`; that is also
/// what becomes of those beyond 15 a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Seen {
    /// Takes note of a frame with a face that is large enough.
    pub(super) fn face(&self, at: Monotonic) {
        self.faces.count();
        Showing::one_more(&self.showing, at);
        *self.showing_small.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes note of a frame whose faces are all too small.
    pub(super) fn small_face(&self, at: Monotonic) {
        self.too_small.count();
        Showing::one_more(&self.showing_small, at);
    }

    /// The latest frames with a face that is large enough.
    pub fn showing(&self) -> Option<Showing> {
        Showing::read(&self.showing)
    }

    /// The latest frames with faces that are too small, if none was large enough since.
    pub fn showing_small(&self) -> Option<Showing> {
        Showing::read(&self.showing_small)
    }

    pub fn counts(&self) -> SeenCounts {
        let read = |counter: &Counter| counter.0.load(Ordering::Relaxed);
        SeenCounts {
            analysed: read(&self.analysed),
            undecodable: read(&self.undecodable),
            too_large: read(&self.too_large),
            unchanged: read(&self.unchanged),
            overtaken: read(&self.overtaken),
            faces: read(&self.faces),
            too_small: read(&self.too_small),
            poor: read(&self.poor),
            settled: read(&self.settled),
            lane_full: read(&self.lane_full),
            failed: read(&self.failed),
        }
    }
}
