//! The one task that drives a turnstile's driver, whichever it is.
//!
//! Two things it must never do: release late (I4), and leave a gate open. So a release is judged
//! against its deadline right before it goes to the device, it is refused and forgotten while the
//! line is down, and the lane's slowness never delays the withdrawal of a pulse: events that the
//! channel has no room for wait in `Desk::outgoing` while the task goes on polling.
//!
//! A panic costs the driver and no more: the next one, made anew, begins by withdrawing what it
//! finds, as at each connection.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    DeviceFrame, EVENTS, NotReleased, PassageId, RELEASES, Release, Turnstile, TurnstileError,
    TurnstileEvent, TurnstileHandle, TurnstileState,
};
use crate::{
    clock::Clock,
    config::Direction,
    failpoint,
    vigil::{Backoff, caught},
};

/// Between two looks at the inputs. A sensor that is covered for 100 ms is seen twice.
const POLL: Duration = Duration::from_millis(40);
/// Between attempts to connect: doubling, never giving up.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_secs(5);
/// How long a stop may take to withdraw what is released.
const WITHDRAW_WITHIN: Duration = Duration::from_millis(500);
/// Events held back beyond the channel while the lane does not take them. From half of it on no
/// release is accepted, so that only passages can fill the rest; past it they are dropped,
/// counted as `lost_events` and logged.
const HELD_BACK: usize = 256;

