//! Judges a passage sensor: which outcomes may rest on it.
//!
//! A sensor is an input, which goes on and off as a person walks, or a counter, which rises. The
//! sign of life of an input: it goes on after a release, and off within a person's time. The sign
//! of life of a counter: it rises after a release. `not_passed` rests on a sensor that has shown a
//! sign of life lately. A suspect sensor shows that it works by another sign of life.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{clock::Monotonic, ledger::Detail, words::words};

/// Maximum time that a person is in a passage sensor. An input that is on for longer is suspect.
pub const PERSON: Duration = Duration::from_secs(10);
/// Number of releases in a row without a sign of life that make a sensor suspect.
const SILENT: u32 = 3;
/// Number of passages without a release within [`STRAYS_WITHIN`] that make a sensor suspect.
pub(super) const STRAYS: usize = 5;
const STRAYS_WITHIN: Duration = Duration::from_secs(30);
/// Number of times that an input goes on within [`PERSON`] that make it suspect. At the shift's
/// start people cause fewer.
pub(super) const EDGES: usize = 40;
/// Time for which a sign of life counts.
const LATELY: Duration = Duration::from_hours(24);

words! {
    /// Why a passage sensor is suspect.
    pub enum Suspicion {
        /// The input is on for longer than a person takes.
        On = "on",
        /// No sign of life over several releases.
        Silent = "silent",
        /// Passages without releases, or an input that goes on and off all the time.
        Chatters = "chatters",
        /// The counters started again while the arm was open.
        Restarted = "restarted",
    }
}

impl Suspicion {
    /// Returns the reason for an outcome. With the parameters `sensor`, `direction` and `lane` it
    /// is the reason for an alarm.
    pub fn detail(self) -> Detail {
        Detail::new(match self {
            Suspicion::On => "sensor_on",
            Suspicion::Silent => "sensor_silent",
            Suspicion::Chatters => "sensor_chatters",
            Suspicion::Restarted => "counters_restarted",
        })
    }
}

/// What is known of a sensor across a restart. The database keeps it as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Number of releases in a row without a sign of life.
    pub silent: u32,
    pub suspect: Option<Suspicion>,
    /// The `not_passed` outcomes since the last sign of life are to be corrected, for this reason.
    pub corrects: Option<Suspicion>,
}

#[derive(Debug, Default)]
pub(super) struct Sensor {
    health: Health,
    /// When it became suspect.
    suspect_since: Monotonic,
    on: Option<On>,
    alive: Option<Monotonic>,
    strays: VecDeque<Monotonic>,
    edges: VecDeque<Monotonic>,
}

/// An input that is on.
#[derive(Clone, Copy, Debug)]
struct On {
    since: Monotonic,
    /// It went on as a passage after a release.
    after_release: bool,
}

impl Sensor {
    pub(super) fn resumed(health: Health, now: Monotonic) -> Sensor {
        Sensor { health, suspect_since: now, ..Sensor::default() }
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Returns why the sensor is suspect, and since when.
    pub(super) fn suspect(&self) -> Option<(Suspicion, Monotonic)> {
        self.health.suspect.map(|why| (why, self.suspect_since))
    }

    /// The corrections for this reason are in the ledger.
    pub(super) fn corrected(&mut self, why: Suspicion) {
        self.health.corrects.take_if(|corrects| *corrects == why);
    }

    /// Takes the level of the input.
    pub(super) fn level(&mut self, now: Monotonic, on: bool) {
        if !on {
            let went_on = self.on.take();
            if went_on.is_some_and(|on| on.after_release && now.since(on.since) <= PERSON) {
                self.lives(now);
            }
        } else if self.on.is_none() {
            self.on = Some(On { since: now, after_release: false });
            if recent(&mut self.edges, now, PERSON, EDGES) {
                self.doubt(now, Suspicion::Chatters);
            }
        }
    }

    /// The controller is away, or the arm begins or ends to stand open: how long the input is on
    /// says nothing.
    pub(super) fn out_of_sight(&mut self, now: Monotonic, away: bool) {
        if let Some(on) = &mut self.on {
            *on = On { since: now, after_release: false };
        }
        self.on.take_if(|_| away);
    }

    /// Takes a passage after a release. Returns why the passage is not believed, if it is not.
    pub(super) fn passed(&mut self, now: Monotonic) -> Option<Suspicion> {
        let believed = !matches!(self.health.suspect, Some(Suspicion::On | Suspicion::Chatters));
        let doubt = self.health.suspect.filter(|_| !believed);
        match &mut self.on {
            Some(on) => on.after_release = true,
            None => self.lives(now),
        }
        doubt
    }

    /// Takes a passage without a release.
    pub(super) fn strayed(&mut self, now: Monotonic) {
        if recent(&mut self.strays, now, STRAYS_WITHIN, STRAYS) {
            self.doubt(now, Suspicion::Chatters);
        }
    }

    /// Takes the end of a release's time in which no passage was seen.
    pub(super) fn was_silent(&mut self, now: Monotonic) {
        if self.on.is_some() {
            return;
        }
        self.health.silent = self.health.silent.saturating_add(1);
        if self.health.silent >= SILENT && self.health.suspect.is_none() {
            self.doubt(now, Suspicion::Silent);
        }
    }

    /// The counters started again while the arm was open.
    pub(super) fn restarted(&mut self, now: Monotonic) {
        self.doubt(now, Suspicion::Restarted);
    }

    /// Returns why the sensor cannot say that no person passed, if it cannot.
    pub(super) fn cannot_say(&self, now: Monotonic) -> Option<Detail> {
        let on = self.on.map(|_| Suspicion::On);
        if let Some(why) = self.health.suspect.or(on) {
            return Some(why.detail());
        }
        let lives = self.alive.is_some_and(|at| now.since(at) <= LATELY);
        (!lives).then(|| Detail::new("sensor_unproven"))
    }

    /// Returns when the input has been on for longer than a person takes.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let known = self.health.suspect == Some(Suspicion::On);
        self.on.filter(|_| !known).map(|on| on.since + PERSON)
    }

    pub(super) fn tick(&mut self, now: Monotonic) {
        if self.due().is_some_and(|due| now >= due) {
            self.doubt(now, Suspicion::On);
        }
    }

    fn doubt(&mut self, now: Monotonic, why: Suspicion) {
        if self.health.suspect == Some(why) {
            return;
        }
        self.health.suspect = Some(why);
        self.suspect_since = now;
        if matches!(why, Suspicion::On | Suspicion::Silent) {
            self.health.corrects = Some(why);
        }
    }

    fn lives(&mut self, now: Monotonic) {
        self.alive = Some(now);
        self.health.silent = 0;
        self.strays.retain(|at| now.since(*at) < STRAYS_WITHIN);
        self.edges.retain(|at| now.since(*at) < PERSON);
        let chatters = self.health.suspect == Some(Suspicion::Chatters)
            && (!self.strays.is_empty() || self.edges.len() >= EDGES);
        self.health.suspect.take_if(|_| !chatters);
    }
}

/// Adds the time `now`. Returns whether there are `enough` times within `window`.
fn recent(
    times: &mut VecDeque<Monotonic>,
    now: Monotonic,
    window: Duration,
    enough: usize,
) -> bool {
    times.retain(|at| now.since(*at) < window);
    if times.len() >= enough {
        times.pop_front();
    }
    times.push_back(now);
    times.len() >= enough
}
