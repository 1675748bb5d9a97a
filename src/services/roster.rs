//! Suspends, removes and lists workers, and commits each change of the roster.
//!
//! A change writes the roster's rows and the ledger's entry in one transaction, and then replaces
//! the gates' snapshot. Changes are made one at a time, so that no other change comes between the
//! search for a similar face, the rows and the snapshot.

use std::sync::Arc;

use clap::Args;
use jiff::civil::Date;
use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use super::{
    Failure, PAGE, Services,
    asked::{Asked, checked_reason},
    dates,
    history::{Past, RosterChange},
    refusal::Refusal,
};
use crate::{
    attendance::EventRecord,
    failpoint,
    ledger::{self, AccessWhat, Actor, Body, Dates, LedgerError, Removal, StateChange, commitment},
    roster::{
        self, CardShown, Day, IdType, Identity, OwnCard, Particulars, RosterError, State, Terms,
        Worker, WorkerId,
    },
    store::Priority,
    words,
};

/// A worker on the roster and the identity, before a change.
pub(super) type Registered = (Worker, Identity);

/// Returns the commitment to a document's number. It proves the number in a dispute.
pub(super) fn committed(identity: &Identity) -> [u8; 32] {
    commitment(&identity.salt, identity.id_type.word(), &identity.number)
}

/// The workers that are asked for.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
pub struct WorkerQuery {
    /// Only workers of this team
    #[arg(long)]
    pub team: Option<String>,
    /// Only workers of this contractor
    #[arg(long)]
    pub contractor: Option<String>,
    /// active, pending, suspended, barred or removed; without it all workers except removed ones
    #[arg(long)]
    pub state: Option<State>,
}

impl WorkerQuery {
    fn asks_for(&self, worker: &Worker) -> bool {
        is(&self.team, &worker.person.team) && is(&self.contractor, &worker.person.contractor)
    }
}

/// Returns whether a text is the one asked for. `None` asks for any text.
pub(super) fn is(wanted: &Option<String>, there: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| words::composed(wanted) == there)
}

/// One page of workers, and the id after which the next page begins.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerPage {
    /// The roster's version.
    pub version: u64,
    /// The workers, by id.
    pub workers: Vec<Worker>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<WorkerId>,
}

/// The result of `worker show`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerShown {
    /// The worker.
    #[serde(flatten)]
    pub worker: Worker,
    /// The type of the document.
    pub id_type: IdType,
    /// All but the last four characters are stars.
    pub id_number: String,
    /// The particulars; empty for a user who may only read.
    #[serde(flatten)]
    pub particulars: Particulars,
    /// The worker's cards. All but the last four digits of a number are stars.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<CardShown>,
}

/// A worker to suspend, bar or (`active`) readmit; the request and the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetState {
    /// The worker's id.
    pub id: WorkerId,
    /// The new state; `removed` is refused.
    pub state: State,
    /// Why: one line of at most 200 characters.
    pub reason: String,
}

/// A request to remove a worker from the roster.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Remove {
    /// The worker's id
    pub id: WorkerId,
    /// Why, in words
    #[arg(long)]
    pub reason: Option<String>,
}

/// The result of a removal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// The worker's id.
    pub id: WorkerId,
    /// The new state, always `removed`.
    pub state: State,
    /// The number of templates erased.
    pub templates_erased: u32,
    /// The number of enrolment photos erased.
    pub photos_erased: u32,
}

