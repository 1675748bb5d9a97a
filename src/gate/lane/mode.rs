//! The mode of a lane (normal, free or closed), and the fire alarm.
//!
//! An admin's change is recorded first and then takes effect (I1). A fire alarm first opens every
//! lane of the gateway and is recorded after. The record follows as soon as the disk can take it,
//! at most once a second, and more rarely while the input chatters. Free mode lasts until an admin ends it, also across a restart. While an
//! alarm is on, it cannot be ended. Only after a glitch of an alarm's input ([`super::fire`]) the
//! lane goes back to the mode before, which is recorded first.

use std::time::Duration;

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use super::{
    Done, LaneState, LaneTask, RETRY, Shell,
    fire::{FireAlarms, GLITCH_WINDOW},
};
use crate::{
    clock::{Monotonic, Stamp},
    config::FireSignal,
    gate::{Refusal, passage::Event},
    ledger::{Actor, Detail, Fire, LaneMode, ModeChange},
    store::{self, Priority, StoreError},
    turnstile::{SHORT_SIGN, TurnstileEvent},
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
    /// Time of the latest short sign of this lane's alarm input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_sign: Option<Stamp>,
}

/// An admin's request for a mode, with the channel for its answer.
#[derive(Debug)]
pub struct ModeRequest {
    pub mode: LaneMode,
    pub reason: String,
    pub by: Actor,
    pub reply: oneshot::Sender<Result<ModeState, Refusal>>,
}

/// A lane's mode and its pending changes. It outlives a fault of the lane.
#[derive(Debug)]
pub struct ModeHolder {
    lane: String,
    signal: FireSignal,
    now: ModeState,
    /// The mode before the alarm of this number, until a further alarm or an admin's change.
    before: Option<(u64, ModeState)>,
    /// Number of short signs of this lane's alarm input.
    short_signs: u64,
    /// The mode and the state of this lane's alarm input, as last recorded.
    recorded: (LaneMode, bool),
    fire: bool,
    /// A commit of an alarm's effect is under way.
    recording: bool,
    /// Times from which a change of the mode, and of the input alone, may be recorded.
    record_from: Monotonic,
    input_from: Monotonic,
    /// Interval between two records of the input alone.
    gap: Duration,
    /// An admin's change is under way.
    changing: bool,
    alarms: watch::Receiver<FireAlarms>,
    wake: watch::Sender<FireAlarms>,
    heard: u64,
}

