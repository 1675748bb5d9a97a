//! The lane's side of a turnstile's task: its queues, the hold state, and the published state.
//!
//! In: releases and `hold_open` from the lane. Out: events in order, and the [`TurnstileState`]. It
//! touches no device.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::foreign::{Action, Foreign};
use crate::{
    clock::{Clock, Monotonic},
    failpoint,
    turnstile::{
        error::TurnstileError,
        fire::FireSign,
        handle::TurnstileState,
        passage_id::PassageId,
        port::{ForeignRelease, NotReleased, Release, TurnstileEvent},
        settings::Direction,
    },
};

/// Maximum number of events held back while the lane does not take them. From half of it on no
/// release is accepted, so that only passages can fill the rest. Further events are dropped,
/// counted as `lost_events` and logged.
pub(super) const HELD_BACK: usize = 256;

pub(super) enum Turn {
    Stop,
    Release(Release),
    Tick,
}

/// The parameters of a turnstile's task.
pub struct TaskLane {
    pub name: String,
    pub clock: Arc<dyn Clock>,
    pub cancel: CancellationToken,
    /// The arm is to stand open from the start.
    pub hold_open: bool,
}

/// The state of the task that outlives a driver.
pub(super) struct TaskState {
    pub lane: String,
    hold_open: watch::Receiver<bool>,
    /// When the controller last acknowledged that the arm is held open.
    pub held: Option<Monotonic>,
    /// A fire alarm keeps the arm open. It ends when the lane has received it and sets `hold_open`.
    alarm: bool,
    alarm_said: bool,
    sign: FireSign,
    /// The value of the last `Fire` event.
    pub fire_said: bool,
    pub clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    releases: mpsc::Receiver<Release>,
    events: mpsc::Sender<TurnstileEvent>,
    pub state: watch::Sender<TurnstileState>,
    outgoing: VecDeque<TurnstileEvent>,
    was_up: bool,
    /// The release that the driver is carrying out.
    pub under_way: Option<PassageId>,
    pub foreign: Foreign,
    /// A release was tried since the arm was last closed or held open.
    pub touched: bool,
}

impl TaskState {
    pub fn new(
        lane: TaskLane,
        hold_open: watch::Receiver<bool>,
        releases: mpsc::Receiver<Release>,
        events: mpsc::Sender<TurnstileEvent>,
        state: watch::Sender<TurnstileState>,
    ) -> Self {
        Self {
            lane: lane.name,
            hold_open,
            held: None,
            alarm: false,
            alarm_said: false,
            sign: FireSign::default(),
            // A lane that stood open may still assume an alarm that is over. So the first `false`
            // of the input is reported too.
            fire_said: lane.hold_open,
            clock: lane.clock,
            cancel: lane.cancel,
            releases,
            events,
            state,
            outgoing: VecDeque::new(),
            was_up: false,
            under_way: None,
            foreign: Foreign::default(),
            touched: false,
        }
    }

    /// Passes events to the lane. Returns when a release comes, `hold_open` changes, `time_limit`
    /// is over, or it is time to stop. Cancel-safe: an item is taken from a queue only when it is
    /// sure to be handled.
    pub async fn wait(&mut self, time_limit: Duration) -> Turn {
        self.wait_until(pin!(sleep(time_limit))).await
    }

