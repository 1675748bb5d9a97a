//! What each request does.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    exporter::ExporterDown,
    protocol::{
        AttendanceQuery, Enrol, Failure, ModeSet, PHOTO_MAX, PHOTOS_MAX, Released, Reply, Request,
        Wire, WireError, WorkerQuery, WorkerShown, patient,
    },
    status,
};
use crate::{
    attendance::{Origin, Record},
    camera::CameraState,
    clock::{Clock, Monotonic},
    config::{Direction, MatchThreshold},
    failpoint,
    figures::Stages,
    gate::{
        lane::{self, LaneState, ModeRequest},
        passage::ManualRelease,
        sight::Seen,
    },
    ledger::{self, Actor, AttendanceFilter, Body, LaneMode, Ledger, LedgerError, commitment},
    roster::{
        self, Enrolment, FaceOnFile, Identity, Person, Roster, RosterError, State, Worker,
        WorkerId, checked_text,
    },
    store::{Priority, Store, StoreError},
    turnstile::TurnstileState,
    uplink::UpstreamState,
    vigil::Beats,
    vision::{PhotoError, Vision},
};

/// Records, or workers, read at once while listing.
const PAGE: usize = 500;
/// Photos of one person are further alike than this, however they were taken; of two, hardly ever.
const LEAST_ALIKE: f32 = 0.3;
/// A release's answer comes with its outcome, which has its own bounds; this is beyond them.
const RELEASE_PATIENCE: Duration = Duration::from_secs(90);

/// A camera, as `status` shows it.
pub struct CameraPanel {
    pub direction: Direction,
    pub source: String,
    pub state: watch::Receiver<CameraState>,
    /// Open but without a frame for so long, it has stalled.
    pub stalled_after: Duration,
    pub seen: Arc<Seen>,
}

/// A lane, as `status` shows it and `lane release` reaches it.
pub struct LanePanel {
    pub name: String,
    pub requests: mpsc::Sender<lane::Request>,
    pub state: watch::Receiver<LaneState>,
    pub turnstile: watch::Receiver<TurnstileState>,
    pub cameras: Vec<CameraPanel>,
}

/// Entries of the ledger that are damaged or were altered.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub entries: u64,
    /// The first of them: its index.
    pub first: Option<u64>,
}

impl Audit {
    /// True where there are any.
    pub fn found(&mut self, damaged: &[u64]) -> bool {
        self.entries += damaged.len() as u64;
        self.first = self.first.or(damaged.first().copied());
        !damaged.is_empty()
    }
}

/// Everything a request may need.
pub struct Services {
    pub store: Store,
    pub storage_dir: PathBuf,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub started: Monotonic,
    /// Of what must make progress for the gate to work.
    pub beats: Arc<Beats>,
    pub origin: Origin,
    pub vision: Arc<Vision>,
    pub roster: watch::Sender<Arc<Roster>>,
    pub lanes: Vec<LanePanel>,
    pub upstreams: Vec<watch::Receiver<UpstreamState>>,
    pub stages: Arc<Stages>,
    /// Why nobody can fetch the metrics, where they are configured and that is so.
    pub exporter: watch::Receiver<Option<ExporterDown>>,
    pub min_face_px: f32,
    /// From here on two templates are one person.
    pub threshold: MatchThreshold,
    pub require_consent: bool,
    pub audit: watch::Sender<Audit>,
    /// One enrolment photo is examined at a time: decoded, the largest takes 150 MB.
    pub examining: tokio::sync::Mutex<()>,
}

pub(super) enum Refusal {
    Failure(Failure),
    Wire(WireError),
}

impl From<WireError> for Refusal {
    fn from(e: WireError) -> Self {
        Refusal::Wire(e)
    }
}

impl From<Failure> for Refusal {
    fn from(e: Failure) -> Self {
        Refusal::Failure(e)
    }
}

impl From<RosterError> for Refusal {
    fn from(e: RosterError) -> Self {
        let code = match &e {
            RosterError::Store(_) => "storage",
            RosterError::NoSuchWorker(_) => "no_such_worker",
            RosterError::IdTaken(_) | RosterError::IdRetired(_) | RosterError::IdentityTaken(_) => {
                "duplicate"
            }
            RosterError::Full { .. } => "full",
            RosterError::Invalid { .. } => "invalid",
        };
        Failure::new(code, e).into()
    }
}

impl From<LedgerError> for Refusal {
    fn from(e: LedgerError) -> Self {
        Failure::new("storage", e).into()
    }
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Failure::new("storage", e).into()
    }
}

/// The roster and the ledger change in one transaction; either may fail.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Roster(#[from] RosterError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for ChangeError {
    fn from(e: StoreError) -> Self {
        ChangeError::Roster(e.into())
    }
}

