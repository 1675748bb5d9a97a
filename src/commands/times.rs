//! From when until when a command is one: pure, from its times and the gateway's clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::parse::Verb;
use crate::{
    clock::{Monotonic, Stamp},
    services::{Code, Failure},
};

/// A release is void so long after it was issued.
const RELEASE_LIFE: Duration = Duration::from_secs(10);
/// How far the platform's clock may be ahead of this one, for a release and for all else.
const RELEASE_AHEAD: SignedDuration = SignedDuration::from_secs(2);
pub(super) const AHEAD_MS: i64 = 300_000;
const AHEAD: SignedDuration = SignedDuration::from_millis(AHEAD_MS);

/// When a command was issued, when it is over, and when it came.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) received: Monotonic,
}

impl Times {
    /// Refuses a command out of its time. Of a release: when it is void, by a clock that is never
    /// set (I4); without a clock to trust it is void at once.
    pub(super) fn checked(self, now: Stamp, verb: &Verb) -> Result<Option<Monotonic>, Failure> {
        let release = matches!(verb, Verb::Release { .. });
        if !now.synced {
            let problem = "the gateway's clock is not synchronised, so it cannot tell whether this \
                           is late: see to its time (NTP)";
            return if release { Err(Failure::new(Code::Clock, problem)) } else { Ok(None) };
        }
        let wall = now.timestamp();
        let ahead = if release { RELEASE_AHEAD } else { AHEAD };
        if self.issued_at.duration_since(wall) > ahead {
            let problem = format!(
                "issued_at: is more than {} s ahead of the gateway's clock ({wall}); see to the time \
                 on both sides",
                ahead.as_secs()
            );
            return Err(Failure::new(Code::NotYet, problem));
        }
        let life = self.issued_at.checked_add(RELEASE_LIFE).unwrap_or(Timestamp::MAX);
        let until = if release { self.expires_at.min(life) } else { self.expires_at };
        let left = Duration::try_from(until.duration_since(wall)).unwrap_or_default();
        if left.is_zero() {
            let problem = format!(
                "it was void from {until} on, and the gateway has {wall}; issue it anew where it is \
                 still meant"
            );
            return Err(Failure::new(Code::Expired, problem));
        }
        let void_after = Monotonic::from_millis(now.uptime_ms) + left;
        Ok(release.then(|| void_after.min(self.received + RELEASE_LIFE)))
    }
}

#[cfg(test)]
mod tests;
