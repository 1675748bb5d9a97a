//! Deletes what is over: attendance, photos of passages, and faces (I11).
//!
//! In: the clock, the rules of retention. Out: entries that announce a deletion, and later the
//! deletion with an entry of its own. Every deletion by date begins here, and needs a
//! [`Corroborated`] date. Only the store's bounds and a person's order delete without one.

use std::{sync::Arc, time::Duration};

use jiff::{Span, civil::Date};
use rusqlite::Transaction;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Corroborated, Monotonic, Reading, Reckoning, Stamp},
    ledger::{
        self, DeletedWhat, Ledger, LedgerError, MOST_NAMED, NOTICE_DAYS, PhotoPruning,
        PlannedDeletion, Retention, planned, settle,
    },
    roster::{self, FaceRule, WorkerId},
    services::{Deletions, Failure, Services},
    store::{self, Priority, Store, photo_store, photo_store::PhotoStore},
};

/// Interval between two readings of the clock.
const EVERY: Duration = Duration::from_secs(1);
/// Interval between two searches for what is over; the second one is for a failed search, and for
/// a date that is not corroborated.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Pause between two batches of pruned entries, for the passages.
const BETWEEN_BATCHES: Duration = Duration::from_millis(100);
/// Maximum number of days by which the day before which photos are pruned may move without a new
/// announcement. A longer move is no passing of days: the clock, or the configuration, changed.
const ROLLS_DAYS: i32 = 5;

/// Key in `meta`: the count of the running time that supports the date.
const RECKONING: &str = "reckoning";
/// Key in `meta`: the day before which photos were pruned last.
const PHOTOS_BEFORE: &str = "photos_pruned_before";

/// Workers whose faces are to be erased now, with the date that says so.
type Over = Option<(Corroborated, Vec<WorkerId>)>;

/// Runs until cancelled, also in the middle of a deletion: the next start goes on with it.
pub(super) async fn delete(services: Arc<Services>, cancel: CancellationToken) {
    tokio::select! {
        _ = cancel.cancelled() => {}
        () = work(services) => {}
    }
}

async fn work(services: Arc<Services>) {
    let kept = services.store.read(|tx| Ok::<_, LedgerError>(store::meta(tx, RECKONING)?));
    let reckoning = Reckoning::resumed(kept.await.ok().flatten().as_deref());
    services.erase_set_aside().await;
    let mut deletion = Deletion {
        store: services.store.clone(),
        ledger: services.ledger.clone(),
        clock: services.clock.clone(),
        retention: services.retention.clone(),
        faces: services.face_rule(),
        photos: services.photo_store.clone(),
        photo_keep_days: services.photo_keep_days,
        state: services.deletions.clone(),
        reckoning,
        unkept: false,
        look_at: Monotonic::default(),
    };
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let Some((date, over)) = deletion.turn().await else { continue };
        for id in &over {
            if let Err(error) = services.erase_faces(id, date).await {
                tracing::warn!(worker = %id, %error, "templates and photos are not erased yet");
            }
        }
        services.erase_set_aside().await;
        if let Err(error) = services.find_absent(date).await {
            tracing::warn!(%error, "the workers who have not come for long are not known");
        }
    }
}

struct Deletion {
    store: Store,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    retention: Retention,
    /// `None`: templates and photos are not erased by date.
    faces: Option<FaceRule>,
    photos: PhotoStore,
    photo_keep_days: u16,
    state: watch::Sender<Deletions>,
    reckoning: Reckoning,
    /// The reckoning is not in the database yet.
    unkept: bool,
    /// Time of the next search for what is over.
    look_at: Monotonic,
}

impl Deletion {
    /// Reads the clock. At times, searches for what is over, announces its deletion, and deletes
    /// what was announced. Returns the workers to erase after a search with a corroborated date.
    async fn turn(&mut self) -> Over {
        let (stamp, now) = (self.clock.stamp(), self.clock.monotonic());
        let reading = self.reckoning.read(stamp);
        if reading == Reading::InDoubt {
            self.look_at = now;
        }
        self.unkept |= reading != Reading::Usual;
        if self.unkept {
            let kept = self.reckoning.kept();
            let keep = self.store.write(Priority::Upkeep, move |tx| {
                Ok::<_, LedgerError>(store::set_meta(tx, RECKONING, &kept)?)
            });
            self.unkept = keep.await.is_err();
        }
        let support = self.reckoning.support();
        self.state.send_if_modified(|state| {
            let moved = state.date != support;
            state.date = support;
            moved
        });
        if now < self.look_at {
            return None;
        }
        let date = self.reckoning.corroborated(stamp);
        self.look_at = now + LOOK_AGAIN;
        let looked = match date {
            Some(date) => self.look(date, stamp).await,
            None => self.held_back(stamp).await.map(|()| Vec::new()),
        };
        if let Err(error) = self.show().await {
            tracing::warn!(%error, "the planned deletions cannot be read");
        }
        match looked {
            Ok(over) => {
                let date = date?;
                // After an erasure the plan is settled soon.
                self.look_at = now + if over.is_empty() { LOOK_EVERY } else { LOOK_AGAIN };
                Some((date, over))
            }
            Err(error) => {
                tracing::warn!(%error, "what is over is not deleted yet");
                None
            }
        }
    }

