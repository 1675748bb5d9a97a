//! Several lanes of one gateway, with controllers of every kind. Each lane works by itself, a mode
//! and a fire alarm survive crashes, and a passage without a release is recorded.

use crate::common::{
    lanes::{Lanes, SEEN},
    photo,
    port::Stranger,
    until,
};
use std::time::Duration;

use gatehouse::{config::Direction, turnstile::Fault, turnstile::Protocol};
use serde_json::{Value, json};

impl Lanes {
    fn shows(&self, lane: usize, photo_name: &str) {
        self.lanes[lane].camera.as_ref().unwrap().show(photo(photo_name));
    }

    fn show_empty(&self, lane: usize) {
        self.lanes[lane].camera.as_ref().unwrap().show_empty();
    }

    fn stands_open(&self, lane: usize) -> bool {
        Direction::BOTH.iter().all(|way| self.lanes[lane].device.released(*way))
    }

    fn is_shut(&self, lane: usize) -> bool {
        !Direction::BOTH.iter().any(|way| self.lanes[lane].device.released(*way))
    }

    fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        until(what, || holds().then_some(()));
    }

    /// Moves the sensors as a person who walks through, with or without a release.
    fn walk(&self, lane: usize, direction: Direction) {
        let _within = self.runtime.enter();
        self.lanes[lane].device.walk(direction);
    }

    /// Shows a worker, who gets a release and walks. Returns the attendance record.
    fn pass(&mut self, lane: usize, person: usize) -> Value {
        let device = self.lanes[lane].device.clone();
        let before = device.passages();
        self.shows(lane, SEEN[person]);
        self.wait("the worker to walk", || device.passages() > before);
        self.show_empty(lane);
        self.platform.next_on("attendance")
    }
}

#[test]
fn each_kind_of_controller_lets_a_worker_through_and_reports_the_passage_if_it_can() {
    let mut lanes = Lanes::start(
        &[(Protocol::ModbusRtu, 1), (Protocol::Counting, 1), (Protocol::OneWay, 1)],
        &[],
    );
    for (lane, outcome) in [(0, "passed"), (1, "passed"), (2, "unconfirmed")] {
        let record = lanes.pass(lane, lane);
        let named = (&record["lane"], &record["outcome"], &record["worker"]);
        let expected =
            (&json!(format!("lane-{lane}")), &json!(outcome), &json!(format!("W00{}", lane + 1)));
        assert_eq!(named, expected);
        assert_eq!(lanes.lanes[lane].device.releases(), 1);
    }
    let status = lanes.site.status();
    let confirms = |lane: usize| status["lanes"][lane]["turnstile"]["confirms_passage"].clone();
    assert_eq!([confirms(0), confirms(1), confirms(2)], [json!(true), json!(true), json!(false)]);
}

#[test]
fn i1_free_mode_survives_a_kill_and_a_stop_until_it_is_ended() {
    let kinds = Protocol::all();
    assert!(kinds.len() >= 3, "{kinds:?}");
    let lines: Vec<_> = kinds.iter().map(|kind| (*kind, 1)).collect();
    let mut lanes = Lanes::start(&lines, &[]);
    let said = lanes.mode(0, "ajar");
    assert_eq!((said.code, said.err.contains("must be normal, free or closed")), (2, true));
    for lane in 0..kinds.len() {
        assert!(lanes.is_shut(lane));
        assert_eq!(lanes.mode(lane, "free").code, 0);
        lanes.wait("the arm to stand open", || lanes.stands_open(lane));
        let event = lanes.platform.event("mode");
        let said = (&event["mode"], &event["reason"], &event["lane"]);
        assert_eq!(said, (&json!("free"), &json!("a drill"), &json!(format!("lane-{lane}"))));
        assert!(event["by"].is_string());
    }
    // A worker who comes is recorded, without a release.
    lanes.shows(1, SEEN[0]);
    let record = lanes.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("unconfirmed")));
    lanes.show_empty(1);
    assert_eq!(lanes.lanes[1].device.releases(), 0);

    lanes.kill();
    assert!((0..kinds.len()).all(|lane| lanes.stands_open(lane)));
    lanes.restart();
    let all_held = |s: &Value| {
        let lanes = s["lanes"].as_array().unwrap();
        lanes.iter().all(|l| l["mode"] == "free" && l["turnstile"]["held_open"] == true)
    };
    let status = lanes.site.status_when("the lanes to stand open again", all_held);
    assert!(crate::common::Site::degraded(&status).contains(&"lane lane-0"), "{status}");
    assert!((0..kinds.len()).all(|lane| lanes.stands_open(lane)));
    lanes.daemon.take().unwrap().stop();
    assert!((0..kinds.len()).all(|lane| lanes.stands_open(lane)), "a stop closes nothing");
    lanes.restart();
    for lane in 0..kinds.len() {
        assert_eq!(lanes.mode(lane, "normal").code, 0);
        lanes.wait("the arm to be shut", || lanes.is_shut(lane));
    }
    let record = lanes.pass(0, 1);
    assert_eq!(record["outcome"], "passed");
}

