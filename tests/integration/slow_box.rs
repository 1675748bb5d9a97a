//! A small board: one core, and 2 s for a look at a face. A failpoint delays each look.

use std::process::Command;

use crate::common::{
    Gate, Site, Subscriber,
    lanes::{Lanes, SEEN},
    photo, photo_path, program, until,
};
use gatehouse::turnstile::Protocol;
use serde_json::Value;

const FAILPOINTS: &str = "FAILPOINTS";
/// With the search of the frame, a look takes some 2.1 s.
const SLOW: &str = "sight.embed=sleep(1900)";
/// A look takes more than 2.7 s.
const TOO_SLOW: &str = "sight.embed=sleep(2700)";

/// Runs `start` so that the programs which it starts have one core.
fn on_one_core<T>(start: impl FnOnce() -> T) -> T {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the set is zeroed memory of the right size, and belongs to this thread alone.
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut all), 0);
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        let first = (0..libc::CPU_SETSIZE as usize).find(|cpu| libc::CPU_ISSET(*cpu, &all));
        libc::CPU_SET(first.unwrap(), &mut one);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const one), 0);
        let started = start();
        assert_eq!(libc::sched_setaffinity(0, size, &raw const all), 0);
        started
    }
}

/// Returns the next record of a worker who passed. A machine that is busy with other tests is still
/// slower, and may make a decision void.
fn passed(platform: &mut Subscriber) -> Value {
    loop {
        let record = platform.next_on("attendance");
        if record["outcome"] == "passed" {
            return record;
        }
    }
}

/// Returns what needs attention at the vision workers.
fn speed(status: &Value) -> Option<String> {
    let degraded = status["degraded"].as_array().unwrap();
    let vision = degraded.iter().find(|part| part["what"] == "vision")?;
    Some(vision["remedy"].as_str().unwrap().to_owned())
}

/// Returns the line of `gatehouse check` about the speed, on one core.
fn checked(site: &Site, failpoints: &str) -> Value {
    let output = on_one_core(|| {
        Command::new(program())
            .args(["--json", "check"])
            .env("GATEHOUSE_CONFIG", site.path("gatehouse.toml"))
            .env(FAILPOINTS, failpoints)
            .output()
            .unwrap()
    });
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["check"] == "speed").unwrap()
}

#[test]
fn a_worker_passes_a_gate_whose_box_needs_two_seconds_a_face() {
    let mut gate = on_one_core(|| Gate::start(&[(FAILPOINTS, SLOW)]));
    let said =
        gate.site.enroll("W001", "刘峰", "522201199003074411", &photo_path("person_a_2.jpg"));
    assert_eq!(said.code, 0, "{said:?}");
    gate.pass("person_a_1.jpg");
    assert_eq!(passed(&mut gate.platform)["worker"], "W001");
    // A stranger is denied, and a face that stays gets one denial.
    gate.camera.show(photo("impostor_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "unknown_face");
    assert_eq!(gate.site.status()["vision"]["workers"], 1);
}

#[test]
fn two_busy_cameras_of_a_slow_box_get_decisions_in_turn_and_the_status_says_that_it_is_slow() {
    let mut lanes = Lanes::start(&[(Protocol::ModbusRtu, 2)], &[]);
    lanes.kill();
    lanes.daemon = Some(on_one_core(|| lanes.site.start_with(&[(FAILPOINTS, SLOW)])));
    let status = lanes.site.status_when("the box to be slow", |s| speed(s).is_some());
    let problem = speed(&status).unwrap();
    assert!(problem.starts_with("too slow for 2 cameras: "), "{problem}");
    let line = checked(&lanes.site, SLOW);
    assert!(line["detail"].as_str().unwrap().starts_with("too slow for 2 cameras: "), "{line}");

    for (lane, seen) in lanes.lanes.iter().zip(SEEN) {
        lane.camera.as_ref().unwrap().show(photo(seen));
    }
    let walked = |lane: usize| lanes.lanes[lane].device.passages() > 0;
    until("both workers to walk", || (walked(0) && walked(1)).then_some(()));
    let mut workers: Vec<_> = (0..2)
        .map(|_| passed(&mut lanes.platform)["worker"].as_str().unwrap().to_owned())
        .collect();
    workers.sort();
    assert_eq!(workers, ["W001", "W002"]);
}

#[test]
fn i6_a_box_with_more_than_two_and_a_half_seconds_a_face_is_not_ready_and_says_why() {
    let site = Site::prepare();
    let (_camera, _board) = (site.plug_camera_in(), site.plug_board_in());
    let _daemon = on_one_core(|| site.start_with(&[(FAILPOINTS, TOO_SLOW)]));
    let status = site.status_when("the box to be slow", |s| speed(s).is_some());
    let problem = speed(&status).unwrap();
    let is_told = |problem: &str| {
        problem.starts_with("too slow for 1 camera: ") && problem.ends_with("use a faster board")
    };
    assert!(is_told(&problem), "{problem}");
    let line = checked(&site, TOO_SLOW);
    assert!(line["ok"] == false && is_told(line["detail"].as_str().unwrap()), "{line}");
    let status = site.turnstile_connected();
    assert_eq!(status["lanes"][0]["ready"], false, "{status:#}");
}