impl From<ChangeError> for Refusal {
    fn from(e: ChangeError) -> Self {
        match e {
            ChangeError::Roster(e) => e.into(),
            ChangeError::Ledger(e) => e.into(),
        }
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(value).map_err(|e| Failure::new("internal", e).into())
}

impl Services {
    pub(super) async fn carry_out(
        &self,
        wire: &mut Wire,
        request: Request,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        match request {
            Request::Status => to_json(&status::gather(self).await),
            Request::Enrol(enrol) => self.enrol(wire, *enrol, by).await,
            Request::Workers(query) => self.workers(wire, query).await,
            Request::Worker { id } => self.worker(id).await,
            Request::Remove { id } => self.remove(id, by).await,
            Request::Attendance(query) => self.attendance(wire, query).await,
            Request::Release { lane, direction, worker, reason } => {
                self.release(lane, direction, worker, reason, by).await
            }
            Request::Mode { lane, mode, reason } => self.mode(lane, mode, reason, by).await,
        }
    }

    async fn enrol(
        &self,
        wire: &mut Wire,
        enrol: Enrol,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let consent =
            enrol.consent.as_deref().map(|c| checked_text("consent", c, 64)).transpose()?;
        if consent.is_none() && self.require_consent {
            let problem = "a face may be kept only with the worker's consent: give the number of \
                           the signed form with --consent";
            return Err(Failure::new("no_consent", problem).into());
        }
        if let (Some(from), Some(until)) = (enrol.valid_from, enrol.valid_until)
            && until < from
        {
            let problem = format!("valid-until: {until} is before valid-from {from}");
            return Err(Failure::new("invalid", problem).into());
        }
        if enrol.photos.is_empty() || enrol.photos.len() > PHOTOS_MAX {
            let problem = format!("give 1 to {PHOTOS_MAX} photos with --photo");
            return Err(Failure::new("invalid", problem).into());
        }
        let person = Person {
            id: enrol.id,
            name: checked_text("name", &enrol.name, 64)?,
            team: checked_text("team", &enrol.team, 64)?,
            contractor: checked_text("contractor", &enrol.contractor, 128)?,
            trade: checked_text("trade", &enrol.trade, 64)?,
        };
        let identity = Identity::resident(&enrol.id_number)?;
        let mut faces = Vec::new();
        for photo in &enrol.photos {
            let bytes = receive_photo(wire, &photo.name, photo.bytes).await?;
            failpoint::at("enrolment.received");
            let face = self.face(&photo.name, bytes).await?;
            failpoint::at("enrolment.examined");
            self.one_person(&photo.name, &face, faces.first())?;
            faces.push(face);
        }
        let worker = Worker {
            person: person.clone(),
            valid_from: enrol.valid_from,
            valid_until: enrol.valid_until,
            consent: consent.clone(),
            state: State::Active,
            templates: u32::try_from(faces.len()).unwrap_or(u32::MAX),
        };
        let body = Body::Enrolment {
            person,
            id_type: identity.id_type.clone(),
            valid_from: enrol.valid_from,
            valid_until: enrol.valid_until,
            commitment: commitment(&identity.salt, &identity.id_type, &identity.number),
            consent,
            model: self.vision.embedder_name().to_owned(),
            templates: worker.templates,
            by,
        };
        let model = self.vision.embedder_name().to_owned();
        let done = to_json(&worker)?;
        let enrolment = Enrolment { worker, identity, model, faces };
        let sealer = self.store.sealer().clone();
        self.change(Priority::Photo, body, move |tx| roster::enrol(tx, &sealer, &enrolment))
            .await?;
        Ok(done)
    }

    /// A face that is another worker's, or not that of the first photo, would let neither through.
    fn one_person(
        &self,
        photo: &str,
        face: &FaceOnFile,
        first: Option<&FaceOnFile>,
    ) -> Result<(), Refusal> {
        let alike = first.map_or(1.0, |first| first.template.cosine(&face.template));
        if alike < LEAST_ALIKE {
            let problem = format!(
                "{photo}: the face is not that of the first photo (score {alike:.2}); all photos \
                 must show the same worker"
            );
            return Err(Failure::new("several_people", problem).into());
        }
        match self.roster.borrow().best(&face.template) {
            Some(found) if found.score >= self.threshold.cosine() => {
                let person = &found.worker.person;
                let problem = format!(
                    "{photo}: this face is already enrolled, as worker {} {} (score {:.2}); remove \
                     that worker first if it is the same person",
                    person.id, person.name, found.score
                );
                Err(Failure::new("duplicate_face", problem).into())
            }
            _ => Ok(()),
        }
    }

