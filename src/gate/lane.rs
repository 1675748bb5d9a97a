//! The task of one lane: feeds its passage machine and carries out its actions.
//!
//! In: sightings and claims, requests, the turnstile's events, the store's answers. Out: ledger
//! entries, releases, and the lane's state for `status`.
//!
//! After a panic, the passage under way is closed as unconfirmed, and its request gets an error.
//! Then the lane starts again with a new machine. Before the next grant, the lane waits for the
//! writes of the old machine, and for the time in which a person may still walk through an arm that
//! the old machine released.

mod fire;
mod mode;
mod sensors;
mod shell;
mod usual;
mod watched;

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::shell::Shell;
pub use self::{
    fire::{FireAlarms, GLITCH_WINDOW, ShortSign},
    mode::{ModeHolder, ModeRequest, ModeState, keep as keep_mode, load as load_mode},
    sensors::{SensorHolder, keep as keep_sensors, load as load_sensors},
    usual::{LIVENESS, LivenessShown, load as load_liveness},
    watched::{Happening, Watched, Watchers},
};
use super::{
    Refusal,
    claim::{ManualRelease, Passing, Presented},
    guarding::Fallback,
    passage::{
        Answered, Counters, DECISION_LIFE, Event, GRACE, Health, Machine, RETRY, Rules, Suspicion,
    },
};
use crate::{
    clock::{Clock, Monotonic},
    ledger::{Ledger, LedgerError},
    store::{Priority, Store, photo_store::PhotoStore},
    supervision::{Backoff, Heartbeat, Panicked, caught},
    timing::Stages,
    turnstile::{PassageId, TurnstileHandle},
};

/// Maximum number of sightings and claims in a lane's queue. When it is full, the newest sighting
/// is dropped and counted; a reader waits with its claim until there is room.
pub const PRESENTED: usize = 8;
/// Maximum number of requests in a lane's queue. When it is full, the next client waits.
pub const REQUESTS: usize = 4;
/// Maximum number of the store's answers in a lane's queue: a cause, an outcome, and some denials.
const RESULTS: usize = 8;

/// Maximum number of denials, tailgates and other faces that wait for their commit. When the disk
/// stalls, the next one is dropped and counted, so that attendance does not wait behind denials.
const DENIALS: usize = 8;
/// Maximum number of denials of workers that wait for their commit, besides [`DENIALS`]. Strangers
/// take none of these places.
const WORKER_DENIALS: usize = 256;

/// A request to a lane, with the channel for its answer.
#[derive(Debug)]
pub enum Request {
    Release { release: ManualRelease, reply: oneshot::Sender<Result<Answered, Refusal>> },
    Mode(ModeRequest),
}

/// An answer of the store.
enum Done {
    Passage(Box<Event>),
    Mode(mode::Written),
    Sensors(sensors::Written),
}

/// A lane's state in `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneState {
    #[serde(skip)]
    pub mode: ModeState,
    /// A passage is under way.
    pub busy: bool,
    #[serde(flatten)]
    pub counters: Counters,
    /// Fire signs at this lane's input that were shorter than
    /// [`SHORT_SIGN`](crate::turnstile::SHORT_SIGN).
    #[serde(default)]
    pub short_fire_signs: u64,
    /// The latest of these signs.
    #[serde(skip)]
    pub short_sign: Option<ShortSign>,
    pub grants: u64,
    pub denials: u64,
    pub manual_releases: u64,
    /// Denials and tailgates dropped because too many waited for their commit.
    pub denials_dropped: u64,
    /// The liveness scores of each side's granted visits, where they are judged.
    #[serde(skip)]
    pub liveness: [Option<LivenessShown>; 2],
    /// Visits at the entry that went to the guard.
    #[serde(default)]
    pub asked_guard: u64,
    /// The entry has fallen back to `watch`.
    #[serde(skip)]
    pub fallback: Option<Fallback>,
    /// Entries that could not be committed.
    pub commit_errors: u64,
    pub last_error: Option<String>,
    /// Times of the first and of the latest failed commit, until a commit succeeds. Without a
    /// commit there is no release.
    #[serde(skip)]
    pub failing: Option<(Monotonic, Monotonic)>,
    /// For each direction, the time of the latest sighting on which the lane decided, or on which
    /// it needed no decision.
    #[serde(skip)]
    pub settled: [Option<Monotonic>; 2],
    /// For each direction why the passage sensor is suspect, and since when.
    #[serde(skip)]
    pub suspects: [Option<(Suspicion, Monotonic)>; 2],
    /// Number of restarts of its task after a fault in this program.
    pub restarts: u64,
    /// The latest fault and its time.
    #[serde(skip)]
    pub fault: Option<(Monotonic, Panicked)>,
}

