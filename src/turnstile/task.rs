//! The one task that drives a turnstile's driver, whichever it is.
//!
//! Two things it must never do: release late (I4), and leave a gate open. So a release is judged
//! against its deadline right before it goes to the device, it is refused and forgotten while the
//! line is down, and the lane's slowness never delays the withdrawal of a pulse: events that the
//! channel has no room for wait in `Desk::outgoing` while the task goes on polling.
//!
//! A panic costs the driver and no more: the next one, made anew, begins by withdrawing what it
//! finds, as at each connection.
//!
//! **Held open.** The arm is to stand open while the lane says so, and from a fire alarm on until
//! the lane has heard of it and says so itself. The task brings the arm there at each turn and at
//! each connection, before anything else; then nothing is withdrawn, and a release has nothing to
//! do.

mod desk;

use std::{pin::pin, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{error, info, warn};

pub(super) use self::desk::Lane;
use self::desk::{Desk, Turn};
use super::{
    error::TurnstileError,
    handle::{TurnstileHandle, TurnstileState},
    port::{Met, Release, Seen, Turnstile},
    simulation::DeviceFrame,
};
use crate::{
    failpoint,
    vigil::{Backoff, caught},
};

/// Releases under way to the task. A lane has few people before it; when it is full, the
/// lane's next one is refused.
const RELEASES: usize = 8;
/// Events under way to the lane. When it is full the task keeps on listening and withdrawing,
/// and holds events back itself, within the bound of `desk`.
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
    let task = tokio::spawn(run(make, Desk::new(lane, held_by_lane, taken, events, state)));
    (TurnstileHandle { releases, events: heard, hold_open, state: shown, tap }, task)
}

async fn run<T: Turnstile>(make: impl Fn() -> T, mut desk: Desk) {
    let mut backoff = Backoff::default();
    let mut pause = Duration::ZERO;
    loop {
        let (begun, last) = (desk.clock.monotonic(), desk.is_over());
        // What outlives a panic are queues and counters, whole after each step.
        let Err(fault) = caught(async { drive(make(), &mut desk, pause).await }).await else {
            break;
        };
        let longer = backoff.after(desk.clock.monotonic().since(begun));
        // Where a coil may be on there is no pause; the next one takes another release.
        let connected = desk.state.borrow().connected;
        pause = if connected && desk.touched { Duration::ZERO } else { longer };
        desk.fault(fault.into());
        if last {
            error!(lane = desk.lane, "a release may be left under way");
            break;
        }
    }
    desk.close();
}

/// Connects, again and again, and serves, until it is time to stop; then withdraws.
async fn drive<T: Turnstile>(mut driver: T, desk: &mut Desk, mut pause: Duration) {
    // A driver does not know what the one before it had released.
    let mut orphaned = desk.may_be_open();
    loop {
        if desk.refuse_for(pause).await.is_break() {
            break;
        }
        let connected = {
            let mut connect = pin!(driver.connect());
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut connect => break Some(outcome),
                    step = desk.refuse_for(POLL) => if step.is_break() { break None },
                }
            }
        };
        match connected {
            None => break,
            Some(Ok(met)) => {
                orphaned |= !met.released.is_empty();
                if let Err(error) = settle(&mut driver, desk, met).await {
                    desk.down(&error);
                    pause = longer(pause);
                    continue;
                }
                orphaned = false;
                let served = serve(&mut driver, desk).await;
                let Some((error, at_once)) = served else { break };
                desk.down(&error);
                // Where a coil may be on, the first attempt is made at once; not for
                // a controller that connects and fails at its first poll, time after time.
                pause = if at_once { Duration::ZERO } else { *BACKOFF.start() };
            }
            Some(Err(error)) => {
                desk.down(&error);
                pause = longer(pause);
            }
        }
    }
    if desk.is_to_be_open() {
        info!(lane = desk.lane, "the arm is left as it is: it is to stand open");
        return;
    }
    if !orphaned && !desk.may_be_open() {
        return;
    }
    let withdraw = async {
        if orphaned || driver.hold(false).await.is_err() {
            driver.connect().await?;
            driver.hold(false).await?;
        }
        Ok::<_, TurnstileError>(())
    };
    match timeout(WITHDRAW_WITHIN, withdraw).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(lane = desk.lane, %error, "a release may be left under way"),
        Err(_) => error!(lane = desk.lane, "no time to withdraw: a release may be left under way"),
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(*BACKOFF.start(), *BACKOFF.end())
}