pub(super) fn spawn<T: Turnstile>(
    make: impl Fn() -> T + Send + Sync + 'static,
    lane: &str,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    tap: Option<broadcast::Sender<DeviceFrame>>,
) -> (TurnstileHandle, JoinHandle<()>) {
    let driver = make();
    let (release_tx, releases) = mpsc::channel(RELEASES);
    let (events, event_rx) = mpsc::channel(EVENTS);
    let (state, state_rx) = watch::channel(TurnstileState {
        connected: false,
        since: clock.monotonic(),
        last_error: None,
        confirms_passage: driver.confirms_passage(),
        held_open: false,
        fire: None,
        port: driver.port(),
        releases: 0,
        passages: 0,
        errors: 0,
        reconnects: 0,
        late: 0,
        lost_events: 0,
        restarts: 0,
    });
    let desk = Desk {
        lane: lane.to_owned(),
        clock,
        cancel,
        releases,
        events,
        state,
        outgoing: VecDeque::new(),
        said_down: false,
        was_up: false,
        under_way: None,
        touched: false,
    };
    let task = tokio::spawn(run(make, desk));
    let (hold_open, _) = watch::channel(false);
    let (releases, events, state) = (release_tx, event_rx, state_rx);
    (TurnstileHandle { releases, events, hold_open, state, tap }, task)
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
    let mut orphaned = desk.touched;
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
            Some(Ok(withdrawn)) => {
                desk.up(withdrawn);
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
    let withdraw =
        async { if orphaned { driver.connect().await.map(drop) } else { driver.withdraw().await } };
    match timeout(WITHDRAW_WITHIN, withdraw).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(lane = desk.lane, %error, "a release may be left under way"),
        Err(_) => error!(lane = desk.lane, "no time to withdraw: a release may be left under way"),
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(*BACKOFF.start(), *BACKOFF.end())
}

/// While the line is up. Returns the error that ended it and whether to connect at once, because
/// a coil may be on or the line was good; or `None` to stop. A poll follows each release, so that
/// no rush of releases delays the end of a pulse.
async fn serve<T: Turnstile>(driver: &mut T, desk: &mut Desk) -> Option<(TurnstileError, bool)> {
    let mut at_once = false;
    loop {
        match desk.wait(POLL).await {
            Turn::Stop => return None,
            Turn::Release(release) => match carry_out(driver, desk, release).await {
                Ok(released) => at_once |= released,
                Err(error) => {
                    at_once |= error.may_have_acted();
                    return Some((error, at_once));
                }
            },
            Turn::Tick => {}
        }
        match driver.poll(desk.clock.monotonic()).await {
            Ok(passed) => passed.into_iter().for_each(|direction| desk.passed(direction)),
            Err(error) => return Some((error, at_once)),
        }
        at_once = true;
    }
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
    desk.touched = true;
    desk.under_way = Some(passage);
    failpoint::at("turnstile.taken");
    let released = match driver.release(release.direction, now).await {
        Ok(()) => {
            failpoint::at("turnstile.released");
            desk.state.send_modify(|s| s.releases += 1);
            desk.say(TurnstileEvent::Released { passage, at: desk.clock.monotonic() });
            Ok(true)
        }
        Err(error) => {
            desk.say(TurnstileEvent::NotReleased {
                passage,
                why: NotReleased::Failed(error.to_string()),
                may_have_released: error.may_have_acted(),
            });
            Err(error)
        }
    };
    desk.under_way = None;
    released
}

enum Turn {
    Stop,
    Release(Release),
    Tick,
}

/// The lane's side of the task: what comes from it and goes to it.
struct Desk {
    lane: String,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    releases: mpsc::Receiver<Release>,
    events: mpsc::Sender<TurnstileEvent>,
    state: watch::Sender<TurnstileState>,
    outgoing: VecDeque<TurnstileEvent>,
    said_down: bool,
    was_up: bool,
    /// The release that is being carried out and not yet answered.
    under_way: Option<PassageId>,
    /// A release was tried since the connection.
    touched: bool,
}

impl Desk {
    /// Hands events to the lane until `patience` is over, a release comes, or it is time to stop.
    /// Cancel-safe: nothing is taken from a queue before it is certain to be dealt with.
    async fn wait(&mut self, patience: Duration) -> Turn {
        self.wait_until(pin!(sleep(patience))).await
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
                () = &mut over => return Turn::Tick,
            }
        }
    }

    /// As [`wait`](Self::wait), while the line is down: each release is refused as it comes, and
    /// none of them makes the wait longer.
    async fn refuse_for(&mut self, patience: Duration) -> std::ops::ControlFlow<()> {
        let mut over = pin!(sleep(patience));
        loop {
            match self.wait_until(over.as_mut()).await {
                Turn::Stop => return std::ops::ControlFlow::Break(()),
                Turn::Release(release) => self.refuse(release),
                Turn::Tick => return std::ops::ControlFlow::Continue(()),
            }
        }
    }

    fn refuse(&mut self, release: Release) {
        let why = if self.clock.monotonic() > release.deadline {
            self.state.send_modify(|s| s.late += 1);
            warn!(lane = self.lane, passage = %release.passage, "late release not carried out");
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

    fn up(&mut self, withdrawn: Vec<Direction>) {
        // What was queued while the line was down belongs to a moment that is over. Drained
        // before `Up` is said: a lane that waits for it is never refused here.
        while let Ok(release) = self.releases.try_recv() {
            self.refuse(release);
        }
        let now = self.clock.monotonic();
        let again = std::mem::replace(&mut self.was_up, true);
        self.state.send_modify(|s| {
            s.connected = true;
            s.since = now;
            s.reconnects += u64::from(again);
        });
        self.said_down = false;
        self.touched = false;
        if withdrawn.is_empty() {
            info!(lane = self.lane, "turnstile connected");
        } else {
            warn!(lane = self.lane, ?withdrawn, "turnstile found released, withdrawn");
        }
        self.say(TurnstileEvent::Up { withdrawn });
    }

    /// The driver is lost, and with it the answer to what it was carrying out.
    fn fault(&mut self, error: TurnstileError) {
        error!(lane = self.lane, %error, "the turnstile's driver is made anew");
        self.state.send_modify(|s| s.restarts += 1);
        if let Some(passage) = self.under_way.take() {
            let why = NotReleased::Failed(error.to_string());
            self.say(TurnstileEvent::NotReleased { passage, why, may_have_released: true });
        }
        self.down(&error);
    }

    /// Nobody is left to work for.
    fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.events.is_closed() || self.releases.is_closed()
    }

    fn down(&mut self, error: &TurnstileError) {
        let error = error.to_string();
        let now = self.clock.monotonic();
        self.state.send_modify(|s| {
            if s.connected {
                s.since = now;
            }
            s.connected = false;
            s.errors += 1;
            s.last_error = Some(error.clone());
        });
        if !std::mem::replace(&mut self.said_down, true) {
            warn!(lane = self.lane, error, "turnstile down");
            self.say(TurnstileEvent::Down { error });
        }
    }

    fn passed(&mut self, direction: Direction) {
        failpoint::at("turnstile.passed");
        self.state.send_modify(|s| s.passages += 1);
        self.say(TurnstileEvent::Passed { direction, at: self.clock.monotonic() });
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
        error!(lane = self.lane, ?event, "the lane does not take events: lost one");
    }

    /// At the end: what still waits is refused, and what there is room for is said.
    fn close(mut self) {
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
        self.state.send_modify(|s| {
            if std::mem::replace(&mut s.connected, false) {
                s.since = now;
            }
        });
    }
}

#[cfg(test)]
mod tests;
