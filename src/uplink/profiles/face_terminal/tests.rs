use jiff::Timestamp;
use proptest::prelude::*;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::json;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;
use crate::{
    attendance::{Means, RecordOutcome},
    config::CommandLevel,
    roster::IdType,
    uplink::profiles::profile::Unmade,
};

const LEDGER: &str = "000102030405060708090a0b0c0d0e0f";

fn origin() -> Origin {
    let timezone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    Origin { gateway: "gate-1".into(), project: "P1".into(), timezone }
}

/// Makes the profile of an upstream with these keys of its own, and these common ones.
fn made(own: &str, common: &str) -> Result<FaceTerminal, String> {
    let broker = "broker = \"mqtt://127.0.0.1\"\n";
    let upstream: Upstream = toml::from_str(&[broker, common].concat()).unwrap();
    let keys: Keys = toml::from_str(own).map_err(|e| e.message().to_owned())?;
    FaceTerminal::new(keys, &upstream, &origin()).map_err(|w| format!("{}: {}", w.key, w.message))
}

fn profile(own: &str) -> FaceTerminal {
    made(own, "").unwrap()
}

fn record() -> Record {
    serde_json::from_value(json!({
        "v": 1, "gateway": "gate-1", "project": "P1", "ledger": LEDGER, "seq": 2,
        "passage": "9a", "worker": "W001", "name": "刘峰", "team": "rebar",
        "contractor": "Guizhou Third", "trade": "steel fixer", "direction": "entry",
        "lane": "north", "at": "2026-10-20T08:00:00.123+08:00", "means": "face",
        "score": 0.7123, "threshold": 0.5, "model": "m", "liveness": null, "outcome": "passed",
        "recorded_at": "2026-10-20T08:00:03.000+08:00",
        "clock": { "synced": true, "boot": "b0", "uptime_ms": 4321 }, "photo": null,
        "leaf": { "index": 4, "hash": "aa" },
    }))
    .unwrap()
}

/// Returns what goes with a record, made five seconds after it.
fn attached() -> Attached {
    let made_at = "2026-10-20T08:00:08+08:00".parse().unwrap();
    Attached { made_at, ..Attached::default() }
}

fn sent(profile: &FaceTerminal, record: &Record, attached: &Attached) -> (String, Value) {
    let message = profile.record(record, attached).unwrap().unwrap();
    assert!(!message.retained);
    (message.topic, serde_json::from_slice(&message.payload).unwrap())
}

#[test]
fn a_record_goes_as_the_terminals_push_it() {
    let (topic, pushed) = sent(&profile(""), &record(), &attached());
    assert_eq!(topic, "mqtt/face/gate-1/Rec");
    let expected = json!({
        "operator": "RecPush",
        "info": {
            "facesluiceId": "gate-1", "customId": "W001", "personId": "W001", "personName": "刘峰",
            "RecordID": "2097154", "VerifyStatus": "1", "VerfyType": 1, "similarity1": "71.23",
            "direction": "enter", "time": "2026-10-20 08:00:00", "Sendintime": 1,
            "PersonType": "0", "PushType": 0,
            "gatehouse": {
                "ledger": LEDGER, "seq": 2, "passage": "9a", "outcome": "passed", "means": "face",
                "team": "rebar", "contractor": "Guizhou Third", "clock_synced": true,
            },
        },
    });
    assert_eq!(pushed, expected);
}

#[test]
fn each_means_has_its_kind_of_verification_or_none_and_its_word_beside_it() {
    let profile = profile("");
    for (means, score, kind) in [
        (Means::Face, Some(0.7123), json!(1)),
        (Means::IdCard, None, json!(2)),
        // The face at the camera was compared with the card's worker.
        (Means::IdCard, Some(0.7123), json!(3)),
        // The dialect has no kind for these.
        (Means::Card, None, Value::Null),
        (Means::Card, Some(0.7123), Value::Null),
        (Means::Qr, None, Value::Null),
        (Means::Manual, None, Value::Null),
    ] {
        let (_, pushed) = sent(&profile, &Record { means, score, ..record() }, &attached());
        let info = &pushed["info"];
        assert_eq!((&info["VerfyType"], &info["VerifyStatus"]), (&kind, &json!("1")), "{means}");
        let similarity = score.map(|_| json!("71.23")).unwrap_or_default();
        assert_eq!(info["similarity1"], similarity, "{means}");
        assert_eq!(info["gatehouse"]["means"], means.word());
    }
}