/// After a connection, before it counts as one: opens what is to be open, withdraws everything
/// else, and takes what the sensors show for given.
async fn settle<T: Turnstile>(
    driver: &mut T,
    desk: &mut Desk,
    met: Met,
) -> Result<(), TurnstileError> {
    // Said at each connection anew.
    desk.fire_said &= met.fire != Some(true);
    let fire = desk.notices(met.fire);
    desk.held = None;
    let open = desk.is_to_be_open();
    let settled = async {
        driver.hold(open).await?;
        driver.poll().await
    };
    let seen = match settled.await {
        Ok(seen) => seen,
        Err(error) => {
            // Not up yet, but an alarm is an alarm.
            desk.says_fire(fire);
            return Err(error);
        }
    };
    desk.holds(open);
    desk.up(if open { Vec::new() } else { met.released });
    desk.says_fire(fire);
    heed(driver, desk, seen).await
}

/// While the line is up. Returns the error that ended it and whether to connect at once, because
/// a coil may be on or the line was good; or `None` to stop. A poll follows each release, so that
/// no rush of releases delays the end of a pulse.
async fn serve<T: Turnstile>(driver: &mut T, desk: &mut Desk) -> Option<(TurnstileError, bool)> {
    let mut at_once = false;
    loop {
        let turn = desk.wait(POLL).await;
        if matches!(turn, Turn::Stop) {
            return None;
        }
        let converged = converge(driver, desk).await;
        if let Turn::Release(release) = turn {
            let carried_out = match converged {
                Ok(()) => carry_out(driver, desk, release).await,
                Err(error) => {
                    desk.fail(release.passage, &error, false);
                    Err(error)
                }
            };
            match carried_out {
                Ok(released) => at_once |= released,
                Err(error) => {
                    at_once |= error.may_have_acted();
                    return Some((error, at_once));
                }
            }
        } else if let Err(error) = converged {
            return Some((error, true));
        }
        let heeded = match driver.poll().await {
            Ok(seen) => heed(driver, desk, seen).await,
            Err(error) => Err(error),
        };
        if let Err(error) = heeded {
            return Some((error, at_once));
        }
        at_once = true;
    }
}

/// Brings the arm to where it is to stand.
async fn converge<T: Turnstile>(driver: &mut T, desk: &mut Desk) -> Result<(), TurnstileError> {
    let open = desk.is_to_be_open();
    let again = desk.held.is_some_and(|since| desk.clock.monotonic() - since > HELD_AGAIN);
    if open != desk.held.is_some() || again {
        driver.hold(open).await?;
        desk.holds(open);
    }
    Ok(())
}

/// Deals with what a poll saw. A fire alarm opens the arm first, and is said then.
async fn heed<T: Turnstile>(
    driver: &mut T,
    desk: &mut Desk,
    seen: Seen,
) -> Result<(), TurnstileError> {
    let fire = desk.notices(seen.fire);
    let opened = if fire == Some(true) { converge(driver, desk).await } else { Ok(()) };
    desk.says_fire(fire);
    if let Some(remark) = seen.remark {
        warn!(lane = desk.lane, remark, "from the turnstile");
        desk.state.send_modify(|s| s.last_error = Some(remark));
    }
    seen.passed.into_iter().for_each(|direction| desk.passed(direction));
    opened
}

/// Whether it released: not where the release was late.
async fn carry_out<T: Turnstile>(
    driver: &mut T,
    desk: &mut Desk,
    release: Release,
) -> Result<bool, TurnstileError> {
    let now = desk.clock.monotonic();
    if now > release.deadline {
        desk.refuse(release);
        return Ok(false);
    }
    let passage = release.passage;
    if desk.held.is_some() {
        // Nothing stands in the way.
        desk.released(passage);
        return Ok(true);
    }
    desk.touched = true;
    desk.under_way = Some(passage);
    failpoint::at("turnstile.taken");
    let released = match driver.release(release.direction, release.deadline).await {
        Ok(()) => {
            failpoint::at("turnstile.released");
            desk.released(passage);
            Ok(true)
        }
        Err(TurnstileError::Late { .. }) => {
            desk.refuse(release);
            Ok(false)
        }
        Err(error) => {
            desk.fail(passage, &error, error.may_have_acted());
            Err(error)
        }
    };
    desk.under_way = None;
    released
}

#[cfg(test)]
mod tests;
