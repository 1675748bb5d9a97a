//! What is deleted by date, and the erasure that it needs.

use std::path::PathBuf;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Failure, Services};
use crate::{
    clock::{Corroborated, Support},
    failpoint,
    ledger::{DeletedWhat, Erasure, PlannedDeletion},
    roster::{self, RosterError, WorkerId},
    store::{self, Priority},
};

/// What is deleted by date, as `status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deletions {
    /// The support of the date.
    pub date: Support,
    /// What is over by the clock and stays, because the date is not corroborated.
    pub held_back: Vec<DeletedWhat>,
    /// The announced deletions.
    pub planned: Vec<PlannedDeletion>,
    /// Number of workers who have not come for 180 days.
    pub absent: u64,
    /// The first of these workers.
    pub absent_workers: Vec<WorkerId>,
    /// The day of the last passage, if no one has passed for 180 days and `settled_on` is not set.
    pub no_passage_since: Option<Date>,
    /// Databases that were set aside and may still hold erased faces.
    pub not_erased: Vec<NotErased>,
}

/// A database that was set aside, and in which not all could be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotErased {
    /// Its folder.
    pub place: PathBuf,
    /// The first error.
    pub error: String,
}

impl Services {
    /// Erases the templates and photos of a worker whose faces are over. Does nothing if they are
    /// not over any more: the worker has a later last day, or has passed again.
    pub async fn erase_faces(&self, id: &WorkerId, date: Corroborated) -> Result<(), Failure> {
        let Some(rule) = self.face_rule() else { return Ok(()) };
        let (kept_days, worker) = (rule.keep_days.into(), id.clone());
        let changing = self.changing.lock().await;
        let today = self.retention.today(date);
        let of = id.clone();
        let over = self.store.read(move |tx| rule.over(tx, today, Some(&of))).await?;
        let Some((_, valid_until)) = over.into_iter().next() else { return Ok(()) };
        let change = self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            let erased = roster::erase_faces(tx, &worker, date)?;
            Ok((Erasure { worker, erased, valid_until, kept_days }.into(), erased))
        });
        let erased = change.await?;
        drop(changing);
        tracing::info!(worker = %id, ?erased, %valid_until, "erased a worker's templates and photos");
        self.empty_log(id).await;
        failpoint::at("erasure.emptied");
        self.photo_store.tidy().await;
        Ok(())
    }

    /// Returns the rule for the erasure of templates and photos; `None` if they are never erased
    /// by date.
    pub fn face_rule(&self) -> Option<roster::FaceRule> {
        let keep_days = self.roster_rules.erase_after_days;
        let timezone = self.origin.timezone.clone();
        (keep_days > 0).then_some(roster::FaceRule { keep_days, timezone })
    }

    /// Erases the faces that the roster has erased in the databases that were set aside, too.
    pub async fn erase_set_aside(&self) {
        let places = store::all_set_aside(&self.storage_dir);
        if places.is_empty() {
            self.deletions.send_modify(|state| state.not_erased.clear());
            return;
        }
        let workers = match self.store.read(roster::without_faces).await {
            Ok(workers) => workers,
            Err(error) => return tracing::warn!(%error, "no erasure in databases set aside"),
        };
        let erase = move || {
            let mut kept = Vec::new();
            for place in places {
                match roster::erase_set_aside(&place, &workers) {
                    Ok(0) => {}
                    Ok(rows) => tracing::info!(place = %place.display(), rows, "erased faces"),
                    Err(error) => kept.push(NotErased { place, error: error.to_string() }),
                }
            }
            kept
        };
        if let Ok(kept) = tokio::task::spawn_blocking(erase).await {
            for NotErased { place, error } in &kept {
                let place = place.display();
                tracing::warn!(%place, error, "a database set aside may hold erased faces");
            }
            self.deletions.send_modify(|state| state.not_erased = kept);
        }
    }

    /// Reads the workers who have not come for long, and the last passage if it was long ago.
    pub(crate) async fn find_absent(&self, date: Corroborated) -> Result<(), Failure> {
        let (today, zone) = (self.retention.today(date), self.origin.timezone.clone());
        let read = self.store.read(move |tx| {
            let absent = roster::absent(tx, today, &zone)?;
            Ok::<_, RosterError>((absent, roster::no_passage_since(tx, today, &zone)?))
        });
        let ((absent, workers), last) = read.await?;
        let settled = self.retention.settled_on.is_some();
        self.deletions.send_modify(|state| {
            (state.absent, state.absent_workers) = (absent, workers);
            state.no_passage_since = last.filter(|_| !settled);
        });
        Ok(())
    }
}
