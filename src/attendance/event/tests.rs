//! The JSON of each kind of event keeps its names and its meaning.

use serde_json::json;

use super::*;
use crate::{
    clock::{BootId, ClockChange, ClockWhat, Stamp},
    config::Direction,
    ledger::{
        Actor, Alarm, AlarmWhat, Alike, CardEvidence, Closing, Denial, DiskState, Dispute,
        Enrolment, Entry, EntryRef, Evidence, Fire, GuardRelease, LaneMode, LedgerId, Outcome,
        Pruning, Removal, Score, Successor, Tailgate, Via,
    },
    roster::{Erased, Person, Terms},
    turnstile::PassageId,
};

fn sent(body: impl Into<Body>) -> Json {
    sent_with(body, Vec::new())
}

fn sent_with(body: impl Into<Body>, unknown: Vec<Unknown>) -> Json {
    let stamp = Stamp { wall_ms: 0, synced: true, boot: BootId([7; 16]), uptime_ms: 0 };
    let (salt, ledger) = ([0; 16], LedgerId([1; 16]));
    let body = body.into();
    let entry = Entry { salt, ledger, index: 3, seq: Some(2), stamp, ran_s: 0, body, unknown };
    let timezone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let origin = Origin { gateway: "gate-1".into(), project: "P1".into(), timezone };
    let event = EventRecord::of(&origin, &Stored { entry, leaf: [2; 32] }).unwrap();
    let mut sent = serde_json::to_value(event).unwrap();
    for common in ["v", "gateway", "project", "ledger", "seq", "at", "clock", "leaf"] {
        assert!(sent.as_object_mut().unwrap().remove(common).is_some(), "{common}");
    }
    sent
}

fn person() -> Person {
    let text = |text: &str| text.to_owned();
    let id = "W001".parse().unwrap();
    Person {
        id,
        name: text("刘峰"),
        team: text("rebar"),
        contractor: text("Fuding"),
        trade: text("fixer"),
    }
}

fn by() -> Actor {
    Actor { uid: 0, user: "root".into(), via: Via::Socket }
}

#[test]
fn the_fields_of_a_worker_an_actor_and_a_face_stand_beside_the_others() {
    let terms = Terms { consent: Some("C-1".into()), ..Terms::default() };
    let alike =
        Alike { worker: "W002".parse().unwrap(), score: Score(6500), reason: "twins".into() };
    let enrolment = Enrolment {
        person: person(),
        terms,
        id_type: "resident".into(),
        id_commitment: [0xc0; 32],
        model: "sface".into(),
        templates: 2,
        alike: Some(alike),
        face_withdrawn_on: None,
        compared: None,
        reason: None,
        waits: None,
        by: by(),
    };
    let expected = json!({
        "kind": "enrolment", "worker": "W001", "name": "刘峰", "team": "rebar",
        "contractor": "Fuding", "trade": "fixer", "consent": "C-1", "id_type": "resident",
        "id_commitment": "c0".repeat(32), "model": "sface", "templates": 2, "alike": "W002",
        "alike_score": 0.65, "alike_reason": "twins", "by": "root",
    });
    assert_eq!(sent(enrolment), expected);
    let release = GuardRelease {
        passage: PassageId([9; 16]),
        lane: "north".into(),
        direction: Direction::Entry,
        person: None,
        reason: "visitor".into(),
        evidence: vec![Evidence::Guard(by())],
        flags: Vec::new(),
    };
    let expected = json!({
        "kind": "release", "passage": "09".repeat(16), "lane": "north", "direction": "entry",
        "reason": "visitor", "by": "root",
    });
    assert_eq!(sent(release), expected);
    let (worker, erased) = ("W001".parse().unwrap(), Erased { templates: 3, photos: 2 });
    let expected = json!({
        "kind": "removal", "worker": "W001", "templates": 3, "photos": 2, "by": "root",
    });
    assert_eq!(sent(Removal { worker, reason: None, erased, by: by() }), expected);
}

#[test]
fn evidence_other_than_a_face_or_a_guard_is_sent_whole() {
    let card = CardEvidence { reader: "entry".into(), commitment: [0xca; 32] };
    let denial = Denial {
        lane: "north".into(),
        direction: Direction::Entry,
        reason: "expired".into(),
        person: None,
        evidence: vec![Evidence::Card(card)],
        flags: Vec::new(),
    };
    let sent = sent(denial);
    let card = json!({ "reader": "entry", "commitment": "ca".repeat(32) });
    assert_eq!(sent["evidence"], json!([{ "card": card }]));
}

