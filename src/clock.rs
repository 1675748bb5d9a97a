//! Wall and monotonic time, and whether the wall clock is synchronised.
//!
//! In: the kernel's clocks. Out: [`Stamp`]s for ledger entries and [`Monotonic`] instants for
//! everything that waits. Nothing else in the crate reads a clock, so that a test can stop time.
//! The wall clock is never trusted for a decision (I9): a box at a gate loses power, has
//! no battery behind its clock, and may be set by hand.

#![warn(missing_docs)]

mod reckoning;

use std::{
    ops::{Add, Sub},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::reckoning::{Corroborated, Reading, Reckoning, Support};

/// Time since this machine booted, suspended time included (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// Makes the instant `ms` milliseconds after the boot.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Returns the milliseconds since the boot.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time since `earlier`; zero if `earlier` is in the future.
    pub fn since(self, earlier: Monotonic) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Written as milliseconds since boot.
impl Serialize for Monotonic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.as_millis())
    }
}

impl<'de> Deserialize<'de> for Monotonic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_millis)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Monotonic;
    fn add(self, rhs: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(rhs))
    }
}

impl Sub<Monotonic> for Monotonic {
    type Output = Duration;
    fn sub(self, rhs: Monotonic) -> Duration {
        self.since(rhs)
    }
}

/// One boot of the machine: the kernel's random boot id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl std::fmt::Display for BootId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for BootId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BootId({self})")
    }
}

/// The time of a ledger entry (I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Wall clock, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// Whether the wall clock was synchronised at that moment, according to the kernel.
    pub synced: bool,
    /// The boot that `uptime_ms` counts from.
    pub boot: BootId,
    /// Milliseconds since that boot.
    pub uptime_ms: u64,
}

impl Stamp {
    /// Returns the wall time; the Unix epoch if it is outside the range of a calendar.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(self.wall_ms).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Returns the time since `earlier`; zero if `earlier` is in the future. Within a boot the
    /// monotonic clocks are compared, across boots the wall clocks.
    pub fn since(&self, earlier: Stamp) -> Duration {
        let ms = if earlier.boot == self.boot {
            self.uptime_ms.saturating_sub(earlier.uptime_ms)
        } else {
            u64::try_from(self.wall_ms.saturating_sub(earlier.wall_ms)).unwrap_or(0)
        };
        Duration::from_millis(ms)
    }
}

/// The last time at which the wall clock was trusted, in this boot or an earlier one. While the
/// clock is not trusted, it is the only time that has surely passed.
#[derive(Debug)]
pub struct LastTrusted(AtomicI64);

/// Stands for no time.
const NEVER: i64 = i64::MIN;

impl LastTrusted {
    /// Begins with the time that an earlier run kept, in milliseconds since the Unix epoch.
    pub fn new(ms: Option<i64>) -> LastTrusted {
        LastTrusted(AtomicI64::new(ms.unwrap_or(NEVER)))
    }

    /// Takes in a reading. A later reading replaces it, also with an earlier time: a clock that was
    /// wrong for a while must not deny workers for good.
    pub fn observe(&self, stamp: Stamp) {
        if stamp.synced {
            self.0.store(stamp.wall_ms, Ordering::Relaxed);
        }
    }

    /// Returns the time in milliseconds since the Unix epoch; `None` if there was none.
    pub fn ms(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ms| *ms != NEVER)
    }
}

/// The port to time. Real and simulated clocks behave alike; only this room reads time.
pub trait Clock: Send + Sync {
    /// Returns the time since boot: for everything that waits.
    fn monotonic(&self) -> Monotonic;
    /// Returns both clocks, read in one moment: for ledger entries.
    fn stamp(&self) -> Stamp;
}

/// The boot id cannot be read from the kernel.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the boot id from {path}: {source}; /proc must be mounted")]
pub struct ClockError {
    path: &'static str,
    source: std::io::Error,
}

/// The kernel's clocks.
#[derive(Debug)]
pub struct SystemClock {
    boot: BootId,
}

impl SystemClock {
    /// Reads the boot id.
    pub fn new() -> Result<Self, ClockError> {
        const PATH: &str = "/proc/sys/kernel/random/boot_id";
        let text =
            std::fs::read_to_string(PATH).map_err(|source| ClockError { path: PATH, source })?;
        let boot = parse_uuid(text.trim()).ok_or_else(|| ClockError {
            path: PATH,
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, "not a UUID"),
        })?;
        Ok(Self { boot: BootId(boot) })
    }
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut id).ok()?;
    Some(id)
}

/// Returns the wall time. It is only shown to people; it decides nothing.
#[expect(clippy::disallowed_methods, reason = "only this function reads it")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Monotonic {
        // CLOCK_BOOTTIME cannot fail on a Linux this crate runs on (2.6.39 and later).
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .map(|t| Monotonic(Duration::from(t)))
            .unwrap_or_default()
    }

    fn stamp(&self) -> Stamp {
        let (mut wall_ms, mut uptime_ms) = (0, 0);
        // The two clocks are read one after the other. If the thread was delayed in between, both
        // are read again.
        for _ in 0..READINGS {
            let before = self.monotonic();
            wall_ms = wall().as_millisecond();
            uptime_ms = self.monotonic().as_millis();
            if uptime_ms - before.as_millis() < STEP_MS.unsigned_abs() / 4 {
                break;
            }
        }
        let synced = kernel_says_synchronised();
        Stamp { wall_ms, synced, boot: self.boot, uptime_ms }
    }
}

