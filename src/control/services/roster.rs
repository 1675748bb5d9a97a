//! Workers: enrolled, amended, suspended, removed, listed.
//!
//! A change is the roster's rows and the ledger's entry in one transaction, then a new snapshot for
//! the gates. Changes are made one at a time, so that the look for somebody's like, the rows and the
//! snapshot belong together.

use std::sync::Arc;

use jiff::civil::Date;
use rusqlite::Transaction;
use serde_json::json;

use super::{
    Asked, Failure, PAGE, Refusal, Services, Sitting, Source,
    amendment::{Known, Planned, checked_terms, overlaid, overlaid_particulars, plan},
    dates,
    faces::LEAST_ALIKE,
    history::Past,
    to_json,
};
use crate::{
    control::protocol::{
        Amend, AmendFaces, Enrol, EnrolResult, Enrolled, IfKnown, Reply, Wire, WorkerQuery,
        WorkerShown, patient,
    },
    failpoint,
    ledger::{
        self, Actor, Alike, Amendment, Body, FacesChanged, FacesWhat, LedgerError, Removal, Score,
        StateChange, commitment,
    },
    roster::{
        self, Amended, Enrolment, FaceOnFile, Faces, Identity, Person, RosterError, State, Terms,
        Worker, WorkerId, checked_text,
    },
    store::{Priority, StoreError},
};

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

impl Services {
    pub(in crate::control) async fn enrol(
        &self,
        source: &mut Source<'_>,
        sitting: &mut Sitting,
        enrol: Enrol,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let identity = Identity::checked(
            enrol.id_type,
            &enrol.id_number,
            enrol.particulars.clone(),
            self.today(),
        )?;
        let id = enrol.person.id.clone();
        let person = Person {
            id: id.clone(),
            name: checked_text("name", &enrol.person.name, 64)?,
            team: checked_text("team", &enrol.person.team, 64)?,
            contractor: checked_text("contractor", &enrol.person.contractor, 128)?,
            trade: checked_text("trade", &enrol.person.trade, 64)?,
        };
        if roster::is_document(&id, &identity) {
            let problem = "it is an ID number, and would stand in every record: choose another";
            return Err(Failure::invalid("id", problem).into());
        }
        let terms = checked_terms(enrol.terms.clone())?;
        self.plausible(&terms, enrol.confirmed)?;
        let asked = Asked::of(&enrol, &by);
        let known = self.known(&id).await?;
        if let Some(known) = known.filter(|_| enrol.if_known != IfKnown::Refuse) {
            return self.enrol_again(source, sitting, enrol, person, &identity, &known, by).await;
        }
        self.free(&id, &identity).await?;
        let wants_faces = !enrol.photos.is_empty() || enrol.live.is_some();
        self.consented(wants_faces, &terms, asked)?;
        let allow = allowed(enrol.allow_duplicate_face.as_deref())?;
        let faces = self.faces(source, &enrol.photos, enrol.live.as_ref()).await?;
        let changing = self.changing.lock().await;
        let dry = enrol.dry_run.then_some(&*sitting);
        let alike = self.alike(&id, &faces, dry, allow, asked)?;
        let templates = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        let worker = Worker { terms, templates, ..Worker::new(person) };
        let done = to_json(&Enrolled { worker: worker.clone(), result: EnrolResult::Enrolled })?;
        if enrol.dry_run {
            sitting.came_by(&self.roster.borrow(), id, Some(&identity), faces)?;
            return Ok(done);
        }
        let model = self.vision.embedder_name().to_owned();
        let body = ledger::Enrolment {
            person: worker.person.clone(),
            id_type: identity.id_type.word().to_owned(),
            id_commitment: commitment(&identity.salt, identity.id_type.word(), &identity.number),
            terms: worker.terms.clone(),
            model: model.clone(),
            templates,
            alike,
            by,
        };
        let enrolment = Enrolment { worker, identity, model, faces };
        let sealer = self.store.sealer().clone();
        self.change(&changing, id, Priority::Photo, move |tx| {
            roster::enrol(tx, &sealer, &enrolment)?;
            Ok((body.into(), ()))
        })
        .await?;
        Ok(done)
    }

