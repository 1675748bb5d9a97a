use std::sync::{Mutex, MutexGuard};

use super::*;

/// A clock that a test moves.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Stamp>,
}

impl ManualClock {
    /// Makes a clock that stands still at this wall time, milliseconds since 1970.
    pub fn new(wall_ms: i64, synced: bool) -> Self {
        let boot = BootId([7; 16]);
        Self { now: Mutex::new(Stamp { wall_ms, synced, boot, uptime_ms: 1_000 }) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let mut now = self.lock();
        now.uptime_ms = now.uptime_ms.saturating_add(ms);
        now.wall_ms = now.wall_ms.saturating_add_unsigned(ms);
    }

    /// Sets the wall clock and its synchronisation.
    pub fn set(&self, wall_ms: i64, synced: bool) {
        let mut now = self.lock();
        (now.wall_ms, now.synced) = (wall_ms, synced);
    }

    fn lock(&self) -> MutexGuard<'_, Stamp> {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_millis(self.lock().uptime_ms)
    }

    fn stamp(&self) -> Stamp {
        *self.lock()
    }
}

/// A clock whose next reading panics after [`arm`](Self::arm): a fault in the code that reads it.
pub struct Tripwire {
    clock: SystemClock,
    armed: std::sync::atomic::AtomicBool,
    ahead_ms: std::sync::atomic::AtomicU64,
}

impl Default for Tripwire {
    fn default() -> Self {
        let clock = SystemClock::new().unwrap();
        Self { clock, armed: false.into(), ahead_ms: 0.into() }
    }
}

impl Tripwire {
    /// Makes the next reading panic.
    pub fn arm(&self) {
        self.armed.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Moves the clock forward at once.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap();
        self.ahead_ms.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for Tripwire {
    fn monotonic(&self) -> Monotonic {
        assert!(!self.armed.swap(false, std::sync::atomic::Ordering::SeqCst), "tripped");
        let ahead = self.ahead_ms.load(std::sync::atomic::Ordering::SeqCst);
        self.clock.monotonic() + Duration::from_millis(ahead)
    }

    fn stamp(&self) -> Stamp {
        self.clock.stamp()
    }
}

#[test]
fn the_system_clock_moves_forward_and_knows_its_boot() {
    let clock = SystemClock::new().unwrap();
    let (a, b) = (clock.monotonic(), clock.monotonic());
    assert!(b >= a && a.as_millis() > 0);
    let stamp = clock.stamp();
    assert_ne!(stamp.boot.0, [0; 16]);
    assert!(stamp.timestamp().to_string().starts_with("20"), "{stamp:?}");
}

#[test]
fn the_time_since_a_future_instant_is_zero() {
    let (a, b) = (Monotonic::from_millis(5), Monotonic::from_millis(9));
    assert_eq!(b - a, Duration::from_millis(4));
    assert_eq!(a - b, Duration::ZERO);
}

#[test]
fn i9_a_step_and_each_change_of_synchronisation_are_recorded_once() {
    let clock = ManualClock::new(1_000_000, false);
    let mut watch = ClockWatch::new(clock.stamp(), false);
    let look = |watch: &mut ClockWatch, after_s: u64| {
        clock.advance(Duration::from_secs(after_s));
        watch.look(clock.stamp()).map(|c| (c.what, c.moved_ms, c.booted_at_ms))
    };
    assert_eq!(look(&mut watch, 1), None);
    // The clock is set an hour ahead, and still not synchronised.
    clock.set(clock.stamp().wall_ms + 3_600_000, false);
    assert_eq!(look(&mut watch, 1), Some((ClockWhat::Stepped, 3_600_000, None)));
    assert_eq!(look(&mut watch, 61), None);
    // Chrony steps and synchronises the clock: one entry, which dates the whole boot.
    clock.set(clock.stamp().wall_ms - 600_000, true);
    let booted_at = clock.stamp().wall_ms - clock.stamp().uptime_ms as i64;
    let good = Some((ClockWhat::Synchronised, -600_000, Some(booted_at)));
    assert_eq!(look(&mut watch, 1), good);
    assert_eq!(look(&mut watch, 1), None);
    clock.set(clock.stamp().wall_ms, false);
    // The change is recorded when the minute since the last one is over.
    assert_eq!(look(&mut watch, 1), None);
    assert_eq!(look(&mut watch, 60), Some((ClockWhat::Unsynchronised, 0, None)));
}

#[test]
fn a_restart_continues_from_the_recorded_clock_of_this_boot() {
    let clock = ManualClock::new(1_000_000, true);
    let mut watch = ClockWatch::new(clock.stamp(), false);
    assert_eq!(watch.look(clock.stamp()).unwrap().what, ClockWhat::Synchronised);
    let recorded = watch.recorded(clock.stamp());
    // The clock is set while the daemon is stopped.
    clock.set(1_005_000, true);
    let mut again = ClockWatch::resumed(clock.stamp(), Some(&recorded));
    let change = again.look(clock.stamp()).unwrap();
    assert_eq!((change.what, change.moved_ms), (ClockWhat::Stepped, 5_000));
    let other_boot = Stamp { boot: BootId([8; 16]), ..clock.stamp() };
    for recorded in [Some(&recorded[..]), Some(b"?"), None] {
        let change = ClockWatch::resumed(other_boot, recorded).look(other_boot).unwrap();
        assert_eq!((change.what, change.moved_ms), (ClockWhat::Synchronised, 0));
    }
}

#[test]
fn a_clock_that_flaps_is_recorded_once_a_minute() {
    let clock = ManualClock::new(1_000_000, true);
    let mut watch = ClockWatch::new(clock.stamp(), true);
    let mut told = 0;
    for second in 0..600 {
        clock.advance(Duration::from_secs(1));
        clock.set(clock.stamp().wall_ms, second % 2 == 0);
        told += usize::from(watch.look(clock.stamp()).is_some());
    }
    assert!((5..=10).contains(&told), "{told}");
}
