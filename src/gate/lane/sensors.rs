//! What a lane knows of its passage sensors across restarts, and the corrections that follow.
//!
//! A reboot each night must not hide a torn wire. So the number of silent releases and a suspicion
//! are in the database. When a sensor becomes suspect, the outcomes that it could not tell are
//! corrected in the same transaction.

use rusqlite::Transaction;

use super::{Done, Health, LaneTask, RETRY, Shell};
use crate::{
    clock::Monotonic,
    config::Direction,
    gate::passage::Event,
    ledger::Flag,
    store::{self, Priority, StoreError},
    turnstile::TurnstileEvent,
};

/// The health of a lane's sensors. It outlives a fault of the lane.
#[derive(Debug, Default)]
pub struct SensorHolder {
    now: [Health; 2],
    recorded: [Health; 2],
    /// A commit is under way.
    recording: bool,
    record_from: Monotonic,
}

/// An answer of the store: the health to record, and what is recorded.
pub(super) struct Written {
    asked: [Health; 2],
    result: Result<[Health; 2], String>,
}

fn key(lane: &str) -> String {
    format!("sensors/{lane}")
}

/// Returns the health of a lane's sensors from before the gateway stopped.
pub fn load(tx: &rusqlite::Connection, lane: &str) -> Result<[Health; 2], StoreError> {
    let Some(kept) = store::meta(tx, &key(lane))? else { return Ok(Default::default()) };
    Ok(serde_json::from_slice(&kept).unwrap_or_else(|error| {
        tracing::error!(%lane, %error, "the stored health of the sensors is damaged");
        Default::default()
    }))
}

/// Stores the health of a lane's sensors.
pub fn keep(tx: &Transaction<'_>, lane: &str, health: [Health; 2]) -> Result<(), StoreError> {
    // Serializing words and numbers cannot fail.
    let health = serde_json::to_vec(&health).unwrap_or_default();
    Ok(store::set_meta(tx, &key(lane), &health)?)
}

impl SensorHolder {
    /// Starts with the stored health.
    pub fn new(kept: [Health; 2]) -> SensorHolder {
        SensorHolder { now: kept, recorded: kept, ..SensorHolder::default() }
    }

    /// Returns the health for a new machine. The writes of the machine before it have ended.
    pub(super) fn resumed(&mut self) -> [Health; 2] {
        self.recording = false;
        self.now
    }

    /// Returns the time from which an unrecorded change may be recorded.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let corrects = self.now.iter().any(|health| health.corrects.is_some());
        let behind = self.recorded != self.now || corrects;
        (behind && !self.recording).then_some(self.record_from)
    }
}

impl Shell<'_> {
    /// Gives a new machine the levels of the passage inputs.
    pub(super) fn sensors_at_start(&mut self) {
        let inputs = self.lane.turnstile.state.borrow().passage_inputs.unwrap_or_default();
        for direction in Direction::BOTH.into_iter().filter(|d| inputs[d.index()]) {
            let at = self.lane.clock.monotonic();
            let event = TurnstileEvent::Sensor { direction, on: true, at };
            self.handle(Event::Turnstile(event));
        }
    }

    /// Records the sensors' health with the corrections that it asks for, if that is due.
    pub(super) fn record_sensors(&mut self) {
        let Some(asked) = self.machine.health() else { return };
        let now = self.lane.clock.monotonic();
        let LaneTask { sensors, name, .. } = &mut *self.lane;
        sensors.now = asked;
        if sensors.due().is_none_or(|at| at > now) {
            return;
        }
        sensors.recording = true;
        let lane = name.clone();
        self.commit(
            Priority::Attendance,
            "correction",
            move |result| Some(Done::Sensors(Written { asked, result })),
            move |ledger, tx, stamp| {
                let mut health = asked;
                for direction in Direction::BOTH {
                    let corrects = &mut health[direction.index()].corrects;
                    let Some(why) = *corrects else { continue };
                    let (detail, flag) = (why.detail(), Flag::SENSOR_SUSPECT);
                    // One call corrects a bounded number of outcomes.
                    if ledger.correct_not_passed(tx, stamp, &lane, direction, detail, flag)? == 0 {
                        *corrects = None;
                    }
                }
                keep(tx, &lane, health)?;
                Ok(health)
            },
        );
    }

    pub(super) fn sensors_written(&mut self, Written { asked, result }: Written) {
        let sensors = &mut self.lane.sensors;
        sensors.recording = false;
        match result {
            Ok(recorded) => {
                sensors.recorded = recorded;
                self.machine.corrected(asked, recorded);
                sensors.record_from = Monotonic::default();
            }
            Err(_) => sensors.record_from = self.lane.clock.monotonic() + RETRY,
        }
    }
}
