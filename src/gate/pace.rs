//! The pace of this box: the time of a look at a face, and all limits that depend on it.
//!
//! In: the measured times of looks. Out: timeouts for the visits before a camera, and the number of
//! cameras that the box carries. Touches nothing; time is an argument.
//!
//! A look is the search of a frame, the cut-out of its face, the template and the match. It takes a
//! tenth of a second on a usual board, and 2 s on a small one. A timeout in seconds would end each
//! visit on a small board before its second look. So the timeouts of a visit are at least as long
//! as two looks, and as the turns of the other cameras. The life of a decision is never longer.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{clock::Monotonic, words::counted};

/// Timeout after which a visit ends without its face, on a box that is fast enough for it.
pub const GAP: Duration = Duration::from_millis(1500);
/// Timeout after which a visit ends if no frame was searched in between, on a box that is fast
/// enough for it. With many busy lanes the vision workers may have no time for a camera.
pub const GAP_UNSEARCHED: Duration = Duration::from_secs(4);
/// Minimum number of looks in a timeout of a visit: one look may miss the face.
const LOOKS: u32 = 2;
/// Maximum time of a look with which a release is in time. The life of a decision is 3 s from its
/// frame ([`DECISION_LIFE`](super::passage::DECISION_LIFE)); the commit and the turnstile need the
/// rest.
pub const LOOK_LIMIT: Duration = Duration::from_millis(2500);
/// Interval between two people at a camera when a shift starts: 12 people a minute.
const ARRIVALS: Duration = Duration::from_secs(5);
/// Interval between two measurements of a box that was too slow while no person comes.
const MEASURE_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of measured looks that are kept. Their median is the time of a look, so that one
/// delayed look changes nothing.
const KEPT: usize = 5;

/// The pace of the looks at one camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Time of a look.
    pub look: Duration,
    /// Maximum time of the turns of all other cameras.
    pub others: Duration,
}

impl Pace {
    /// Returns the timeout after which a visit ends without its face.
    pub fn gap(self) -> Duration {
        GAP.max(self.look * LOOKS)
    }

    /// Returns the timeout after which a visit ends if no frame was searched in between.
    pub fn gap_unsearched(self) -> Duration {
        GAP_UNSEARCHED.max(self.look * LOOKS + self.others)
    }

    /// Returns the maximum time from a frame until the lane has the next sighting of the same face.
    pub fn next_sighting(self) -> Duration {
        GAP.max(self.look * (LOOKS + 1) + self.others)
    }

    /// Returns whether a look is still in time for a decision if its template is made now.
    pub fn in_time(self, age: Duration) -> bool {
        age + self.look <= LOOK_LIMIT
    }
}

/// The measured time of a look, and the load of the vision workers.
#[derive(Debug)]
pub struct Capacity {
    pub workers: usize,
    pub cameras: usize,
    pub frames_to_agree: u32,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    /// The latest looks, the newest last.
    looks: VecDeque<Duration>,
    last: Monotonic,
    /// Time since which the box is too slow.
    slow_since: Option<Monotonic>,
}

impl Measured {
    fn look(&self) -> Option<Duration> {
        let mut looks = Vec::from_iter(self.looks.iter().copied());
        looks.sort();
        looks.get(looks.len() / 2).copied()
    }
}

impl Capacity {
    pub fn new(workers: usize, cameras: usize, frames_to_agree: u32) -> Capacity {
        Capacity { workers, cameras, frames_to_agree, measured: Mutex::default() }
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the time of a look that ended at `now`.
    pub fn observe(&self, now: Monotonic, look: Duration) {
        let mut measured = self.measured();
        if measured.looks.len() >= KEPT {
            measured.looks.pop_front();
        }
        measured.looks.push_back(look);
        measured.last = now;
        let slow = measured.look().is_some_and(|look| self.carries(look) < self.cameras);
        measured.slow_since = slow.then(|| measured.slow_since.unwrap_or(now));
    }

    /// Returns the time of a look; `None` before the first one.
    pub fn look(&self) -> Option<Duration> {
        self.measured().look()
    }

    /// Returns whether to measure a look without a person: the box was too slow, and may be no longer.
    pub fn is_due(&self, now: Monotonic) -> bool {
        let measured = self.measured();
        measured.slow_since.is_some() && now.since(measured.last) >= MEASURE_EVERY
    }

    /// Returns since when the box is too slow for its cameras.
    pub fn slow_since(&self) -> Option<Monotonic> {
        self.measured().slow_since
    }

    /// Returns whether a look takes so long that releases are void.
    pub fn misses_decisions(&self) -> bool {
        self.look().is_some_and(|look| look > LOOK_LIMIT)
    }

    /// Returns the number of cameras that the box carries if a look takes this time: at each one a
    /// person comes in [`ARRIVALS`] and needs `frames_to_agree` looks. A box with looks longer than
    /// [`LOOK_LIMIT`] carries none.
    pub fn carries(&self, look: Duration) -> usize {
        if look > LOOK_LIMIT {
            return 0;
        }
        let a_person = look.max(Duration::from_millis(1)) * self.frames_to_agree.max(1);
        let people = ARRIVALS.as_micros() * self.workers as u128 / a_person.as_micros();
        usize::try_from(people).unwrap_or(usize::MAX)
    }

    /// Returns the problem and its remedy if the box is too slow for its cameras.
    pub fn too_slow(&self) -> Option<String> {
        let look = self.look()?;
        let carries = self.carries(look);
        if carries >= self.cameras {
            return None;
        }
        let begin = format!("too slow for {}", self.load(look));
        Some(if look > LOOK_LIMIT {
            format!(
                "{begin}. A release is void 3 s after its frame, so workers may not pass by face: use \
                 a faster board"
            )
        } else {
            let fewer = match carries {
                0 => String::new(),
                carries => format!("connect at most {}, ", counted(carries as u64, "camera")),
            };
            let agree = match self.frames_to_agree {
                0..=1 => "",
                _ => ", or lower recognition.frames_to_agree",
            };
            format!("{begin}, so workers wait long: {fewer}use a faster board{agree}")
        })
    }

    /// Returns the load in words: `2 cameras: 2.1 s a face`.
    pub fn load(&self, look: Duration) -> String {
        format!("{}: {:.1} s a face", counted(self.cameras as u64, "camera"), look.as_secs_f64())
    }

    /// Returns the pace of the looks at one camera, if a turn of another camera has at most this
    /// number of looks.
    pub fn pace(&self, looks_a_turn: u32) -> Pace {
        let look = self.look().unwrap_or_default();
        let others = u32::try_from(self.cameras.saturating_sub(1)).unwrap_or(u32::MAX);
        let workers = u32::try_from(self.workers.max(1)).unwrap_or(u32::MAX);
        let looks = others.saturating_mul(looks_a_turn).div_ceil(workers);
        Pace { look, others: look.saturating_mul(looks) }
    }
}

#[cfg(test)]
mod tests;
