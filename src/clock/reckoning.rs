//! Whether the date is corroborated: supported by weeks of running time (I11).
//!
//! In: readings of both clocks. Out: a [`Corroborated`] time, or none. What cannot be undone
//! (deletion, erasure) takes a [`Corroborated`] time and no other. A single reading of the wall
//! clock, or of the kernel's word that it is synchronised, therefore deletes nothing. Time from the
//! network is not authenticated, and the owner of the site owns its router.
//!
//! Two readings agree if the wall clock moved by the time that the box ran. Running time between
//! readings that agree is counted. A step sets the count back to zero, and so does a long time
//! switched off. A box that loses its power each night moves its date further than it runs. That is
//! allowed up to some days, which running time earns again. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BootId, Stamp};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Running time with an undisturbed date after which the date is corroborated.
pub const CORROBORATED_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);
/// Maximum difference between two readings that agree: the drift of a clock that was not
/// synchronised for weeks.
const DRIFT_MS: i64 = 600_000;
/// Maximum running time that two readings prove. Both are trusted, and between them none may be.
const PROVED_MS: u64 = HOUR_MS;
/// Maximum time by which the date may have moved while the box was off: a long weekend.
const OFF_MS: u64 = 4 * DAY_MS;
/// Time off that one hour of running time earns again, in hours. A box that runs 8 h on 5 days a
/// week is off for 3.2 h per hour.
const OFF_EARNED: u64 = 4;
/// Interval between two writes of the count. A power cut loses at most this much of it.
const KEPT_EVERY_MS: u64 = HOUR_MS / 2;

/// A time that weeks of running time support. Each function that deletes by date takes one.
#[derive(Clone, Copy, Debug)]
pub struct Corroborated(Timestamp);

impl Corroborated {
    /// Returns the time.
    pub fn at(self) -> Timestamp {
        self.0
    }

    /// Makes a time that a test declares to be corroborated.
    #[cfg(test)]
    pub fn declared(wall_ms: i64) -> Corroborated {
        Corroborated(Timestamp::from_millisecond(wall_ms).unwrap())
    }
}

/// The support of the date, for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// Running time that supports the date, in seconds; at most `needed_s`.
    pub ran_s: u64,
    /// Running time after which the date is corroborated, in seconds.
    pub needed_s: u64,
}

impl Support {
    /// Returns whether the date is corroborated.
    pub fn is_enough(&self) -> bool {
        self.ran_s >= self.needed_s
    }
}

/// The effect of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The count goes on, or the clock is not trusted.
    Usual,
    /// The count goes on and is to be kept: [`Reckoning::kept`].
    Due,
    /// The count begins again, and is to be kept: the clock was set, or the box was off for long.
    InDoubt,
}

/// The count of the running time that supports the date. It is kept in the database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reckoning {
    last: Option<Last>,
    kept_ms: u64,
}

/// The last trusted reading, and the counts up to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Last {
    boot: BootId,
    uptime_ms: u64,
    wall_ms: i64,
    /// Running time since the date was last in doubt.
    ran_ms: u64,
    /// Time by which the date may still move while the box is off.
    off_ms: u64,
}

impl Reckoning {
    /// Continues a count that [`kept`](Self::kept) returned. An unreadable one begins again.
    pub fn resumed(kept: Option<&[u8]>) -> Reckoning {
        let last = kept.and_then(|kept| serde_json::from_slice::<Last>(kept).ok());
        Reckoning { kept_ms: last.as_ref().map_or(0, |last| last.ran_ms), last }
    }

    /// Returns the count, for [`resumed`](Self::resumed).
    pub fn kept(&mut self) -> Vec<u8> {
        self.kept_ms = self.last.as_ref().map_or(0, |last| last.ran_ms);
        // Serializing plain values cannot fail.
        serde_json::to_vec(&self.last).unwrap_or_default()
    }

    /// Adds a reading of both clocks.
    pub fn read(&mut self, now: Stamp) -> Reading {
        if !now.synced {
            return Reading::Usual;
        }
        let (boot, uptime_ms, wall_ms) = (now.boot, now.uptime_ms, now.wall_ms);
        let began = Last { boot, uptime_ms, wall_ms, ran_ms: 0, off_ms: OFF_MS };
        let Some(last) = self.last.take() else {
            self.last = Some(began);
            return Reading::InDoubt;
        };
        let same_boot = last.boot == boot;
        let elapsed = uptime_ms.saturating_sub(if same_boot { last.uptime_ms } else { 0 });
        let moved = wall_ms.saturating_sub(last.wall_ms).saturating_sub_unsigned(elapsed);
        let ahead = u64::try_from(moved).unwrap_or(0);
        let set = moved < -DRIFT_MS || (same_boot && moved > DRIFT_MS);
        if set || ahead > last.off_ms {
            self.last = Some(began);
            return Reading::InDoubt;
        }
        let proved = if same_boot { elapsed.min(PROVED_MS) } else { 0 };
        let ran_ms = last.ran_ms.saturating_add(proved);
        let off_ms = (last.off_ms - ahead).saturating_add(proved * OFF_EARNED).min(OFF_MS);
        self.last = Some(Last { boot, uptime_ms, wall_ms, ran_ms, off_ms });
        // A new boot is kept at once, because its time off is spent.
        match !same_boot || ran_ms - self.kept_ms.min(ran_ms) >= KEPT_EVERY_MS {
            true => Reading::Due,
            false => Reading::Usual,
        }
    }

    /// Returns the support of the date.
    pub fn support(&self) -> Support {
        let needed_s = CORROBORATED_AFTER.as_secs();
        let ran_s = self.last.as_ref().map_or(0, |last| last.ran_ms / 1000);
        Support { ran_s: ran_s.min(needed_s), needed_s }
    }

    /// Returns the time of the last reading, if `now` is trusted and weeks support its date.
    pub fn corroborated(&self, now: Stamp) -> Option<Corroborated> {
        let last = self.last.as_ref().filter(|_| now.synced && self.support().is_enough())?;
        Timestamp::from_millisecond(last.wall_ms).ok().map(Corroborated)
    }
}

#[cfg(test)]
mod tests;