/// Interval between two records of alarms, so that an input that chatters does not fill the disk.
const RECORD_GAP: Duration = Duration::from_secs(1);
/// Maximum interval between two records of an input that chatters. The interval doubles with each
/// record that soon follows another.
const CHATTER_GAP: Duration = Duration::from_secs(10 * 60);

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

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
    pub fn new(
        lane: &str,
        signal: FireSignal,
        kept: ModeState,
        wake: &watch::Sender<FireAlarms>,
        now: Stamp,
    ) -> ModeHolder {
        if let Some(ago) =
            kept.short_sign.map(|at| now.since(at)).filter(|ago| *ago < GLITCH_WINDOW)
        {
            let at = Monotonic::from_millis(now.uptime_ms.saturating_sub(millis(ago)));
            wake.send_modify(|alarms| alarms.recall(lane, at));
        }
        ModeHolder {
            lane: lane.to_owned(),
            signal,
            before: None,
            short_signs: 0,
            recorded: (kept.mode, kept.fire),
            fire: kept.fire,
            now: kept,
            recording: false,
            record_from: Monotonic::default(),
            input_from: Monotonic::default(),
            gap: RECORD_GAP,
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

    /// Applies an event of the alarm's input at this lane's controller. Returns whether it is one.
    /// The turnstile's task has already opened the arm.
    pub(super) fn hears(&mut self, event: &TurnstileEvent, now: Stamp) -> bool {
        let lane = &self.lane;
        match *event {
            TurnstileEvent::Fire { on, lasted, .. } => self.input(on, lasted, now),
            TurnstileEvent::FireQuiet => {
                if self.wake.send_if_modified(|alarms| alarms.quiet(lane)) {
                    tracing::warn!(%lane, "the fire sign was a glitch of its input");
                }
            }
            _ => return false,
        }
        true
    }

    /// Applies the state of the alarm's input. `lasted` is the maximum length of a sign that is
    /// over, where it is known.
    pub(super) fn input(&mut self, on: bool, lasted: Option<Duration>, now: Stamp) {
        let (lane, at) = (&self.lane, Monotonic::from_millis(now.uptime_ms));
        // A panel that speaks by pulses means each of them.
        let lasted = lasted.filter(|_| self.signal == FireSignal::Level);
        if std::mem::replace(&mut self.fire, on) != on {
            tracing::error!(%lane, on, ?lasted, "fire alarm");
        }
        let mut ended = false;
        self.wake.send_if_modified(|alarms| {
            ended = !on && alarms.end(lane, at, lasted);
            ended || on && alarms.ring(lane)
        });
        if ended && lasted.is_some_and(|lasted| lasted < SHORT_SIGN) {
            self.short_signs += 1;
            self.now.short_sign = Some(now);
        }
    }

    /// Applies the alarms since the last call. Returns whether there was one: then the lane is
    /// free, and the caller calls [`show`](Self::show).
    pub(super) fn apply_fire(&mut self, at_ms: i64) -> bool {
        let (rung, by) = {
            let alarms = self.alarms.borrow_and_update();
            let (rung, by) = alarms.last();
            (rung, by.to_owned())
        };
        let heard = std::mem::replace(&mut self.heard, rung);
        if heard == rung {
            return false;
        }
        self.before = None;
        if self.now.mode != LaneMode::Free {
            let reason = format!("fire alarm at lane {by}");
            tracing::warn!(%reason, "lane mode: free");
            let (mode, at_ms) = (LaneMode::Free, Some(at_ms));
            let free = ModeState { mode, reason, by: None, at_ms, ..self.now };
            let before = std::mem::replace(&mut self.now, free);
            // Of several alarms at once, the lane cannot say which one opened it.
            self.before = (rung == heard + 1).then_some((rung, before));
        }
        true
    }

    /// Returns the mode before the alarm, and the reason to go back to it, if the alarm was a
    /// glitch. The alarm's effect is recorded first, and an admin's change goes before.
    pub(super) fn goes_back(&mut self) -> Option<(ModeState, Detail)> {
        let (number, _) = self.before.as_ref()?;
        let detail = {
            let alarms = self.alarms.borrow();
            let (sign, lane) = alarms.glitch().filter(|_| alarms.last().0 == *number)?;
            Detail::new("fire_glitch").with("lane", lane).with("ms", millis(sign.lasted))
        };
        if self.changing || self.recorded.0 != LaneMode::Free {
            return None;
        }
        let (_, before) = self.before.take()?;
        let (fire, short_sign) = (self.recorded.1, self.now.short_sign);
        Some((ModeState { fire, short_sign, ..before }, detail))
    }

    /// Publishes the mode: to the turnstile, whether to hold the arm open; to `status`, the state.
    pub(super) fn show(&self, hold_open: &watch::Sender<bool>, state: &watch::Sender<LaneState>) {
        hold_open.send_replace(self.now.mode == LaneMode::Free);
        state.send_modify(|s| s.mode = self.now.clone());
    }

    /// Publishes the short signs of this lane's alarm input in `status`.
    pub(super) fn show_short_signs(&self, state: &watch::Sender<LaneState>) {
        let sign = self.alarms.borrow().short_sign(&self.lane).cloned();
        state.send_if_modified(|s| {
            let before = std::mem::replace(&mut s.short_sign, sign.clone());
            s.short_fire_signs = self.short_signs;
            before != sign
        });
    }

    /// Returns the time from which an unrecorded change may be recorded.
    pub(super) fn due(&self) -> Option<Monotonic> {
        let from = match self.recorded {
            _ if self.recording => return None,
            (mode, _) if mode != self.now.mode => self.record_from,
            _ => self.input_from,
        };
        (self.recorded != (self.now.mode, self.fire)).then_some(from)
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
                    Err(error) => Err(Refusal::ChangeNotRecorded { error }),
                    Ok(()) if state.mode != LaneMode::Free && heard != self.heard => {
                        Err(Refusal::FireAlarmBetween)
                    }
                    Ok(()) => Ok(state),
                };
                if let Ok(state) = &answer {
                    self.now = ModeState { short_sign: self.now.short_sign, ..state.clone() };
                }
                let changed = answer.is_ok();
                // The client may have closed the connection; the change holds anyway.
                let _ = reply.map(|reply| reply.send(answer));
                changed
            }
            Written::Record { mode, fire, result, at } => {
                self.recording = false;
                if result.is_ok() {
                    let chatters = at < self.input_from + self.gap;
                    self.gap = if chatters { CHATTER_GAP.min(self.gap * 2) } else { RECORD_GAP };
                    (self.record_from, self.input_from) = (at + RECORD_GAP, at + self.gap);
                    self.recorded = (mode, fire);
                } else {
                    (self.record_from, self.input_from) = (at + RETRY, at + RETRY);
                }
                false
            }
        }
    }
}

