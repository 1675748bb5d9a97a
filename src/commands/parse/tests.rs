use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::roster::Gender;

const ID_NUMBER: &str = "522201199003074411";

fn read(verb: &str, args: Value) -> Result<Verb, Failure> {
    let Value::Object(args) = args else { panic!("{args}") };
    Verb::read(verb, args)
}

fn worker() -> Value {
    json!({
        "id": "W001", "name": "刘峰", "id_number": ID_NUMBER, "team": "钢筋一班",
        "contractor": "Fuding", "trade": "steel fixer",
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut args = worker();
    args[key] = value;
    args
}

#[test]
fn an_upsert_has_the_fields_of_an_enrolment() {
    let mut args = worker();
    for (key, value) in [
        ("id_type", "resident"),
        ("gender", "male"),
        ("birth_date", "1990-03-07"),
        ("phone", "13800138000"),
        ("bank_tail", "1234"),
        ("valid_from", "2026-10-01"),
        ("valid_until", "2026-12-31"),
        ("consent", "C-1"),
        ("consent_on", "2026-09-30"),
        ("contract_signed", "2026-09-29"),
        ("trained_on", "2026-09-28"),
        ("allow_duplicate_face", "twins"),
    ] {
        args[key] = json!(value);
    }
    args["photos"] = json!([STANDARD.encode(b"\xFF\xD8\xFF and more")]);
    let Ok(Verb::Upsert { enroll, photos }) = read("worker.upsert", args) else { panic!() };
    assert_eq!(photos, [b"\xFF\xD8\xFF and more"]);
    assert_eq!((enroll.photos[0].bytes, enroll.if_known), (12, IfKnown::Update));
    assert_eq!(enroll.terms.trained_on, Some(jiff::civil::date(2026, 9, 28)));
    assert_eq!(enroll.particulars.gender, Some(Gender::Male));
    assert_eq!(enroll.allow_duplicate_face.as_deref(), Some("twins"));
    // A null argument counts as absent.
    assert!(read("worker.upsert", with("phone", Value::Null)).is_ok());
}

#[test]
fn i8_each_argument_has_a_type_and_a_bound_and_no_message_shows_a_value() {
    let photo = |bytes: usize| {
        let jpeg = [b"\xFF\xD8\xFF".to_vec(), vec![0; bytes - 3]].concat();
        json!([STANDARD.encode(jpeg)])
    };
    let long = json!("字".repeat(TEXT_CHARS + 1));
    let resend = |from: u64, to: u64| json!({ "from": from, "to": to });
    let release =
        |direction: &str| json!({ "lane": "north", "direction": direction, "reason": "guest" });
    for (verb, args, code, said) in [
        ("worker.dance", json!({}), "unknown_verb", "worker.dance is none of"),
        ("status.now", json!({ "x": 1 }), "invalid", "args.x: is not known"),
        ("worker.upsert", json!({}), "invalid", "args.id: is missing"),
        ("worker.upsert", with("id", json!("a b")), "invalid", "args.id: must be 1 to 32"),
        ("worker.upsert", with("id", json!(ID_NUMBER)), "invalid", "it is an ID number"),
        ("worker.upsert", with("id_number", json!(5222)), "invalid", "must be a text"),
        ("worker.upsert", with("name", long), "invalid", "at most 256 characters"),
        ("worker.upsert", with("name", Value::Null), "invalid", "args.name: is missing"),
        ("worker.upsert", with("id_type", json!("visa")), "invalid", "args.id_type: must be"),
        ("worker.upsert", with("gender", json!("x")), "invalid", "male or female"),
        ("worker.upsert", with("valid_from", json!("1.10.")), "invalid", "a day such as"),
        ("worker.upsert", with("lane", json!("north")), "invalid", "args.lane: is not known"),
        ("worker.upsert", with("photos", json!("x")), "invalid", "args.photos: must be a list"),
        ("worker.upsert", with("photos", json!(["%"])), "invalid", "args.photos[0]: must be"),
        (
            "worker.upsert",
            with("photos", json!(["R0lGODlh"])),
            "photo_unreadable",
            "is a GIF picture",
        ),
        ("worker.upsert", with("photos", vec!["AAAA"; 6].into()), "invalid", "at most 5"),
        ("worker.upsert", with("photos", photo((1 << 20) + 1)), "photo_too_large", "1 MiB"),
        ("worker.suspend", json!({ "id": "W001" }), "invalid", "args.reason: is missing"),
        ("worker.remove", json!({ "id": ID_NUMBER }), "invalid", "it is an ID number"),
        ("roster.page", json!({ "limit": 0 }), "invalid", "1 to 200"),
        ("roster.page", json!({ "limit": 201 }), "invalid", "1 to 200"),
        ("roster.page", json!({ "limit": -1 }), "invalid", "must be a whole number"),
        ("lane.release", release("up"), "invalid", "entry or exit"),
        ("attendance.resend", json!({ "to": 1 }), "invalid", "args.from: is missing"),
        ("attendance.resend", resend(0, 1), "invalid", "from 1 on"),
        ("attendance.resend", resend(2, 1), "invalid", "not below from"),
        ("attendance.resend", resend(1, 10_001), "too_many", "ask for 1 to 10000 first"),
        ("attendance.resend", resend(1, u64::MAX), "too_many", "10000 records"),
    ] {
        let Err(refused) = read(verb, args) else { panic!("{verb}: not refused, {said}") };
        assert_eq!(refused.code.word(), code, "{refused}");
        assert!(refused.message.contains(said), "{refused} lacks {said:?}");
        assert!(!refused.message.contains(ID_NUMBER) && !refused.message.contains("5222"));
    }
    assert!(read("worker.upsert", with("photos", photo(1 << 20))).is_ok());
    assert!(read("attendance.resend", resend(1, 10_000)).is_ok());
    assert!(read("attendance.resend", resend(u64::MAX, u64::MAX)).is_ok());
    assert!(read("roster.page", json!({ "limit": 200, "after": "W1" })).is_ok());
    assert!(read("lane.release", release("exit")).is_ok());
}

fn values() -> impl Strategy<Value = Value> {
    let texts = prop::collection::vec(".{0,40}", 0..7);
    prop_oneof![
        ".{0,300}".prop_map(Value::from),
        "[A-Za-z0-9+/=]{0,40}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        texts.prop_map(Value::from),
        Just(Value::Null),
        Just(json!("W001")),
        Just(json!("2026-10-01")),
        Just(json!("entry")),
        Just(json!(7)),
    ]
}

proptest! {
    /// Arguments of any type are within their bounds, or the command is refused with a message.
    #[test]
    fn i8_arguments_of_any_type_are_within_their_bounds_or_refused(
        verb in prop::sample::select(vec![
            "worker.upsert", "worker.suspend", "worker.resume", "worker.remove",
            "roster.digest", "roster.page", "lane.release", "attendance.resend", "status.now",
        ]),
        args in prop::collection::btree_map(
            prop::sample::select(vec![
                "id", "name", "id_number", "team", "contractor", "trade", "photos", "phone",
                "valid_from", "gender", "reason", "after", "limit", "lane", "direction",
                "worker", "from", "to",
            ]),
            values(),
            0..8,
        ),
    ) {
        let args = args.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        match Verb::read(verb, args) {
            Ok(Verb::Page { limit, .. }) => prop_assert!((1..=PAGE_MAX).contains(&limit)),
            Ok(Verb::Resend { from, to }) => {
                prop_assert!(from >= 1 && to >= from && to - from < RESEND_MAX);
            }
            Ok(Verb::Upsert { photos, .. }) => prop_assert!(photos.len() <= PHOTOS_MAX),
            Ok(_) => {}
            Err(refused) => prop_assert!(!refused.message.is_empty()),
        }
    }
}
