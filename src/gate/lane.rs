//! The task of one lane: feeds its passage machine and carries out what it says.
//!
//! A panic costs the passage under way: it is closed as unconfirmed, whoever waits for its answer
//! is told, and the lane begins again with a machine made anew. Nobody is let through before all
//! that the old machine set going is over: its writes, and the time in which somebody may still
//! walk through an arm that it released.

mod mode;

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use self::mode::{
    Alarms, Holding, ModeRequest, ModeState, keep as keep_mode, load as load_mode,
};
use super::{
    claim::{ManualRelease, PassagePhoto, Sighting},
    passage::{Action, Answered, Counters, DECISION_LIFE, Event, Machine, RETRY, Rules},
    policy::Reason,
};
use crate::{
    clock::{Clock, Monotonic, Stamp},
    failpoint,
    figures::Stages,
    ledger::{Body, Denial, Evidence, Grant, Ledger, LedgerError},
    store::{
        Priority, Store,
        album::{Album, Taken},
    },
    turnstile::{NotReleased, PassageId, Release, TurnstileEvent, TurnstileHandle},
    vigil::{Backoff, Beat, Panicked, caught},
};

/// Sightings on their way to a lane. When it is full the newest is dropped and counted.
pub const SIGHTINGS: usize = 8;
/// Releases asked for by hand; when it is full the asker waits.
pub const REQUESTS: usize = 4;
/// Answers of the store on their way back: a cause, an outcome, and some denials.
const RESULTS: usize = 8;

/// Denials and tailgates waiting to be recorded. When so many do, the disk stalls, and the next one is dropped and
/// counted: attendance waits behind none of them.
const DENIALS: usize = 8;

/// What is asked of a lane, and where the answer goes.
#[derive(Debug)]
pub enum Request {
    Release { release: ManualRelease, reply: oneshot::Sender<Result<Answered, String>> },
    Mode(ModeRequest),
}

/// An answer of the store.
enum Done {
    Passage(Event),
    Mode(mode::Written),
}

/// What `status` shows of a lane's gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneState {
    #[serde(skip)]
    pub mode: ModeState,
    /// A passage is under way.
    pub busy: bool,
    #[serde(flatten)]
    pub counters: Counters,
    pub grants: u64,
    pub denials: u64,
    pub manual_releases: u64,
    /// Visits of faces that nobody knows, also where their denial is not recorded.
    pub unknown_faces: u64,
    /// Denials and tailgates dropped because too many waited to be recorded.
    pub denials_dropped: u64,
    /// Entries that could not be committed.
    pub commit_errors: u64,
    pub last_error: Option<String>,
    /// Since when nothing can be committed, and so nobody is let through; and the latest failure.
    #[serde(skip)]
    pub failing: Option<(Monotonic, Monotonic)>,
    /// When a sighting of each direction last was one that the lane knew what to do with.
    #[serde(skip)]
    pub settled: [Option<Monotonic>; 2],
    /// Times that a fault in this program ended its task, which was then begun anew.
    pub restarts: u64,
    /// The last such fault, and when it was.
    #[serde(skip)]
    pub fault: Option<(Monotonic, Panicked)>,
}

impl LaneState {
    /// What became of a commit.
    fn wrote(&mut self, kind: &str, result: &Result<(), String>, now: Monotonic) {
        match result {
            Ok(()) => {
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
                // A denial may be given up for want of room while attendance goes on.
                if !matches!(kind, "denial" | "tailgate") {
                    self.failing.get_or_insert((now, now)).1 = now;
                }
            }
        }
    }
}

/// All that a lane's task is given.
pub struct Lane {
    pub rules: Rules,
    /// Whether the turnstile reports passages.
    pub confirms: bool,
    pub sightings: mpsc::Receiver<Sighting>,
    pub requests: mpsc::Receiver<Request>,
    pub turnstile: TurnstileHandle,
    pub store: Store,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub stages: Arc<Stages>,
    pub state: watch::Sender<LaneState>,
    pub name: String,
    pub beat: Beat,
    /// See [`denials`].
    pub denials: Arc<Semaphore>,
    pub holding: Holding,
    /// Where photos of passages go.
    pub album: Album,
}

/// Places for denials and tailgates that wait to be recorded.
pub fn denials() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(DENIALS))
}

