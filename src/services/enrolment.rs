//! Enrolls workers, for the first time or again.

use super::{
    Code, DryRuns, Edit, Enroll, EnrollResult, Enrolled, Failure, IfKnown, Services, Source,
    Update, UpdateFaces,
    asked::{Asked, checked_person, checked_reason},
    consent::by_recorded_consent,
    failure::Faults,
    likeness::Taken,
    refusal::Refusal,
    roster::{Registered, committed},
    update::{checked_terms, overlaid, overlaid_particulars},
};
use crate::{
    ledger::{self, Actor},
    roster::{
        self, Enrolment, IdType, Identity, Person, RosterError, State, Terms, Waits, WaitsWhat,
        Worker, anchor::Anchor,
    },
    store::Priority,
};

impl Services {
    /// Enrolls a worker. The request is checked before photos are asked for. If the id is on the
    /// roster already, [`Enroll::if_known`] decides.
    pub async fn enroll(
        &self,
        mut source: Source,
        dry: &mut DryRuns,
        enroll: Enroll,
        by: Actor,
    ) -> Result<Enrolled, Failure> {
        let mut faults = Faults::default();
        let identity = faults.note(Identity::checked(
            enroll.id_type,
            &enroll.id_number,
            enroll.particulars.clone(),
            self.today(),
        ));
        let person = faults.note(checked_person(&enroll.person));
        let terms = faults.note(checked_terms(enroll.terms.clone()));
        let (Some(identity), Some(person), Some(terms)) = (identity, person, terms) else {
            return Err(faults.into());
        };
        let id = person.id.clone();
        if roster::is_document(&id, &identity) {
            return Err(Refusal::IdIsDocument.into());
        }
        self.plausible(&terms, enroll.confirmed)?;
        let asked = Asked::of(&enroll, source.afar(), &by);
        let known = self.known(&id).await?;
        if let Some(known) = known.filter(|_| enroll.if_known != IfKnown::Refuse) {
            let dry = enroll.dry_run.then_some(dry);
            return match enrolled_again(enroll, person, &identity, &known, asked)? {
                Some(update) => self.updated(source, update, dry, asked, by).await,
                None => Ok(Enrolled::new(known.0, EnrollResult::Unchanged)),
            };
        }
        self.must_be_free(&id, &identity).await?;
        let comes = enroll.brings_faces() || terms.consent.is_some();
        self.withdrawn_by(&id, &identity, comes, asked).await?;
        self.must_have_consent(enroll.brings_faces(), &terms, asked)?;
        let allow = enroll.allow_duplicate_face.as_deref().map(checked_reason).transpose()?;
        let reason = enroll.reason.as_deref().map(checked_reason).transpose()?;
        let (faces, turned) = self.faces(&mut source, &enroll.photos, enroll.live.as_ref()).await?;
        let changing = self.changing.lock().await;
        let withdrawn = self.withdrawn_by(&id, &identity, comes, asked).await?;
        let alike = self.alike(&id, &faces, enroll.dry_run.then_some(&*dry), allow, asked)?;
        let word = (asked, reason.is_some());
        let Taken { compared, .. } = self.same_person(&id, &Anchor::None, &faces, word, false)?;
        let templates = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        let from = by.user.clone();
        let waits = asked.waits().then_some(Waits { what: WaitsWhat::Worker, from });
        let state = if waits.is_some() { State::Pending } else { State::Active };
        let worker = Worker { terms, templates, waits, state, ..Worker::new(person) };
        let mut done = Enrolled { turned, ..Enrolled::new(worker.clone(), EnrollResult::Enrolled) };
        if enroll.dry_run {
            dry.add(&self.roster.borrow(), id, Some(&identity), faces)?;
            return Ok(done);
        }
        let model = self.vision.embedder_name().to_owned();
        let entry = ledger::Enrolment {
            person: worker.person.clone(),
            id_type: identity.id_type.word().to_owned(),
            id_commitment: committed(&identity),
            terms: worker.terms.clone(),
            model: model.clone(),
            templates,
            alike,
            face_withdrawn_on: withdrawn.as_ref().and_then(|face| face.withdrawn_on),
            reason: reason.filter(|_| compared.is_some()),
            compared,
            waits: worker.waits.as_ref().map(|waits| waits.what),
            by,
        };
        let enrolment = Enrolment { worker, identity, model, faces };
        let sealer = self.store.sealer().clone();
        self.change(&changing, id.clone(), Priority::Photo, move |tx| {
            roster::enroll(tx, &sealer, &enrolment)?;
            if let Some(withdrawn) = withdrawn {
                roster::keep_withdrawal(tx, &enrolment.worker.person.id, &withdrawn)?;
            }
            Ok((entry.into(), ()))
        })
        .await?;
        done.advice = self.advice(&id);
        Ok(done)
    }
}

