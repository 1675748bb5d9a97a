use super::*;
use crate::roster::{Day, Person, State, Worker};
use jiff::civil::date;

#[test]
fn a_purpose_is_the_face_or_the_photos_for_one_upstream() {
    for text in ["face", "photo:platform", "photo:a-B_9"] {
        assert_eq!(text.parse::<Purpose>().unwrap().to_string(), text);
    }
    let long = format!("photo:{}", "x".repeat(65));
    for text in ["", "Face", "photo", "photo:", "photo:a b", "photo:平台", &long] {
        assert!(text.parse::<Purpose>().is_err(), "{text}");
    }
}

/// Returns a worker with a consent to photos for the upstream `platform`.
fn worker() -> Worker {
    let text = || "x".to_owned();
    let id = "W001".parse().unwrap();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    let consent = Consent {
        purpose: Purpose::Photo("platform".to_owned()),
        form: Some("P-1".to_owned()),
        given_on: Some(date(2026, 10, 1)),
        withdrawn_on: None,
    };
    Worker { consents: vec![consent], ..Worker::new(person) }
}

#[test]
fn a_photo_goes_only_to_the_upstream_that_the_worker_agreed_to_from_that_day_on() {
    let may = |worker: &Worker, day| worker.photo_may_go_to("platform", day);
    let on = |month, day| Day::Today(date(2026, month, day));
    let given = worker();
    assert!(may(&given, on(10, 1)) && may(&given, on(12, 31)) && !may(&given, on(9, 30)));
    assert!(!given.photo_may_go_to("other", on(12, 31)));
    // While the clock is not trusted, the last trusted day decides.
    assert!(may(&given, Day::NotBefore(Some(date(2026, 10, 1)))));
    assert!(!may(&given, Day::NotBefore(Some(date(2026, 9, 30)))));
    assert!(!may(&given, Day::NotBefore(None)));

    let mut none = worker();
    none.consents.clear();
    // A consent to the face is none to photos that leave the gateway.
    none.terms.consent = Some("C-1".to_owned());
    assert!(!may(&none, on(12, 31)));
    let mut withdrawn = worker();
    withdrawn.consents[0].withdrawn_on = Some(date(2026, 11, 1));
    assert!(!may(&withdrawn, on(10, 15)), "a withdrawal counts at once, for older photos too");
    let mut removed = worker();
    removed.state = State::Removed;
    assert!(!may(&removed, on(12, 31)));

    let mut faceless = worker();
    let face = Consent { purpose: Purpose::Face, ..faceless.consents[0].clone() };
    faceless.consents.insert(0, face);
    assert!(may(&faceless, on(12, 31)));
    faceless.consents[0].withdrawn_on = Some(date(2026, 11, 1));
    assert!(!may(&faceless, on(12, 31)));
}
