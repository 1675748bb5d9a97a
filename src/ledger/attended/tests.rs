use std::sync::Arc;

use super::*;
use crate::{
    clock::{Clock, Stamp, SystemClock},
    config::{Direction, Secret, Storage},
    ledger::{
        Actor, Closing, Detail, EntryRef, Evidence, Flag, Grant, Ledger, Other, Requeued, Score,
        Via, audit::Audit, history, queue_again, waiting,
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
    let by_time = "SEARCH entry USING COVERING INDEX entry_attended (at_ms>? AND at_ms<?)";
    let by_worker = "SEARCH entry USING INDEX entry_worker (worker=? AND at_ms>? AND at_ms<?)";
    // Each page begins where the last page ended, and no plan sorts.
    assert_eq!(plan(page(false), 7).await.unwrap(), [by_time]);
    assert_eq!(plan(page(true), 7).await.unwrap(), [by_worker]);
    assert_eq!(plan(latest(), 2).await.unwrap(), [by_time]);
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
    let latest =
        store.read(|tx| latest_of_each(tx, &Dates::default(), (10, 30), &Altered::default()));
    let (latest, _) = latest.await.unwrap();
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
        let (range, none) = ((i64::MIN, i64::MAX), Altered::default());
        let latest = || latest_of_each(tx, &Dates::default(), range, &none).map(|l| l.0.len());
        assert_eq!(latest()?, 0);
        assert_eq!(corrected(tx, &ledger, stamp), 2);
        assert_eq!(latest()?, 2);

        // The outcomes have the seqs 1 and 2, and their corrections 3 and 4.
        let by = || Actor { uid: 0, user: "root".into(), via: Via::Socket };
        let dispute = |seq| ledger.dispute(tx, stamp, seq, "not he".into(), by());
        let (first, of_first) = dispute(1)?;
        let (second, of_second) = dispute(4)?;
        let seq = |stored: &Stored| stored.entry.seq;
        let by_seq = |a: &Attended| a.disputed.as_ref().map(|disputed| disputed.seq);
        assert_eq!((seq(&first.entry), seq(&second.entry)), (Some(3), Some(4)));
        assert_eq!((by_seq(&first), by_seq(&second)), (seq(&of_first), seq(&of_second)));
        for (seq, by_seq) in [(1, 5), (3, 5), (2, 6), (4, 6)] {
            let again = dispute(seq);
            assert!(
                matches!(again, Err(LedgerError::AlreadyDisputed { by_seq: by, .. }) if by == by_seq),
                "{again:?}"
            );
        }
        assert_eq!(latest()?, 0);
        let filter = AttendanceFilter { limit: 10, ..AttendanceFilter::default() };
        let listed = attendance(tx, &filter)?.rows;
        let listed: Vec<_> = listed.iter().map(|a| (seq(&a.entry), by_seq(a))).collect();
        assert_eq!(listed, [(Some(3), Some(5)), (Some(4), Some(6))]);
        // A history names the seq that the list shows.
        let told = history(tx, &"W1".parse().unwrap(), 10, &none)?;
        assert_eq!(told.iter().map(|(_, of)| *of).collect::<Vec<_>>(), [Some(3)]);
        // A correction is sent again only with its grant.
        tx.execute("UPDATE entry SET bytes = x'00' WHERE idx = 0", [])?;
        let again = queue_again(tx, "a", 1, 4)?;
        assert_eq!(again, Requeued { rows: 2, gone: vec![1, 3] });
        let unread = attendance(tx, &filter)?;
        assert_eq!((unread.rows.len(), unread.unread.len()), (1, 1));
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
        assert_eq!((listed.rows.len(), listed.unread.len()), (1, 0));
        let said = listed.rows[0].entry.entry.body.said().unwrap();
        assert_eq!(said.outcome, Word::Later("carried".to_owned()));
        assert_eq!((said.passage, said.corrects_seq), (PassageId([1; 16]), None));
        let all = (i64::MIN, i64::MAX);
        let latest = latest_of_each(tx, &Dates::default(), all, &Altered::default())?;
        assert_eq!(latest.0.len(), 1);
        let sent = waiting(tx, "a", 0, u64::MAX, 10, |_, cause| cause.map(|c| c.entry.index))?;
        assert_eq!(sent.rows, [Some(0)]);
        Ok::<_, LedgerError>(())
    });
    tested.await.unwrap();
}