    /// Finds out what is over by the clock. Nothing is deleted by it.
    async fn held_back(&self, stamp: Stamp) -> Result<(), Failure> {
        let mut held_back = Vec::new();
        if stamp.synced {
            let (retention, faces) = (self.retention.clone(), self.faces.clone());
            let (today, keep_days) = (retention.day(stamp.wall_ms), self.photo_keep_days);
            let over = self.store.read(move |tx| {
                let attendance = ledger::prunable(tx, today, &retention)?.is_some();
                let photos = photos_over(tx, today, keep_days)?.is_some();
                let faces = match faces {
                    Some(rule) => !rule.over(tx, today, None)?.is_empty(),
                    None => false,
                };
                Ok::<_, Failure>([attendance, photos, faces])
            });
            let over = DeletedWhat::ALL.into_iter().zip(over.await?);
            held_back.extend(over.filter_map(|(what, over)| over.then_some(what)));
        }
        self.state.send_modify(|state| state.held_back = held_back);
        Ok(())
    }

    /// Shows the standing plans.
    async fn show(&self) -> Result<(), LedgerError> {
        let read = self.store.read(|tx| {
            DeletedWhat::ALL.iter().map(|what| planned(tx, *what)).collect::<Result<Vec<_>, _>>()
        });
        let mut planned = Vec::from_iter(read.await?.into_iter().flatten());
        planned.iter_mut().for_each(|plan| plan.workers.truncate(MOST_NAMED));
        self.state.send_modify(|state| state.planned = planned);
        Ok(())
    }

    async fn look(&self, date: Corroborated, stamp: Stamp) -> Result<Vec<WorkerId>, Failure> {
        self.state.send_modify(|state| state.held_back.clear());
        let today = self.retention.today(date);
        self.attendance(date, today, stamp).await?;
        self.prune_photos(date, today, stamp).await?;
        self.faces(today, stamp).await
    }

    /// Returns the standing plan, if its day has come. Settles a plan of which nothing is left, and
    /// announces what `over` finds on the day of a new plan.
    async fn due(
        &self,
        what: DeletedWhat,
        today: Date,
        stamp: Stamp,
        over: impl Fn(&Transaction<'_>, Date) -> Result<Option<PlannedDeletion>, Failure>
        + Send
        + 'static,
    ) -> Result<Option<PlannedDeletion>, Failure> {
        let ledger = self.ledger.clone();
        let notice = today.saturating_add(Span::new().days(NOTICE_DAYS));
        let step = self.store.write(Priority::Upkeep, move |tx| {
            if let Some(plan) = planned(tx, what)? {
                if over(tx, plan.on)?.is_some() {
                    return Ok((plan.on <= today).then_some(plan));
                }
                settle(tx, what)?;
            }
            if let Some(plan) = over(tx, notice)? {
                tracing::warn!(%what, on = %plan.on, count = plan.count, "will be deleted");
                ledger.plan(tx, stamp, plan)?;
            }
            Ok::<_, Failure>(None)
        });
        step.await
    }

    /// Prunes entries whose retention is over.
    async fn attendance(
        &self,
        date: Corroborated,
        today: Date,
        stamp: Stamp,
    ) -> Result<(), Failure> {
        let rules = self.retention.clone();
        let over = move |tx: &Transaction<'_>, on| {
            if ledger::prunable(tx, on, &rules)?.is_none() {
                return Ok(None);
            }
            let before = rules.of_days_before(on);
            let count = ledger::passages_before(tx, before, &rules)?;
            Ok(Some(plan(DeletedWhat::Attendance, on, count, Some(before))))
        };
        if let Some(plan) = self.due(DeletedWhat::Attendance, today, stamp, over).await? {
            while self.prune_some(plan.on, date).await? {
                tokio::time::sleep(BETWEEN_BATCHES).await;
            }
            let settled =
                self.store.write(Priority::Upkeep, |tx| settle(tx, DeletedWhat::Attendance));
            settled.await?;
        }
        // An earlier run may have ended before its entry.
        self.tell_pruned(date, stamp).await
    }

    /// Prunes one batch. Returns whether there may be more.
    async fn prune_some(&self, announced: Date, date: Corroborated) -> Result<bool, Failure> {
        let (ledger, rules) = (self.ledger.clone(), self.retention.clone());
        let prune =
            self.store.write(Priority::Upkeep, move |tx| ledger.prune(tx, announced, date, &rules));
        Ok(prune.await?)
    }

