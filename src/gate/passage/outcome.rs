//! The outcome of a release: what the passage sensor saw, as far as the sensor works.

use super::{
    Action, GRACE, Machine, Passage, State,
    sensor::{Health, Sensor, Suspicion},
};
use crate::{
    clock::Monotonic,
    gate::claim::Sighting,
    ledger::{Detail, Flag, Outcome},
    turnstile::{PassageId, TurnstileEvent},
};

/// The outcome of a passage.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) detail: Option<Detail>,
    pub(super) flags: Vec<Flag>,
}

impl Ended {
    pub(super) fn action(&self, passage: PassageId) -> Action {
        let Ended { outcome, detail, flags } = self.clone();
        Action::Close { passage, outcome, detail, flags }
    }
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) passage: Passage,
    pub(super) until: Monotonic,
    /// The time of the release is over: this is the [`GRACE`] after it.
    pub(super) late: bool,
    /// The controller was disconnected for some of the time.
    pub(super) lost_sight: bool,
    /// The controller's counters started again.
    pub(super) restarted: bool,
    /// Until this time the worker counts as still before the camera.
    pub(super) stays_until: Monotonic,
}

impl Open {
    /// Returns a release that was acknowledged just now.
    pub(super) fn new(passage: Passage, until: Monotonic) -> Open {
        let (late, lost_sight, restarted) = (false, false, false);
        let stays_until = Monotonic::default();
        Open { passage, until, late, lost_sight, restarted, stays_until }
    }

    /// Returns whether the worker may have gone through without a sign of it. A worker who is still
    /// before the camera has not.
    pub(super) fn may_have_gone(&self, now: Monotonic, ended: &Ended) -> bool {
        ended.outcome != Outcome::NotPassed && now > self.stays_until
    }

    /// Takes a sighting: the worker of the release may still be before the camera.
    pub(super) fn look(&mut self, sighting: &Sighting) {
        let Passage { direction, visit, worker, .. } = &self.passage;
        let named = sighting.sighted.named();
        let is_the_worker =
            *visit == Some(sighting.visit) || worker.is_some() && worker.as_ref() == named;
        if *direction == sighting.direction && is_the_worker {
            let gap = sighting.pace.gap_unsearched();
            self.stays_until = self.stays_until.max(sighting.captured + gap);
        }
    }
}

/// Returns an outcome that the sensor cannot tell.
fn sensor_cannot_say(detail: Detail) -> Ended {
    let (outcome, flags) = (Outcome::Unconfirmed, vec![Flag::SENSOR_SUSPECT]);
    Ended { outcome, detail: Some(detail), flags }
}

impl Machine {
    /// Takes an event that is about the sensors alone.
    pub(super) fn sensed(&mut self, now: Monotonic, event: &TurnstileEvent) {
        match event {
            TurnstileEvent::Sensor { direction, on, .. } => {
                self.sensors[*direction as usize].level(now, *on);
            }
            TurnstileEvent::CountersRestarted { .. } => {
                let directions = self.open().map(|open| {
                    open.restarted = true;
                    open.passage.direction
                });
                for direction in Vec::from_iter(directions) {
                    self.sensors[direction as usize].restarted(now);
                }
            }
            TurnstileEvent::Down { .. } => {
                self.sensors.iter_mut().for_each(|sensor| sensor.out_of_sight(now, true));
                self.open().for_each(|open| open.lost_sight = true);
            }
            _ => {}
        }
    }

    /// Returns the releases whose passage may still come.
    pub(super) fn open(&mut self) -> impl Iterator<Item = &mut Open> {
        let open = match &mut self.state {
            State::Open(open) => Some(open),
            _ => None,
        };
        open.into_iter().chain(self.aside.as_mut().map(|aside| &mut aside.open))
    }

    /// Ends a release whose passage the sensor reports.
    pub(super) fn passed(&mut self, now: Monotonic, at: Monotonic, open: Open) -> Vec<Action> {
        let ended = self.seen(now, &open);
        self.went(now, at, open.passage, ended)
    }

