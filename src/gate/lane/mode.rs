//! How a lane works: normal, free or closed; and the fire alarm.
//!
//! An admin's change is recorded first and takes effect then (I1). A fire alarm opens first, every
//! lane of the gateway, and is recorded after: what is recorded follows what is so, as soon as the
//! disk lets it, at most once a second. Free mode lasts until somebody ends it, also across a
//! restart; nobody can while an alarm is on.

use std::{collections::BTreeSet, time::Duration};

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use super::{Done, LaneState, LaneTask, RETRY, Shell};
use crate::{
    clock::Monotonic,
    gate::passage::Event,
    ledger::{Actor, Detail, Fire, LaneMode, ModeChange},
    store::{self, Priority, StoreError},
};

/// A lane's mode, and why it has it. Kept with the database, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeState {
    pub mode: LaneMode,
    /// Empty where nobody ever set it.
    pub reason: String,
    /// Who set it; `None` where a fire alarm did.
    pub by: Option<String>,
    /// When, by the wall clock: milliseconds since 1970.
    pub at_ms: Option<i64>,
    /// What the ledger last said of the alarm's input at this lane's controller.
    #[serde(default)]
    pub fire: bool,
}

/// An admin's wish, and where its answer goes.
#[derive(Debug)]
pub struct ModeRequest {
    pub mode: LaneMode,
    pub reason: String,
    pub by: Actor,
    pub reply: oneshot::Sender<Result<ModeState, String>>,
}

/// The fire alarms of all lanes of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FireAlarms {
    /// Lanes at whose controller the alarm's input is on.
    on: BTreeSet<String>,
    /// How often an input went on.
    rung: u64,
    /// The last lane where it did.
    by: String,
}

/// What a lane knows of its mode. Outlives a fault of the lane.
#[derive(Debug)]
pub struct ModeHolder {
    now: ModeState,
    /// What the ledger last said of the mode and of this lane's alarm input.
    recorded: (LaneMode, bool),
    fire: bool,
    /// A record of what an alarm did is under way.
    recording: bool,
    record_from: Monotonic,
    /// An admin's change is under way.
    changing: bool,
    alarms: watch::Receiver<FireAlarms>,
    wake: watch::Sender<FireAlarms>,
    heard: u64,
}

/// Between two records of what alarms did: an input that chatters does not fill the disk.
const RECORD_GAP: Duration = Duration::from_secs(1);

fn key(lane: &str) -> String {
    format!("mode/{lane}")
}

/// A lane's mode as it was when the gateway stopped.
pub fn load(tx: &rusqlite::Connection, lane: &str) -> Result<ModeState, StoreError> {
    let Some(kept) = store::meta(tx, &key(lane))? else { return Ok(ModeState::default()) };
    Ok(serde_json::from_slice(&kept).unwrap_or_else(|error| {
        tracing::error!(%lane, %error, "its mode cannot be read: it begins as normal");
        ModeState::default()
    }))
}

/// Keeps a lane's mode; its entry is written in the same transaction.
pub fn keep(tx: &Transaction<'_>, lane: &str, state: &ModeState) -> Result<(), StoreError> {
    // A document of text and numbers has no error to give.
    let state = serde_json::to_vec(state).unwrap_or_default();
    Ok(store::set_meta(tx, &key(lane), &state)?)
}

impl ModeHolder {
    /// Begins with the mode that was kept.
    pub fn new(kept: ModeState, wake: &watch::Sender<FireAlarms>) -> ModeHolder {
        ModeHolder {
            recorded: (kept.mode, kept.fire),
            fire: kept.fire,
            now: kept,
            recording: false,
            record_from: Monotonic::default(),
            changing: false,
            alarms: wake.subscribe(),
            wake: wake.clone(),
            heard: 0,
        }
    }

    pub(super) fn mode(&self) -> LaneMode {
        self.now.mode
    }

    /// When an alarm rings at any lane.
    pub(super) async fn alarmed(&mut self) {
        // The lane holds a sender itself: it is never closed.
        let _ = self.alarms.changed().await;
    }

    /// The alarm's input at this lane's controller; the turnstile's task has opened already.
    pub(super) fn input(&mut self, lane: &str, on: bool) {
        if std::mem::replace(&mut self.fire, on) != on {
            tracing::error!(%lane, on, "fire alarm");
        }
        self.wake.send_if_modified(|alarms| {
            if !on {
                return alarms.on.remove(lane);
            }
            let rings = alarms.on.insert(lane.to_owned());
            if rings {
                alarms.rung += 1;
                alarms.by = lane.to_owned();
            }
            rings
        });
    }

    /// Takes in what has rung since this was last asked. Whether something has: then the lane is
    /// free, and that must be shown.
    pub(super) fn apply_fire(&mut self, at_ms: i64) -> bool {
        let (rung, by) = {
            let alarms = self.alarms.borrow_and_update();
            (alarms.rung, alarms.by.clone())
        };
        if std::mem::replace(&mut self.heard, rung) == rung {
            return false;
        }
        if self.now.mode != LaneMode::Free {
            let reason = format!("fire alarm at lane {by}");
            tracing::warn!(%reason, "a lane is free");
            let (mode, at_ms, fire) = (LaneMode::Free, Some(at_ms), self.now.fire);
            self.now = ModeState { mode, reason, by: None, at_ms, fire };
        }
        true
    }

    /// Says whether the arm is to stand open, to the turnstile and to who asks.
    pub(super) fn show(&self, hold_open: &watch::Sender<bool>, state: &watch::Sender<LaneState>) {
        hold_open.send_replace(self.now.mode == LaneMode::Free);
        state.send_modify(|s| s.mode = self.now.clone());
    }

