//! Frozen bytes, and the ledger in a real database.

use std::sync::Arc;

use rusqlite::Connection;

use super::*;
use crate::{
    clock::{BootId, ClockChange, ClockWhat, SystemClock},
    config::{Direction, Secret, Storage},
    roster::{Erased, Person, State, Terms},
    store::{Priority, Store, open},
};

fn person() -> Person {
    Person {
        id: "W001".parse().unwrap(),
        name: "刘峰".into(),
        team: "rebar".into(),
        contractor: "Guizhou Third".into(),
        trade: "steel fixer".into(),
    }
}

fn stamp() -> Stamp {
    Stamp { wall_ms: 1_793_228_400_123, synced: true, boot: BootId([0xb0; 16]), uptime_ms: 4_321 }
}

fn entry(index: u64, seq: Option<u64>, body: Body) -> Entry {
    let (salt, ledger) = ([0x5a; 16], LedgerId([0x1e; 16]));
    Entry { salt, ledger, index, seq, stamp: stamp(), body }
}

fn judgement() -> Judgement {
    Judgement { score: Score(7123), threshold: Score(5000), model: "sface_2021dec".into() }
}

fn one_of_each_kind() -> Vec<Entry> {
    let by = || Actor { uid: 1000, user: "admin".into(), via: Via::Socket };
    let passage = PassageId([0x9a; 16]);
    let (lane, direction) = ("north".to_owned(), Direction::Entry);
    vec![
        entry(0, Some(1), Body::Boot { version: "0.1.0".into() }),
        entry(1, Some(2), Body::Config { sha256: [0xcf; 32] }),
        entry(
            2,
            Some(3),
            Body::Enrolment {
                person: person(),
                id_type: "resident".into(),
                commitment: commitment(&[0x17; 32], "resident", "520102199001011234"),
                terms: Terms {
                    valid_from: Some(jiff::civil::date(2026, 3, 1)),
                    consent: Some("C-0017".into()),
                    ..Terms::default()
                },
                model: "sface_2021dec".into(),
                templates: 2,
                alike: None,
                by: by(),
            },
        ),
        entry(
            3,
            None,
            Body::Grant {
                passage,
                lane: lane.clone(),
                direction,
                person: person(),
                judgement: judgement(),
                margin: Some(Score(2001)),
                roster_version: 7,
                photo: None,
            },
        ),
        entry(
            4,
            Some(4),
            Body::Outcome {
                passage,
                cause: 3,
                leaf: [0x1f; 32],
                outcome: Outcome::Passed,
                detail: String::new(),
            },
        ),
        entry(
            5,
            Some(5),
            Body::Denial {
                lane: lane.clone(),
                direction: Direction::Exit,
                reason: "unknown_face".into(),
                person: None,
                judgement: Judgement { score: Score(-312), ..judgement() },
            },
        ),
        entry(
            6,
            Some(6),
            Body::Release {
                passage,
                lane,
                direction,
                person: Some(person()),
                reason: "no face yet".into(),
                by: by(),
            },
        ),
        entry(
            7,
            Some(7),
            Body::Removal { worker: "W001".parse().unwrap(), reason: None, erased: None, by: by() },
        ),
    ]
}

/// The bytes of version 1, frozen: never edit this test. Where it fails, the code is wrong.
#[test]
fn the_bytes_of_version_1_never_change() {
    let frozen = include_str!("frozen_v1.txt");
    let mut lines = frozen.lines().filter(|l| !l.starts_with('#'));
    let entries = one_of_each_kind();
    assert_eq!(entries.len(), 8);
    for entry in entries {
        let bytes = entry.encode();
        let expected = lines.next().unwrap_or_default();
        let line = format!(
            "{} {} {}",
            entry.body.kind(),
            hex::encode(&bytes),
            hex::encode(leaf_hash(&bytes))
        );
        assert_eq!(line, expected);
        assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    }
    assert_eq!(lines.next(), None);
}