#[test]
fn i1_a_fire_alarm_opens_all_lanes_and_reaches_the_platform() {
    let mut lanes = Lanes::start(&[(Protocol::ModbusRtu, 2), (Protocol::Counting, 1)], &[]);
    lanes.lanes[1].device.set_fire(true);
    for lane in 0..3 {
        lanes.wait("the arm to stand open", || lanes.stands_open(lane));
    }
    // Each lane records on its own, so the order may vary.
    let (mut fires, mut modes) = (Vec::new(), Vec::new());
    while fires.is_empty() || modes.len() < 3 {
        let event = lanes.platform.next_on("event");
        match event["kind"].as_str() {
            Some("fire") => fires.push(event),
            Some("mode") => modes.push(event),
            _ => {}
        }
    }
    assert_eq!((&fires[0]["lane"], &fires[0]["on"]), (&json!("lane-1"), &json!(true)));
    assert!(modes.iter().all(|m| m["mode"] == "free" && m.get("by").is_none()), "{modes:?}");
    let status = lanes.site.status();
    assert!(crate::common::Site::degraded(&status).contains(&"fire alarm lane-1"), "{status}");
    lanes.mode(0, "normal").refused("the fire alarm at lane lane-1 is on");

    // The gateway crashes during the alarm, and the alarm is over when it starts again.
    lanes.kill();
    lanes.lanes[1].device.set_fire(false);
    lanes.restart();
    for lane in 0..3 {
        assert!(lanes.stands_open(lane));
        assert_eq!(lanes.lane(lane)["mode"], "free");
        assert_eq!(lanes.mode(lane, "normal").code, 0);
        lanes.wait("the arm to be shut", || lanes.is_shut(lane));
    }
}

/// Returns the uptime in the status.
fn uptime_ms(status: &Value) -> u64 {
    status["clock"]["uptime_ms"].as_u64().unwrap()
}

impl Lanes {
    /// Switches a lane's fire input on until all arms are open, and for `longer`.
    fn fire_sign(&self, lane: usize, longer: Duration) {
        self.lanes[lane].device.set_fire(true);
        for lane in 0..self.lanes.len() {
            self.wait("the arm to stand open", || self.stands_open(lane));
        }
        std::thread::sleep(longer);
        self.lanes[lane].device.set_fire(false);
    }

    /// Ends the free mode of all lanes.
    fn end_free_mode(&self) {
        for lane in 0..self.lanes.len() {
            until("the end of the free mode", || {
                (self.mode(lane, "normal").code == 0).then_some(())
            });
            self.wait("the arm to be shut", || self.is_shut(lane));
        }
    }

