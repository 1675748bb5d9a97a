//! Brokers that forbid something: what is forbidden falls away and is told, and every record
//! arrives. `gatehouse check` finds the same. Most brokers here are of the test's own; mosquitto
//! with access lists is real.

use gatehouse::config::Direction;
use serde_json::Value;

use crate::common::{
    Daemon, Site,
    past::{person, went, write},
    strict::{Habits, NOT_AUTHORISED, Platform, RETAIN_NOT_SUPPORTED, SUBSCRIBE, Strict, Way},
};

/// Number of records that wait when the daemon starts. Each is a release, a topic of its own, and
/// its outcome.
const PASSAGES: u64 = 40;

/// A site whose platform is a broker with these habits. Records wait.
fn site(habits: Habits) -> (Strict, Site) {
    let broker = Strict::start(habits);
    let site = Site::with(|c| c.its("broker", broker.address()));
    let people = [person("W001", "刘峰", "钢筋一班")];
    let passage = |n: u64| {
        let then = went(&people[0], Direction::Entry, "2026-10-01T08:00:00+08:00");
        crate::common::past::Went { at_ms: then.at_ms + n as i64 * 1000, ..then }
    };
    write(&site, &people, (0..PASSAGES).map(passage));
    (broker, site)
}

/// Runs the daemon until the outbox is empty.
fn delivered(site: &Site) -> (Daemon, Value) {
    let daemon = site.start();
    let status = site.status_when("all to be delivered", |s| Site::outbox(s) == 0);
    (daemon, status)
}

fn without(status: &Value) -> String {
    status["upstreams"][0]["without"].to_string()
}

