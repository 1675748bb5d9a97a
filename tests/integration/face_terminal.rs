//! The profile `face-terminal`, with a real daemon, mosquitto, and a platform in another language
//! that reads each message strictly (`tests/peers/face_terminal.py`).

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse::{config::Direction, ledger::Outcome};
use serde_json::{Value, json};

use crate::common::{
    Configuration, Daemon, Gate, Lane, Site, WallClock,
    face_terminal::{Dialect, FacePlatform, SIGN_KEY, USUAL},
    past::{self, Went, person, went},
    photo,
};
use crate::platform_photos::enrolls_two;

const ID_A: &str = "522201199003074411";

/// Makes the upstream one of a platform that knows face terminals.
fn speaks(c: Configuration, dialect: &Dialect) -> Configuration {
    let c = c.its("profile", "face-terminal").its("ack", "platform").its("sn", dialect.sn);
    let c = c.its("online_topic", dialect.online).its("heartbeat_topic", dialect.heartbeat);
    let new = [
        ("team", "钢筋一班"),
        ("contractor", "Fuding Labour Co"),
        ("trade", "x"),
        ("consent", "P-7"),
    ];
    let new: toml::Table =
        new.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect();
    let c = c.its("commands", "roster").its("new_workers", new);
    match dialect.signed {
        true => c.its("sign_key", format!("file:{SIGN_KEY}")),
        false => c,
    }
}

fn message(id: &str, operator: &str, info: Value) -> Value {
    json!({ "messageId": id, "operator": operator, "info": info })
}

/// Returns the passages of a morning, a second apart. Every tenth person does not walk.
fn morning(passages: u64) -> Vec<Went> {
    let people: Vec<_> = (0..20).map(|n| person(&format!("W{n:03}"), "刘峰", "钢筋一班")).collect();
    let one = |n: u64| {
        let then =
            went(&people[n as usize % people.len()], Direction::Entry, "2026-10-01T08:00:00+08:00");
        let outcome = match n % 10 {
            3 => Outcome::NotPassed,
            7 => Outcome::Unconfirmed,
            _ => Outcome::Passed,
        };
        Went { at_ms: then.at_ms + n as i64 * 1000, outcome, ..then }
    };
    (0..passages).map(one).collect()
}

/// Returns the records that a platform must have of a morning.
fn expected(passages: &[Went]) -> BTreeSet<String> {
    let walked = passages.iter().filter(|went| went.outcome != Outcome::NotPassed);
    let one = |went: &Went| {
        let at = jiff::Timestamp::from_millisecond(went.at_ms).unwrap();
        let at = at.to_zoned(jiff::tz::TimeZone::get("Asia/Shanghai").unwrap());
        format!("{} {} enter 0", went.person.id, at.strftime("%Y-%m-%d %H:%M:%S"))
    };
    walked.map(one).collect()
}

fn emptied(site: &Site) -> Value {
    site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0)
}

#[test]
fn i3_a_morning_arrives_once_though_acknowledgements_are_lost_and_parts_restart() {
    let mut site = Site::with(|c| speaks(c, &USUAL));
    let passages = morning(400);
    past::write(&site, &[], passages.clone().into_iter());
    site.broker.start();
    let mut platform = FacePlatform::start(&site, &USUAL);
    platform.tell("lose 20");
    platform.tell("twice");
    let daemon = site.start();
    platform.stored(60);
    daemon.kill();
    platform.tell("lose 5");
    let daemon = site.start();
    platform.stored(120);
    site.broker.stop();
    site.broker.start();
    platform.stored(180);
    platform.kill();
    let mut platform = FacePlatform::start(&site, &USUAL);
    emptied(&site);
    let records = platform.records();
    let got: BTreeSet<String> = records.iter().map(|(record, _)| record.clone()).collect();
    assert_eq!((got.len(), records.len()), (360, 360));
    assert_eq!(got, expected(&passages));
    assert!(records.iter().any(|(_, copies)| *copies > 1), "no acknowledgement was lost");
    assert_eq!(platform.report(), 360);
    daemon.stop();
}

