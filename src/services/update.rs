//! Updates workers. [`plan`] computes the new data from the stored and the given data, and is pure.

use jiff::civil::Date;

use super::{
    Clear, DryRuns, EnrollResult, Enrolled, Failure, PHOTOS_MAX, Services, Source, Update,
    UpdateFaces,
    asked::{Asked, checked_person, checked_reason},
    consent::by_recorded_consent,
    failure::Faults,
    likeness::{Taken, are_these},
    refusal::Refusal,
    roster::{Registered, committed},
};
use crate::{
    ledger::{self, Actor, FacesChanged, FacesWhat},
    roster::{
        self, Faces, IdType, Identity, Particulars, Person, Purpose, Terms, Updated, Waits,
        WaitsWhat, Worker, checked_text,
    },
    store::Priority,
};

impl Services {
    /// Updates a worker. The whole request is checked before photos are asked for.
    pub async fn update(
        &self,
        source: Source,
        update: Update,
        by: Actor,
    ) -> Result<Enrolled, Failure> {
        self.updated(source, update, None, Asked::Alone, by).await
    }

    /// Updates a worker. `dry`: the update is checked in full, and nothing is changed.
    pub(super) async fn updated(
        &self,
        mut source: Source,
        update: Update,
        dry: Option<&mut DryRuns>,
        asked: Asked,
        by: Actor,
    ) -> Result<Enrolled, Failure> {
        let id = update.id.clone();
        let wants_faces = matches!(update.faces, UpdateFaces::Add | UpdateFaces::Replace);
        let brings_faces = !update.photos.is_empty() || update.live.is_some();
        if wants_faces != brings_faces {
            return Err(Refusal::PhotosWithoutChange.into());
        }
        // Faults are reported before the photos are sent.
        self.plausible(&update.terms, update.confirmed)?;
        let first = plan(&self.on_roster(&id).await?, &update, self.today(), asked)?;
        self.must_have_consent(wants_faces, &first.worker.terms, asked)?;
        let allow = update.allow_duplicate_face.as_deref().map(checked_reason).transpose()?;
        let (faces, turned) = self.faces(&mut source, &update.photos, update.live.as_ref()).await?;
        let changing = self.changing.lock().await;
        // The roster may have changed meanwhile, so the plan is made again.
        let known = self.on_roster(&id).await?;
        let Planned { mut worker, identity, other_document, reason } =
            plan(&known, &update, self.today(), asked)?;
        let (before, on_file) = known;
        self.must_have_consent(wants_faces, &worker.terms, asked)?;
        let alike = self.alike(&id, &faces, dry.as_deref(), allow, asked)?;
        let kept = self.on_file(&id).await?;
        let (adds, word) = (update.faces == UpdateFaces::Add, (asked, reason.is_some()));
        let Taken { anchor, waits, compared } =
            self.same_person(&id, &kept.anchor, &faces, word, adds)?;
        let what = match update.faces {
            UpdateFaces::Keep => None,
            UpdateFaces::Erase => {
                let waits = before.waits.as_ref().is_some_and(|w| w.what == WaitsWhat::Faces);
                (before.templates > 0 || waits).then_some(FacesWhat::Erased)
            }
            UpdateFaces::Add => Some(FacesWhat::Added),
            UpdateFaces::Replace => {
                (!are_these(&kept.matched, &faces)).then_some(FacesWhat::Replaced)
            }
        };
        // The faces of a worker who waits are not in force, so that they need not wait apart.
        let waits = what.is_some() && waits && !before.is_pending();
        let again = waits && are_these(&kept.waiting, &faces);
        let (what, waits) = (what.filter(|_| !waits), waits && !again);
        let from = by.user.clone();
        match what {
            _ if waits => worker.waits = Some(Waits { what: WaitsWhat::Faces, from }),
            // A person has set the faces, and others do not wait any longer.
            Some(FacesWhat::Erased | FacesWhat::Replaced) if !before.is_pending() => {
                worker.waits = None;
            }
            _ => {}
        }
        if what.is_none() && worker == before && identity == on_file {
            return Ok(Enrolled { turned, ..Enrolled::new(worker, EnrollResult::Unchanged) });
        }
        let count = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        worker.templates = match what {
            None => before.templates,
            Some(FacesWhat::Erased) => 0,
            Some(FacesWhat::Added) => before.templates.saturating_add(count),
            Some(FacesWhat::Replaced) => count,
        };
        if worker.templates as usize > PHOTOS_MAX && what == Some(FacesWhat::Added) {
            let (count, most) = (worker.templates, PHOTOS_MAX);
            return Err(Refusal::TooManyPhotos { id, count, most }.into());
        }
        let mut done = Enrolled { turned, ..Enrolled::new(worker.clone(), EnrollResult::Updated) };
        if let Some(dry) = dry {
            dry.add(&self.roster.borrow(), id, None, faces)?;
            return Ok(done);
        }
        let model = self.vision.embedder_name().to_owned();
        let entry = ledger::Amendment {
            person: worker.person.clone(),
            terms: worker.terms.clone(),
            id_commitment: other_document.then(|| committed(&identity)),
            particulars: identity.particulars.other_than(&on_file.particulars),
            faces: what.map(|what| FacesChanged {
                what,
                model: model.clone(),
                templates: worker.templates,
            }),
            alike,
            compared: compared.filter(|_| what.is_some()),
            waits: waits.then_some(WaitsWhat::Faces),
            reason,
            by,
        };
        let faces = match what {
            None if waits => Faces::Wait { model, faces, from: entry.by.user.clone() },
            None => Faces::Keep,
            Some(FacesWhat::Erased) => Faces::Erase,
            Some(FacesWhat::Added) => Faces::Add { model, faces, anchor },
            Some(FacesWhat::Replaced) => Faces::Replace { model, faces, anchor },
        };
        // A change that needs no space is made on a full disk too, above all an erasure.
        let priority = if wants_faces { Priority::Photo } else { Priority::Upkeep };
        let updated = Updated { worker, identity, faces };
        let sealer = self.store.sealer().clone();
        self.change(&changing, id.clone(), priority, move |tx| {
            roster::update(tx, &sealer, &updated)?;
            Ok((entry.into(), ()))
        })
        .await?;
        if matches!(what, Some(FacesWhat::Added | FacesWhat::Replaced)) {
            done.advice = self.advice(&id);
        }
        drop(changing);
        if waits || matches!(what, Some(FacesWhat::Erased | FacesWhat::Replaced)) {
            self.empty_log(&id).await;
            self.photo_store.tidy().await;
            self.erase_set_aside().await;
        }
        Ok(done)
    }
}

