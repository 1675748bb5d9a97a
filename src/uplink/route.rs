//! Which broker of a list to try next, in which version of MQTT, and after which pause; touches
//! nothing.

use std::time::Duration;

use crate::config::MqttVersion;

/// After all brokers were tried in vain, doubling from the first one to the last one.
const PAUSES: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(30);
/// Before the next one of a list.
const BETWEEN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Route {
    /// What each broker of the list was found to speak.
    spoken: Vec<Option<MqttVersion>>,
    /// As configured; `None`: 5, and 3.1.1 where that is refused.
    wanted: Option<MqttVersion>,
    at: usize,
    /// This broker may not know MQTT 5.
    doubted: bool,
    /// Attempts in vain since a connection was worth something.
    in_vain: usize,
    pause: Duration,
}

/// How a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// It carried something, or held.
    Well,
    /// It came up, and that was all.
    Up,
    /// It did not come up.
    Nowhere,
    /// It did not come up, and the version may be why.
    VersionInDoubt,
}

impl Route {
    /// `brokers`: how many there are, at least one.
    pub fn new(brokers: usize, wanted: Option<MqttVersion>) -> Route {
        let (spoken, pause) = (vec![None; brokers.max(1)], *PAUSES.start());
        Route { spoken, wanted, at: 0, doubted: false, in_vain: 0, pause }
    }

    /// Which broker is to be tried, and how.
    pub fn next(&self) -> (usize, MqttVersion) {
        let found = self.wanted.or(self.spoken[self.at]);
        let guess = if self.doubted { MqttVersion::V4 } else { MqttVersion::V5 };
        (self.at, found.unwrap_or(guess))
    }

    /// Returns the pause before the next attempt.
    pub fn went(&mut self, how: Went) -> Duration {
        let (_, version) = self.next();
        let guessed = self.wanted.is_none() && self.spoken[self.at].is_none();
        match how {
            Went::Well | Went::Up => self.spoken[self.at] = Some(version),
            // A broker may be another one than before, or have learned.
            Went::Nowhere => self.spoken[self.at] = None,
            Went::VersionInDoubt if guessed && !self.doubted => {
                self.doubted = true;
                return Duration::ZERO;
            }
            Went::VersionInDoubt => self.spoken[self.at] = None,
        }
        self.doubted = false;
        self.at = (self.at + 1) % self.spoken.len();
        if how == Went::Well {
            (self.in_vain, self.pause) = (0, *PAUSES.start());
            return if self.spoken.len() > 1 { BETWEEN } else { self.pause };
        }
        self.in_vain += 1;
        if !self.in_vain.is_multiple_of(self.spoken.len()) {
            return BETWEEN;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(*PAUSES.end());
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MqttVersion::{V4, V5};

    #[test]
    fn a_broker_that_refuses_5_is_spoken_to_in_3_1_1_from_then_on() {
        let mut route = Route::new(1, None);
        assert_eq!(route.next(), (0, V5));
        assert_eq!(route.went(Went::VersionInDoubt), Duration::ZERO);
        assert_eq!(route.next(), (0, V4));
        route.went(Went::Well);
        assert_eq!(route.next(), (0, V4));
        // It is gone, and who knows what comes back.
        route.went(Went::Nowhere);
        assert_eq!(route.next(), (0, V5));
        // It refuses both: another reason than the version, so both are tried each time.
        assert_eq!(route.went(Went::VersionInDoubt), Duration::ZERO);
        assert!(route.went(Went::VersionInDoubt) >= *PAUSES.start());
        assert_eq!(route.next(), (0, V5));
    }

    #[test]
    fn a_version_that_is_configured_is_the_one() {
        let mut route = Route::new(1, Some(V5));
        assert!(route.went(Went::VersionInDoubt) > Duration::ZERO);
        assert_eq!(route.next(), (0, V5));
        assert_eq!(Route::new(1, Some(V4)).next(), (0, V4));
    }

    #[test]
    fn the_brokers_of_a_list_are_tried_in_turn_and_the_pause_comes_after_the_last() {
        let mut route = Route::new(3, Some(V4));
        let mut rounds = Vec::new();
        for round in 0..9 {
            for (broker, is_last) in [(0, false), (1, false), (2, true)] {
                assert_eq!(route.next().0, broker);
                let pause = route.went(Went::Nowhere);
                assert!(is_last || pause == BETWEEN, "{round}");
                rounds.extend(is_last.then_some(pause));
            }
        }
        assert!(rounds.windows(2).all(|w| w[1] == (w[0] * 2).min(*PAUSES.end())), "{rounds:?}");
        assert_eq!(rounds[8], *PAUSES.end());
        // One that lets in and throws out again is left alone for longer and longer too.
        assert_eq!([Went::Up; 3].map(|how| route.went(how))[2], *PAUSES.end());
        route.went(Went::Well);
        assert_eq!([Went::Nowhere; 3].map(|how| route.went(how))[2], *PAUSES.start());
    }
}