    /// The same person comes by again, as in an import that is run anew or brings the roster up to
    /// date.
    #[allow(clippy::too_many_arguments, reason = "the enrolment, as far as it was examined")]
    async fn enrol_again(
        &self,
        source: &mut Source<'_>,
        sitting: &mut Sitting,
        enrol: Enrol,
        person: Person,
        given: &Identity,
        (worker, identity): &Known,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        if worker.state == State::Removed {
            return Err(RosterError::IdRetired(person.id).into());
        }
        let asked = Asked::of(&enrol, &by);
        let said = overlaid_particulars(&identity.particulars, &given.particulars);
        let same = worker.person == person
            && worker.terms == overlaid(&worker.terms, enrol.terms.clone())
            && identity.particulars == said;
        let brings_faces = !enrol.photos.is_empty() || enrol.live.is_some();
        let faceless = worker.templates == 0 && brings_faces;
        // A sheet whose rows have moved against its ids would make everybody somebody else.
        if !given.same_document(identity) {
            let problem = format!(
                "worker {} is on the roster with another ID number; if that one was mistyped, correct \
                 it with `gatehouse worker update`, else choose another id",
                person.id
            );
            return Err(Failure::of("duplicate", "id-number", problem).into());
        }
        let problem = match enrol.if_known {
            IfKnown::Same if same && !faceless => {
                let worker = worker.clone();
                return to_json(&Enrolled { worker, result: EnrolResult::Unchanged });
            }
            IfKnown::Same if same => {
                Some("is on the roster without a face; --update takes the photos in")
            }
            IfKnown::Same => {
                Some("is on the roster with other particulars; --update brings them up to date")
            }
            IfKnown::Refuse | IfKnown::Update => None,
        };
        if let Some(problem) = problem {
            let problem = format!("worker {} {problem}", person.id);
            return Err(Failure::new("duplicate", problem).into());
        }
        let amend = Amend {
            id: person.id,
            name: Some(person.name),
            document: Some((Some(enrol.id_type), enrol.id_number)),
            particulars: enrol.particulars,
            team: Some(person.team),
            contractor: Some(person.contractor),
            trade: Some(person.trade),
            terms: enrol.terms,
            clear: Vec::new(),
            faces: if brings_faces { AmendFaces::Replace } else { AmendFaces::Keep },
            photos: enrol.photos,
            live: enrol.live,
            allow_duplicate_face: enrol.allow_duplicate_face,
            reason: None,
            confirmed: enrol.confirmed,
        };
        self.amended(source, amend, enrol.dry_run.then_some(sitting), asked, by).await
    }

    pub(super) async fn amend(
        &self,
        source: &mut Source<'_>,
        amend: Amend,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        self.amended(source, amend, None, Asked::Alone, by).await
    }

    /// Who is on the roster under this id.
    async fn on_roster(&self, id: &WorkerId) -> Result<Known, RosterError> {
        let known = self.known(id).await?.filter(|(worker, _)| worker.state != State::Removed);
        known.ok_or_else(|| RosterError::NoSuchWorker(id.clone()))
    }