/// The data to be written, except the faces.
pub(super) struct Planned {
    pub(super) worker: Worker,
    pub(super) identity: Identity,
    /// Whether the document differs from the stored one.
    pub(super) other_document: bool,
    pub(super) reason: Option<String>,
}

/// Returns a worker's new data: the stored data with the given fields replaced.
pub(super) fn plan(
    (before, on_file): &Registered,
    update: &Update,
    today: Option<Date>,
    asked: Asked,
) -> Result<Planned, Failure> {
    let kept = &before.person;
    let text = |given: &Option<String>, kept: &String| given.as_ref().unwrap_or(kept).clone();
    let mut faults = Faults::default();
    let person = faults.note(checked_person(&Person {
        id: kept.id.clone(),
        name: text(&update.name, &kept.name),
        team: text(&update.team, &kept.team),
        contractor: text(&update.contractor, &kept.contractor),
        trade: text(&update.trade, &kept.trade),
    }));
    let mut terms = overlaid(&before.terms, update.terms.clone());
    let mut particulars = overlaid_particulars(&on_file.particulars, &update.particulars);
    for field in &update.clear {
        match field {
            Clear::ValidFrom => terms.valid_from = None,
            Clear::ValidUntil => terms.valid_until = None,
            Clear::ContractSigned => terms.contract_signed = None,
            Clear::TrainedOn => terms.trained_on = None,
            Clear::Phone => particulars.phone = None,
            Clear::BankTail => particulars.bank_tail = None,
        }
    }
    let terms = faults.note(checked_terms(terms));
    let reason = faults.note(update.reason.as_deref().map(checked_reason).transpose());
    let document = faults.note(document(on_file, update, particulars, today));
    let (Some(person), Some(mut terms), Some(reason), Some((identity, other_document))) =
        (person, terms, reason, document)
    else {
        return Err(faults.into());
    };
    let wants_faces = matches!(update.faces, UpdateFaces::Add | UpdateFaces::Replace);
    by_recorded_consent(before, wants_faces, &terms, asked)?;
    if update.faces == UpdateFaces::Erase && before.consent(&Purpose::Face).is_none() {
        // The consent is to the storage of the face, so it ends with it.
        (terms.consent, terms.consent_on) = (None, None);
    }
    if other_document && person.name != kept.name && reason.is_none() {
        return Err(Refusal::AnotherPerson { id: kept.id.clone() }.into());
    }
    let worker = Worker { person, terms, ..before.clone() };
    Ok(Planned { worker, identity, other_document, reason })
}

