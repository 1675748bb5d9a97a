//! Tests of the frozen bytes, and of the ledger in a real database.

mod photos;

use std::sync::Arc;

use ciborium::Value;
use rusqlite::Connection;

use super::*;
use crate::{
    clock::{BootId, ClockChange, ClockWhat, SystemClock},
    config::{Direction, Secret, Storage},
    roster::{CardChange, Erased, Person, State, Terms, WaitsWhat, WorkerId},
    store::{Priority, PublicKey, Store, open},
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

fn entry(index: u64, seq: Option<u64>, body: impl Into<Body>) -> Entry {
    let (salt, ledger, ran_s, unknown) = ([0x5a; 16], LedgerId([0x1e; 16]), 86_400, Vec::new());
    Entry { salt, ledger, index, seq, stamp: stamp(), ran_s, body: body.into(), unknown }
}

fn face() -> FaceEvidence {
    FaceEvidence {
        score: Score(7123),
        threshold: Score(5000),
        margin: Some(Score(2001)),
        model: "sface_2021dec".into(),
        frames: 2,
        camera: "v4l2".into(),
        presentation: None,
    }
}

fn by(via: Via) -> Actor {
    Actor { uid: 1000, user: "admin".into(), via }
}

fn exemption(what: ExemptionWhat) -> Exemption {
    let (name, reason) = ("刘峰".to_owned(), "three mornings with his own face".to_owned());
    Exemption { worker: worker(), name, what, reason, by: by(Via::Socket) }
}

fn worker() -> WorkerId {
    "W001".parse().unwrap()
}

const CAUSE: EntryRef = EntryRef { index: 3, hash: [0x1f; 32] };
const PASSAGE: PassageId = PassageId([0x9a; 16]);

fn lane() -> String {
    "north".to_owned()
}

/// Returns entries of each kind, with all optional fields and with none.
fn one_of_each_kind() -> Vec<Entry> {
    let socket = || by(Via::Socket);
    let day = |month, day| Some(jiff::civil::date(2026, month, day));
    let terms = || Terms {
        valid_from: day(3, 1),
        valid_until: day(12, 31),
        consent: Some("C-0017".into()),
        consent_on: day(2, 27),
        contract_signed: day(2, 28),
        trained_on: day(3, 2),
    };
    let alike =
        || Alike { worker: "W002".parse().unwrap(), score: Score(6543), reason: "twins".into() };
    let enrolment = |terms, alike| Enrolment {
        person: person(),
        terms,
        id_type: "resident".into(),
        id_commitment: commitment(&[0x17; 32], "resident", "520102199001011234"),
        model: "sface_2021dec".into(),
        templates: 2,
        alike,
        face_withdrawn_on: None,
        compared: None,
        reason: None,
        waits: None,
        by: socket(),
    };
    let consent = |purpose: &str, what, form: Option<&str>, erased| ConsentChange {
        worker: worker(),
        purpose: purpose.parse().unwrap(),
        what,
        on: jiff::civil::date(2026, 10, 31),
        form: form.map(Into::into),
        erased,
        by: socket(),
    };
    let presentation = Some(Presentation { score: Score(-1200), cue: "moire".into(), rides: None });
    let card = || CardEvidence { reader: "entry".into(), commitment: [0xca; 32] };
    let everything = vec![
        Evidence::Face(FaceEvidence { presentation, ..face() }),
        Evidence::Card(card()),
        Evidence::Qr(card()),
        Evidence::IdCard(card()),
        Evidence::Guard(socket()),
    ];
    let flags = || {
        use Flag as F;
        vec![F::LATE, F::OTHER_FACE, F::SENSOR_SUSPECT, F::CLOCK, F::ROSTER_STALE, F::REPEAT_ENTRY]
    };
    let grant = |evidence, flags, photo| Grant {
        passage: PASSAGE,
        lane: lane(),
        direction: Direction::Entry,
        person: person(),
        evidence,
        flags,
        roster: 7,
        photo,
    };
    let denial = |person, evidence, flags| Denial {
        lane: lane(),
        direction: Direction::Exit,
        reason: "unknown_face".into(),
        person,
        evidence,
        flags,
    };
    let release = |person| GuardRelease {
        passage: PASSAGE,
        lane: lane(),
        direction: Direction::Entry,
        person,
        reason: "no face yet".into(),
        evidence: vec![Evidence::Guard(socket())],
        flags: Vec::new(),
    };
    let outcome =
        |outcome, detail, flags| Closing { passage: PASSAGE, cause: CAUSE, outcome, detail, flags };
    let correction = |outcome, detail, flags| Correction {
        passage: PASSAGE,
        cause: CAUSE,
        corrects: EntryRef { index: 4, hash: [0x2f; 32] },
        corrects_seq: 2,
        outcome,
        detail,
        flags,
    };
    let low = Score(-312);
    let stranger = || vec![Evidence::Face(FaceEvidence { score: low, margin: None, ..face() })];
    let refused = Detail::new("not_released").with("problem", "no answer within 300 ms");
    let removal = |reason: Option<&str>, erased| Removal {
        worker: worker(),
        reason: reason.map(Into::into),
        erased,
        by: socket(),
    };
    let clock = |what, moved_ms, booted_at_ms| ClockChange { what, moved_ms, booted_at_ms };
    let storage =
        |state: &str, detail, unrecorded| DiskState { state: state.into(), detail, unrecorded };
    let lost = Lost {
        first: 4712,
        last: 14_720,
        entries: 9,
        detail: Detail::new("database_shortened").with("last", 4711u64),
    };
    let confirmation = |reason: Option<&str>| RosterConfirmation {
        since: CAUSE,
        workers: 287,
        roster: 41,
        reason: reason.map(Into::into),
        by: by(Via::Console),
    };
    let successor = |predecessor, head| Successor {
        predecessor,
        head,
        set_aside: "set-aside/20261122T033855Z".into(),
        detail: Detail::new("damaged").with("problem", "database disk image is malformed"),
        workers: 287,
        workers_lost: 1,
    };
    let amendment =
        |id_commitment, faces, alike, particulars: &[&str], reason: Option<&str>| Amendment {
            person: person(),
            terms: terms(),
            id_commitment,
            particulars: particulars.iter().map(|name| (*name).to_owned()).collect(),
            faces,
            alike,
            compared: None,
            waits: None,
            reason: reason.map(Into::into),
            by: socket(),
        };
    let faces =
        |what, templates| Some(FacesChanged { what, model: "sface_2021dec".into(), templates });
    let state = |state, reason: &str, via| StateChange {
        worker: worker(),
        state,
        reason: reason.into(),
        by: by(via),
    };
    let mode = |mode, reason: Option<&str>, by, detail| ModeChange {
        lane: lane(),
        mode,
        reason: reason.map(Into::into),
        by,
        detail,
    };
    let tailgate = |direction, after| Tailgate { lane: lane(), direction, after };
    let other_face = |person, evidence| OtherFace {
        passage: PASSAGE,
        lane: lane(),
        direction: Direction::Entry,
        person,
        evidence,
    };
    let alarm = |what, subject: &str, raised, detail| Alarm {
        what,
        subject: subject.to_owned(),
        raised,
        detail,
    };
    let problem = |code, text: &str| Detail::new(code).with("problem", text);
    let lasted = |code| Detail::new(code).with("lasted_s", 200_u64);
    let card =
        |what| Card { worker: person().id, what, commitment: [0xca; 32], by: by(Via::Socket) };
    let several = |person| SeveralCards {
        lane: lane(),
        direction: Direction::Entry,
        person,
        evidence: vec![Evidence::Card(CardEvidence {
            reader: "north-card".into(),
            commitment: [0xca; 32],
        })],
    };
    let waits_no_more = |what, result, alike, compared, reason: Option<&str>| Confirmation {
        worker: worker(),
        what,
        result,
        from: "platform".into(),
        templates: 1,
        alike,
        compared,
        reason: reason.map(Into::into),
        by: socket(),
    };
    let bodies: Vec<Body> = vec![
        Boot { version: "0.1.0".into() }.into(),
        ConfigChange { config_sha256: [0xcf; 32] }.into(),
        enrolment(Terms::default(), None).into(),
        enrolment(terms(), Some(alike())).into(),
        grant(vec![Evidence::Face(face())], Vec::new(), None).into(),
        grant(everything, flags(), Some([0xf0; 32])).into(),
        outcome(Outcome::Passed, None, Vec::new()).into(),
        outcome(Outcome::NotPassed, Some(Detail::new("nothing_passed")), Vec::new()).into(),
        outcome(Outcome::Unconfirmed, Some(refused), vec![Flag::LATE]).into(),
        denial(None, stranger(), Vec::new()).into(),
        denial(Some(person()), vec![Evidence::Face(face())], vec![Flag::CLOCK]).into(),
        release(None).into(),
        release(Some(person())).into(),
        removal(None, Erased { templates: 0, photos: 0 }).into(),
        removal(Some("left"), Erased { templates: 3, photos: 3 }).into(),
        clock(ClockWhat::Synchronised, -600_000, Some(1_793_228_395_802)).into(),
        clock(ClockWhat::Unsynchronised, 0, None).into(),
        clock(ClockWhat::Stepped, 3_600_000, None).into(),
        storage("low", Detail::new("disk_free").with("mib", 12_u64).with("folder", "/var"), 0)
            .into(),
        storage("ample", Detail::new("disk_error").with("problem", "I/O error"), 41).into(),
        successor(Some(LedgerId([0x0d; 16])), Some(CAUSE)).into(),
        successor(None, None).into(),
        mode(LaneMode::Free, None, None, Some(Detail::new("fire_alarm").with("lane", "south")))
            .into(),
        mode(LaneMode::Normal, Some("all are out"), Some(socket()), None).into(),
        mode(LaneMode::Closed, Some("night"), Some(socket()), None).into(),
        Fire { lane: lane(), on: true }.into(),
        Fire { lane: lane(), on: false }.into(),
        tailgate(Direction::Entry, Some(PassageId([7; 16]))).into(),
        tailgate(Direction::Exit, None).into(),
        amendment(None, None, None, &[], None).into(),
        amendment(Some([0xc0; 32]), faces(FacesWhat::Added, 3), Some(alike()), &[], None).into(),
        amendment(None, faces(FacesWhat::Replaced, 1), None, &["phone", "bank_tail"], None).into(),
        amendment(None, faces(FacesWhat::Erased, 0), None, &[], Some("consent withdrawn")).into(),
        state(State::Suspended, "no helmet", Via::Socket).into(),
        state(State::Barred, "stole copper", Via::Socket).into(),
        state(State::Active, "talked it over", Via::Upstream).into(),
        Supplement {
            passage: PASSAGE,
            person: person(),
            direction: Direction::Exit,
            at_ms: 1_793_228_000_000,
            reason: "gate had no power".into(),
            by: socket(),
        }
        .into(),
        Dispute { disputes: CAUSE, reason: "his brother".into(), by: socket() }.into(),
        KeyChange { resealed: 901, by: by(Via::Console) }.into(),
        Pruning {
            pruned: 640,
            pruned_before: 1000,
            settled_on: jiff::civil::date(2026, 10, 31),
            keep_years: 3,
        }
        .into(),
        alarm(
            AlarmWhat::Outbox,
            "platform",
            true,
            Detail::new("records_wait").with("records", 41_u64),
        )
        .into(),
        alarm(AlarmWhat::Link, "platform", true, problem("link_down", "connection refused")).into(),
        alarm(AlarmWhat::Link, "platform", false, lasted("records_over").with("records", 41_u64))
            .into(),
        alarm(
            AlarmWhat::Certificate,
            "platform/broker",
            true,
            Detail::new("broker_certificate_ends").with("left_s", 2_505_600_u64),
        )
        .into(),
        alarm(
            AlarmWhat::CertificateEnded,
            "platform/gateway",
            true,
            Detail::new("gateway_certificate_ended").with("path", "/x.pem"),
        )
        .into(),
        alarm(AlarmWhat::Camera, "north/entry", true, problem("camera_error", "no such device"))
            .into(),
        alarm(AlarmWhat::Turnstile, "north", true, problem("turnstile_down", "no answer")).into(),
        alarm(
            AlarmWhat::UnknownFaces,
            "north",
            true,
            Detail::new("faces_unknown").with("count", 10_u64),
        )
        .into(),
        alarm(
            AlarmWhat::Neighbourhood,
            "02:fc:00:00:00:05",
            true,
            Detail::new("router_changed").with("known", "工地"),
        )
        .into(),
        alarm(
            AlarmWhat::Undecided,
            "north/entry",
            true,
            lasted("faces_undecided").with("source", "v4l2:/dev/video0"),
        )
        .into(),
        correction(Outcome::Unconfirmed, None, Vec::new()).into(),
        correction(
            Outcome::Passed,
            Some(Detail::new("nothing_passed")),
            vec![Flag::SENSOR_SUSPECT],
        )
        .into(),
        alarm(
            AlarmWhat::ForeignRelease,
            "north/entry",
            true,
            Detail::new("foreign_release")
                .with("output", "coil 3 of address 1 on /dev/ttyUSB0")
                .with("direction", "entry"),
        )
        .into(),
        other_face(None, stranger()).into(),
        other_face(Some(person()), vec![Evidence::Face(face())]).into(),
        alarm(
            AlarmWhat::PassageSensor,
            "north/entry",
            true,
            Detail::new("sensor_silent").with("sensor", "input 0"),
        )
        .into(),
        SigningKeyChange {
            key: PublicKey([0x6e; 32]),
            predecessor: None,
            endorsement: None,
            by: None,
        }
        .into(),
        SigningKeyChange {
            key: PublicKey([0x6f; 32]),
            predecessor: Some(PublicKey([0x6e; 32])),
            endorsement: Some(vec![0xed; 64]),
            by: Some(by(Via::Console)),
        }
        .into(),
        Shutdown { why: ShutdownWhy::Asked, problem: None }.into(),
        Shutdown { why: ShutdownWhy::Failed, problem: Some("a lane ended early".into()) }.into(),
        Heartbeat { lanes: 2, working: 1 }.into(),
        Gap {
            why: GapWhy::PowerCut,
            last_at_ms: 1_793_577_000_000,
            last_synced: true,
            lasted_ms: Some(600_000),
        }
        .into(),
        Gap {
            why: GapWhy::Killed,
            last_at_ms: 1_793_577_000_000,
            last_synced: false,
            lasted_ms: None,
        }
        .into(),
        Access { what: AccessWhat::Photo, by: socket() }.into(),
        PlannedDeletion {
            what: DeletedWhat::Attendance,
            on: jiff::civil::date(2030, 2, 14),
            count: 41_000,
            of_days_before: Some(jiff::civil::date(2027, 2, 14)),
            workers: Vec::new(),
        }
        .into(),
        PlannedDeletion {
            what: DeletedWhat::Faces,
            on: jiff::civil::date(2027, 5, 14),
            count: 1,
            of_days_before: None,
            workers: vec![person().id],
        }
        .into(),
        PhotoPruning {
            pruned: 812,
            of_days_before: Some(jiff::civil::date(2026, 10, 31)),
            crowded_out: 3,
        }
        .into(),
        Erasure {
            worker: person().id,
            erased: Erased { templates: 3, photos: 3 },
            valid_until: jiff::civil::date(2026, 10, 31),
            kept_days: 90,
        }
        .into(),
        lost.into(),
        confirmation(None).into(),
        confirmation(Some("compared with the list of October")).into(),
        Withdrawal { withdraws: CAUSE, reason: "it was he after all".into(), by: by(Via::Socket) }
            .into(),
        card(CardChange::Added).into(),
        card(CardChange::Lost).into(),
        several(Some(person())).into(),
        several(None).into(),
        consent("photo:platform", ConsentWhat::Given, Some("P-0003"), None).into(),
        consent(
            "face",
            ConsentWhat::Withdrawn,
            Some("C-0017"),
            Some(Erased { templates: 3, photos: 3 }),
        )
        .into(),
        consent("photo:platform", ConsentWhat::Withdrawn, None, None).into(),
        Enrolment {
            face_withdrawn_on: Some(jiff::civil::date(2026, 10, 31)),
            ..enrolment(Terms::default(), None)
        }
        .into(),
        Enrolment {
            waits: Some(WaitsWhat::Worker),
            by: by(Via::Upstream),
            ..enrolment(Terms::default(), None)
        }
        .into(),
        Enrolment {
            compared: Some(Compared::of(Some(0.4123))),
            reason: Some("with a helmet".into()),
            ..enrolment(Terms::default(), None)
        }
        .into(),
        Amendment {
            waits: Some(WaitsWhat::Faces),
            by: by(Via::Upstream),
            ..amendment(None, None, None, &[], None)
        }
        .into(),
        Amendment {
            compared: Some(Compared::of(None)),
            ..amendment(None, faces(FacesWhat::Replaced, 1), None, &[], Some("consents again"))
        }
        .into(),
        waits_no_more(WaitsWhat::Worker, ConfirmationResult::Confirmed, None, None, None).into(),
        waits_no_more(
            WaitsWhat::Faces,
            ConfirmationResult::Rejected,
            Some(alike()),
            Some(Compared::of(Some(0.4123))),
            Some("another person"),
        )
        .into(),
        exemption(ExemptionWhat::Given).into(),
        exemption(ExemptionWhat::Ended).into(),
    ];
    (0..)
        .zip(bodies)
        .map(|(n, body)| {
            let seq = body.goes_upstream().then_some(n + 1);
            entry(n, seq, body)
        })
        .collect()
}

/// The bytes of version 1 are frozen: never edit a line of the file. If this test fails, the code
/// is wrong. A new kind or a new optional field is a new line.
#[test]
fn the_bytes_of_version_1_never_change() {
    let frozen = include_str!("frozen_v1.txt");
    let expected: Vec<_> = frozen.lines().filter(|l| !l.starts_with('#')).collect();
    let lines: Vec<_> = one_of_each_kind()
        .iter()
        .map(|entry| {
            let bytes = entry.encode().unwrap();
            assert_eq!(Entry::decode(&bytes).unwrap(), *entry);
            let leaf = hex::encode(leaf_hash(&bytes));
            format!("{} {} {leaf}", entry.body.kind(), hex::encode(&bytes))
        })
        .collect();
    assert_eq!(lines, expected, "\n{}", lines.join("\n"));
}

#[test]
fn no_altered_byte_of_an_entry_goes_unnoticed() {
    for entry in one_of_each_kind() {
        let bytes = entry.encode().unwrap();
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

#[test]
fn a_kind_or_a_field_of_a_later_version_is_kept_and_not_refused() {
    let bytes = entry(9, Some(9), Fire { lane: lane(), on: true }).encode().unwrap();
    let value: Value = ciborium::from_reader(&bytes[..]).unwrap();
    // The bytes of the same entry with another value under a key.
    let later = |key: &str, new: fn(&Value) -> Value| {
        let mut value = value.clone();
        let mut all = value.as_map_mut().unwrap().iter_mut();
        let (_, old) = all.find(|(name, _)| name.as_text() == Some(key)).unwrap();
        *old = new(old);
        cbor::encode(&value).unwrap()
    };
    let field = later("data", |data| {
        let mut fields = data.as_map().unwrap().clone();
        fields.push(("floor".into(), 3.into()));
        Value::Map(fields)
    });
    let read = Entry::decode(&field).unwrap();
    assert_eq!(read.body, Fire { lane: lane(), on: true }.into());
    let floor = Unknown { path: vec!["data".into(), "floor".into()], value: 3.into() };
    assert_eq!(read.unknown, [floor]);
    assert_eq!(read.encode().unwrap(), field);
    let kind = later("kind", |_| "flood".into());
    let read = Entry::decode(&kind).unwrap();
    assert_eq!((read.body.word(), read.encode().unwrap()), ("flood", kind));
    let Body::Other(other) = read.body else { panic!() };
    assert_eq!(other.data.as_map().unwrap().len(), 2);
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

fn waits(tx: &Transaction<'_>, upstream: &str, after: u64) -> Result<Vec<Stored>, LedgerError> {
    Ok(waiting(tx, upstream, after, u64::MAX, 10, |stored, _| stored)?.rows)
}

async fn append(store: &Store, ledger: &Ledger, body: impl Into<Body>) -> Stored {
    let (ledger, body) = (ledger.clone(), body.into());
    store.write(Priority::Attendance, move |tx| ledger.append(tx, stamp(), body)).await.unwrap()
}

fn grant(n: u8) -> Grant {
    Grant {
        passage: PassageId([n; 16]),
        lane: lane(),
        direction: Direction::Entry,
        person: person(),
        evidence: vec![Evidence::Face(face())],
        flags: Vec::new(),
        roster: 1,
        photo: None,
    }
}

fn text_map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.map(|(name, value)| (name.into(), value)).into())
}

/// Evidence that a later version may hold: an unknown means, a face with an unknown field, a single
/// word, and a guard with an unknown `via`.
fn evidence_of_a_later_version() -> Vec<Evidence> {
    let palm = text_map([("palm", text_map([("score", 8123.into()), ("veins", 12.into())]))]);
    let mut judged = Value::serialized(&face()).unwrap();
    judged.as_map_mut().unwrap().push(("tilt".into(), 3.into()));
    let guard = [("uid", 0.into()), ("via", "screen".into()), ("user", "root".into())];
    let guard = text_map([("guard", text_map(guard))]);
    [palm, text_map([("face", judged)]), "beacon".into(), guard].map(Evidence::Other).into()
}

#[test]
fn evidence_and_words_of_a_later_version_are_kept_and_written_again_in_the_same_bytes() {
    let (palm, rest) = (evidence_of_a_later_version().remove(0), evidence_of_a_later_version());
    let flags = serde_json::from_str(r#"["late","drizzle"]"#).unwrap();
    let written = Grant { evidence: evidence_of_a_later_version(), flags, ..grant(1) };
    let field = |path: [&str; 2]| Unknown { path: path.map(Value::from).into(), value: 3.into() };
    let written = Entry {
        unknown: vec![field(["data", "floor"]), field(["time", "drift_ms"])],
        ..entry(8, None, written)
    };
    let bytes = written.encode().unwrap();
    let read = Entry::decode(&bytes).unwrap();
    assert_eq!(read.encode().unwrap(), bytes);
    assert_eq!(Entry::decode_known(&bytes).unwrap(), read, "decode_known reads the same entry");
    let Body::Grant(Grant { evidence, flags, .. }) = &read.body else { panic!("{read:?}") };
    let words: Vec<_> = flags.iter().map(Flag::word).collect();
    assert_eq!(words, ["late", "drizzle"]);
    assert_eq!(evidence[..2], [palm, Evidence::Face(face())]);
    assert_eq!(evidence[2..], rest[2..]);
    let tilt = ["data", "evidence"].map(Value::from).into_iter();
    let tilt = tilt.chain([1.into(), "face".into(), "tilt".into()]).collect();
    assert!(read.unknown.contains(&Unknown { path: tilt, value: 3.into() }), "{read:?}");
    assert_eq!(read.unknown.len(), 3);

    let params = serde_json::from_str(r#"{"code":"flooded","params":{"cm":40,"wet":true}}"#);
    let detail: Option<Detail> = params.unwrap();
    let cause = EntryRef { index: 8, hash: leaf_hash(&bytes) };
    let (passage, outcome) = (PassageId([1; 16]), Outcome::NotPassed);
    let closing = Closing { passage, cause, outcome, detail, flags: Vec::new() };
    let bytes = entry(9, Some(9), closing).encode().unwrap();
    let read = Entry::decode(&bytes).unwrap();
    assert_eq!(read.encode().unwrap(), bytes);
    let Body::Closing(Closing { detail: Some(detail), .. }) = &read.body else {
        panic!("{read:?}")
    };
    assert_eq!(detail.to_string(), "flooded, cm 40, wet true");
}

#[tokio::test]
async fn a_grant_with_evidence_of_a_later_version_is_listed_as_the_attendance_that_it_is() {
    let (_dir, store, ledger) = with_ledger(&["a"]).await;
    append(&store, &ledger, Grant { evidence: evidence_of_a_later_version(), ..grant(1) }).await;
    let l = ledger.clone();
    let close =
        move |tx: &Transaction<'_>| l.close(tx, stamp(), PassageId([1; 16]), Outcome::Passed, None);
    store.write(Priority::Attendance, close).await.unwrap();
    let listed = store.read(|tx| {
        let filter = AttendanceFilter { limit: 10, ..Default::default() };
        Ok::<_, LedgerError>(super::attendance(tx, &filter)?.rows)
    });
    let listed = listed.await.unwrap();
    let [Attended { cause: Some(cause), .. }] = &listed[..] else { panic!("{listed:?}") };
    let Body::Grant(grant) = &cause.entry.body else { panic!("{cause:?}") };
    assert_eq!((grant.person.clone(), grant.evidence.len()), (person(), 4));
    assert_eq!(cause.entry.unknown.len(), 1, "the face's tilt");
    assert_eq!(leaf_hash(&cause.entry.encode().unwrap()), cause.leaf);
}

#[tokio::test]
async fn a_lane_that_restarts_closes_its_own_passages_and_no_others() {
    let (_dir, store, ledger) = with_ledger(&[]).await;
    append(&store, &ledger, grant(1)).await;
    let (passage, direction) = (PassageId([2; 16]), Direction::Exit);
    let (person, evidence, flags) = (None, vec![Evidence::Guard(by(Via::Socket))], Vec::new());
    let (lane, reason) = ("south".into(), "x".into());
    let release = GuardRelease { passage, lane, direction, person, reason, evidence, flags };
    append(&store, &ledger, release).await;
    let close = |lane: Option<&'static str>| {
        let ledger = ledger.clone();
        store.write(Priority::Attendance, move |tx| ledger.close_interrupted(tx, stamp(), lane))
    };
    assert_eq!(close(Some("east")).await.unwrap(), 0);
    assert_eq!(close(Some("south")).await.unwrap(), 1);
    let closed = store.read(|tx| read(tx, 2)).await.unwrap().entry.body;
    let Body::Closing(Closing { passage, outcome, detail, .. }) = closed else { panic!() };
    assert_eq!((passage, outcome), (PassageId([2; 16]), Outcome::Unconfirmed));
    assert_eq!(detail, Some(Detail::new("lane_restarted")));
    assert_eq!(close(None).await.unwrap(), 1);
}

#[tokio::test]
async fn a_grant_goes_upstream_with_its_outcome_and_seq_has_no_gaps() {
    let (_dir, store, ledger) = with_ledger(&["a", "b"]).await;
    append(&store, &ledger, Boot { version: "1".into() }).await;
    assert_eq!(append(&store, &ledger, grant(1)).await.entry.seq, None);
    assert_eq!(append(&store, &ledger, grant(2)).await.entry.seq, None);
    let l = ledger.clone();
    let closed = store
        .write(Priority::Attendance, move |tx| {
            l.close(tx, stamp(), PassageId([2; 16]), Outcome::Passed, None)
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
            l.close(tx, stamp(), PassageId([1; 16]), Outcome::Passed, None)
        })
        .await;
    assert!(matches!(again, Err(LedgerError::NoCause(_))));
    let (waiting, attendance) = store
        .read(|tx| {
            let filter = AttendanceFilter { limit: 10, ..Default::default() };
            Ok::<_, LedgerError>((waits(tx, "a", 0)?, super::attendance(tx, &filter)?.rows))
        })
        .await
        .unwrap();
    let seqs: Vec<_> = waiting.iter().map(|s| s.entry.seq).collect();
    assert_eq!(seqs, [Some(1), Some(2), Some(3)]);
    let outcomes: Vec<_> = attendance
        .iter()
        .map(|a| match &a.entry.entry.body {
            Body::Closing(closing) => (closing.outcome, closing.cause.index),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(outcomes, [(Outcome::Unconfirmed, 1), (Outcome::Passed, 2)]);
}

#[tokio::test]
async fn a_row_is_struck_off_for_its_own_upstream_and_a_new_upstream_gets_everything() {
    let (_dir, store, ledger) = with_ledger(&["a"]).await;
    for _ in 0..3 {
        append(&store, &ledger, Boot { version: "1".into() }).await;
    }
    let backlogs = store
        .write(Priority::Upkeep, |tx| {
            let ledger = Ledger::open(tx, vec!["a".into(), "b".into()])?;
            // Only a record that an earlier run may have sent can be a repeat. A new upstream has
            // none.
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
async fn i3_records_are_queued_again_for_one_upstream_and_missing_ones_are_named() {
    let (dir, store, ledger) = with_ledger(&["a", "b"]).await;
    for _ in 0..3 {
        append(&store, &ledger, Boot { version: "1".into() }).await;
    }
    append(&store, &ledger, grant(1)).await;
    let l = ledger.clone();
    let close = move |tx: &Transaction<'_>| {
        l.close(tx, stamp(), PassageId([1; 16]), Outcome::Passed, None).map(drop)
    };
    store.write(Priority::Attendance, close).await.unwrap();
    store.write(Priority::Upkeep, |tx| strike_off(tx, "a", &[1, 2, 4])).await.unwrap();
    let again = |from, to| store.write(Priority::Upkeep, move |tx| queue_again(tx, "a", from, to));
    // Record 3 already waits and is counted too. A `to` beyond the last seq is allowed.
    let found = again(2, u64::MAX).await.unwrap();
    assert_eq!(found, Requeued { rows: 3, gone: vec![] });
    let waiting = async |upstream: &'static str| {
        let waiting = store.read(move |tx| waits(tx, upstream, 0)).await.unwrap();
        waiting.iter().filter_map(|s| s.entry.seq).collect::<Vec<_>>()
    };
    assert_eq!((waiting("a").await, waiting("b").await), (vec![2, 3, 4], vec![1, 2, 3, 4]));
    store.write(Priority::Upkeep, |tx| strike_off(tx, "a", &[2, 3, 4])).await.unwrap();
    // A damaged record, or a record whose cause is damaged, cannot be sent.
    let raw = Connection::open(dir.path().join("gatehouse.db")).unwrap();
    raw.execute("UPDATE entry SET bytes = x'00' WHERE seq = 2 OR kind = 'grant'", []).unwrap();
    assert_eq!(again(1, 4).await.unwrap(), Requeued { rows: 2, gone: vec![2, 4] });
    assert_eq!(waiting("a").await, [1, 3]);
    assert_eq!(again(5, 9).await.unwrap(), Requeued::default());
}

#[tokio::test]
async fn i3_what_stood_aside_in_a_database_waits_there_with_the_other_rows() {
    let (_dir, store, ledger) = with_ledger(&["a", "b"]).await;
    for _ in 0..4 {
        append(&store, &ledger, Boot { version: "1".into() }).await;
    }
    let move_aside = |tx: &Transaction<'_>| {
        let stubs = [(2, WithheldFor::TooLarge), (4, WithheldFor::TopicRefused)];
        withhold(tx, "a", &stubs)?;
        strike_off(tx, "a", &[1, 2, 4])
    };
    store.write(Priority::Upkeep, move_aside).await.unwrap();
    let read = |tx: &Transaction<'_>| {
        let all = outbox::waiting_or_aside(tx, "a", 0, 10, |stored, _| stored.entry.seq)?;
        let next = outbox::waiting_or_aside(tx, "a", 2, 1, |stored, _| stored.entry.seq)?;
        Ok::<_, LedgerError>((all.rows, next.rows))
    };
    let (all, next) = store.read(read).await.unwrap();
    assert_eq!((all, next), (vec![Some(2), Some(3), Some(4)], vec![Some(3)]));
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
    let id = ledger.id;
    let audited = |from, limit| store.read(move |tx| audit::part(tx, id, from, limit));
    let found = |index, fault| audit::Finding { index, fault };
    let (bytes, missing) = (found(0, audit::Fault::Bytes), found(1, audit::Fault::Missing));
    assert_eq!(audited(0, 2).await.unwrap(), (vec![bytes, missing], Some(2)));
    assert_eq!(audited(2, 2).await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn a_damaged_entry_does_not_block_later_entries() {
    let (dir, store, ledger) = with_ledger(&["a"]).await;
    for _ in 0..4 {
        append(&store, &ledger, Boot { version: "1".into() }).await;
    }
    let raw = Connection::open(dir.path().join("gatehouse.db")).unwrap();
    raw.execute("UPDATE entry SET bytes = x'00' WHERE seq IN (1, 2, 4)", []).unwrap();
    let waiting = store.read(|tx| waits(tx, "a", 0)).await.unwrap();
    assert_eq!(waiting.iter().map(|s| s.entry.seq).collect::<Vec<_>>(), [Some(3)]);
    assert!(store.read(|tx| waits(tx, "a", 3)).await.unwrap().is_empty());
    let backlog = store.read(|tx| backlog(tx, "a")).await.unwrap();
    assert_eq!(backlog, (4, Some(stamp())), "the time is that of the oldest readable entry");
}

#[tokio::test]
async fn i3_an_upstream_that_leaves_the_configuration_and_comes_back_misses_nothing() {
    let (_dir, store, ledger) = with_ledger(&["a"]).await;
    append(&store, &ledger, Boot { version: "1".into() }).await;
    store.write(Priority::Upkeep, |tx| strike_off(tx, "a", &[1])).await.unwrap();
    let reopen = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        store.write(Priority::Upkeep, move |tx| Ledger::open(tx, names))
    };
    let without = reopen(&[]).await.unwrap();
    append(&store, &without, Boot { version: "2".into() }).await;
    let still_without = reopen(&[]).await.unwrap();
    append(&store, &still_without, Boot { version: "3".into() }).await;
    let back = reopen(&["a"]).await.unwrap();
    assert_eq!(back.sent_before("a"), 1);
    append(&store, &back, Boot { version: "4".into() }).await;
    let waiting = store.read(|tx| waits(tx, "a", 0)).await.unwrap();
    let seqs: Vec<_> = waiting.iter().map(|s| s.entry.seq).collect();
    assert_eq!(seqs, [Some(2), Some(3), Some(4)]);
}

#[tokio::test]
async fn the_time_that_the_box_has_run_adds_up_over_boots_and_never_falls() {
    let (_dir, store, ledger) = with_ledger(&[]).await;
    let mut ran = Vec::new();
    for (boot, uptime_s) in [(1, 100), (1, 160), (2, 5), (2, 65), (3, 1)] {
        let ledger = ledger.clone();
        let stamp = Stamp { boot: BootId([boot; 16]), uptime_ms: uptime_s * 1000, ..stamp() };
        let append =
            move |tx: &Transaction<'_>| ledger.append(tx, stamp, Boot { version: "1".into() });
        ran.push(store.write(Priority::Upkeep, append).await.unwrap().entry.ran_s);
    }
    assert_eq!(ran, [100, 160, 165, 225, 226]);
}

#[tokio::test]
async fn a_cause_has_one_outcome_and_may_have_corrections() {
    let (dir, store, ledger) = with_ledger(&[]).await;
    append(&store, &ledger, grant(1)).await;
    let raw = Connection::open(dir.path().join("gatehouse.db")).unwrap();
    let about = |idx: u64, kind: &str| {
        raw.execute(
            "INSERT INTO entry (idx, seq, kind, at_ms, cause, bytes, leaf)
             VALUES (?1, ?1, ?2, 0, 0, x'00', zeroblob(32))",
            (idx, kind),
        )
    };
    about(1, "outcome").unwrap();
    about(2, "correction").unwrap();
    about(3, "correction").unwrap();
    assert!(about(4, "outcome").is_err());
}
