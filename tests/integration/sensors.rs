//! Passage sensors that fail, and workers who walk late, at a real daemon. The relay board is of
//! another project (pymodbus).

use std::time::Duration;

use crate::common::{
    Gate, Lane, Said, Site, Subscriber,
    lanes::{Lanes, SEEN},
    photo, photo_path, until, walk,
};
use gatehouse::{config::Direction, turnstile::Protocol};
use serde_json::{Value, json};

const SENSOR: &str = "passage sensor north/entry";
const SUSPECT: [&str; 1] = ["sensor_suspect"];
const RELEASE: [&str; 10] = [
    "--json",
    "lane",
    "release",
    "north",
    "--direction",
    "entry",
    "--worker",
    "W001",
    "--reason",
    "x",
];

/// Starts a lane with a worker. `pass_within_s`: time to walk through.
fn start(lane: Lane, pass_within_s: i64) -> Gate {
    let gate = Gate::at(Site::of(lane.set("pass_within_s", pass_within_s)), &[]);
    let photo = photo_path("person_a_2.jpg");
    assert_eq!(gate.site.enroll("W001", "刘峰", "522201199003074411", &photo).code, 0);
    gate
}

/// Releases the arm for the worker. When the coil is on, `acts` moves the sensors. Returns the
/// record.
fn release(gate: &mut Gate, acts: impl FnOnce(&mut Gate)) -> Value {
    let said = std::thread::scope(|scope| {
        let site = &gate.site;
        let command = std::process::Command::new(crate::common::program())
            .args(RELEASE)
            .env("GATEHOUSE_CONFIG", site.path("gatehouse.toml"))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let command = scope.spawn(move || command.wait_with_output().unwrap());
        assert_eq!(gate.board.line(), "coil 0 on");
        acts(gate);
        command.join().unwrap()
    });
    let answer: Value = serde_json::from_slice(&said.stdout).unwrap();
    loop {
        let record = gate.platform.next_on("attendance");
        if record["corrects"].is_null() {
            assert_eq!(answer["outcome"], record["outcome"], "{answer}");
            return record;
        }
    }
}

fn no_one_walks(gate: &mut Gate) {
    assert_eq!(gate.board.line(), "coil 0 off");
}

fn walks(gate: &mut Gate) {
    walk(&gate.site, &mut gate.board);
}

/// Returns the outcome and the flags.
fn told(record: &Value) -> (&str, Vec<&str>) {
    let flags = record["flags"].as_array().into_iter().flatten();
    (record["outcome"].as_str().unwrap(), flags.map(|flag| flag.as_str().unwrap()).collect())
}

/// Waits for such records, also among those that came before, and returns them.
fn records(platform: &mut Subscriber, number: usize, such: impl Fn(&Value) -> bool) -> Vec<Value> {
    loop {
        let records = platform.records.iter().map(|message| &message.json);
        let records: Vec<_> = records.filter(|record| such(record)).cloned().collect();
        if records.len() >= number {
            return records;
        }
        platform.next();
    }
}

/// Waits for corrections to `unconfirmed`, and returns the seqs of the corrected records.
fn corrected(gate: &mut Gate, number: usize) -> Vec<Value> {
    let corrections = records(&mut gate.platform, number, |r| r["corrects"].is_u64());
    for correction in &corrections {
        assert_eq!(told(correction), ("unconfirmed", SUSPECT.to_vec()));
    }
    corrections.iter().map(|correction| correction["corrects"].clone()).collect()
}

/// Waits for the alarm of the sensor, and returns its text.
fn alarm(gate: &mut Gate, number: usize, raised: bool) -> String {
    let alarm = records(&mut gate.platform, number, |r| r["kind"] == "alarm").pop().unwrap();
    let named = (&alarm["what"], &alarm["subject"], &alarm["raised"]);
    assert_eq!(named, (&json!("passage_sensor"), &json!("north/entry"), &json!(raised)));
    alarm["detail"].as_str().unwrap().to_owned()
}

fn remedy(status: &Value) -> String {
    let all = status["degraded"].as_array().unwrap();
    let sensor = all.iter().find(|d| d["what"] == SENSOR);
    sensor.map_or(String::new(), |d| d["remedy"].as_str().unwrap().to_owned())
}

fn is_well(status: &Value) -> bool {
    Site::degraded(status).is_empty()
}