#[tokio::test]
async fn a_withdrawn_dispute_does_not_stand_and_may_be_raised_again() {
    let (_dir, store) = stored();
    let stamp = SystemClock::new().unwrap().stamp();
    let tested = store.write(Priority::Attendance, move |tx| {
        let ledger = Ledger::open(tx, vec![])?;
        grant(tx, &ledger, stamp, 1, "W1");
        ledger.close(tx, stamp, PassageId([1; 16]), Outcome::Passed, None)?;
        let by = || Actor { uid: 7, user: "boss".into(), via: Via::Socket };
        let withdraw = |seq| ledger.withdraw(tx, stamp, seq, "it was he".into(), by());
        let none = withdraw(1);
        assert!(matches!(none, Err(LedgerError::NotDisputed { seq: 1 })), "{none:?}");
        let (disputed, of) = ledger.dispute(tx, stamp, 1, "not he".into(), by())?;
        assert_eq!(of.entry.seq, Some(2));
        let expected = Disputed { seq: 2, reason: "not he".into(), by: by(), stamp };
        assert_eq!(disputed.disputed, Some(expected));
        // Either number is accepted: the record's or the dispute's.
        assert_eq!(withdraw(2)?.0.disputed, None);
        let again = withdraw(2);
        assert!(matches!(again, Err(LedgerError::NotDisputed { seq: 2 })), "{again:?}");
        let (disputed, of) = ledger.dispute(tx, stamp, 1, "still not".into(), by())?;
        assert_eq!((of.entry.seq, disputed.disputed.map(|d| d.seq)), (Some(4), Some(4)));
        assert_eq!(withdraw(1)?.0.disputed, None);
        let listed = attendance(tx, &AttendanceFilter { limit: 9, ..Default::default() })?;
        assert_eq!(listed.rows.iter().map(|a| a.disputed.clone()).collect::<Vec<_>>(), [None]);
        let told = history(tx, &"W1".parse().unwrap(), 10, &Altered::default())?;
        let told: Vec<_> = told.iter().map(|(s, of)| (s.entry.body.kind(), *of)).collect();
        let (dispute, withdrawal) = (("dispute", Some(1)), ("withdrawal", Some(1)));
        assert_eq!(told, [dispute, withdrawal, dispute, withdrawal]);
        Ok::<_, LedgerError>(())
    });
    tested.await.unwrap();
}

/// Audits all rows, and returns what lists need to know.
fn audited(tx: &Transaction<'_>, ledger: &Ledger) -> Arc<Altered> {
    let mut run = Audit::of_rows(ledger.id, Vec::new());
    while run.page(tx, 2).unwrap().1 {}
    Arc::new(run.into_altered())
}

