//! A platform that speaks TCP 843, in Python: the real daemon sends attendance over a session for each
//! direction, while answers are lost, the platform and the daemon are killed, and records are refused.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
};

use gatehouse::config::Direction;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::common::{
    Configuration, Daemon, Gate, Lane, Site, WallClock,
    broker::{SOON, free_port},
    ends_with_test,
    past::{self, Went, person, went},
    slave::python,
    until,
};
use crate::platform_photos::enrolls_two;

const VENDOR: &str = "VENDOR-1";
const DEVICES: [(&str, &str); 2] = [("entry", "D-IN"), ("exit", "D-OUT")];

const RELEASE: [&str; 9] =
    ["lane", "release", "north", "--direction", "entry", "--worker", "W001", "--reason", "x"];

/// Returns the ID number of the platform's worker `n`, as `tests/peers/tcp843.py` makes it.
pub fn id_number(n: u32) -> String {
    let day = n / 900;
    let (year, month) = (1950 + day / 28 / 12, day / 28 % 12 + 1);
    let digits = format!("110101{year:04}{month:02}{:02}{:03}", day % 28 + 1, n % 900 + 100);
    let sum = digits.bytes().fold(0, |sum, digit| (sum + u32::from(digit - b'0')) * 2 % 11);
    let check = "0123456789X".as_bytes()[((12 - sum) % 11) as usize];
    format!("{digits}{}", char::from(check))
}

/// The platform's process, whose disk outlives it. Dropping this value ends it.
pub struct Platform {
    pub port: u16,
    records: PathBuf,
    arguments: Vec<String>,
    up: Option<(Child, ChildStdin, mpsc::Receiver<String>)>,
}

impl Platform {
    /// Prepares a platform with these further arguments.
    fn of(site: &Site, arguments: &[&str]) -> Platform {
        let devices = DEVICES.iter().flat_map(|(_, device)| ["--device", device]);
        let usual: Vec<&str> = ["--vendor", VENDOR].into_iter().chain(devices).collect();
        Platform::with(site, &[&usual, arguments].concat())
    }

    /// Prepares a platform with these arguments, among them the vendor and the devices.
    pub fn with(site: &Site, arguments: &[&str]) -> Platform {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Platform { port: free_port(), records: site.path("platform.jsonl"), arguments, up: None }
    }

    pub fn start(&mut self) {
        let mut command = Command::new(python());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/tcp843.py"));
        command.args(["--port", &self.port.to_string(), "--records"]);
        command.arg(&self.records).args(&self.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ends_with_test(&mut command).spawn().unwrap();
        let (commands, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.into_iter().try_for_each(|line| sender.send(line))
        });
        self.up = Some((child, commands, lines));
        self.says("ready");
    }

    /// Kills the platform, as a power cut would.
    fn kill(&mut self) {
        if let Some((mut child, ..)) = self.up.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns its next message that has this name.
    fn says(&mut self, name: &str) -> Value {
        let (_, _, lines) = self.up.as_mut().unwrap();
        loop {
            let line = lines.recv_timeout(SOON).unwrap_or_else(|e| panic!("no {name}: {e}"));
            let said: Value = serde_json::from_str(&line).unwrap();
            if said.get(name).is_some() {
                return said;
            }
        }
    }

    fn tell(&mut self, command: &str) {
        let (_, commands, _) = self.up.as_mut().unwrap();
        writeln!(commands, "{command}").unwrap();
        if command != "report" {
            assert_eq!(self.says("done")["done"], command.split(' ').next().unwrap());
        }
    }

    fn report(&mut self) -> Value {
        self.tell("report");
        let report = self.says("report");
        assert_eq!(report["violations"], serde_json::json!([]), "{report}");
        report
    }

    /// Returns worker, time, device, type and length of the photo of each record.
    pub fn records(&mut self) -> Vec<(u64, String, String, u64, u64)> {
        let report = self.report();
        report["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| {
                let text = |n: usize| r[n].as_str().unwrap().to_owned();
                let number = |n: usize| r[n].as_u64().unwrap();
                (number(0), text(1), text(2), number(3), number(4))
            })
            .collect()
    }

