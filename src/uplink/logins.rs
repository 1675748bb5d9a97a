//! The pauses of brokers that refused the login. Pure.
//!
//! In: how an attempt at a broker went. Out: which brokers wait, and until when. A refused login
//! is not tried again at once, because many brokers lock an account after a few tries.

use std::time::Duration;

use crate::{clock::Monotonic, supervision::Refusals};

/// The brokers of one upstream.
#[derive(Debug)]
pub(super) struct Logins(Vec<(Refusals, Option<Monotonic>)>);

impl Logins {
    pub(super) fn new(brokers: usize) -> Logins {
        Logins((0..brokers).map(|_| Default::default()).collect())
    }

    /// Notes that a broker refused the login, or else that it accepted it.
    pub(super) fn went(&mut self, at: usize, refused: bool, now: Monotonic) {
        if let Some((refusals, until)) = self.0.get_mut(at) {
            *until = refused.then(|| now + refusals.refused());
            if !refused {
                refusals.over();
            }
        }
    }

    /// Notes that the password has changed: all brokers are tried at once.
    pub(super) fn changed(&mut self) {
        *self = Logins::new(self.0.len());
    }

    /// Returns whether this broker waits.
    pub(super) fn waits(&self, at: usize, now: Monotonic) -> bool {
        self.0.get(at).is_some_and(|(_, until)| until.is_some_and(|until| until > now))
    }

    /// Returns whether a broker has refused the login and not accepted it since.
    pub(super) fn any_refused(&self) -> bool {
        self.0.iter().any(|(_, until)| until.is_some())
    }

    /// Returns the time until the next attempt, if every broker waits.
    pub(super) fn rest(&self, now: Monotonic) -> Option<Duration> {
        let untils: Option<Vec<_>> = self.0.iter().map(|(_, until)| *until).collect();
        untils?.into_iter().min().filter(|until| *until > now).map(|until| until - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_refuses_the_login_waits_and_the_others_of_the_list_do_not() {
        let now = Monotonic::from_millis(0);
        let mut logins = Logins::new(2);
        logins.went(0, true, now);
        assert!(logins.waits(0, now) && !logins.waits(1, now));
        assert_eq!(logins.rest(now), None);
        logins.went(1, true, now + Duration::from_secs(5));
        assert_eq!(logins.rest(now + Duration::from_secs(5)), Some(Duration::from_secs(55)));
        // Each refusal makes the broker's own pause longer.
        let later = now + Duration::from_secs(60);
        assert!(!logins.waits(0, later) && logins.waits(1, later));
        logins.went(0, true, later);
        assert_eq!(logins.rest(later), Some(Duration::from_secs(5)));
        logins.changed();
        assert!(!logins.any_refused() && logins.rest(later).is_none());
    }
}