impl LaneState {
    /// Counts the result of a commit.
    fn wrote<T>(&mut self, kind: &str, result: &Result<T, String>, now: Monotonic) {
        match result {
            Ok(_) => {
                self.failing = None;
                match kind {
                    "grant" => self.grants += 1,
                    "denial" => self.denials += 1,
                    "release" => self.manual_releases += 1,
                    _ => {}
                }
            }
            Err(error) => {
                self.commit_errors += 1;
                self.last_error = Some(error.clone());
                // On a full disk a denial may fail while attendance can still be committed.
                if !matches!(kind, "denial" | "tailgate" | "other_face" | "several_cards") {
                    self.failing.get_or_insert((now, now)).1 = now;
                }
            }
        }
    }
}

/// The parts of a lane's task.
pub struct LaneTask {
    pub rules: Rules,
    /// Whether the turnstile reports passages.
    pub confirms: bool,
    pub presented: mpsc::Receiver<Presented>,
    pub requests: mpsc::Receiver<Request>,
    pub turnstile: TurnstileHandle,
    pub store: Store,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub stages: Arc<Stages>,
    pub state: watch::Sender<LaneState>,
    pub passing: watch::Sender<Passing>,
    pub name: String,
    pub beat: Heartbeat,
    pub denials: Permits,
    pub holding: ModeHolder,
    pub sensors: SensorHolder,
    /// Stores the photos of passages.
    pub photo_store: PhotoStore,
    pub watchers: Watchers,
}

