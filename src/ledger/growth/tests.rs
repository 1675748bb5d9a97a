//! Tests of the tree in a real database.

use rusqlite::Connection;

use super::*;
use crate::ledger::tree::{includes, is_consistent};

fn bytes(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

/// Returns a database with this number of entries. Only their bytes and leaf hashes matter here.
fn database(entries: u64) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(crate::store::SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    (0..entries).for_each(|index| add(&tx, index));
    tx.commit().unwrap();
    connection
}

fn add(tx: &Transaction<'_>, index: u64) {
    tx.prepare_cached("INSERT INTO entry VALUES (?1, NULL, 'boot', 0, NULL, NULL, NULL, ?2, ?3)")
        .unwrap()
        .execute(params![index, bytes(index), leaf_hash(&bytes(index))])
        .unwrap();
}

fn grow_all(tx: &Transaction<'_>, most: u64) -> Frontier {
    let mut size = 0;
    loop {
        let edge = grow(tx, most).unwrap();
        if edge.size() == size {
            return edge;
        }
        size = edge.size();
    }
}

#[test]
fn the_tree_in_the_database_has_the_roots_and_proofs_of_the_whole_tree() {
    let entries = 65_536 + 256 * 3 + 77;
    let mut connection = database(entries);
    let tx = connection.transaction().unwrap();
    let edge = grow_all(&tx, 5_000);
    let mut whole = Frontier::default();
    let mut roots = std::collections::BTreeMap::new();
    for index in 0..entries {
        whole.push(leaf_hash(&bytes(index)), |_, _, _| {});
        roots.insert(whole.size(), whole.root());
    }
    assert_eq!((edge.size(), edge.root()), (entries, whole.root()));
    let kept: u64 = tx.query_row("SELECT count(*) FROM subtree", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, entries / 16 + entries / 256 + entries / 4096 + entries / 65_536);
    for size in [1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537, 66_000, entries] {
        assert_eq!(root(&tx, size).unwrap(), roots[&size], "{size}");
        let mut prover = prover(&tx);
        for index in [0, size / 3, size - 1] {
            let path = prover.inclusion(index, size).unwrap();
            assert!(includes(&leaf_hash(&bytes(index)), index, size, &path, &roots[&size]));
        }
        let path = prover.consistency(size, entries).unwrap();
        assert!(is_consistent((size, &roots[&size]), (entries, &edge.root()), &path), "{size}");
    }
}

#[test]
fn a_tree_that_stopped_grows_on() {
    let mut connection = database(700);
    let tx = connection.transaction().unwrap();
    let first = grow_all(&tx, 300);
    (700..900).for_each(|index| add(&tx, index));
    let edge = grow_all(&tx, 10_000);
    assert_eq!((first.size(), edge.size()), (700, 900));
    let path = prover(&tx).consistency(700, 900).unwrap();
    assert!(is_consistent((700, &first.root()), (900, &edge.root()), &path));
}

#[test]
fn the_tree_ends_before_an_entry_that_was_altered_or_removed() {
    let mut connection = database(300);
    let tx = connection.transaction().unwrap();
    tx.execute("UPDATE entry SET bytes = x'00' WHERE idx = 280", []).unwrap();
    assert!(matches!(grow(&tx, 1_000), Err(LedgerError::Damaged { index: 280, .. })));
    tx.execute("DELETE FROM entry WHERE idx = 270", []).unwrap();
    assert!(matches!(grow(&tx, 1_000), Err(LedgerError::Missing { index: 270 })));
    assert_eq!(grow(&tx, 100).unwrap().size(), 100);
}

#[test]
fn entries_whose_retention_is_over_keep_their_place_in_the_tree() {
    let mut connection = database(600);
    let tx = connection.transaction().unwrap();
    let whole = grow_all(&tx, 1_000);
    tx.execute_batch("DELETE FROM subtree; DELETE FROM meta").unwrap();
    tx.execute("UPDATE entry SET bytes = x'' WHERE idx < 400", []).unwrap();
    assert_eq!(grow_all(&tx, 1_000), whole);
}

#[test]
fn an_edge_that_cannot_be_read_makes_the_tree_grow_from_the_first_entry() {
    let mut connection = database(20);
    let tx = connection.transaction().unwrap();
    let whole = grow_all(&tx, 100);
    for edge in [&b""[..], &[0; 7], &[0; 40], &[0xff; 41]] {
        set_meta(&tx, EDGE, edge).unwrap();
        assert_eq!(grow_all(&tx, 100), whole);
    }
}

#[test]
fn a_ledger_whose_end_was_removed_has_the_tree_of_what_is_left() {
    let mut connection = database(600);
    let tx = connection.transaction().unwrap();
    grow_all(&tx, 1_000);
    tx.execute("DELETE FROM entry WHERE idx >= 500", []).unwrap();
    let left = grow_all(&tx, 1_000);
    let mut expected = Frontier::default();
    (0..500).for_each(|index| expected.push(leaf_hash(&bytes(index)), |_, _, _| {}));
    assert_eq!(left, expected);
}