#[test]
fn a_record_that_waited_is_not_live() {
    let profile = profile("");
    let late = Attached { made_at: "2026-10-20T08:00:14+08:00".parse().unwrap(), ..attached() };
    assert_eq!(sent(&profile, &record(), &late).1["info"]["Sendintime"], 0);
    let again = Record { resent: true, ..record() };
    assert_eq!(sent(&profile, &again, &attached()).1["info"]["Sendintime"], 0);
}

#[test]
fn what_a_platform_would_count_is_what_a_person_walked() {
    let profile = profile("");
    let outcome = |outcome| Record { outcome, ..record() };
    assert_eq!(profile.record(&outcome(RecordOutcome::NotPassed), &attached()).unwrap(), None);
    for counted in [RecordOutcome::Passed, RecordOutcome::Unconfirmed, RecordOutcome::Other] {
        assert_eq!(sent(&profile, &outcome(counted), &attached()).1["info"]["VerifyStatus"], "1");
    }
    // A correction makes a passage count that was left out.
    let corrected = Record { corrects: Some(2), seq: 9, ..outcome(RecordOutcome::Unconfirmed) };
    let (_, pushed) = sent(&profile, &corrected, &attached());
    assert_eq!(pushed["info"]["gatehouse"]["corrects"], 2);
    assert_eq!(pushed["info"]["time"], "2026-10-20 08:00:00");
    // What a person added stands aside, in words, and goes where the configuration says so.
    let added = Record { means: Means::Supplement, score: None, ..outcome(RecordOutcome::Claimed) };
    let Err(Unmade::Lacks(words)) = profile.record(&added, &attached()) else { panic!() };
    assert!(words.contains("supplements = true"), "{words}");
    let all = super::tests::profile("supplements = true");
    let (_, pushed) = sent(&all, &added, &attached());
    assert_eq!(
        (&pushed["info"]["Sendintime"], &pushed["info"]["VerfyType"]),
        (&json!(0), &Value::Null)
    );
}

#[test]
fn i5_an_id_number_goes_only_where_the_configuration_says_so() {
    let number = zeroize::Zeroizing::new("522201199003074411".to_owned());
    let known = Attached { identity: Some((IdType::Resident, number)), ..attached() };
    assert_eq!(sent(&profile(""), &record(), &known).1["info"]["idCard"], Value::Null);
    assert!(!profile("").needs().id_number);
    let with = profile("send_id_card = true");
    assert!(with.needs().id_number);
    assert_eq!(sent(&with, &record(), &known).1["info"]["idCard"], "522201199003074411");
    // An erased number costs no record; as customId it is needed.
    assert_eq!(sent(&with, &record(), &attached()).1["info"]["customId"], "W001");
    let by_number = profile("custom_id = \"id_card\"");
    let (_, pushed) = sent(&by_number, &record(), &known);
    assert_eq!(pushed["info"]["customId"], "522201199003074411");
    let Err(Unmade::Lacks(words)) = by_number.record(&record(), &attached()) else { panic!() };
    assert!(words.contains("W001") && !words.contains("5222"), "{words}");
    let by_code = profile("custom_id = \"code\"");
    let coded = Attached { code: Some("4711".into()), ..attached() };
    assert_eq!(sent(&by_code, &record(), &coded).1["info"]["customId"], "4711");
    assert!(matches!(by_code.record(&record(), &attached()), Err(Unmade::Lacks(_))));
}

#[test]
fn a_photo_goes_within_its_record() {
    let with = Attached { photo: Some(Ok(vec![0xff, 0xd8].into())), ..attached() };
    let (_, pushed) = sent(&profile(""), &record(), &with);
    assert_eq!(pushed["info"]["pic"], "data:image/jpeg;base64,/9g=");
    let without = Attached { photo: Some(Err("no consent".into())), ..attached() };
    let (_, pushed) = sent(&profile(""), &record(), &without);
    assert_eq!(
        (&pushed["info"]["pic"], &pushed["info"]["gatehouse"]["no_pic"]),
        (&Value::Null, &json!("no consent"))
    );
}