#[test]
fn times_hashes_and_details_keep_their_names_and_formats() {
    let booted_at_ms = Some(1_793_228_400_000);
    let change = ClockChange { what: ClockWhat::Synchronised, moved_ms: -5, booted_at_ms };
    let expected = json!({
        "kind": "clock", "change": "synchronised", "moved_ms": -5,
        "booted_at": "2026-10-29T07:00:00.000+08:00",
    });
    assert_eq!(sent(change), expected);
    let disputes = EntryRef { index: 7, hash: [0xab; 32] };
    let expected = json!({
        "kind": "dispute", "disputes": { "index": 7, "hash": "ab".repeat(32) },
        "reason": "his brother", "by": "root",
    });
    assert_eq!(sent(Dispute { disputes, reason: "his brother".into(), by: by() }), expected);
    let closing = |outcome, detail| Closing {
        passage: PassageId([9; 16]),
        cause: disputes,
        outcome,
        detail,
        flags: Vec::new(),
    };
    assert_eq!(sent(closing(Outcome::Passed, None))["detail"], "");
    let failed = sent(closing(Outcome::NotPassed, Some(Detail::new("nothing_passed"))));
    assert_eq!(failed["detail"], "no one walked through in time");
    assert_eq!(
        (&failed["code"], &failed["outcome"]),
        (&json!("nothing_passed"), &json!("not_passed"))
    );
    let mode = |reason: Option<&str>, by, detail| ModeChange {
        lane: "north".into(),
        mode: LaneMode::Free,
        reason: reason.map(Into::into),
        by,
        detail,
    };
    let rung = sent(mode(None, None, Some(Detail::new("fire_alarm").with("lane", "south"))));
    assert_eq!(rung["reason"], "fire alarm at lane south");
    assert_eq!(sent(mode(Some("drill"), Some(by()), None))["reason"], "drill");
    let detail = Detail::new("disk_free").with("mib", 12_u64).with("folder", "/var");
    let expected = json!({
        "kind": "storage", "state": "low", "detail": "12 MiB free in /var", "code": "disk_free",
        "unrecorded": 0,
    });
    assert_eq!(sent(DiskState { state: "low".into(), detail, unrecorded: 0 }), expected);
}

#[test]
fn events_of_the_ledger_lanes_and_alarms_keep_their_names() {
    let detail =
        Detail::new("damaged_unacknowledged").with("problem", "torn").with("records", 4_u64);
    let successor = Successor {
        predecessor: Some(LedgerId([0x0d; 16])),
        head: None,
        set_aside: "set-aside/x".into(),
        detail,
        workers: 2,
        workers_lost: 1,
    };
    let expected = json!({
        "kind": "successor", "predecessor": "0d".repeat(16), "set_aside": "set-aside/x",
        "detail": "torn; 4 of its records were not yet acknowledged",
        "code": "damaged_unacknowledged", "workers": 2, "workers_lost": 1,
    });
    assert_eq!(sent(successor), expected);
    let settled_on = jiff::civil::date(2026, 10, 31);
    let pruning = sent(Pruning { pruned: 5, pruned_before: 9, settled_on, keep_years: 3 });
    assert_eq!((&pruning["pruned"], &pruning["pruned_before"]), (&json!(5), &json!(9)));
    let fire = sent(Fire { lane: "north".into(), on: true });
    assert_eq!(fire, json!({ "kind": "fire", "lane": "north", "on": true }));
    let (direction, after) = (Direction::Exit, Some(PassageId([7; 16])));
    let tailgate = sent(Tailgate { lane: "north".into(), direction, after });
    assert_eq!(tailgate["after"], "07".repeat(16));
    let detail = Detail::new("turnstile_down").with("problem", "no answer");
    let (what, subject) = (AlarmWhat::Turnstile, "north".to_owned());
    let expected = json!({
        "kind": "alarm", "what": "turnstile", "subject": "north", "raised": true,
        "detail": "no answer", "code": "turnstile_down",
    });
    assert_eq!(sent(Alarm { what, subject, raised: true, detail }), expected);
}

#[test]
fn fields_and_kinds_of_a_later_version_are_sent_unchanged() {
    let fire = Fire { lane: "north".into(), on: true };
    let unknown = vec![Unknown { path: vec!["data".into(), "floor".into()], value: 3.into() }];
    let expected = json!({ "kind": "fire", "lane": "north", "on": true, "floor": 3 });
    assert_eq!(sent_with(fire, unknown), expected);
    let data = Value::Map(vec![("lane".into(), "north".into()), ("cm".into(), 40.into())]);
    let other = Body::Other(crate::ledger::Other { kind: "flood".into(), data });
    assert_eq!(sent(other), json!({ "kind": "flood", "lane": "north", "cm": 40 }));
}
