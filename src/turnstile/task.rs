//! The one task that drives a turnstile's driver, whichever it is.
//!
//! Two things it must never do: release late (I4), and leave a gate open. So a release is judged
//! against its deadline right before it goes to the device, it is refused and forgotten while the
//! line is down, and the lane's slowness never delays the withdrawal of a pulse: events that the
//! channel has no room for wait in `TaskState::outgoing` while the task goes on polling.
//!
//! A panic costs the driver and no more: the next one, made anew, begins by withdrawing what it
//! finds, as at each connection.
//!
//! **Held open.** The arm is to stand open while the lane says so, and from a fire alarm on until
//! the lane has heard of it and says so itself. The task brings the arm there at each turn and at
//! each connection, before anything else; then nothing is withdrawn, and a release has nothing to
//! do.

mod state;

use std::{pin::pin, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{error, info, warn};

pub(super) use self::state::Lane;
use self::state::{TaskState, Turn};
use super::{
    error::TurnstileError,
    handle::{TurnstileHandle, TurnstileState},
    port::{ConnectReport, Polled, Release, Turnstile},
    simulation::DeviceFrame,
};
use crate::{
    failpoint,
    supervision::{Backoff, caught},
};

/// Releases under way to the task. A lane has few people before it; when it is full, the
/// lane's next one is refused.
const RELEASES: usize = 8;
/// Events under way to the lane. When it is full the task keeps on listening and withdrawing,
/// and holds events back itself, within the bound of `state`.
const EVENTS: usize = 64;
/// Between two looks at the inputs. A sensor that is covered for 100 ms is seen twice.
const POLL: Duration = Duration::from_millis(40);
/// Between attempts to connect: doubling, never giving up.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_secs(5);
/// A controller is told again after this that its arm is to stand open: it may have lost its power, or
/// somebody may have used its own buttons.
const HELD_AGAIN: Duration = Duration::from_secs(10);
/// How long a stop may take to withdraw what is released.
const WITHDRAW_WITHIN: Duration = Duration::from_millis(1500);

pub(super) fn spawn<T: Turnstile>(
    make: impl Fn() -> T + Send + Sync + 'static,
    lane: Lane,
    port: String,
    tap: Option<broadcast::Sender<DeviceFrame>>,
) -> (TurnstileHandle, JoinHandle<()>) {
    let (releases, taken) = mpsc::channel(RELEASES);
    let (events, heard) = mpsc::channel(EVENTS);
    let (hold_open, held_by_lane) = watch::channel(lane.hold_open);
    let (state, shown) = watch::channel(TurnstileState {
        since: lane.clock.monotonic(),
        confirms_passage: T::CONFIRMS_PASSAGE,
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
        // What outlives a panic are queues and counters, whole after each step.
        let Err(fault) =
            caught(async { Driven { driver: make(), state: &mut state }.run(pause).await }).await
        else {
            break;
        };
        let longer = backoff.after(state.clock.monotonic().since(begun));
        // Where a coil may be on there is no pause; the next one takes another release.
        let connected = state.state.borrow().connected;
        pause = if connected && state.touched { Duration::ZERO } else { longer };
        state.fault(fault.into());
        if last {
            error!(lane = state.lane, "a release may be left under way");
            break;
        }
    }
    state.close();
}

/// A driver, and the lane that it is for.
struct Driven<'a, T> {
    driver: T,
    state: &'a mut TaskState,
}

impl<T: Turnstile> Driven<'_, T> {
    /// Connects, again and again, and serves, until it is time to stop; then withdraws.
    async fn run(mut self, mut pause: Duration) {
        // A driver does not know what the one before it had released.
        let mut orphaned = self.state.may_be_open();
        while self.state.refuse_for(pause).await.is_continue() {
            let Some(connected) = self.connect().await else { break };
            let settled = match connected {
                Ok(met) => {
                    orphaned |= !met.released.is_empty();
                    self.settle(met).await
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
            info!(lane = self.state.lane, "the arm is left as it is: it is to stand open");
        } else if orphaned || self.state.may_be_open() {
            let error = match timeout(WITHDRAW_WITHIN, self.withdraw(orphaned)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no time to withdraw".to_owned(),
            };
            error!(lane = self.state.lane, error, "a release may be left under way");
        }
    }

    /// `None`: it is time to stop.
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

    /// After a connection, before it counts as one: opens what is to be open, withdraws everything
    /// else, and takes what the sensors show for given.
    async fn settle(&mut self, met: ConnectReport) -> Result<(), TurnstileError> {
        let Self { driver, state } = self;
        // Said at each connection anew.
        state.fire_said &= met.fire != Some(true);
        let fire = state.notices(met.fire);
        state.held = None;
        let open = state.is_to_be_open();
        let settled = async {
            driver.hold(open).await?;
            driver.poll().await
        };
        let settled = settled.await;
        if settled.is_ok() {
            state.holds(open);
            state.up(if open { Vec::new() } else { met.released });
        }
        // An alarm is an alarm, also where the line is not up yet.
        state.says_fire(fire);
        self.apply_command(settled?).await
    }

    /// While the line is up. Returns the error that ended it and whether to connect at once, because
    /// a coil may be on or the line was good: not for a controller that connects and fails at its next
    /// poll, time after time. `None` to stop.
    async fn serve(&mut self) -> Option<(TurnstileError, bool)> {
        let mut was_good = false;
        loop {
            let turn = self.state.wait(POLL).await;
            if matches!(turn, Turn::Stop) {
                return None;
            }
            if let Err(error) = self.take(turn).await {
                return Some((error, was_good || self.state.touched));
            }
            was_good = true;
        }
    }

    /// One turn. A poll follows each release, so that no rush of releases delays the end of a pulse.
    async fn take(&mut self, turn: Turn) -> Result<(), TurnstileError> {
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
        let seen = self.driver.poll().await?;
        self.apply_command(seen).await
    }

    /// Brings the arm to where it is to stand.
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

    /// Deals with what a poll saw. A fire alarm opens the arm first, and is said then.
    async fn apply_command(&mut self, seen: Polled) -> Result<(), TurnstileError> {
        let fire = self.state.notices(seen.fire);
        let opened = if fire == Some(true) { self.converge().await } else { Ok(()) };
        self.state.says_fire(fire);
        if let Some(remark) = seen.remark {
            warn!(lane = self.state.lane, remark, "from the turnstile");
            self.state.state.send_modify(|s| s.last_error = Some(remark));
        }
        seen.passed.into_iter().for_each(|direction| self.state.passed(direction));
        opened
    }

    async fn carry_out(&mut self, release: Release) -> Result<(), TurnstileError> {
        let Self { driver, state } = self;
        let Release { passage, direction, deadline } = release;
        if state.clock.monotonic() > deadline {
            state.refuse(release);
            return Ok(());
        }
        if state.held.is_some() {
            // Nothing stands in the way.
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
