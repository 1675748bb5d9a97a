//! The five files of `config/platforms`: one gate sends the same morning to all five platforms. Each
//! platform is a strict one in Python. Only what the files mark with CHANGE is changed.

use std::collections::BTreeSet;

use gatehouse::{attendance::Means, config::Direction};
use serde_json::{Value, json};
use toml::Table;

use crate::{
    common::{
        Lane, Site,
        face_terminal::{FacePlatform, USUAL},
        past::{self, person, went},
    },
    national::{self, SECRET},
    tcp843::{self, id_number},
};

const NATIONAL: [&str; 3] = ["yunzhugong", "guizhou", "xinjiang"];
const TEAM: &str = "钢筋一班";
const DEVICES: [&str; 2] = ["DEVICE-IN", "DEVICE-OUT"];

/// Returns the upstream of a platform's file.
fn block(name: &str) -> Table {
    let path = format!("{}/config/platforms/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let file: Table = text.parse().unwrap();
    assert_eq!(file.keys().collect::<Vec<_>>(), ["upstream"]);
    file["upstream"][0].as_table().unwrap().clone()
}

/// Returns the means of the n-th passage: one by card, one by ID card, one by QR code.
fn means(n: u32) -> Means {
    match n {
        3 => Means::Card,
        6 => Means::IdCard,
        9 => Means::Qr,
        _ => Means::Face,
    }
}

/// The codes of these means on the national interface.
const NATIONAL_TYPES: [&str; 12] =
    ["001", "001", "001", "006", "001", "001", "005", "001", "001", "010", "001", "001"];

/// Returns the number of records that stand aside: TCP 843 has no number for codes in QR.
fn aside(upstream: &Value) -> u64 {
    u64::from(upstream["name"] == "longminggong")
}

fn set(mut block: Table, key: &str, value: impl Into<toml::Value>) -> Table {
    block.insert(key.to_owned(), value.into());
    block
}

#[test]
fn the_five_platforms_get_the_same_morning_each_in_its_own_form() {
    let mut site = Site::with(|c| {
        let c = c.bench().lane(Lane::simulated("north"));
        c.set("site", "timezone", "Asia/Shanghai")
    });
    site.broker.start();
    let mut nationals = NATIONAL.map(|name| national::Platform::of(&site, name));
    nationals[0].nonce_digits = 6;
    let vendor = ["--vendor", "VENDOR-CODE", "--device", DEVICES[0], "--device", DEVICES[1]];
    let mut longminggong = tcp843::Platform::with(&site, &vendor);

    std::fs::write(site.path("secret"), SECRET).unwrap();
    let mut upstreams: Vec<Table> = Vec::new();
    for (name, platform) in NATIONAL.iter().zip(&nationals) {
        let url = format!("http://127.0.0.1:{}/open/api", platform.port);
        let teams = Table::from_iter([(TEAM.to_owned(), "100001".into())]);
        let block = set(set(block(name), "url", url), "appid", "P-1");
        upstreams.push(set(set(block, "secret", "file:secret"), "teams", teams));
    }
    upstreams.push(set(set(block("yanbian"), "broker", site.broker.address()), "sn", USUAL.sn));
    let url = format!("tcp://127.0.0.1:{}", longminggong.port);
    upstreams.push(set(block("longminggong"), "url", url));
    site.configure(|c| c.upstreams(upstreams));

    // Three workers are enrolled, and pass the gate four times each.
    let daemon = site.start();
    for n in 1..=3 {
        let said = site.enroll_with(&format!("W{n:03}"), "刘峰", &id_number(n), &[]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    daemon.stop();
    let one = |n: u32| {
        let direction = if n.is_multiple_of(2) { Direction::Entry } else { Direction::Exit };
        let at = format!("2026-10-12T08:{n:02}:00+08:00");
        let worker = 1 + n / 2 % 3;
        let went = went(&person(&format!("W{worker:03}"), "刘峰", TEAM), direction, &at);
        (worker, past::Went { means: means(n), ..went })
    };
    let morning: Vec<_> = (0..12).map(one).collect();
    let names = ["yunzhugong", "guizhou", "xinjiang", "yanbian", "longminggong"];
    past::write_for(&site, &names, &[], morning.iter().map(|(_, went)| went.clone()));

    nationals.iter_mut().for_each(national::Platform::start);
    longminggong.start();
    let yanbian = FacePlatform::start(&site, &USUAL);
    let daemon = site.start();
    let status = site.status_when("the morning at all five platforms", |s| {
        let done =
            |u: &Value| u["outbox"] == 0 && u["refused_rows"] == aside(u) && u["undecided"] == 0;
        let upstreams = s["upstreams"].as_array().unwrap();
        upstreams.iter().all(done)
    });
    assert_eq!(status["upstreams"].as_array().unwrap().len(), 5);

    let expected = |form: &dyn Fn(u32, u32, Direction) -> String| -> BTreeSet<String> {
        let one = |(n, (worker, went)): (usize, &(u32, past::Went))| {
            form(u32::try_from(n).unwrap(), *worker, went.direction)
        };
        morning.iter().enumerate().map(one).collect()
    };
    // WorkerAttendance.Add: the row of each passage, with these members and no others.
    for platform in &nationals {
        let rows: Vec<String> = platform.records().iter().map(ToString::to_string).collect();
        let row = |n: u32, worker: u32, direction: Direction| {
            let direction = if direction == Direction::Entry { "01" } else { "02" };
            let date = format!("2026-10-12 08:{n:02}:00");
            json!({
                "idCardType": "01", "id": id_number(worker), "date": date, "direction": direction,
                "attendType": NATIONAL_TYPES[n as usize % 12], "team": "100001",
            })
            .to_string()
        };
        assert_eq!(rows.len(), morning.len());
        assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), expected(&row));
        platform.broke_no_rule();
    }
    // RecPush: the person, the local time, the direction, and that it is not live.
    let records = yanbian.records();
    assert_eq!(records.len(), morning.len());
    let record = |n: u32, worker: u32, direction: Direction| {
        let word = if direction == Direction::Entry { "enter" } else { "exit" };
        format!("W{worker:03} 2026-10-12 08:{n:02}:00 {word} 0")
    };
    assert_eq!(
        records.into_iter().map(|(record, _)| record).collect::<BTreeSet<_>>(),
        expected(&record)
    );
    // Command 848: the platform's number of the worker, BCD time, the device of the direction, type 6.
    let frames = longminggong.records();
    assert_eq!(frames.len(), morning.len() - 1);
    let frame = |n: u32, worker: u32, direction: Direction| {
        let device = DEVICES[usize::from(direction == Direction::Exit)];
        let kind = match means(n) {
            Means::Card => 3,
            Means::IdCard => 2,
            _ => 6,
        };
        format!("{worker} 2026101208{n:02}00 {device} {kind} 0")
    };
    let by_code = frame(9, 1 + 9 / 2 % 3, Direction::Exit);
    let frames = frames.into_iter();
    let frames = frames
        .map(|(code, at, device, kind, photo)| format!("{code} {at} {device} {kind} {photo}"));
    let mut by_others = expected(&frame);
    assert!(by_others.remove(&by_code));
    assert_eq!(frames.collect::<BTreeSet<_>>(), by_others);
    let listed = site.gatehouse(&["upstream", "refused", "longminggong"]);
    assert!(listed.out.contains("has no number for \"qr\""), "{listed:?}");
    daemon.stop();
}
