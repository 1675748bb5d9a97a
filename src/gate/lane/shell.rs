//! Carries out the actions of a lane's machine: commits, releases and answers.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use super::{Done, Happening, LaneTask, Request, usual};
use crate::{
    clock::{Monotonic, Stamp},
    config::Direction,
    failpoint,
    gate::{
        Refusal,
        claim::{ManualRelease, Presented},
        guarding::Fallback,
        passage::{Action, Answered, DECISION_LIFE, Event, Machine},
    },
    ledger::{Actor, Body, Denial, Evidence, Flag, Grant, Ledger, LedgerError, Via},
    roster::{self, CodeRefused},
    store::{Priority, photo_store::Taken},
    turnstile::{NotReleased, PassageId, Release, TurnstileEvent},
};

/// The reason of a release by a guard's button, and its user.
const BUTTON: &str = "guard_button";

pub(super) struct Shell<'a> {
    pub(super) lane: &'a mut LaneTask,
    pub(super) machine: Machine,
    pub(super) results: mpsc::Sender<Done>,
    pub(super) asked: HashMap<PassageId, oneshot::Sender<Result<Answered, Refusal>>>,
    /// The last passage granted, and the capture time of the deciding frame.
    pub(super) granted: Option<(PassageId, Monotonic)>,
}