#[test]
fn names_topics_and_codes_are_those_of_the_configuration() {
    let own = r#"
        sn = "0012"
        device_code = "C7"
        topic = "mqtt/device/{code}/{id}"
        online_topic = "{topic}/basic"
        heartbeat_topic = "{topic}/heartbeat"
        heartbeat_s = 60
        extras = false
        directions = { entry = 1, exit = 0 }
        names = { personName = "persionName", RecordID = "nRecordIndex", direction = "inOut", PushType = "" }
        constants = { PersonType = "0", liveDetect = "N", uniqueId = "a1", PushType = 2 }
    "#;
    let profile = profile(own);
    let (topic, pushed) = sent(&profile, &record(), &attached());
    assert_eq!(topic, "mqtt/device/C7/0012/Rec");
    let info = &pushed["info"];
    let named = ["persionName", "nRecordIndex", "inOut", "uniqueId", "liveDetect", "facesluiceId"];
    let expected = ["刘峰", "2097154", "1", "a1", "N", "0012"];
    for (name, expected) in named.into_iter().zip(expected) {
        assert_eq!(info[name].to_string().trim_matches('"'), expected, "{name}");
    }
    for gone in ["personName", "PushType", "gatehouse", "direction"] {
        assert_eq!(info[gone], Value::Null, "{gone}");
    }
    assert_eq!(profile.heartbeat(), Some(Duration::from_secs(60)));
    assert_eq!(profile.topics(), "mqtt/device/C7/0012/");
    let online = Online { at: "2026-10-20T00:00:00Z".parse().unwrap(), ..Online::default() };
    let said = |made: Made| {
        let message = made.unwrap().unwrap();
        let value: Value = serde_json::from_slice(&message.payload).unwrap();
        (message.topic, value["operator"].clone(), value["info"].clone())
    };
    let time = "2026-10-20 08:00:00";
    assert_eq!(
        said(profile.status(&online)),
        (
            "mqtt/device/C7/0012/heartbeat".into(),
            json!("HeartBeat"),
            json!({"facesluiceId": "0012", "time": time})
        )
    );
    let (topic, operator, info) = said(profile.greeting(&online));
    assert_eq!(
        (&*topic, operator, &info["time"]),
        ("mqtt/device/C7/0012/basic", json!("Online"), &json!(time))
    );
    assert_eq!(said(profile.offline()).1, "Offline");
    let level = Authority::unsigned(CommandLevel::Status, &origin());
    assert_eq!(profile.listens_on(&level), ["mqtt/device/C7/0012"]);
    let none = Authority::unsigned(CommandLevel::None, &origin());
    assert_eq!(profile.listens_on(&none), Vec::<String>::new());
}

#[test]
fn keys_that_cannot_be_fulfilled_are_refused() {
    for (own, common, expected) in [
        ("topic = \"mqtt/device/{code}/{id}\"", "", "topic: {code} has no value"),
        ("topic = \"mqtt/+/x\"", "", "topic: \"mqtt/+/x\" is not a topic"),
        ("record_topic = \"{topic}//Rec\"", "", "record_topic: "),
        ("sn = \"a/b\"", "", "sn: must be a text without"),
        ("heartbeat_s = 1", "", "heartbeat_s: must be from 5 to 3600"),
        ("directions = { entry = 1.5, exit = 2 }", "", "directions.entry: must be"),
        ("names = { persionName = \"x\" }", "", "names: \"persionName\" is no member"),
        ("sign_key = \"x\"", "", "sign_key: is not an RSA key"),
        (
            "",
            "ack = \"platform\"\ncommand_key = \"file:/k\"",
            "ack: cannot stand beside a command_key",
        ),
    ] {
        let Err(said) = made(own, common) else { panic!("{own} {common}") };
        assert!(said.starts_with(expected), "{said:?} does not begin with {expected:?}");
    }
}

#[test]
fn a_signature_is_over_the_text_that_the_configuration_gives() {
    let pem = include_str!("test-key.pem");
    let own =
        format!("sn = \"0012\"\nsign_key = {pem:?}\nnames = {{ RecordID = \"nRecordIndex\" }}");
    let profile = profile(&own);
    let der = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let verified = |envelope: &Value, text: &str| {
        let signature = STANDARD.decode(envelope["clientSign"].as_str().unwrap()).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public());
        key.verify(text.as_bytes(), &signature).is_ok()
    };
    let (_, pushed) = sent(&profile, &record(), &attached());
    let text = "mqtt/face/0012/RecRecPushW00120971540012";
    let text = format!("{text}2026-10-20 08:00:000");
    assert!(verified(&pushed, &text));
    assert!(!verified(&pushed, &text.replace("W001", "W002")));
    let offline = profile.offline().unwrap().unwrap();
    let offline: Value = serde_json::from_slice(&offline.payload).unwrap();
    assert!(verified(&offline, "mqtt/face/basicOffline0012"));
}