#[test]
fn i12_a_torn_input_makes_no_ghost_days_and_heals_by_itself() {
    let mut gate = start(Lane::north(), 1);
    let first = release(&mut gate, no_one_walks);
    assert_eq!(told(&first), ("unconfirmed", SUSPECT.to_vec()), "no sign of life yet");
    assert!(is_well(&gate.site.status()));
    assert_eq!(told(&release(&mut gate, walks)), ("passed", vec![]));
    // The wire is torn.
    let mut not_passed = Vec::new();
    for _ in 0..2 {
        let record = release(&mut gate, no_one_walks);
        assert_eq!(told(&record), ("not_passed", vec![]));
        not_passed.push(record["seq"].clone());
    }
    assert_eq!(told(&release(&mut gate, no_one_walks)), ("unconfirmed", SUSPECT.to_vec()));
    let status = gate.site.status_when("the trouble", |s| !remedy(s).is_empty());
    let named = ["input 0 of address 1", "for entry at lane north", "a torn or loose wire"];
    let told_by_alarm = alarm(&mut gate, 1, true);
    for part in named {
        assert!(remedy(&status).contains(part), "{}", remedy(&status));
        assert!(told_by_alarm.contains(part), "{told_by_alarm}");
    }
    assert_eq!(corrected(&mut gate, 2), not_passed);
    // A restart does not hide the torn wire.
    gate.daemon.take().unwrap().kill();
    gate.board.command("closed");
    gate.daemon = Some(gate.site.start());
    gate.site.status_when("the turnstile", |s| Site::degraded(s) == [SENSOR]);
    assert_eq!(told(&release(&mut gate, no_one_walks)), ("unconfirmed", SUSPECT.to_vec()));
    // The wire is mended.
    assert_eq!(told(&release(&mut gate, walks)), ("passed", vec![]));
    gate.site.status_when("the trouble to be over", is_well);
    alarm(&mut gate, 2, false);
    assert_eq!(told(&release(&mut gate, no_one_walks)), ("not_passed", vec![]));
    gate.platform.assert_whole();
}

#[test]
fn i12_an_input_that_is_welded_on_is_told_and_its_outcomes_are_unconfirmed() {
    let mut gate = start(Lane::north(), 1);
    assert_eq!(told(&release(&mut gate, walks)), ("passed", vec![]));
    let before = release(&mut gate, no_one_walks);
    assert_eq!(told(&before), ("not_passed", vec![]));
    gate.board.command("input 0 on");
    gate.site.status_when("the input", |s| s["lanes"][0]["turnstile"]["passage_inputs"][0] == true);
    assert_eq!(told(&release(&mut gate, no_one_walks)), ("unconfirmed", SUSPECT.to_vec()));
    let status = gate.site.status_when("the trouble", |s| !remedy(s).is_empty());
    assert!(remedy(&status).contains("stays on: input 0 of address 1"), "{}", remedy(&status));
    alarm(&mut gate, 1, true);
    assert_eq!(corrected(&mut gate, 1), [before["seq"].clone()]);
    assert_eq!(told(&release(&mut gate, no_one_walks)), ("unconfirmed", SUSPECT.to_vec()));
    gate.board.command("input 0 off");
    let is_off = |s: &Value| s["lanes"][0]["turnstile"]["passage_inputs"][0] == false;
    // The input counts again only after two polls have seen it off.
    (0..2).for_each(|_| drop(gate.site.status_when("the input to be off", is_off)));
    // The first passage shows that it works; the next ones rest on it.
    assert_eq!(told(&release(&mut gate, walks)), ("unconfirmed", SUSPECT.to_vec()));
    gate.site.status_when("the trouble to be over", is_well);
    assert_eq!(told(&release(&mut gate, walks)), ("passed", vec![]));
    alarm(&mut gate, 2, false);
    gate.platform.assert_whole();
}

