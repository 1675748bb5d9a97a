use super::*;
use crate::{
    roster::Person,
    services::{Code, Failure},
};
use jiff::civil::date;

fn worker() -> Worker {
    let text = || "x".to_owned();
    let id = "W001".parse().unwrap();
    let mut worker =
        Worker::new(Person { id, name: text(), team: text(), contractor: text(), trade: text() });
    (worker.terms.consent, worker.terms.consent_on) = (Some("C-1".into()), Some(date(2026, 3, 1)));
    worker
}

fn with(consents: &[&Consent]) -> Worker {
    let mut worker = worker();
    worker.consents = consents.iter().map(|consent| (*consent).clone()).collect();
    worker
}

fn given(form: &str, on: Date) -> Change {
    Change::Given { form: form.to_owned(), on }
}

fn withdrawn(on: Date) -> Change {
    Change::Withdrawn { on }
}

/// Changes a consent where the configuration has the upstream `platform`.
fn change(worker: &Worker, purpose: &str, change: Change) -> Result<Consent, Failure> {
    next(worker, &purpose.parse().unwrap(), change, false, &["platform".to_owned()])
}

fn refusal(changed: Result<Consent, Failure>) -> (Code, String) {
    let failure = changed.unwrap_err();
    (failure.code, failure.message)
}

#[test]
fn a_withdrawal_is_always_possible_and_ends_only_by_a_later_form() {
    // The consent came with the enrolment.
    let face = change(&worker(), "face", withdrawn(date(2026, 10, 31))).unwrap();
    assert_eq!((face.form.as_deref(), face.given_on), (Some("C-1"), Some(date(2026, 3, 1))));
    assert_eq!(face.withdrawn_on, Some(date(2026, 10, 31)));
    let worker = with(&[&face]);
    let repeated = refusal(change(&worker, "face", withdrawn(date(2026, 10, 31))));
    assert_eq!(repeated.0, Code::Unchanged);
    // Its date may be corrected.
    change(&worker, "face", withdrawn(date(2026, 10, 30))).unwrap();
    let early = refusal(change(&worker, "face", given("C-2", date(2026, 10, 30))));
    assert!(early.0 == Code::Invalid && early.1.contains("2026-10-31"), "{early:?}");
    let same = refusal(change(&worker, "face", given("C-1", date(2026, 11, 2))));
    assert!(same.0 == Code::Invalid && same.1.contains("a new form"), "{same:?}");
    let again = change(&worker, "face", given("C-2", date(2026, 10, 31))).unwrap();
    assert!(again.is_in_force() && again.form.as_deref() == Some("C-2"));
    let known = refusal(change(&with(&[&again]), "face", given("C-2", date(2026, 10, 31))));
    assert_eq!(known.0, Code::Unchanged);
    // The withdrawal between the forms is no longer on the roster, so an earlier form is asked about.
    let earlier = refusal(change(&with(&[&again]), "face", given("C-3", date(2026, 10, 1))));
    assert_eq!(earlier.0, Code::Unlikely);

    // A worker without a consent may object, and so may one whose form has a wrong date.
    let mut none = with(&[]);
    (none.terms.consent, none.terms.consent_on) = (None, None);
    let objected = change(&none, "face", withdrawn(date(2026, 10, 31))).unwrap();
    assert_eq!((objected.form, objected.given_on), (None, None));
    let mistyped = with(&[&Consent { given_on: Some(date(2062, 3, 1)), ..again }]);
    let doubted = refusal(change(&mistyped, "face", withdrawn(date(2026, 10, 31))));
    assert_eq!(doubted.0, Code::Unlikely);
    next(&mistyped, &Purpose::Face, withdrawn(date(2026, 10, 31)), true, &[]).unwrap();
}

#[test]
fn photos_are_for_a_configured_upstream_and_are_withdrawn_also_from_one_that_is_gone() {
    let day = date(2026, 10, 1);
    let unknown = refusal(change(&worker(), "photo:other", given("P-1", day)));
    assert_eq!(unknown.0, Code::Invalid);
    assert!(unknown.1.contains("no upstream other") && unknown.1.contains("platform"));
    let never = refusal(change(&worker(), "photo:other", withdrawn(day)));
    assert_eq!(never.0, Code::Invalid, "no consent is withdrawn: {never:?}");
    let none = next(&worker(), &"photo:a".parse().unwrap(), given("P-1", day), false, &[]);
    assert!(refusal(none).1.contains("the configuration has none"));

    let photos = change(&worker(), "photo:platform", given("P-1", day)).unwrap();
    let worker = with(&[&photos]);
    let gone = next(&worker, &photos.purpose, withdrawn(day), false, &[]).unwrap();
    assert_eq!((gone.form.as_deref(), gone.withdrawn_on), (Some("P-1"), Some(day)));
    assert!(worker.photo_may_go_to("platform", roster::Day::Today(day)));
    assert!(!with(&[&gone]).photo_may_go_to("platform", roster::Day::Today(day)));
    // The purposes are independent.
    let face = change(&worker, "face", withdrawn(date(2026, 10, 31))).unwrap();
    assert_eq!(face.form.as_deref(), Some("C-1"));
}

#[test]
fn the_day_of_a_consent_is_not_in_the_future() {
    let today = date(2026, 10, 31);
    let checked = |on, trusted, confirmed| dates::past("given", on, today, trusted, confirmed);
    checked(today, true, false).unwrap();
    let tomorrow = today.tomorrow().unwrap();
    let future = checked(tomorrow, true, true).unwrap_err();
    assert_eq!((future.code, future.field.as_deref()), (Code::Invalid, Some("given")));
    assert_eq!(checked(tomorrow, false, false).unwrap_err().code, Code::Unlikely);
    checked(tomorrow, false, true).unwrap();
    assert_eq!(checked(date(1026, 10, 31), true, true).unwrap_err().code, Code::Invalid);
}
