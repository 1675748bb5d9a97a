use std::sync::Arc;

use super::*;
use crate::{
    clock::{Clock, Stamp, SystemClock},
    config::{Direction, Secret, Storage},
    ledger::{Actor, Evidence, Grant, Ledger, Score, Via},
    roster::Person,
    store::{Priority, Store, open},
    turnstile::PassageId,
};

fn stored() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let key = Secret::File(dir.path().join("key"));
    let storage = Storage::usual(dir.path().join("data"), key);
    let (store, _thread) = open(&storage, clock).unwrap();
    (dir, store)
}

#[tokio::test]
async fn no_attendance_query_reads_the_whole_ledger() {
    let (_dir, store) = stored();
    let plan = |sql: String, values: usize| {
        store.read(move |tx| {
            let mut statement = tx.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let values = rusqlite::params_from_iter(vec![None::<i64>; values]);
            let steps = statement.query_map(values, |row| row.get::<_, String>(3))?;
            Ok::<_, LedgerError>(steps.collect::<Result<Vec<_>, _>>()?)
        })
    };
    let joined = [
        "SEARCH o USING COVERING INDEX entry_cause (cause=? AND kind=?) LEFT-JOIN",
        "SEARCH d USING INDEX entry_cause (cause=? AND kind=?) LEFT-JOIN",
        "CORRELATED SCALAR SUBQUERY 1",
        "SEARCH entry USING COVERING INDEX entry_cause (cause=? AND kind=?)",
    ];
    let expected = |first: &'static str| [&[first], &joined[..]].concat();
    let by_time = "SEARCH c USING COVERING INDEX entry_attended (at_ms>? AND at_ms<?)";
    let by_worker = "SEARCH c USING INDEX entry_worker (worker=? AND at_ms>? AND at_ms<?)";
    // Each page begins where the last page ended, and no plan sorts.
    assert_eq!(plan(page(false), 7).await.unwrap(), expected(by_time));
    assert_eq!(plan(page(true), 7).await.unwrap(), expected(by_worker));
    assert_eq!(plan(latest(), 2).await.unwrap(), expected(by_time));
    let lanes = plan(LANES.to_owned(), 0).await.unwrap();
    assert!(lanes[0].starts_with("SCAN entry USING COVERING INDEX entry_attended"), "{lanes:#?}");
}

#[tokio::test]
async fn the_latest_attendance_of_each_worker_is_the_latest_that_counts() {
    let (_dir, store) = stored();
    let person = |id: &str| Person {
        id: id.parse().unwrap(),
        name: "x".into(),
        team: "x".into(),
        contractor: "x".into(),
        trade: "x".into(),
    };
    let base = SystemClock::new().unwrap().stamp();
    let passages = [
        ("W1", 10, Direction::Entry, Outcome::Passed),
        ("W1", 20, Direction::Exit, Outcome::NotPassed),
        ("W2", 11, Direction::Entry, Outcome::Passed),
        ("W2", 21, Direction::Exit, Outcome::Unconfirmed),
        ("W3", 12, Direction::Entry, Outcome::Passed),
        ("W3", 22, Direction::Exit, Outcome::Passed),
        ("W4", 13, Direction::Entry, Outcome::NotPassed),
        ("W5", 5, Direction::Entry, Outcome::Passed),
        ("W6", 30, Direction::Entry, Outcome::Passed),
    ];
    let written = store.write(Priority::Attendance, move |tx| {
        let ledger = Ledger::open(tx, vec![])?;
        for (n, (id, at, direction, outcome)) in (0u128..).zip(passages) {
            let (passage, stamp) = (PassageId(n.to_be_bytes()), Stamp { wall_ms: at, ..base });
            let face = Evidence::of_face(Score::of(0.7), Score::of(0.5), "m");
            let grant = Grant::new(passage, "north", direction, person(id), face);
            ledger.append(tx, stamp, grant)?;
            let outcome = ledger.close(tx, stamp, passage, outcome, None)?;
            if (id, at) == ("W3", 22) {
                let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
                let seq = outcome.entry.seq.unwrap();
                ledger.dispute(tx, stamp, seq, "not he".into(), by)?;
            }
        }
        Ok::<_, LedgerError>(())
    });
    written.await.unwrap();
    let latest = store.read(|tx| latest_of_each(tx, (10, 30))).await.unwrap();
    let cause = |attended: &Attended| attended.cause.clone().unwrap().entry;
    let mut latest: Vec<_> = latest
        .iter()
        .map(|a| (cause(a).body.worker().unwrap().to_string(), cause(a).stamp.wall_ms))
        .collect();
    latest.sort();
    let expected = [("W1", 10), ("W2", 21), ("W3", 12)].map(|(id, at)| (id.to_owned(), at));
    assert_eq!(latest, expected);
    let lanes = store.read(attended_lanes).await.unwrap();
    assert_eq!(lanes, ["north"]);
}