    /// Waits until the platform has this many records.
    fn has(&mut self, count: usize) {
        until(&format!("{count} records at the platform"), || {
            (self.records().len() >= count).then_some(())
        });
        assert_eq!(self.records().len(), count);
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A site with one lane whose simulated turnstile reports a passage after each release. Its only
/// upstream is the platform.
fn site() -> Site {
    let lane = Lane::simulated("north").turnstile("pass_after_ms", 100);
    Site::with(|c| c.bench().lane(lane))
}

fn reaches(site: &Site, platform: &Platform) {
    site.configure(|c| speaks(c, platform.port));
}

fn speaks(configuration: Configuration, port: u16) -> Configuration {
    let session = |(direction, device): (&str, &str)| {
        let keys = [("lane", "north"), ("direction", direction), ("device_code", device)];
        let table: toml::Table =
            keys.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect();
        toml::Value::from(table)
    };
    configuration
        .calls(&format!("tcp://127.0.0.1:{port}"), "tcp843")
        .its("photos", "record")
        .its("vendor_code", VENDOR)
        .its("answer_s", 2)
        .its("whitelist_s", 1)
        .its("session", DEVICES.map(session).to_vec())
}

fn enrolls(site: &Site, n: u32) {
    let said = site.enroll_with(&format!("W{n:03}"), "刘峰", &id_number(n), &[]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn number(site: &Site, sql: &str) -> u64 {
    let path = site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.busy_timeout(SOON).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Waits until this many workers have a number at the platform.
fn numbered(site: &Site, workers: u64) {
    let count = "SELECT count(*) FROM platform_code WHERE upstream = 'platform'";
    until("the workers' numbers", || (number(site, count) == workers).then_some(()));
}

/// Returns passages of workers 1 to 3 in turns, in and out, and the platform's keys of them.
fn morning(count: u32) -> (Vec<Went>, BTreeSet<(u64, String, String)>) {
    let one = |n: u32| {
        let direction = if n.is_multiple_of(2) { Direction::Entry } else { Direction::Exit };
        let worker = 1 + n % 3;
        let at = format!("2026-10-01T08:{:02}:{:02}+08:00", n / 60, n % 60);
        let passage = went(&person(&format!("W{worker:03}"), "刘峰", "钢筋一班"), direction, &at);
        let bcd = format!("2026100108{:02}{:02}", n / 60, n % 60);
        let device = DEVICES[usize::from(direction == Direction::Exit)].1;
        (passage, (u64::from(worker), bcd, device.to_owned()))
    };
    (0..count).map(one).unzip()
}

/// Writes passages while the daemon is stopped.
fn write(site: &Site, passages: Vec<Went>) {
    past::write_for(site, &["platform"], &[], passages.into_iter());
}

/// Starts a daemon and a platform, enrolls workers 1 to 3, and waits until they have their numbers.
fn with_three_workers(site: &Site, platform: &mut Platform) -> Daemon {
    platform.start();
    let daemon = site.start();
    (1..=3).for_each(|n| enrolls(site, n));
    numbered(site, 3);
    daemon
}

/// Waits until a daemon has ended at its failpoint.
fn dies(mut daemon: Daemon) {
    until("the daemon to end", || daemon.0.try_wait().unwrap());
}

#[cfg(feature = "failpoints")]
#[test]
fn i3_a_mornings_records_arrive_once_over_lost_answers_cuts_and_kills() {
    const RECORDS: u32 = 90;
    let site = site();
    let mut platform = Platform::of(&site, &[]);
    reaches(&site, &platform);
    with_three_workers(&site, &mut platform).stop();
    let (passages, expected) = morning(RECORDS);
    write(&site, passages);

    // The daemon is killed after a row was sent, after a verdict, and within the transaction that
    // strikes rows off; each time with some rows done.
    for failpoint in [
        "uplink.published=7*off->return",
        "uplink.acknowledged=9*off->return",
        "uplink.striking=1*off->return",
    ] {
        dies(site.spawn(&[("FAILPOINTS", failpoint)]));
    }
    assert!(number(&site, "SELECT count(*) FROM outbox WHERE upstream = 'platform'") > 0);
    // Answers are lost, cut and damaged; the platform loses power, and comes back.
    for fault in ["lose 2", "cut 2", "damage 2"] {
        platform.tell(fault);
    }
    let daemon = site.start();
    until("half of the records", || (platform.records().len() >= 45).then_some(()));
    platform.kill();
    site.status_when("the link to be down", |s| s["upstreams"][0]["connected"] == false);
    platform.start();
    platform.has(RECORDS as usize);
    site.status_when("an empty outbox", |s| Site::outbox(s) == 0);

    let report = platform.report();
    let records = platform.records();
    let keys: BTreeSet<_> =
        records.iter().map(|(code, at, device, ..)| (*code, at.clone(), device.clone())).collect();
    // Each record once, and over the session of its direction.
    assert_eq!(keys, expected);
    assert!(records.iter().all(|(.., kind, photo)| (*kind, *photo) == (6, 0)), "{report}");
    assert_eq!(number(&site, "SELECT count(*) FROM outbox WHERE upstream LIKE 'platform%'"), 0);
    daemon.stop();
}

#[test]
fn a_refused_record_holds_nothing_up_and_goes_when_it_is_offered_again() {
    let site = site();
    let mut platform = Platform::of(&site, &["--workers", "2"]);
    reaches(&site, &platform);
    platform.start();
    let daemon = site.start();
    (1..=3).for_each(|n| enrolls(&site, n));
    // The platform does not know worker 3.
    numbered(&site, 2);
    daemon.stop();
    let (passages, expected) = morning(30);
    write(&site, passages);
    platform.tell("refuse 照片不合格");
    let _daemon = site.start();
    // 10 records of worker 3 lack the number, and one is refused.
    platform.has(19);
    let status = site.status_when("the refused records", |s| {
        s["upstreams"][0]["refused_rows"] == 11 && Site::outbox(s) == 0
    });
    assert!(Site::degraded(&status).contains(&"upstream platform"), "{status:#}");
    let listed = site.gatehouse(&["upstream", "refused", "platform"]);
    assert!(listed.out.contains("照片不合格"), "{listed:?}");
    assert!(listed.out.contains("has no number for W003"), "{listed:?}");
    // Offered again, the refused one is taken. The others still lack what they lacked.
    let retried = site.gatehouse(&["upstream", "retry", "platform"]);
    assert_eq!(retried.code, 0, "{retried:?}");
    platform.has(20);
    site.status_when("what is lacking", |s| {
        s["upstreams"][0]["refused_rows"].as_u64() >= Some(10) && Site::outbox(s) == 0
    });
    // The worker is registered at the platform. The next list has the number, and the records go.
    platform.kill();
    platform.arguments.extend(["--workers".to_owned(), "3".to_owned()]);
    platform.start();
    platform.has(30);
    let keys: BTreeSet<_> =
        platform.records().into_iter().map(|(code, at, device, ..)| (code, at, device)).collect();
    assert_eq!(keys, expected);
    site.status_when("nothing refused", |s| s["upstreams"][0]["refused_rows"] == 0);
}

#[test]
fn i10_a_session_that_fails_leaves_the_other_direction_working() {
    let site = site();
    let mut platform = Platform::of(&site, &[]);
    reaches(&site, &platform);
    with_three_workers(&site, &mut platform).stop();
    let (passages, expected) = morning(40);
    write(&site, passages);
    platform.tell("deny D-OUT");
    let daemon = site.start();
    platform.has(20);
    assert!(platform.records().iter().all(|(_, _, device, ..)| device == "D-IN"));
    let status = site.status_when("the session to be named", |s| {
        let of_session = |d: &Value| d["remedy"].as_str().unwrap().contains("session north/exit");
        s["degraded"].as_array().unwrap().iter().any(of_session)
    });
    let down = &status["upstreams"][0]["sessions_down"];
    assert_eq!(down[0]["what"], "north/exit");
    assert!(down[0]["why"].as_str().unwrap().contains("设备未绑定"), "{down}");
    assert_eq!(status["upstreams"][0]["connected"], true);
    // `check` asks the daemon, because the platform would end its sessions for another login.
    let logins = platform.report()["logins"].as_u64();
    let check = site.gatehouse(&["check"]);
    assert!(
        check.out.contains("ok    session north/entry of platform: the daemon is logged in"),
        "{check:?}"
    );
    assert!(
        check.out.contains("FAIL  session north/exit of platform: the login was refused"),
        "{check:?}"
    );
    assert_eq!(platform.report()["logins"].as_u64(), logins);
    daemon.stop();
    platform.tell("allow D-OUT");
    let _daemon = site.start();
    platform.has(40);
    let keys: BTreeSet<_> =
        platform.records().into_iter().map(|(code, at, device, ..)| (code, at, device)).collect();
    assert_eq!(keys, expected);
}

#[test]
fn heartbeats_without_an_answer_and_forgotten_logins_begin_a_new_session() {
    let site = site();
    let mut platform = Platform::of(&site, &["--bcc", "hex", "--version", "3"]);
    reaches(&site, &platform);
    site.configure(|c| {
        c.its("bcc", "hex").its("version_byte", 3).its("heartbeat_s", 1).its("whitelist_s", 3600)
    });
    platform.start();
    let daemon = site.start();
    until("heartbeats", || (platform.report()["heartbeats"].as_u64() >= Some(4)).then_some(()));
    assert_eq!(platform.report()["logins"], 2, "answered heartbeats keep the sessions");
    platform.tell("mute");
    until("new logins", || (platform.report()["logins"].as_u64() >= Some(6)).then_some(()));
    platform.tell("speak");
    site.status_when("the link to be up", |s| {
        s["upstreams"][0]["connected"] == true
            && s["upstreams"][0]["sessions_down"] == serde_json::json!([])
    });
    daemon.stop();

    let means: toml::Table = [("manual".to_owned(), 9.into())].into_iter().collect();
    site.configure(|c| c.its("means", means).its("heartbeat_s", 180).its("whitelist_s", 1));
    let _daemon = site.start();
    enrolls(&site, 1);
    numbered(&site, 1);
    let logins = platform.report()["logins"].as_u64().unwrap();
    platform.tell("forget D-IN");
    let released = site.gatehouse(&RELEASE);
    assert_eq!(released.code, 0, "{released:?}");
    platform.has(1);
    assert_eq!(platform.records()[0].3, 9, "a guard's word has its own type");
    assert_eq!(platform.report()["logins"].as_u64(), Some(logins + 1));
}

#[test]
fn a_list_of_a_thousand_is_enrolled_while_the_gate_works() {
    const WORKERS: u64 = 1_000;
    let site = site();
    let arguments = ["--workers", "1000", "--rotten", "7", "--parts", "3", "--version", "5"];
    let mut platform = Platform::of(&site, &arguments);
    reaches(&site, &platform);
    site.configure(|c| {
        let means: toml::Table = [("manual".to_owned(), 9.into())].into_iter().collect();
        let c = c.its("version_byte", 5).its("commands", "roster").its("whitelist_s", 3600);
        c.its("means", means)
    });
    let _daemon = site.start();
    enrolls(&site, 1);
    platform.start();
    until("the first workers of the list", || {
        (site.status()["roster"]["pending"].as_u64() >= Some(1)).then_some(())
    });
    // The gate works meanwhile.
    let released = site.gatehouse(&RELEASE);
    assert_eq!(released.code, 0, "{released:?}");
    platform.has(1);
    assert_eq!(platform.records()[0].3, 9, "a guard's word has its own type");
    let status = site
        .status_when("the whole list", |s| s["roster"]["pending"].as_u64() == Some(WORKERS - 1));
    assert_eq!(status["upstreams"][0]["unreadable"], 7, "{status:#}");
    numbered(&site, WORKERS);
    // They wait for a person, under the platform's number, and without a face.
    let shown =
        site.gatehouse(&["--json", "worker", "show", "platform-1000"]).json_lines().remove(0);
    assert_eq!((&shown["state"], &shown["name"]), (&"pending".into(), &"工1000".into()), "{shown}");
    let refused = site.gatehouse(&[&RELEASE[..6], &["platform-1000", "--reason", "x"]].concat());
    refused.refused("not confirmed by a person at the site");
    let known = site.gatehouse(&["--json", "worker", "show", "W001"]).json_lines().remove(0);
    assert_eq!(known["state"], "active");
}

#[test]
fn i13_a_list_of_ten_thousand_adds_no_one_without_the_right_and_removes_no_one() {
    let site = site();
    let mut platform = Platform::of(&site, &["--workers", "10000", "--rotten", "500"]);
    reaches(&site, &platform);
    platform.start();
    let daemon = site.start();
    enrolls(&site, 10_000);
    enrolls(&site, 2);
    numbered(&site, 2);
    let code = "SELECT CAST(code AS INTEGER) FROM platform_code WHERE worker = 'W10000'";
    assert_eq!(number(&site, code), 10_000);
    let status = site.status();
    let workers = "SELECT count(*) FROM worker";
    assert_eq!(
        (number(&site, workers), &status["roster"]["pending"]),
        (2, &0.into()),
        "{status:#}"
    );
    assert!(status["upstreams"][0]["unreadable"].as_u64() >= Some(500), "{status:#}");
    // The platform takes worker 2 off its list, and its list is damaged later. The worker stays.
    platform.tell("remove 2");
    let lists = |platform: &mut Platform| platform.report()["lists"].as_u64().unwrap();
    let before = lists(&mut platform);
    until("another list", || (lists(&mut platform) >= before + 2).then_some(()));
    platform.tell("rot");
    site.status_when("the damaged list to be named", |s| {
        let said = s["upstreams"][0]["last_trouble"].as_str().unwrap_or_default();
        said.contains("list of workers has a wrong check byte")
    });
    let kept = site.gatehouse(&["--json", "worker", "show", "W002"]).json_lines().remove(0);
    assert_eq!(kept["state"], "active");
    numbered(&site, 2);
    daemon.stop();
}

#[test]
fn check_logs_in_with_each_device_and_says_what_is_wrong() {
    let site = site();
    let mut platform = Platform::of(&site, &[]);
    reaches(&site, &platform);
    let gone = site.gatehouse(&["check"]);
    let address = format!("tcp://127.0.0.1:{}", platform.port);
    let expected = format!("FAIL  session north/entry of platform: {address}: ");
    assert!(gone.out.contains(&expected), "{gone:?}");
    platform.start();
    platform.tell("deny D-OUT");
    let said = site.gatehouse(&["check"]);
    for expected in [
        format!("ok    session north/entry of platform: {address} accepts the device"),
        format!(
            "FAIL  session north/exit of platform: {address}: the login was refused: 设备未绑定"
        ),
    ] {
        assert!(said.out.contains(&expected), "{said:?} lacks {expected}");
    }
    platform.report();
}

#[test]
fn the_platform_file_of_longminggong_sends_what_the_platform_asks_of_a_gate() {
    let site = site();
    let mut platform = Platform::of(&site, &[]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/platforms/longminggong.toml");
    let mut block = std::fs::read_to_string(file).unwrap();
    for (there, here) in [
        ("tcp://platform.example:8010", &*format!("tcp://127.0.0.1:{}", platform.port)),
        ("VENDOR-CODE", VENDOR),
        ("DEVICE-IN", DEVICES[0].1),
        ("DEVICE-OUT", DEVICES[1].1),
        ("whitelist_s = 3600", "whitelist_s = 1"),
    ] {
        assert!(block.contains(there), "{there}");
        block = block.replace(there, here);
    }
    let mut configuration = std::fs::read_to_string(site.path("gatehouse.toml")).unwrap();
    configuration.push_str(&format!("\n{block}"));
    std::fs::write(site.path("gatehouse.toml"), configuration).unwrap();
    platform.start();
    let daemon = site.start();
    (1..=3).for_each(|n| enrolls(&site, n));
    let count = "SELECT count(*) FROM platform_code WHERE upstream = 'longminggong'";
    until("the workers' numbers", || (number(&site, count) == 3).then_some(()));
    daemon.stop();
    let (passages, expected) = morning(6);
    past::write_for(&site, &["longminggong"], &[], passages.into_iter());
    let _daemon = site.start();
    platform.has(6);
    let records = platform.records();
    let keys: BTreeSet<_> =
        records.iter().map(|(code, at, device, ..)| (*code, at.clone(), device.clone())).collect();
    assert_eq!(keys, expected);
    assert!(records.iter().all(|(.., kind, _)| *kind == 6));
}

#[test]
fn rows_of_a_busy_session_pause_while_those_of_the_others_go() {
    let site = site();
    let mut platform = Platform::of(&site, &[]);
    reaches(&site, &platform);
    let means = toml::Table::from_iter([("manual".to_owned(), 9.into())]);
    site.configure(|c| c.its("answer_s", 600).its("means", means));
    with_three_workers(&site, &mut platform).stop();
    platform.tell("hold");
    let daemon = site.start();
    // The session of the entry waits for the list. Its rows cannot go, and those of the exit can.
    platform.says("held");
    let goes = |direction| {
        let release = RELEASE.map(|word| if word == "entry" { direction } else { word });
        let said = site.gatehouse(&release);
        assert_eq!(said.code, 0, "{said:?}");
    };
    goes("entry");
    let status = site.status_when("the pause to be told", |s| {
        let trouble = s["upstreams"][0]["last_trouble"].as_str().unwrap_or_default();
        trouble.contains("session north/entry is busy")
    });
    assert_eq!(status["upstreams"][0]["connected"], true);
    goes("exit");
    platform.has(1);
    assert!(platform.records().iter().all(|(_, _, device, ..)| device == "D-OUT"));
    platform.tell("go");
    daemon.stop();
    let _daemon = site.start();
    platform.has(2);
}

#[test]
fn a_login_answer_that_comes_byte_by_byte_is_read_and_check_gives_up_on_a_slow_one() {
    let site = site();
    let mut platform = Platform::of(&site, &[]);
    reaches(&site, &platform);
    with_three_workers(&site, &mut platform).stop();
    platform.tell("dribble 0.05");
    let check = site.gatehouse(&["--json", "check"]);
    assert!(!check.out.contains("was not answered"), "{check:?}");
    let (passages, _) = morning(4);
    write(&site, passages);
    let daemon = site.start();
    platform.has(4);
    daemon.stop();
    // Each byte comes in time, and the answer would take a minute.
    platform.tell("dribble 1.7");
    let check = site.gatehouse(&["--json", "check"]);
    assert!(check.out.contains("the login was not answered within 30s"), "{check:?}");
}

#[test]
fn i5_a_record_carries_the_photo_of_a_worker_who_consents_and_none_of_another() {
    let site = Site::of(Lane::north().set("cool_down_s", 0.1));
    let mut platform = Platform::of(&site, &["--workers", "3"]);
    platform.start();
    site.configure(|c| {
        let session = [("lane", "north"), ("direction", "entry"), ("device_code", "D-IN")];
        let session: toml::Table =
            session.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect();
        speaks(c, platform.port).its("session", vec![toml::Value::from(session)])
    });
    let wall = WallClock::new(&site.path(""));
    wall.synchronised(true);
    let mut gate = Gate::at(site, &wall.environment());
    enrolls_two(&gate.site, [&id_number(1), &id_number(2)]);
    numbered(&gate.site, 2);
    gate.pass_again("person_a_1.jpg");
    gate.pass_again("person_b_1.jpg");
    platform.has(2);
    let mut photos: Vec<(u64, bool)> =
        platform.records().into_iter().map(|(code, .., photo)| (code, photo > 1000)).collect();
    photos.sort_unstable();
    assert_eq!(photos, [(1, true), (2, false)]);
    // Both records are counted when they are struck off: one photo went, and one did not.
    let site = &gate.site;
    let status =
        site.status_when("the photo to be counted", |s| s["upstreams"][0]["photos_sent"] == 1);
    assert_eq!(status["upstreams"][0]["photos_left_out"], serde_json::json!({"no_consent": 1}));
}