proptest! {
    #[test]
    fn i3_a_records_number_leads_back_to_its_seq_in_its_ledger(
        ledger in any::<[u8; 16]>(), seq in 1..1_u64 << 31,
    ) {
        let ledger = LedgerId(ledger);
        let number = record::number_of(ledger, seq);
        prop_assert!(number <= i32::MAX as u64);
        prop_assert_eq!(record::seq_of(ledger, number), seq % (1 << 31));
    }

    #[test]
    fn i8_no_message_makes_the_reader_fail(payload in any::<Vec<u8>>(), text in "\\PC{0,200}") {
        let (profile, level) = (profile(""), Authority::unsigned(CommandLevel::All, &origin()));
        let text = json!({ "messageId": text, "operator": text, "info": { "customId": text } });
        for payload in [payload, text.to_string().into_bytes()] {
            let _ = profile.read("mqtt/face/gate-1", &payload, &level);
            let _ = profile.command(&payload, &level);
            let _ = profile.busy(&payload);
        }
    }
}

#[test]
fn i3_records_of_two_ledgers_have_different_numbers() {
    let of = |first: u8| record::number_of(LedgerId([first; 16]), 1);
    assert_ne!(of(1), of(2));
}

fn heard(common: &str, payload: &Value) -> Heard {
    let profile = made("", common).unwrap();
    let level = Authority::unsigned(CommandLevel::Status, &origin());
    profile.read("mqtt/face/gate-1", payload.to_string().as_bytes(), &level)
}

#[test]
fn acknowledgements_of_single_records_are_read() {
    let by_platform = "ack = \"platform\"";
    let ack = |info: Value| json!({ "operator": "PushAck", "messageId": "m", "info": info });
    for (info, expected) in [
        (json!({ "PushAckType": 2, "SnapOrRecordID": 490805 }), 490_805),
        (json!({ "PushAckType": "2", "SnapOrRecordID": "490805" }), 490_805),
        (json!({ "facesluiceId": "gate-1", "SnapOrRecordID": "7" }), 7),
        (json!({ "RecordID": "8" }), 8),
    ] {
        assert_eq!(heard(by_platform, &ack(info)), Heard::Taken(Ok(expected)));
    }
    let other = json!({ "operator": "RecPushAck", "info": { "nRecordIndex": 5 } });
    assert_eq!(heard(by_platform, &other), Heard::Taken(Ok(5)));
    for wrong in [
        json!({}),
        json!({ "SnapOrRecordID": -1 }),
        json!({ "facesluiceId": "x", "SnapOrRecordID": 1 }),
    ] {
        assert!(matches!(heard(by_platform, &ack(wrong)), Heard::Taken(Err(_))));
    }
    let strangers = json!({ "PushAckType": 1, "SnapOrRecordID": 3 });
    assert_eq!(heard(by_platform, &ack(strangers)), Heard::Nothing);
    assert_eq!(heard("", &ack(json!({ "SnapOrRecordID": 3 }))), Heard::Nothing);
    let online = json!({ "operator": "Online-Ack", "info": { "result": "ok" } });
    assert_eq!(heard("", &online), Heard::Welcome);
    assert_eq!(heard("", &json!({ "operator": "EditPerson" })), Heard::Undated);
}

fn read(own: &str, message: &Value) -> Result<Envelope, NoCommand> {
    let level = Authority::unsigned(CommandLevel::Roster, &origin());
    profile(own).command(message.to_string().as_bytes(), &level)
}

fn message(operator: &str, info: Value) -> Value {
    json!({ "messageId": "ID:localhost-63705/0:5", "operator": operator, "info": info })
}

