//! What a worker is to be after an amendment: pure, from what is on file and what is given.

use jiff::civil::Date;

use super::{Failure, Refusal};
use crate::{
    control::protocol::{Amend, AmendFaces, Clear},
    roster::{IdType, Identity, Particulars, Person, Terms, Worker, checked_text},
};

/// Somebody on the roster, before a change.
pub(super) type Known = (Worker, Identity);

/// What is to be written, apart from faces.
pub(super) struct Planned {
    pub(super) worker: Worker,
    pub(super) identity: Identity,
    /// Another document than the one on file.
    pub(super) other_document: bool,
    pub(super) reason: Option<String>,
}

pub(super) fn plan(
    (before, on_file): &Known,
    amend: &Amend,
    today: Option<Date>,
) -> Result<Planned, Refusal> {
    let kept = &before.person;
    let text = |field, given: &Option<String>, kept: &String, most| match given {
        Some(given) => checked_text(field, given, most),
        None => Ok(kept.clone()),
    };
    let person = Person {
        id: kept.id.clone(),
        name: text("name", &amend.name, &kept.name, 64)?,
        team: text("team", &amend.team, &kept.team, 64)?,
        contractor: text("contractor", &amend.contractor, &kept.contractor, 128)?,
        trade: text("trade", &amend.trade, &kept.trade, 64)?,
    };
    let mut terms = overlaid(&before.terms, amend.terms.clone());
    let mut said = overlaid_particulars(&on_file.particulars, &amend.particulars);
    for field in &amend.clear {
        match field {
            Clear::ValidFrom => terms.valid_from = None,
            Clear::ValidUntil => terms.valid_until = None,
            Clear::ContractSigned => terms.contract_signed = None,
            Clear::TrainedOn => terms.trained_on = None,
            Clear::Phone => said.phone = None,
            Clear::BankTail => said.bank_tail = None,
        }
    }
    let mut terms = checked_terms(terms)?;
    if amend.faces == AmendFaces::Erase {
        // Without a face there is nothing that is consented to.
        (terms.consent, terms.consent_on) = (None, None);
    }
    let reason = amend.reason.as_deref().map(|r| checked_text("reason", r, 200)).transpose()?;
    let (identity, other_document) = document(on_file, amend, said, today)?;
    if other_document && person.name != kept.name && reason.is_none() {
        let problem = format!(
            "worker {}: another name and another ID number make another person, and ids are never \
             used again; if both were mistyped, say so with --reason",
            kept.id
        );
        return Err(Failure::new("invalid", problem).into());
    }
    let worker = Worker { person, terms, ..before.clone() };
    Ok(Planned { worker, identity, other_document, reason })
}