impl Shell<'_> {
    pub(super) fn begin(&mut self, request: Request) -> Option<Event> {
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
                request.refuse(Refusal::NoPassageId { error: error.to_string() });
                None
            }
        }
    }

    /// Returns the request of a guard's button. I4: an old press is void.
    pub(super) fn pressed(&self, event: &TurnstileEvent) -> Option<Event> {
        let TurnstileEvent::Button { direction, at } = *event else { return None };
        tracing::info!(lane = %self.lane.name, %direction, "the guard's button");
        self.tell(|| Happening::of_turnstile(event));
        let fresh = PassageId::random().map_err(|error| self.complain(error.to_string())).ok()?;
        let user = BUTTON.to_owned();
        let request = ManualRelease {
            direction,
            person: None,
            reason: BUTTON.to_owned(),
            by: Actor { uid: nix::unistd::geteuid().as_raw(), user, via: Via::Button },
            void_after: Some(at + DECISION_LIFE),
        };
        Some(Event::Asked { request, fresh })
    }

    /// Tells the persons who watch the lane.
    fn tell(&self, of: impl FnOnce() -> Option<Happening>) {
        self.lane.watchers.tell(|| self.lane.clock.stamp().timestamp(), of);
    }

    pub(super) fn handle(&mut self, event: Event) {
        if let Event::Turnstile(event) = &event {
            self.tell(|| Happening::of_turnstile(event));
        }
        match &event {
            Event::Turnstile(TurnstileEvent::Up { withdrawn }) if !withdrawn.is_empty() => {
                tracing::warn!(lane = %self.lane.name, ?withdrawn, "withdrew a release that was left");
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
            let presented = match &event {
                Event::Presented { what, .. } => Some(what.clone()),
                _ => None,
            };
            let actions = self.machine.handle(now, event);
            if let Some(presented) = &presented {
                self.took(presented);
            }
            for action in actions {
                if let (Action::Commit { passage, .. }, Some(presented)) = (&action, &presented) {
                    self.lane.stages.decision.observe(now.since(presented.captured()));
                    self.granted = Some((*passage, presented.captured()));
                }
                events.extend(self.act(action));
            }
        }
        let (busy, counters) = (self.machine.busy(), self.machine.counters);
        let suspects = self.machine.suspects();
        self.fell_back();
        self.lane.state.send_if_modified(|state| {
            let before = (state.busy, state.counters, state.suspects);
            (state.busy, state.counters, state.suspects) = (busy, counters, suspects);
            before != (busy, counters, suspects)
        });
        let passing = self.machine.passing();
        self.lane.passing.send_if_modified(|before| {
            let changed = *before != passing;
            *before = passing;
            changed
        });
    }

    /// Shows whether the entry has fallen back to `watch`.
    fn fell_back(&self) {
        let (lane, fallback) = (&self.lane.name, self.machine.fallback());
        let changed = self.lane.state.send_if_modified(|state| {
            let changed = state.fallback.is_some() != fallback.is_some();
            state.fallback = fallback;
            changed
        });
        match fallback.filter(|_| changed) {
            Some(Fallback { low, visits, .. }) => tracing::warn!(
                %lane, low, visits,
                "too many visits were not judged: the entry falls back to watch, and asks no guard"
            ),
            None if changed => tracing::info!(%lane, "the entry asks the guard again"),
            None => {}
        }
    }

    /// Logs the machine's result for a sighting or a claim.
    fn took(&self, presented: &Presented) {
        let Some(taken) = self.machine.taken else { return };
        self.tell(|| Happening::of_presented(presented, taken));
        let (lane, direction) = (&self.lane.name, presented.direction());
        let sighting = match presented {
            Presented::Look(sighting) => sighting,
            Presented::NoFace { .. } => return,
            Presented::Claim(claim) => {
                let worker = claim.who.as_ref().ok().map(|worker| worker.person.id.as_str());
                tracing::debug!(%lane, %direction, worker, "claim: {taken}");
                return;
            }
        };
        tracing::debug!(
            %lane,
            %direction,
            visit = sighting.visit,
            worker = sighting.sighted.named().map(|id| id.as_str()),
            score = sighting.sighted.score(),
            "sighting: {taken}"
        );
        if taken.settled() {
            self.lane.state.send_if_modified(|state| {
                state.settled[direction as usize] = Some(sighting.captured);
                false
            });
        }
    }

    /// Carries out one action. Returns an event if the action fails at once.
    fn act(&mut self, action: Action) -> Option<Event> {
        self.tell(|| Happening::of_action(&action));
        let lane = self.lane.name.clone();
        match action {
            Action::Commit { passage, body, photo, code } => {
                failpoint::at(format_args!("{}.decided", body.kind()));
                match &body {
                    Body::Grant(Grant { person, direction, evidence, .. }) => {
                        let score = score(evidence);
                        tracing::info!(%lane, %passage, worker = %person.id, %direction, score, "grant");
                    }
                    _ => tracing::info!(%lane, %passage, "manual release"),
                }
                let photo_store = self.lane.photo_store.clone();
                let judged = (self.lane.state.clone(), lane.clone());
                // What the guard stops must not move the threshold.
                let guards = self.lane.rules.guard.is_some();
                let taken = photo.zip(body.worker()).map(|(photo, worker)| Taken {
                    passage: passage.0,
                    worker: worker.as_str().to_owned(),
                    jpeg: photo.jpeg,
                    scene: photo.scene,
                });
                self.commit(
                    Priority::Attendance,
                    body.kind(),
                    move |result| {
                        if let Some(taken) = taken.filter(|_| result.is_ok()) {
                            photo_store.keep(taken);
                        }
                        Some(Done::Passage(Event::Committed { passage, result }.into()))
                    },
                    move |ledger, tx, stamp| {
                        if let Some(code) = code {
                            roster::use_code(tx, code, stamp)?;
                        }
                        let (state, lane) = &judged;
                        if !(guards
                            && matches!(&body, Body::Grant(g) if g.direction == Direction::Entry))
                        {
                            usual::add(tx, stamp, (state, lane), &body);
                        }
                        decided(ledger, tx, stamp, body)
                    },
                );
                None
            }
            Action::Deny { body } => {
                if let Body::Denial(Denial { direction, reason, person, evidence, .. }) = &body {
                    let score = score(evidence);
                    let worker = person.as_ref().map(|p| p.id.as_str());
                    tracing::info!(%lane, %direction, %reason, worker, score, "denial");
                }
                self.note(body)
            }
            Action::AskGuard { worker } => {
                tracing::info!(
                    %lane, %worker,
                    "not judged: the guard's button, a card, or `gatehouse lane release {lane} \
                     --direction entry --worker {worker} --reason …` opens"
                );
                self.lane.state.send_modify(|state| state.asked_guard += 1);
                None
            }
            Action::Release(release) => self.release(release),
            Action::Close { passage, outcome, detail, flags } => {
                failpoint::at("outcome.decided");
                let why = detail.as_ref().map(tracing::field::display);
                let flagged: Vec<_> = flags.iter().map(Flag::word).collect();
                tracing::info!(%lane, %passage, ?outcome, detail = why, ?flagged, "outcome");
                self.commit(
                    Priority::Attendance,
                    "outcome",
                    move |result| Some(Done::Passage(Event::Closed { passage, result }.into())),
                    move |ledger, tx, stamp| {
                        let ended = (outcome, detail, flags);
                        match ledger.close_flagged(tx, stamp, passage, ended) {
                            // The passage is closed already, or has no cause: another attempt
                            // would fail, too.
                            Err(error @ LedgerError::NoCause(_)) => {
                                tracing::error!(%error, "an outcome has no open passage");
                                Ok(())
                            }
                            closed => closed.map(drop),
                        }
                    },
                );
                None
            }
            Action::Answer { passage, answer } => {
                match (self.asked.remove(&passage), answer) {
                    // The client may have closed the connection; the release is recorded.
                    (Some(reply), answer) => drop(reply.send(answer)),
                    (None, Err(refusal)) => {
                        tracing::warn!(%lane, %refusal, "the guard's button released nothing");
                    }
                    (None, Ok(_)) => {}
                }
                None
            }
            Action::Tailgate { body } => {
                tracing::warn!(%lane, ?body, "a person passed without a grant or a release");
                self.note(body)
            }
            Action::SeveralCards { body } => {
                tracing::warn!(%lane, worker = ?body.worker(), "several cards within a moment: they may be lent");
                self.note(body)
            }
            Action::OtherFace { body } => {
                tracing::warn!(%lane, ?body, "another face vanished with a worker's passage");
                self.note(body)
            }
        }
    }

    /// Records a denial, a tailgate or another face, if there is a permit left. Returns an event if
    /// a worker's denial is lost at once.
    fn note(&self, body: Body) -> Option<Event> {
        let permits = &self.lane.denials;
        let (permits, lost) = match &body {
            Body::Denial(Denial { person: Some(person), direction, .. }) => {
                let (worker, direction) = (person.id.clone(), *direction);
                (&permits.workers, Some(Event::DenialLost { worker, direction }))
            }
            _ => (&permits.others, None),
        };
        let Ok(place) = permits.clone().try_acquire_owned() else {
            self.lane.state.send_modify(|s| s.denials_dropped += 1);
            tracing::error!(lane = %self.lane.name, kind = body.kind(), "not recorded: the disk stalls");
            return lost;
        };
        // A worker's denial is that worker's proof, as an attendance record is.
        let priority = if lost.is_some() { Priority::Attendance } else { Priority::Event };
        self.commit(
            priority,
            body.kind(),
            move |result| {
                drop(place);
                lost.filter(|_| result.is_err()).map(|lost| Done::Passage(lost.into()))
            },
            move |ledger, tx, stamp| decided(ledger, tx, stamp, body),
        );
        None
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

    /// Writes to the ledger in a task of its own. The answer comes back as an event.
    pub(super) fn commit<T: Send + 'static>(
        &self,
        priority: Priority,
        kind: &'static str,
        answer: impl FnOnce(Result<T, String>) -> Option<Done> + Send + 'static,
        work: impl FnOnce(&Ledger, &rusqlite::Transaction<'_>, Stamp) -> Result<T, LedgerError>
        + Send
        + 'static,
    ) {
        let (store, ledger) = (self.lane.store.clone(), self.lane.ledger.clone());
        let (results, clock) = (self.results.clone(), self.lane.clock.clone());
        let (state, lane) = (self.lane.state.clone(), self.lane.name.clone());
        let stamp = clock.stamp();
        tokio::spawn(async move {
            let written = store.write(priority, move |tx| {
                let worked = work(&ledger, tx, stamp)?;
                failpoint::at(format_args!("{kind}.written"));
                Ok(worked)
            });
            let written = written.await;
            // Another lane took the same code a moment ago: nothing has failed.
            let taken = matches!(&written, Err(LedgerError::Code(CodeRefused::Used)));
            let result = written.map_err(|e: LedgerError| e.to_string());
            match &result {
                Ok(_) => failpoint::at(format_args!("{kind}.committed")),
                Err(error) => tracing::error!(%lane, kind, %error, "not recorded"),
            }
            if !taken {
                state.send_modify(|s| s.wrote(kind, &result, clock.monotonic()));
            }
            if let Some(done) = answer(result) {
                // If the lane has ended, the next start closes the passage.
                let _ = results.send(done).await;
            }
        });
    }

    pub(super) fn complain(&self, error: String) {
        tracing::error!(lane = %self.lane.name, %error, "the lane cannot grant");
        self.lane.state.send_modify(|s| s.last_error = Some(error));
    }
}

/// Appends what the lane has decided. While the roster is in doubt, a decision about a worker or a face
/// is flagged.
fn decided(
    ledger: &Ledger,
    tx: &rusqlite::Transaction<'_>,
    stamp: Stamp,
    mut body: Body,
) -> Result<(), LedgerError> {
    let rests_on_roster = body.worker().is_some() || matches!(body, Body::Denial(_));
    if rests_on_roster && roster::stale_since(tx)?.is_some() {
        body.flag(Flag::ROSTER_STALE);
    }
    ledger.append(tx, stamp, body).map(drop)
}

/// Returns the similarity of the face.
fn score(evidence: &[Evidence]) -> Option<f64> {
    evidence.iter().find_map(Evidence::face).map(|face| face.score.value())
}
