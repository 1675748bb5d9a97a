use super::*;
use crate::clock::{Clock, ManualClock};

const NOW_MS: i64 = 1_793_228_400_000;

#[test]
fn i11_a_removal_is_dated_within_its_boot_and_after_another_boot_must_be_in_its_time_still() {
    let now = ManualClock::new(NOW_MS, true).stamp();
    let now = Stamp { uptime_ms: 1_000_000, ..now };
    // It was received 400 s ago, and was valid from 500 s to 300 s ago.
    let waits = |boot: BootId| Waits {
        upstream: "platform".to_owned(),
        reason: None,
        issued_ms: NOW_MS - 500_000,
        expires_ms: NOW_MS - 300_000,
        boot,
        uptime_ms: 600_000,
    };
    assert!(waits(now.boot).was_in_time(now));
    let other = BootId([9; 16]);
    assert!(!waits(other).was_in_time(now));
    assert!(Waits { expires_ms: NOW_MS + 1, ..waits(other) }.was_in_time(now));
    // A command of last month, sent again while the gateway had no time.
    let month = 30 * 86_400_000;
    let old =
        Waits { issued_ms: NOW_MS - month, expires_ms: NOW_MS - month + 60_000, ..waits(now.boot) };
    assert!(!old.was_in_time(now));
}
