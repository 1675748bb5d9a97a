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
    plan(known, &update, None).map_err(|_| "refused").unwrap()
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
    assert!(plan(&before, &wrong, None).is_err());
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
    assert!(plan(&before, &both(None), None).is_err());
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
    let Err(failure) = plan(&before, &update, None) else { panic!() };
    assert_eq!(failure.code, Code::Invalid);
    let said = failure.in_words_of(|field| format!("args.{}", field.replace('-', "_")));
    let mut rest = &*said;
    for field in ["name", "team", "valid_until", "id_number", "phone"] {
        rest = rest.split_once(&format!("args.{field}: ")).unwrap_or_else(|| panic!("{said}")).1;
    }
    let fields = ["name: ", "; team: ", "; valid-until: ", "; id-number: ", "; phone: "];
    assert!(fields.iter().all(|field| failure.to_string().contains(field)), "{failure}");
}
