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
pub(super) enum ConnectOutcome {
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
    pub fn went(&mut self, how: ConnectOutcome) -> Duration {
        let (_, version) = self.next();
        let guessed = self.wanted.is_none() && self.spoken[self.at].is_none();
        match how {
            ConnectOutcome::Well | ConnectOutcome::Up => self.spoken[self.at] = Some(version),
            // A broker may be another one than before, or have learned.
            ConnectOutcome::Nowhere => self.spoken[self.at] = None,
            ConnectOutcome::VersionInDoubt if guessed && !self.doubted => {
                self.doubted = true;
                return Duration::ZERO;
            }
            ConnectOutcome::VersionInDoubt => self.spoken[self.at] = None,
        }
        self.doubted = false;
        self.at = (self.at + 1) % self.spoken.len();
        if how == ConnectOutcome::Well {
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
mod tests;
