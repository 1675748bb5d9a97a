use serde_json::Value;

use super::*;
use crate::clock::{Clock, ManualClock};

const NOW_MS: i64 = 1_793_228_400_000;

fn verb(release: bool) -> Verb {
    let args = serde_json::json!({ "lane": "north", "direction": "entry", "reason": "guest" });
    let Value::Object(args) = args else { panic!() };
    match release {
        true => Verb::read("lane.release", args).unwrap(),
        false => Verb::read("roster.digest", Default::default()).unwrap(),
    }
}

/// Returns the times of a command: `issued` and `expires` in ms from now, received `ago` ms ago.
fn times(issued: i64, expires: i64, ago: u64) -> Times {
    let at = |ms: i64| Timestamp::from_millisecond(NOW_MS + ms).unwrap();
    let received = Monotonic::from_millis(100_000 - ago);
    Times { issued_at: at(issued), expires_at: at(expires), received }
}

fn clock(synced: bool) -> ManualClock {
    let clock = ManualClock::new(NOW_MS - 99_000, synced);
    clock.advance(Duration::from_millis(99_000));
    clock
}

fn code(times: Times, release: bool, synced: bool) -> Option<&'static str> {
    let checked = times.checked(clock(synced).stamp(), None, &verb(release));
    checked.err().map(|failure| failure.code.word())
}

#[test]
fn i4_a_release_is_void_ten_seconds_after_it_was_issued_or_earlier() {
    let void_after = |issued, expires, ago| {
        let checked = times(issued, expires, ago).checked(clock(true).stamp(), None, &verb(true));
        checked.unwrap().unwrap().as_millis() - 100_000
    };
    assert_eq!(void_after(0, 60_000, 0), 10_000);
    assert_eq!(void_after(-4_000, 60_000, 0), 6_000);
    assert_eq!(void_after(-4_000, 1_500, 0), 1_500);
    // A platform's clock that is ahead does not extend the time.
    assert_eq!(void_after(2_000, 60_000, 0), 10_000);
    assert_eq!(void_after(0, 60_000, 7_000), 3_000);
    for (issued, expires, expected) in [
        (-9_999, 60_000, None),
        (-10_000, 60_000, Some("expired")),
        (-5_000, 0, Some("expired")),
        (-5_000, -1, Some("expired")),
        (2_001, 60_000, Some("not_yet")),
    ] {
        let found = code(times(issued, expires, 0), true, true);
        assert_eq!(found, expected, "{issued} {expires}");
    }
    // Without a trusted clock the command's own times do not matter.
    assert_eq!(code(times(0, 60_000, 0), true, false), Some("clock"));
}

#[test]
fn other_commands_are_valid_until_they_expire_and_without_a_clock_if_they_admit_no_one() {
    assert_eq!(code(times(-86_400_000, 1, 0), false, true), None);
    assert_eq!(code(times(-86_400_000, 0, 0), false, true), Some("expired"));
    assert_eq!(code(times(300_000, 400_000, 0), false, true), None);
    assert_eq!(code(times(300_001, 400_000, 0), false, true), Some("not_yet"));
    assert_eq!(code(times(-86_400_000, -1, 0), false, false), None);
    assert_eq!(code(times(900_000, 900_000, 0), false, false), None);
    let last = Times { expires_at: Timestamp::MAX, ..times(0, 0, 0) };
    assert_eq!(code(last, false, true), None);
}

#[test]
fn without_a_trusted_clock_only_what_restricts_is_accepted_and_nothing_that_had_surely_expired() {
    let accepted = |verb: &str, args: Value, last: Option<i64>| {
        let Value::Object(args) = args else { panic!("{args}") };
        let verb = Verb::read(verb, args).unwrap();
        let checked = times(-1_000, 60_000, 0).checked(clock(false).stamp(), last, &verb);
        checked.err().map(|failure| failure.code.word())
    };
    let worker = || serde_json::json!({ "id": "W001", "reason": "x" });
    for (verb, code) in
        [("worker.suspend", None), ("worker.remove", None), ("worker.resume", Some("clock"))]
    {
        assert_eq!(accepted(verb, worker(), None), code, "{verb}");
        assert_eq!(accepted(verb, worker(), Some(NOW_MS + 59_999)), code, "{verb}");
        assert_eq!(accepted(verb, worker(), Some(NOW_MS + 60_000)), Some("expired"), "{verb}");
    }
    for (verb, code) in
        [("status.now", None), ("roster.digest", None), ("roster.page", Some("clock"))]
    {
        assert_eq!(accepted(verb, serde_json::json!({}), None), code, "{verb}");
    }
}
