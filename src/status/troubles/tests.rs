//! The troubles that follow from the states of the parts.

use super::*;
use crate::{
    alarms::Verdict,
    camera::{Slot, Wakeup},
    clock::BootId,
    config::Zone,
    turnstile::{ForeignHold, TurnstileState},
};

fn now(synced: bool) -> Stamp {
    let wall_ms = 1_793_228_400_000;
    Stamp { wall_ms, synced, boot: BootId([7; 16]), uptime_ms: 3_600_000 }
}

/// Returns the state of an upstream, connected or not.
fn upstream(connected: bool) -> UpstreamState {
    UpstreamState {
        name: "platform".into(),
        broker: "mqtt://127.0.0.1:1883".into(),
        connected,
        since: Monotonic::from_millis(5000),
        last_error: (!connected).then(|| "connection refused".into()),
        ..UpstreamState::default()
    }
}

const LIMITS: AlarmLimits = AlarmLimits {
    outbox_age: Duration::from_secs(900),
    link_down: Duration::from_secs(60),
    device_down: Duration::from_secs(30),
    undecided: Duration::from_secs(60),
    unknown_faces: 10,
    unknown_faces_within: Duration::from_secs(60),
};

#[test]
fn a_link_that_is_down_shows_the_reason_and_the_number_of_waiting_records() {
    let at = Monotonic::from_millis(10_000);
    assert_eq!(link(&upstream(true), Some((7, None)), at), None);
    let found = link(&upstream(false), Some((7, None)), at).unwrap();
    assert_eq!((found.since, found.count), (Monotonic::from_millis(5000), Some(7)));
    let text = found.detail.to_string();
    assert!(text.starts_with("connection refused; check the link"), "{text}");
    assert!(text.contains("(7 records)"), "{text}");
    // The broker refused the login.
    let refused =
        UpstreamState { next_try: Some(at + Duration::from_secs(240)), ..upstream(false) };
    let text = link(&refused, Some((7, None)), at).unwrap().detail.to_string();
    assert!(text.contains("The next try is in 4 min"), "{text}");
    // The database cannot be read.
    assert!(link(&upstream(false), None, at).unwrap().detail.to_string().contains("(? records)"));
}

#[test]
fn an_outbox_is_a_trouble_from_the_configured_age_on_with_and_without_a_link() {
    let stamp = now(true);
    let written = |ago_ms: u64| {
        let wall_ms = stamp.wall_ms.saturating_sub_unsigned(ago_ms);
        Stamp { wall_ms, uptime_ms: stamp.uptime_ms - ago_ms, ..stamp }
    };
    let of = |connected, oldest| outbox(&upstream(connected), (41, oldest), stamp, &LIMITS);
    assert_eq!(of(true, None), None);
    assert_eq!(of(true, Some(written(900_000))), None);
    let found = of(true, Some(written(960_000))).unwrap();
    assert_eq!((found.since, found.count), (Monotonic::from_millis(3_540_000), Some(41)));
    let text = found.detail.to_string();
    assert!(text.starts_with("41 records wait, the oldest for 16 min"), "{text}");
    assert!(text.contains("though the broker is connected"), "{text}");
    assert!(
        of(false, Some(written(960_000))).unwrap().detail.to_string().contains("the link is down")
    );
    // A record of another boot, days ago; and a record with a time in the future.
    let other = Stamp { boot: BootId([8; 16]), ..stamp };
    let days = Stamp { wall_ms: stamp.wall_ms - 5 * 24 * 3_600_000, ..other };
    let found = of(true, Some(days)).unwrap();
    assert_eq!(found.since, Monotonic::default());
    let text = found.detail.to_string();
    assert!(text.contains("for 5 days"), "{text}");
    assert_eq!(of(true, Some(Stamp { wall_ms: stamp.wall_ms + 9_000_000, ..other })), None);
}

/// Returns the kind and the subject of each alarm that a link with these certificates has.
fn troubled(state: &UpstreamState, synced: bool) -> Vec<String> {
    let looks: Vec<_> = certificates(state, now(synced), Monotonic::default())
        .into_iter()
        .map(|(_, look)| look)
        .collect();
    assert_eq!(looks.len(), 6, "each kind of certificate has both states");
    let found = looks.iter().filter(|look| look.trouble().is_some());
    found.map(|look| format!("{} {}", look.what, look.subject)).collect()
}