    /// Gives a fire sign that the gate knows to be short. On a busy machine the gate may read the
    /// input too seldom to know this; then the sign is given again.
    fn short_fire_sign(&self, lane: usize) {
        let short = |s: &Value| s["lanes"][lane]["short_fire_signs"].as_u64().unwrap();
        let before = short(&self.site.status());
        until("a short fire sign", || {
            let begun = uptime_ms(&self.site.status());
            self.fire_sign(lane, Duration::ZERO);
            let judged = |s: &Value| short(s) > before || uptime_ms(s) > begun + 10_000;
            let status = self.site.status_when("the sign to be judged", judged);
            let counted = short(&status) > before;
            if !counted {
                self.end_free_mode();
            }
            counted.then_some(())
        });
    }

    /// Waits until a fire sign that is over now would have been found to be a glitch.
    fn stay_free(&self) {
        let over = uptime_ms(&self.site.status());
        let quiet = |s: &Value| uptime_ms(s) > over + 7_000;
        let status = self.site.status_when("some seconds without a sign", quiet);
        for lane in 0..self.lanes.len() {
            assert_eq!(status["lanes"][lane]["mode"], "free", "{status:#}");
            assert!(self.stands_open(lane));
        }
        let degraded = status["degraded"].as_array().unwrap();
        let no_fire =
            degraded.iter().filter(|d| d["remedy"].as_str().unwrap().contains("no fire sign"));
        assert_eq!(no_fire.count(), self.lanes.len(), "{degraded:#?}");
    }
}

#[test]
fn a_glitch_of_the_fire_input_heals_and_a_second_one_within_ten_minutes_does_not() {
    let mut lanes = Lanes::start(&[(Protocol::ModbusRtu, 2), (Protocol::Counting, 1)], &[]);
    assert_eq!(lanes.mode(2, "closed").code, 0);
    lanes.platform.event("mode");
    lanes.short_fire_sign(1);
    for lane in 0..3 {
        lanes.wait("the arm to be shut again", || lanes.is_shut(lane));
    }
    let (mut back, mut told) = (Vec::new(), None);
    while back.len() < 3 || told.is_none() {
        let event = lanes.platform.next_on("event");
        match event["code"].as_str() {
            Some("fire_glitch") => back.push(event),
            Some("fire_input_glitch") => told = Some(event),
            _ => {}
        }
    }
    for event in &back {
        let mode = if event["lane"] == "lane-2" { "closed" } else { "normal" };
        assert_eq!((&event["kind"], &event["mode"]), (&json!("mode"), &json!(mode)));
        assert!(event["reason"].as_str().unwrap().contains("lane-1 was a glitch"), "{event}");
    }
    let told = told.unwrap();
    let said = (&told["what"], &told["subject"], &told["raised"]);
    assert_eq!(said, (&json!("fire_glitch"), &json!("lane-1"), &json!(true)));
    assert!(told["detail"].as_str().unwrap().contains("clamps of input 7"), "{told}");
    let closed = lanes.lane(2);
    assert_eq!((&closed["mode"], &closed["mode_reason"]), (&json!("closed"), &json!("a drill")));
    assert_eq!(lanes.pass(0, 0)["outcome"], "passed");

    lanes.short_fire_sign(1);
    let repeated = loop {
        let event = lanes.platform.event("alarm");
        if event["what"] == "fire_input" {
            break event;
        }
    };
    assert_eq!((&repeated["subject"], &repeated["raised"]), (&json!("lane-1"), &json!(true)));
    lanes.stay_free();
    let status = lanes.site.status();
    assert!(crate::common::Site::degraded(&status).contains(&"fire input lane-1"), "{status:#}");
    lanes.end_free_mode();
}

#[test]
fn a_fire_sign_of_300_ms_does_not_heal_and_a_panels_pulse_never_does() {
    let lanes = Lanes::start(&[(Protocol::ModbusRtu, 1)], &[]);
    lanes.fire_sign(0, Duration::from_millis(300));
    lanes.stay_free();
    assert_eq!(lanes.lane(0)["short_fire_signs"], 0);
    drop(lanes);
    let pulse = ("fire_signal", "pulse".into());
    let lanes = Lanes::start(&[(Protocol::ModbusRtu, 1)], &[pulse]);
    lanes.fire_sign(0, Duration::ZERO);
    lanes.stay_free();
    assert_eq!(lanes.lane(0)["short_fire_signs"], 0);
    lanes.end_free_mode();
}