/// Returns the identity with the given data, and whether its document differs from the stored one.
fn document(
    on_file: &Identity,
    update: &Update,
    particulars: Particulars,
    today: Option<Date>,
) -> Result<(Identity, bool), Failure> {
    let (id_type, number) = match &update.id_number {
        Some(number) => (update.id_type.unwrap_or(on_file.id_type), &**number),
        None => (on_file.id_type, &**on_file.number),
    };
    // An early version accepted numbers without a check digit. An unchanged identity is not
    // checked.
    if update.id_number.is_none() && particulars == on_file.particulars {
        return Ok((on_file.clone(), false));
    }
    let checked = Identity::checked(id_type, number, particulars.clone(), today);
    let another = |i: &Identity| !i.same_document(on_file);
    match checked {
        Ok(identity) if another(&identity) => Ok((identity, true)),
        Ok(identity) => Ok((Identity { salt: on_file.salt, ..identity }, false)),
        // The new number may contain another birth date or gender than the wrong one.
        Err(error) if update.id_number.is_some() && id_type == IdType::Resident => {
            let given = Particulars {
                phone: particulars.phone,
                bank_tail: particulars.bank_tail,
                ..update.particulars.clone()
            };
            let identity = Identity::checked(id_type, number, given, today)?;
            if another(&identity) { Ok((identity, true)) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn checked_terms(terms: Terms) -> Result<Terms, Failure> {
    let consent = terms.consent.as_deref().map(|c| checked_text("consent", c, 64)).transpose()?;
    if let (Some(from), Some(until)) = (terms.valid_from, terms.valid_until)
        && until < from
    {
        return Err(Refusal::EndsBeforeBegin { until, from }.into());
    }
    if terms.consent_on.is_some() && consent.is_none() {
        return Err(Refusal::ConsentWithoutForm.into());
    }
    Ok(Terms { consent, ..terms })
}

/// Returns the stored terms, with the given ones in their place.
pub(super) fn overlaid(kept: &Terms, given: Terms) -> Terms {
    let same_form = given.consent.is_none() || given.consent == kept.consent;
    Terms {
        valid_from: given.valid_from.or(kept.valid_from),
        valid_until: given.valid_until.or(kept.valid_until),
        // The date belongs to its form.
        consent_on: given.consent_on.or(kept.consent_on.filter(|_| same_form)),
        consent: given.consent.or_else(|| kept.consent.clone()),
        contract_signed: given.contract_signed.or(kept.contract_signed),
        trained_on: given.trained_on.or(kept.trained_on),
    }
}

pub(super) fn overlaid_particulars(kept: &Particulars, given: &Particulars) -> Particulars {
    Particulars {
        gender: given.gender.or(kept.gender),
        birth_date: given.birth_date.or(kept.birth_date),
        phone: given.phone.clone().or_else(|| kept.phone.clone()),
        bank_tail: given.bank_tail.clone().or_else(|| kept.bank_tail.clone()),
    }
}

#[cfg(test)]
mod tests;