/// The permits for denials and tailgates that wait for their commit.
#[derive(Clone)]
pub struct Permits {
    others: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl Default for Permits {
    fn default() -> Permits {
        let permits = |most| Arc::new(Semaphore::new(most));
        Permits { others: permits(DENIALS), workers: permits(WORKER_DENIALS) }
    }
}

/// Runs until cancelled. The next start closes a passage under way as unconfirmed.
pub async fn run(mut lane: LaneTask, cancel: CancellationToken) {
    let mut backoff = Backoff::default();
    let mut pause = None;
    // The answers to the writes of one machine; each write under way holds a sender.
    let (_, mut done) = mpsc::channel(RESULTS);
    loop {
        let begun = lane.clock.monotonic();
        let run = async {
            if let Some(pause) = pause {
                recover(&mut lane, &mut done, pause).await;
            }
            work(&mut lane, &mut done).await
        };
        // Only channels, counters and the ledger outlive a panic; they are consistent after each
        // step.
        let ended = tokio::select! {
            biased;
            _ = cancel.cancelled() => return,
            ended = caught(run) => ended,
        };
        let Err(fault) = ended;
        let now = lane.clock.monotonic();
        pause = Some(backoff.after(now.since(begun)));
        tracing::error!(lane = %lane.name, %fault, "the lane restarts");
        lane.state.send_modify(|s| {
            s.busy = false;
            s.restarts += 1;
            s.last_error = Some(fault.to_string());
            s.fault = Some((now, fault));
        });
    }
}

/// Recovers after a fault: closes the passage of the lost machine, and waits for at least `pause`.
async fn recover(lane: &mut LaneTask, done: &mut mpsc::Receiver<Done>, pause: Duration) {
    let LaneTask { requests, turnstile, holding, .. } = lane;
    let (name, rules, clock) = (&lane.name, &lane.rules, &lane.clock);
    let mut written = Vec::new();
    let settled = async {
        while let Some(done) = done.recv().await {
            if let Done::Mode(answer) = done {
                written.push(answer);
            }
        }
        loop {
            let (ledger, stamp, lane_name) = (lane.ledger.clone(), clock.stamp(), name.clone());
            let close = move |tx: &rusqlite::Transaction<'_>| {
                ledger.close_interrupted(tx, stamp, Some(&lane_name))
            };
            let closed = lane.store.write(Priority::Attendance, close).await;
            let result = closed.as_ref().map(|_| ()).map_err(LedgerError::to_string);
            lane.state.send_modify(|s| s.wrote("outcome", &result, clock.monotonic()));
            match closed {
                Ok(0) => break tokio::time::sleep(pause).await,
                // The sensor does not report which person walked. The next passage begins only when
                // no person can still use the release of the lost passage.
                Ok(_) => {
                    let walked = DECISION_LIFE + rules.pass_within + GRACE;
                    break tokio::time::sleep(pause.max(walked)).await;
                }
                Err(error) => {
                    tracing::error!(lane = %name, %error, "a lost passage is not recorded yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    };
    let turned_away = async {
        loop {
            tokio::select! {
                Some(request) = requests.recv() => {
                    request.refuse(Refusal::Restarts);
                }
                Some(event) = turnstile.events.recv() => {
                    if !holding.hears(&event, clock.stamp()) {
                        tracing::warn!(lane = %name, ?event, "ignored: the lane restarts");
                    }
                }
                () = holding.alarmed() => {}
            }
            holding.show_short_signs(&lane.state);
            // A fire alarm opens the lane before the recovery is over.
            if holding.apply_fire(clock.stamp().wall_ms) {
                holding.show(&turnstile.hold_open, &lane.state);
            }
        }
    };
    tokio::select! {
        () = settled => {}
        () = turned_away => {}
        () = lane.beat.keep() => {}
    }
    for answer in written {
        lane.holding.apply_written(answer);
    }
}

impl Request {
    fn refuse(self, refusal: Refusal) {
        // The client may have closed the connection.
        let _ = match self {
            Request::Release { reply, .. } => reply.send(Err(refusal)).is_ok(),
            Request::Mode(request) => request.reply.send(Err(refusal)).is_ok(),
        };
    }
}

/// Feeds events to a new machine, for ever.
async fn work(lane: &mut LaneTask, done: &mut mpsc::Receiver<Done>) -> Infallible {
    let (results, fresh) = mpsc::channel(RESULTS);
    *done = fresh;
    let mut machine = Machine::new(lane.rules.clone(), lane.confirms, lane.holding.mode());
    machine.counters = lane.state.borrow().counters;
    let fallback = lane.state.borrow().fallback;
    machine.resume(lane.clock.monotonic(), lane.sensors.resumed(), fallback);
    lane.show_mode();
    let mut shell = Shell { lane, machine, results, asked: HashMap::new(), granted: None };
    // The fire alarm may have changed during the restart.
    let on_fire = shell.lane.turnstile.state.borrow().fire;
    if let Some(on) = on_fire {
        let now = shell.lane.clock.stamp();
        shell.lane.holding.input(on, None, now);
    }
    shell.alarm();
    shell.sensors_at_start();
    loop {
        shell.lane.beat.beat();
        shell.record();
        shell.record_sensors();
        let timeout = shell.machine.timeout().map(|(at, _)| at);
        let recorded = [shell.lane.holding.due(), shell.lane.sensors.due()];
        let due = timeout.into_iter().chain(recorded.into_iter().flatten()).min();
        let now = shell.lane.clock.monotonic();
        let event = tokio::select! {
            biased;
            Some(event) = shell.lane.turnstile.events.recv() => {
                let now = shell.lane.clock.stamp();
                if shell.lane.holding.hears(&event, now) {
                    shell.alarm();
                    continue;
                }
                match shell.pressed(&event) {
                    Some(asked) => asked,
                    None => Event::Turnstile(event),
                }
            }
            () = shell.lane.holding.alarmed() => {
                shell.alarm();
                continue;
            }
            Some(done) = done.recv() => match done {
                Done::Passage(event) => *event,
                Done::Mode(written) => {
                    shell.mode_written(written);
                    continue;
                }
                Done::Sensors(written) => {
                    shell.sensors_written(written);
                    continue;
                }
            },
            Some(request) = shell.lane.requests.recv() => match shell.begin(request) {
                Some(event) => event,
                None => continue,
            },
            Some(what) = shell.lane.presented.recv() => match PassageId::random() {
                Ok(fresh) => Event::Presented { what, fresh },
                Err(error) => {
                    shell.complain(error.to_string());
                    continue;
                }
            },
            () = sleep_until(due.map(|at| at - now)) => Event::Tick,
            () = shell.lane.beat.due() => continue,
        };
        shell.handle(event);
    }
}

async fn sleep_until(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
