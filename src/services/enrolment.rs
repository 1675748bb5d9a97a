//! Workers enrolled, for the first time or again.

use super::{
    Amend, AmendFaces, Code, DryRuns, Enrol, EnrolResult, Enrolled, Failure, IfKnown, Services,
    Source,
    amendment::{checked_terms, overlaid, overlaid_particulars},
    asked::{Asked, checked_person, checked_reason},
    roster::{Known, committed},
};
use crate::{
    ledger::{self, Actor},
    roster::{self, Enrolment, Identity, Person, RosterError, State, Worker},
    store::Priority,
};

impl Services {
    pub async fn enrol(
        &self,
        mut source: Source,
        dry: &mut DryRuns,
        enrol: Enrol,
        by: Actor,
    ) -> Result<Enrolled, Failure> {
        let identity = Identity::checked(
            enrol.id_type,
            &enrol.id_number,
            enrol.particulars.clone(),
            self.today(),
        )?;
        let person = checked_person(&enrol.person)?;
        let id = person.id.clone();
        if roster::is_document(&id, &identity) {
            let problem = "it is an ID number, and would stand in every record: choose another";
            return Err(Failure::invalid("id", problem));
        }
        let terms = checked_terms(enrol.terms.clone())?;
        self.plausible(&terms, enrol.confirmed)?;
        let asked = Asked::of(&enrol, &by);
        let known = self.known(&id).await?;
        if let Some(known) = known.filter(|_| enrol.if_known != IfKnown::Refuse) {
            let dry = enrol.dry_run.then_some(dry);
            return match comes_again(enrol, person, &identity, &known)? {
                Some(amend) => self.amended(source, amend, dry, asked, by).await,
                None => Ok(Enrolled { worker: known.0, result: EnrolResult::Unchanged }),
            };
        }
        self.free(&id, &identity).await?;
        self.consented(enrol.brings_faces(), &terms, asked)?;
        let allow = enrol.allow_duplicate_face.as_deref().map(checked_reason).transpose()?;
        let faces = self.faces(&mut source, &enrol.photos, enrol.live.as_ref()).await?;
        let changing = self.changing.lock().await;
        let alike = self.alike(&id, &faces, enrol.dry_run.then_some(&*dry), allow, asked)?;
        let templates = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        let worker = Worker { terms, templates, ..Worker::new(person) };
        let done = Enrolled { worker: worker.clone(), result: EnrolResult::Enrolled };
        if enrol.dry_run {
            dry.came_by(&self.roster.borrow(), id, Some(&identity), faces)?;
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
            by,
        };
        let enrolment = Enrolment { worker, identity, model, faces };
        let sealer = self.store.sealer().clone();
        self.change(&changing, id, Priority::Photo, move |tx| {
            roster::enrol(tx, &sealer, &enrolment)?;
            Ok((entry.into(), ()))
        })
        .await?;
        Ok(done)
    }
}

/// The same person comes by again, as in an import that is run again or brings the roster up to
/// date. `None`: nothing is to be changed.
fn comes_again(
    enrol: Enrol,
    person: Person,
    given: &Identity,
    (worker, identity): &Known,
) -> Result<Option<Amend>, Failure> {
    if worker.state == State::Removed {
        return Err(RosterError::IdRetired(person.id).into());
    }
    let said = overlaid_particulars(&identity.particulars, &given.particulars);
    let same = worker.person == person
        && worker.terms == overlaid(&worker.terms, enrol.terms.clone())
        && identity.particulars == said;
    let brings_faces = enrol.brings_faces();
    let faceless = worker.templates == 0 && brings_faces;
    // A sheet whose rows have moved against its ids would give each worker another identity.
    if !given.same_document(identity) {
        let problem = format!(
            "worker {} is on the roster with another ID number; if that one was mistyped, correct \
             it with `gatehouse worker update`, else choose another id",
            person.id
        );
        return Err(Failure::of(Code::Duplicate, "id-number", problem));
    }
    let problem = match enrol.if_known {
        IfKnown::Same if same && !faceless => return Ok(None),
        IfKnown::Same if same => {
            Some("is on the roster without a face; --update takes the photos in")
        }
        IfKnown::Same => {
            Some("is on the roster with other particulars; --update brings them up to date")
        }
        IfKnown::Refuse | IfKnown::Update => None,
    };
    if let Some(problem) = problem {
        return Err(Failure::new(Code::Duplicate, format!("worker {} {problem}", person.id)));
    }
    Ok(Some(Amend {
        name: Some(person.name),
        id_number: Some(enrol.id_number),
        id_type: Some(enrol.id_type),
        particulars: enrol.particulars,
        team: Some(person.team),
        contractor: Some(person.contractor),
        trade: Some(person.trade),
        terms: enrol.terms,
        faces: if brings_faces { AmendFaces::Replace } else { AmendFaces::Keep },
        photos: enrol.photos,
        live: enrol.live,
        allow_duplicate_face: enrol.allow_duplicate_face,
        confirmed: enrol.confirmed,
        ..Amend::nothing(person.id)
    }))
}