    /// Returns the outcome of a release whose passage the sensor reports.
    pub(super) fn seen(&mut self, now: Monotonic, open: &Open) -> Ended {
        let doubt = self.sensors[open.passage.direction as usize].passed(now);
        let doubt = doubt.or(open.restarted.then_some(Suspicion::Restarted));
        let mut ended = match doubt {
            Some(why) => sensor_cannot_say(why.detail()),
            None => Ended { outcome: Outcome::Passed, detail: None, flags: Vec::new() },
        };
        if open.late {
            ended.flags.insert(0, Flag::LATE);
        }
        ended
    }

    /// Begins the time in which a passage is late. The worker's cool-down begins with it.
    pub(super) fn begin_grace(&mut self, now: Monotonic, open: Open) {
        self.cool(now, &open.passage, false);
        self.was_silent(now, &open);
        self.state = State::Open(Open { until: now + GRACE, late: true, ..open });
    }

    /// Takes it to the sensor that it reported no one in the time of a release. A worker who is
    /// still before the camera has not walked, so the sensor had nothing to report.
    pub(super) fn was_silent(&mut self, now: Monotonic, open: &Open) {
        if !open.lost_sight && !open.restarted && now > open.stays_until {
            self.sensors[open.passage.direction as usize].was_silent(now);
        }
    }

    /// Returns the outcome of a release without a passage.
    pub(super) fn not_seen(&self, now: Monotonic, open: &Open) -> Ended {
        let (mut outcome, flags) = (Outcome::Unconfirmed, Vec::new());
        let detail = if open.lost_sight {
            Detail::new("controller_away")
        } else if open.restarted {
            return sensor_cannot_say(Suspicion::Restarted.detail());
        } else if let Some(detail) = self.sensors[open.passage.direction as usize].cannot_say(now) {
            return sensor_cannot_say(detail);
        } else {
            outcome = Outcome::NotPassed;
            Detail::new("nothing_passed")
        };
        Ended { outcome, detail: Some(detail), flags }
    }

    /// Ends a release without a passage. The worker's cool-down began with the grace. Where the
    /// worker may have gone through, it is that of a worker who did.
    pub(super) fn unseen(&mut self, now: Monotonic, open: Open, ended: Ended) -> Vec<Action> {
        if open.may_have_gone(now, &ended) {
            self.cool(now, &open.passage, true);
        }
        self.end(now, open.passage, ended)
    }

    /// Ends a release whose time is over, because the next one comes. It is not known whether its
    /// person would have walked late.
    pub(super) fn give_way(&mut self, now: Monotonic) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(open) if open.late => {
                let mut ended = self.not_seen(now, &open);
                if ended.outcome == Outcome::NotPassed {
                    ended.outcome = Outcome::Unconfirmed;
                    ended.detail = Some(Detail::new("next_came"));
                }
                self.unseen(now, open, ended)
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// Returns why the sensor of each direction is suspect, and since when.
    pub fn suspects(&self) -> [Option<(Suspicion, Monotonic)>; 2] {
        self.sensors.each_ref().map(Sensor::suspect)
    }

    /// Returns what is to be known of the sensors after a restart. `None` while an outcome is being
    /// recorded, because a correction must come after it.
    pub fn health(&self) -> Option<[Health; 2]> {
        let closing = matches!(self.state, State::Closing { .. });
        (!closing).then(|| self.sensors.each_ref().map(Sensor::health))
    }

    /// Takes the health that is in the database. Where it asks for no corrections, those before it
    /// are in the ledger.
    pub fn corrected(&mut self, asked: [Health; 2], recorded: [Health; 2]) {
        for (sensor, (asked, recorded)) in self.sensors.iter_mut().zip(asked.iter().zip(recorded)) {
            if let Some(why) = asked.corrects.filter(|_| recorded.corrects.is_none()) {
                sensor.corrected(why);
            }
        }
    }
}