fn remedies(status: &Value) -> String {
    let all = status["degraded"].as_array().unwrap().iter();
    all.map(|d| d["remedy"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Returns the lines of `check` about the upstream.
fn checked(site: &Site) -> Vec<Value> {
    let said = site.gatehouse(&["--json", "check"]);
    let lines = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_upstream = |line: &Value| line["check"].as_str().unwrap().ends_with("platform");
    lines.filter(of_upstream).collect()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn is_whole(platform: &Platform) {
    assert_eq!(platform.upto, *platform.records.keys().last().unwrap());
    assert!(platform.faults.is_empty(), "{:?}", platform.faults);
}

#[test]
fn i14_a_broker_without_retained_messages_gets_every_record_and_the_status() {
    for (way, version) in [
        (Way::Code(RETAIN_NOT_SUPPORTED), "5"),
        (Way::Disconnect(RETAIN_NOT_SUPPORTED), "5"),
        (Way::HangUp, "5"),
        (Way::HangUp, "3.1.1"),
    ] {
        let (broker, site) = site(Habits { no_retain: Some(way), ..Habits::default() });
        site.configure(|c| c.its("version", version));
        let check = checked(&site);
        assert!(text(&check).contains("retained"), "{way:?}: {}", text(&check));
        assert!(check.iter().all(|line| line["ok"] == true), "{way:?}: {}", text(&check));
        let (daemon, _) = delivered(&site);
        broker.when("the status, not retained", |p| {
            p.last("status").filter(|s| !s.retained).cloned()
        });
        let status = site.status_when("what fell away", |s| without(s).contains("etained"));
        assert!(remedies(&status).contains("the broker forbids retained messages"), "{status:#}");
        broker.with(|p| {
            is_whole(p);
            assert!(p.stubs().is_empty(), "{way:?}: {:?}", p.stubs());
        });
        daemon.stop();
    }
}

#[test]
fn i14_a_broker_without_wills_gets_every_record() {
    for (way, version) in
        [(Way::HangUp, "5"), (Way::HangUp, "3.1.1"), (Way::Code(NOT_AUTHORISED), "5")]
    {
        let (broker, site) = site(Habits { no_will: Some(way), ..Habits::default() });
        site.configure(|c| c.its("version", version).its("username", "gate"));
        let check = text(&checked(&site));
        assert!(
            check.contains("only without a will") && !check.contains("\"ok\":false"),
            "{check}"
        );
        let (daemon, status) = delivered(&site);
        assert!(without(&status).contains("the will"), "{status:#}");
        broker.with(is_whole);
        let check = text(&checked(&site));
        assert!(check.contains("the broker forbids the will"), "{check}");
        daemon.stop();
    }
}

#[test]
fn i14_a_broker_that_forbids_the_status_gets_every_record() {
    for (way, version) in [
        (Way::Code(NOT_AUTHORISED), "5"),
        (Way::Disconnect(NOT_AUTHORISED), "5"),
        (Way::HangUp, "5"),
        (Way::HangUp, "3.1.1"),
    ] {
        let forbids = vec![("status", way)];
        let (broker, site) = site(Habits { forbids, ..Habits::default() });
        site.configure(|c| c.its("version", version));
        let check = text(&checked(&site));
        assert!(check.contains("gate-1/status"), "{way:?}: {check}");
        let (daemon, _) = delivered(&site);
        let told = |s: &Value| without(s).contains("messages on gatehouse/v1/P-1/gate-1/status");
        let status = site.status_when("what fell away", told);
        assert!(remedies(&status).contains("Records go on without that"), "{status:#}");
        assert!(!without(&status).contains("retained"), "{status:#}");
        broker.with(|p| {
            is_whole(p);
            assert!(p.stubs().is_empty() && p.last("status").is_none());
        });
        daemon.stop();
    }
}

#[test]
fn i14_a_broker_that_forbids_events_gets_every_record_and_stubs_that_make_no_gap() {
    for (way, version) in [
        (Way::Code(NOT_AUTHORISED), "5"),
        (Way::Disconnect(NOT_AUTHORISED), "5"),
        (Way::HangUp, "5"),
        (Way::HangUp, "3.1.1"),
    ] {
        let habits = Habits { forbids: vec![("event", way)], ..Habits::default() };
        let (broker, site) = site(habits);
        site.configure(|c| c.its("version", version));
        let check = checked(&site);
        let fault =
            check.iter().find(|line| line["detail"].as_str().unwrap().contains("gate-1/event"));
        assert!(fault.is_some_and(|line| line["warning"] == true), "{way:?}: {}", text(&check));
        let (daemon, _) = delivered(&site);
        let status =
            site.status_when("stubs", |s| s["upstreams"][0]["withheld"].as_u64() > Some(0));
        assert!(
            without(&status).contains("messages on gatehouse/v1/P-1/gate-1/event"),
            "{status:#}"
        );
        assert!(remedies(&status).contains("aside"), "{status:#}");
        let stubs = broker.with(|p| {
            is_whole(p);
            let attendance = p.records.values().filter(|r| !r.withheld && r.on == "attendance");
            assert_eq!(attendance.count() as u64, PASSAGES, "{way:?}");
            p.stubs()
        });
        assert_eq!(status["upstreams"][0]["withheld"], stubs.len() as u64);
        daemon.stop();
        // The operator allows the topic, and the daemon tries it again.
        broker.change(Habits::default());
        let daemon = site.start();
        broker.when("the events themselves", |p| p.stubs().is_empty().then_some(()));
        site.status_when("none aside", |s| s["upstreams"][0]["withheld"] == 0);
        broker.with(|p| {
            is_whole(p);
            assert!(stubs.iter().all(|seq| p.records[seq].on == "event"));
        });
        daemon.stop();
    }
}

#[test]
fn i14_a_broker_that_hangs_up_over_a_subscription_gets_every_record() {
    for way in [Way::HangUp, Way::Code(NOT_AUTHORISED)] {
        let (broker, site) = site(Habits { forbids: vec![(SUBSCRIBE, way)], ..Habits::default() });
        let (daemon, _) = delivered(&site);
        let refused = |s: &Value| s["upstreams"][0]["not_subscribed"].is_string();
        let status = site.status_when("the refusal", refused);
        assert!(remedies(&status).contains("refuses our subscription"), "{status:#}");
        broker.with(is_whole);
        daemon.stop();
    }
}

#[test]
fn a_record_over_the_maximum_packet_size_stands_aside_and_is_sent_when_it_may_be() {
    for ack in ["broker", "platform"] {
        let acks = ack == "platform";
        let habits = |max_packet| Habits { max_packet, acks, ..Habits::default() };
        let (broker, site) = site(habits(Some(500)));
        site.configure(|c| c.its("ack", ack));
        let check = text(&checked(&site));
        assert!(check.contains("messages of up to 500 bytes"), "{check}");
        let (daemon, _) = delivered(&site);
        let status =
            site.status_when("stubs", |s| s["upstreams"][0]["withheld"].as_u64() > Some(0));
        assert!(remedies(&status).contains("larger maximum packet size"), "{status:#}");
        let stubs = broker.with(|p| {
            is_whole(p);
            p.stubs()
        });
        assert!(stubs.len() as u64 >= PASSAGES, "{ack}: {stubs:?}");
        // A stub has the leaf of its entry, and names the reason.
        let stub = broker.with(|p| p.taken.iter().find(|t| !t.json["withheld"].is_null()).cloned());
        let stub = stub.unwrap();
        assert_eq!(
            (stub.leaf.as_str(), &stub.json["withheld"]),
            ("attendance", &"too_large".into())
        );
        let names = stub.json.as_object().unwrap().keys().map(String::as_str);
        let known = ["v", "gateway", "project", "ledger", "seq", "withheld", "leaf", "resent"];
        assert!(names.clone().all(|name| known.contains(&name)), "{}", stub.json);
        broker.change(habits(None));
        broker.when("the records themselves", |p| p.stubs().is_empty().then_some(()));
        site.status_when("none aside", |s| s["upstreams"][0]["withheld"] == 0);
        broker.with(is_whole);
        daemon.stop();
    }
}

#[test]
fn i3_at_maximum_qos_0_nothing_is_struck_off_unless_the_platform_acknowledges() {
    let habits = Habits { max_qos_0: true, acks: true, ..Habits::default() };
    let (broker, site) = site(habits);
    let check = checked(&site);
    let fault = check.iter().find(|line| line["ok"] == false).expect("a fault");
    assert!(fault["detail"].as_str().unwrap().contains("set ack = \"platform\""), "{fault}");
    let daemon = site.start();
    let status = site.status_when("the trouble", |s| remedies(s).contains("Maximum QoS 0"));
    assert!(Site::outbox(&status) > PASSAGES && status["upstreams"][0]["acknowledged"] == 0);
    broker.with(|p| assert!(p.records.is_empty(), "{:?}", p.records));
    daemon.stop();
    site.configure(|c| c.its("ack", "platform"));
    let check = text(&checked(&site));
    assert!(!check.contains("\"ok\":false") && check.contains("QoS 0 only"), "{check}");
    let (daemon, _) = delivered(&site);
    broker.with(|p| {
        is_whole(p);
        assert!(p.taken.iter().all(|taken| taken.qos == 0));
    });
    daemon.stop();
}

#[test]
fn a_broker_gets_no_more_at_once_and_pings_as_often_as_its_connack_says() {
    let habits = Habits { receive_max: Some(1), keep_alive_s: Some(1), ..Habits::default() };
    let (broker, site) = site(habits);
    let (daemon, status) = delivered(&site);
    let pings = broker.with(|p| p.pings);
    broker.when("pings", |p| (p.pings > pings + 3).then_some(()));
    assert_eq!(site.status()["upstreams"][0]["connects"], status["upstreams"][0]["connects"]);
    broker.with(is_whole);
    daemon.stop();
}

#[test]
fn i3_hang_ups_at_connect_lead_neither_to_3_1_1_nor_away_from_the_will() {
    let (broker, site) = site(Habits { hang_ups: 7, ..Habits::default() });
    let (daemon, status) = delivered(&site);
    assert_eq!(status["upstreams"][0]["version"], "5");
    broker.with(|p| {
        assert!(p.connects.iter().all(|(version, _)| *version == 5), "{:?}", p.connects);
        assert_eq!(p.connects.last(), Some(&(5, true)));
    });
    let said = site.gatehouse(&["status"]).out;
    assert!(said.contains(", MQTT 5)"), "{said}");
    daemon.stop();
}

#[test]
fn a_broker_that_speaks_only_3_1_1_is_served_without_a_configured_version() {
    let (broker, site) = site(Habits { only_3_1_1: true, ..Habits::default() });
    let (daemon, status) = delivered(&site);
    assert_eq!(status["upstreams"][0]["version"], "3.1.1");
    broker.with(is_whole);
    daemon.stop();
}

#[test]
fn check_finds_that_a_broker_of_3_1_1_drops_what_it_acknowledges() {
    let forbids = vec![("attendance", Way::Silent)];
    let (broker, site) = site(Habits { only_3_1_1: true, forbids, ..Habits::default() });
    let check = checked(&site);
    let fault = check.iter().find(|line| line["ok"] == false).expect("a fault");
    let detail = fault["detail"].as_str().unwrap();
    assert!(
        detail.contains("did not pass it on") && detail.contains("ack = \"platform\""),
        "{fault}"
    );
    assert!(broker.with(|p| p.records.is_empty()));
}

#[test]
fn check_leaves_a_running_daemon_and_the_retained_status_alone() {
    let (broker, site) = site(Habits::default());
    let (daemon, status) = delivered(&site);
    let before = broker.with(|p| p.taken.len());
    let check = text(&checked(&site));
    assert!(!check.contains("\"ok\":false"), "{check}");
    let after = site.status();
    assert_eq!(after["upstreams"][0]["connects"], status["upstreams"][0]["connects"]);
    // The status goes out each minute; nothing else comes.
    broker.with(|p| {
        assert!(p.taken[before..].iter().all(|taken| taken.json["state"] == "online"));
    });
    daemon.stop();
    // Without a daemon the trial has no seq, and the status is what it was.
    let before = broker.with(|p| p.taken.len());
    let check = text(&checked(&site));
    assert!(check.contains("gate-1/attendance, ") && !check.contains("\"ok\":false"), "{check}");
    broker.with(|p| {
        let trials = &p.taken[before..];
        assert!(trials.iter().all(|t| t.json["check"] == true || t.json["state"] == "offline"));
        assert_eq!(trials.len(), 3);
    });
}

#[test]
fn i14_mosquitto_with_access_lists_gets_the_records_and_check_says_what_it_forbids() {
    for version in ["5", "3.1.1"] {
        let mut site = Site::with(|c| c.its("version", version).its("username", "gate"));
        site.configure(|c| c.its("password", "file:password"));
        std::fs::write(site.path("password"), "p").unwrap();
        let users = site.path("users");
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-b", "-c", users.to_str().unwrap(), "gate", "p"])
            .status();
        assert!(made.unwrap().success());
        let topics = "gatehouse/v1/P-1/gate-1/";
        let acl = format!(
            "user gate\ntopic readwrite {topics}attendance\ntopic read {topics}command\n\
                           topic readwrite {topics}status\n"
        );
        std::fs::write(site.path("acl"), acl).unwrap();
        let (acl, users) = (site.path("acl"), users.display().to_string());
        site.broker.add(&format!("acl_file {}\npassword_file {users}\n", acl.display()));
        site.broker.start();
        let check = checked(&site);
        let of = |leaf: &str| {
            let topic = format!("{topics}{leaf}: ");
            let starts = |line: &&Value| line["detail"].as_str().unwrap().starts_with(&topic);
            check.iter().find(starts).cloned()
        };
        assert!(of("attendance").is_none() && of("status").is_none(), "{}", text(&check));
        let event = of("event").unwrap_or_else(|| panic!("{}", text(&check)));
        assert_eq!(event["ok"], true, "{event}");
        let people = [person("W001", "刘峰", "钢筋一班")];
        let then = went(&people[0], Direction::Entry, "2026-10-01T08:00:00+08:00");
        write(&site, &people, std::iter::once(then));
        let (daemon, _) = delivered(&site);
        let withheld = |s: &Value| s["upstreams"][0]["withheld"].as_u64() > Some(0);
        if version == "5" {
            let status = site.status_when("stubs", withheld);
            assert!(without(&status).contains("gate-1/event"), "{status:#}");
        }
        daemon.stop();
    }
}

#[test]
fn i3_a_record_over_which_a_broker_hangs_up_stands_aside_and_the_others_go() {
    for (ack, version) in [("broker", "3.1.1"), ("platform", "5")] {
        let hated = [6, 32].into();
        let habits =
            |hangs_up_over| Habits { hangs_up_over, acks: ack == "platform", ..Habits::default() };
        let (broker, site) = site(habits(hated));
        site.configure(|c| c.its("version", version).its("ack", ack));
        let (daemon, _) = delivered(&site);
        let status =
            site.status_when("two to stand aside", |s| s["upstreams"][0]["refused_rows"] == 2);
        assert!(remedies(&status).contains("gatehouse upstream refused platform"), "{status:#}");
        broker.with(|p| {
            is_whole(p);
            assert_eq!(p.stubs(), [6, 32].into(), "{ack}");
        });
        let listed = site.gatehouse(&["--json", "upstream", "refused", "platform"]).json_lines();
        let seqs: Vec<_> = listed.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, [6, 32]);
        let words = "the broker ended each connection over it";
        assert!(listed[0]["reason"].as_str().unwrap().starts_with(words), "{}", listed[0]);
        // The operator mends the broker, and the records go.
        broker.change(habits([].into()));
        assert_eq!(site.gatehouse(&["upstream", "retry", "platform"]).code, 0);
        broker.when("the records themselves", |p| p.stubs().is_empty().then_some(()));
        site.status_when("none to stand aside", |s| s["upstreams"][0]["refused_rows"] == 0);
        site.status_when("all to be delivered", |s| Site::outbox(s) == 0);
        broker.with(is_whole);
        daemon.stop();
    }
}

#[test]
fn i3_mosquitto_gets_all_but_the_record_over_its_packet_size_in_3_1_1() {
    let mut site = Site::with(|c| c.its("version", "3.1.1"));
    site.broker.add("max_packet_size 1400\n");
    site.broker.start();
    let mut records = site.broker.subscriber();
    // In 3.1.1 a broker cannot say how large a packet may be: it hangs up.
    let people = [person("W001", "刘峰", "钢筋一班"), person("W002", "李雷", &"班".repeat(300))];
    let passages = (0..20).map(|n| {
        let then =
            went(&people[usize::from(n == 7)], Direction::Entry, "2026-10-01T08:00:00+08:00");
        crate::common::past::Went { at_ms: then.at_ms + n * 1000, ..then }
    });
    write(&site, &people, passages);
    let (daemon, _) = delivered(&site);
    let status = site.status_when("one to stand aside", |s| s["upstreams"][0]["refused_rows"] == 1);
    assert_eq!(status["upstreams"][0]["version"], "3.1.1");
    let listed = site.gatehouse(&["--json", "upstream", "refused", "platform"]).json_lines();
    assert_eq!((listed[0]["worker"].as_str(), listed.len()), (Some("W002"), 1), "{listed:?}");
    let (mut whole, mut stubs) = (0, 0);
    while whole < 19 || stubs < 1 {
        let record = records.next_on("attendance");
        match record["withheld"].as_str() {
            Some("refused") => stubs += 1,
            // An event that was on its way at each hang-up.
            Some("topic_refused") => {}
            Some(other) => panic!("{other}"),
            None => whole += 1,
        }
    }
    daemon.stop();
}

#[test]
fn i3_no_record_stands_aside_at_a_broker_that_hangs_up_over_all_records_and_takes_the_rest() {
    let forbids = vec![("attendance", Way::HangUp)];
    let (broker, site) = site(Habits { forbids, ..Habits::default() });
    let daemon = site.start();
    broker.when("many hang-ups", |p| (p.connects.len() >= 8).then_some(()));
    assert_eq!(site.status()["upstreams"][0]["refused_rows"], 0);
    daemon.stop();
    broker.change(Habits::default());
    let (daemon, status) = delivered(&site);
    assert_eq!(status["upstreams"][0]["refused_rows"], 0);
    broker.with(|p| {
        is_whole(p);
        assert!(p.stubs().is_empty(), "{:?}", p.stubs());
    });
    daemon.stop();
}
