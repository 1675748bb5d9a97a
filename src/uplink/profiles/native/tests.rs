//! Frozen payloads, which platforms parse. If one of these tests fails, change the code, not the
//! payload.

use super::*;
use crate::{
    clock::{BootId, Stamp},
    config::Direction,
    ledger::{
        Body, Closing, Correction, Denial, Entry, EntryRef, Evidence, Flag, Grant, LedgerId,
        Outcome, Score, Stored,
    },
    roster::Person,
    turnstile::PassageId,
};

const OUTCOME: &str = "63c0771ad2c235136e75eb925f24f487345766815da8e467028447cbc23cc628";
const DENIAL: &str = "9ea1a437b4c1664d161f9620df7e7d5067dea1c9aca2ce97c147c9502a4114cb";

fn origin() -> Origin {
    let timezone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    Origin { gateway: "gate-1".into(), project: "P1".into(), timezone }
}

/// Makes the message of an outbox row as the link does.
fn message(
    origin: &Origin,
    encoding: Encoding,
    stored: &Stored,
    cause: Option<Stored>,
    resent: bool,
) -> Made {
    let native = Native::speaking(Keys { encoding, remote_release: false }, Ack::Broker, origin);
    super::super::message(&native, origin, stored, cause, resent, |_| Default::default()).unwrap()
}

/// Returns a stored entry. `leaf` is not the hash of the entry, because the payload is frozen apart
/// from it.
fn stored(index: u64, seq: Option<u64>, body: impl Into<Body>, leaf: &str) -> Stored {
    let stamp = Stamp {
        wall_ms: 1_793_228_400_123,
        synced: true,
        boot: BootId([0xb0; 16]),
        uptime_ms: 4321,
    };
    let (salt, ledger) = ([0x5a; 16], LedgerId([0x1e; 16]));
    let (body, ran_s, unknown) = (body.into(), 0, Vec::new());
    let entry = Entry { salt, ledger, index, seq, stamp, ran_s, body, unknown };
    Stored { leaf: hex::decode(leaf).unwrap().try_into().unwrap(), entry }
}

fn face() -> Evidence {
    Evidence::of_face(Score(7123), Score(5000), "sface_2021dec")
}

fn attendance(encoding: Encoding, resent: bool) -> Message {
    let passage = PassageId([0x9a; 16]);
    let person = Person {
        id: "W001".parse().unwrap(),
        name: "刘峰".into(),
        team: "rebar".into(),
        contractor: "Guizhou Third".into(),
        trade: "steel fixer".into(),
    };
    let grant = Grant::new(passage, "north", Direction::Entry, person, face());
    let grant = stored(3, None, grant, OUTCOME);
    let (outcome, detail, flags) = (Outcome::Passed, None, Vec::new());
    let cause = EntryRef { index: 3, hash: grant.leaf };
    let outcome = Closing { passage, cause, outcome, detail, flags };
    message(&origin(), encoding, &stored(4, Some(2), outcome, OUTCOME), Some(grant), resent)
        .unwrap()
        .unwrap()
}

fn correction(encoding: Encoding) -> Message {
    let passage = PassageId([0x9a; 16]);
    let text = || "x".to_owned();
    let id = "W001".parse().unwrap();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    let grant = Grant::new(passage, "north", Direction::Entry, person, face());
    let grant = stored(3, None, grant, OUTCOME);
    let reference = |index| EntryRef { index, hash: grant.leaf };
    let correction = Correction {
        passage,
        cause: reference(3),
        corrects: reference(4),
        corrects_seq: 2,
        outcome: Outcome::Unconfirmed,
        detail: None,
        flags: vec![Flag::SENSOR_SUSPECT],
    };
    let correction = stored(8, Some(6), correction, DENIAL);
    message(&origin(), encoding, &correction, Some(grant), false).unwrap().unwrap()
}

#[test]
fn a_correction_goes_upstream_as_attendance_in_both_encodings() {
    let (json, cbor) = (correction(Encoding::Json), correction(Encoding::Cbor));
    assert_eq!(json.topic, "gatehouse/v1/P1/gate-1/attendance");
    assert_eq!(cbor.topic, json.topic);
    let read: serde_json::Value = ciborium::from_reader(cbor.payload.as_slice()).unwrap();
    assert_eq!(read, serde_json::from_slice::<serde_json::Value>(&json.payload).unwrap());
    let expected = serde_json::json!([6, 2, "unconfirmed", ["sensor_suspect"], 8]);
    let fields = ["seq", "corrects", "outcome", "flags"].map(|key| read[key].clone());
    assert_eq!(
        [&fields[..], &[read["leaf"]["index"].clone()]].concat(),
        *expected.as_array().unwrap()
    );
}

fn denial(encoding: Encoding) -> Message {
    let denial = Denial {
        lane: "north".into(),
        direction: Direction::Exit,
        reason: "unknown_face".into(),
        person: None,
        evidence: vec![face()],
        flags: Vec::new(),
    };
    message(&origin(), encoding, &stored(5, Some(3), denial, DENIAL), None, false).unwrap().unwrap()
}

#[test]
fn attendance_in_json_never_changes() {
    let message = attendance(Encoding::Json, true);
    assert_eq!(message.topic, "gatehouse/v1/P1/gate-1/attendance");
    assert_eq!(
        String::from_utf8(message.payload).unwrap(),
        include_str!("attendance.json").trim_end()
    );
    let first = attendance(Encoding::Json, false).payload;
    assert!(!String::from_utf8(first).unwrap().contains("resent"));
}

#[test]
fn an_event_in_json_never_changes() {
    let message = denial(Encoding::Json);
    assert_eq!(message.topic, "gatehouse/v1/P1/gate-1/event");
    assert_eq!(String::from_utf8(message.payload).unwrap(), include_str!("event.json").trim_end());
}

#[test]
fn cbor_says_the_same_and_its_bytes_never_change() {
    for (cbor, json, frozen) in [
        (
            attendance(Encoding::Cbor, true),
            attendance(Encoding::Json, true),
            include_str!("attendance.cbor.hex"),
        ),
        (denial(Encoding::Cbor), denial(Encoding::Json), include_str!("event.cbor.hex")),
    ] {
        let read: serde_json::Value = ciborium::from_reader(cbor.payload.as_slice()).unwrap();
        assert_eq!(read, serde_json::from_slice::<serde_json::Value>(&json.payload).unwrap());
        assert_eq!(hex::encode(&cbor.payload), frozen.trim_end());
        assert_eq!(cbor.topic, json.topic);
    }
}
