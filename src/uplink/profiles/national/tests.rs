//! The vectors of the interface, and what becomes of each record and answer.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::{
    attendance::{ClockState, Leaf, Means, Reckoned, Undated},
    config::{Config, Direction},
    roster::IdType,
    uplink::profiles,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ID: &str = "110101199003070011";
const SEALED: &str = "Pd0vMXi8duONTDrCFWgg8vB2aSMXgyQOQIsobzrLl1Q=";
const KEYS: &str = "appid = \"P-1\"\nsecret = \"file:secret\"\n";
const TEAMS: &str = "[upstream.teams]\n\"Steel 1\" = \"100001\"\n\"Steel 2\" = 100002\n";

/// Reads a configuration with these lines under `[[upstream]]`. The error has no path.
fn configured(lines: &str, secret: &str) -> Result<National, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), format!("{secret}\n")).unwrap();
    std::fs::write(dir.path().join("corp"), "CORP\n").unwrap();
    let path = dir.path().join("g.toml");
    let head = "[site]\nproject_code = \"P-1\"\n[[upstream]]\nprofile = \"national\"\n";
    let text = format!("{head}url = \"https://platform.example/open\"\n{lines}");
    std::fs::write(&path, &text).unwrap();
    let config = Config::parse(&path, &text).map_err(|e| e.to_string())?;
    profiles::check(&config).map_err(|e| e.to_string())?;
    let (upstream, timezone) = (&config.upstreams[0], TimeZone::get("Asia/Shanghai").unwrap());
    let origin = Origin { gateway: "g".into(), project: "P-1".into(), timezone };
    let keys = toml::Value::Table(upstream.own.0.clone()).try_into().unwrap();
    National::new(keys, upstream, &origin).map_err(|wrong| wrong.message)
}

fn national(lines: &str) -> National {
    configured(&format!("{KEYS}{lines}"), SECRET).unwrap()
}

fn record() -> Record {
    let text = String::new;
    Record {
        v: 1,
        gateway: text(),
        project: text(),
        ledger: text(),
        seq: 7,
        passage: text(),
        worker: "W001".to_owned(),
        name: text(),
        team: "Steel 1".to_owned(),
        contractor: "Fuding Labour Co".to_owned(),
        trade: text(),
        direction: Direction::Entry,
        lane: None,
        at: "2026-11-22T10:26:27.217+08:00".to_owned(),
        corrected_at: None,
        undated: None,
        means: Means::Face,
        score: None,
        threshold: None,
        model: None,
        camera: None,
        liveness: None,
        outcome: RecordOutcome::Passed,
        corrects: None,
        recorded_at: text(),
        clock: ClockState { synced: true, boot: text(), uptime_ms: 0 },
        photo: None,
        reason: None,
        by: None,
        leaf: Leaf { index: 0, hash: text() },
        flags: Vec::new(),
        evidence: Vec::new(),
        unknown: Default::default(),
        resent: false,
        disputed: None,
        dispute: None,
    }
}

fn attached() -> Attached {
    let identity = Some((IdType::Resident, ID.to_owned().into()));
    Attached { identity, ..Attached::default() }
}

fn made(profile: &National, record: &Record) -> Option<(String, Value)> {
    let message = profile.record(record, &attached()).unwrap()?;
    Some((message.topic, serde_json::from_slice(&message.payload).unwrap()))
}

fn lacks(profile: &National, record: &Record, attached: &Attached) -> String {
    match profile.record(record, attached) {
        Err(Unmade::Lacks(words)) => words,
        other => panic!("{other:?}"),
    }
}

fn parcel(profile: &National, record: &Record) -> Parcel {
    let message = profile.record(record, &attached()).unwrap().unwrap();
    Parcel { seq: record.seq, message, resent: false }
}

fn moment() -> Moment {
    let nonce = hex::decode("00112233445566778899aabbccddeeff").unwrap().try_into().unwrap();
    Moment { at: "2026-11-22T10:27:00+08:00".parse().unwrap(), nonce }
}

fn fields(request: &Request) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