    async fn wait_until(&mut self, mut over: Pin<&mut Sleep>) -> Turn {
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Turn::Stop,
                release = self.releases.recv(), if self.outgoing.len() < HELD_BACK / 2 => {
                    return release.map_or(Turn::Stop, Turn::Release);
                }
                permit = self.events.reserve(), if !self.outgoing.is_empty() => {
                    let Ok(permit) = permit else { return Turn::Stop };
                    if let Some(event) = self.outgoing.pop_front() {
                        permit.send(event);
                    }
                }
                () = self.events.closed() => return Turn::Stop,
                Ok(()) = self.hold_open.changed() => return Turn::Tick,
                () = &mut over => return Turn::Tick,
            }
        }
    }

    /// Waits like [`wait`](Self::wait) while the line is down. Each release is refused as it comes,
    /// and does not make the wait longer.
    pub async fn refuse_for(&mut self, time_limit: Duration) -> std::ops::ControlFlow<()> {
        let mut over = pin!(sleep(time_limit));
        loop {
            match self.wait_until(over.as_mut()).await {
                Turn::Stop => return std::ops::ControlFlow::Break(()),
                Turn::Release(release) => self.refuse(release),
                Turn::Tick => {
                    // The lane may receive an alarm and end its hold while the line is down.
                    self.is_to_be_open();
                    return std::ops::ControlFlow::Continue(());
                }
            }
        }
    }

    /// Returns whether the arm is to stand open now.
    pub fn is_to_be_open(&mut self) -> bool {
        let by_lane = *self.hold_open.borrow_and_update();
        let all_heard =
            self.outgoing.is_empty() && self.events.capacity() == self.events.max_capacity();
        // The lane has received the alarm and holds the arm open, so `hold_open` alone counts now.
        self.alarm &= !(by_lane && all_heard && self.alarm_said);
        by_lane || self.alarm
    }

    /// Returns whether the arm may be open, as far as this task knows.
    pub fn may_be_open(&self) -> bool {
        self.touched || self.held.is_some()
    }

    pub fn holds(&mut self, open: bool) {
        let held = open.then(|| self.clock.monotonic());
        if std::mem::replace(&mut self.held, held).is_some() != open {
            info!(lane = self.lane, open, "the hold of the arm changed");
        }
        self.touched = false;
        if open {
            self.foreign.forget();
        }
        let foreign = self.foreign.left();
        self.state.send_modify(|s| (s.held_open, s.foreign) = (open, foreign));
    }

    /// Takes the releases by another hand that a poll found, and returns those to withdraw.
    pub fn finds(&mut self, found: &[ForeignRelease]) -> Vec<Direction> {
        let now = self.clock.monotonic();
        let may_close = !self.is_to_be_open() && self.state.borrow().fire != Some(true);
        let mut withdrawn = Vec::new();
        for action in self.foreign.handle(now, found, may_close) {
            let (ForeignRelease { direction, output }, done) = match action {
                Action::Withdraw(release) => {
                    withdrawn.push(release.direction);
                    (release, "it is withdrawn once")
                }
                Action::Leave(release) => (release, "it came back, so it is left on"),
                Action::Ended(direction) => {
                    info!(lane = self.lane, %direction, "the release by another hand has ended");
                    continue;
                }
            };
            let remark = format!(
                "{output} is on, and this gateway has not switched it on: another controller or                  program, a fire panel, a button or a fault releases {direction}; {done}"
            );
            warn!(lane = self.lane, remark, "a release by another hand");
            self.state.send_modify(|s| {
                s.foreign_releases += 1;
                s.last_error = Some(remark);
            });
        }
        let left = self.foreign.left();
        self.state.send_if_modified(|s| std::mem::replace(&mut s.foreign, left.clone()) != left);
        withdrawn
    }

    /// Takes the fire alarm's input as read since `asked`, and returns the value to report if it
    /// changed. The caller reports an alarm after the arm is open.
    pub fn notices(&mut self, fire: Option<bool>, asked: Monotonic) -> Option<bool> {
        let on = fire?;
        if self.sign.read(asked, self.clock.monotonic(), on) {
            self.say(TurnstileEvent::FireQuiet);
        }
        self.state.send_if_modified(|s| std::mem::replace(&mut s.fire, fire) != fire);
        let changed = self.fire_said != on;
        if changed && on {
            (self.alarm, self.alarm_said) = (true, false);
        }
        changed.then_some(on)
    }

    pub fn says_fire(&mut self, fire: Option<bool>) {
        if let Some(on) = fire {
            warn!(lane = self.lane, on, "the fire alarm's input changed");
            let (at, lasted) = (self.clock.monotonic(), self.sign.lasted());
            self.say(TurnstileEvent::Fire { on, at, lasted });
            self.alarm_said |= on;
            self.fire_said = on;
        }
    }

    /// Returns the pause before the next poll. A fire sign that may be short is read again at once,
    /// so that its length is known well enough.
    pub fn pause(&self, usual: Duration) -> Duration {
        let at_once = self.sign.may_be_short(self.clock.monotonic());
        if at_once { Duration::ZERO } else { usual }
    }

    pub fn released(&mut self, passage: PassageId) {
        self.state.send_modify(|s| s.releases += 1);
        self.say(TurnstileEvent::Released { passage, at: self.clock.monotonic() });
    }

    pub fn fail(&mut self, passage: PassageId, error: &TurnstileError, may_have_released: bool) {
        let why = NotReleased::Failed(error.to_string());
        self.say(TurnstileEvent::NotReleased { passage, why, may_have_released });
    }

    pub fn refuse(&mut self, release: Release) {
        let why = if self.clock.monotonic() > release.deadline {
            self.state.send_modify(|s| s.late += 1);
            warn!(lane = self.lane, passage = %release.passage, "late release refused");
            NotReleased::Late
        } else if self.cancel.is_cancelled() {
            NotReleased::Failed("the turnstile's task is stopping".to_owned())
        } else {
            let error = self.state.borrow().last_error.clone();
            let error = error.unwrap_or_else(|| "not connected yet".to_owned());
            NotReleased::Failed(format!("the turnstile is not connected: {error}"))
        };
        let passage = release.passage;
        self.say(TurnstileEvent::NotReleased { passage, why, may_have_released: false });
    }

    pub fn up(&mut self, withdrawn: Vec<Direction>) {
        // Releases queued while the line was down are out of date. They are refused before `Up` is
        // sent, so a lane that waits for `Up` is never refused here.
        while let Ok(release) = self.releases.try_recv() {
            self.refuse(release);
        }
        let now = self.clock.monotonic();
        let again = std::mem::replace(&mut self.was_up, true);
        self.state.send_modify(|s| {
            s.turn(true, now);
            s.reconnects += u64::from(again);
        });
        if withdrawn.is_empty() {
            info!(lane = self.lane, "turnstile connected");
        } else {
            warn!(lane = self.lane, ?withdrawn, "turnstile connected; active releases withdrawn");
        }
        self.say(TurnstileEvent::Up { withdrawn });
    }

    /// Reports a driver's panic. The release that it was carrying out has no answer.
    pub fn fault(&mut self, error: TurnstileError) {
        error!(lane = self.lane, %error, "the turnstile's driver is created again");
        self.state.send_modify(|s| s.restarts += 1);
        if let Some(passage) = self.under_way.take() {
            self.fail(passage, &error, true);
        }
        self.down(&error);
    }

    /// Returns whether the task is to end: it is cancelled, or the lane has dropped its handle.
    pub fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.events.is_closed() || self.releases.is_closed()
    }

    pub fn down(&mut self, error: &TurnstileError) {
        let (now, error) = (self.clock.monotonic(), error.to_string());
        let mut is_news = false;
        self.sign.lost();
        self.state.send_modify(|s| {
            // Reported once, and not at each attempt.
            is_news = s.connected || s.errors == 0;
            s.turn(false, now);
            s.errors += 1;
            s.last_error = Some(error.clone());
        });
        if is_news {
            warn!(lane = self.lane, error, "turnstile down");
            self.say(TurnstileEvent::Down { error });
        }
    }

    pub fn counters_restarted(&mut self) {
        self.say(TurnstileEvent::CountersRestarted { at: self.clock.monotonic() });
    }

    /// Reports each passage input that changed. After a connection an input that is on is reported.
    pub fn sensors(&mut self, inputs: Option<[bool; 2]>) {
        let before = self.state.borrow().passage_inputs;
        if before == inputs {
            return;
        }
        self.state.send_modify(|s| s.passage_inputs = inputs);
        let (before, inputs) = (before.unwrap_or_default(), inputs.unwrap_or_default());
        for direction in Direction::BOTH {
            let on = inputs[direction.index()];
            if before[direction.index()] != on {
                self.say(TurnstileEvent::Sensor { direction, on, at: self.clock.monotonic() });
            }
        }
    }

    pub fn passed(&mut self, direction: Direction) {
        failpoint::at("turnstile.passed");
        self.state.send_modify(|s| s.passages += 1);
        self.say(TurnstileEvent::Passed { direction, at: self.clock.monotonic() });
    }

    pub fn pressed(&mut self, direction: Direction) {
        self.say(TurnstileEvent::Button { direction, at: self.clock.monotonic() });
    }

    fn say(&mut self, event: TurnstileEvent) {
        if self.outgoing.len() >= HELD_BACK {
            self.lose(&event);
        } else {
            self.outgoing.push_back(event);
        }
    }

    fn lose(&self, event: &TurnstileEvent) {
        self.state.send_modify(|s| s.lost_events += 1);
        error!(lane = self.lane, ?event, "event lost: the lane does not take its events");
    }

    /// Ends the task's queues: refuses waiting releases, and sends the events that fit the channel.
    pub fn close(mut self) {
        self.releases.close();
        while let Ok(release) = self.releases.try_recv() {
            self.refuse(release);
        }
        while let Some(event) = self.outgoing.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.lose(&event);
            }
        }
        let now = self.clock.monotonic();
        self.state.send_modify(|s| s.turn(false, now));
    }
}