    /// When what is so may be recorded.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let behind = self.recorded != (self.now.mode, self.fire);
        (behind && !self.recording).then_some(self.record_from)
    }

    /// Takes in what became of a write. Returns whether the mode is another one now.
    pub(super) fn apply_written(&mut self, written: Written) -> bool {
        match written {
            Written::Change { state, result, heard, reply } => {
                self.changing = false;
                if result.is_ok() {
                    self.recorded.0 = state.mode;
                }
                let answer = match result {
                    Err(error) => Err(format!("not changed, for it cannot be recorded: {error}")),
                    Ok(()) if state.mode != LaneMode::Free && heard != self.heard => {
                        Err("a fire alarm came in between: it stands open".to_owned())
                    }
                    Ok(()) => Ok(state),
                };
                if let Ok(state) = &answer {
                    self.now = state.clone();
                }
                let changed = answer.is_ok();
                // Who asked may have hung up; it holds all the same.
                let _ = reply.send(answer);
                changed
            }
            Written::Record { mode, fire, result, at } => {
                self.recording = false;
                let gap = if result.is_ok() { RECORD_GAP } else { RETRY };
                self.record_from = at + gap;
                if result.is_ok() {
                    self.recorded = (mode, fire);
                }
                false
            }
        }
    }
}

/// An answer of the store.
pub(super) enum Written {
    /// Of an admin.
    Change {
        state: ModeState,
        result: Result<(), String>,
        /// [`ModeHolder::heard`] when it was asked for.
        heard: u64,
        reply: oneshot::Sender<Result<ModeState, String>>,
    },
    /// Of what an alarm did.
    Record { mode: LaneMode, fire: bool, result: Result<(), String>, at: Monotonic },
}

impl LaneTask {
    pub(super) fn show_mode(&self) {
        self.holding.show(&self.turnstile.hold_open, &self.state);
    }
}

impl Shell<'_> {
    /// The alarm's input at this lane's controller.
    pub(super) fn fire(&mut self, on: bool) {
        self.lane.holding.input(&self.lane.name, on);
        self.alarm();
    }

    /// Opens if an alarm has rung since this was last looked at.
    pub(super) fn alarm(&mut self) {
        if self.lane.holding.apply_fire(self.lane.clock.stamp().wall_ms) {
            self.take_effect();
        }
    }

    /// The lane works as it is now said to.
    fn take_effect(&mut self) {
        let now = &self.lane.holding.now;
        tracing::warn!(lane = %self.lane.name, mode = %now.mode, reason = %now.reason, by = now.by, "lane mode");
        self.lane.show_mode();
        self.handle(Event::Mode(self.lane.holding.mode()));
    }

    /// Records what an alarm did, where that is due.
    pub(super) fn record(&mut self) {
        let now = self.lane.clock.monotonic();
        if self.lane.holding.due().is_none_or(|at| at > now) {
            return;
        }
        let holding = &mut self.lane.holding;
        holding.recording = true;
        let (mut state, fire, recorded) = (holding.now.clone(), holding.fire, holding.recorded);
        let rung_by = holding.alarms.borrow().by.clone();
        let (mode, lane, clock) = (state.mode, self.lane.name.clone(), self.lane.clock.clone());
        self.commit(
            Priority::Attendance,
            "mode",
            move |result| {
                let at = clock.monotonic();
                Some(Done::Mode(Written::Record { mode, fire, result, at }))
            },
            move |ledger, tx, stamp| {
                if recorded.1 != fire {
                    ledger.append(tx, stamp, Fire { lane: lane.clone(), on: fire })?;
                }
                state.fire = fire;
                keep(tx, &lane, &state)?;
                if recorded.0 != mode {
                    let detail = Some(Detail::new("fire_alarm").with("lane", rung_by));
                    let (reason, by) = (None, None);
                    ledger.append(tx, stamp, ModeChange { lane, mode, reason, by, detail })?;
                }
                Ok(())
            },
        );
    }

    /// An admin's change: into the ledger first.
    pub(super) fn change_mode(&mut self, request: ModeRequest) {
        let holding = &mut self.lane.holding;
        let ModeRequest { mode, reason, by, reply } = request;
        let alarms = holding.alarms.borrow().on.clone();
        let refusal = if mode != LaneMode::Free && !alarms.is_empty() {
            let lanes = Vec::from_iter(alarms).join(", ");
            Some(format!("the fire alarm at lane {lanes} is on: see to it first"))
        } else if holding.changing {
            Some("its mode is being changed already; ask again".to_owned())
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        holding.changing = true;
        let (heard, lane) = (holding.heard, self.lane.name.clone());
        let at_ms = Some(self.lane.clock.stamp().wall_ms);
        let (who, why) = (Some(by.user.clone()), reason.clone());
        let fire = holding.recorded.1;
        let state = ModeState { mode, reason: why, by: who, at_ms, fire };
        let kept = state.clone();
        self.commit(
            Priority::Attendance,
            "mode",
            move |result| Some(Done::Mode(Written::Change { state, result, heard, reply })),
            move |ledger, tx, stamp| {
                keep(tx, &lane, &kept)?;
                let (reason, by) = (Some(reason), Some(by));
                ledger.append(tx, stamp, ModeChange { lane, mode, reason, by, detail: None })?;
                Ok(())
            },
        );
    }

    pub(super) fn mode_written(&mut self, written: Written) {
        if self.lane.holding.apply_written(written) {
            self.take_effect();
        }
    }
}