/// The identity with what is said now, and whether its document is another one.
fn document(
    on_file: &Identity,
    amend: &Amend,
    said: Particulars,
    today: Option<Date>,
) -> Result<(Identity, bool), Refusal> {
    let (id_type, number) = match &amend.document {
        Some((id_type, number)) => (id_type.unwrap_or(on_file.id_type), &**number),
        None => (on_file.id_type, &**on_file.number),
    };
    // One that an early version took in without a check digit stays as it is.
    if amend.document.is_none() && said == on_file.particulars {
        return Ok((on_file.clone(), false));
    }
    let checked = Identity::checked(id_type, number, said.clone(), today);
    let another = |i: &Identity| !i.same_document(on_file);
    match checked {
        Ok(identity) if another(&identity) => Ok((identity, true)),
        Ok(identity) => Ok((Identity { salt: on_file.salt, ..identity }, false)),
        // The number says another birth date or gender than the one that was wrong did.
        Err(error) if amend.document.is_some() && id_type == IdType::Resident => {
            let given = Particulars {
                phone: said.phone,
                bank_tail: said.bank_tail,
                ..amend.particulars.clone()
            };
            let identity = Identity::checked(id_type, number, given, today)?;
            if another(&identity) { Ok((identity, true)) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn checked_terms(terms: Terms) -> Result<Terms, Refusal> {
    let consent = terms.consent.as_deref().map(|c| checked_text("consent", c, 64)).transpose()?;
    if let (Some(from), Some(until)) = (terms.valid_from, terms.valid_until)
        && until < from
    {
        let problem = format!("{until} is before {from}, the first day of admission");
        return Err(Failure::invalid("valid-until", problem).into());
    }
    if terms.consent_on.is_some() && consent.is_none() {
        return Err(Failure::invalid("consent-on", "give the form's number too").into());
    }
    Ok(Terms { consent, ..terms })
}

/// What is given, over what there was.
pub(super) fn overlaid(kept: &Terms, given: Terms) -> Terms {
    let same_form = given.consent.is_none() || given.consent == kept.consent;
    Terms {
        valid_from: given.valid_from.or(kept.valid_from),
        valid_until: given.valid_until.or(kept.valid_until),
        // Of one form, or the other.
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
mod tests {
    use super::*;
    use crate::roster::Gender;
    use jiff::civil::date;

    const ID_A: &str = "522201199003074411";
    const ID_B: &str = "522201198805112024";

    fn known(id_type: IdType, number: &str, particulars: Particulars) -> Known {
        let text = || "x".to_owned();
        let id = "W001".parse().unwrap();
        let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
        let mut worker = Worker::new(person);
        worker.terms.valid_until = Some(date(2026, 12, 31));
        worker.terms.consent = Some("C-1".into());
        worker.terms.consent_on = Some(date(2026, 3, 1));
        (worker, Identity::checked(id_type, number, particulars, None).unwrap())
    }

    fn nothing() -> Amend {
        Amend {
            id: "W001".parse().unwrap(),
            name: None,
            document: None,
            particulars: Particulars::default(),
            team: None,
            contractor: None,
            trade: None,
            terms: Terms::default(),
            clear: Vec::new(),
            faces: AmendFaces::Keep,
            photos: Vec::new(),
            live: None,
            allow_duplicate_face: None,
            reason: None,
            confirmed: false,
        }
    }

    fn planned(known: &Known, amend: Amend) -> Planned {
        plan(known, &amend, None).map_err(|_| "refused").unwrap()
    }

    #[test]
    fn what_is_not_given_stays_and_what_is_cleared_goes() {
        let phone = || Particulars { phone: Some("13800138000".into()), ..Default::default() };
        let before = known(IdType::Resident, ID_A, phone());
        let same = planned(&before, nothing());
        assert!(same.worker == before.0 && same.identity == before.1 && !same.other_document);
        let team = planned(&before, Amend { team: Some(" b ".into()), ..nothing() });
        assert_eq!((&*team.worker.person.team, &team.worker.terms), ("b", &before.0.terms));
        let clear = vec![Clear::ValidUntil, Clear::Phone];
        let cleared = planned(&before, Amend { clear, ..nothing() });
        assert_eq!(cleared.worker.terms.valid_until, None);
        let particulars = &cleared.identity.particulars;
        assert_eq!((&particulars.phone, particulars.gender), (&None, Some(Gender::Male)));
        assert_eq!(cleared.identity.salt, before.1.salt);
        // Another form was signed on another day.
        let terms = Terms { consent: Some("C-2".into()), ..Terms::default() };
        let consent = planned(&before, Amend { terms, ..nothing() }).worker.terms;
        assert_eq!((consent.consent.as_deref(), consent.consent_on), (Some("C-2"), None));
        let erased = planned(&before, Amend { faces: AmendFaces::Erase, ..nothing() });
        assert_eq!((erased.worker.terms.consent, erased.worker.terms.consent_on), (None, None));
    }

    #[test]
    fn another_document_says_what_it_says_and_keeps_the_rest() {
        let said = Particulars {
            gender: Some(Gender::Female),
            birth_date: Some(date(1990, 3, 7)),
            ..Default::default()
        };
        let before = known(IdType::Passport, "E12345678", said.clone());
        // A renewed passport, by its number alone.
        let document = Some((None, "E99999999".into()));
        let renewed = planned(&before, Amend { document, ..nothing() });
        assert!(renewed.other_document && renewed.identity.particulars == said);
        assert_ne!(renewed.identity.salt, before.1.salt);
        // A resident number knows better.
        let document = Some((Some(IdType::Resident), ID_B.into()));
        let resident = planned(&before, Amend { document, ..nothing() }).identity.particulars;
        assert_eq!(resident.birth_date, Some(date(1988, 5, 11)));
        // But what is said now must fit it.
        let document = Some((Some(IdType::Resident), ID_A.into()));
        let wrong = Amend { document, particulars: said, ..nothing() };
        assert!(plan(&before, &wrong, None).is_err());
    }

    #[test]
    fn another_name_with_another_number_is_another_person() {
        let before = known(IdType::Resident, ID_A, Particulars::default());
        let both = |reason: Option<&str>| Amend {
            name: Some("y".into()),
            document: Some((None, ID_B.into())),
            reason: reason.map(Into::into),
            ..nothing()
        };
        assert!(plan(&before, &both(None), None).is_err());
        assert!(planned(&before, both(Some("two typing mistakes"))).other_document);
    }
}