    /// The face of one photo, found and judged off the async threads.
    async fn face(&self, name: &str, bytes: Vec<u8>) -> Result<FaceOnFile, Refusal> {
        let _one_at_a_time = self.examining.lock().await;
        let (vision, min_face_px) = (self.vision.clone(), self.min_face_px);
        let found = tokio::task::spawn_blocking(move || {
            let (image, face, template) = vision.face_for_enrolment(&bytes, min_face_px)?;
            Ok::<_, PhotoError>((crate::vision::portrait(&image, &face), template))
        })
        .await
        .map_err(|e| Failure::new("internal", e))?;
        let code = |e: &PhotoError| match e {
            PhotoError::Unreadable { .. } => "photo_unreadable",
            PhotoError::NoFace => "no_face",
            PhotoError::SeveralFaces { .. } => "several_faces",
            PhotoError::FaceTooSmall { .. } => "face_too_small",
            PhotoError::Vision { .. } => "vision",
        };
        let (jpeg, template) = found.map_err(|e| Failure::new(code(&e), format!("{name}: {e}")))?;
        let jpeg = jpeg.map_err(|e| Failure::new("internal", format!("{name}: {e}")))?;
        Ok(FaceOnFile { template, jpeg })
    }

    /// Changes the roster with its ledger entry in one transaction, then swaps the snapshot.
    async fn change(
        &self,
        priority: Priority,
        body: Body,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<(), RosterError> + Send + 'static,
    ) -> Result<(), ChangeError> {
        let (ledger, stamp, kind) = (self.ledger.clone(), self.clock.stamp(), body.kind());
        let (sealer, model) = (self.store.sealer().clone(), self.vision.embedder_name().to_owned());
        // Loaded before the commit: a change that cannot take effect at the gate is not made.
        let fresh = self.store.write(priority, move |tx| {
            work(tx)?;
            ledger.append(tx, stamp, body)?;
            let fresh = roster::load(tx, &sealer, &model)?;
            failpoint::at(format_args!("{kind}.written"));
            Ok::<_, ChangeError>(fresh)
        });
        let fresh = fresh.await?;
        failpoint::at(format_args!("{kind}.committed"));
        self.roster.send_if_modified(|current| {
            // Of two changes at once, the later snapshot stays.
            let newer = fresh.version() > current.version();
            if newer {
                *current = Arc::new(fresh);
            }
            newer
        });
        failpoint::at(format_args!("{kind}.swapped"));
        Ok(())
    }

    async fn workers(
        &self,
        wire: &mut Wire,
        query: WorkerQuery,
    ) -> Result<serde_json::Value, Refusal> {
        let state = query.state.unwrap_or(State::Active);
        let asked = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|w| w == has);
        let (mut count, mut after) = (0, None);
        loop {
            let from = after.clone();
            let page = self.store.read(move |tx| roster::list(tx, state, from.as_ref(), PAGE));
            let page = page.await?;
            for worker in &page {
                let person = &worker.person;
                after = Some(person.id.clone());
                if asked(&query.team, &person.team) && asked(&query.contractor, &person.contractor)
                {
                    count += 1;
                    patient(wire.send_json(&Reply::Item(to_json(worker)?))).await?;
                }
            }
            if page.len() < PAGE {
                return Ok(json!({ "count": count }));
            }
        }
    }

    async fn worker(&self, id: WorkerId) -> Result<serde_json::Value, Refusal> {
        let sealer = self.store.sealer().clone();
        let (worker, identity) =
            self.store.read(move |tx| roster::identity(tx, &sealer, &id)).await?;
        let id_number = identity.masked();
        to_json(&WorkerShown { worker, id_type: identity.id_type, id_number })
    }

    async fn remove(&self, id: WorkerId, by: Actor) -> Result<serde_json::Value, Refusal> {
        let body = Body::Removal { worker: id.clone(), by };
        let removed = id.clone();
        self.change(Priority::Upkeep, body, move |tx| roster::remove(tx, &removed)).await?;
        // Now the templates are gone from the database; this takes them out of its log (I7).
        match self.store.checkpoint().await {
            Ok(true) => {}
            // The worker is removed all the same; the next start empties the log.
            kept => tracing::warn!(worker = %id, ?kept, "sealed copies stay in the log for now"),
        }
        failpoint::at("removal.emptied");
        Ok(json!({ "id": id, "state": State::Removed }))
    }

