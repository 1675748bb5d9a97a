//! Decides which broker of a list to try next, in which version of MQTT, and after which pause.
//!
//! In: how the last attempt went. Out: broker, version and pause. Touches nothing.

use std::time::Duration;

use crate::config::MqttVersion;

/// Shortest and longest pause after all brokers were tried in vain. It doubles each time.
const PAUSES: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(30);
/// Pause before the next broker of a list.
const BETWEEN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Route {
    /// The version that each broker of the list accepted.
    spoken: Vec<Option<MqttVersion>>,
    /// The configured version. `None`: 5, and 3.1.1 if the broker refuses it.
    wanted: Option<MqttVersion>,
    at: usize,
    /// This broker has refused MQTT 5.
    doubted: bool,
    /// Attempts in vain since the last connection with [`ConnectOutcome::Well`].
    in_vain: usize,
    pause: Duration,
}

/// How a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectOutcome {
    /// It delivered rows, or stood for a while.
    Well,
    /// It came up and ended soon, without a row delivered.
    Up,
    /// It did not come up.
    Nowhere,
    /// The broker refused the version.
    VersionRefused,
}

impl Route {
    /// Returns a route that begins with the first broker. `brokers` is their number, at least one.
    pub fn new(brokers: usize, wanted: Option<MqttVersion>) -> Route {
        let (spoken, pause) = (vec![None; brokers.max(1)], *PAUSES.start());
        Route { spoken, wanted, at: 0, doubted: false, in_vain: 0, pause }
    }

    /// Returns the index of the broker to try, and the version of MQTT.
    pub fn next(&self) -> (usize, MqttVersion) {
        let found = self.wanted.or(self.spoken[self.at]);
        let guess = if self.doubted { MqttVersion::V4 } else { MqttVersion::V5 };
        (self.at, found.unwrap_or(guess))
    }

    /// Returns whether the version of the next attempt is a guess, which the broker may refuse.
    pub fn guesses(&self) -> bool {
        self.wanted.is_none() && self.spoken[self.at].is_none() && !self.doubted
    }

    /// Passes over a broker that waits after a refused login. Returns the pause before the next one.
    pub fn pass_over(&mut self) -> Duration {
        self.doubted = false;
        self.advance()
    }

    /// Notes how an attempt went, and returns the pause before the next one.
    pub fn went(&mut self, how: ConnectOutcome) -> Duration {
        let (_, version) = self.next();
        let guessed = self.wanted.is_none() && self.spoken[self.at].is_none();
        match how {
            ConnectOutcome::Well | ConnectOutcome::Up => self.spoken[self.at] = Some(version),
            // The broker may be replaced or upgraded by the next attempt.
            ConnectOutcome::Nowhere => self.spoken[self.at] = None,
            ConnectOutcome::VersionRefused if guessed && !self.doubted => {
                self.doubted = true;
                return Duration::ZERO;
            }
            ConnectOutcome::VersionRefused => self.spoken[self.at] = None,
        }
        self.doubted = false;
        if how == ConnectOutcome::Well {
            self.at = (self.at + 1) % self.spoken.len();
            (self.in_vain, self.pause) = (0, *PAUSES.start());
            return if self.spoken.len() > 1 { BETWEEN } else { self.pause };
        }
        self.advance()
    }

    /// Goes on to the next broker, and returns the pause before it.
    fn advance(&mut self) -> Duration {
        self.at = (self.at + 1) % self.spoken.len();
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