impl Services {
    /// Suspends, bars or readmits a worker. Refuses to readmit an active worker.
    pub async fn set_state(
        &self,
        SetState { id, state, reason }: SetState,
        by: Actor,
    ) -> Result<SetState, Failure> {
        if state == State::Removed {
            return Err(Refusal::RemovedAsState.into());
        }
        if state == State::Pending {
            return Err(Refusal::PendingAsState.into());
        }
        let reason = checked_reason(&reason)?;
        let changing = self.changing.lock().await;
        let (worker, _) = self.on_roster(&id).await?;
        if worker.state == State::Pending && state == State::Active {
            return Err(Refusal::IsPending { id }.into());
        }
        if worker.state == state && state == State::Active {
            return Err(Refusal::NotHeld { id }.into());
        }
        let recorded =
            if state == State::Active && worker.is_pending() { State::Pending } else { state };
        let change =
            StateChange { worker: id.clone(), state: recorded, reason: reason.clone(), by };
        let (held, why) = (id.clone(), reason.clone());
        self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            roster::set_state(tx, &held, state, &why)?;
            Ok((change.into(), ()))
        })
        .await?;
        // A worker who came from afar still waits after a suspension.
        let state = self.roster.borrow().worker(&id).map_or(state, |worker| worker.state);
        Ok(SetState { id, state, reason })
    }

    /// Removes a worker from the roster, and erases templates and photos (I7). Attendance stays.
    pub async fn remove(
        &self,
        Remove { id, reason }: Remove,
        by: Actor,
    ) -> Result<Removed, Failure> {
        let reason = reason.as_deref().map(checked_reason).transpose()?;
        let changing = self.changing.lock().await;
        let removed = id.clone();
        let change = self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            let erased = roster::remove(tx, &removed)?;
            let worker = removed.clone();
            Ok((Removal { worker, reason, erased, by }.into(), erased))
        });
        let erased = change.await?;
        drop(changing);
        self.empty_log(&id).await;
        failpoint::at("removal.emptied");
        self.photo_store.tidy().await;
        self.erase_set_aside().await;
        Ok(Removed {
            id,
            state: State::Removed,
            templates_erased: erased.templates,
            photos_erased: erased.photos,
        })
    }

    /// Returns the worker on the roster with this id.
    pub(super) async fn on_roster(&self, id: &WorkerId) -> Result<Registered, RosterError> {
        match self.stored(id).await {
            Ok((worker, _)) if worker.state == State::Removed => {
                Err(RosterError::Removed(id.clone()))
            }
            stored => stored,
        }
    }

    /// Empties the database's write-ahead log, so that erased data is gone from it too (I7).
    pub(super) async fn empty_log(&self, id: &WorkerId) {
        match self.store.checkpoint().await {
            Ok(true) => {}
            // The next start empties the log.
            kept => tracing::warn!(worker = %id, ?kept, "sealed copies stay in the log for now"),
        }
    }

    /// Changes the roster with its ledger entry in one transaction, then swaps the snapshot.
    /// `_changing`: [`Services::changing`] is held.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        _changing: &tokio::sync::MutexGuard<'_, ()>,
        id: WorkerId,
        priority: Priority,
        work: impl FnOnce(&Transaction<'_>) -> Result<(Body, T), RosterError> + Send + 'static,
    ) -> Result<T, Failure> {
        let (ledger, stamp, changed) = (self.ledger.clone(), self.clock.stamp(), id.clone());
        let (sealer, model) = (self.store.sealer().clone(), self.vision.embedder_name().to_owned());
        // The worker is loaded before the commit, so that a change is not made if the gate cannot
        // load it.
        let written = self.store.write(priority, move |tx| {
            let (body, done) = work(tx)?;
            let kind = body.kind();
            ledger.append(tx, stamp, body)?;
            let fresh = roster::load_one(tx, &sealer, &model, &changed)?;
            let version = roster::version(tx)?;
            failpoint::at(format_args!("{kind}.written"));
            Ok::<_, Failure>((kind, done, version, fresh))
        });
        let (kind, done, version, fresh) = written.await?;
        failpoint::at(format_args!("{kind}.committed"));
        self.roster.send_modify(|current| {
            *current = Arc::new(current.with(version, &id, fresh));
        });
        failpoint::at(format_args!("{kind}.swapped"));
        Ok(done)
    }

    /// Returns the worker with this id, in any state.
    pub(super) async fn known(&self, id: &WorkerId) -> Result<Option<Registered>, RosterError> {
        match self.stored(id).await {
            Ok(known) => Ok(Some(known)),
            Err(RosterError::NoSuchWorker(_) | RosterError::Removed(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn stored(&self, id: &WorkerId) -> Result<Registered, RosterError> {
        let (sealer, asked) = (self.store.sealer().clone(), id.clone());
        self.store.read(move |tx| roster::identity(tx, &sealer, &asked)).await
    }

    /// Refuses an id or document in use. The transaction would refuse it too, but only after the
    /// photos were sent.
    pub(super) async fn must_be_free(
        &self,
        id: &WorkerId,
        identity: &Identity,
    ) -> Result<(), RosterError> {
        match self.known(id).await? {
            Some((Worker { state: State::Removed, .. }, _)) => {
                return Err(RosterError::IdRetired(id.clone()));
            }
            Some(_) => return Err(RosterError::IdTaken(id.clone())),
            None => {}
        }
        let (sealer, identity) = (self.store.sealer().clone(), identity.clone());
        match self.store.read(move |tx| roster::holder_of(tx, &sealer, &identity)).await? {
            Some(other) => Err(RosterError::IdentityTaken(other)),
            None => Ok(()),
        }
    }

    /// Returns the site's date, as far as it is known.
    pub(super) fn day(&self) -> Day {
        Day::at(self.clock.stamp(), &self.last_trusted, &self.origin.timezone)
    }

    /// Returns the site's date; `None` while the clock is not trusted.
    pub(super) fn today(&self) -> Option<Date> {
        self.day().today()
    }

    /// Refuses dates that are probably mistyped: papers signed in the future, and days of another
    /// century. While the clock is not trusted, a date in the future needs a confirmation.
    pub(super) fn plausible(&self, given: &Terms, confirmed: bool) -> Result<(), Failure> {
        let stamp = self.clock.stamp();
        let today = stamp.timestamp().to_zoned(self.origin.timezone.clone()).date();
        dates::plausible(given, today, stamp.synced, confirmed)
    }

    pub(super) fn must_have_consent(
        &self,
        wants_faces: bool,
        terms: &Terms,
        asked: Asked,
    ) -> Result<(), Failure> {
        if terms.consent.is_some() || !wants_faces || !self.roster_rules.require_consent {
            return Ok(());
        }
        Err(Refusal::NoConsent { asked }.into())
    }

    /// Returns a page of workers after `after`: those of at most `limit` rows that match the query.
    pub async fn workers(
        &self,
        query: &WorkerQuery,
        after: Option<WorkerId>,
        limit: usize,
    ) -> Result<WorkerPage, Failure> {
        let state = query.state;
        let read = self.store.read(move |tx| {
            let page = roster::list(tx, state, after.as_ref(), limit)?;
            Ok::<_, RosterError>((roster::version(tx)?, page))
        });
        let (version, mut page) = read.await?;
        page.workers.retain(|worker| query.asks_for(worker));
        Ok(WorkerPage { version, workers: page.workers, next: page.next })
    }

    /// Returns one worker. Only a user who may change the roster gets the particulars.
    pub async fn worker(&self, id: WorkerId, by: &Actor) -> Result<WorkerShown, Failure> {
        let sealer = self.store.sealer().clone();
        let read = self.store.read(move |tx| {
            let (worker, identity) = roster::identity(tx, &sealer, &id)?;
            Ok::<_, RosterError>((worker, identity, roster::cards(tx, &sealer, &id)?))
        });
        let (worker, identity, cards) = read.await?;
        let cards = cards.into_iter().map(OwnCard::masked).collect();
        let (id_type, id_number) = (identity.id_type, identity.masked());
        let in_full = self.may_change(by).is_ok();
        let particulars = if in_full { identity.particulars } else { Particulars::default() };
        if particulars != Particulars::default() {
            self.record_reading(AccessWhat::Particulars, by).await;
        }
        Ok(WorkerShown { worker, id_type, id_number, particulars, cards })
    }

    /// Returns the latest entries on a worker that are no attendance, oldest first.
    pub async fn history(&self, id: WorkerId) -> Result<Vec<RosterChange>, Failure> {
        let asked = id.clone();
        self.store.read(move |tx| roster::must_exist(tx, &asked)).await?;
        // A removed worker may have no identity, and a damaged one cannot be opened.
        let identity = self.known(&id).await.ok().flatten().map(|(_, identity)| identity);
        let altered = self.altered().await?;
        let (sealer, holder) = (self.store.sealer().clone(), id.clone());
        let read = self.store.read(move |tx| {
            let entries = ledger::history(tx, &id, PAGE, &altered)?;
            Ok::<_, LedgerError>((entries, Dates::read(tx)?))
        });
        let (entries, dates) = read.await?;
        let cards = self.store.read(move |tx| roster::cards(tx, &sealer, &holder)).await?;
        let changes = Past::new(identity, &cards).all(entries.iter().map(|(stored, _)| stored));
        let happened = entries.iter().zip(changes).filter_map(|((stored, disputed), changes)| {
            let event = EventRecord::of(&self.origin, stored)?;
            let reckoned = self.origin.reckoned(dates.of_stamp(stored.entry.stamp));
            Some(RosterChange { event, changes, reckoned, disputed: *disputed })
        });
        Ok(happened.collect())
    }
}
