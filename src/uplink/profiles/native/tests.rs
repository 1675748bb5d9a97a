//! Frozen payloads: platforms parse them. Where one of these fails, the code is wrong.

use super::*;
use crate::{
    clock::{BootId, Stamp},
    config::Direction,
    ledger::{Body, Entry, Judgement, LedgerId, Outcome, Score, Stored, leaf_hash},
    roster::Person,
    turnstile::PassageId,
};

fn origin() -> Origin {
    let timezone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    Origin { gateway: "gate-1".into(), project: "P1".into(), timezone }
}

/// As the link makes it of an outbox row.
fn message(
    origin: &Origin,
    encoding: Encoding,
    stored: &Stored,
    cause: Option<Stored>,
    resent: bool,
) -> Made {
    let native = Native::new(origin, encoding, Ack::Broker);
    super::super::message(&native, origin, stored, cause, resent).unwrap()
}

fn stored(index: u64, seq: Option<u64>, body: Body) -> Stored {
    let stamp = Stamp {
        wall_ms: 1_793_228_400_123,
        synced: true,
        boot: BootId([0xb0; 16]),
        uptime_ms: 4321,
    };
    let (salt, ledger) = ([0x5a; 16], LedgerId([0x1e; 16]));
    let entry = Entry { salt, ledger, index, seq, stamp, body };
    Stored { leaf: leaf_hash(&entry.encode()), entry }
}

fn judgement() -> Judgement {
    Judgement { score: Score(7123), threshold: Score(5000), model: "sface_2021dec".into() }
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
    let grant = Body::Grant {
        passage,
        lane: "north".into(),
        direction: Direction::Entry,
        person,
        judgement: judgement(),
        margin: None,
        roster_version: 7,
        photo: None,
    };
    let grant = stored(3, None, grant);
    let (outcome, detail) = (Outcome::Passed, String::new());
    let outcome = Body::Outcome { passage, cause: 3, leaf: grant.leaf, outcome, detail };
    message(&origin(), encoding, &stored(4, Some(2), outcome), Some(grant), resent).unwrap()
}

fn denial(encoding: Encoding) -> Message {
    let denial = Body::Denial {
        lane: "north".into(),
        direction: Direction::Exit,
        reason: "unknown_face".into(),
        person: None,
        judgement: judgement(),
    };
    message(&origin(), encoding, &stored(5, Some(3), denial), None, false).unwrap()
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