/// Returns whether a time daemon has disciplined the clock. Until then `adjtimex(2)` returns the
/// state `TIME_ERROR` or sets `STA_UNSYNC`.
fn kernel_says_synchronised() -> bool {
    // SAFETY: all-zero is a valid `timex`, and modes = 0 asks for a read only.
    let (state, status) = unsafe {
        let mut t: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut t), t.status)
    };
    state >= 0 && state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

/// What happened to the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockWhat {
    /// The clock is synchronised now, according to the kernel.
    Synchronised,
    /// The clock is no longer synchronised.
    Unsynchronised,
    /// The clock was set.
    Stepped,
}

/// A change of the wall clock, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockChange {
    /// The kind of change.
    #[serde(rename = "change")]
    pub what: ClockWhat,
    /// Movement against the monotonic clock since the previous change, or since the daemon's
    /// start; milliseconds, negative if the clock was set back.
    pub moved_ms: i64,
    /// If the clock is synchronised: the wall time at which this boot began, ms since 1970. It
    /// dates every entry of this boot, also earlier ones: `booted_at_ms` + the entry's `uptime_ms`.
    pub booted_at_ms: Option<i64>,
}

/// Minimum movement that counts as a step. A smaller movement is the time between two readings.
const STEP_MS: i64 = 500;
/// Maximum number of attempts to read both clocks in one moment.
const READINGS: usize = 3;
/// Interval between two recorded changes. Changes in between are recorded as one at its end, so
/// that a flapping clock does not fill the ledger. Each entry's own stamp has the clock's state.
const CHANGES_EVERY: Duration = Duration::from_secs(60);

/// Compares the clock with its recorded state and reports changes.
#[derive(Debug)]
pub struct ClockWatch {
    synced: bool,
    /// Wall time minus uptime, as last recorded.
    booted_at_ms: i64,
    quiet_until: Monotonic,
}

/// The state of a boot's clock that the ledger has.
#[derive(Serialize, Deserialize)]
struct Recorded {
    boot: BootId,
    synced: bool,
    booted_at_ms: i64,
}

impl ClockWatch {
    /// `recorded`: the ledger already has this boot's clock as synchronised.
    pub fn new(stamp: Stamp, recorded: bool) -> ClockWatch {
        let quiet_until = Monotonic::default();
        ClockWatch { synced: recorded, booted_at_ms: booted_at_ms(stamp), quiet_until }
    }

    /// Continues from the state that [`recorded`](Self::recorded) returned in this boot. A state of another
    /// boot, or an unreadable one, is ignored.
    pub fn resumed(stamp: Stamp, recorded: Option<&[u8]>) -> ClockWatch {
        let recorded =
            recorded.and_then(|recorded| serde_json::from_slice::<Recorded>(recorded).ok());
        let fresh = ClockWatch::new(stamp, false);
        match recorded.filter(|recorded| recorded.boot == stamp.boot) {
            Some(Recorded { synced, booted_at_ms, .. }) => {
                ClockWatch { synced, booted_at_ms, ..fresh }
            }
            None => fresh,
        }
    }

    /// Returns the recorded state of this boot's clock, for [`resumed`](Self::resumed).
    pub fn recorded(&self, stamp: Stamp) -> Vec<u8> {
        let (boot, synced, booted_at_ms) = (stamp.boot, self.synced, self.booted_at_ms);
        // Serializing plain values cannot fail.
        serde_json::to_vec(&Recorded { boot, synced, booted_at_ms }).unwrap_or_default()
    }

    /// Returns a change that is due. A step and a change of synchronisation at once are one change:
    /// the synchronisation, with the movement of the clock.
    pub fn look(&mut self, stamp: Stamp) -> Option<ClockChange> {
        let now = Monotonic::from_millis(stamp.uptime_ms);
        let booted_at_ms = booted_at_ms(stamp);
        let moved_ms = booted_at_ms.saturating_sub(self.booted_at_ms);
        let what = match (self.synced, stamp.synced) {
            (false, true) => ClockWhat::Synchronised,
            (true, false) => ClockWhat::Unsynchronised,
            _ if moved_ms.saturating_abs() >= STEP_MS => ClockWhat::Stepped,
            _ => return None,
        };
        if now < self.quiet_until {
            return None;
        }
        let quiet_until = now + CHANGES_EVERY;
        *self = ClockWatch { synced: stamp.synced, booted_at_ms, quiet_until };
        let booted_at_ms = stamp.synced.then_some(booted_at_ms);
        Some(ClockChange { what, moved_ms, booted_at_ms })
    }
}

fn booted_at_ms(stamp: Stamp) -> i64 {
    stamp.wall_ms.saturating_sub_unsigned(stamp.uptime_ms)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use self::tests::{ManualClock, Tripwire};
