use super::*;
use crate::uplink::profiles::{
    Message,
    tcp843::{
        frame::NoFrame,
        list::{Names, NoList},
    },
};

const SESSION: SessionId = [7; 16];
const ID: &str = "110101199003070011";

fn terms(numbered: Numbered, whitelist: Whitelist) -> Terms {
    Terms {
        version: 1,
        form: Form { bcc: Bcc::Bytes, names: Names::Utf8, name: 10 },
        numbered,
        heartbeat_s: 180,
        whitelist,
        list_every: SignedDuration::from_secs(3600),
        repeat_words: vec!["重复".into()],
        later_words: vec!["未登录".into()],
        timezone: TimeZone::fixed(jiff::tz::offset(8)),
        list: Mutex::default(),
    }
}

fn session_with(terms: Terms) -> Session {
    let code = |text: &str| padded(text).unwrap();
    Session::new(Arc::new(terms), &code("VENDOR"), code("D-1"), true)
}

fn moment(at: &str) -> Moment {
    Moment { at: at.parse().unwrap(), nonce: [9; 16] }
}

fn start() -> Moment {
    moment("2026-11-22T10:00:00+08:00")
}

/// An answer of the platform.
fn answer(command: u16, session: &SessionId, content: &[u8], failed: bool) -> Vec<u8> {
    let mut bytes = encode(1, command, session, content);
    let flag = bytes.len() - 2;
    bytes[flag] = u8::from(failed);
    bytes
}

/// A session that the platform has accepted.
fn ready(whitelist: Whitelist) -> Session {
    let mut session = session_with(terms(Numbered::Platform, whitelist));
    session.begin(&start());
    assert_eq!(session.heard(&answer(LOGIN, &SESSION, b"", false)), Ok(vec![Said::Ready]));
    session
}

fn row(resent: bool) -> Parcel {
    let message = Message { topic: "north/entry".into(), payload: vec![1, 1], retained: false };
    Parcel { seq: 1, message, resent }
}

fn delivered(answered: &[u8], resent: bool) -> Result<Vec<Said>, String> {
    let mut session = ready(Whitelist::Off);
    session.deliver(&row(resent));
    session.heard(answered)
}

#[test]
fn a_login_names_vendor_and_device_and_takes_the_number_of_the_answer() {
    let mut session = session_with(terms(Numbered::Platform, Whitelist::Off));
    let login = session.begin(&start());
    let content = [padded("VENDOR").unwrap(), padded("D-1").unwrap()].concat();
    let expected = encode(1, LOGIN, &[0; 16], &Bcc::Bytes.sealed(content));
    assert_eq!(login, expected);
    // Nothing goes before the answer.
    assert_eq!(session.due(1_000, &start()), None);
    session.heard(&answer(LOGIN, &SESSION, b"", false)).unwrap();
    assert_eq!(session.due(179, &start()), None);
    assert_eq!(session.due(180, &start()), Some(encode(1, HEARTBEAT, &SESSION, b"")));
    assert_eq!(session.due(400, &start()), None, "a heartbeat is under way");
    let heard = session.heard(&answer(HEARTBEAT, &SESSION, b"", false));
    assert_eq!(heard, Ok(vec![Said::Answer]));
}

#[test]
fn a_change_of_the_roster_asks_for_the_whole_list_again_and_at_most_each_5_minutes() {
    for whitelist in [Whitelist::All, Whitelist::Changes] {
        let mut session = ready(whitelist);
        let at = |s: i64| Moment { at: start().at + SignedDuration::from_secs(s), ..start() };
        let asks = |session: &mut Session, s: i64| {
            // Shorter than the time to a heartbeat.
            let asked = session.due(1, &at(s)).map(|bytes| bytes[64..71].to_vec());
            if asked.is_some() {
                let list = Bcc::Bytes.sealed([b"P001".to_vec(), vec![0; 100]].concat());
                session.heard(&answer(LIST, &SESSION, &list, false)).unwrap();
            }
            asked
        };
        let whole = Some(vec![0xff; 7]);
        assert_eq!(asks(&mut session, 0), whole);
        assert_eq!(asks(&mut session, 400), None, "nothing has changed");
        session.terms.roster_changed();
        assert_eq!(asks(&mut session, 400), whole);
        // Many changes lead to one question in 5 minutes.
        (0..50).for_each(|_| session.terms.roster_changed());
        assert_eq!(asks(&mut session, 699), None);
        assert_eq!(asks(&mut session, 700), whole);
        assert_eq!(asks(&mut session, 2_000), None);
        // The next regular question is that of the configuration.
        let next = asks(&mut session, 700 + 3_600);
        assert_eq!(next == whole, whitelist == Whitelist::All);
        assert!(next.is_some());
    }
}