#[test]
fn the_vectors_of_signature_and_cipher_hold() {
    let profile = national(TEAMS);
    let request = profile.0.deliver(&[parcel(&profile, &record())], &moment()).unwrap();
    let fields = fields(&request);
    let data = format!(
        "{{\"projectCode\":\"P-1\",\"teamSysNo\":\"100001\",\"dataList\":[{{\"idCardType\":\"01\",\
         \"idCardNumber\":\"{SEALED}\",\"date\":\"2026-11-22 10:26:27\",\"direction\":\"01\",\
         \"attendType\":\"001\"}}]}}"
    );
    let sign = "7bdbf3fac6850673544844562476f37b01edf4f2bd4163940cff0bdd78d7d52d";
    let expected = [
        ("appid", "P-1"),
        ("data", &data),
        ("format", "json"),
        ("method", "WorkerAttendance.Add"),
        ("nonce", "00112233445566778899aabbccddeeff"),
        ("sign", sign),
        ("timestamp", "20261122102700"),
        ("version", "1.0"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(fields, BTreeMap::from(expected));
    assert_eq!((&*request.path, &request.body[..9]), ("", &b"appid=P-1"[..]));
}

#[test]
fn the_envelope_of_fujian_has_six_digits_and_the_companys_signature() {
    let lines = "corp_key = \"file:corp\"\nnonce_digits = 6\nplatform_project = \"350000\"\n";
    let profile = national(&format!("{lines}method = \"Attendance.Add\"\n{TEAMS}"));
    let request = profile.0.deliver(&[parcel(&profile, &record())], &moment()).unwrap();
    let fields = fields(&request);
    let sealed = profile.0.account.sealed("CORP20261122102700").unwrap();
    assert_eq!((&fields["corpsign"], &*fields["method"]), (&sealed, "Attendance.Add"));
    assert_eq!(fields["nonce"].len(), 6);
    assert!(fields["nonce"].bytes().all(|digit| digit.is_ascii_digit()), "{fields:?}");
    assert!(fields["data"].starts_with("{\"projectCode\":\"350000\","), "{fields:?}");
}

#[test]
fn codes_of_directions_means_and_documents_are_a_table_of_the_configuration() {
    let lines = "direction_codes = { entry = 1, exit = 0 }\nattend_types = { card = \"66\" }\n\
                 id_card_types = { passport = \"A\" }\n";
    let profile = national(&format!("{lines}{TEAMS}"));
    let exit = Record { direction: Direction::Exit, means: Means::Card, ..record() };
    let (_, row) = made(&profile, &exit).unwrap();
    assert_eq!((&row["direction"], &row["attendType"]), (&json!(0), &json!("66")));
    let usual = national(TEAMS);
    for (means, code) in [
        (Means::Face, "001"),
        (Means::Card, "006"),
        (Means::IdCard, "005"),
        (Means::Qr, "010"),
        (Means::Manual, "008"),
        (Means::Supplement, "011"),
    ] {
        let (_, row) = made(&usual, &Record { means, ..record() }).unwrap();
        assert_eq!(row["attendType"], code);
    }
    let (_, later) = made(&usual, &Record { means: Means::Other, ..record() }).unwrap();
    assert_eq!(later.get("attendType"), None);
    for (profile, kind, code) in [
        (&usual, IdType::Passport, "08"),
        (&usual, IdType::HkMacaoPermit, "10"),
        (&usual, IdType::TaiwanPermit, "12"),
        (&profile, IdType::Passport, "A"),
    ] {
        let identity = Some((kind, "E12345678".to_owned().into()));
        let attached = Attached { identity, ..Attached::default() };
        let message = profile.record(&record(), &attached).unwrap().unwrap();
        let row: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(row["idCardType"], code);
    }
}

#[test]
fn a_team_has_its_number_by_name_or_by_contractor_and_name() {
    let lines = format!("{TEAMS}\"Fuding Labour Co/Steel 2\" = 7\n");
    let profile = national(&lines);
    let of = |contractor: &str, team: &str| {
        let (contractor, team) = (contractor.to_owned(), team.to_owned());
        made(&profile, &Record { contractor, team, ..record() }).unwrap().0
    };
    assert_eq!(of("Fuding Labour Co", "Steel 1"), "\"100001\"");
    assert_eq!(of("Fuding Labour Co", "Steel 2"), "7");
    assert_eq!(of("Another Co", "Steel 2"), "100002");
    let team = "Steel 3".to_owned();
    let words = lacks(&profile, &Record { team, ..record() }, &attached());
    assert!(words.starts_with("the team \"Steel 3\" has no number of the platform"), "{words}");
    assert!(words.contains("add \"Steel 3\" = NUMBER under [upstream.teams]"), "{words}");
    let words = lacks(&profile, &Record { team: String::new(), ..record() }, &attached());
    assert!(words.starts_with("worker W001 has no team"), "{words}");
}

#[test]
fn every_day_of_a_worker_goes_and_what_did_not_take_place_is_left_out() {
    let of = |outcome, corrects| Record { outcome, corrects, ..record() };
    let profile = national(TEAMS);
    for outcome in [
        RecordOutcome::Passed,
        RecordOutcome::Claimed,
        RecordOutcome::Unconfirmed,
        RecordOutcome::Other,
    ] {
        assert!(made(&profile, &of(outcome, None)).is_some(), "{outcome}");
        // A correction that adds a passage goes as any other.
        assert!(made(&profile, &of(outcome, Some(3))).is_some(), "{outcome}");
    }
    assert_eq!(made(&profile, &of(RecordOutcome::NotPassed, None)), None);
    // The platform may have the record that this one takes back, and keeps it.
    let words = lacks(&profile, &of(RecordOutcome::NotPassed, Some(3)), &attached());
    assert!(words.contains("takes no record back: tell its operator"), "{words}");
    let strict = national(&format!("unconfirmed = \"leave_out\"\n{TEAMS}"));
    assert_eq!(made(&strict, &of(RecordOutcome::Unconfirmed, None)), None);
    assert!(made(&strict, &of(RecordOutcome::Passed, None)).is_some());
}

#[test]
fn a_record_goes_with_its_true_time_or_waits_until_there_is_one() {
    let profile = national(TEAMS);
    let with = |reckoned| Attached { reckoned: Some(reckoned), ..attached() };
    let corrected_at = Some("2026-11-22T08:00:01.000+08:00".to_owned());
    let right = Reckoned { corrected_at, undated: None };
    let message = profile.record(&record(), &with(right)).unwrap().unwrap();
    let row: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(row["date"], "2026-11-22 08:00:01");
    let undated = Reckoned { corrected_at: None, undated: Some(Undated::default()) };
    let words = lacks(&profile, &record(), &with(undated));
    assert!(words.ends_with("synchronise the clock"), "{words}");
}

#[test]
fn a_record_without_its_id_number_stands_aside_and_a_photo_goes_within_it() {
    let profile = national(TEAMS);
    let words = lacks(&profile, &record(), &Attached::default());
    assert_eq!(words, "the ID number of worker W001 is not there any more");
    let photo = Some(Ok([0xff, 0xd8].as_slice().into()));
    let message = profile.record(&record(), &Attached { photo, ..attached() }).unwrap().unwrap();
    let row: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(row["image"], "/9g=");
    let photo = Some(Err("no consent".to_owned()));
    let message = profile.record(&record(), &Attached { photo, ..attached() }).unwrap().unwrap();
    assert!(!String::from_utf8(message.payload).unwrap().contains("image"));
}

#[test]
fn an_answer_is_a_verdict_a_refused_account_or_no_answer() {
    let profile = national(TEAMS);
    let row = parcel(&profile, &record());
    let two = [row.clone(), row.clone()];
    let said =
        |rows: &[Parcel], answer: Value| profile.0.delivered(rows, answer.to_string().as_bytes());
    let later = Verdict::Later("2:S-1".to_owned());
    for data in [json!({"requestSerialCode": "S-1"}), json!("{\"requestSerialCode\":\"S-1\"}")] {
        let answer = json!({"code": 0, "data": data});
        assert_eq!(said(&two, answer), Ok(vec![later.clone(); 2]));
    }
    for code in [json!(0), json!("0")] {
        assert_eq!(said(&two, json!({"code": code})), Ok(vec![Verdict::Taken; 2]));
    }
    let refused = Verdict::Refused("班组编号无效, code -1".to_owned());
    let answer = json!({"code": "-1", "message": "班组编号无效"});
    assert_eq!(said(&two, answer), Ok(vec![refused; 2]));
    // It has one of the two, and nothing says which.
    let exists = json!({"code": -1, "msg": "考勤记录已存在"});
    let words = "考勤记录已存在, code -1".to_owned();
    assert_eq!(said(&two, exists.clone()), Ok(vec![Verdict::Refused(words.clone()); 2]));
    // Words like these may also mean the person, so they count for a repeat only.
    let first = Parcel { resent: false, ..row.clone() };
    assert_eq!(said(&[first], exists.clone()), Ok(vec![Verdict::Refused(words)]));
    assert_eq!(said(&[Parcel { resent: true, ..row }], exists), Ok(vec![Verdict::Taken]));
    for code in [-2, -3, -4] {
        let refused = said(&two, json!({"code": code, "message": "no"})).unwrap_err();
        assert!(refused.is_login && refused.words.ends_with(&format!("(no, code {code})")));
    }
    for code in [-5, 77] {
        let words = format!("code {code}");
        assert_eq!(said(&two, json!({"code": code})), Ok(vec![Verdict::NotNow(words); 2]));
    }
    let not_json = profile.0.delivered(&two, "<html>登录".as_bytes()).unwrap_err();
    assert!(!not_json.is_login && not_json.words.contains("begins with \"<html>登录\""));
    for no_code in [json!({}), json!({"code": null}), json!({"code": "ok"})] {
        assert!(said(&two, no_code).unwrap_err().words.contains("has no code"));
    }
}

#[test]
fn a_late_verdict_is_of_its_own_call_and_a_refused_batch_goes_row_by_row() {
    let profile = national(TEAMS);
    let asked = fields(&profile.0.inquire("2:S-1", &moment()).unwrap());
    assert_eq!(&*asked["method"], "AsyncHandleResult.Query");
    assert_eq!(&*asked["data"], "{\"requestSerialCode\":\"S-1\"}");
    let said =
        |serial: &str, answer: Value| profile.0.inquired(serial, answer.to_string().as_bytes());
    let status = |status: Value| json!({"code": 0, "data": {"status": status, "result": "日期"}});
    for (waiting, done) in [(json!(0), json!(20)), (json!("00"), json!("20"))] {
        assert_eq!(said("2:S-1", status(waiting)), Ok(None));
        assert_eq!(said("2:S-1", status(done)), Ok(Some(Verdict::Taken)));
    }
    let failed = status(json!(10));
    assert_eq!(said("1:S-1", failed.clone()), Ok(Some(Verdict::Refused("日期".to_owned()))));
    assert_eq!(said("2:S-1", failed), Ok(Some(Verdict::NotNow("日期".to_owned()))));
    let exists = json!({"code": 0, "data": {"status": 10, "message": "考勤已存在"}});
    assert_eq!(said("1:S-1", exists.clone()), Ok(Some(Verdict::Taken)));
    assert!(matches!(said("0:S-1", exists.clone()), Ok(Some(Verdict::Refused(_)))));
    assert!(matches!(said("2:S-1", exists), Ok(Some(Verdict::NotNow(_)))));
    let unknown = json!({"code": -1, "message": "无此编码"});
    assert!(matches!(said("2:S-1", unknown), Ok(Some(Verdict::NotNow(_)))));
    for late in [json!({"code": -5}), json!({"code": 0}), status(json!(30))] {
        assert!(matches!(said("2:S-1", late), Ok(Some(Verdict::Later(_)))));
    }
    let other = json!({"code": 0, "data": {"status": 20, "requestSerialCode": "S-2"}});
    let words = said("2:S-1", other).unwrap_err().words;
    assert_eq!(words, "it answers for call \"S-2\", and was asked for \"S-1\"");
    assert!(said("2:S-1", json!({"code": -2})).unwrap_err().is_login);
}

#[test]
fn a_configuration_that_the_platform_could_not_read_is_refused() {
    for (lines, secret, expected) in [
        ("secret = \"file:secret\"", SECRET, "appid: is missing"),
        ("appid = \"P-1\"\nsecret = \"0123456789abcdef\"", SECRET, "give file:PATH or credential"),
        (KEYS, "short", "secret: must have 16, 24 or 32 bytes"),
        ("appid = \"\"\nsecret = \"file:secret\"", SECRET, "appid: is empty"),
        (&format!("{KEYS}nonce_digits = 3"), SECRET, "nonce_digits: must be 32 (hexadecimal), or"),
        (&format!("{KEYS}at_once = 65"), SECRET, "at_once: must be from 1 to 64"),
        (
            &format!("{KEYS}[upstream.teams]\nunconfirmed = \"send\""),
            SECRET,
            "teams.unconfirmed: is a key of [[upstream]]: write it above [upstream.teams]",
        ),
        (&format!("{KEYS}taken_words = [\"\"]"), SECRET, "taken_words: has an empty text"),
        (&format!("{KEYS}encoding = \"json\""), SECRET, "belongs to profile = \"native\""),
        (&format!("{KEYS}unconfirmed = \"maybe\""), SECRET, "must be \"send\" or \"leave_out\""),
    ] {
        let Err(said) = configured(lines, secret) else { panic!("{lines} is accepted") };
        assert!(said.contains(expected), "{said:?} lacks {expected:?}");
        assert!(!said.contains(SECRET), "{said}");
    }
    for length in [16, 24, 32] {
        assert!(configured(KEYS, &SECRET[..length]).is_ok());
    }
}
