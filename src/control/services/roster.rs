//! Workers: enrolled, amended, suspended, removed, listed.
//!
//! A change is the roster's rows and the ledger's entry in one transaction, then a new snapshot for
//! the gates. Changes are made one at a time, so that the look for somebody's like, the rows and the
//! snapshot belong together.

use std::sync::Arc;

use jiff::civil::Date;
use rusqlite::Transaction;
use serde_json::json;

use super::{Failure, PAGE, Refusal, Services, Sitting, to_json};
use crate::{
    control::protocol::{
        Amend, AmendFaces, Enrol, EnrolResult, Enrolled, IfKnown, Reply, Wire, WorkerQuery,
        WorkerShown, patient,
    },
    failpoint,
    ledger::{self, Actor, Alike, Body, FacesChanged, FacesWhat, LedgerError, Score, commitment},
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

/// Somebody on the roster, before a change.
type Known = (Worker, Identity);

impl Services {
    pub(super) async fn enrol(
        &self,
        wire: &mut Wire,
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
        let terms = checked_terms(enrol.terms.clone())?;
        let known = self.known(&id).await?;
        if let Some(known) = known.filter(|_| enrol.if_known != IfKnown::Refuse) {
            return self.enrol_again(wire, sitting, enrol, person, terms, &known, by).await;
        }
        self.free(&id, &identity).await?;
        let wants_faces = !enrol.photos.is_empty() || enrol.live.is_some();
        self.consented(wants_faces, &terms)?;
        let allow = allowed(enrol.allow_duplicate_face.as_deref())?;
        let faces = self.faces(wire, &enrol.photos, enrol.live.as_ref()).await?;
        let changing = self.changing.lock().await;
        let alike = self.alike(&id, &faces, sitting, allow)?;
        let templates = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        let worker = Worker { terms, templates, ..Worker::new(person) };
        let done = to_json(&Enrolled { worker: worker.clone(), result: EnrolResult::Enrolled })?;
        if enrol.dry_run {
            let templates = faces.into_iter().map(|face| face.template.clone()).collect();
            sitting.dry.push((id, templates));
            return Ok(done);
        }
        let model = self.vision.embedder_name().to_owned();
        let body = Body::Enrolment {
            person: worker.person.clone(),
            id_type: identity.id_type.word().to_owned(),
            commitment: commitment(&identity.salt, identity.id_type.word(), &identity.number),
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
            Ok((body, ()))
        })
        .await?;
        Ok(done)
    }

    /// The same person comes by again, as in an import that is run anew or brings the roster up to
    /// date.
    #[allow(clippy::too_many_arguments, reason = "the enrolment, as far as it was examined")]
    async fn enrol_again(
        &self,
        wire: &mut Wire,
        sitting: &mut Sitting,
        enrol: Enrol,
        person: Person,
        terms: Terms,
        (worker, identity): &Known,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        if worker.state == State::Removed {
            return Err(RosterError::IdRetired(person.id).into());
        }
        let given = Identity::checked(
            enrol.id_type,
            &enrol.id_number,
            enrol.particulars.clone(),
            self.today(),
        )?;
        let terms = overlaid(&worker.terms, terms);
        let particulars = overlaid_particulars(identity, &enrol.particulars);
        let same = given.same_document(identity)
            && worker.person == person
            && worker.terms == terms
            && identity.particulars == particulars;
        if enrol.if_known == IfKnown::Same {
            if same {
                let worker = worker.clone();
                return to_json(&Enrolled { worker, result: EnrolResult::Unchanged });
            }
            let problem = if given.same_document(identity) {
                "is on the roster with other particulars; --update brings them up to date"
            } else {
                "is on the roster with another ID number; if it is the same person, --update \
                 corrects it, else choose another id"
            };
            return Err(
                Failure::new("duplicate", format!("worker {}: {problem}", person.id)).into()
            );
        }
        let amend = Amend {
            id: person.id,
            name: Some(person.name),
            document: Some((enrol.id_type, enrol.id_number)),
            particulars: enrol.particulars,
            team: Some(person.team),
            contractor: Some(person.contractor),
            trade: Some(person.trade),
            terms,
            faces: if enrol.photos.is_empty() && enrol.live.is_none() {
                AmendFaces::Keep
            } else {
                AmendFaces::Replace
            },
            photos: enrol.photos,
            live: enrol.live,
            allow_duplicate_face: enrol.allow_duplicate_face,
            reason: None,
        };
        self.amended(wire, amend, enrol.dry_run.then_some(sitting), by).await
    }

    pub(super) async fn amend(
        &self,
        wire: &mut Wire,
        amend: Amend,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        self.amended(wire, amend, None, by).await
    }

    /// `dry`: all is examined and nothing is changed.
    async fn amended(
        &self,
        wire: &mut Wire,
        amend: Amend,
        dry: Option<&mut Sitting>,
        by: Actor,
    ) -> Result<serde_json::Value, Refusal> {
        let id = amend.id.clone();
        let known = self.known(&id).await?.filter(|(worker, _)| worker.state != State::Removed);
        let Some((before, identity)) = known else {
            return Err(RosterError::NoSuchWorker(id).into());
        };
        let text = |field, given: &Option<String>, kept: &String, most| match given {
            Some(given) => checked_text(field, given, most),
            None => Ok(kept.clone()),
        };
        let person = Person {
            id: id.clone(),
            name: text("name", &amend.name, &before.person.name, 64)?,
            team: text("team", &amend.team, &before.person.team, 64)?,
            contractor: text("contractor", &amend.contractor, &before.person.contractor, 128)?,
            trade: text("trade", &amend.trade, &before.person.trade, 64)?,
        };
        let mut terms = checked_terms(overlaid(&before.terms, amend.terms.clone()))?;
        if amend.faces == AmendFaces::Erase {
            // Without a face there is nothing that is consented to.
            (terms.consent, terms.consent_on) = (None, None);
        }
        let reason = amend.reason.as_deref().map(|r| checked_text("reason", r, 200)).transpose()?;
        let said = overlaid_particulars(&identity, &amend.particulars);
        let given = match &amend.document {
            Some((id_type, number)) => {
                // A document of its own says what it says of birth and gender.
                Identity::checked(*id_type, number, amend.particulars.clone(), self.today())?
            }
            None => identity.clone(),
        };
        let other_document = !given.same_document(&identity);
        let to = if other_document {
            let (phone, bank_tail) = (said.phone, said.bank_tail);
            let particulars = roster::Particulars { phone, bank_tail, ..given.particulars };
            Identity { particulars, ..given }
        } else {
            // Checked against the number once more, for what is said now.
            let mut checked =
                Identity::checked(identity.id_type, &identity.number, said.clone(), self.today());
            if amend.particulars == Default::default() {
                // One that an early version took in without a check digit stays as it is.
                checked = Ok(Identity { particulars: said, ..identity.clone() });
            }
            Identity { salt: identity.salt, ..checked? }
        };
        let wants_faces = matches!(amend.faces, AmendFaces::Add | AmendFaces::Replace);
        let brings_faces = !amend.photos.is_empty() || amend.live.is_some();
        if wants_faces != brings_faces {
            return Err(Failure::new(
                "invalid",
                "give photos, and say whether to add them or to \
                                                replace those there are with them",
            )
            .into());
        }
        self.consented(wants_faces, &terms)?;
        let allow = allowed(amend.allow_duplicate_face.as_deref())?;
        let faces = self.faces(wire, &amend.photos, amend.live.as_ref()).await?;
        let changing = self.changing.lock().await;
        let (nobody, is_dry) = (Sitting::default(), dry.is_some());
        let alike = self.alike(&id, &faces, dry.as_deref().unwrap_or(&nobody), allow)?;
        if let Some(problem) = self.too_many(&before, &amend.faces, &faces) {
            return Err(problem.into());
        }
        let same_faces = match amend.faces {
            AmendFaces::Keep => true,
            AmendFaces::Erase => before.templates == 0,
            AmendFaces::Add => false,
            AmendFaces::Replace => self.has_these(&id, &faces).await?,
        };
        let mut worker = Worker { person, terms, ..before.clone() };
        let same_terms = worker == before && to == identity;
        if same_faces && same_terms {
            return to_json(&Enrolled { worker, result: EnrolResult::Unchanged });
        }
        let model = self.vision.embedder_name().to_owned();
        let count = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        let (what, then, faces) = match amend.faces {
            _ if same_faces => (None, before.templates, Faces::Keep),
            AmendFaces::Keep => (None, before.templates, Faces::Keep),
            AmendFaces::Erase => (Some(FacesWhat::Erased), 0, Faces::Erase),
            AmendFaces::Add => {
                let then = before.templates.saturating_add(count);
                (Some(FacesWhat::Added), then, Faces::Add { model: model.clone(), faces })
            }
            AmendFaces::Replace => {
                (Some(FacesWhat::Replaced), count, Faces::Replace { model: model.clone(), faces })
            }
        };
        worker.templates = then;
        let done = to_json(&Enrolled { worker: worker.clone(), result: EnrolResult::Updated })?;
        if is_dry {
            return Ok(done);
        }
        let body = Body::Amendment {
            person: worker.person.clone(),
            terms: worker.terms.clone(),
            commitment: other_document.then(|| commitment(&to.salt, to.id_type.word(), &to.number)),
            faces: what.map(|what| FacesChanged { what, model, templates: then }),
            alike,
            reason,
            by,
        };
        let amended = Amended { worker, identity: to, faces };
        let sealer = self.store.sealer().clone();
        self.change(&changing, id.clone(), Priority::Photo, move |tx| {
            roster::amend(tx, &sealer, &amended)?;
            Ok((body, ()))
        })
        .await?;
        drop(changing);
        if matches!(what, Some(FacesWhat::Erased | FacesWhat::Replaced)) {
            self.empty_log(&id).await;
            self.album.tidy().await;
        }
        Ok(done)
    }

    pub(super) async fn hold(
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
        let known = self.known(&id).await?.filter(|(worker, _)| worker.state != State::Removed);
        let Some((worker, _)) = known else { return Err(RosterError::NoSuchWorker(id).into()) };
        if worker.state == state && state == State::Active {
            let problem = format!("worker {id} is neither suspended nor barred");
            return Err(Failure::new("unchanged", problem).into());
        }
        let body = Body::State { worker: id.clone(), state, reason: reason.clone(), by };
        let (held, why) = (id.clone(), reason.clone());
        let changing = self.changing.lock().await;
        self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            roster::hold(tx, &held, state, &why)?;
            Ok((body, ()))
        })
        .await?;
        Ok(json!({ "id": id, "state": state, "reason": reason }))
    }

    pub(super) async fn remove(
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
            Ok((Body::Removal { worker, reason, erased: Some(erased), by }, erased))
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

    fn consented(&self, wants_faces: bool, terms: &Terms) -> Result<(), Failure> {
        if terms.consent.is_some() || !wants_faces || !self.roster_rules.require_consent {
            return Ok(());
        }
        let problem = "a face may be kept only with the worker's consent: give the number of the \
                       signed form with --consent, or enrol without photos; a guard then vouches";
        Err(Failure::new("no_consent", problem))
    }

    /// Whose face this is too, where that is allowed; refused where it is not. A face that is another
    /// worker's would let neither through.
    fn alike(
        &self,
        id: &WorkerId,
        faces: &[FaceOnFile],
        sitting: &Sitting,
        allow: Option<String>,
    ) -> Result<Option<Alike>, Failure> {
        let roster = self.roster.borrow().clone();
        let mut nearest: Option<(WorkerId, String, f32)> = None;
        for face in faces {
            let enrolled = roster.best_but(&face.template, id).map(|found| {
                let person = &found.worker.person;
                (person.id.clone(), person.name.clone(), found.score)
            });
            let dry = sitting.dry.iter().filter(|(other, _)| other != id).flat_map(|(other, t)| {
                let score = |t: &crate::vision::Template| t.cosine(&face.template);
                t.iter().map(move |t| (other.clone(), "of this file".to_owned(), score(t)))
            });
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
                     two, --allow-duplicate-face --reason"
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

    pub(super) async fn worker(&self, id: WorkerId) -> Result<serde_json::Value, Refusal> {
        let sealer = self.store.sealer().clone();
        let (worker, identity) =
            self.store.read(move |tx| roster::identity(tx, &sealer, &id)).await?;
        let id_number = identity.masked();
        let (id_type, particulars) = (identity.id_type, identity.particulars);
        to_json(&WorkerShown { worker, id_type, id_number, particulars })
    }

    pub(super) async fn history(
        &self,
        wire: &mut Wire,
        id: WorkerId,
    ) -> Result<serde_json::Value, Refusal> {
        let asked = id.clone();
        self.store.read(move |tx| roster::must_exist(tx, &asked)).await?;
        let entries = self.store.read(move |tx| ledger::history(tx, &id, PAGE)).await?;
        for stored in &entries {
            if let Some(event) = crate::attendance::EventRecord::of(&self.origin, stored) {
                patient(wire.send_json(&Reply::Item(to_json(&event)?))).await?;
            }
        }
        Ok(json!({ "count": entries.len() }))
    }
}

fn checked_terms(terms: Terms) -> Result<Terms, Refusal> {
    let consent = terms.consent.as_deref().map(|c| checked_text("consent", c, 64)).transpose()?;
    if let (Some(from), Some(until)) = (terms.valid_from, terms.valid_until)
        && until < from
    {
        let problem = format!("valid-until: {until} is before valid-from {from}");
        return Err(Failure::new("invalid", problem).into());
    }
    if terms.consent_on.is_some() && consent.is_none() {
        return Err(Failure::new("invalid", "consent-on: give the form's number too").into());
    }
    Ok(Terms { consent, ..terms })
}

/// What is given, over what there was.
fn overlaid(kept: &Terms, given: Terms) -> Terms {
    Terms {
        valid_from: given.valid_from.or(kept.valid_from),
        valid_until: given.valid_until.or(kept.valid_until),
        // Of one form, or the other.
        consent_on: given.consent_on.or(kept
            .consent_on
            .filter(|_| given.consent.is_none() || given.consent == kept.consent)),
        consent: given.consent.or_else(|| kept.consent.clone()),
        contract_signed: given.contract_signed.or(kept.contract_signed),
        trained_on: given.trained_on.or(kept.trained_on),
    }
}

fn overlaid_particulars(kept: &Identity, given: &roster::Particulars) -> roster::Particulars {
    let kept = kept.particulars.clone();
    roster::Particulars {
        gender: given.gender.or(kept.gender),
        birth_date: given.birth_date.or(kept.birth_date),
        phone: given.phone.clone().or(kept.phone),
        bank_tail: given.bank_tail.clone().or(kept.bank_tail),
    }
}

/// Why two workers may have one face.
fn allowed(reason: Option<&str>) -> Result<Option<String>, RosterError> {
    reason.map(|reason| checked_text("reason", reason, 200)).transpose()
}