impl Services {
    /// Completes what a platform says of a person from the roster, or for a new worker from what the
    /// configuration gives.
    pub async fn completed(&self, edit: Edit) -> Result<Enroll, Failure> {
        let mut faults = Faults::default();
        let mut needed = |field: &'static str, given: Option<String>| {
            let missing = Failure::of(Code::Invalid, field, format!("{field}: is missing"));
            faults.note(given.ok_or(missing)).unwrap_or_default()
        };
        let (person, id_type, id_number, has_consent) = match self.known(&edit.id).await? {
            Some((worker, identity)) => {
                let known = identity.number.as_str();
                let is_same = edit.id_number.as_deref().is_none_or(|given| given == known);
                let id_type = if is_same { identity.id_type } else { IdType::default() };
                let number = edit.id_number.unwrap_or_else(|| known.to_owned());
                let name = edit.name.unwrap_or(worker.person.name);
                let person = Person { name, ..worker.person };
                (person, id_type, number, worker.terms.consent.is_some())
            }
            None => {
                let person = Person {
                    id: edit.id,
                    name: needed("name", edit.name),
                    team: needed("team", edit.new_team),
                    contractor: needed("contractor", edit.new_contractor),
                    trade: needed("trade", edit.new_trade),
                };
                (person, IdType::default(), needed("id-number", edit.id_number), false)
            }
        };
        faults.none()?;
        let consent = edit.new_consent.filter(|_| !has_consent && !edit.photos.is_empty());
        let terms = Terms { consent, ..edit.terms };
        let enroll = Enroll::new(person, id_type, id_number);
        let photos = edit.photos;
        Ok(Enroll { terms, photos, if_known: IfKnown::Update, confirmed: true, ..enroll })
    }
}

/// Returns the update for a worker who is already on the roster, as in a repeated import. `None`:
/// nothing changes.
fn enrolled_again(
    enroll: Enroll,
    person: Person,
    given: &Identity,
    (worker, identity): &Registered,
    asked: Asked,
) -> Result<Option<Update>, Failure> {
    if worker.state == State::Removed {
        return Err(RosterError::IdRetired(person.id).into());
    }
    let particulars = overlaid_particulars(&identity.particulars, &given.particulars);
    let terms = overlaid(&worker.terms, enroll.terms.clone());
    let same = worker.person.reads_as(&person)
        && worker.terms == terms
        && identity.particulars == particulars;
    let brings_faces = enroll.brings_faces();
    let faceless = worker.templates == 0 && brings_faces;
    // A sheet whose ids have moved to other rows would give each worker another identity.
    if !given.same_document(identity) {
        return Err(Refusal::AnotherDocument { id: person.id }.into());
    }
    by_recorded_consent(worker, brings_faces, &terms, asked)?;
    match enroll.if_known {
        IfKnown::Same if same && !faceless => return Ok(None),
        IfKnown::Same if same => return Err(Refusal::KnownWithoutFace { id: person.id }.into()),
        IfKnown::Same => return Err(Refusal::KnownOtherwise { id: person.id }.into()),
        IfKnown::Refuse | IfKnown::Update => {}
    }
    Ok(Some(Update {
        name: Some(person.name),
        id_number: Some(enroll.id_number),
        id_type: Some(enroll.id_type),
        particulars: enroll.particulars,
        team: Some(person.team),
        contractor: Some(person.contractor),
        trade: Some(person.trade),
        terms: enroll.terms,
        faces: if brings_faces { UpdateFaces::Replace } else { UpdateFaces::Keep },
        photos: enroll.photos,
        live: enroll.live,
        allow_duplicate_face: enroll.allow_duplicate_face,
        reason: enroll.reason,
        confirmed: enroll.confirmed,
        ..Update::nothing(person.id)
    }))
}
