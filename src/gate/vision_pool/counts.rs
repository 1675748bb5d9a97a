//! Counts of a camera's frames by their result (I6).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{CameraFeed, Lost, VisionPool, queue::Aside};
use crate::{
    clock::Monotonic,
    vision::{DecodeError, Flaw},
};

/// Maximum time between two frames with a face that belong together.
const FACES_APART: Duration = Duration::from_secs(10);

/// Counts since the daemon's start.
#[derive(Debug, Default)]
pub struct FrameCounts(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    counts: SeenCounts,
    showing: Option<Showing>,
    /// The same for faces that were set aside for one reason, since the last face that was not.
    showing_aside: Option<(Aside, Showing)>,
    /// First and last of the latest frames that show nothing, for one reason.
    blind: Option<(Blind, Showing)>,
}

/// Why a frame shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// It is black.
    Black,
    /// It is the same as all frames of the last half minute.
    Frozen,
    /// It has one grey level: something covers the lens, or the light blinds the camera. It is
    /// searched nevertheless.
    Plain,
}

/// First and last of the latest frames with a face that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Showing {
    pub first: Monotonic,
    pub last: Monotonic,
}

impl Showing {
    /// Adds a frame to frames that came for the same reason.
    fn again<T: PartialEq + Copy>(
        before: Option<(T, Showing)>,
        why: T,
        at: Monotonic,
    ) -> (T, Showing) {
        let before = before.filter(|(before, _)| *before == why).map(|(_, showing)| showing);
        (why, Showing::one_more(before, at))
    }

    fn one_more(showing: Option<Showing>, at: Monotonic) -> Showing {
        let together = showing.filter(|s| at.since(s.last) <= FACES_APART);
        let Showing { first, last } = together.unwrap_or(Showing { first: at, last: at });
        Showing { first, last: last.max(at) }
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
    /// Frames searched that had no face.
    pub no_face: u64,
    /// Frames with a face large enough.
    pub faces: u64,
    /// Frames whose faces were all smaller than `min_face_px`.
    pub too_small: u64,
    /// Frames whose only large enough faces were cut off by the edge of the picture.
    pub cut_off: u64,
    /// Frames whose only large enough faces were outside the zone.
    pub outside: u64,
    /// Frames whose only large enough faces did not move for minutes: pictures on a wall.
    pub fixed: u64,
    /// Frames with two faces of like width in the zone.
    pub beside: u64,
    /// Frames not searched because they were black.
    pub black: u64,
    /// Frames not searched because they were the same as all frames of the last half minute.
    pub frozen: u64,
    /// Frames of one grey level.
    pub plain: u64,
    /// Frames set aside because their face was blurred, turned away, too dark or too bright. If no
    /// better frame came, the best of them was used.
    pub poor: u64,
    /// Frames whose face was blurred, whether it was used or not.
    pub blurred: u64,
    pub turned_away: u64,
    pub too_dark: u64,
    pub too_bright: u64,
    /// Frames whose face had a mask or dark glasses.
    pub covered: u64,
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
        counted.showing = Some(Showing::one_more(counted.showing, at));
        counted.showing_aside = None;
    }

    /// Counts a frame whose faces were all set aside, by the reason of the widest one.
    pub(super) fn aside(&self, at: Monotonic, why: Aside) {
        let mut counted = self.counted();
        let counts = &mut counted.counts;
        *match why {
            Aside::TooSmall => &mut counts.too_small,
            Aside::CutOff => &mut counts.cut_off,
            Aside::Outside => &mut counts.outside,
            Aside::Fixed => &mut counts.fixed,
        } += 1;
        counted.showing_aside = Some(Showing::again(counted.showing_aside, why, at));
    }

    /// Counts a face with a flaw.
    pub(super) fn flaw(&self, flaw: Flaw) {
        self.count(|seen| match flaw {
            Flaw::Blurred => &mut seen.blurred,
            Flaw::TurnedAway => &mut seen.turned_away,
            Flaw::TooDark => &mut seen.too_dark,
            Flaw::TooBright => &mut seen.too_bright,
            Flaw::Covered => &mut seen.covered,
        });
    }

    /// Records whether a frame shows anything, and counts it if it does not.
    pub fn shows(&self, at: Monotonic, blind: Option<Blind>) {
        let mut counted = self.counted();
        match blind {
            None => {}
            Some(Blind::Black) => counted.counts.black += 1,
            Some(Blind::Frozen) => counted.counts.frozen += 1,
            Some(Blind::Plain) => counted.counts.plain += 1,
        }
        counted.blind = blind.map(|why| Showing::again(counted.blind, why, at));
    }

    /// Returns the latest frames with a face that is large enough.
    pub fn showing(&self) -> Option<Showing> {
        self.counted().showing
    }

    /// Returns the latest frames with faces that were set aside, and why; `None` after a face that
    /// was not. Faces outside the zone are left out once a face was in it: they are why there is a
    /// zone.
    pub fn showing_aside(&self) -> Option<(Aside, Showing)> {
        let counted = self.counted();
        let meant = |(why, _): &(Aside, Showing)| match why {
            Aside::TooSmall | Aside::CutOff => true,
            Aside::Outside => counted.counts.faces == 0,
            Aside::Fixed => false,
        };
        counted.showing_aside.filter(meant)
    }

    /// Returns the latest frames that show nothing, and why; `None` after a frame that does.
    pub fn blind(&self) -> Option<(Blind, Showing)> {
        self.counted().blind
    }

    pub fn counts(&self) -> SeenCounts {
        self.counted().counts
    }
}

impl VisionPool {
    /// Counts a frame by the reason why its search failed.
    pub(super) fn lost(&self, feed: &CameraFeed, lost: Lost) {
        match lost {
            Lost::Decoding(DecodeError::TooLarge { .. }) => {
                feed.seen.count(|seen| &mut seen.too_large);
            }
            Lost::Decoding(_) => drop(feed.seen.count(|seen| &mut seen.undecodable)),
            Lost::Model(error) => {
                // The error may repeat ten times a second for days; few of them are logged.
                let times = feed.seen.count(|seen| &mut seen.failed);
                if times.is_power_of_two() {
                    tracing::error!(camera = %feed.name, %error, times, "a model failed on a frame");
                }
            }
        }
    }
}
