use super::*;
use crate::{roster::Gender, services::Code};
use jiff::civil::date;

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";

fn known(id_type: IdType, number: &str, particulars: Particulars) -> Registered {
    let text = || "x".to_owned();
    let id = "W001".parse().unwrap();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    let mut worker = Worker::new(person);
    worker.terms.valid_until = Some(date(2026, 12, 31));
    worker.terms.consent = Some("C-1".into());
    worker.terms.consent_on = Some(date(2026, 3, 1));
    (worker, Identity::checked(id_type, number, particulars, None).unwrap())
}

fn nothing() -> Update {
    Update::nothing("W001".parse().unwrap())
}

fn planned(known: &Registered, update: Update) -> Planned {
    plan(known, &update, None, Asked::Alone).map_err(|_| "refused").unwrap()
}

#[test]
fn a_field_that_is_not_given_stays_and_a_cleared_field_is_removed() {
    let phone = || Particulars { phone: Some("13800138000".into()), ..Default::default() };
    let before = known(IdType::Resident, ID_A, phone());
    let same = planned(&before, nothing());
    assert!(same.worker == before.0 && same.identity == before.1 && !same.other_document);
    let team = planned(&before, Update { team: Some(" b ".into()), ..nothing() });
    assert_eq!((&*team.worker.person.team, &team.worker.terms), ("b", &before.0.terms));
    let clear = vec![Clear::ValidUntil, Clear::Phone];
    let cleared = planned(&before, Update { clear, ..nothing() });
    assert_eq!(cleared.worker.terms.valid_until, None);
    let particulars = &cleared.identity.particulars;
    assert_eq!((&particulars.phone, particulars.gender), (&None, Some(Gender::Male)));
    assert_eq!(cleared.identity.salt, before.1.salt);
    // The date of the old form does not apply to another form.
    let terms = Terms { consent: Some("C-2".into()), ..Terms::default() };
    let consent = planned(&before, Update { terms, ..nothing() }).worker.terms;
    assert_eq!((consent.consent.as_deref(), consent.consent_on), (Some("C-2"), None));
    let erased = planned(&before, Update { faces: UpdateFaces::Erase, ..nothing() });
    assert_eq!((erased.worker.terms.consent, erased.worker.terms.consent_on), (None, None));
}

#[test]
fn a_consent_that_was_recorded_by_itself_changes_in_no_other_way() {
    use crate::roster::Consent;
    let with = |withdrawn_on| {
        let (mut worker, identity) = known(IdType::Resident, ID_A, Particulars::default());
        let Terms { consent: form, consent_on: given_on, .. } = worker.terms.clone();
        worker.consents = vec![Consent { purpose: Purpose::Face, form, given_on, withdrawn_on }];
        if withdrawn_on.is_some() {
            (worker.terms.consent, worker.terms.consent_on) = (None, None);
        }
        (worker, identity)
    };
    let papers = |form: &str| Terms { consent: Some(form.into()), ..Terms::default() };
    let photos = Update { faces: UpdateFaces::Add, ..nothing() };
    let team = Update { team: Some("b".into()), ..nothing() };
    let refused = |known: &Registered, update: &Update, asked| {
        plan(known, update, None, asked).err().map(|failure| failure.code)
    };
    let (given, withdrawn) = (with(None), with(Some(date(2026, 10, 31))));
    for asked in [Asked::Alone, Asked::Import, Asked::Platform { trusted: true }] {
        for (form, code) in [("C-1", None), ("C-2", Some(Code::Duplicate))] {
            let update = Update { terms: papers(form), ..nothing() };
            assert_eq!(refused(&given, &update, asked), code, "{form}");
            let code = Some(Code::ConsentWithdrawn);
            assert_eq!(refused(&withdrawn, &update, asked), code, "{form}");
        }
        assert_eq!(refused(&given, &photos, asked), None);
        assert_eq!(refused(&withdrawn, &photos, asked), Some(Code::ConsentWithdrawn));
        assert_eq!(refused(&withdrawn, &team, asked), None);
    }
    // Photos that show another person are erased, and the consent stays.
    let erased = planned(&given, Update { faces: UpdateFaces::Erase, ..nothing() });
    assert_eq!(erased.worker.terms, given.0.terms);
}

#[test]
fn another_document_changes_its_own_data_and_keeps_the_rest() {
    let said = Particulars {
        gender: Some(Gender::Female),
        birth_date: Some(date(1990, 3, 7)),
        ..Default::default()
    };
    let before = known(IdType::Passport, "E12345678", said.clone());
    // A renewed passport, by its number alone.
    let id_number = Some("E99999999".into());
    let renewed = planned(&before, Update { id_number, ..nothing() });
    assert!(renewed.other_document && renewed.identity.particulars == said);
    assert_ne!(renewed.identity.salt, before.1.salt);
    // A resident number contains the birth date and the gender.
    let of_a_resident = |number: &str| Update {
        id_number: Some(number.into()),
        id_type: Some(IdType::Resident),
        ..nothing()
    };
    let resident = planned(&before, of_a_resident(ID_B)).identity.particulars;
    assert_eq!(resident.birth_date, Some(date(1988, 5, 11)));
    // Particulars that are given now must agree with it.
    let wrong = Update { particulars: said, ..of_a_resident(ID_A) };
    assert!(plan(&before, &wrong, None, Asked::Alone).is_err());
}

#[test]
fn another_name_with_another_number_is_another_person() {
    let before = known(IdType::Resident, ID_A, Particulars::default());
    let both = |reason: Option<&str>| Update {
        name: Some("y".into()),
        id_number: Some(ID_B.into()),
        reason: reason.map(Into::into),
        ..nothing()
    };
    assert!(plan(&before, &both(None), None, Asked::Alone).is_err());
    assert!(planned(&before, both(Some("two typing mistakes"))).other_document);
}

#[test]
fn all_faults_of_a_request_are_reported_at_once_with_the_fields_of_the_client() {
    let before = known(IdType::Resident, ID_A, Particulars::default());
    let mut update = Update { name: Some(" ".into()), team: Some(String::new()), ..nothing() };
    update.id_number = Some("1".into());
    update.particulars.phone = Some("12".into());
    update.terms.valid_until = Some(date(2020, 1, 1));
    update.terms.valid_from = Some(date(2021, 1, 1));
    let Err(failure) = plan(&before, &update, None, Asked::Alone) else { panic!() };
    assert_eq!(failure.code, Code::Invalid);
    let said = failure.in_words_of(|field| format!("args.{}", field.replace('-', "_")));
    let mut rest = &*said;
    for field in ["name", "team", "valid_until", "id_number", "phone"] {
        rest = rest.split_once(&format!("args.{field}: ")).unwrap_or_else(|| panic!("{said}")).1;
    }
    let fields = ["name: ", "; team: ", "; valid-until: ", "; id-number: ", "; phone: "];
    assert!(fields.iter().all(|field| failure.to_string().contains(field)), "{failure}");
}