#[tokio::test]
async fn a_row_whose_columns_were_changed_is_listed_by_its_bytes() {
    // W1's grant and outcome are the entries 0 and 1, its dispute is 2; W2's are 3 and 4.
    for sql in [
        "UPDATE entry SET at_ms = 5 WHERE idx = 0",
        "UPDATE entry SET worker = 'W2' WHERE idx IN (0, 1)",
        "UPDATE entry SET worker = NULL WHERE idx = 0",
        "UPDATE entry SET lane = 'south' WHERE idx = 0",
        "UPDATE entry SET kind = 'denial' WHERE idx = 0",
        "UPDATE entry SET kind = 'denial' WHERE idx = 1",
        "UPDATE entry SET cause = NULL WHERE idx = 1",
        "UPDATE entry SET cause = 3, kind = 'correction' WHERE idx = 1",
        "UPDATE entry SET cause = NULL WHERE idx = 2",
        "UPDATE entry SET at_ms = 5, worker = 'W9', cause = 3, kind = 'mode'",
    ] {
        let (_dir, store) = stored();
        let stamp = Stamp { wall_ms: 1_000, ..SystemClock::new().unwrap().stamp() };
        let tested = store.write(Priority::Attendance, move |tx| {
            let ledger = Ledger::open(tx, vec![])?;
            grant(tx, &ledger, stamp, 1, "W1");
            ledger.close(tx, stamp, PassageId([1; 16]), Outcome::Passed, None)?;
            let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
            ledger.dispute(tx, stamp, 1, "not he".into(), by)?;
            grant(tx, &ledger, stamp, 2, "W2");
            ledger.close(tx, stamp, PassageId([2; 16]), Outcome::Passed, None)?;
            let lists = |altered: Arc<Altered>| {
                let list = |worker: Option<&str>, limit| {
                    let worker = worker.map(|worker| worker.parse().unwrap());
                    let filter = AttendanceFilter {
                        worker,
                        altered: altered.clone(),
                        lane: Some("north".into()),
                        from_ms: Some(900),
                        to_ms: Some(1_100),
                        limit,
                    };
                    let mut search = Search::begin(tx, filter).unwrap();
                    let mut listed = Vec::new();
                    while search.has_more() {
                        let page = search.page(tx).unwrap();
                        let seqs =
                            |a: &Attended| (a.entry.entry.seq, a.disputed.as_ref().map(|d| d.seq));
                        listed.extend(page.rows.iter().map(seqs));
                        assert!(page.unread.is_empty(), "{sql}: {:?}", page.unread);
                    }
                    listed
                };
                let latest =
                    latest_of_each(tx, &Dates::default(), (900, 1_100), &altered).unwrap().0;
                let told = history(tx, &"W1".parse().unwrap(), 9, &altered).unwrap();
                let told: Vec<_> = told.iter().map(|(s, of)| (s.entry.index, *of)).collect();
                let of = |worker| list(Some(worker), 500);
                (list(None, 500), list(None, 1), of("W1"), of("W2"), of("W9"), latest.len(), told)
            };
            let sound = lists(audited(tx, &ledger));
            assert_eq!(sound.0, [(Some(1), Some(2)), (Some(3), None)]);
            tx.execute_batch(sql)?;
            assert_eq!(lists(audited(tx, &ledger)), sound, "{sql}");
            Ok::<_, LedgerError>(())
        });
        tested.await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_named_for_the_time_in_which_it_was_recorded() {
    let rewritten = |tx: &Transaction<'_>| {
        let mut grant = crate::ledger::read(tx, 2).unwrap().entry;
        grant.stamp.wall_ms -= 3 * 3600 * 1000;
        let bytes = grant.encode().unwrap();
        let leaf = crate::ledger::leaf_hash(&bytes);
        let sql = "UPDATE entry SET bytes = ?1, leaf = ?2, at_ms = ?3 WHERE idx = 2";
        tx.execute(sql, params![bytes, leaf, grant.stamp.wall_ms]).unwrap();
    };
    type Harm = (&'static str, fn(&Transaction<'_>), &'static [u64]);
    let harms: [Harm; 4] = [
        (
            "bytes",
            |tx| drop(tx.execute("UPDATE entry SET bytes = x'00', at_ms = 1 WHERE idx = 2", [])),
            &[2],
        ),
        (
            "both removed",
            |tx| drop(tx.execute("DELETE FROM entry WHERE idx IN (2, 3)", [])),
            &[2, 3],
        ),
        ("outcome removed", |tx| drop(tx.execute("DELETE FROM entry WHERE idx = 3", [])), &[3]),
        ("grant rewritten", rewritten, &[3]),
    ];
    for (harm, alter, expected) in harms {
        let (_dir, store) = stored();
        let base = SystemClock::new().unwrap().stamp();
        let tested = store.write(Priority::Attendance, move |tx| {
            let ledger = Ledger::open(tx, vec![])?;
            for (n, day) in (1..).zip(0..4) {
                let stamp = Stamp { wall_ms: day * 86_400_000, ..base };
                grant(tx, &ledger, stamp, n, "W1");
                ledger.close(tx, stamp, PassageId([n; 16]), Outcome::Passed, None)?;
            }
            tx.execute_batch("PRAGMA defer_foreign_keys = ON")?;
            alter(tx);
            let altered = audited(tx, &ledger);
            let day = |n: i64| {
                altered.illegible(&Dates::default(), (n * 86_400_000, (n + 1) * 86_400_000))
            };
            let expected: BTreeSet<u64> = expected.iter().copied().collect();
            assert_eq!(day(1), expected, "{harm}");
            assert_eq!(day(3), BTreeSet::new(), "{harm}");
            let filter = AttendanceFilter { limit: 9, altered, ..AttendanceFilter::default() };
            let page = attendance(tx, &filter)?;
            assert_eq!(page.rows.len(), 3, "{harm}");
            tx.execute_batch("PRAGMA defer_foreign_keys = OFF")?;
            Err::<(), _>(LedgerError::NoLedgerId)
        });
        assert!(matches!(tested.await, Err(LedgerError::NoLedgerId)), "{harm}");
    }
}
