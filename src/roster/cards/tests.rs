use super::super::{IdType, TokenKind, id_card_lookup};
use super::*;
use crate::{
    config::Secret,
    roster::{
        Enrolment, Identity, carry_over::tests::enrolment, enroll, load, load_one, remove, reseal,
    },
    store::SCHEMA,
};

struct Site {
    connection: rusqlite::Connection,
    sealer: Sealer,
    dir: tempfile::TempDir,
}

fn site() -> Site {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::load(&Secret::File(dir.path().join("key")), true).unwrap();
    let tx = connection.transaction().unwrap();
    (0..3).for_each(|n| enroll(&tx, &sealer, &enrolment(n)).unwrap());
    tx.commit().unwrap();
    Site { connection, sealer, dir }
}

fn number(text: &str) -> CardNumber {
    CardNumber::typed(text).unwrap().0
}

impl Site {
    fn change(&mut self, n: usize, card: &str, change: CardChange) -> Result<(), RosterError> {
        let tx = self.connection.transaction().unwrap();
        let id = format!("W00{n}").parse().unwrap();
        change_card(&tx, &self.sealer, &id, number(card), change)?;
        tx.commit().unwrap();
        Ok(())
    }

    /// Returns the worker of a card, and whether the card is lost, as the gate finds them.
    fn holder(&mut self, card: &str) -> Option<(String, bool)> {
        let tx = self.connection.transaction().unwrap();
        let roster = load(&tx, &self.sealer, "m").unwrap();
        let (worker, kind) = roster.holder(&card_lookup(&self.sealer, number(card)))?;
        Some((worker.person.id.to_string(), kind == TokenKind::LostCard))
    }
}

fn held(n: usize, lost: bool) -> Option<(String, bool)> {
    Some((format!("W00{n}"), lost))
}

#[test]
fn a_card_is_found_in_each_spelling_until_it_is_taken_back() {
    let mut site = site();
    site.change(1, "010,06956", CardChange::Added).unwrap();
    for spelling in ["0000662316", "0A1B2C", "10,6956"] {
        assert_eq!(site.holder(spelling), held(1, false), "{spelling}");
    }
    site.change(1, "0A1B2C", CardChange::Lost).unwrap();
    assert_eq!(site.holder("662316"), held(1, true));
    site.change(1, "662316", CardChange::Added).unwrap();
    assert_eq!(site.holder("662316"), held(1, false), "it was found again");
    site.change(1, "662316", CardChange::Removed).unwrap();
    assert_eq!(site.holder("662316"), None);
}

#[test]
fn a_card_is_one_workers_and_a_worker_has_three() {
    let mut site = site();
    site.change(1, "1001", CardChange::Added).unwrap();
    let other = site.change(2, "1001", CardChange::Added).unwrap_err().to_string();
    assert!(other.contains("W001") && other.contains("--remove"), "{other}");
    let refused = |site: &mut Site, n, card, change| site.change(n, card, change).unwrap_err();
    let again = refused(&mut site, 1, "1001", CardChange::Added);
    assert!(matches!(again, RosterError::CardUnchanged { .. }), "{again}");
    for change in [CardChange::Removed, CardChange::Lost] {
        let error = refused(&mut site, 2, "1001", change);
        assert!(matches!(error, RosterError::NoSuchCard(_)), "{error}");
    }
    site.change(1, "1002", CardChange::Added).unwrap();
    site.change(1, "1003", CardChange::Added).unwrap();
    let full = refused(&mut site, 1, "1004", CardChange::Added);
    assert!(matches!(full, RosterError::TooManyCards { most: CARDS_MAX, .. }), "{full}");
    // A lost card makes room for its successor, and cannot be given to another worker.
    site.change(1, "1001", CardChange::Lost).unwrap();
    site.change(1, "1004", CardChange::Added).unwrap();
    let lost = refused(&mut site, 2, "1001", CardChange::Added).to_string();
    assert!(lost.contains("who lost it"), "{lost}");
    let tx = site.connection.transaction().unwrap();
    let shown = cards(&tx, &site.sealer, &"W001".parse().unwrap()).unwrap();
    let shown: Vec<_> = shown.into_iter().map(OwnCard::in_full).collect();
    let mut seen: Vec<_> = shown.iter().map(|card| (&card.number[..10], card.lost)).collect();
    seen.sort();
    let of = |n: u32, lost| (format!("000000{n}"), lost);
    let wanted = [of(1001, true), of(1002, false), of(1003, false), of(1004, false)];
    assert_eq!(seen, wanted.each_ref().map(|(number, lost)| (&number[..], *lost)));
}

