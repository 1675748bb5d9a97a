//! Tests of what an audit finds, in a database that its owner alters.

use rusqlite::Connection;

use super::*;
use crate::{
    clock::{BootId, Stamp},
    config::Direction,
    ledger::{Boot, Dispute, EntryRef, Grant, Ledger, Outcome, Via, growth, words::Actor},
    roster::Person,
    store::{SCHEMA, set_meta},
    turnstile::PassageId,
};

fn stamp(second: i64) -> Stamp {
    let wall_ms = 1_793_577_600_000 + second * 1000;
    Stamp { wall_ms, synced: true, boot: BootId([3; 16]), uptime_ms: 60_000 }
}

/// Returns a ledger of two passages of one worker and a dispute: a boot (0), a grant and its
/// outcome (1, 2), a grant and its outcome (3, 4), a dispute of the first (5).
fn ledger() -> (Connection, Ledger) {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    set_meta(&tx, "ledger", &[7; 16]).unwrap();
    let ledger = Ledger::open(&tx, Vec::new()).unwrap();
    ledger.append(&tx, stamp(0), Boot { version: "1".into() }).unwrap();
    let mut first = None;
    for n in [1, 2] {
        let passage = PassageId([n; 16]);
        let person = Person {
            id: "W001".parse().unwrap(),
            name: "刘峰".into(),
            team: "t".into(),
            contractor: "c".into(),
            trade: "s".into(),
        };
        let grant = Grant {
            passage,
            lane: "north".into(),
            direction: Direction::Entry,
            person,
            evidence: Vec::new(),
            flags: Vec::new(),
            roster: 1,
            photo: None,
        };
        let at = i64::from(n) * 10;
        ledger.append(&tx, stamp(at), grant).unwrap();
        let closed = ledger.close(&tx, stamp(at + 1), passage, Outcome::Passed, None).unwrap();
        first.get_or_insert(EntryRef { index: closed.entry.index, hash: closed.leaf });
    }
    let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
    let (disputes, reason) = (first.unwrap(), "another man".to_owned());
    ledger.append(&tx, stamp(60), Dispute { disputes, reason, by }).unwrap();
    tx.commit().unwrap();
    (connection, ledger)
}

/// Audits in pages of two entries.
fn audit(connection: &mut Connection, wanted: Vec<(u64, Hash)>) -> (Vec<(u64, Fault)>, Vec<u64>) {
    let tx = connection.transaction().unwrap();
    let (mut audit, mut found) = (Audit::new(LedgerId([7; 16]), wanted), Vec::new());
    loop {
        let (page, more) = audit.page(&tx, 2).unwrap();
        found.extend(page.into_iter().map(|finding| (finding.index, finding.fault)));
        if !more {
            return (found, audit.other_roots);
        }
    }
}

fn altered(sql: &str) -> Vec<(u64, Fault)> {
    let (mut connection, _) = ledger();
    connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
    audit(&mut connection, Vec::new()).0
}

#[test]
fn a_sound_ledger_has_no_finding_and_the_roots_of_its_heads() {
    let (mut connection, _) = ledger();
    let tx = connection.transaction().unwrap();
    let edge = growth::grow(&tx, 100).unwrap();
    let middle = growth::root(&tx, 3).unwrap();
    tx.commit().unwrap();
    let heads = vec![(3, middle), (edge.size(), edge.root())];
    assert_eq!(audit(&mut connection, heads), (Vec::new(), Vec::new()));
}

#[test]
fn columns_that_differ_from_the_bytes_are_found() {
    for sql in [
        "UPDATE entry SET at_ms = at_ms + 86400000 WHERE idx = 1",
        "UPDATE entry SET lane = 'south' WHERE idx = 1",
        "UPDATE entry SET kind = 'denial' WHERE idx = 1",
        "UPDATE entry SET worker = 'W002' WHERE idx = 1",
        "UPDATE entry SET worker = NULL WHERE idx = 1",
        "UPDATE entry SET cause = NULL WHERE idx = 2",
    ] {
        let found = altered(sql);
        let index = if sql.ends_with('2') { 2 } else { 1 };
        assert_eq!(found.first(), Some(&(index, Fault::Columns)), "{sql}: {found:?}");
    }
}

#[test]
fn a_removed_an_altered_and_a_rewritten_entry_are_found() {
    assert_eq!(altered("DELETE FROM entry WHERE idx = 3")[0], (3, Fault::Missing));
    assert_eq!(altered("UPDATE entry SET bytes = x'00' WHERE idx = 3")[0], (3, Fault::Bytes));
    let (mut connection, _) = ledger();
    let tx = connection.transaction().unwrap();
    let mut grant = crate::ledger::read(&tx, 1).unwrap().entry;
    grant.stamp.wall_ms -= 3 * 3600 * 1000;
    let bytes = grant.encode().unwrap();
    let sql = "UPDATE entry SET bytes = ?1, leaf = ?2, at_ms = ?3 WHERE idx = 1";
    tx.execute(sql, params![bytes, leaf_hash(&bytes), grant.stamp.wall_ms]).unwrap();
    tx.commit().unwrap();
    assert_eq!(audit(&mut connection, Vec::new()).0, [(2, Fault::Cause)]);
}

#[test]
fn a_removed_end_and_another_tree_than_a_signed_one_are_found() {
    let (mut connection, ledger) = ledger();
    let tx = connection.transaction().unwrap();
    let edge = growth::grow(&tx, 100).unwrap();
    tx.commit().unwrap();
    let heads = vec![(edge.size(), edge.root())];
    connection.execute_batch("DELETE FROM entry WHERE idx >= 5").unwrap();
    assert_eq!(audit(&mut connection, heads.clone()), (Vec::new(), vec![6]));
    let tx = connection.transaction().unwrap();
    ledger.append(&tx, stamp(70), Boot { version: "2".into() }).unwrap();
    tx.commit().unwrap();
    assert_eq!(audit(&mut connection, heads), (Vec::new(), vec![6]));
}
