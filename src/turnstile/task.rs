//! The task that runs a lane's turnstile driver. It is the same for all drivers.
//!
//! In: releases and the hold state from the lane, and polls of the driver. Out: events and the
//! turnstile's state. It touches the device only through its driver.
//!
//! The task must never release late (I4) and never leave a gate open. So it checks the deadline
//! right before a release goes to the device, and refuses each release while the line is down. A
//! slow lane never delays the withdrawal of a pulse: events wait in `TaskState::outgoing` while the
//! channel is full, and the task goes on polling.
//!
//! After a panic only the driver is lost. The task creates a new one, which connects and withdraws
//! active releases, as at each connection.
//!
//! **Held open.** The arm is to stand open while the lane sets `hold_open`. A fire alarm also keeps
//! it open until the lane has received the alarm and sets `hold_open` itself. The task opens the
//! arm at each turn and at each connection, before anything else. While the arm is held open,
//! nothing is withdrawn and a release needs no command.
//!
//! **Another hand.** A controller may show a release that this gateway did not give. It is withdrawn
//! once, but never while the arm is to stand open or there is a sign of fire. If it comes back, it is
//! left, and is a trouble (`foreign`).

mod foreign;
mod state;

use std::{pin::pin, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{error, info, warn};

pub(super) use self::state::TaskLane;
use self::state::{TaskState, Turn};
use super::{
    error::TurnstileError,
    handle::{TurnstileHandle, TurnstileState},
    port::{ConnectReport, Polled, Release, Turnstile},
    simulation::DeviceFrame,
};
use crate::{
    clock::Monotonic,
    failpoint,
    supervision::{Backoff, caught},
};

/// Maximum number of releases that wait for the task. When the queue is full, the lane's next
/// release is refused. Few people stand at a lane, so this is enough.
const RELEASES: usize = 8;
/// Maximum number of events that wait for the lane. When the queue is full, the task goes on
/// polling and withdrawing. It holds further events back itself, within the bound of `state`.
const EVENTS: usize = 64;
/// Interval between two polls. A sensor that is covered for 100 ms is seen twice.
const POLL: Duration = Duration::from_millis(40);
/// Pause after a poll that also looked for releases by another hand, so that the next look at a
/// passage is not late. The further exchange takes about 25 ms at 9600 baud.
const AFTER_READ_BACK: Duration = Duration::from_millis(15);
/// Interval between attempts to connect. It doubles from the first value to the last.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_secs(5);
/// Interval between commands to an arm that is held open. A controller may lose its power, or a
/// person may use its buttons, so the command is repeated.
const HELD_AGAIN: Duration = Duration::from_secs(10);
/// Timeout for withdrawing releases at a stop.
const WITHDRAW_WITHIN: Duration = Duration::from_millis(1500);

pub(super) fn spawn<T: Turnstile>(
    make: impl Fn() -> T + Send + Sync + 'static,
    lane: TaskLane,
    port: String,
    tap: Option<broadcast::Sender<DeviceFrame>>,
    sensors: Option<[String; 2]>,
) -> (TurnstileHandle, JoinHandle<()>) {
    let (releases, taken) = mpsc::channel(RELEASES);
    let (events, heard) = mpsc::channel(EVENTS);
    let (hold_open, held_by_lane) = watch::channel(lane.hold_open);
    let (state, shown) = watch::channel(TurnstileState {
        since: lane.clock.monotonic(),
        confirms_passage: sensors.is_some(),
        sensors,
        port,
        ..TurnstileState::default()
    });
    let task = tokio::spawn(run(make, TaskState::new(lane, held_by_lane, taken, events, state)));
    (TurnstileHandle { releases, events: heard, hold_open, state: shown, tap }, task)
}

async fn run<T: Turnstile>(make: impl Fn() -> T, mut state: TaskState) {
    let mut backoff = Backoff::default();
    let mut pause = Duration::ZERO;
    loop {
        let (begun, last) = (state.clock.monotonic(), state.is_over());
        // After a panic the queues and counters are still consistent.
        let Err(fault) =
            caught(async { Driven { driver: make(), state: &mut state }.run(pause).await }).await
        else {
            break;
        };
        let longer = backoff.after(state.clock.monotonic().since(begun));
        // A coil may be on after a release, so the next driver connects without a pause. Without a
        // new release, a further fault has a pause again.
        let connected = state.state.borrow().connected;
        pause = if connected && state.touched { Duration::ZERO } else { longer };
        state.fault(fault.into());
        if last {
            error!(
                lane = state.lane,
                "a release may still be active; check that the arm is closed"
            );
            break;
        }
    }
    state.close();
}

/// A driver and its lane's state.
struct Driven<'a, T> {
    driver: T,
    state: &'a mut TaskState,
}