/// An answer of the store.
pub(super) enum Written {
    /// Answer to an admin's change, or to the end of a glitch.
    Change {
        state: ModeState,
        result: Result<(), String>,
        /// [`ModeHolder::heard`] at the time of the request.
        heard: u64,
        reply: Option<oneshot::Sender<Result<ModeState, Refusal>>>,
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
    /// Opens the lane if an alarm's input went on since the last call.
    pub(super) fn alarm(&mut self) {
        self.lane.holding.show_short_signs(&self.lane.state);
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
        if let Some((state, detail)) = self.lane.holding.goes_back() {
            self.change(state, None, Some(detail), None);
        }
        let now = self.lane.clock.monotonic();
        if self.lane.holding.due().is_none_or(|at| at > now) {
            return;
        }
        let holding = &mut self.lane.holding;
        holding.recording = true;
        let (mut state, fire, recorded) = (holding.now.clone(), holding.fire, holding.recorded);
        let rung_by = holding.alarms.borrow().last().1.to_owned();
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
        let lanes: Vec<_> = holding.alarms.borrow().on().into_iter().map(String::from).collect();
        let refusal = if mode != LaneMode::Free && !lanes.is_empty() {
            Some(Refusal::FireAlarm { lanes })
        } else if holding.changing {
            Some(Refusal::ChangeUnderWay)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let at_ms = Some(self.lane.clock.stamp().wall_ms);
        let (fire, short_sign) = (holding.recorded.1, holding.now.short_sign);
        let state = ModeState { mode, reason, by: Some(by.user.clone()), at_ms, fire, short_sign };
        self.change(state, Some(by), None, Some(reply));
    }

    /// Records a change by an admin, or at the end of a glitch. It takes effect after the commit.
    fn change(
        &mut self,
        state: ModeState,
        by: Option<Actor>,
        detail: Option<Detail>,
        reply: Option<oneshot::Sender<Result<ModeState, Refusal>>>,
    ) {
        let holding = &mut self.lane.holding;
        (holding.changing, holding.before) = (true, None);
        let (heard, lane) = (holding.heard, self.lane.name.clone());
        let (kept, mode) = (state.clone(), state.mode);
        let reason = by.is_some().then(|| state.reason.clone());
        self.commit(
            Priority::Attendance,
            "mode",
            move |result| Some(Done::Mode(Written::Change { state, result, heard, reply })),
            move |ledger, tx, stamp| {
                keep(tx, &lane, &kept)?;
                ledger.append(tx, stamp, ModeChange { lane, mode, reason, by, detail })?;
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