    async fn tell_pruned(&self, date: Corroborated, stamp: Stamp) -> Result<(), Failure> {
        let (ledger, rules) = (self.ledger.clone(), self.retention.clone());
        let told = self.store.write(Priority::Upkeep, move |tx| {
            let entries = ledger.tell_pruned(tx, stamp, &rules)?;
            // While no entry may be pruned, no removed worker is forgotten either.
            let forgotten = match ledger::pruned_before(tx)? {
                before if rules.kept_until().is_some() && before > 0 => {
                    roster::forget_removed(tx, date)?
                }
                _ => 0,
            };
            Ok::<_, Failure>((entries, forgotten))
        });
        let (entries, forgotten) = told.await?;
        if entries > 0 || forgotten > 0 {
            tracing::info!(entries, forgotten, "deleted old entries and removed workers");
            self.store.checkpoint().await?;
        }
        Ok(())
    }

    /// Prunes photos whose days are over. The first time it is announced. Then it goes on day by
    /// day, until the day moves further than days pass.
    async fn prune_photos(
        &self,
        date: Corroborated,
        today: Date,
        stamp: Stamp,
    ) -> Result<(), Failure> {
        let keep_days = self.photo_keep_days;
        let before = photos_before(today, keep_days);
        let last = self.store.read(|tx| Ok::<_, LedgerError>(store::meta(tx, PHOTOS_BEFORE)?));
        let last = last.await?.and_then(|day| str::from_utf8(&day).ok()?.parse::<Date>().ok());
        let rolls =
            last.is_some_and(|last| last.saturating_add(Span::new().days(ROLLS_DAYS)) >= before);
        let over = move |tx: &Transaction<'_>, on| {
            let over = photos_over(tx, on, keep_days)?.filter(|_| !rolls);
            let before = Some(photos_before(on, keep_days));
            Ok(over.map(|count| plan(DeletedWhat::Photos, on, count, before)))
        };
        let planned = self.due(DeletedWhat::Photos, today, stamp, over).await?;
        let goes = rolls || planned.is_some();
        if goes {
            self.photos.prune(before, date).await.map_err(Failure::internal)?;
        }
        let ledger = self.ledger.clone();
        let told = self.store.write(Priority::Upkeep, move |tx| {
            if goes {
                store::set_meta(tx, PHOTOS_BEFORE, before.to_string().as_bytes())?;
                settle(tx, DeletedWhat::Photos)?;
            }
            let counts = photo_store::tell_untold(tx)?;
            if counts != photo_store::Untold::default() {
                let of_days_before = (counts.pruned > 0).then_some(before);
                let photo_store::Untold { pruned, crowded_out } = counts;
                ledger.append(tx, stamp, PhotoPruning { pruned, of_days_before, crowded_out })?;
            }
            Ok::<_, LedgerError>(())
        });
        Ok(told.await?)
    }

    /// Returns the announced workers whose faces are to be erased now.
    async fn faces(&self, today: Date, stamp: Stamp) -> Result<Vec<WorkerId>, Failure> {
        let rule = self.faces.clone();
        let over = move |tx: &Transaction<'_>, on| {
            let Some(rule) = &rule else { return Ok(None) };
            let workers = Vec::from_iter(rule.over(tx, on, None)?.into_iter().map(|(id, _)| id));
            // Another worker's announcement does not announce a worker.
            let announced = planned(tx, DeletedWhat::Faces)?.filter(|plan| plan.on == on);
            let ours =
                |id: &WorkerId| announced.as_ref().is_none_or(|plan| plan.workers.contains(id));
            let workers = Vec::from_iter(workers.into_iter().filter(ours));
            let count = workers.len() as u64;
            let plan = PlannedDeletion { workers, ..plan(DeletedWhat::Faces, on, count, None) };
            Ok((count > 0).then_some(plan))
        };
        let due = self.due(DeletedWhat::Faces, today, stamp, over).await?;
        Ok(due.map_or_else(Vec::new, |plan| plan.workers))
    }
}

fn plan(what: DeletedWhat, on: Date, count: u64, before: Option<Date>) -> PlannedDeletion {
    PlannedDeletion { what, on, count, of_days_before: before, workers: Vec::new() }
}

/// Returns the day before which photos are over on a day.
fn photos_before(on: Date, keep_days: u16) -> Date {
    on.saturating_sub(Span::new().days(keep_days))
}

/// Returns the number of photos that are over on a day; `None` if there are none.
fn photos_over(tx: &Transaction<'_>, on: Date, keep_days: u16) -> Result<Option<u64>, Failure> {
    let before = photos_before(on, keep_days);
    let (first, count) = photo_store::oldest(tx, before).map_err(LedgerError::from)?;
    Ok(first.filter(|first| *first < before).map(|_| count))
}

#[cfg(test)]
mod tests;
