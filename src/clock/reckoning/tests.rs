//! Days and months of readings in virtual time.

use super::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY as i64;

/// A box with its two clocks.
struct Gateway {
    reckoning: Reckoning,
    now: Stamp,
}

impl Gateway {
    fn new() -> Gateway {
        let wall_ms = 1_800_000_000_000;
        let now = Stamp { wall_ms, synced: true, boot: BootId([0; 16]), uptime_ms: 40_000 };
        Gateway { reckoning: Reckoning::default(), now }
    }

    /// Runs for some time, and reads the clock each minute. Returns whether the date came in doubt.
    fn runs(&mut self, ms: u64) -> bool {
        let mut in_doubt = false;
        for _ in 0..ms / MINUTE {
            self.now.uptime_ms += MINUTE;
            self.now.wall_ms += MINUTE as i64;
            in_doubt |= self.reads() == Reading::InDoubt;
        }
        in_doubt
    }

    /// Reads the clock. What is due to be kept is kept.
    fn reads(&mut self) -> Reading {
        let reading = self.reckoning.read(self.now);
        if reading != Reading::Usual {
            self.reckoning.kept();
        }
        reading
    }

    fn sets_clock(&mut self, by_ms: i64) {
        self.now.wall_ms += by_ms;
    }

    /// Loses its power, and starts again after some time. What was not kept is lost.
    fn is_off(&mut self, ms: u64, kept: Vec<u8>) {
        self.now.boot.0[0] = self.now.boot.0[0].wrapping_add(1);
        self.now.uptime_ms = 40_000;
        self.now.wall_ms += ms as i64;
        self.reckoning = Reckoning::resumed(Some(&kept));
    }

    fn loses_power(&mut self, ms: u64) {
        let kept = self.reckoning.kept();
        self.is_off(ms, kept);
    }

    fn is_corroborated(&self) -> bool {
        self.reckoning.corroborated(self.now).is_some()
    }
}

/// A box whose date is corroborated.
fn steady() -> Gateway {
    let mut gateway = Gateway::new();
    gateway.runs(15 * DAY);
    assert!(gateway.is_corroborated());
    gateway
}

#[test]
fn i11_a_date_is_corroborated_after_two_weeks_of_running_time() {
    let mut gateway = Gateway::new();
    gateway.runs(14 * DAY);
    assert!(!gateway.is_corroborated(), "the first reading proves nothing");
    gateway.runs(HOUR);
    assert!(gateway.is_corroborated());
    let now = gateway.now.timestamp();
    assert_eq!(gateway.reckoning.corroborated(gateway.now).unwrap().at(), now);
    gateway.now.synced = false;
    assert!(!gateway.is_corroborated(), "the clock is not trusted");
}

#[test]
fn i11_four_years_ahead_for_20_seconds_or_3_days_corroborates_nothing_and_begins_again() {
    for ms in [20_000, 3 * DAY] {
        let mut gateway = steady();
        gateway.sets_clock(4 * YEAR);
        assert_eq!(gateway.reads(), Reading::InDoubt);
        gateway.runs(ms);
        assert!(!gateway.is_corroborated());
        gateway.sets_clock(-4 * YEAR);
        assert_eq!(gateway.reads(), Reading::InDoubt);
        gateway.runs(13 * DAY);
        assert!(!gateway.is_corroborated(), "nothing within days of a step");
        gateway.runs(2 * DAY);
        assert!(gateway.is_corroborated());
    }
}

#[test]
fn i11_a_clock_that_is_set_while_it_is_not_synchronised_is_noticed_when_it_is() {
    let mut gateway = steady();
    gateway.now.synced = false;
    gateway.sets_clock(YEAR);
    assert!(!gateway.runs(DAY) && !gateway.is_corroborated());
    gateway.now.synced = true;
    assert_eq!(gateway.reads(), Reading::InDoubt);
    // One trusted reading now and one in two weeks prove an hour.
    gateway.now.synced = false;
    gateway.runs(20 * DAY);
    gateway.now.synced = true;
    assert_eq!(gateway.reads(), Reading::Due);
    assert_eq!(gateway.reckoning.support().ran_s, 3600);
    // A link that was down for a day does no harm.
    let mut gateway = steady();
    gateway.now.synced = false;
    gateway.runs(DAY);
    gateway.now.synced = true;
    assert!(!gateway.runs(HOUR) && gateway.is_corroborated());
}

#[test]
fn i11_a_box_that_was_off_for_three_months_begins_again() {
    let mut gateway = steady();
    gateway.loses_power(90 * DAY);
    assert_eq!(gateway.reads(), Reading::InDoubt);
    assert!(!gateway.is_corroborated());
    assert!(!gateway.runs(15 * DAY));
    assert!(gateway.is_corroborated());
}

#[test]
fn i11_a_power_cut_each_night_and_on_weekends_lets_the_count_grow() {
    let mut gateway = Gateway::new();
    for day in 1..=70 {
        gateway.runs(9 * HOUR + 20 * MINUTE);
        // The power is cut, so only what was kept on the way is there again.
        let kept = serde_json::to_vec(&gateway.reckoning.last).unwrap();
        let off = if day % 6 == 0 { 39 * HOUR } else { 14 * HOUR + 40 * MINUTE };
        gateway.is_off(off, kept);
        assert_eq!(gateway.reads(), Reading::Due, "day {day}");
    }
    assert!(gateway.is_corroborated());
}

#[test]
fn i11_a_date_that_moves_days_at_each_restart_is_in_doubt_at_the_second_one() {
    let mut gateway = steady();
    gateway.loses_power(3 * DAY);
    assert_eq!(gateway.reads(), Reading::Due);
    gateway.runs(HOUR);
    gateway.loses_power(3 * DAY);
    assert_eq!(gateway.reads(), Reading::InDoubt);
    // Small steps in one boot add up in the same way.
    let mut gateway = steady();
    let step = |gateway: &mut Gateway| {
        gateway.sets_clock(9 * MINUTE as i64);
        gateway.runs(MINUTE)
    };
    let steps = (0..2000).take_while(|_| !step(&mut gateway)).count();
    assert!((640..1500).contains(&steps), "{steps}");
}

#[test]
fn i11_a_clock_that_goes_back_begins_again() {
    let mut gateway = steady();
    gateway.sets_clock(-YEAR);
    assert_eq!(gateway.reads(), Reading::InDoubt);
    let mut gateway = steady();
    gateway.loses_power(0);
    gateway.sets_clock(-(DAY as i64));
    assert_eq!(gateway.reads(), Reading::InDoubt);
    // The drift of a clock without a network is no step.
    let mut gateway = steady();
    gateway.sets_clock(-120_000);
    assert_eq!(gateway.reads(), Reading::Usual);
}

#[test]
fn i11_a_fresh_install_or_a_damaged_count_begins_with_no_support() {
    let mut gateway = steady();
    for kept in [None, Some(&b"damaged"[..]), Some(b"null")] {
        gateway.reckoning = Reckoning::resumed(kept);
        assert!(!gateway.is_corroborated());
        assert_eq!(gateway.reads(), Reading::InDoubt);
        assert_eq!(gateway.reckoning.support().ran_s, 0);
    }
    // A restart of the daemon goes on.
    let mut gateway = steady();
    let kept = gateway.reckoning.kept();
    gateway.reckoning = Reckoning::resumed(Some(&kept));
    assert!(gateway.is_corroborated() && !gateway.runs(DAY));
}