#[test]
fn i12_an_input_that_chatters_makes_no_passages() {
    let mut gate = start(Lane::north(), 1);
    gate.board.command("chatters 0 200");
    let status = gate.site.status_when("the trouble", |s| !remedy(s).is_empty());
    assert!(remedy(&status).contains("a loose wire"), "{}", remedy(&status));
    assert_eq!(told(&release(&mut gate, |_| {})), ("unconfirmed", SUSPECT.to_vec()));
    alarm(&mut gate, 1, true);
    gate.board.command("chatters 0 0");
    // It heals with the first passage half a minute after the last false one.
    let healed = until("the sensor to heal", || {
        while gate.board.line_within(Duration::from_millis(500)).is_some() {}
        let record = release(&mut gate, walks);
        (told(&record) == ("passed", vec![])).then_some(record)
    });
    assert_eq!(told(&healed), ("passed", vec![]));
    gate.site.status_when("the trouble to be over", is_well);
}

#[test]
fn a_lane_without_a_passage_sensor_has_unconfirmed_outcomes_and_no_alarm() {
    let mut gate = start(Lane::north().turnstile("passage_input", "none"), 1);
    for _ in 0..4 {
        assert_eq!(told(&release(&mut gate, no_one_walks)), ("unconfirmed", vec![]));
    }
    gate.board.command("input 0 on");
    let status = gate.site.status();
    assert!(is_well(&status), "{status:#}");
    let turnstile = &status["lanes"][0]["turnstile"];
    assert_eq!(turnstile["confirms_passage"], false);
    assert_eq!((&turnstile["passages"], &turnstile["passage_inputs"]), (&json!(0), &Value::Null));
    gate.platform.assert_whole();
    assert!(gate.platform.records.iter().all(|m| m.json["kind"] != "alarm"));
}

#[test]
fn a_worker_who_walks_late_has_passed_and_the_next_release_ends_the_grace() {
    let mut gate = start(Lane::north(), 2);
    let late = Duration::from_millis(2600);
    let record = release(&mut gate, |gate| {
        assert_eq!(gate.board.line(), "coil 0 off");
        // The pulse of 0.5 s is over.
        std::thread::sleep(late.saturating_sub(Duration::from_millis(500)));
        gate.board.command("input 0 on");
    });
    gate.board.command("input 0 off");
    assert_eq!(told(&record), ("passed", vec!["late"]));
    let status = gate.site.status();
    assert_eq!(status["lanes"][0]["tailgates"], 0);

    let (first, second) = std::thread::scope(|scope| {
        let (site, board) = (&gate.site, &mut gate.board);
        let first = scope.spawn(move || site.gatehouse(&RELEASE));
        assert_eq!([board.line(), board.line()], ["coil 0 on", "coil 0 off"]);
        std::thread::sleep(late.saturating_sub(Duration::from_millis(500)));
        let second = scope.spawn(move || site.gatehouse(&RELEASE));
        assert_eq!(board.line(), "coil 0 on");
        walk(site, board);
        (first.join().unwrap(), second.join().unwrap())
    });
    let outcome = |said: &Said| said.json_lines().remove(0)["outcome"].clone();
    assert_eq!((outcome(&first), outcome(&second)), (json!("unconfirmed"), json!("passed")));
    gate.platform.event("release");
    let records = [gate.platform.next_on("attendance"), gate.platform.next_on("attendance")];
    assert_eq!(records.each_ref().map(told), [("unconfirmed", vec![]), ("passed", vec![])]);
    assert_eq!(gate.site.status()["lanes"][0]["tailgates"], 0);
    gate.platform.assert_whole();
}

#[test]
fn i12_counters_that_start_again_while_the_arm_is_open_leave_the_outcome_unconfirmed() {
    let mut lanes = Lanes::start(&[(Protocol::Counting, 1)], &[("pass_within_s", 3.into())]);
    let device = lanes.lanes[0].device.clone();
    device.set_counted(Direction::Entry, 5_000);
    // Another restart, while no one passes, is no alarm.
    lanes.site.status_when("the new counters", |s| {
        s["lanes"][0]["turnstile"]["last_error"].as_str().is_some_and(|e| e.contains("restarted"))
    });
    assert!(Site::degraded(&lanes.site.status()).is_empty());
    lanes.lanes[0].camera.as_ref().unwrap().show(photo(SEEN[0]));
    until("the release", || (device.releases() == 1).then_some(()));
    device.set_counted(Direction::Entry, 0);
    lanes.lanes[0].camera.as_ref().unwrap().show_empty();
    let record = lanes.platform.next_on("attendance");
    assert_eq!(told(&record), ("unconfirmed", SUSPECT.to_vec()));
}