#[test]
fn a_session_number_may_be_random_or_given() {
    for (numbered, number) in [(Numbered::Random, [9; 16]), (Numbered::Given([3; 16]), [3; 16])] {
        let mut session = session_with(terms(numbered, Whitelist::Off));
        assert_eq!(session.begin(&start())[16..32], number);
        let foreign = session.heard(&answer(LOGIN, &SESSION, b"", false)).unwrap_err();
        assert!(foreign.contains("of another session"), "{foreign}");
        session.begin(&start());
        assert_eq!(session.heard(&answer(LOGIN, &number, b"", false)), Ok(vec![Said::Ready]));
        assert_eq!(session.deliver(&row(false))[16..32], number);
    }
}

#[test]
fn a_refused_login_has_the_platforms_words() {
    let mut session = session_with(terms(Numbered::Platform, Whitelist::Off));
    for content in ["设备未绑定".as_bytes().to_vec(), Bcc::Bytes.sealed("设备未绑定".into())]
    {
        session.begin(&start());
        let said = session.heard(&answer(LOGIN, &[0; 16], &content, true));
        assert_eq!(said, Ok(vec![Said::LoginRefused("设备未绑定".into())]));
    }
}

#[test]
fn the_flag_is_the_verdict_and_the_text_its_reason() {
    let taken = || Ok(vec![Said::Verdict(Verdict::Taken)]);
    let refused = |words: &str| Ok(vec![Said::Verdict(Verdict::Refused(words.into()))]);
    let say = |text: &str| answer(ATTENDANCE, &SESSION, text.as_bytes(), true);
    assert_eq!(delivered(&answer(ATTENDANCE, &SESSION, b"", false), false), taken());
    let sealed = Bcc::Bytes.sealed(b"ok".to_vec());
    assert_eq!(delivered(&answer(ATTENDANCE, &SESSION, &sealed, false), false), taken());
    assert_eq!(delivered(&say("照片为空"), false), refused("照片为空"));
    assert_eq!(delivered(&say(""), false), refused("the platform gave no reason"));
    let gbk = GBK.encode("编号不存在").0.into_owned();
    assert_eq!(delivered(&answer(ATTENDANCE, &SESSION, &gbk, true), false), refused("编号不存在"));
    // Only a record that may have been sent before is there already.
    assert_eq!(delivered(&say("考勤重复"), true), taken());
    assert_eq!(delivered(&say("考勤重复"), false), refused("考勤重复"));
    let later =
        vec![Said::Verdict(Verdict::NotNow("设备未登录".into())), Said::Over("设备未登录".into())];
    assert_eq!(delivered(&say("设备未登录"), false), Ok(later));
}

#[test]
fn nothing_else_is_taken_for_a_verdict() {
    for (answered, expected) in [
        (answer(ATTENDANCE, &[8; 16], b"", false), "number of another session"),
        (answer(LIST, &SESSION, b"", false), "answers 849, which was not asked"),
        (answer(LOGIN, &SESSION, b"", false), "answers 843, which was not asked"),
        (answer(ATTENDANCE, &SESSION, &[1, 2, 9], false), "wrong check byte"),
        (vec![0x55; 40], &*NoFrame::Begin(0x55).to_string()),
        (vec![1, 0xff, 0xff, 0xff, 0xff], &*NoFrame::Long(u32::MAX).to_string()),
    ] {
        let refused = delivered(&answered, false).unwrap_err();
        assert!(refused.contains(expected), "{refused} lacks {expected}");
    }
    // A second answer to one row is none to the next.
    let twice = answer(ATTENDANCE, &SESSION, b"", false).repeat(2);
    assert!(delivered(&twice, false).is_err());
    // Heartbeats of the platform, and commands that are not known here, are passed over.
    let more =
        [answer(HEARTBEAT, &SESSION, b"", false), answer(65_532, &[0; 16], b"12345678", false)];
    assert_eq!(delivered(&more.concat(), false), Ok(Vec::new()));
}

/// The payload of an entry, as the platform writes it.
fn entry(code: u32, id_number: &str) -> Vec<u8> {
    let mut entry = [&code.to_le_bytes()[..], "刘峰".as_bytes(), &[0; 4]].concat();
    entry.extend(id_number.as_bytes());
    entry.extend([0; 9]);
    entry
}