#[test]
fn a_passage_without_a_release_is_a_tailgate_on_each_controller_that_reports_passages() {
    let mut lanes = Lanes::start(&[(Protocol::ModbusRtu, 1), (Protocol::Counting, 1)], &[]);
    for lane in 0..2 {
        lanes.walk(lane, Direction::Exit);
        let event = lanes.platform.event("tailgate");
        let said = (&event["lane"], &event["direction"], event.get("after"));
        assert_eq!(said, (&json!(format!("lane-{lane}")), &json!("exit"), None));
        // A second person follows on the release of a worker.
        let record = lanes.pass(lane, lane);
        lanes.walk(lane, Direction::Entry);
        let event = lanes.platform.event("tailgate");
        assert_eq!((&event["direction"], &event["after"]), (&json!("entry"), &record["passage"]));
        assert_eq!(lanes.lane(lane)["tailgates"], 2);
    }
}

#[test]
fn a_line_moves_to_another_terminal_when_a_left_over_gate_has_taken_its_own() {
    let mut lanes = Lanes::start(&[(Protocol::Counting, 1)], &[]);
    let line = lanes.site.path("line-0");
    lanes.kill();
    let lost = std::fs::read_link(&line).unwrap();
    let _stranger = Stranger::takes(&line);
    lanes.restart();
    lanes.site.status_when("a healthy gate", |s| crate::common::Site::degraded(s).is_empty());
    assert_ne!(std::fs::read_link(&line).unwrap(), lost);
    assert_eq!(lanes.pass(0, 0)["outcome"], "passed");
}

#[test]
fn a_closed_lane_denies_entry_and_says_why() {
    let mut lanes = Lanes::start(&[(Protocol::Counting, 1)], &[]);
    assert_eq!(lanes.mode(0, "closed").code, 0);
    lanes.shows(0, SEEN[0]);
    let denial = lanes.platform.event("denial");
    assert_eq!((&denial["reason"], &denial["worker"]), (&json!("lane_closed"), &json!("W001")));
    lanes.show_empty(0);
    let by_hand = ["lane", "release", "lane-0", "--reason", "guest", "--direction"];
    lanes.site.gatehouse(&[&by_hand[..], &["entry"]].concat()).refused("closed for entry");
    assert_eq!(lanes.site.gatehouse(&[&by_hand[..], &["exit"]].concat()).code, 0);
    assert_eq!(lanes.lanes[0].device.releases(), 1);
}

#[test]
fn i10_a_silent_controller_a_lost_line_and_a_dead_camera_leave_the_other_lanes_working() {
    let mut lanes = Lanes::start(&[(Protocol::ModbusRtu, 2), (Protocol::Counting, 2)], &[]);
    // One fault on the lane's own line, one on another line.
    lanes.lanes[0].device.set_fault(Some(Fault::Mute));
    let other_line = lanes.buses[1].clone();
    lanes.runtime.block_on(other_line.unplug());
    let connected = |s: &Value, lane: usize| s["lanes"][lane]["turnstile"]["connected"] == true;
    lanes.site.status_when("the troubles to be seen", |s| {
        [0, 1, 2, 3].map(|lane| connected(s, lane)) == [false, true, false, false]
    });
    for person in 0..3 {
        let record = lanes.pass(1, person);
        assert_eq!((&record["lane"], &record["outcome"]), (&json!("lane-1"), &json!("passed")));
    }
    lanes.runtime.block_on(other_line.replug());
    lanes.lanes[0].device.set_fault(None);
    lanes.lanes[1].camera = None;
    std::fs::remove_file(lanes.site.path("camera-1")).unwrap();
    lanes.site.status_when("the lanes to come back", |s| {
        [0, 2, 3].iter().all(|lane| connected(s, *lane))
            && s["lanes"][1]["cameras"][0]["connected"] == false
    });
    for lane in [0, 2, 3] {
        let record = lanes.pass(lane, 3);
        assert_eq!(record["outcome"], "passed");
    }
}
