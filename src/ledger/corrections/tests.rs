use std::sync::Arc;

use super::*;
use crate::{
    clock::{Clock, SystemClock},
    config::{Secret, Storage},
    ledger::{
        Actor, AttendanceFilter, Evidence, Grant, GuardRelease, Score, Via, attendance, waiting,
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

fn person() -> Person {
    Person {
        id: "W1".parse().unwrap(),
        name: "x".into(),
        team: "x".into(),
        contractor: "x".into(),
        trade: "x".into(),
    }
}

/// Records passages and corrects outcomes, in one transaction.
struct Gate<'a> {
    tx: &'a Transaction<'a>,
    ledger: Ledger,
    stamp: Stamp,
    passages: u64,
}

impl Gate<'_> {
    fn records(&mut self, lane: &str, direction: Direction, outcome: Outcome, code: &'static str) {
        let face = Evidence::of_face(Score::of(0.7), Score::of(0.5), "m");
        let passage = self.next();
        let grant = Grant::new(passage, lane, direction, person(), face);
        self.ledger.append(self.tx, self.stamp, grant).unwrap();
        self.closes(passage, outcome, code);
    }

    fn next(&mut self) -> PassageId {
        self.passages += 1;
        PassageId(u128::from(self.passages).to_be_bytes())
    }

    fn closes(&self, passage: PassageId, outcome: Outcome, code: &'static str) {
        let detail = (!code.is_empty()).then(|| Detail::new(code));
        self.ledger.close(self.tx, self.stamp, passage, outcome, detail).unwrap();
    }

    fn corrects(&self, lane: &str, direction: Direction) -> u64 {
        let (detail, flag) = (Detail::new("sensor_silent"), Flag::SENSOR_SUSPECT);
        let Gate { tx, stamp, .. } = self;
        self.ledger.correct_not_passed(tx, *stamp, lane, direction, detail, flag).unwrap()
    }
}