fn list_of(entries: &[Vec<u8>]) -> Vec<u8> {
    Bcc::Bytes.sealed([vec![0; 104], entries.concat()].concat())
}

#[test]
fn the_list_is_asked_for_at_once_then_each_hour_and_comes_in_batches() {
    for (whitelist, then) in [
        (Whitelist::All, [0xff; 7]),
        (Whitelist::Changes, [0x20, 0x26, 0x11, 0x22, 0x10, 0x00, 0x00]),
    ] {
        let mut session = ready(whitelist);
        let device = padded("D-1").unwrap();
        let asks = |since: [u8; 7]| {
            let content = Bcc::Bytes.sealed([&device[..], &since].concat());
            Some(encode(1, LIST, &SESSION, &content))
        };
        assert_eq!(session.due(0, &start()), asks([0xff; 7]));
        let mut entries: Vec<_> = (1..=250).map(|code| entry(code, ID)).collect();
        entries.push(entry(999, "123"));
        let said = session.heard(&answer(LIST, &SESSION, &list_of(&entries), false)).unwrap();
        let codes = said.iter().filter_map(|said| match said {
            Said::Command(payload) => serde_json::from_slice::<Batch>(payload).ok(),
            _ => None,
        });
        let codes: Vec<Vec<u32>> =
            codes.map(|batch| batch.workers.iter().map(|worker| worker.code).collect()).collect();
        let expected: Vec<Vec<u32>> =
            vec![(1..=100).collect(), (101..=200).collect(), (201..=250).collect()];
        assert_eq!(codes, expected);
        assert_eq!((said.first(), said.last()), (Some(&Said::Answer), Some(&Said::Unreadable(1))));
        assert_eq!(session.due(0, &moment("2026-11-22T10:59:59+08:00")), None);
        assert_eq!(session.due(0, &moment("2026-11-22T11:00:00+08:00")), asks(then));
    }
}

#[test]
fn a_list_that_does_not_come_is_asked_for_again_after_a_while_also_by_a_new_session() {
    let mut session = ready(Whitelist::All);
    assert!(session.due(0, &start()).is_some());
    // The session ended over it. The next one carries rows first.
    session.begin(&start());
    session.heard(&answer(LOGIN, &SESSION, b"", false)).unwrap();
    assert_eq!(session.due(0, &moment("2026-11-22T10:04:59+08:00")), None);
    assert!(session.due(0, &moment("2026-11-22T10:05:00+08:00")).is_some());
    // A clock that was set back by a day does not put it off for a day.
    session.begin(&start());
    session.heard(&answer(LOGIN, &SESSION, b"", false)).unwrap();
    assert!(session.due(0, &moment("2026-11-21T10:00:00+08:00")).is_some());
}

#[test]
fn a_refused_or_damaged_list_costs_nothing_but_the_list() {
    for (content, failed, expected) in [
        ("无权限".as_bytes().to_vec(), true, "无权限".to_owned()),
        (vec![1, 2, 9], false, NoList::Bcc.to_string()),
    ] {
        let mut session = ready(Whitelist::All);
        session.due(0, &start());
        let said = session.heard(&answer(LIST, &SESSION, &content, failed)).unwrap();
        let note = format!("the platform gave no list of workers: {expected}");
        assert_eq!(said, [Said::Answer, Said::Note(note)]);
        session.deliver(&row(false));
        let taken = session.heard(&answer(ATTENDANCE, &SESSION, b"", false));
        assert_eq!(taken, Ok(vec![Said::Verdict(Verdict::Taken)]));
    }
}

#[test]
fn a_time_is_that_of_the_site_in_bcd() {
    let at = "2026-11-22T02:26:27Z".parse().unwrap();
    let site = TimeZone::fixed(jiff::tz::offset(8));
    assert_eq!(hex::encode(bcd(at, &site)), "20261122102627");
    let last = "1999-12-31T23:59:59Z".parse().unwrap();
    assert_eq!(hex::encode(bcd(last, &TimeZone::UTC)), "19991231235959");
}

#[test]
fn a_code_is_up_to_32_characters_of_ascii() {
    assert_eq!(padded("D-1").unwrap()[..4], *b"D-1\0");
    assert!(padded(&"x".repeat(32)).is_some());
    for wrong in ["", &"x".repeat(33), "a b", "设备"] {
        assert_eq!(padded(wrong), None, "{wrong:?}");
    }
}
