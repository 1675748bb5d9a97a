//! Checks when a command is valid. Pure, from its times and the gateway's clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{parse::Verb, refusal::Refusal};
use crate::{
    clock::{Monotonic, Stamp},
    services::Failure,
};

/// Maximum age of a release.
const RELEASE_LIFE: Duration = Duration::from_secs(10);
/// Maximum time by which the platform's clock may be ahead of the gateway's, for a release.
const RELEASE_AHEAD: SignedDuration = SignedDuration::from_secs(2);
/// Maximum time by which it may be ahead for all other commands, in milliseconds.
pub(super) const AHEAD_MS: i64 = 300_000;
const AHEAD: SignedDuration = SignedDuration::from_millis(AHEAD_MS);

/// The times at which a command was issued, expires and was received.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) received: Monotonic,
}

/// Time for which a command without times is valid. It is carried out when the ones before it are.
const UNDATED_LIFE: SignedDuration = SignedDuration::from_hours(1);

impl Times {
    /// Returns the times of a command that has none: it counts as issued when it was received.
    pub(super) fn from_now(received: Stamp) -> (Timestamp, Timestamp) {
        let now = received.timestamp();
        (now, now.checked_add(UNDATED_LIFE).unwrap_or(Timestamp::MAX))
    }

    /// Refuses a command outside of its time. Returns for a release the time at which it is void,
    /// by the monotonic clock (I4). While the wall clock is not trusted, the age of a command is
    /// not known. Then a command that had expired at the last trusted time is refused as expired,
    /// and of the others only those that keep people out, or show and admit no one, are accepted.
    pub(super) fn checked(
        self,
        now: Stamp,
        last_trusted_ms: Option<i64>,
        verb: &Verb,
    ) -> Result<Option<Monotonic>, Failure> {
        let release = matches!(verb, Verb::Release { .. });
        if !now.synced {
            let last = last_trusted_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            return match last.filter(|last| self.expires_at <= *last) {
                Some(last) => Err(Refusal::Expired { until: self.expires_at, now: last }.into()),
                None if verb.needs_no_clock() => Ok(None),
                None => Err(Refusal::Clock.into()),
            };
        }
        let uptime = Monotonic::from_millis(now.uptime_ms);
        let now = now.timestamp();
        let ahead = if release { RELEASE_AHEAD } else { AHEAD };
        if self.issued_at.duration_since(now) > ahead {
            return Err(Refusal::NotYet { ahead_s: ahead.as_secs(), now }.into());
        }
        let life = self.issued_at.checked_add(RELEASE_LIFE).unwrap_or(Timestamp::MAX);
        let until = if release { self.expires_at.min(life) } else { self.expires_at };
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        if left.is_zero() {
            return Err(Refusal::Expired { until, now }.into());
        }
        let void_after = uptime + left;
        Ok(release.then(|| void_after.min(self.received + RELEASE_LIFE)))
    }

    /// Returns whether the command was in its time at a trusted moment.
    pub(super) fn contain(issued_ms: i64, expires_ms: i64, at_ms: i64) -> bool {
        (issued_ms.saturating_sub(AHEAD_MS)..expires_ms).contains(&at_ms)
    }
}

#[cfg(test)]
mod tests;