    /// `dry`: all is examined and nothing is changed.
    async fn amended(
        &self,
        source: &mut Source<'_>,
        amend: Amend,
        dry: Option<&mut Sitting>,
        asked: Asked,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let id = amend.id.clone();
        let wants_faces = matches!(amend.faces, AmendFaces::Add | AmendFaces::Replace);
        let brings_faces = !amend.photos.is_empty() || amend.live.is_some();
        if wants_faces != brings_faces {
            let problem = "give photos, and say whether to add them or to replace those there are";
            return Err(Failure::new("invalid", problem).into());
        }
        // What is wrong is said before photos travel.
        self.plausible(&amend.terms, amend.confirmed)?;
        let first = plan(&self.on_roster(&id).await?, &amend, self.today())?;
        self.consented(wants_faces, &first.worker.terms, asked)?;
        let allow = allowed(amend.allow_duplicate_face.as_deref())?;
        let faces = self.faces(source, &amend.photos, amend.live.as_ref()).await?;
        let changing = self.changing.lock().await;
        // The roster may have changed meanwhile: what counts is what it is now.
        let known = self.on_roster(&id).await?;
        let Planned { mut worker, identity, other_document, reason } =
            plan(&known, &amend, self.today())?;
        let (before, on_file) = known;
        self.consented(wants_faces, &worker.terms, asked)?;
        let alike = self.alike(&id, &faces, dry.as_deref(), allow, asked)?;
        self.same_person(&id, &faces, &amend, asked)?;
        if let Some(problem) = self.too_many(&before, &amend.faces, &faces) {
            return Err(problem.into());
        }
        let same_faces = match amend.faces {
            AmendFaces::Keep => true,
            AmendFaces::Erase => before.templates == 0,
            AmendFaces::Add => false,
            AmendFaces::Replace => self.has_these(&id, &faces).await?,
        };
        if same_faces && worker == before && identity == on_file {
            return to_json(&Enrolled { worker, result: EnrolResult::Unchanged });
        }
        let model = self.vision.embedder_name().to_owned();
        let count = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        let new = || (model.clone(), faces.clone());
        let (what, then, change) = match amend.faces {
            _ if same_faces => (None, before.templates, Faces::Keep),
            AmendFaces::Keep => (None, before.templates, Faces::Keep),
            AmendFaces::Erase => (Some(FacesWhat::Erased), 0, Faces::Erase),
            AmendFaces::Add => {
                let ((model, faces), then) = (new(), before.templates.saturating_add(count));
                (Some(FacesWhat::Added), then, Faces::Add { model, faces })
            }
            AmendFaces::Replace => {
                let (model, faces) = new();
                (Some(FacesWhat::Replaced), count, Faces::Replace { model, faces })
            }
        };
        worker.templates = then;
        let done = to_json(&Enrolled { worker: worker.clone(), result: EnrolResult::Updated })?;
        if let Some(sitting) = dry {
            sitting.came_by(&self.roster.borrow(), id, None, faces)?;
            return Ok(done);
        }
        let body = Amendment {
            person: worker.person.clone(),
            terms: worker.terms.clone(),
            id_commitment: other_document
                .then(|| commitment(&identity.salt, identity.id_type.word(), &identity.number)),
            particulars: identity.particulars.other_than(&on_file.particulars),
            faces: what.map(|what| FacesChanged { what, model, templates: then }),
            alike,
            reason,
            by,
        };
        // What takes no room is done on a full disk too: above all an erasure.
        let priority = if wants_faces { Priority::Photo } else { Priority::Upkeep };
        let amended = Amended { worker, identity, faces: change };
        let sealer = self.store.sealer().clone();
        self.change(&changing, id.clone(), priority, move |tx| {
            roster::amend(tx, &sealer, &amended)?;
            Ok((body.into(), ()))
        })
        .await?;
        drop(changing);
        if matches!(what, Some(FacesWhat::Erased | FacesWhat::Replaced)) {
            self.empty_log(&id).await;
            self.album.tidy().await;
        }
        Ok(done)
    }

    /// New photos must be of the worker they are for: the gate would pay one for another's days.
    fn same_person(
        &self,
        id: &WorkerId,
        faces: &[FaceOnFile],
        amend: &Amend,
        asked: Asked,
    ) -> Result<(), Failure> {
        let roster = self.roster.borrow().clone();
        let alike = faces.iter().filter_map(|face| roster.likeness(id, &face.template));
        let Some(least) = alike.min_by(f32::total_cmp).filter(|least| *least < LEAST_ALIKE) else {
            return Ok(());
        };
        if amend.faces == AmendFaces::Replace && amend.reason.is_some() {
            return Ok(());
        }
        const AT_THE_GATEWAY: &str =
            "take the photos in at the gateway, with `gatehouse worker photo`";
        let problem = format!(
            "this is not the face that worker {id} is enrolled with (score {least:.2}); if it is the \
             same person, {}",
            asked.remedy(
                "`worker photo --replace … --reason \"…\"`",
                AT_THE_GATEWAY,
                AT_THE_GATEWAY
            )
        );
        Err(Failure::new("another_face", problem))
    }

