//! Checks when a command is valid. Pure, from its times and the gateway's clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::parse::Verb;
use crate::{
    clock::{Monotonic, Stamp},
    services::{Code, Failure},
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

impl Times {
    /// Refuses a command outside of its time. Returns for a release the time at which it is void,
    /// by the monotonic clock (I4). While the wall clock is not trusted, a release is refused and
    /// any other command is accepted.
    pub(super) fn checked(self, now: Stamp, verb: &Verb) -> Result<Option<Monotonic>, Failure> {
        let release = matches!(verb, Verb::Release { .. });
        if !now.synced {
            let problem = "the gateway's clock is not synchronised, so the age of the command is \
                           not known; check the gateway's time (NTP)";
            return if release { Err(Failure::new(Code::Clock, problem)) } else { Ok(None) };
        }
        let wall = now.timestamp();
        let ahead = if release { RELEASE_AHEAD } else { AHEAD };
        if self.issued_at.duration_since(wall) > ahead {
            let problem = format!(
                "issued_at: is more than {} s ahead of the gateway's clock ({wall}); check the time \
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
                "the command expired at {until}, and the gateway's time is {wall}; issue it again if \
                 it is still needed"
            );
            return Err(Failure::new(Code::Expired, problem));
        }
        let void_after = Monotonic::from_millis(now.uptime_ms) + left;
        Ok(release.then(|| void_after.min(self.received + RELEASE_LIFE)))
    }
}

#[cfg(test)]
mod tests;