#[test]
fn an_edited_person_becomes_an_edited_worker() {
    let own =
        "new_workers = { team = \"T\", contractor = \"C\", trade = \"X\", consent = \"P-7\" }";
    let info = json!({
        "customId": "W001", "name": "刘峰", "gender": 0, "idCard": "522201199003074411",
        "birthday": "1990-03-07", "nation": 1, "telnum1": "13900000000", "address": "x", "lat": 27.5,
        "personType": 0, "tempValid": 1, "validBegin": "2026-10-01 00:00:00",
        "validEnd": "2026-12-31 00:00:00", "pic": "data:image/jpeg;base64,/9j/2Q==",
        "strategyInfo": { "strategyNum": 1, "strategyData": [{ "strategyID": 1 }] },
    });
    let read_person = read(own, &message("EditPerson", info.clone())).unwrap();
    assert_eq!(read_person.verb, "worker.edit");
    assert_eq!(read_person.id, "EditPerson/W001/ID:localhost-63705/0:5");
    assert!(read_person.times.is_none() && !read_person.signed);
    let expected = json!({
        "id": "W001", "name": "刘峰", "id_number": "522201199003074411", "new_team": "T",
        "new_contractor": "C", "new_trade": "X", "new_consent": "P-7", "valid_from": "2026-10-01",
        "valid_until": "2026-12-31", "photos": ["/9j/2Q=="],
    });
    assert_eq!(Value::Object(read_person.args), expected);
    let batch = json!({
        "messageId": "b", "operator": "EditPersonsNew", "DataBegin": "BeginFlag", "PersonNum": "2",
        "DataEnd": "EndFlag", "info": [info, { "customId": "W002", "picURI": "http://x/1.jpg" }],
    });
    let read_batch = read(own, &batch).unwrap();
    assert_eq!(read_batch.verb, "workers.edit");
    assert_eq!(read_batch.args["each"][0], expected);
    assert_eq!(read_batch.args["each"][1]["photo_at"], "http://x/1.jpg");
    let mut cut = batch.clone();
    cut.as_object_mut().unwrap().remove("DataEnd");
    assert!(read(own, &cut).unwrap_err().message.contains("DataEnd"));
    let mut short = batch;
    short["PersonNum"] = json!(3);
    assert!(read(own, &short).unwrap_err().message.contains("PersonNum"));
}

#[test]
fn other_operators_become_verbs_or_are_refused() {
    let said = |operator: &str, info: Value| read("", &message(operator, info));
    let removed = said("DelPerson", json!({ "customId": "W001" })).unwrap();
    assert_eq!((&*removed.verb, &removed.args["id"]), ("worker.remove", &json!("W001")));
    let removed = said("DeletePersons", json!({ "customId": ["W001", "W002"] })).unwrap();
    assert_eq!(
        (&*removed.verb, &removed.args["each"][1]["id"]),
        ("workers.remove", &json!("W002"))
    );
    let shown = said("SearchPerson", json!({ "customId": "W001", "Picture": 1 })).unwrap();
    assert_eq!((&*shown.verb, &shown.args["id"]), ("worker.show", &json!("W001")));
    let times = json!({ "TimeS": "2026-10-20 08:00:00", "TimeE": "2026-10-20T09:00:00" });
    let again = said("ManualPushRecords", times).unwrap();
    let since: Timestamp = again.args["since"].as_str().unwrap().parse().unwrap();
    assert_eq!(since, "2026-10-20T08:00:00+08:00".parse::<Timestamp>().unwrap());
    for (operator, info, code) in [
        ("ManualPushRecords", json!({ "TimeE": "2026-10-20 08:00:00" }), "no_time_s"),
        ("ManualPushRecords", json!({ "TimeS": "2026-10-20 08:00:00", "TimeE": "x" }), "no_time_e"),
        ("DeleteAllPerson", json!({ "deleteall": 1 }), "not_supported"),
        ("SetSysTime", json!({ "sysTime": "2026-10-20 08:00:00" }), "not_supported"),
        ("RebootDevice", json!({}), "unknown_verb"),
        ("EditPerson", json!([]), "malformed"),
        ("EditPerson", json!({ "facesluiceId": "another", "customId": "W001" }), "misaddressed"),
    ] {
        let refused = said(operator, info).unwrap_err();
        assert_eq!(refused.code, code, "{refused:?}");
        assert_eq!(
            refused.id.as_deref().map(|id| command::Known::of(id).message.to_owned()).as_deref(),
            Some("ID:localhost-63705/0:5")
        );
    }
    // An ID number never becomes part of an id that the database keeps.
    let number = said("DelPerson", json!({ "customId": "522201199003074411" })).unwrap();
    assert_eq!(number.id, "DelPerson//ID:localhost-63705/0:5");
    assert_eq!(
        read("", &json!({ "operator": "DelPerson", "info": {} })).unwrap_err().code,
        "malformed"
    );
    let deep = (0..9).fold(json!(1), |inner, _| json!({ "a": inner }));
    assert_eq!(said("EditPerson", deep).unwrap_err().code, "malformed");
}