    async fn attendance(
        &self,
        wire: &mut Wire,
        query: AttendanceQuery,
    ) -> Result<serde_json::Value, Refusal> {
        let zone = self.origin.timezone.clone();
        let midnight = |date: jiff::civil::Date| {
            let at = date.to_zoned(zone.clone()).map(|z| z.timestamp().as_millisecond());
            at.map_err(|e| Failure::new("invalid", format!("{date}: {e}")))
        };
        let day_after = |date: jiff::civil::Date| {
            let next = date.tomorrow().map_err(|e| Failure::new("invalid", e));
            next.and_then(midnight)
        };
        if let (Some(from), Some(to)) = (query.from, query.to)
            && to < from
        {
            return Err(Failure::new("invalid", format!("to: {to} is before from {from}")).into());
        }
        if let Some(id) = query.worker.clone() {
            // An id that never was would read as somebody who never came.
            self.store.read(move |tx| roster::must_exist(tx, &id)).await?;
        }
        let mut filter = AttendanceFilter {
            worker: query.worker,
            lane: query.lane,
            from_ms: query.from.map(midnight).transpose()?,
            to_ms: query.to.map(day_after).transpose()?,
            after: None,
            limit: PAGE,
        };
        let mut count = 0;
        loop {
            let page = filter.clone();
            let page = self.store.read(move |tx| ledger::attendance(tx, &page)).await?;
            for (outcome, cause) in &page.rows {
                if let Some(record) = Record::of(&self.origin, outcome, cause) {
                    count += 1;
                    patient(wire.send_json(&Reply::Item(to_json(&record)?))).await?;
                }
            }
            filter.after = page.next;
            if page.next.is_none() {
                return Ok(json!({ "count": count }));
            }
        }
    }

    fn lane(&self, name: &str) -> Result<&LanePanel, Failure> {
        self.lanes.iter().find(|lane| lane.name == name).ok_or_else(|| {
            let names: Vec<_> = self.lanes.iter().map(|lane| lane.name.as_str()).collect();
            let problem = format!("there is no lane {name:?}; there are: {}", names.join(", "));
            Failure::new("no_such_lane", problem)
        })
    }

    async fn mode(
        &self,
        name: String,
        mode: LaneMode,
        reason: String,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = checked_text("reason", &reason, 200)?;
        let lane = self.lane(&name)?;
        let (reply, answer) = oneshot::channel();
        let request = lane::Request::Mode(ModeRequest { mode, reason, by, reply });
        let stopped = || {
            let problem = "the lane has stopped, or restarts after a fault; see `gatehouse status`";
            Failure::new("stopping", problem)
        };
        lane.requests.send(request).await.map_err(|_| stopped())?;
        let set = tokio::time::timeout(RELEASE_PATIENCE, answer)
            .await
            .map_err(|_| Failure::new("timeout", "the lane gave no answer"))?
            .map_err(|_| stopped())?
            .map_err(|problem| Failure::new("not_changed", format!("lane {name}: {problem}")))?;
        to_json(&ModeSet { lane: name, mode: set.mode, reason: set.reason })
    }

    async fn release(
        &self,
        name: String,
        direction: Direction,
        worker: Option<WorkerId>,
        reason: String,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = checked_text("reason", &reason, 200)?;
        let lane = self.lane(&name)?;
        let person = match worker {
            None => None,
            Some(id) => match self.roster.borrow().worker(&id) {
                Some(worker) => Some(worker.person.clone()),
                None => return Err(RosterError::NoSuchWorker(id).into()),
            },
        };
        let (reply, answer) = oneshot::channel();
        let release = ManualRelease { direction, person, reason, by };
        let stopped = || {
            let problem = "the lane has stopped, or restarts after a fault: whether it released is \
                           not known here; see `gatehouse status` and the attendance";
            Failure::new("stopping", problem)
        };
        let request = lane::Request::Release { release, reply };
        lane.requests.send(request).await.map_err(|_| stopped())?;
        let answered = tokio::time::timeout(RELEASE_PATIENCE, answer)
            .await
            .map_err(|_| Failure::new("timeout", "the lane gave no answer"))?
            .map_err(|_| stopped())?
            .map_err(|problem| Failure::new("not_released", format!("lane {name}: {problem}")))?;
        to_json(&Released { lane: name, direction, answered })
    }
}

/// Takes in one announced photo, piece by piece.
async fn receive_photo(wire: &mut Wire, name: &str, bytes: u64) -> Result<Vec<u8>, Refusal> {
    let size = usize::try_from(bytes).unwrap_or(usize::MAX);
    if size > PHOTO_MAX {
        let problem = format!(
            "{name}: {} MiB; a photo has at most {} MiB, scale it down",
            bytes >> 20,
            PHOTO_MAX >> 20
        );
        return Err(Failure::new("photo_too_large", problem).into());
    }
    let mut photo = Vec::with_capacity(size);
    while photo.len() < size {
        let piece = patient(wire.receive_piece()).await?;
        if piece.is_empty() || piece.len() > size - photo.len() {
            return Err(WireError::Malformed("a photo's piece".to_owned()).into());
        }
        photo.extend_from_slice(&piece);
    }
    Ok(photo)
}
