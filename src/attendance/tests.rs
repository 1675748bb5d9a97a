//! The JSON of an attendance record.

use serde_json::json;

use super::*;
use crate::{
    clock::BootId,
    ledger::{
        CardEvidence, Closing, Correction, Detail, Entry, EntryRef, Grant, LedgerId, Other, Score,
        Unknown,
    },
    roster::Person,
    turnstile::PassageId,
};

fn stored(index: u64, seq: Option<u64>, body: impl Into<Body>, unknown: Vec<Unknown>) -> Stored {
    let stamp = Stamp { wall_ms: 0, synced: true, boot: BootId([7; 16]), uptime_ms: 0 };
    let (salt, ledger, body) = ([0; 16], LedgerId([1; 16]), body.into());
    let entry = Entry { salt, ledger, index, seq, stamp, ran_s: 0, body, unknown };
    Stored { entry, leaf: [2; 32] }
}

/// Returns the JSON of a passage with this evidence. `later`: grant and outcome have fields of a
/// later version.
fn sent(evidence: Vec<Evidence>, later: bool) -> Json {
    let text = || "x".to_owned();
    let id = "W001".parse().unwrap();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    let (passage, direction) = (PassageId([9; 16]), Direction::Entry);
    let face = Evidence::of_face(Score(7123), Score(5000), "sface");
    let grant = Grant { evidence, ..Grant::new(passage, "north", direction, person, face) };
    let field = |path: &[&str], value: Value| Unknown {
        path: path.iter().map(|key| Value::from(*key)).collect(),
        value,
    };
    let (of_grant, of_outcome) = match later {
        true => (
            vec![field(&["data", "floor"], 3.into())],
            vec![field(&["time", "drift_ms"], Value::Bytes(vec![0xca, 0xfe]))],
        ),
        false => Default::default(),
    };
    let cause = EntryRef { index: 3, hash: [2; 32] };
    let flags = serde_json::from_str(r#"["drizzle"]"#).unwrap();
    let closing = Closing { passage, cause, outcome: Outcome::Passed, detail: None, flags };
    let timezone = TimeZone::get("Asia/Shanghai").unwrap();
    let origin = Origin { gateway: "gate-1".into(), project: "P1".into(), timezone };
    let (grant, outcome) =
        (stored(3, None, grant, of_grant), stored(4, Some(2), closing, of_outcome));
    let record = Record::of(&origin, &outcome, Some(grant)).unwrap();
    let sent = serde_json::to_value(&record).unwrap();
    assert_eq!(serde_json::from_value::<Record>(sent.clone()).unwrap(), record);
    sent
}

#[test]
fn a_record_shows_evidence_flags_and_fields_of_a_later_version() {
    let palm = vec![("score".into(), 8123.into()), ("veins".into(), 12.into())];
    let palm = Evidence::Other(Value::Map(vec![("palm".into(), Value::Map(palm))]));
    let record = sent(vec![palm], true);
    assert_eq!((&record["means"], &record["outcome"]), (&json!("other"), &json!("passed")));
    assert_eq!(record["evidence"], json!([{ "palm": { "score": 0.8123, "veins": 12 } }]));
    assert_eq!(record["flags"], json!(["drizzle"]));
    assert_eq!(record["unknown"], json!({ "floor": 3, "time.drift_ms": "cafe" }));
}

#[test]
fn a_record_holds_its_evidence_unless_means_and_score_hold_all_of_it() {
    let face = || Evidence::of_face(Score(7123), Score(5000), "sface");
    let alone = sent(vec![face()], false);
    assert_eq!((&alone["means"], &alone["score"]), (&json!("face"), &json!(0.7123)));
    assert_eq!((alone.get("evidence"), alone.get("unknown")), (None, None));
    let card = Evidence::Card(CardEvidence { reader: "entry".into(), commitment: [0xca; 32] });
    let both = sent(vec![card, face()], false);
    assert_eq!((&both["means"], &both["score"]), (&json!("card"), &json!(0.7123)));
    let card = json!({ "card": { "reader": "entry", "commitment": "ca".repeat(32) } });
    assert_eq!(
        (&both["evidence"][0], &both["evidence"][1]["face"]["score"]),
        (&card, &json!(0.7123))
    );
}

/// Returns the record of a body whose cause is a grant, in JSON.
fn after_a_grant(body: impl Into<Body>) -> Json {
    let text = || "x".to_owned();
    let id = "W001".parse().unwrap();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    let face = Evidence::of_face(Score(7123), Score(5000), "sface");
    let mut grant = Grant::new(PassageId([9; 16]), "north", Direction::Exit, person, face);
    grant.flags = vec![Flag::CLOCK];
    let timezone = TimeZone::get("Asia/Shanghai").unwrap();
    let origin = Origin { gateway: "gate-1".into(), project: "P1".into(), timezone };
    let outcome = stored(9, Some(6), body, Vec::new());
    let grant = stored(3, None, grant, Vec::new());
    serde_json::to_value(Record::of(&origin, &outcome, Some(grant)).unwrap()).unwrap()
}

#[test]
fn a_correction_is_a_whole_record_that_names_the_record_it_replaces() {
    let reference = |index| EntryRef { index, hash: [2; 32] };
    let record = after_a_grant(Correction {
        passage: PassageId([9; 16]),
        cause: reference(3),
        corrects: reference(4),
        corrects_seq: 2,
        outcome: Outcome::Unconfirmed,
        detail: Some(Detail::new("nothing_passed")),
        flags: vec![Flag::SENSOR_SUSPECT],
    });
    let of = |key: &str| record[key].clone();
    assert_eq!((of("seq"), of("corrects")), (json!(6), json!(2)));
    assert_eq!((of("outcome"), of("worker")), (json!("unconfirmed"), json!("W001")));
    assert_eq!(of("flags"), json!(["sensor_suspect", "clock"]));
    assert_eq!((of("leaf")["index"].clone(), of("passage")), (json!(9), json!("09".repeat(16))));
}

#[test]
fn an_outcome_of_a_later_version_is_listed_with_its_word() {
    let field = |name: &str, value: Value| (name.into(), value);
    let data = Value::Map(vec![
        field("outcome", "carried".into()),
        field("passage", Value::Bytes(vec![9; 16])),
        field("flags", Value::Array(vec!["drizzle".into()])),
    ]);
    let record = after_a_grant(Body::Other(Other { kind: "outcome".into(), data }));
    assert_eq!((&record["outcome"], &record["worker"]), (&json!("other"), &json!("W001")));
    assert_eq!(record["unknown"], json!({ "outcome": "carried" }));
    assert_eq!(record["flags"], json!(["drizzle", "clock"]));
    assert_eq!(serde_json::from_value::<Record>(record).unwrap().outcome, RecordOutcome::Other);
}

#[test]
fn a_record_names_the_kind_of_the_camera_that_saw_the_face() {
    let mut face = Evidence::of_face(Score(7123), Score(5000), "sface");
    assert_eq!(sent(vec![face.clone()], false).get("camera"), None, "it was not noted");
    if let Evidence::Face(face) = &mut face {
        face.camera = "replay".into();
    }
    assert_eq!(sent(vec![face], false)["camera"], json!("replay"));
}

#[test]
fn a_record_with_an_unknown_means_can_be_read() {
    let mut record = sent(vec![Evidence::of_face(Score(7123), Score(5000), "sface")], false);
    record["means"] = "palm".into();
    assert_eq!(serde_json::from_value::<Record>(record).unwrap().means, Means::Other);
}