#[test]
fn i8_a_record_over_the_brokers_size_stands_aside_and_the_others_arrive() {
    let mut site = Site::with(|c| speaks(c, &USUAL));
    // A record takes some 500 bytes.
    let mut passages = morning(3);
    passages[1].person.team = "钢".repeat(60);
    past::write(&site, &[], passages.into_iter());
    site.broker.add("max_packet_size 640\n");
    site.broker.start();
    let mut platform = FacePlatform::start(&site, &USUAL);
    let daemon = site.start();
    let status =
        site.status_when("a record to stand aside", |s| s["upstreams"][0]["refused_rows"] == 1);
    platform.stored(2);
    assert_eq!(emptied(&site)["upstreams"][0]["connects"], 1, "{status:#}");
    let listed = site.gatehouse(&["upstream", "refused", "platform"]);
    assert!(listed.out.contains("640 bytes"), "{listed:?}");
    daemon.stop();
}

#[test]
fn a_supplement_that_the_platform_cannot_take_is_dismissed_and_is_no_trouble_any_more() {
    let mut site = Site::with(|c| speaks(c, &USUAL));
    let passages = morning(2);
    past::write(&site, &[person("W000", "刘峰", "钢筋一班")], passages.into_iter().take(1));
    site.broker.start();
    let mut platform = FacePlatform::start(&site, &USUAL);
    let daemon = site.start();
    platform.stored(1);
    let said = site.gatehouse(&[
        "attendance",
        "supplement",
        "--worker",
        "W000",
        "--direction",
        "exit",
        "--at",
        "2026-10-01 18:00",
        "--reason",
        "the gate had no power",
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    let refused = |s: &Value, n: u64| s["upstreams"][0]["refused_rows"] == n;
    let status = site.status_when("the supplement to stand aside", |s| refused(s, 1));
    assert!(Site::degraded(&status).contains(&"upstream platform"), "{status:#}");
    let listed = || site.gatehouse(&["--json", "upstream", "refused", "platform"]).json_lines();
    let seq = listed()[0]["seq"].to_string();
    let dismiss = |seq: &str| site.gatehouse(&["upstream", "dismiss", "platform", seq]);
    dismiss("1").refused("record 1 does not stand aside here");
    assert_eq!(dismiss(&seq).code, 0);
    let well = |s: &Value| refused(s, 0) && s["upstreams"][0]["dismissed_rows"] == 1;
    let status = site.status_when("the dismissal", well);
    let remedies = status["degraded"].to_string();
    assert!(!remedies.contains("upstream refused"), "{remedies}");
    assert_eq!(listed()[0]["dismissed"], true);
    // A restart does not offer it again. A person may.
    daemon.stop();
    let daemon = site.start();
    site.status_when("the dismissal after a restart", well);
    assert_eq!(site.gatehouse(&["upstream", "retry", "platform"]).code, 0);
    site.status_when("the supplement to stand aside again", |s| {
        refused(s, 1) && s["upstreams"][0]["dismissed_rows"] == 0
    });
    daemon.stop();
}

#[test]
fn i3_a_record_over_which_a_broker_of_3_1_1_hangs_up_stands_aside_and_the_others_arrive() {
    let mut site = Site::with(|c| speaks(c, &USUAL).its("version", "3.1.1"));
    let mut passages = morning(12);
    passages[4].person.team = "钢".repeat(60);
    past::write(&site, &[], passages.into_iter());
    // In 3.1.1 a broker cannot say how large a packet may be: it hangs up.
    site.broker.add("max_packet_size 640\n");
    site.broker.start();
    let mut platform = FacePlatform::start(&site, &USUAL);
    let daemon = site.start();
    platform.stored(10);
    let status = emptied(&site);
    assert_eq!(status["upstreams"][0]["refused_rows"], 1, "{status:#}");
    let listed = site.gatehouse(&["upstream", "refused", "platform"]);
    assert!(listed.out.contains("the broker ended each connection over it"), "{listed:?}");
    daemon.stop();
}

#[cfg(feature = "failpoints")]
#[test]
fn i3_a_cut_at_each_step_of_an_acknowledged_delivery_loses_no_record() {
    for point in ["uplink.published", "uplink.acknowledged", "uplink.striking", "uplink.struck"] {
        let mut site = Site::with(|c| speaks(c, &USUAL));
        let passages = morning(10);
        past::write(&site, &[], passages.clone().into_iter());
        site.broker.start();
        let platform = FacePlatform::start(&site, &USUAL);
        let mut cut = site.spawn(&[("FAILPOINTS", &format!("{point}=return"))]);
        assert!(!cut.0.wait().unwrap().success(), "{point}");
        let daemon = site.start();
        emptied(&site);
        let got: BTreeSet<String> =
            platform.records().into_iter().map(|(record, _)| record).collect();
        assert_eq!(got, expected(&passages), "{point}");
        daemon.stop();
    }
}

/// A gate with a lane, whose platform knows face terminals.
struct Scene {
    gate: Gate,
    platform: FacePlatform,
    wall: WallClock,
}

impl Scene {
    fn start(dialect: &Dialect, change: impl FnOnce(Configuration) -> Configuration) -> Scene {
        let mut site = Site::of(Lane::north().set("cool_down_s", 1));
        site.configure(|c| change(speaks(c, dialect)));
        let wall = WallClock::new(&site.path("."));
        wall.synchronised(true);
        site.broker.start();
        let platform = FacePlatform::start(&site, dialect);
        site.broker.stop();
        Scene { gate: Gate::at(site, &wall.environment()), platform, wall }
    }

    fn count(&self, sql: &str) -> u64 {
        let path = self.gate.site.path("data/gatehouse.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(path, flags).unwrap();
        database.busy_timeout(Duration::from_secs(60)).unwrap();
        database.query_row(&format!("SELECT {sql}"), [], |row| row.get(0)).unwrap()
    }
}

fn data_uri(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
}

fn worker_a() -> Value {
    json!({
        "customId": "W001", "name": "刘峰", "gender": 0, "idCard": ID_A, "personType": 0,
        "tempValid": 0, "pic": data_uri(&photo("person_a_2.jpg")),
    })
}

#[test]
fn i13_a_person_from_the_platform_waits_passes_when_confirmed_and_leaves_with_the_attendance_kept()
{
    let mut scene = Scene::start(&USUAL, |c| c);
    let edit = message("e-1", "EditPerson", worker_a());
    let answer = scene.platform.asks(&edit);
    assert_eq!(
        (&answer["operator"], &answer["code"]),
        (&json!("EditPerson-Ack"), &json!("200")),
        "{answer}"
    );
    assert_eq!(
        (&answer["info"]["customId"], &answer["info"]["state"]),
        (&json!("W001"), &json!("pending"))
    );
    // The same message is carried out once.
    assert_eq!(scene.platform.asks(&edit), answer);
    assert_eq!(scene.count("count(*) FROM entry WHERE kind = 'enrolment'"), 1);
    assert_eq!(scene.gate.site.gatehouse(&["worker", "confirm", "W001"]).code, 0);
    scene.gate.pass("person_a_1.jpg");
    scene.platform.stored(1);
    emptied(&scene.gate.site);
    let [(record, 1)] = &scene.platform.records()[..] else {
        panic!("{:?}", scene.platform.records())
    };
    assert!(record.starts_with("W001 ") && record.ends_with(" enter 1"), "{record}");

    // A change of the name alone keeps the rest.
    let renamed = json!({ "customId": "W001", "name": "刘 峰 二" });
    let answer = scene.platform.asks(&message("e-2", "EditPerson", renamed));
    assert_eq!(
        (&answer["code"], &answer["info"]["state"]),
        (&json!("200"), &json!("active")),
        "{answer}"
    );
    let shown = scene.platform.asks(&message(
        "s-1",
        "SearchPerson",
        json!({ "customId": "W001", "Picture": 1 }),
    ));
    assert_eq!(
        (&shown["info"]["personId"], &shown["info"]["personType"]),
        (&json!("W001"), &json!("0"))
    );
    assert!(!shown.to_string().contains(ID_A) && !shown.to_string().contains("base64"), "{shown}");

    // Records of a time are sent again, and are no live ones.
    let day = json!({ "TimeS": "2020-01-01 00:00:00", "TimeE": "2099-01-01 00:00:00" });
    let again = scene.platform.asks(&message("m-1", "ManualPushRecords", day));
    assert_eq!(
        (&again["code"], &again["info"]["PushNum"]),
        (&json!("200"), &json!("1")),
        "{again}"
    );
    while scene.platform.records()[0].1 < 2 {
        scene.platform.next_within(Duration::from_millis(200));
    }
    emptied(&scene.gate.site);

    let deleted = scene.platform.asks(&message("d-1", "DelPerson", json!({ "customId": "W001" })));
    assert_eq!((&deleted["code"], &deleted["info"]["customId"]), (&json!("200"), &json!("W001")));
    let listed = scene.gate.site.gatehouse(&["--json", "attendance", "list"]).json_lines();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["worker"], "W001");
    let gone = scene.platform.asks(&message("d-2", "DelPerson", json!({ "customId": "W001" })));
    assert_eq!(gone["code"], "461", "{gone}");
    for (id, operator, info) in [
        ("x-1", "DeleteAllPerson", json!({ "deleteall": 1 })),
        ("x-2", "SetSysTime", json!({ "sysTime": "2020-01-01 00:00:00" })),
        ("x-3", "OpenDoor", json!({})),
    ] {
        let refused = scene.platform.asks(&message(id, operator, info));
        assert_eq!(
            (&refused["code"], &refused["info"]["result"]),
            (&json!("462"), &json!("fail")),
            "{refused}"
        );
    }
}

#[test]
fn i8_pictures_of_5_mb_and_from_addresses_are_refused_and_the_gate_works_on() {
    let mut scene = Scene::start(&USUAL, |c| c);
    let mut large = worker_a();
    large["pic"] = json!(data_uri(&[&photo("person_a_2.jpg")[..], &vec![0; 5 << 20]].concat()));
    let large = message("l-1", "EditPerson", large);
    let path = scene.gate.site.path("large.json");
    std::fs::write(&path, large.to_string()).unwrap();
    scene.platform.tell(&format!("send-file {}", path.display()));
    let answer = scene.platform.answered(&large);
    assert_eq!(answer["code"], "469", "{answer}");
    let mut afar = worker_a();
    afar["pic"] = Value::Null;
    afar["picURI"] = json!("http://169.254.169.254/latest");
    let batch = json!({
        "messageId": "b-1", "operator": "EditPersonsNew", "DataBegin": "BeginFlag", "PersonNum": 2,
        "DataEnd": "EndFlag", "info": [afar, { "customId": "W002", "name": "B", "idCard": "522201198805112024" }],
    });
    let answer = scene.platform.asks(&batch);
    let info = &answer["info"];
    assert_eq!((&info["AddSucNum"], &info["AddErrNum"]), (&json!("1"), &json!("1")), "{answer}");
    assert_eq!(info["AddErrInfo"][0]["errcode"], "471");
    // A message that is no command, and the next one is answered.
    scene.platform.tell("send [\"EditPerson\"]");
    assert_eq!(scene.platform.says("answer")["code"], "462");
    let answer = scene.platform.asks(&message("e-1", "EditPerson", worker_a()));
    assert_eq!(answer["code"], "200", "{answer}");
    let status = scene.gate.site.status();
    assert_eq!(status["upstreams"][0]["commands_failed"], 2, "{status:#}");
}

#[test]
fn i8_a_roster_of_1000_comes_from_the_platform_while_the_gate_works() {
    let mut scene = Scene::start(&USUAL, |c| c);
    let answer = scene.platform.asks(&message("e-1", "EditPerson", worker_a()));
    assert_eq!(answer["code"], "200", "{answer}");
    assert_eq!(scene.gate.site.gatehouse(&["worker", "confirm", "W001"]).code, 0);
    let number = |n: usize| {
        let digits = format!("5222011990{:02}{:02}{:03}", n / 280 + 1, n / 10 % 28 + 1, n % 1000);
        let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
        let sum: u32 = digits.bytes().zip(weights).map(|(d, w)| u32::from(d - b'0') * w).sum();
        format!("{digits}{}", char::from(b"10X98765432"[sum as usize % 11]))
    };
    for n in 0..1000 {
        let info = json!({ "customId": format!("P{n:04}"), "name": "B", "idCard": number(n) });
        let answer = scene.platform.asks(&message(&format!("p-{n}"), "EditPerson", info));
        assert_eq!(answer["code"], "200", "{answer}");
        if n == 500 {
            scene.gate.pass("person_a_1.jpg");
        }
    }
    scene.platform.stored(1);
    let status = emptied(&scene.gate.site);
    assert_eq!(status["roster"]["workers"], 1001, "{status:#}");
    let daemon = scene.gate.daemon.as_ref().unwrap();
    let account = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let peak = account.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 600 << 10, "the peak is {kib} KiB");
    let ids: Vec<String> = (0..200).map(|n| format!("P{n:04}")).collect();
    let deleted = message("d-1", "DeletePersons", json!({ "customId": ids }));
    let answer = scene.platform.asks(&deleted);
    assert_eq!(answer["info"]["DelSucNum"], "200", "{answer}");
}

#[test]
fn a_platform_that_never_answers_a_greeting_gets_the_records_under_its_own_topics() {
    const SILENT: Dialect = Dialect {
        topic: "mqtt/device/C7/0012",
        sn: "0012",
        online: "mqtt/device/C7/0012/basic",
        heartbeat: "mqtt/device/C7/0012/heartbeat",
        signed: true,
        silent: true,
    };
    let mut scene = Scene::start(&SILENT, |c| {
        c.its("topic", "mqtt/device/{code}/{id}").its("device_code", "C7").its("heartbeat_s", 5)
    });
    for _ in 0..3 {
        assert_eq!(scene.platform.says("online"), "0012");
        assert_eq!(scene.platform.says("heartbeat"), "0012");
    }
    let answer = scene.platform.asks(&message("e-1", "EditPerson", worker_a()));
    assert_eq!(answer["code"], "200", "{answer}");
    assert_eq!(scene.gate.site.gatehouse(&["worker", "confirm", "W001"]).code, 0);
    scene.gate.pass("person_a_1.jpg");
    scene.platform.stored(1);
    let status = emptied(&scene.gate.site);
    assert_eq!(status["upstreams"][0]["connects"], 1, "{status:#}");
    let daemon: Daemon = scene.gate.daemon.take().unwrap();
    daemon.stop();
    assert_eq!(scene.platform.says("offline"), "0012");
}

#[test]
fn i4_a_retained_command_is_ignored() {
    let mut scene = Scene::start(&USUAL, |c| c);
    scene.gate.daemon.take().unwrap().stop();
    let stale = message("r-1", "EditPerson", worker_a());
    scene.platform.tell(&format!("retained {stale}"));
    // The broker gives the retained message to each new subscription.
    scene.gate.daemon = Some(scene.gate.site.start_with(&scene.wall.environment()));
    let status = scene
        .gate
        .site
        .status_when("the stale command", |s| s["upstreams"][0]["commands_refused"] == 1);
    let trouble = status["upstreams"][0]["last_trouble"].as_str().unwrap();
    assert!(trouble.contains("retained"), "{trouble}");
    assert_eq!(scene.count("count(*) FROM worker"), 0);
}

#[test]
fn i5_a_record_carries_the_photo_of_a_worker_who_consents_and_none_of_another() {
    let mut scene = Scene::start(&USUAL, |c| c.its("photos", "record"));
    enrolls_two(&scene.gate.site, [ID_A, "522201198805112024"]);
    scene.gate.pass_again("person_a_1.jpg");
    scene.gate.pass_again("person_b_1.jpg");
    scene.platform.stored(2);
    emptied(&scene.gate.site);
    let database = rusqlite::Connection::open(scene.gate.site.path("face-platform.db")).unwrap();
    let mut query = database.prepare("SELECT person, pic FROM record ORDER BY number").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: Vec<(String, bool)> = rows.map(Result::unwrap).collect();
    assert_eq!(rows, [("W001".to_owned(), true), ("W002".to_owned(), false)]);
    // Both records are counted when they are struck off: one photo went, and one did not.
    let site = &scene.gate.site;
    let status =
        site.status_when("the photo to be counted", |s| s["upstreams"][0]["photos_sent"] == 1);
    assert_eq!(status["upstreams"][0]["photos_left_out"], serde_json::json!({"no_consent": 1}));
}
