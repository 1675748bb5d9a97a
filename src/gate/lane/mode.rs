//! The mode of a lane (normal, free or closed), and the fire alarm.
//!
//! An admin's change is recorded first and then takes effect (I1). A fire alarm first opens every
//! lane of the gateway and is recorded after. The record follows as soon as the disk can take it,
//! at most once a second. Free mode lasts until an admin ends it, also across a restart. While an
//! alarm is on, it cannot be ended.

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

/// A lane's mode and its reason. The database keeps it as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeState {
    pub mode: LaneMode,
    /// Empty if the mode was never set.
    pub reason: String,
    /// The user who set it; `None` if a fire alarm did.
    pub by: Option<String>,
    /// Wall time of the change: milliseconds since 1970.
    pub at_ms: Option<i64>,
    /// State of the alarm's input at this lane's controller, as last recorded.
    #[serde(default)]
    pub fire: bool,
}

/// An admin's request for a mode, with the channel for its answer.
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
    /// Lanes whose controller has the alarm's input on.
    on: BTreeSet<String>,
    /// Number of times that an input went on.
    rung: u64,
    /// The lane whose input went on last.
    by: String,
}

/// A lane's mode and its pending changes. It outlives a fault of the lane.
#[derive(Debug)]
pub struct ModeHolder {
    now: ModeState,
    /// The mode and the state of this lane's alarm input, as last recorded.
    recorded: (LaneMode, bool),
    fire: bool,
    /// A commit of an alarm's effect is under way.
    recording: bool,
    record_from: Monotonic,
    /// An admin's change is under way.
    changing: bool,
    alarms: watch::Receiver<FireAlarms>,
    wake: watch::Sender<FireAlarms>,
    heard: u64,
}

/// Interval between two records of alarms, so that an input that chatters does not fill the disk.
const RECORD_GAP: Duration = Duration::from_secs(1);

fn key(lane: &str) -> String {
    format!("mode/{lane}")
}

/// Returns a lane's mode from before the gateway stopped.
pub fn load(tx: &rusqlite::Connection, lane: &str) -> Result<ModeState, StoreError> {
    let Some(kept) = store::meta(tx, &key(lane))? else { return Ok(ModeState::default()) };
    Ok(serde_json::from_slice(&kept).unwrap_or_else(|error| {
        tracing::error!(%lane, %error, "the stored mode is damaged: normal is used");
        ModeState::default()
    }))
}

/// Stores a lane's mode. The caller writes its entry in the same transaction.
pub fn keep(tx: &Transaction<'_>, lane: &str, state: &ModeState) -> Result<(), StoreError> {
    // Serializing text and numbers cannot fail.
    let state = serde_json::to_vec(state).unwrap_or_default();
    Ok(store::set_meta(tx, &key(lane), &state)?)
}

impl ModeHolder {
    /// Starts with the stored mode.
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

    /// Waits until the alarm's input of any lane goes on.
    pub(super) async fn alarmed(&mut self) {
        // The lane itself holds a sender, so the channel is never closed.
        let _ = self.alarms.changed().await;
    }

    /// Applies the state of the alarm's input at this lane's controller. The turnstile's task has
    /// already opened the arm.
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

    /// Applies the alarms since the last call. Returns whether there was one: then the lane is
    /// free, and the caller calls [`show`](Self::show).
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
            tracing::warn!(%reason, "lane mode: free");
            let (mode, at_ms, fire) = (LaneMode::Free, Some(at_ms), self.now.fire);
            self.now = ModeState { mode, reason, by: None, at_ms, fire };
        }
        true
    }

    /// Publishes the mode: to the turnstile, whether to hold the arm open; to `status`, the state.
    pub(super) fn show(&self, hold_open: &watch::Sender<bool>, state: &watch::Sender<LaneState>) {
        hold_open.send_replace(self.now.mode == LaneMode::Free);
        state.send_modify(|s| s.mode = self.now.clone());
    }

    /// Returns the time from which an unrecorded change may be recorded.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let behind = self.recorded != (self.now.mode, self.fire);
        (behind && !self.recording).then_some(self.record_from)
    }

    /// Applies the result of a write. Returns whether the mode has changed.
    pub(super) fn apply_written(&mut self, written: Written) -> bool {
        match written {
            Written::Change { state, result, heard, reply } => {
                self.changing = false;
                if result.is_ok() {
                    self.recorded.0 = state.mode;
                }
                let answer = match result {
                    Err(error) => {
                        Err(format!("not changed: the change cannot be recorded: {error}"))
                    }
                    Ok(()) if state.mode != LaneMode::Free && heard != self.heard => {
                        Err("a fire alarm came in between: the lane stands open".to_owned())
                    }
                    Ok(()) => Ok(state),
                };
                if let Ok(state) = &answer {
                    self.now = state.clone();
                }
                let changed = answer.is_ok();
                // The client may have closed the connection; the change holds anyway.
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
    /// Answer to an admin's change.
    Change {
        state: ModeState,
        result: Result<(), String>,
        /// [`ModeHolder::heard`] at the time of the request.
        heard: u64,
        reply: oneshot::Sender<Result<ModeState, String>>,
    },
    /// Answer to the record of an alarm.
    Record { mode: LaneMode, fire: bool, result: Result<(), String>, at: Monotonic },
}

impl LaneTask {
    pub(super) fn show_mode(&self) {
        self.holding.show(&self.turnstile.hold_open, &self.state);
    }
}

impl Shell<'_> {
    /// Handles a change of the alarm's input at this lane's controller.
    pub(super) fn fire(&mut self, on: bool) {
        self.lane.holding.input(&self.lane.name, on);
        self.alarm();
    }

    /// Opens the lane if an alarm's input went on since the last call.
    pub(super) fn alarm(&mut self) {
        if self.lane.holding.apply_fire(self.lane.clock.stamp().wall_ms) {
            self.take_effect();
        }
    }

    /// Puts the current mode into effect.
    fn take_effect(&mut self) {
        let now = &self.lane.holding.now;
        tracing::warn!(lane = %self.lane.name, mode = %now.mode, reason = %now.reason, by = now.by, "lane mode");
        self.lane.show_mode();
        self.handle(Event::Mode(self.lane.holding.mode()));
    }

    /// Records an alarm's effect, if that is due.
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

    /// Records an admin's change. It takes effect after the commit.
    pub(super) fn change_mode(&mut self, request: ModeRequest) {
        let holding = &mut self.lane.holding;
        let ModeRequest { mode, reason, by, reply } = request;
        let alarms = holding.alarms.borrow().on.clone();
        let refusal = if mode != LaneMode::Free && !alarms.is_empty() {
            let lanes = Vec::from_iter(alarms).join(", ");
            Some(format!("the fire alarm at lane {lanes} is on: end the alarm first"))
        } else if holding.changing {
            Some("another change of this lane's mode is under way; ask again".to_owned())
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