    pub(in crate::control) async fn hold(
        &self,
        id: WorkerId,
        state: State,
        reason: &str,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        if state == State::Removed {
            return Err(
                Failure::new("invalid", "`worker remove` takes somebody off the roster").into()
            );
        }
        let reason = checked_text("reason", reason, 200)?;
        let changing = self.changing.lock().await;
        let (worker, _) = self.on_roster(&id).await?;
        if worker.state == state && state == State::Active {
            let problem = format!("worker {id} is neither suspended nor barred");
            return Err(Failure::new("unchanged", problem).into());
        }
        let body = StateChange { worker: id.clone(), state, reason: reason.clone(), by };
        let (held, why) = (id.clone(), reason.clone());
        self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            roster::hold(tx, &held, state, &why)?;
            Ok((body.into(), ()))
        })
        .await?;
        Ok(json!({ "id": id, "state": state, "reason": reason }))
    }

    pub(in crate::control) async fn remove(
        &self,
        id: WorkerId,
        reason: Option<String>,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let reason = reason.as_deref().map(|r| checked_text("reason", r, 200)).transpose()?;
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
        self.album.tidy().await;
        Ok(json!({
            "id": id,
            "state": State::Removed,
            "templates_erased": erased.templates,
            "photos_erased": erased.photos,
        }))
    }

    /// What was erased is gone from the database; this takes it out of its log too (I7).
    async fn empty_log(&self, id: &WorkerId) {
        match self.store.checkpoint().await {
            Ok(true) => {}
            // It is erased all the same; the next start empties the log.
            kept => tracing::warn!(worker = %id, ?kept, "sealed copies stay in the log for now"),
        }
    }

    /// Changes the roster with its ledger entry in one transaction, then swaps the snapshot.
    /// `_changing`: [`Services::changing`] is held.
    async fn change<T: Send + 'static>(
        &self,
        _changing: &tokio::sync::MutexGuard<'_, ()>,
        id: WorkerId,
        priority: Priority,
        work: impl FnOnce(&Transaction<'_>) -> Result<(Body, T), RosterError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let (ledger, stamp, changed) = (self.ledger.clone(), self.clock.stamp(), id.clone());
        let (sealer, model) = (self.store.sealer().clone(), self.vision.embedder_name().to_owned());
        // Loaded before the commit: a change that cannot take effect at the gate is not made.
        let written = self.store.write(priority, move |tx| {
            let (body, done) = work(tx)?;
            let kind = body.kind();
            ledger.append(tx, stamp, body)?;
            let fresh = roster::load_one(tx, &sealer, &model, &changed)?;
            let version = roster::version(tx)?;
            failpoint::at(format_args!("{kind}.written"));
            Ok::<_, ChangeError>((kind, done, version, fresh))
        });
        let (kind, done, version, fresh) = written.await?;
        failpoint::at(format_args!("{kind}.committed"));
        self.roster.send_modify(|current| {
            *current = Arc::new(current.with(version, &id, fresh));
        });
        failpoint::at(format_args!("{kind}.swapped"));
        Ok(done)
    }

    /// Somebody with this id, whatever the state.
    async fn known(&self, id: &WorkerId) -> Result<Option<Known>, RosterError> {
        let (sealer, asked) = (self.store.sealer().clone(), id.clone());
        match self.store.read(move |tx| roster::identity(tx, &sealer, &asked)).await {
            Ok(known) => Ok(Some(known)),
            Err(RosterError::NoSuchWorker(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Refuses early what the transaction would refuse, before photos travel.
    async fn free(&self, id: &WorkerId, identity: &Identity) -> Result<(), RosterError> {
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

    /// The site's date, where the clock is trusted.
    pub(super) fn today(&self) -> Option<Date> {
        let stamp = self.clock.stamp();
        let zone = self.origin.timezone.clone();
        stamp.synced.then(|| stamp.timestamp().to_zoned(zone).date())
    }

    /// Refuses dates that can only be mistyped: papers that are signed in the future, and days of
    /// another century. Where the clock is not trusted, the future is asked about.
    fn plausible(&self, given: &Terms, confirmed: bool) -> Result<(), Failure> {
        let stamp = self.clock.stamp();
        let today = stamp.timestamp().to_zoned(self.origin.timezone.clone()).date();
        dates::plausible(given, today, stamp.synced, confirmed)
    }

    fn consented(&self, wants_faces: bool, terms: &Terms, asked: Asked) -> Result<(), Failure> {
        if terms.consent.is_some() || !wants_faces || !self.roster_rules.require_consent {
            return Ok(());
        }
        let problem = format!(
            "a face may be kept only with the worker's consent: {}, or enrol without photos; a guard \
             then vouches",
            asked.remedy(
                "give the number of the signed form with --consent",
                "fill in the number of the signed form",
                "give the number of the signed form",
            )
        );
        Err(Failure::of("no_consent", "consent", problem))
    }

    /// Whose face this is too, where that is allowed; refused where it is not. A face that is another
    /// worker's would let neither through.
    fn alike(
        &self,
        id: &WorkerId,
        faces: &[FaceOnFile],
        dry: Option<&Sitting>,
        allow: Option<String>,
        asked: Asked,
    ) -> Result<Option<Alike>, Failure> {
        let roster = self.roster.borrow().clone();
        let mut nearest: Option<(WorkerId, String, f32)> = None;
        for face in faces {
            let enrolled = roster.best_but(&face.template, id).map(|found| {
                let person = &found.worker.person;
                (person.id.clone(), person.name.clone(), found.score)
            });
            let dry = dry.and_then(|sitting| sitting.nearest(id, &face.template));
            let dry = dry.map(|(other, score)| (other, "of this file".to_owned(), score));
            for found in enrolled.into_iter().chain(dry) {
                if nearest.as_ref().is_none_or(|n| n.2 < found.2) {
                    nearest = Some(found);
                }
            }
        }
        let Some((worker, name, score)) = nearest.filter(|n| n.2 >= self.threshold.cosine()) else {
            return Ok(None);
        };
        match allow {
            Some(reason) => Ok(Some(Alike { worker, score: Score::of(score), reason })),
            None => {
                let problem = format!(
                    "the face of {id} is already enrolled, as worker {worker} {name} (score \
                     {score:.2}); if it is the same person, remove that worker first; if they are \
                     two, {}",
                    asked.remedy(
                        "--allow-duplicate-face --reason",
                        "enrol this one with `gatehouse worker enroll`, which takes a reason",
                        "say why in allow_duplicate_face",
                    )
                );
                Err(Failure::new("duplicate_face", problem))
            }
        }
    }

    /// Whether a worker's templates are those of these faces, one by one.
    async fn has_these(&self, id: &WorkerId, faces: &[FaceOnFile]) -> Result<bool, RosterError> {
        let (sealer, model) = (self.store.sealer().clone(), self.vision.embedder_name().to_owned());
        let asked = id.clone();
        let known =
            self.store.read(move |tx| roster::load_one(tx, &sealer, &model, &asked)).await?;
        let Some((_, known)) = known else { return Ok(false) };
        // The same photo gives the same template, but for rounding.
        let pairs = || known.iter().zip(faces);
        Ok(known.len() == faces.len() && pairs().all(|(a, b)| a.cosine(&b.template) > 0.9999))
    }

    pub(super) async fn workers(
        &self,
        wire: &mut Wire,
        query: WorkerQuery,
    ) -> Result<serde_json::Value, Refusal> {
        let asked = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|w| w == has);
        let (state, mut count, mut after) = (query.state, 0, None);
        loop {
            let from = after.clone();
            let page = self.store.read(move |tx| roster::list(tx, state, from.as_ref(), PAGE));
            let page = page.await?;
            for worker in &page.workers {
                let person = &worker.person;
                if asked(&query.team, &person.team) && asked(&query.contractor, &person.contractor)
                {
                    count += 1;
                    patient(wire.send_json(&Reply::Item(to_json(worker)?))).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(json!({ "count": count }));
            }
        }
    }

    /// Particulars are for those who may change them.
    pub(super) async fn worker(
        &self,
        id: WorkerId,
        in_full: bool,
    ) -> Result<serde_json::Value, Refusal> {
        let sealer = self.store.sealer().clone();
        let (worker, identity) =
            self.store.read(move |tx| roster::identity(tx, &sealer, &id)).await?;
        let id_number = identity.masked();
        let particulars = if in_full { identity.particulars } else { Default::default() };
        let id_type = identity.id_type;
        to_json(&WorkerShown { worker, id_type, id_number, particulars })
    }

    pub(super) async fn history(
        &self,
        wire: &mut Wire,
        id: WorkerId,
    ) -> Result<serde_json::Value, Refusal> {
        let asked = id.clone();
        self.store.read(move |tx| roster::must_exist(tx, &asked)).await?;
        // Of who was removed nothing may be left, and of who is damaged nothing opens.
        let identity = self.known(&id).await.ok().flatten().map(|(_, identity)| identity);
        let entries = self.store.read(move |tx| ledger::history(tx, &id, PAGE)).await?;
        let changes = Past::new(identity).all(entries.iter().map(|(stored, _)| stored));
        for ((stored, disputed), changes) in entries.iter().zip(changes) {
            if let Some(event) = crate::attendance::EventRecord::of(&self.origin, stored) {
                let mut item = to_json(&event)?;
                item["changes"] = to_json(&changes)?;
                if let Some(seq) = disputed {
                    item["disputed"] = json!(seq);
                }
                patient(wire.send_json(&Reply::Item(item))).await?;
            }
        }
        Ok(json!({ "count": entries.len() }))
    }
}

/// Why two workers may have one face.
fn allowed(reason: Option<&str>) -> Result<Option<String>, RosterError> {
    reason.map(|reason| checked_text("reason", reason, 200)).transpose()
}
