use jiff::tz::TimeZone;

use super::*;
use crate::attendance::Reckoned;

fn origin() -> Origin {
    let timezone = TimeZone::get("Asia/Shanghai").unwrap();
    Origin { gateway: "gate-1".into(), project: "P1".into(), timezone }
}

const TWO: &str = "session = [
    { lane = \"north\", direction = \"entry\", device_code = \"D-IN\" },
    { lane = \"north\", direction = \"exit\", device_code = \"D-OUT\" },
]\n";

/// Makes the profile of an upstream with these keys beside a vendor's code.
fn made(keys: &str) -> Checked<Tcp843> {
    made_with("commands = \"status\"", &format!("vendor_code = \"VENDOR\"\n{keys}"))
}

fn made_with(common: &str, own: &str) -> Checked<Tcp843> {
    let upstream = toml::from_str(&format!("url = \"tcp://127.0.0.1:1\"\n{common}")).unwrap();
    let keys: Keys = toml::from_str(own).unwrap_or_else(|e| panic!("{e}"));
    Tcp843::new(keys, &upstream, &origin())
}

fn record() -> Record {
    Record {
        at: "2026-11-22T10:26:27.950+08:00".to_owned(),
        lane: Some("north".to_owned()),
        direction: Direction::Entry,
        ..serde_json::from_str(include_str!("../native/attendance.json")).unwrap()
    }
}

fn with_code(photo: Option<Result<Arc<[u8]>, String>>) -> Attached {
    Attached { code: Some("4711".to_owned()), photo, ..Attached::default() }
}

fn lacks(profile: &Tcp843, record: &Record, attached: &Attached) -> String {
    match profile.record(record, attached) {
        Err(Unmade::Lacks(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_is_the_vector_of_the_protocol_on_the_session_of_its_direction() {
    let profile = made(&format!("{TWO}means = {{ face = 1 }}")).unwrap();
    let photo: Arc<[u8]> = [0xff, 0xd8, 0xff, 0xd9].into();
    let message = profile.record(&record(), &with_code(Some(Ok(photo)))).unwrap().unwrap();
    assert_eq!(message.topic, "north/entry");
    assert_eq!(hex::encode(message.payload), "67120000202611221026270104000000ffd8ffd955");
    let exit = Record { direction: Direction::Exit, ..record() };
    let message = profile.record(&exit, &with_code(None)).unwrap().unwrap();
    assert_eq!(message.topic, "north/exit");
}

#[test]
fn a_record_without_a_photo_goes_with_an_empty_one() {
    let profile = made(TWO).unwrap();
    for photo in [None, Some(Err("no consent".to_owned()))] {
        let message = profile.record(&record(), &with_code(photo)).unwrap().unwrap();
        let content = Bcc::Bytes.opened(&message.payload).unwrap();
        assert_eq!(hex::encode(content), "67120000202611221026270600000000");
    }
}

#[test]
fn a_card_and_an_identity_card_go_by_their_numbers_and_a_code_in_qr_stands_aside() {
    let profile = made(TWO).unwrap();
    // A card has no score, or that of the face at the camera beside it.
    for score in [None, Some(0.7123)] {
        let by = |means| Record { means, score, ..record() };
        for (means, number) in [(Means::Card, 3), (Means::IdCard, 2)] {
            let message = profile.record(&by(means), &with_code(None)).unwrap().unwrap();
            assert_eq!((message.topic.as_str(), message.payload[11]), ("north/entry", number));
        }
        let said = lacks(&profile, &by(Means::Qr), &with_code(None));
        assert!(said.contains("`means` of the upstream has no number for \"qr\""), "{said}");
        let given = made(&format!("{TWO}means = {{ qr = 8 }}")).unwrap();
        let message = given.record(&by(Means::Qr), &with_code(None)).unwrap().unwrap();
        assert_eq!(message.payload[11], 8);
    }
}

#[test]
fn a_record_for_which_something_lacks_names_the_remedy() {
    let profile = made(TWO).unwrap();
    let unlisted = Attached::default();
    let said = lacks(&profile, &record(), &unlisted);
    assert!(said.contains("no number for W001") && said.contains("registered there"), "{said}");
    let illegible = Attached { code: Some("x".into()), ..Attached::default() };
    assert!(lacks(&profile, &record(), &illegible).contains("no number for W001"));
    let south = Record { lane: Some("south".into()), ..record() };
    let said = lacks(&profile, &south, &with_code(None));
    assert!(said.contains("lane = \"south\" and direction = \"entry\""), "{said}");
    let by_guard = Record { means: Means::Manual, ..record() };
    let said = lacks(&profile, &by_guard, &with_code(None));
    assert!(said.contains("`means` of the upstream has no number for \"manual\""), "{said}");
    let given = made(&format!("{TWO}means = {{ manual = 9 }}")).unwrap();
    let message = given.record(&by_guard, &with_code(None)).unwrap().unwrap();
    assert_eq!(message.payload[11], 9);
    // The other means keep their numbers.
    let message = given.record(&record(), &with_code(None)).unwrap().unwrap();
    assert_eq!(message.payload[11], 6);
}

#[test]
fn i9_a_record_of_a_wrong_clock_goes_with_its_true_time_or_stands_aside() {
    let profile = made(TWO).unwrap();
    let reckoned = |reckoned| Attached { reckoned: Some(reckoned), ..with_code(None) };
    let corrected_at = Some("2026-11-22T11:00:00.000+08:00".to_owned());
    let corrected = Reckoned { corrected_at, undated: None };
    let message = profile.record(&record(), &reckoned(corrected)).unwrap().unwrap();
    assert_eq!(hex::encode(&message.payload[4..11]), "20261122110000");
    let undated = Reckoned { corrected_at: None, undated: Some(Default::default()) };
    let said = lacks(&profile, &record(), &reckoned(undated));
    assert!(said.contains("synchronise the clock"), "{said}");
}

#[test]
fn a_supplement_goes_over_a_session_of_its_direction_and_a_passage_of_no_one_stays() {
    let profile = made(&format!("{TWO}means = {{ supplement = 8 }}")).unwrap();
    let supplement = Record {
        lane: None,
        direction: Direction::Exit,
        means: Means::Supplement,
        outcome: RecordOutcome::Claimed,
        ..record()
    };
    let message = profile.record(&supplement, &with_code(None)).unwrap().unwrap();
    assert_eq!((message.topic.as_str(), message.payload[11]), ("north/exit", 8));
    let outcome = |outcome| Record { outcome, ..record() };
    let not_passed = profile.record(&outcome(RecordOutcome::NotPassed), &with_code(None));
    assert_eq!(not_passed.unwrap(), None);
    // A worker whose passage could not be seen loses no day.
    let unconfirmed = profile.record(&outcome(RecordOutcome::Unconfirmed), &with_code(None));
    assert!(unconfirmed.unwrap().is_some());
}

#[test]
fn wrong_keys_are_refused_by_name() {
    for (keys, key, expected) in [
        ("session = []", "session", "must occur 1 to 64 times"),
        (&*format!("{TWO}version_byte = 2"), "version_byte", "must be 1, 3 or 5"),
        (&*format!("{TWO}heartbeat_s = 0"), "heartbeat_s", "must be from 1 to 3600 seconds"),
        (&*format!("{TWO}answer_s = 601"), "answer_s", "must be from 1 to 600 seconds"),
        (&*format!("{TWO}whitelist_s = 0"), "whitelist_s", "must be from 1 to 604800 seconds"),
        (
            "session = [{ lane = \"n\", direction = \"entry\", device_code = \"D 1\" }]",
            "session[0].device_code",
            "must be 1 to 32 letters",
        ),
        (&*TWO.replace("exit", "entry"), "session[1].lane", "has two sessions"),
        (&*TWO.replace("D-OUT", "D-IN"), "session[1].device_code", "is that of another session"),
    ] {
        let refused = made(keys).err().unwrap_or_else(|| panic!("{keys}"));
        assert_eq!(refused.key, key);
        assert!(refused.message.contains(expected), "{}", refused.message);
    }
    let own = format!("vendor_code = \"VENDOR\"\n{TWO}");
    let key = format!("command_key = \"ed25519:{}\"", "ab".repeat(32));
    for (common, refused) in [("commands = \"none\"", "commands"), (&*key, "command_key")] {
        assert_eq!(made_with(common, &own).err().map(|wrong| wrong.key).as_deref(), Some(refused));
    }
    assert!(made_with("commands = \"none\"", &format!("{own}whitelist = \"off\"")).is_ok());
}

#[test]
fn i13_only_a_platform_that_may_enroll_adds_workers() {
    let profile = made(TWO).unwrap();
    let at = "2026-11-22T10:00:00+08:00".parse().unwrap();
    let worker = Listed { code: 1, name: "刘峰".into(), id_number: "110101199003070011".into() };
    let batch = Batch { id: "849-1".into(), at, workers: vec![worker] };
    let payload = serde_json::to_vec(&batch).unwrap();
    for (level, verb) in [
        (CommandLevel::Status, "workers.numbered"),
        (CommandLevel::Roster, "workers.listed"),
        (CommandLevel::All, "workers.listed"),
    ] {
        let envelope = profile.command(&payload, &Authority::unsigned(level, &origin())).unwrap();
        assert_eq!((envelope.verb.as_str(), envelope.signed), (verb, false));
        assert_eq!(envelope.args["workers"][0]["code"], 1);
    }
    let malformed = profile.command(b"{", &Authority::unsigned(CommandLevel::All, &origin()));
    assert_eq!(malformed.unwrap_err().code, "malformed");
    // The link offers records again only if a worker has a new number.
    let reply = |numbered: u64| json!({ "ok": true, "result": { "numbered": numbered } });
    assert!(profile.answer(&reply(0)).is_empty() && !profile.answer(&reply(1)).is_empty());
}

proptest::proptest! {
    #[test]
    fn the_profile_and_the_dialogue_agree_on_any_version_and_check_byte(
        hex_digits: bool,
        version in proptest::prop_oneof![
            proptest::prelude::Just(1_u8), proptest::prelude::Just(3), proptest::prelude::Just(5)
        ],
        code: u32,
        photo in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
    ) {
        let bcc = if hex_digits { Bcc::Hex } else { Bcc::Bytes };
        let keys = format!("{TWO}version_byte = {version}\nbcc = \"{bcc}\"");
        let profile = made(&keys).unwrap();
        let attached = Attached {
            code: Some(code.to_string()),
            photo: Some(Ok(photo.clone().into())),
            ..Attached::default()
        };
        let message = profile.record(&record(), &attached).unwrap().unwrap();
        let content = bcc.opened(&message.payload).unwrap();
        proptest::prop_assert_eq!(frame::number(content, 0), Some(code));
        proptest::prop_assert_eq!(frame::number(content, 12), Some(photo.len() as u32));
        proptest::prop_assert_eq!(&content[16..], &photo[..]);
        let mut session = profile.sessions.session("north/entry");
        let nonce = [0; 16];
        let login = session.begin(&super::super::Moment { at: Timestamp::UNIX_EPOCH, nonce });
        proptest::prop_assert_eq!((login[13], login[32 + 32]), (version, b'D'));
    }
}
