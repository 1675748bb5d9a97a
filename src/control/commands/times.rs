//! From when until when a command is one: pure, from its times and the gateway's clock.

use std::time::Duration;

use jiff::Timestamp;

use super::{Failure, parse::Verb};
use crate::clock::{Monotonic, Stamp};

/// A release is void so long after it was issued.
const RELEASE_LIFE: Duration = Duration::from_secs(10);
/// How far the platform's clock may be ahead of this one, for a release and for all else.
const RELEASE_AHEAD: Duration = Duration::from_secs(2);
pub(super) const AHEAD_MS: i64 = 300_000;
const AHEAD: Duration = Duration::from_millis(AHEAD_MS.unsigned_abs());

/// When a command was issued, when it is over, and when it came.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) received: Monotonic,
}

impl Times {
    /// Refuses a command out of its time. Of a release: when it is void, by a clock that nobody
    /// sets (I4); without a clock to trust it is void at once.
    pub(super) fn checked(self, now: Stamp, verb: &Verb) -> Result<Option<Monotonic>, Failure> {
        let release = matches!(verb, Verb::Release { .. });
        if !now.synced {
            let problem = "the gateway's clock is not synchronised, so it cannot tell whether this \
                           is late: see to its time (NTP)";
            return if release { Err(Failure::new("clock", problem)) } else { Ok(None) };
        }
        let wall = now.timestamp();
        let ahead = if release { RELEASE_AHEAD } else { AHEAD };
        if self.issued_at.duration_since(wall) > to_signed(ahead) {
            let problem = format!(
                "issued_at: is more than {} s ahead of the gateway's clock ({wall}); see to the time \
                 on both sides",
                ahead.as_secs()
            );
            return Err(Failure::new("not_yet", problem));
        }
        let life = self.issued_at.checked_add(RELEASE_LIFE).unwrap_or(Timestamp::MAX);
        let until = if release { self.expires_at.min(life) } else { self.expires_at };
        let left = Duration::try_from(until.duration_since(wall)).unwrap_or_default();
        if left.is_zero() {
            let problem = format!(
                "it was void from {until} on, and the gateway has {wall}; issue it anew where it is \
                 still meant"
            );
            return Err(Failure::new("expired", problem));
        }
        let void_after = Monotonic::from_millis(now.uptime_ms) + left;
        Ok(release.then(|| void_after.min(self.received + RELEASE_LIFE)))
    }
}

fn to_signed(time: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(time).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
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

    /// What is said of a command issued at and void from so many ms from now, received `ago`.
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

    fn code(times: Times, release: bool, synced: bool) -> Option<String> {
        let checked = times.checked(clock(synced).stamp(), &verb(release));
        checked.err().map(|failure| failure.code)
    }

    #[test]
    fn i4_a_release_is_void_ten_seconds_after_it_was_issued_or_earlier() {
        let void_after = |issued, expires, ago| {
            let checked = times(issued, expires, ago).checked(clock(true).stamp(), &verb(true));
            checked.unwrap().unwrap().as_millis() - 100_000
        };
        assert_eq!(void_after(0, 60_000, 0), 10_000);
        assert_eq!(void_after(-4_000, 60_000, 0), 6_000);
        assert_eq!(void_after(-4_000, 1_500, 0), 1_500);
        // A platform whose clock is ahead gives it no more time here.
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
            assert_eq!(found.as_deref(), expected, "{issued} {expires}");
        }
        // Whatever it says of itself.
        assert_eq!(code(times(0, 60_000, 0), true, false).as_deref(), Some("clock"));
    }

    #[test]
    fn what_is_no_release_has_the_time_that_it_says_and_a_clock_without_trust_refuses_nothing() {
        assert_eq!(code(times(-86_400_000, 1, 0), false, true), None);
        assert_eq!(code(times(-86_400_000, 0, 0), false, true).as_deref(), Some("expired"));
        assert_eq!(code(times(300_000, 400_000, 0), false, true), None);
        assert_eq!(code(times(300_001, 400_000, 0), false, true).as_deref(), Some("not_yet"));
        assert_eq!(code(times(-86_400_000, -1, 0), false, false), None);
        assert_eq!(code(times(900_000, 900_000, 0), false, false), None);
        let last = Times { expires_at: Timestamp::MAX, ..times(0, 0, 0) };
        assert_eq!(code(last, false, true), None);
    }
}