/// Runs until cancelled. A passage under way is then left to the next start, which closes it as
/// unconfirmed.
pub async fn run(mut lane: Lane, cancel: CancellationToken) {
    let mut backoff = Backoff::default();
    let mut pause = None;
    // What the writes of one machine report to; each write under way holds the other end.
    let (_, mut done) = mpsc::channel(RESULTS);
    loop {
        let begun = lane.clock.monotonic();
        let run = async {
            if let Some(pause) = pause {
                recover(&mut lane, &mut done, pause).await;
            }
            work(&mut lane, &mut done).await
        };
        // What outlives a panic are channels, counters and the ledger, whole after each step.
        let ended = tokio::select! {
            biased;
            _ = cancel.cancelled() => return,
            ended = caught(run) => ended,
        };
        let Err(fault) = ended;
        let now = lane.clock.monotonic();
        pause = Some(backoff.after(now.since(begun)));
        tracing::error!(lane = %lane.name, %fault, "the lane is begun anew");
        lane.state.send_modify(|s| {
            s.busy = false;
            s.restarts += 1;
            s.last_error = Some(fault.to_string());
            s.fault = Some((now, fault));
        });
    }
}

/// After a fault: settles what the lost machine left open, and rests for at least `pause`.
async fn recover(lane: &mut Lane, done: &mut mpsc::Receiver<Done>, pause: Duration) {
    let Lane { requests, turnstile, holding, .. } = lane;
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
                // The sensor does not say who walked: until nobody can on behalf of the passage
                // that was lost, there is no next one.
                Ok(_) => {
                    let walked = DECISION_LIFE + rules.pass_within;
                    break tokio::time::sleep(pause.max(walked)).await;
                }
                Err(error) => {
                    tracing::error!(lane = %name, %error, "a lost passage is not recorded");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    };
    let turned_away = async {
        loop {
            tokio::select! {
                Some(request) = requests.recv() => {
                    let problem = "the lane restarts after a fault; ask again in a moment";
                    request.refuse(problem);
                }
                Some(event) = turnstile.events.recv() => match event {
                    TurnstileEvent::Fire { on, .. } => holding.input(name, on),
                    event => tracing::warn!(lane = %name, ?event, "comes while the lane restarts"),
                },
                () = holding.alarmed() => {}
            }
            // A fire does not wait until the lane is well again.
            if holding.heed(clock.stamp().wall_ms) {
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
        lane.holding.learn(answer);
    }
}

impl Request {
    fn refuse(self, problem: &str) {
        let problem = problem.to_owned();
        // Who asked may have hung up.
        let _ = match self {
            Request::Release { reply, .. } => reply.send(Err(problem)).is_ok(),
            Request::Mode(request) => request.reply.send(Err(problem)).is_ok(),
        };
    }
}

/// Feeds a new machine, for ever.
async fn work(lane: &mut Lane, done: &mut mpsc::Receiver<Done>) -> Infallible {
    let (results, fresh) = mpsc::channel(RESULTS);
    *done = fresh;
    let mut machine = Machine::new(lane.rules.clone(), lane.confirms, lane.holding.mode());
    machine.counters = lane.state.borrow().counters;
    lane.show_mode();
    let mut shell = Shell { lane, machine, results, asked: HashMap::new(), granted: None };
    // What came while the lane was away.
    let on_fire = shell.lane.turnstile.state.borrow().fire;
    if let Some(on) = on_fire {
        shell.fire(on);
    }
    shell.alarm();
    loop {
        shell.lane.beat.beat();
        shell.record();
        let timeout = shell.machine.timeout().map(|(at, _)| at);
        let due = timeout.into_iter().chain(shell.lane.holding.due()).min();
        let now = shell.lane.clock.monotonic();
        let event = tokio::select! {
            biased;
            Some(event) = shell.lane.turnstile.events.recv() => match event {
                TurnstileEvent::Fire { on, .. } => {
                    shell.fire(on);
                    continue;
                }
                event => Event::Turnstile(event),
            },
            () = shell.lane.holding.alarmed() => {
                shell.alarm();
                continue;
            }
            Some(done) = done.recv() => match done {
                Done::Passage(event) => event,
                Done::Mode(written) => {
                    shell.mode_written(written);
                    continue;
                }
            },
            Some(request) = shell.lane.requests.recv() => match shell.begin(request) {
                Some(event) => event,
                None => continue,
            },
            Some(sighting) = shell.lane.sightings.recv() => match PassageId::random() {
                Ok(fresh) => Event::Seen { sighting, fresh },
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

struct Shell<'a> {
    lane: &'a mut Lane,
    machine: Machine,
    results: mpsc::Sender<Done>,
    asked: HashMap<PassageId, oneshot::Sender<Result<Answered, String>>>,
    /// The last passage granted, and when the frame that decided it was captured.
    granted: Option<(PassageId, Monotonic)>,
}

impl Shell<'_> {
    fn begin(&mut self, request: Request) -> Option<Event> {
        match (request, PassageId::random()) {
            (Request::Mode(request), _) => {
                self.change_mode(request);
                None
            }
            (Request::Release { release, reply }, Ok(fresh)) => {
                self.asked.insert(fresh, reply);
                Some(Event::Asked { request: release, fresh })
            }
            (request, Err(error)) => {
                request.refuse(&error.to_string());
                None
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match &event {
            Event::Turnstile(TurnstileEvent::Up { withdrawn }) if !withdrawn.is_empty() => {
                tracing::warn!(lane = %self.lane.name, ?withdrawn, "a release was found and withdrawn");
            }
            Event::Turnstile(TurnstileEvent::Released { passage, at }) => {
                if let Some((_, captured)) = self.granted.take_if(|(id, _)| id == passage) {
                    self.lane.stages.release.observe(at.since(captured));
                }
            }
            _ => {}
        }
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.lane.clock.monotonic();
            let sighting = match &event {
                Event::Seen { sighting, .. } => Some(sighting.clone()),
                _ => None,
            };
            let actions = self.machine.handle(now, event);
            if let Some(sighting) = &sighting {
                self.took(sighting);
            }
            for action in actions {
                if let (Action::Commit { passage, .. }, Some(sighting)) = (&action, &sighting) {
                    self.lane.stages.decision.observe(now.since(sighting.captured));
                    self.granted = Some((*passage, sighting.captured));
                }
                events.extend(self.act(action, sighting.as_ref().and_then(|s| s.photo.as_ref())));
            }
        }
        let (busy, counters) = (self.machine.busy(), self.machine.counters);
        self.lane.state.send_if_modified(|state| {
            let before = (state.busy, state.counters);
            (state.busy, state.counters) = (busy, counters);
            before != (busy, counters)
        });
    }

    /// Takes note of what the machine took a sighting for.
    fn took(&self, sighting: &Sighting) {
        let Some(taken) = self.machine.taken else { return };
        tracing::debug!(
            lane = %self.lane.name,
            direction = %sighting.direction,
            visit = sighting.visit,
            worker = sighting.sighted.named().map(|id| id.as_str()),
            score = sighting.sighted.score(),
            "sighting: {taken}"
        );
        if taken.settled() {
            self.lane.state.send_if_modified(|state| {
                state.settled[sighting.direction as usize] = Some(sighting.captured);
                false
            });
        }
    }

    /// Carries one action out; some answer at once.
    fn act(&mut self, action: Action, photo: Option<&PassagePhoto>) -> Option<Event> {
        let lane = self.lane.name.clone();
        match action {
            Action::Commit { passage, body } => {
                failpoint::at(format_args!("{}.decided", body.kind()));
                match &body {
                    Body::Grant(Grant { person, direction, evidence, .. }) => {
                        let score = score(evidence);
                        tracing::info!(%lane, %passage, worker = %person.id, %direction, score, "grant");
                    }
                    _ => tracing::info!(%lane, %passage, "release by hand"),
                }
                let (album, taken) = (self.lane.album.clone(), taken(&body, photo));
                self.commit(
                    Priority::Attendance,
                    body.kind(),
                    move |result| {
                        if let Some(taken) = taken.filter(|_| result.is_ok()) {
                            album.keep(taken);
                        }
                        Some(Done::Passage(Event::Committed { passage, result }))
                    },
                    move |ledger, tx, stamp| ledger.append(tx, stamp, body).map(drop),
                );
                None
            }
            Action::Deny { body } => {
                if let Body::Denial(Denial { direction, reason, person, evidence, .. }) = &body {
                    let score = score(evidence);
                    let worker = person.as_ref().map(|p| p.id.as_str());
                    tracing::info!(%lane, %direction, %reason, worker, score, "denial");
                    if reason == Reason::UnknownFace.word() {
                        self.lane.state.send_modify(|s| s.unknown_faces += 1);
                    }
                }
                self.note(body);
                None
            }
            Action::Release(release) => self.release(release),
            Action::Close { passage, outcome, detail } => {
                failpoint::at("outcome.decided");
                let why = detail.as_ref().map(tracing::field::display);
                tracing::info!(%lane, %passage, ?outcome, detail = why, "outcome");
                self.commit(
                    Priority::Attendance,
                    "outcome",
                    move |result| Some(Done::Passage(Event::Closed { passage, result })),
                    move |ledger, tx, stamp| {
                        match ledger.close(tx, stamp, passage, outcome, detail) {
                            // Closed already, or never opened: to try again would not help.
                            Err(error @ LedgerError::NoCause(_)) => {
                                tracing::error!(%error, "an outcome has nowhere to go");
                                Ok(())
                            }
                            closed => closed.map(drop),
                        }
                    },
                );
                None
            }
            Action::Answer { passage, answer } => {
                if let Some(reply) = self.asked.remove(&passage) {
                    // Who asked may have hung up; what was asked for is recorded all the same.
                    let _ = reply.send(answer);
                }
                None
            }
            Action::Tailgate { body } => {
                tracing::warn!(%lane, ?body, "somebody passed whom nobody let through");
                self.note(body);
                None
            }
        }
    }

    /// Records what has no passage waiting for it, where there is a place.
    fn note(&self, body: Body) {
        let Ok(place) = self.lane.denials.clone().try_acquire_owned() else {
            self.lane.state.send_modify(|s| s.denials_dropped += 1);
            tracing::error!(lane = %self.lane.name, kind = body.kind(), "not recorded: the disk stalls");
            return;
        };
        self.commit(
            Priority::Event,
            body.kind(),
            move |_| {
                drop(place);
                None
            },
            move |ledger, tx, stamp| ledger.append(tx, stamp, body).map(drop),
        );
    }

    fn release(&self, release: Release) -> Option<Event> {
        failpoint::at("lane.releases");
        let passage = release.passage;
        self.lane.turnstile.releases.try_send(release).err().map(|error| {
            let why =
                NotReleased::Failed(format!("the turnstile's task takes no release: {error}"));
            let event = TurnstileEvent::NotReleased { passage, why, may_have_released: false };
            Event::Turnstile(event)
        })
    }

    /// Writes to the ledger beside this task; its answer comes back as an event.
    fn commit(
        &self,
        priority: Priority,
        kind: &'static str,
        answer: impl FnOnce(Result<(), String>) -> Option<Done> + Send + 'static,
        work: impl FnOnce(&Ledger, &rusqlite::Transaction<'_>, Stamp) -> Result<(), LedgerError>
        + Send
        + 'static,
    ) {
        let (store, ledger) = (self.lane.store.clone(), self.lane.ledger.clone());
        let (results, clock) = (self.results.clone(), self.lane.clock.clone());
        let (state, lane) = (self.lane.state.clone(), self.lane.name.clone());
        let stamp = clock.stamp();
        tokio::spawn(async move {
            let written = store.write(priority, move |tx| {
                work(&ledger, tx, stamp)?;
                failpoint::at(format_args!("{kind}.written"));
                Ok(())
            });
            let result = written.await.map_err(|e: LedgerError| e.to_string());
            match &result {
                Ok(()) => failpoint::at(format_args!("{kind}.committed")),
                Err(error) => tracing::error!(%lane, kind, %error, "not recorded"),
            }
            state.send_modify(|s| s.wrote(kind, &result, clock.monotonic()));
            if let Some(done) = answer(result) {
                // The lane has ended; the next start closes what is open.
                let _ = results.send(done).await;
            }
        });
    }

    fn complain(&self, error: String) {
        tracing::error!(lane = %self.lane.name, %error, "nobody can be let through");
        self.lane.state.send_modify(|s| s.last_error = Some(error));
    }
}

/// How like the face was.
fn score(evidence: &[Evidence]) -> Option<f64> {
    evidence.iter().find_map(Evidence::face).map(|face| face.score.value())
}

/// The photo that a grant names, for the album.
fn taken(body: &Body, photo: Option<&PassagePhoto>) -> Option<Taken> {
    let Body::Grant(Grant { passage, person, photo: Some(sha256), .. }) = body else { return None };
    let photo = photo.filter(|photo| photo.sha256 == *sha256)?;
    let worker = person.id.as_str().to_owned();
    Some(Taken { passage: passage.0, worker, jpeg: photo.jpeg.clone() })
}

#[cfg(test)]
mod tests;