#[test]
fn lost_cards_are_bounded() {
    let mut site = site();
    for n in 0..LOST_MAX {
        site.change(1, &format!("{}", 2000 + n), CardChange::Added).unwrap();
        site.change(1, &format!("{}", 2000 + n), CardChange::Lost).unwrap();
    }
    site.change(1, "3000", CardChange::Added).unwrap();
    let error = site.change(1, "3000", CardChange::Lost).unwrap_err();
    assert!(matches!(error, RosterError::TooManyCards { most: LOST_MAX, .. }), "{error}");
}

#[test]
fn i7_a_removed_workers_card_is_gone_and_can_be_given_to_another() {
    let mut site = site();
    site.change(1, "1001", CardChange::Added).unwrap();
    site.change(1, "1002", CardChange::Added).unwrap();
    site.change(1, "1002", CardChange::Lost).unwrap();
    let tx = site.connection.transaction().unwrap();
    remove(&tx, &"W001".parse().unwrap()).unwrap();
    assert!(load_one(&tx, &site.sealer, "m", &"W001".parse().unwrap()).unwrap().is_none());
    tx.commit().unwrap();
    assert_eq!((site.holder("1001"), site.holder("1002")), (None, None));
    site.change(2, "1001", CardChange::Added).unwrap();
    let gone = site.change(1, "1005", CardChange::Added).unwrap_err();
    assert!(matches!(gone, RosterError::Removed(_)), "{gone}");
}

#[test]
fn an_identity_card_opens_for_the_worker_whose_number_it_holds() {
    let mut site = site();
    let number = "110101199003070011";
    let tx = site.connection.transaction().unwrap();
    let resident = Identity::checked(IdType::Resident, number, Default::default(), None).unwrap();
    let worker = Enrolment { identity: resident, ..enrolment(7) };
    enroll(&tx, &site.sealer, &worker).unwrap();
    let roster = load(&tx, &site.sealer, "m").unwrap();
    let (worker, kind) = roster.holder(&id_card_lookup(&site.sealer, number)).unwrap();
    assert_eq!((worker.person.id.as_str(), kind), ("W007", TokenKind::IdCard));
    assert_eq!(roster.holder(&id_card_lookup(&site.sealer, "110101199003070038")).map(drop), None);
}

#[test]
fn i5_no_number_is_in_the_database_and_a_new_key_finds_each_card() {
    let mut site = site();
    site.change(1, "0000662316", CardChange::Added).unwrap();
    site.change(2, "1002", CardChange::Added).unwrap();
    site.change(2, "1002", CardChange::Lost).unwrap();
    let fresh = Sealer::load(&Secret::File(site.dir.path().join("fresh")), true).unwrap();
    let tx = site.connection.transaction().unwrap();
    let sealed: Vec<u8> =
        tx.query_row("SELECT sealed FROM card LIMIT 1", [], |row| row.get(0)).unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("A1B2C"));
    assert_eq!(reseal(&tx, &site.sealer, &fresh).unwrap().damaged, 0);
    tx.commit().unwrap();
    site.sealer = fresh;
    assert_eq!(site.holder("0A1B2C"), held(1, false));
    assert_eq!(site.holder("1002"), held(2, true));
}

#[test]
fn a_damaged_card_costs_no_worker_and_no_other_card() {
    let mut site = site();
    site.change(1, "1001", CardChange::Added).unwrap();
    let tx = site.connection.transaction().unwrap();
    tx.execute("INSERT INTO card VALUES (x'00', 'W001', x'00', 0)", []).unwrap();
    tx.commit().unwrap();
    assert_eq!(site.holder("1001"), held(1, false));
    let mut fresh = rusqlite::Connection::open_in_memory().unwrap();
    fresh.execute_batch(SCHEMA).unwrap();
    site.connection.execute("PRAGMA ignore_check_constraints = ON", []).ok();
    site.connection.execute("UPDATE card SET lost = 7 WHERE lookup = x'00'", []).ok();
    let tx = fresh.transaction().unwrap();
    let done = crate::roster::carry_over(&tx, &site.sealer, &site.connection).unwrap();
    assert_eq!((done.workers, done.lost), (3, 0));
    tx.commit().unwrap();
    site.connection = fresh;
    assert_eq!(site.holder("1001"), held(1, false));
}
