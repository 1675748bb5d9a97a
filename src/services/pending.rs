//! A person at the site looks through what came from afar, and confirms or rejects it.

use serde::{Deserialize, Serialize};

use super::{
    Failure, Services,
    asked::{Asked, checked_reason},
    likeness::Taken,
    refusal::Refusal,
};
use crate::{
    ledger::{AccessWhat, Actor, Confirmation, ConfirmationResult},
    roster::{self, FaceOnFile, RosterError, WaitsWhat, Worker, WorkerId},
    store::Priority,
};

/// A request for what came from afar and waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingQuery {
    /// These workers; with none, all workers for whom something waits.
    pub ids: Vec<WorkerId>,
    /// Only what came from this upstream.
    pub upstream: Option<String>,
    /// Whether the photos are sent too.
    pub photos: bool,
}

/// A part of what waits: a worker, then the photos of this worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingItem {
    /// A worker for whom something waits.
    Worker(Box<WaitingWorker>),
    /// One photo of the worker before it.
    Photo {
        /// It waits; otherwise it is in force.
        waits: bool,
        /// The JPEG, in base64.
        jpeg: String,
    },
    /// A worker who cannot be shown.
    Unread {
        /// The worker's id.
        id: WorkerId,
        /// Why not.
        failure: Failure,
    },
}

/// A worker for whom something waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingWorker {
    /// The worker.
    pub worker: Worker,
    /// All but the last four characters are stars.
    pub id_number: String,
    /// A digest of what waits. A confirmation names it, so that it confirms what was looked at.
    pub seen: String,
}

/// A request to put in force what came from afar, or to reject it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Confirm {
    /// The worker's id.
    pub id: WorkerId,
    /// The digest of what was looked at; `None`: what waits now.
    pub seen: Option<String>,
    /// The new faces are erased instead.
    pub reject: bool,
    /// Why, in words.
    pub reason: Option<String>,
    /// Another worker may have the same face. It needs a reason.
    pub allow_duplicate_face: bool,
}

/// The result of a confirmation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Confirmed {
    /// The worker after it.
    #[serde(flatten)]
    pub worker: Worker,
    /// What waited.
    pub what: WaitsWhat,
    /// Whether it is in force or was rejected.
    pub result: ConfirmationResult,
}

impl Services {
    /// Returns the ids that are asked for, or those of all workers for whom something waits.
    pub async fn waiting(&self, query: &WaitingQuery) -> Result<Vec<WorkerId>, Failure> {
        if !query.ids.is_empty() {
            return Ok(query.ids.clone());
        }
        let from = query.upstream.clone();
        Ok(self.store.read(move |tx| roster::waiting(tx, from.as_deref())).await?)
    }

    /// Returns what waits for one worker, and the worker's photos where they are asked for.
    pub async fn waiting_for(
        &self,
        id: &WorkerId,
        photos: bool,
        by: &Actor,
    ) -> Result<Vec<WaitingItem>, Failure> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        if photos {
            self.record_reading(AccessWhat::Photo, by).await;
        }
        let (sealer, asked) = (self.store.sealer().clone(), id.clone());
        let read = self.store.read(move |tx| {
            let (worker, identity) = roster::identity(tx, &sealer, &asked)?;
            let seen = hex::encode(roster::digest(tx, &asked)?);
            let of = |waiting| match photos {
                true => roster::photos(tx, &sealer, &asked, waiting),
                false => Ok(Vec::new()),
            };
            let photos = [(false, of(false)?), (true, of(true)?)];
            Ok::<_, RosterError>((worker, identity.masked(), seen, photos))
        });
        let (worker, id_number, seen, photos) = read.await?;
        if worker.waits.is_none() {
            return Err(Refusal::NothingWaits { id: id.clone() }.into());
        }
        let pending = worker.is_pending();
        let head = WaitingItem::Worker(Box::new(WaitingWorker { worker, id_number, seen }));
        let photos = photos.into_iter().flat_map(|(waits, jpegs)| {
            let item = move |jpeg: zeroize::Zeroizing<Vec<u8>>| WaitingItem::Photo {
                waits: waits || pending,
                jpeg: STANDARD.encode(&*jpeg),
            };
            jpegs.into_iter().map(item)
        });
        Ok(std::iter::once(head).chain(photos).collect())
    }

    /// Puts in force what came from afar for one worker, or rejects it.
    pub async fn confirm(&self, confirm: Confirm, by: Actor) -> Result<Confirmed, Failure> {
        let Confirm { id, seen, reject, reason, allow_duplicate_face } = confirm;
        let reason = reason.as_deref().map(checked_reason).transpose()?;
        let changing = self.changing.lock().await;
        let (worker, _) = self.on_roster(&id).await?;
        let Some(waits) = worker.waits.clone() else {
            return Err(Refusal::NothingWaits { id }.into());
        };
        if let Some(seen) = seen {
            let asked = id.clone();
            let now = self.store.read(move |tx| roster::digest(tx, &asked)).await?;
            if hex::encode(now) != seen {
                return Err(Refusal::ChangedMeanwhile { id }.into());
            }
        }
        if reject && waits.what == WaitsWhat::Worker {
            return Err(Refusal::RejectsWorker { id }.into());
        }
        let kept = self.on_file(&id).await?;
        let (new, rows) = match waits.what {
            WaitsWhat::Worker => (kept.matched, kept.matched_rows),
            WaitsWhat::Faces => (kept.waiting, kept.waiting_rows),
        };
        let face = |template| FaceOnFile { template, jpeg: Vec::new() };
        let faces: Vec<_> = new.into_iter().map(face).collect();
        if !reject {
            self.must_have_consent(!faces.is_empty(), &worker.terms, Asked::Alone)?;
            if faces.len() < rows {
                return Err(Refusal::FacesUnread { id }.into());
            }
        }
        let (mut alike, mut taken) = (None, Taken { anchor: false, waits: false, compared: None });
        if !reject {
            let allow = reason.clone().filter(|_| allow_duplicate_face);
            alike = self.alike(&id, &faces, None, allow, Asked::Alone)?;
            if waits.what == WaitsWhat::Faces {
                let word = (Asked::Alone, reason.is_some());
                taken = self.same_person(&id, &kept.anchor, &faces, word, false)?;
            }
        }
        let result =
            if reject { ConfirmationResult::Rejected } else { ConfirmationResult::Confirmed };
        let (confirmed, what) = (id.clone(), waits.what);
        let entry = move |templates| Confirmation {
            worker: confirmed,
            what,
            result,
            from: waits.from,
            templates,
            alike,
            compared: taken.compared,
            reason,
            by,
        };
        let changed = id.clone();
        self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            let templates = match reject {
                true => roster::reject(tx, &changed)?,
                false => roster::confirm(tx, &changed, what, taken.anchor)?,
            };
            Ok((entry(templates).into(), ()))
        })
        .await?;
        drop(changing);
        if what == WaitsWhat::Faces {
            self.empty_log(&id).await;
        }
        let (worker, _) = self.on_roster(&id).await?;
        Ok(Confirmed { worker, what, result })
    }
}
