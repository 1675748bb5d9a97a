//! The task of one lane: feeds its passage machine and carries out what it says.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::passage::{Action, Answered, Counters, Event, Machine, ManualRelease, Sighting};
use crate::{
    clock::Clock,
    ledger::{Body, Ledger, LedgerError, Stored},
    store::{Priority, Store},
    turnstile::{NotReleased, PassageId, Release, TurnstileEvent, TurnstileHandle},
};

/// Sightings on their way to a lane. When it is full the newest is dropped and counted.
pub const SIGHTINGS: usize = 8;
/// Releases asked for by hand; when it is full the asker waits.
pub const REQUESTS: usize = 4;
/// Answers of the store on their way back: a cause, an outcome, and some denials.
const RESULTS: usize = 8;

/// A release by hand, and where its answer goes.
#[derive(Debug)]
pub struct Request {
    pub release: ManualRelease,
    pub reply: oneshot::Sender<Result<Answered, String>>,
}

/// What `status` shows of a lane's gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneState {
    /// A passage is under way.
    pub busy: bool,
    #[serde(flatten)]
    pub counters: Counters,
    pub grants: u64,
    pub denials: u64,
    pub manual_releases: u64,
    /// Entries that could not be committed.
    pub commit_errors: u64,
    pub last_error: Option<String>,
}

/// All that a lane's task is given.
pub struct Lane {
    pub machine: Machine,
    pub sightings: mpsc::Receiver<Sighting>,
    pub requests: mpsc::Receiver<Request>,
    pub turnstile: TurnstileHandle,
    pub store: Store,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub state: watch::Sender<LaneState>,
    pub name: String,
}

/// Runs until cancelled. A passage under way is then left to the next start, which closes it as
/// unconfirmed.
pub async fn run(lane: Lane, cancel: CancellationToken) {
    let (results, mut done) = mpsc::channel(RESULTS);
    let mut shell = Shell { lane, results, asked: HashMap::new() };
    loop {
        let timeout = shell.lane.machine.timeout();
        let now = shell.lane.clock.monotonic();
        let event = tokio::select! {
            biased;
            _ = cancel.cancelled() => return,
            Some(event) = shell.lane.turnstile.events.recv() => Event::Turnstile(event),
            Some(event) = done.recv() => event,
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
            () = sleep_until(timeout.map(|(at, _)| at - now)) => Event::Tick,
            else => return,
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

struct Shell {
    lane: Lane,
    results: mpsc::Sender<Event>,
    asked: HashMap<PassageId, oneshot::Sender<Result<Answered, String>>>,
}

impl Shell {
    fn begin(&mut self, request: Request) -> Option<Event> {
        match PassageId::random() {
            Ok(fresh) => {
                self.asked.insert(fresh, request.reply);
                Some(Event::Asked { request: request.release, fresh })
            }
            Err(error) => {
                let _ = request.reply.send(Err(error.to_string()));
                None
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match &event {
            Event::Turnstile(TurnstileEvent::Up { withdrawn }) if !withdrawn.is_empty() => {
                tracing::warn!(lane = %self.lane.name, ?withdrawn, "a release was found and withdrawn");
            }
            Event::Committed { result: Err(error), .. }
            | Event::Closed { result: Err(error), .. } => {
                self.complain(error.clone());
            }
            _ => {}
        }
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.lane.clock.monotonic();
            for action in self.lane.machine.handle(now, event) {
                events.extend(self.act(action));
            }
        }
        let (busy, counters) = (self.lane.machine.busy(), self.lane.machine.counters);
        self.lane.state.send_if_modified(|state| {
            let before = (state.busy, state.counters);
            (state.busy, state.counters) = (busy, counters);
            before != (busy, counters)
        });
    }

    /// Carries one action out; some answer at once.
    fn act(&mut self, action: Action) -> Option<Event> {
        let lane = self.lane.name.clone();
        match action {
            Action::Commit { passage, body } => {
                match &body {
                    Body::Grant { person, direction, judgement, .. } => {
                        tracing::info!(%lane, %passage, worker = %person.id, %direction, score = judgement.score.value(), "grant");
                        self.lane.state.send_modify(|s| s.grants += 1);
                    }
                    _ => {
                        tracing::info!(%lane, %passage, "release by hand");
                        self.lane.state.send_modify(|s| s.manual_releases += 1);
                    }
                }
                self.commit(
                    move |result| Some(Event::Committed { passage, result }),
                    move |ledger, tx, stamp| ledger.append(tx, stamp, body),
                );
                None
            }
            Action::Deny { body } => {
                if let Body::Denial { direction, reason, person, judgement, .. } = &body {
                    let worker = person.as_ref().map(|p| p.id.as_str());
                    tracing::info!(%lane, %direction, %reason, worker, score = judgement.score.value(), "denial");
                }
                self.lane.state.send_modify(|s| s.denials += 1);
                let state = self.lane.state.clone();
                self.commit(
                    move |result| {
                        if let Err(error) = result {
                            tracing::error!(%lane, %error, "a denial could not be recorded");
                            state.send_modify(|s| s.commit_errors += 1);
                        }
                        None
                    },
                    move |ledger, tx, stamp| ledger.append(tx, stamp, body),
                );
                None
            }
            Action::Release(release) => self.release(release),
            Action::Close { passage, outcome, detail } => {
                tracing::info!(%lane, %passage, ?outcome, %detail, "outcome");
                self.commit(
                    move |result| Some(Event::Closed { passage, result }),
                    move |ledger, tx, stamp| ledger.close(tx, stamp, passage, outcome, &detail),
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
            Action::Unexpected { direction } => {
                tracing::warn!(%lane, %direction, "somebody passed without a release");
                None
            }
        }
    }

    fn release(&self, release: Release) -> Option<Event> {
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
        answer: impl FnOnce(Result<(), String>) -> Option<Event> + Send + 'static,
        work: impl FnOnce(
            &Ledger,
            &rusqlite::Transaction<'_>,
            crate::clock::Stamp,
        ) -> Result<Stored, LedgerError>
        + Send
        + 'static,
    ) {
        let (store, ledger) = (self.lane.store.clone(), self.lane.ledger.clone());
        let (results, stamp) = (self.results.clone(), self.lane.clock.stamp());
        tokio::spawn(async move {
            let written = store.write(Priority::Passage, move |tx| work(&ledger, tx, stamp)).await;
            if let Some(event) = answer(written.map(drop).map_err(|e| e.to_string())) {
                // The lane has ended; the next start closes what is open.
                let _ = results.send(event).await;
            }
        });
    }

    fn complain(&self, error: String) {
        tracing::error!(lane = %self.lane.name, %error, "not recorded");
        self.lane.state.send_modify(|s| {
            s.commit_errors += 1;
            s.last_error = Some(error);
        });
    }
}