#[test]
fn certificates_are_a_trouble_thirty_days_before_they_end_and_when_they_have() {
    let days = |n: i64| now(true).timestamp() + SignedDuration::from_hours(24 * n);
    let of = |whose, until| Certificate { whose, path: Some("/etc/gatehouse/x.pem".into()), until };
    let with = |certificates| UpstreamState { certificates, ..upstream(true) };
    let (authority, broker) = (CertificateOf::Authority, CertificateOf::Broker);
    assert_eq!(troubled(&with(vec![of(broker, days(31))]), true), [""; 0]);
    let soon = with(vec![of(broker, days(400)), of(broker, days(30)), of(authority, days(31))]);
    assert_eq!(troubled(&soon, true), ["certificate platform/broker"]);
    let ended = with(vec![of(authority, days(0))]);
    let both = ["certificate platform/authority", "certificate_ended platform/authority"];
    assert_eq!(troubled(&ended, true), both);
    // Without a synchronised clock the end of a certificate is unknown.
    assert_eq!(troubled(&ended, false), [""; 0]);
    let unknown = |state: &UpstreamState, synced| {
        let looks: Vec<_> = certificates(state, now(synced), Monotonic::default())
            .into_iter()
            .map(|(_, look)| look)
            .collect();
        looks.iter().filter(|look| look.verdict == Verdict::Unknown).count()
    };
    assert_eq!(unknown(&ended, false), 2);
    // No certificate was seen: a connected link needs none, and for another link it is unknown.
    assert_eq!((unknown(&upstream(true), true), unknown(&upstream(false), true)), (0, 6));
}

#[test]
fn a_certificate_shows_its_path_its_end_and_who_must_renew_it() {
    let until = now(true).timestamp() + SignedDuration::from_hours(24 * 28);
    let path = Some("/etc/gatehouse/own.pem".into());
    let certificate = Certificate { whose: CertificateOf::Gateway, path, until };
    let text = ends(&certificate, SignedDuration::from_hours(24 * 28), false).to_string();
    let until = until.strftime("%Y-%m-%d %H:%M UTC");
    let expected = format!(
        "this gateway's certificate in /etc/gatehouse/own.pem ends on {until}, in 28 days; then this \
         link is down: have a new one issued and put it there"
    );
    assert_eq!(text, expected);
    let broker = Certificate { whose: CertificateOf::Broker, path: None, ..certificate };
    let text = ends(&broker, SignedDuration::ZERO, false).to_string();
    assert!(text.starts_with("the broker's certificate has ended on"), "{text}");
}

#[test]
fn a_turnstile_that_does_not_answer_is_a_trouble() {
    let state = |connected| -> TurnstileState {
        serde_json::from_value(serde_json::json!({
            "connected": connected, "since_uptime_ms": 1, "last_error": "no answer",
            "confirms_passage": true, "held_open": false, "port": "x", "releases": 3,
            "passages": 2, "errors": 1, "reconnects": 0, "late": 0, "lost_events": 0,
            "restarts": 0,
        }))
        .unwrap()
    };
    assert_eq!(turnstile(&state(true)), None);
    assert_eq!(turnstile(&state(false)).unwrap().detail.to_string(), "no answer");
}

#[test]
fn faces_on_which_a_lane_does_not_decide_are_a_trouble_after_a_while() {
    let ms = Monotonic::from_millis;
    let since = |first, last, settled: Option<u64>, now| {
        let showing = Showing { first: ms(first), last: ms(last) };
        undecided_since(showing, settled.map(ms), ms(now), Duration::from_secs(60))
    };
    assert_eq!(since(1000, 60_900, None, 61_000), None, "not for long enough");
    assert_eq!(since(1000, 61_000, None, 61_100), Some(ms(1000)));
    assert_eq!(since(1000, 61_000, Some(1500), 61_100), None, "it decided");
    assert_eq!(since(1000, 61_500, Some(1500), 61_600), Some(ms(1500)));
    assert_eq!(since(1000, 61_000, None, 71_001), None, "they are gone");
}