/// Kinds that were added to version 1 later.
fn one_of_each_later_kind() -> Vec<Entry> {
    let clock =
        |what, moved_ms, booted_at_ms| Body::Clock(ClockChange { what, moved_ms, booted_at_ms });
    let storage = |state: &str, unrecorded| Body::Storage {
        state: state.into(),
        detail: "12 MiB free in /var/lib/gatehouse".into(),
        unrecorded,
    };
    let successor = |of| Body::Successor {
        of,
        set_aside: "set-aside/20261122T033855Z".into(),
        found: "database disk image is malformed".into(),
        workers: 287,
        workers_lost: 1,
    };
    vec![
        entry(0, Some(1), successor(Some(LedgerId([0x0d; 16])))),
        entry(1, Some(2), successor(None)),
        entry(2, Some(3), clock(ClockWhat::Synchronised, -600_000, Some(1_793_228_395_802))),
        entry(3, Some(4), clock(ClockWhat::Unsynchronised, 0, None)),
        entry(4, Some(5), clock(ClockWhat::Stepped, 3_600_000, None)),
        entry(5, Some(6), storage("low", 0)),
        entry(6, Some(7), storage("ample", 41)),
    ]
}

/// As above, for the kinds that came later: never edit this test.
#[test]
fn the_bytes_of_the_later_kinds_of_version_1_never_change() {
    let frozen = include_str!("frozen_v1_later.txt");
    let expected: Vec<_> = frozen.lines().filter(|l| !l.starts_with('#')).collect();
    let entries = one_of_each_later_kind();
    let lines = entries.iter().map(|entry| {
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).unwrap(), *entry);
        let leaf = hex::encode(leaf_hash(&bytes));
        format!("{} {} {leaf}", entry.body.kind(), hex::encode(&bytes))
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

/// Kinds of a site with several lanes.
fn one_of_each_lane_kind() -> Vec<Entry> {
    let by = || Actor { uid: 1000, user: "admin".into(), via: Via::Socket };
    let lane = || "north".to_owned();
    let mode =
        |mode, reason: &str, by| Body::Mode { lane: lane(), mode, reason: reason.into(), by };
    let tailgate = |direction, after| Body::Tailgate { lane: lane(), direction, after };
    vec![
        entry(0, Some(1), mode(LaneMode::Free, "fire alarm at lane south", None)),
        entry(1, Some(2), mode(LaneMode::Normal, "all are out", Some(by()))),
        entry(2, Some(3), mode(LaneMode::Closed, "night", Some(by()))),
        entry(3, Some(4), Body::Fire { lane: lane(), on: true }),
        entry(4, Some(5), Body::Fire { lane: lane(), on: false }),
        entry(5, Some(6), tailgate(Direction::Entry, Some(PassageId([7; 16])))),
        entry(6, Some(7), tailgate(Direction::Exit, None)),
    ]
}

/// As above, for the lanes' kinds: never edit this test.
#[test]
fn the_bytes_of_the_lane_kinds_of_version_1_never_change() {
    let frozen = include_str!("frozen_v1_lanes.txt");
    let expected: Vec<_> = frozen.lines().filter(|l| !l.starts_with('#')).collect();
    let entries = one_of_each_lane_kind();
    let lines = entries.iter().map(|entry| {
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).unwrap(), *entry);
        let leaf = hex::encode(leaf_hash(&bytes));
        format!("{} {} {leaf}", entry.body.kind(), hex::encode(&bytes))
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

/// Kinds of a roster's life, and what it adds to earlier ones.
fn one_of_each_roster_kind() -> Vec<Entry> {
    let by = |via| Actor { uid: 1000, user: "admin".into(), via };
    let socket = || by(Via::Socket);
    let day = |m, d| Some(jiff::civil::date(2026, m, d));
    let worker = || "W001".parse().unwrap();
    let terms = || Terms {
        valid_from: day(3, 1),
        valid_until: day(12, 31),
        consent: Some("C-0017".into()),
        consent_on: day(2, 27),
        contract_signed: day(2, 28),
        trained_on: day(3, 2),
    };
    let alike = || {
        let worker = "W002".parse().unwrap();
        Some(Alike { worker, score: Score(6543), reason: "twins".into() })
    };
    let amendment = |faces, alike: Option<Alike>, reason: Option<&str>| Body::Amendment {
        person: person(),
        terms: terms(),
        commitment: alike.is_some().then_some([0xc0; 32]),
        particulars: Vec::new(),
        faces,
        alike,
        reason: reason.map(Into::into),
        by: socket(),
    };
    let faces =
        |what, templates| Some(FacesChanged { what, model: "sface_2021dec".into(), templates });
    let state = |state, reason: &str| Body::State {
        worker: worker(),
        state,
        reason: reason.into(),
        by: socket(),
    };
    let (passage, lane, direction) = (PassageId([0x9a; 16]), "north".into(), Direction::Entry);
    let bodies = vec![
        Body::Enrolment {
            person: person(),
            id_type: "passport".into(),
            commitment: commitment(&[0x17; 32], "passport", "E12345678"),
            terms: terms(),
            model: "sface_2021dec".into(),
            templates: 5,
            alike: alike(),
            by: socket(),
        },
        amendment(None, None, None),
        amendment(faces(FacesWhat::Added, 3), alike(), None),
        amendment(faces(FacesWhat::Replaced, 1), None, None),
        amendment(faces(FacesWhat::Erased, 0), None, Some("consent withdrawn")),
        state(State::Suspended, "no helmet"),
        state(State::Barred, "stole copper"),
        state(State::Active, "talked it over"),
        Body::Supplement {
            passage,
            person: person(),
            direction: Direction::Exit,
            at_ms: 1_793_228_000_000,
            reason: "gate had no power".into(),
            by: socket(),
        },
        Body::Dispute { cause: 7, leaf: [0x1f; 32], reason: "his brother".into(), by: socket() },
        Body::Removal {
            worker: worker(),
            reason: Some("left".into()),
            erased: Some(Erased { templates: 3, photos: 3 }),
            by: socket(),
        },
        Body::Key { resealed: 901, by: by(Via::Console) },
        Body::Pruning {
            before: 1000,
            entries: 640,
            settled_on: jiff::civil::date(2026, 10, 31),
            keep_years: 3,
        },
    ];
    let mut entries: Vec<Entry> =
        (0..).zip(bodies).map(|(n, body)| entry(n, Some(n + 1), body)).collect();
    let grant = Body::Grant {
        passage,
        lane,
        direction,
        person: person(),
        judgement: judgement(),
        margin: Some(Score(2100)),
        roster_version: 7,
        photo: Some([0xf0; 32]),
    };
    entries.push(entry(entries.len() as u64, None, grant));
    entries
}

/// As above, for the roster's kinds: never edit this test.
#[test]
fn the_bytes_of_the_roster_kinds_of_version_1_never_change() {
    let frozen = include_str!("frozen_v1_roster.txt");
    let expected: Vec<_> = frozen.lines().filter(|l| !l.starts_with('#')).collect();
    let entries = one_of_each_roster_kind();
    let lines = entries.iter().map(|entry| {
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).unwrap(), *entry);
        let leaf = hex::encode(leaf_hash(&bytes));
        format!("{} {} {leaf}", entry.body.kind(), hex::encode(&bytes))
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

/// As above, for an amendment of what is sealed: never edit this test.
#[test]
fn the_bytes_of_an_amendment_of_what_is_sealed_never_change() {
    let body = Body::Amendment {
        person: person(),
        terms: Terms::default(),
        commitment: None,
        particulars: vec!["phone".into(), "bank_tail".into()],
        faces: None,
        alike: None,
        reason: None,
        by: Actor { uid: 1000, user: "admin".into(), via: Via::Socket },
    };
    let entry = entry(0, Some(1), body);
    let bytes = entry.encode();
    assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    let frozen = "a961760163616c670163736571016464617461a3626279a3637569641903e86376696166736f636b\
        657464757365726561646d696e66706572736f6ea56269646457303031646e616d6566e58898e5b3\
        b0647465616d6572656261726574726164656b737465656c2066697865726a636f6e74726163746f\
        726d4775697a686f752054686972646b706172746963756c6172736f70686f6e652062616e6b5f74\
        61696c646b696e6469616d656e646d656e746473616c74505a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\
        6474696d65a464626f6f7450b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b06673796e636564f56777616c\
        6c5f6d731b000001a184bde5fb69757074696d655f6d731910e165696e64657800666c6564676572\
        501e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e";
    assert_eq!(hex::encode(bytes), frozen);
}

/// Alarms, of each sort.
fn one_of_each_alarm() -> Vec<Entry> {
    let alarm = |what, subject: &str, raised, detail: &str| {
        let (subject, detail) = (subject.to_owned(), detail.to_owned());
        Body::Alarm(Alarm { what, subject, raised, detail })
    };
    let router = "02:fc:00:00:00:05";
    let bodies = vec![
        alarm(AlarmWhat::Outbox, "platform", true, "41 records wait, the oldest for 15 min"),
        alarm(AlarmWhat::Link, "platform", true, "mqtt://10.0.0.1:1883: connection refused"),
        alarm(AlarmWhat::Link, "platform", false, "over after 3 min; 41 records waited"),
        alarm(AlarmWhat::Certificate, "platform/broker", true, "ends in 29 days"),
        alarm(AlarmWhat::CertificateEnded, "platform/gateway", true, "has ended"),
        alarm(AlarmWhat::Camera, "north/entry", true, "v4l2:/dev/video0: no such device"),
        alarm(AlarmWhat::Turnstile, "north", true, "no answer"),
        alarm(AlarmWhat::UnknownFaces, "north", true, "10 visits within 60 s"),
        alarm(AlarmWhat::Neighbourhood, router, true, "the router is another one: 工地"),
    ];
    (0..).zip(bodies).map(|(n, body)| entry(n, Some(n + 1), body)).collect()
}

/// As above, for alarms: never edit this test.
#[test]
fn the_bytes_of_the_alarms_of_version_1_never_change() {
    let frozen = include_str!("frozen_v1_alarms.txt");
    let expected: Vec<_> = frozen.lines().filter(|l| !l.starts_with('#')).collect();
    let entries = one_of_each_alarm();
    let lines = entries.iter().map(|entry| {
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).unwrap(), *entry);
        let leaf = hex::encode(leaf_hash(&bytes));
        format!("{} {} {leaf}", entry.body.kind(), hex::encode(&bytes))
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

/// A word that came later: never edit this test.
#[test]
fn the_bytes_of_an_alarm_of_faces_without_a_decision_never_change() {
    let (subject, detail) = ("north/entry".to_owned(), "for 60 s".to_owned());
    let alarm = Alarm { what: AlarmWhat::Undecided, subject, raised: true, detail };
    let bytes = entry(0, Some(1), Body::Alarm(alarm)).encode();
    let frozen = concat!(
        "a961760163616c670163736571016464617461a4647768617469756e646563696465646664657461696c68666f",
        "72203630207366726169736564f5677375626a6563746b6e6f7274682f656e747279646b696e6465616c61726d",
        "6473616c74505a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a6474696d65a464626f6f7450b0b0b0b0b0b0b0b0b0b0b0",
        "b0b0b0b0b06673796e636564f56777616c6c5f6d731b000001a184bde5fb69757074696d655f6d731910e16569",
        "6e64657800666c6564676572501e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e",
    );
    assert_eq!(hex::encode(bytes), frozen);
}

/// A word that came later: never edit this test.
#[test]
fn the_bytes_of_what_a_platform_asked_for_never_change() {
    let by = Actor { uid: 998, user: "platform".into(), via: Via::Upstream };
    let worker = "W001".parse().unwrap();
    let body = Body::State { worker, state: State::Suspended, reason: "left".into(), by };
    let entry = entry(8, Some(8), body);
    let bytes = entry.encode();
    assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    let frozen = include_str!("frozen_v1_upstream.txt");
    let line = format!("state {} {}\n", hex::encode(&bytes), hex::encode(leaf_hash(&bytes)));
    assert_eq!(
        line,
        frozen.lines().filter(|l| !l.starts_with('#')).fold(String::new(), |all, l| all + l + "\n")
    );
}

#[test]
fn no_altered_byte_of_an_entry_goes_unnoticed() {
    let all = [
        one_of_each_kind(),
        one_of_each_later_kind(),
        one_of_each_lane_kind(),
        one_of_each_roster_kind(),
        one_of_each_alarm(),
    ];
    for entry in all.concat() {
        let bytes = entry.encode();
        for i in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[i] ^= 1;
            assert!(
                Entry::decode(&altered).map_or(true, |other| other != entry),
                "byte {i} of {:?}",
                entry.body.kind()
            );
            assert!(Entry::decode(&bytes[..i]).is_err());
        }
    }
}

async fn with_ledger(upstreams: &[&str]) -> (tempfile::TempDir, Store, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let key = Secret::File(dir.path().join("key"));
    let storage = Storage::usual(dir.path().into(), key);
    let (store, _thread) = open(&storage, Arc::new(SystemClock::new().unwrap())).unwrap();
    let names: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
    let ledger = store.write(Priority::Upkeep, move |tx| Ledger::open(tx, names)).await.unwrap();
    (dir, store, ledger)
}

async fn append(store: &Store, ledger: &Ledger, body: Body) -> Stored {
    let ledger = ledger.clone();
    store.write(Priority::Attendance, move |tx| ledger.append(tx, stamp(), body)).await.unwrap()
}

fn grant(n: u8) -> Body {
    Body::Grant {
        passage: PassageId([n; 16]),
        lane: "north".into(),
        direction: Direction::Entry,
        person: person(),
        judgement: judgement(),
        margin: None,
        roster_version: 1,
        photo: None,
    }
}

#[tokio::test]
async fn a_lane_that_is_begun_anew_closes_its_own_passages_and_no_others() {
    let (_dir, store, ledger) = with_ledger(&[]).await;
    append(&store, &ledger, grant(1)).await;
    let (passage, by) =
        (PassageId([2; 16]), Actor { uid: 0, user: "root".into(), via: Via::Socket });
    let (lane, direction, reason) = ("south".into(), Direction::Exit, "x".into());
    let person = None;
    let release = Body::Release { passage, lane, direction, person, reason, by };
    append(&store, &ledger, release).await;
    let close = |lane: Option<&'static str>| {
        let ledger = ledger.clone();
        store.write(Priority::Attendance, move |tx| ledger.close_interrupted(tx, stamp(), lane))
    };
    assert_eq!(close(Some("east")).await.unwrap(), 0);
    assert_eq!(close(Some("south")).await.unwrap(), 1);
    let closed = store.read(|tx| read(tx, 2)).await.unwrap().entry.body;
    let Body::Outcome { passage, outcome, detail, .. } = closed else { panic!("{closed:?}") };
    assert_eq!((passage, outcome), (PassageId([2; 16]), Outcome::Unconfirmed));
    assert_eq!(detail, "the lane restarted before the outcome was known");
    assert_eq!(close(None).await.unwrap(), 1);
}

#[tokio::test]
async fn a_grant_goes_upstream_with_its_outcome_and_seq_has_no_gaps() {
    let (_dir, store, ledger) = with_ledger(&["a", "b"]).await;
    append(&store, &ledger, Body::Boot { version: "1".into() }).await;
    assert_eq!(append(&store, &ledger, grant(1)).await.entry.seq, None);
    assert_eq!(append(&store, &ledger, grant(2)).await.entry.seq, None);
    let l = ledger.clone();
    let closed = store
        .write(Priority::Attendance, move |tx| {
            l.close(tx, stamp(), PassageId([2; 16]), Outcome::Passed, "")
        })
        .await
        .unwrap();
    assert_eq!((closed.entry.index, closed.entry.seq), (3, Some(2)));
    // A crash leaves grant 1 open; it is closed once, and a passage is never closed twice.
    let l = ledger.clone();
    let interrupted = move |tx: &Transaction<'_>| l.close_interrupted(tx, stamp(), None);
    assert_eq!(store.write(Priority::Upkeep, interrupted).await.unwrap(), 1);
    let l = ledger.clone();
    let again = store
        .write(Priority::Attendance, move |tx| {
            l.close(tx, stamp(), PassageId([1; 16]), Outcome::Passed, "")
        })
        .await;
    assert!(matches!(again, Err(LedgerError::NoCause(_))));
    let (waiting, attendance) = store
        .read(|tx| {
            let filter = AttendanceFilter { limit: 10, ..Default::default() };
            Ok::<_, LedgerError>((
                unacknowledged(tx, "a", 0, 10)?,
                super::attendance(tx, &filter)?.rows,
            ))
        })
        .await
        .unwrap();
    let seqs: Vec<_> = waiting.iter().map(|s| s.entry.seq).collect();
    assert_eq!(seqs, [Some(1), Some(2), Some(3)]);
    let outcomes: Vec<_> = attendance
        .iter()
        .map(|a| match &a.entry.entry.body {
            Body::Outcome { outcome, cause, .. } => (*outcome, *cause),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(outcomes, [(Outcome::Unconfirmed, 1), (Outcome::Passed, 2)]);
}

#[tokio::test]
async fn a_row_is_struck_off_for_its_own_upstream_and_a_new_upstream_gets_everything() {
    let (_dir, store, ledger) = with_ledger(&["a"]).await;
    for _ in 0..3 {
        append(&store, &ledger, Body::Boot { version: "1".into() }).await;
    }
    let backlogs = store
        .write(Priority::Upkeep, |tx| {
            let ledger = Ledger::open(tx, vec!["a".into(), "b".into()])?;
            // Only what an earlier run may have sent can be a repeat; nothing to a new upstream.
            assert_eq!((ledger.sent_before("a"), ledger.sent_before("b")), (3, 0));
            strike_off(tx, "a", &[1, 3])?;
            Ok::<_, LedgerError>((backlog(tx, "a")?, backlog(tx, "b")?))
        })
        .await
        .unwrap();
    let oldest = Some(stamp());
    assert_eq!(backlogs, ((1, oldest), (3, oldest)));
}

#[tokio::test]
async fn i3_records_are_put_back_for_their_own_upstream_and_what_is_gone_is_named() {
    let (dir, store, ledger) = with_ledger(&["a", "b"]).await;
    for _ in 0..3 {
        append(&store, &ledger, Body::Boot { version: "1".into() }).await;
    }
    append(&store, &ledger, grant(1)).await;
    let l = ledger.clone();
    let close = move |tx: &Transaction<'_>| {
        l.close(tx, stamp(), PassageId([1; 16]), Outcome::Passed, "").map(drop)
    };
    store.write(Priority::Attendance, close).await.unwrap();
    store.write(Priority::Upkeep, |tx| strike_off(tx, "a", &[1, 2, 4])).await.unwrap();
    let again = |from, to| store.write(Priority::Upkeep, move |tx| queue_again(tx, "a", from, to));
    // One that waits already is one that will come, and beyond the last one there is nothing.
    let found = again(2, u64::MAX).await.unwrap();
    assert_eq!(found, Requeued { rows: 3, gone: vec![] });
    let waiting = async |upstream: &'static str| {
        let waiting = store.read(move |tx| unacknowledged(tx, upstream, 0, 10)).await.unwrap();
        waiting.iter().filter_map(|s| s.entry.seq).collect::<Vec<_>>()
    };
    assert_eq!((waiting("a").await, waiting("b").await), (vec![2, 3, 4], vec![1, 2, 3, 4]));
    store.write(Priority::Upkeep, |tx| strike_off(tx, "a", &[2, 3, 4])).await.unwrap();
    // A record is nothing without its cause, nor is one that is damaged.
    let raw = Connection::open(dir.path().join("gatehouse.db")).unwrap();
    raw.execute("UPDATE entry SET bytes = x'00' WHERE seq = 2 OR kind = 'grant'", []).unwrap();
    assert_eq!(again(1, 4).await.unwrap(), Requeued { rows: 2, gone: vec![2, 4] });
    assert_eq!(waiting("a").await, [1, 3]);
    assert_eq!(again(5, 9).await.unwrap(), Requeued::default());
}

#[tokio::test]
async fn an_entry_altered_in_the_database_is_noticed_when_read() {
    let (dir, store, ledger) = with_ledger(&[]).await;
    append(&store, &ledger, grant(1)).await;
    let raw = Connection::open(dir.path().join("gatehouse.db")).unwrap();
    let mut bytes: Vec<u8> =
        raw.query_row("SELECT bytes FROM entry", [], |row| row.get(0)).unwrap();
    let score = bytes.windows(5).position(|w| w == b"score").unwrap() + 6;
    bytes[score + 1] ^= 1;
    raw.execute("UPDATE entry SET bytes = ?1", [bytes]).unwrap();
    let found = store.read(|tx| read(tx, 0)).await;
    assert!(matches!(found, Err(LedgerError::Damaged { index: 0, .. })), "{found:?}");
    append(&store, &ledger, grant(2)).await;
    append(&store, &ledger, grant(3)).await;
    raw.execute("DELETE FROM open_passage", []).unwrap();
    raw.execute("DELETE FROM entry WHERE idx = 1", []).unwrap();
    let audited = |from, limit| store.read(move |tx| audit(tx, from, limit));
    assert_eq!(audited(0, 2).await.unwrap(), (vec![0, 1], Some(2)));
    assert_eq!(audited(2, 2).await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn a_damaged_entry_does_not_hold_up_those_behind_it() {
    let (dir, store, ledger) = with_ledger(&["a"]).await;
    for _ in 0..4 {
        append(&store, &ledger, Body::Boot { version: "1".into() }).await;
    }
    let raw = Connection::open(dir.path().join("gatehouse.db")).unwrap();
    raw.execute("UPDATE entry SET bytes = x'00' WHERE seq IN (1, 2, 4)", []).unwrap();
    let waiting = store.read(|tx| unacknowledged(tx, "a", 0, 2)).await.unwrap();
    assert_eq!(waiting.iter().map(|s| s.entry.seq).collect::<Vec<_>>(), [Some(3)]);
    assert!(store.read(|tx| unacknowledged(tx, "a", 3, 2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn i3_an_upstream_that_leaves_the_configuration_and_comes_back_misses_nothing() {
    let (_dir, store, ledger) = with_ledger(&["a"]).await;
    append(&store, &ledger, Body::Boot { version: "1".into() }).await;
    store.write(Priority::Upkeep, |tx| strike_off(tx, "a", &[1])).await.unwrap();
    let reopen = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        store.write(Priority::Upkeep, move |tx| Ledger::open(tx, names))
    };
    let without = reopen(&[]).await.unwrap();
    append(&store, &without, Body::Boot { version: "2".into() }).await;
    let still_without = reopen(&[]).await.unwrap();
    append(&store, &still_without, Body::Boot { version: "3".into() }).await;
    let back = reopen(&["a"]).await.unwrap();
    assert_eq!(back.sent_before("a"), 1);
    append(&store, &back, Body::Boot { version: "4".into() }).await;
    let waiting = store.read(|tx| unacknowledged(tx, "a", 0, 10)).await.unwrap();
    let seqs: Vec<_> = waiting.iter().map(|s| s.entry.seq).collect();
    assert_eq!(seqs, [Some(2), Some(3), Some(4)]);
}