#[test]
fn i4_a_signed_command_needs_its_times() {
    let upstream: Upstream =
        toml::from_str("broker = \"mqtt://127.0.0.1\"\ncommands = \"roster\"").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    let command_key = serde_json::from_value(json!(format!("file:{}", key.display()))).unwrap();
    let upstream = Upstream { command_key: Some(command_key), ..upstream };
    let (authority, problem) = Authority::load(&upstream, &origin());
    assert_eq!(problem, None);
    let signer = crate::uplink::authority::Signer::new(&"ab".repeat(32), false).unwrap();
    let mut body = message("DelPerson", json!({ "customId": "W001" }));
    let profile = profile("");
    let unsigned = profile.command(body.to_string().as_bytes(), &authority).unwrap_err();
    assert_eq!(unsigned.code, "unsigned");
    for (name, value) in [("topic", "command"), ("project", "P1"), ("gateway", "gate-1")] {
        body[name] = value.into();
    }
    let signed = |body: &Value| {
        let message = signer.signed(&body.to_string()).to_string();
        profile.command(message.as_bytes(), &authority)
    };
    assert!(signed(&body).unwrap_err().message.contains("issued_at"));
    body["issued_at"] = json!("2026-10-20T08:00:00+08:00");
    body["expires_at"] = json!("2026-10-20T08:01:00+08:00");
    let read = signed(&body).unwrap();
    assert!(read.signed && read.times.is_some());
}

#[test]
fn answers_are_those_of_a_terminal() {
    let profile = profile("sn = \"0012\"");
    let answer = |reply: Value| serde_json::from_slice::<Value>(&profile.answer(&reply)).unwrap();
    let id = "EditPerson/W001/m/1";
    let result = json!({ "id": "W001", "result": "enrolled", "state": "pending", "templates": 1, "waits": "worker" });
    let said = answer(json!({ "id": id, "ok": true, "result": result }));
    let expected = json!({
        "messageId": "m/1", "operator": "EditPerson-Ack", "code": "200",
        "info": {
            "facesluiceId": "0012", "customId": "W001", "result": "ok", "state": "pending",
            "detail": "worker: a person at the site must confirm",
        },
    });
    assert_eq!(said, expected);
    for (code, expected) in [
        ("no_such_worker", "461"),
        ("invalid", "462"),
        ("photo_unreadable", "463"),
        ("no_face", "464"),
        ("storage", "465"),
        ("full", "467"),
        ("photo_too_large", "469"),
        ("photo_by_address", "471"),
        ("duplicate_face", "478"),
        ("busy", "410"),
        ("not_allowed", "462"),
        ("a_later_code", "462"),
    ] {
        let error = json!({ "code": code, "message": "why" });
        let said = answer(json!({ "id": id, "ok": false, "error": error }));
        assert_eq!(
            (&said["code"], &said["info"]["result"]),
            (&json!(expected), &json!("fail")),
            "{code}"
        );
        assert_eq!(said["info"]["detail"], format!("{code}: why"));
    }
    let result = json!({
        "done": ["W001"], "failed": [{ "id": "W002", "code": "no_face", "message": "why" }],
    });
    let said = answer(json!({ "id": "EditPersonsNew//b", "ok": true, "result": result }));
    let info = &said["info"];
    assert_eq!((&info["AddSucNum"], &info["AddErrNum"]), (&json!("1"), &json!("1")));
    assert_eq!(info["AddSucInfo"], json!([{ "customId": "W001" }]));
    assert_eq!(info["AddErrInfo"][0]["errcode"], "464");
    let result = json!({ "done": [], "failed": [] });
    let said = answer(json!({ "id": "DeletePersons//b", "ok": true, "result": result }));
    assert_eq!(said["info"]["DelSucNum"], "0");
    let unread = answer(
        json!({ "id": null, "ok": false, "error": { "code": "malformed", "message": "x" } }),
    );
    assert_eq!((&unread["operator"], &unread["code"]), (&json!("Ack"), &json!("462")));
    let busy = profile.busy(message("EditPerson", json!({})).to_string().as_bytes()).unwrap();
    let busy: Value = serde_json::from_slice(&busy).unwrap();
    assert_eq!(
        (&busy["code"], &busy["messageId"]),
        (&json!("410"), &json!("ID:localhost-63705/0:5"))
    );
}