#[test]
fn a_release_that_another_hand_keeps_on_is_a_trouble_of_its_direction() {
    for direction in Direction::BOTH {
        let (output, since) = ("coil 3 of address 1 on x".to_owned(), Monotonic::from_millis(7));
        let foreign_hold = ForeignHold { direction, output, since };
        let state = TurnstileState { foreign: vec![foreign_hold], ..TurnstileState::default() };
        for look in foreign("north", &state) {
            let is_it = look.subject == format!("north/{direction}");
            assert_eq!(look.trouble().is_some(), is_it, "{look:?}");
            if let Some(trouble) = look.trouble() {
                let said = trouble.detail.to_string();
                let named = format!("coil 3 of address 1 on x is on and releases {direction}");
                assert!(said.starts_with(&named), "{said}");
                assert_eq!(trouble.since, since);
            }
        }
    }
    let well = foreign("north", &TurnstileState::default());
    assert!(well.iter().all(|look| look.verdict == Verdict::Well));
}

#[test]
fn a_frozen_picture_is_an_alarm_of_its_camera_after_ten_minutes_and_a_black_or_plain_one_is_shown()
{
    let ms = Monotonic::from_millis;
    for (blind, code) in [
        (Blind::Frozen, "camera_frozen"),
        (Blind::Black, "camera_black"),
        (Blind::Plain, "camera_plain"),
    ] {
        let panel = CameraPanel {
            direction: Direction::Entry,
            source: "rtsp://camera".to_owned(),
            state: tokio::sync::watch::channel(CameraState::default()).1,
            stalled_after: Duration::from_secs(3),
            seen: Default::default(),
            slot: std::sync::Arc::new(Slot::new(std::sync::Arc::<Wakeup>::default())),
            zone: Zone::default(),
        };
        let told = |at: u64| {
            let last_frame = Some(ms(at));
            let state = CameraState { connected: true, last_frame, ..CameraState::default() };
            [camera(&panel, &state, ms(at)), dark(&panel)]
        };
        (1..=119).for_each(|n| panel.seen.shows(ms(n * 5000), Some(blind)));
        assert!(told(595_000).iter().all(Option::is_none), "{code}: not for long enough");
        (120..=121).for_each(|n| panel.seen.shows(ms(n * 5000), Some(blind)));
        let [alarm, shown] = told(605_000);
        assert_eq!(alarm.is_some(), blind == Blind::Frozen, "{code}");
        let trouble = alarm.or(shown).unwrap();
        assert_eq!((&*trouble.detail.code, trouble.since), (code, ms(5000)));
        panel.seen.shows(ms(606_000), None);
        assert!(told(606_000).iter().all(Option::is_none), "{code}: it shows something again");
    }
}

#[test]
fn a_replay_that_is_over_says_so_and_is_no_alarm() {
    let state = |finished| CameraState { finished, ..CameraState::default() };
    assert!(replay_over("replay:people", &state(false)).is_none());
    let said = replay_over("replay:people", &state(true)).unwrap().detail.to_string();
    assert!(said.starts_with("replay:people is over") && said.contains("loop = true"), "{said}");
}

#[test]
fn a_platform_that_answers_each_call_is_not_called_a_broker() {
    let at = Monotonic::from_millis(100_000);
    let until: jiff::Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
    for (address, word, other) in [
        ("https://platform.example/api", "platform", "broker"),
        ("tcp://10.8.0.1:8010", "platform", "broker"),
        ("mqtts://broker.example", "broker", "platform"),
    ] {
        let state = |connected, next_try| UpstreamState {
            broker: address.to_owned(),
            connected,
            next_try,
            ..UpstreamState::default()
        };
        let stamp = now(true);
        let old = Stamp { uptime_ms: 0, wall_ms: stamp.wall_ms - 90_000_000, ..stamp };
        let limits = AlarmLimits { outbox_age: Duration::from_secs(1), ..LIMITS };
        let certificate = |whose| Certificate { whose, path: None, until };
        let is_platform = state(true, None).is_platform();
        let said = [
            link(&state(false, None), None, at).unwrap().detail,
            link(&state(false, Some(at)), None, at).unwrap().detail,
            outbox(&state(true, None), (1, Some(old)), stamp, &limits).unwrap().detail,
            outbox(&state(true, None), (2, Some(old)), stamp, &limits).unwrap().detail,
            ends(&certificate(CertificateOf::Broker), SignedDuration::ZERO, is_platform),
            ends(
                &certificate(CertificateOf::Authority),
                SignedDuration::from_hours(1),
                is_platform,
            ),
        ];
        for said in said.map(|detail| detail.to_string()) {
            assert!(said.contains(word) && !said.contains(other), "{address}: {said}");
        }
    }
}