impl<T: Turnstile> Driven<'_, T> {
    /// Connects and serves again and again, until it is time to stop. Then withdraws releases.
    async fn run(mut self, mut pause: Duration) {
        // A new driver does not know the releases of the driver before it.
        let mut orphaned = self.state.may_be_open();
        while self.state.refuse_for(pause).await.is_continue() {
            let asked = self.state.clock.monotonic();
            let Some(connected) = self.connect().await else { break };
            let settled = match connected {
                Ok(met) => {
                    orphaned |= !met.released.is_empty();
                    self.settle(met, asked).await
                }
                Err(error) => Err(error),
            };
            let failed = match settled {
                Ok(()) => {
                    orphaned = false;
                    let Some((error, at_once)) = self.serve().await else { break };
                    pause = if at_once { Duration::ZERO } else { *BACKOFF.start() };
                    error
                }
                Err(error) => {
                    pause = (pause * 2).clamp(*BACKOFF.start(), *BACKOFF.end());
                    error
                }
            };
            self.state.down(&failed);
        }
        if self.state.is_to_be_open() {
            info!(
                lane = self.state.lane,
                "the task stops and does not close the arm: it is held open"
            );
        } else if orphaned || self.state.may_be_open() {
            let error = match timeout(WITHDRAW_WITHIN, self.withdraw(orphaned)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the withdrawal took too long".to_owned(),
            };
            error!(
                lane = self.state.lane,
                error, "a release may still be active; check that the arm is closed"
            );
        }
    }

    /// Connects. Returns `None` when it is time to stop.
    async fn connect(&mut self) -> Option<Result<ConnectReport, TurnstileError>> {
        let mut connect = pin!(self.driver.connect());
        loop {
            tokio::select! {
                biased;
                outcome = &mut connect => return Some(outcome),
                step = self.state.refuse_for(POLL) => if step.is_break() { return None },
            }
        }
    }

    async fn withdraw(&mut self, orphaned: bool) -> Result<(), TurnstileError> {
        if orphaned || self.driver.hold(false).await.is_err() {
            self.driver.connect().await?;
            self.driver.hold(false).await?;
        }
        Ok(())
    }

    /// Completes a connection: opens the arm if it is to stand open, or withdraws active releases.
    /// The first poll sets the sensors' initial state. Then the turnstile counts as connected.
    async fn settle(&mut self, met: ConnectReport, asked: Monotonic) -> Result<(), TurnstileError> {
        let Self { driver, state } = self;
        // An alarm that is on is reported again at each connection.
        state.fire_said &= met.fire != Some(true);
        let fire = state.notices(met.fire, asked);
        state.held = None;
        let open = state.is_to_be_open();
        let polls = async {
            driver.hold(open).await?;
            let asked = state.clock.monotonic();
            driver.poll().await.map(|seen| (seen, asked))
        };
        let settled = polls.await;
        if settled.is_ok() {
            state.holds(open);
            state.up(if open { Vec::new() } else { met.released });
        }
        // The alarm is reported even if the line is not up yet.
        state.says_fire(fire);
        let (seen, asked) = settled?;
        self.apply_polled(seen, asked).await
    }

    /// Serves while the line is up. Returns `None` when it is time to stop.
    ///
    /// Otherwise returns the error, and whether to connect at once: after a good turn, or when a
    /// coil may be on. A controller that fails at its first poll after each connection is not
    /// connected at once.
    async fn serve(&mut self) -> Option<(TurnstileError, bool)> {
        let (mut was_good, mut pause) = (false, POLL);
        loop {
            let turn = self.state.wait(self.state.pause(pause)).await;
            if matches!(turn, Turn::Stop) {
                return None;
            }
            pause = match self.take(turn).await {
                Ok(pause) => pause,
                Err(error) => return Some((error, was_good || self.state.touched)),
            };
            was_good = true;
        }
    }

    /// Handles one turn, and returns the pause after it. A poll follows each release, so that many
    /// releases do not delay the end of a pulse.
    async fn take(&mut self, turn: Turn) -> Result<Duration, TurnstileError> {
        let converged = self.converge().await;
        if let Turn::Release(release) = turn {
            match converged {
                Ok(()) => self.carry_out(release).await?,
                Err(error) => {
                    self.state.fail(release.passage, &error, false);
                    return Err(error);
                }
            }
        } else {
            converged?;
        }
        let asked = self.state.clock.monotonic();
        let seen = self.driver.poll().await?;
        let pause = if seen.foreign.is_some() { AFTER_READ_BACK } else { POLL };
        self.apply_polled(seen, asked).await?;
        Ok(pause)
    }

    /// Opens or closes the arm where it is not as it is to stand.
    async fn converge(&mut self) -> Result<(), TurnstileError> {
        let Self { driver, state } = self;
        let open = state.is_to_be_open();
        let again = state.held.is_some_and(|since| state.clock.monotonic() - since > HELD_AGAIN);
        if open != state.held.is_some() || again {
            driver.hold(open).await?;
            state.holds(open);
        }
        Ok(())
    }

    /// Handles the result of a poll that began at `asked`. A fire alarm opens the arm first, and is
    /// reported then.
    async fn apply_polled(&mut self, seen: Polled, asked: Monotonic) -> Result<(), TurnstileError> {
        let fire = self.state.notices(seen.fire, asked);
        let opened = if fire == Some(true) { self.converge().await } else { Ok(()) };
        self.state.says_fire(fire);
        if let Some(remark) = seen.remark {
            warn!(lane = self.state.lane, remark, "the turnstile reports a problem");
            self.state.state.send_modify(|s| s.last_error = Some(remark));
        }
        if seen.restarted {
            self.state.counters_restarted();
        }
        self.state.sensors(seen.inputs);
        seen.passed.into_iter().for_each(|direction| self.state.passed(direction));
        seen.pressed.into_iter().for_each(|direction| self.state.pressed(direction));
        opened?;
        for direction in seen.foreign.map(|found| self.state.finds(&found)).unwrap_or_default() {
            self.driver.withdraw(direction).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, release: Release) -> Result<(), TurnstileError> {
        let Self { driver, state } = self;
        let Release { passage, direction, deadline } = release;
        if state.clock.monotonic() > deadline {
            state.refuse(release);
            return Ok(());
        }
        if state.held.is_some() {
            // The arm is open already.
            state.released(passage);
            return Ok(());
        }
        state.touched = true;
        state.under_way = Some(passage);
        failpoint::at("turnstile.taken");
        let released = driver.release(direction, deadline).await;
        state.under_way = None;
        match released {
            Ok(()) => {
                failpoint::at("turnstile.released");
                state.released(passage);
            }
            Err(TurnstileError::Late { .. }) => state.refuse(release),
            Err(error) => {
                state.fail(passage, &error, error.may_have_acted());
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
