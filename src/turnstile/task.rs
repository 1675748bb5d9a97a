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
    DeviceFrame, EVENTS, Met, NotReleased, PassageId, RELEASES, Release, Seen, Turnstile,
    TurnstileError, TurnstileEvent, TurnstileHandle, TurnstileState,
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
const WITHDRAW_WITHIN: Duration = Duration::from_millis(1500);
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
    let (hold_open, held_by_lane) = watch::channel(false);
    let desk = Desk {
        hold_open: held_by_lane,
        held: false,
        alarm: false,
        alarm_said: false,
        fire_said: false,
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
    let mut orphaned = desk.touched || desk.held;
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
    // An arm that was to be closed just now is closed yet.
    let held = desk.held;
    let withdraw = async {
        if !orphaned && !held {
            return driver.withdraw().await;
        }
        if orphaned || driver.hold(false).await.is_err() {
            driver.connect().await?;
            driver.hold(false).await?;
        }
        Ok(())
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
    desk.held = false;
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
    if open != desk.held {
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
    if desk.held {
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

enum Turn {
    Stop,
    Release(Release),
    Tick,
}

/// The lane's side of the task: what comes from it and goes to it.
struct Desk {
    lane: String,
    hold_open: watch::Receiver<bool>,
    /// The controller has acknowledged that the arm stands open, and not since that it does not.
    held: bool,
    /// A fire alarm keeps the arm open until the lane, having heard of it, does.
    alarm: bool,
    alarm_said: bool,
    /// The last `Fire` that was said.
    fire_said: bool,
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
                Ok(()) = self.hold_open.changed() => return Turn::Tick,
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

    /// Whether the arm is to stand open now.
    fn is_to_be_open(&mut self) -> bool {
        let by_lane = *self.hold_open.borrow_and_update();
        let all_heard =
            self.outgoing.is_empty() && self.events.capacity() == self.events.max_capacity();
        // The lane carries on from here, until it says otherwise.
        self.alarm &= !(by_lane && all_heard && self.alarm_said);
        by_lane || self.alarm
    }

    fn holds(&mut self, open: bool) {
        if std::mem::replace(&mut self.held, open) != open {
            info!(lane = self.lane, open, "the arm is held open, or no longer");
        }
        self.state.send_modify(|s| s.held_open = open);
    }

    /// Takes the fire alarm's input. What is to be said of it, after the arm is open.
    fn notices(&mut self, fire: Option<bool>) -> Option<bool> {
        let on = fire?;
        self.state.send_if_modified(|s| std::mem::replace(&mut s.fire, fire) != fire);
        let changed = self.fire_said != on;
        if changed && on {
            (self.alarm, self.alarm_said) = (true, false);
        }
        changed.then_some(on)
    }

    fn says_fire(&mut self, fire: Option<bool>) {
        if let Some(on) = fire {
            warn!(lane = self.lane, on, "fire alarm");
            self.say(TurnstileEvent::Fire { on, at: self.clock.monotonic() });
            self.alarm_said |= on;
            self.fire_said = on;
        }
    }

    fn released(&mut self, passage: PassageId) {
        self.state.send_modify(|s| s.releases += 1);
        self.say(TurnstileEvent::Released { passage, at: self.clock.monotonic() });
    }

    fn fail(&mut self, passage: PassageId, error: &TurnstileError, may_have_released: bool) {
        let why = NotReleased::Failed(error.to_string());
        self.say(TurnstileEvent::NotReleased { passage, why, may_have_released });
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
            self.fail(passage, &error, true);
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
