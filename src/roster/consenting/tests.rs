use std::sync::Arc;

use super::*;
use crate::{
    config::Secret,
    roster::{Worker, carry_over, carry_over::tests::enrolment, enroll, identity, load, remove},
    store::SCHEMA,
};
use jiff::civil::date;
use rusqlite::Connection;

fn database() -> (Connection, Sealer, tempfile::TempDir) {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::load(&Secret::File(dir.path().join("key")), true).unwrap();
    (connection, sealer, dir)
}

fn id(n: usize) -> WorkerId {
    format!("W{n:03}").parse().unwrap()
}

fn shown(tx: &Transaction<'_>, sealer: &Sealer, n: usize) -> Worker {
    identity(tx, sealer, &id(n)).unwrap().0
}

fn face() -> Consent {
    let (form, given_on) = (Some("C".to_owned()), None);
    Consent { purpose: Purpose::Face, form, given_on, withdrawn_on: None }
}

#[test]
fn i7_a_withdrawn_consent_to_the_face_erases_it_and_keeps_the_worker() {
    let (mut connection, sealer, _dir) = database();
    let tx = connection.transaction().unwrap();
    (0..2).for_each(|n| enroll(&tx, &sealer, &enrolment(n)).unwrap());
    let erased = withdraw(&tx, &id(0), &face(), date(2026, 10, 31)).unwrap();
    assert_eq!(erased, Some(Erased { templates: 1, photos: 1 }));
    let worker = shown(&tx, &sealer, 0);
    assert_eq!((worker.templates, &worker.terms.consent), (0, &None));
    let withdrawn = Consent { withdrawn_on: Some(date(2026, 10, 31)), ..face() };
    assert_eq!(worker.consents, [withdrawn]);
    let roster = load(&tx, &sealer, "m").unwrap();
    assert_eq!((roster.workers().len(), roster.templates()), (2, 1));
    assert_eq!(shown(&tx, &sealer, 1).consents, []);

    give(&tx, &id(0), &Purpose::Face, "C-2", date(2026, 11, 2)).unwrap();
    let worker = shown(&tx, &sealer, 0);
    assert_eq!(worker.terms.consent.as_deref(), Some("C-2"));
    assert_eq!(worker.terms.consent_on, Some(date(2026, 11, 2)));
    assert!(worker.consent(&Purpose::Face).unwrap().is_in_force());

    let photo = Purpose::Photo("platform".to_owned());
    give(&tx, &id(0), &photo, "P-1", date(2026, 11, 2)).unwrap();
    let given = shown(&tx, &sealer, 0);
    assert_eq!(given.terms, worker.terms);
    let of_photos = given.consent(&photo).unwrap();
    assert_eq!(withdraw(&tx, &id(0), of_photos, date(2026, 11, 3)).unwrap(), None);
    assert!(!shown(&tx, &sealer, 0).consent(&photo).unwrap().is_in_force());
    assert!(matches!(
        give(&tx, &id(7), &photo, "P", date(2026, 11, 2)),
        Err(RosterError::NoSuchWorker(_))
    ));
    remove(&tx, &id(0)).unwrap();
    let late = withdraw(&tx, &id(0), &face(), date(2026, 11, 4));
    assert!(matches!(late, Err(RosterError::Removed(_))));
}

#[test]
fn a_withdrawal_holds_for_the_person_under_another_id_until_a_new_consent() {
    let (mut connection, sealer, _dir) = database();
    let tx = connection.transaction().unwrap();
    let person = enrolment(0);
    enroll(&tx, &sealer, &person).unwrap();
    withdraw(&tx, &id(0), &face(), date(2026, 10, 31)).unwrap();
    remove(&tx, &id(0)).unwrap();
    assert_eq!(withdrawn_by(&tx, &sealer, &enrolment(1).identity).unwrap(), None);
    let withdrawn = withdrawn_by(&tx, &sealer, &person.identity).unwrap().unwrap();
    assert_eq!(withdrawn.withdrawn_on, Some(date(2026, 10, 31)));

    let mut again = enrolment(2);
    (again.identity, again.faces) = (person.identity.clone(), Vec::new());
    again.worker.terms.consent = None;
    enroll(&tx, &sealer, &again).unwrap();
    keep_withdrawal(&tx, &id(2), &withdrawn).unwrap();
    assert_eq!(shown(&tx, &sealer, 2).consents, [withdrawn]);
    give(&tx, &id(2), &Purpose::Face, "C-2", date(2026, 11, 2)).unwrap();
    assert_eq!(withdrawn_by(&tx, &sealer, &person.identity).unwrap(), None);
    assert!(shown(&tx, &sealer, 2).consent(&Purpose::Face).unwrap().is_in_force());
}

#[test]
fn consents_are_carried_over_to_the_database_that_takes_a_damaged_ones_place() {
    let (mut old, sealer, _dir) = database();
    let tx = old.transaction().unwrap();
    (0..2).for_each(|n| enroll(&tx, &sealer, &enrolment(n)).unwrap());
    withdraw(&tx, &id(0), &face(), date(2026, 10, 31)).unwrap();
    give(&tx, &id(1), &Purpose::Photo("p".to_owned()), "P-1", date(2026, 10, 1)).unwrap();
    let before = [0, 1].map(|n| shown(&tx, &sealer, n));
    tx.commit().unwrap();
    let carried = |old: &Connection| {
        let mut new = Connection::open_in_memory().unwrap();
        new.execute_batch(SCHEMA).unwrap();
        let tx = new.transaction().unwrap();
        let done = carry_over(&tx, &sealer, old).unwrap();
        let roster = load(&tx, &sealer, "m").unwrap();
        // Only a snapshot has tokens.
        let plain = |w: &Arc<Worker>| Worker { tokens: Vec::new(), ..Worker::clone(w) };
        (done, roster.workers().iter().map(plain).collect::<Vec<_>>())
    };
    let (done, after) = carried(&old);
    assert_eq!((done.workers, done.lost), (2, 0));
    assert_eq!(after, before);
    // A schema without consents: all workers come over.
    old.execute_batch("DROP TABLE consent").unwrap();
    let (done, after) = carried(&old);
    assert_eq!((done.workers, done.lost, after.len()), (2, 0, 2));
}
