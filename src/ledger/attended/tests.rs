use std::sync::Arc;

use super::*;
use crate::{
    clock::{Clock, Stamp, SystemClock},
    config::{Direction, Secret, Storage},
    ledger::{
        Actor, Closing, Detail, EntryRef, Evidence, Flag, Grant, Ledger, Other, Requeued, Score,
        Via, history, queue_again, waiting,
    },
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
    let latest = store.read(|tx| latest_of_each(tx, &Dates::default(), (10, 30))).await.unwrap();
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

fn person(id: &str) -> Person {
    Person {
        id: id.parse().unwrap(),
        name: "x".into(),
        team: "x".into(),
        contractor: "x".into(),
        trade: "x".into(),
    }
}

fn grant(tx: &Transaction<'_>, ledger: &Ledger, stamp: Stamp, n: u8, id: &str) -> Stored {
    let face = Evidence::of_face(Score::of(0.7), Score::of(0.5), "m");
    let grant = Grant::new(PassageId([n; 16]), "north", Direction::Entry, person(id), face);
    ledger.append(tx, stamp, grant).unwrap()
}

fn corrected(tx: &Transaction<'_>, ledger: &Ledger, stamp: Stamp) -> u64 {
    let (detail, flag) = (Detail::new("sensor_silent"), Flag::SENSOR_SUSPECT);
    ledger.correct_not_passed(tx, stamp, "north", Direction::Entry, detail, flag).unwrap()
}

#[tokio::test]
async fn a_corrected_outcome_counts_everywhere_and_either_seq_can_be_disputed() {
    let (_dir, store) = stored();
    let stamp = SystemClock::new().unwrap().stamp();
    let tested = store.write(Priority::Attendance, move |tx| {
        let ledger = Ledger::open(tx, vec!["a".to_owned()])?;
        for (n, id) in [(1, "W1"), (2, "W2")] {
            grant(tx, &ledger, stamp, n, id);
            let detail = Some(Detail::new("nothing_passed"));
            ledger.close(tx, stamp, PassageId([n; 16]), Outcome::NotPassed, detail)?;
        }
        let range = (i64::MIN, i64::MAX);
        assert_eq!(latest_of_each(tx, &Dates::default(), range)?.len(), 0);
        assert_eq!(corrected(tx, &ledger, stamp), 2);
        assert_eq!(latest_of_each(tx, &Dates::default(), range)?.len(), 2);

        // The outcomes have the seqs 1 and 2, and their corrections 3 and 4.
        let by = || Actor { uid: 0, user: "root".into(), via: Via::Socket };
        let dispute = |seq| ledger.dispute(tx, stamp, seq, "not he".into(), by());
        let (first, of_first) = dispute(1)?;
        let (second, of_second) = dispute(4)?;
        let seq = |stored: &Stored| stored.entry.seq;
        assert_eq!((seq(&first.entry), seq(&second.entry)), (Some(3), Some(4)));
        assert_eq!((first.disputed, second.disputed), (seq(&of_first), seq(&of_second)));
        for (seq, by_seq) in [(1, 5), (3, 5), (2, 6), (4, 6)] {
            let again = dispute(seq);
            assert!(
                matches!(again, Err(LedgerError::AlreadyDisputed { by_seq: by, .. }) if by == by_seq),
                "{again:?}"
            );
        }
        assert_eq!(latest_of_each(tx, &Dates::default(), range)?.len(), 0);
        let filter = AttendanceFilter { limit: 10, ..AttendanceFilter::default() };
        let listed = attendance(tx, &filter)?.rows;
        let listed: Vec<_> = listed.iter().map(|a| (seq(&a.entry), a.disputed)).collect();
        assert_eq!(listed, [(Some(3), Some(5)), (Some(4), Some(6))]);
        // A history names the seq that the list shows.
        let told = history(tx, &"W1".parse().unwrap(), 10)?;
        assert_eq!(told.iter().map(|(_, of)| *of).collect::<Vec<_>>(), [Some(3)]);
        // A correction is sent again only with its grant.
        tx.execute("UPDATE entry SET bytes = x'00' WHERE idx = 0", [])?;
        let again = queue_again(tx, "a", 1, 4)?;
        assert_eq!(again, Requeued { rows: 2, gone: vec![1, 3] });
        let unread = attendance(tx, &filter)?;
        assert_eq!((unread.rows.len(), unread.unread), (1, 1));
        Ok::<_, LedgerError>(())
    });
    tested.await.unwrap();
}

#[tokio::test]
async fn an_outcome_of_a_later_version_is_listed_and_sent_with_its_grant() {
    let (_dir, store) = stored();
    let stamp = SystemClock::new().unwrap().stamp();
    let tested = store.write(Priority::Attendance, move |tx| {
        let ledger = Ledger::open(tx, vec!["a".to_owned()])?;
        let cause = grant(tx, &ledger, stamp, 1, "W1");
        let known = Closing {
            passage: PassageId([1; 16]),
            cause: EntryRef { index: 0, hash: cause.leaf },
            outcome: Outcome::Passed,
            detail: None,
            flags: Vec::new(),
        };
        let mut data = Body::from(known).fields().unwrap();
        for (_, value) in data.as_map_mut().unwrap() {
            if value.as_text() == Some("passed") {
                *value = "carried".into();
            }
        }
        ledger.append(tx, stamp, Body::Other(Other { kind: "outcome".into(), data }))?;
        tx.execute(
            "UPDATE entry SET kind = 'outcome', cause = 0, worker = 'W1' WHERE idx = 1",
            [],
        )?;
        let filter = AttendanceFilter { limit: 10, ..AttendanceFilter::default() };
        let listed = attendance(tx, &filter)?;
        assert_eq!((listed.rows.len(), listed.unread), (1, 0));
        let said = listed.rows[0].entry.entry.body.said().unwrap();
        assert_eq!(said.outcome, Word::Later("carried".to_owned()));
        assert_eq!((said.passage, said.corrects_seq), (PassageId([1; 16]), None));
        assert_eq!(latest_of_each(tx, &Dates::default(), (i64::MIN, i64::MAX))?.len(), 1);
        let sent = waiting(tx, "a", 0, u64::MAX, 10, |_, cause| cause.map(|c| c.entry.index))?;
        assert_eq!(sent.rows, [Some(0)]);
        Ok::<_, LedgerError>(())
    });
    tested.await.unwrap();
}