async fn at_a_gate(upstreams: &[&str], test: impl FnOnce(&mut Gate<'_>) + Send + 'static) {
    let (_dir, store) = stored();
    let upstreams = upstreams.iter().map(ToString::to_string).collect();
    let stamp = SystemClock::new().unwrap().stamp();
    let tested = store.write(Priority::Upkeep, move |tx| {
        let ledger = Ledger::open(tx, upstreams)?;
        test(&mut Gate { tx, ledger, stamp, passages: 0 });
        Ok::<_, LedgerError>(())
    });
    tested.await.unwrap();
}

use Direction::{Entry, Exit};
use Outcome::{NotPassed, Passed, Unconfirmed};

#[tokio::test]
async fn outcomes_after_the_last_sign_of_life_of_a_sensor_are_corrected_and_no_others() {
    at_a_gate(&["a"], |gate| {
        gate.records("north", Entry, NotPassed, NOTHING_PASSED[0]);
        gate.records("north", Entry, Passed, "");
        gate.records("north", Exit, NotPassed, NOTHING_PASSED[0]);
        gate.records("south", Entry, NotPassed, NOTHING_PASSED[0]);
        gate.records("north", Entry, NotPassed, NOTHING_PASSED[0]);
        gate.records("north", Entry, NotPassed, "commit_late");
        gate.records("north", Entry, Unconfirmed, "no_answer");
        let reason = "no face yet".to_owned();
        let passage = gate.next();
        let release = GuardRelease {
            passage,
            lane: "north".into(),
            direction: Entry,
            person: None,
            reason,
            evidence: vec![Evidence::Guard(Actor {
                uid: 0,
                user: "root".into(),
                via: Via::Socket,
            })],
            flags: Vec::new(),
        };
        gate.ledger.append(gate.tx, gate.stamp, release).unwrap();
        gate.closes(passage, NotPassed, NOTHING_PASSED[0]);
        assert_eq!((gate.corrects("north", Entry), gate.corrects("north", Entry)), (2, 0));
        // A restart finds the releases silent, although their outcomes were corrected.

        let filter = AttendanceFilter { limit: 100, ..AttendanceFilter::default() };
        let listed = attendance(gate.tx, &filter).unwrap();
        let outcome = |body: &Body| match body {
            Body::Closing(closing) => (closing.outcome, None),
            Body::Correction(correction) => (correction.outcome, Some(correction.corrects_seq)),
            other => panic!("{other:?}"),
        };
        let outcomes: Vec<_> = listed.rows.iter().map(|a| outcome(&a.entry.entry.body)).collect();
        let expected = [
            (NotPassed, None),
            (Passed, None),
            (NotPassed, None),
            (NotPassed, None),
            (Unconfirmed, Some(5)),
            (NotPassed, None),
            (Unconfirmed, None),
        ];
        assert_eq!(outcomes, expected);
        // A correction waits for each upstream, and comes with the grant or the release.
        let sent = waiting(gate.tx, "a", 0, u64::MAX, 100, |stored, cause| {
            let cause = cause.map(|cause| cause.entry.index);
            (stored.entry.body.kind(), stored.entry.body.cause(), cause)
        });
        let sent = sent.unwrap().rows;
        let (first, second) =
            (("correction", Some(8), Some(8)), ("correction", Some(14), Some(14)));
        assert_eq!(sent[9..], [first, second]);
    })
    .await;
}

#[tokio::test]
async fn a_call_corrects_a_bounded_number_and_the_next_call_continues() {
    at_a_gate(&[], |gate| {
        gate.records("north", Exit, Passed, "");
        for _ in 0..CORRECTED + 1 {
            gate.records("north", Exit, NotPassed, NOTHING_PASSED[0]);
        }
        let calls = [gate.corrects("north", Exit), gate.corrects("north", Exit)];
        assert_eq!((calls, gate.corrects("north", Exit)), ([CORRECTED as u64, 1], 0));
        // A sign of life ends the silence.
        gate.records("north", Exit, Passed, "");
    })
    .await;
}

#[tokio::test]
async fn a_correction_keeps_the_flags_of_the_outcome_and_an_altered_entry_is_passed_over() {
    at_a_gate(&[], |gate| {
        for _ in 0..3 {
            gate.records("north", Exit, NotPassed, NOTHING_PASSED[0]);
        }
        let cause = gate.next();
        let face = Evidence::of_face(Score::of(0.7), Score::of(0.5), "m");
        let grant = Grant::new(cause, "north", Exit, person(), face);
        let granted = gate.ledger.append(gate.tx, gate.stamp, grant).unwrap();
        let closing = Closing {
            passage: cause,
            cause: EntryRef { index: granted.entry.index, hash: granted.leaf },
            outcome: NotPassed,
            detail: Some(Detail::new(NOTHING_PASSED[0])),
            flags: vec![Flag::OTHER_FACE],
        };
        gate.ledger.append(gate.tx, gate.stamp, closing).unwrap();
        gate.tx.execute("UPDATE entry SET bytes = x'00' WHERE idx IN (0, 3)", []).unwrap();
        assert_eq!(gate.corrects("north", Exit), 2);
        let last = crate::ledger::read(gate.tx, size(gate.tx).unwrap() - 1).unwrap();
        let Body::Correction(last) = last.entry.body else { panic!("{last:?}") };
        assert_eq!(last.flags, [Flag::OTHER_FACE, Flag::SENSOR_SUSPECT]);
        assert_eq!((last.corrects.index, last.cause.index), (7, 6));
    })
    .await;
}

#[tokio::test]
async fn the_search_for_silent_releases_reads_the_passages_of_one_lane_and_does_not_sort() {
    let (_dir, store) = stored();
    let plan = store.read(|tx| {
        let mut statement = tx.prepare(&format!("EXPLAIN QUERY PLAN {PASSAGES}"))?;
        let steps = statement.query_map(params!["north", 7], |row| row.get(3))?;
        Ok::<_, LedgerError>(steps.collect::<Result<Vec<String>, _>>()?)
    });
    let expected = [
        "SEARCH c USING INDEX entry_lane (lane=? AND rowid>?)",
        "CORRELATED SCALAR SUBQUERY 1",
        "SEARCH entry USING COVERING INDEX entry_cause (cause=? AND kind=?)",
        "SEARCH o USING INDEX entry_cause (cause=? AND kind=?)",
    ];
    assert_eq!(plan.await.unwrap(), expected);
}
