//! Who walks, and for whom the arm is open: scenes with two cameras and a relay board of pymodbus.

use gatehouse::turnstile::Direction;
use serde_json::{Value, json};

use crate::common::{Camera, Gate, Lane, Site, photo, photo_path, until, walk};

const A: (&str, &str, &str) = ("W001", "522201199003074411", "person_a_2.jpg");
const B: (&str, &str, &str) = ("W002", "522201198805112024", "person_b_2.jpg");

struct Scene {
    // The daemon ends before the second camera.
    gate: Gate,
    /// The camera of the exit.
    exit: Camera,
}

impl Scene {
    /// Starts a lane with a camera for each direction, and enrols A and B.
    fn start(pass_within_s: i64, cool_down_s: i64) -> Scene {
        let lane = Lane::north().camera("exit", "replay:exit").set("cool_down_s", cool_down_s);
        let site = Site::of(lane.set("pass_within_s", pass_within_s));
        let exit = Camera::plug_in(&site.path("exit"));
        let gate = Gate::at(site, &[("GATEHOUSE_LOG", "debug")]);
        for (id, number, file) in [A, B] {
            let said = gate.site.enroll(id, id, number, &photo_path(file));
            assert_eq!(said.code, 0, "{said:?}");
        }
        Scene { gate, exit }
    }

    fn camera(&self, direction: Direction) -> &Camera {
        if direction == Direction::Entry { &self.gate.camera } else { &self.exit }
    }

    /// Waits until the gate has seen a further face three times during the passage.
    fn seen(&self, direction: Direction) {
        let during = format!("direction={direction} visit=");
        let named = |line: &&str| line.contains("worker=\"W001\"");
        until("three looks at the face", || {
            let log = self.gate.site.log();
            let looks = log.lines().filter(|line| line.contains(&during) && !named(line));
            (looks.count() >= 3).then_some(())
        });
    }

    /// Shows A until the arm is released, and then this photo for three looks.
    fn granted_and_then(&mut self, direction: Direction, photo_name: &str) {
        self.camera(direction).show(photo("person_a_1.jpg"));
        assert_eq!(self.gate.board.line(), format!("coil {} on", direction as u8));
        self.camera(direction).show(photo(photo_name));
        self.seen(direction);
    }

    /// Moves the sensor, and returns the record.
    fn walks(&mut self, direction: Direction) -> Value {
        let (coil, input) = (direction as u8, format!("input {}", direction as u8));
        let passages = |s: &Value| s["lanes"][0]["turnstile"]["passages"].as_u64().unwrap();
        let before = passages(&self.gate.site.status());
        let mut said = self.gate.board.command(&format!("{input} on"));
        self.gate.site.status_when("the passage to be seen", |s| passages(s) > before);
        said.extend(self.gate.board.command(&format!("{input} off")));
        assert!(said.is_empty() || said == [format!("coil {coil} off")], "{said:?}");
        self.gate.platform.next_on("attendance")
    }
}

fn stranger_walks(direction: Direction) {
    let mut scene = Scene::start(60, 5);
    scene.granted_and_then(direction, "impostor_1.jpg");
    scene.camera(direction).show_empty();
    let record = scene.walks(direction);
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    assert_eq!(record["flags"], json!(["other_face"]), "{record}");
    let event = scene.gate.platform.event("other_face");
    assert_eq!((&event["passage"], &event["lane"]), (&record["passage"], &json!("north")));
    assert_eq!(event["direction"], json!(direction.to_string()));
    assert!(event["score"].as_f64().unwrap() < 0.5, "{event}");
    assert_eq!((&event["worker"], &event["photo"]), (&Value::Null, &Value::Null));
    let lane = &scene.gate.site.status()["lanes"][0];
    assert_eq!((&lane["other_faces"], &lane["tailgates"]), (&json!(1), &json!(0)));
    scene.gate.platform.assert_whole();
}

#[test]
fn a_stranger_who_enters_on_a_workers_grant_is_flagged_and_an_event_says_so() {
    stranger_walks(Direction::Entry);
}

#[test]
fn a_stranger_who_leaves_on_a_workers_grant_is_flagged_and_an_event_says_so() {
    stranger_walks(Direction::Exit);
}

#[test]
fn the_next_one_in_the_queue_leaves_the_record_unflagged() {
    let mut scene = Scene::start(60, 5);
    // The stranger waits where the worker stood, and stays there.
    scene.granted_and_then(Direction::Entry, "impostor_1.jpg");
    let record = scene.walks(Direction::Entry);
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    assert_eq!(record["flags"], Value::Null, "{record}");
    assert_eq!(scene.gate.platform.event("denial")["reason"], "unknown_face");
    assert_eq!(scene.gate.site.status()["lanes"][0]["other_faces"], 0);
}

#[test]
fn a_worker_who_stays_at_the_exit_does_not_keep_the_entry() {
    let mut scene = Scene::start(12, 5);
    scene.exit.show(photo("person_a_1.jpg"));
    assert_eq!(scene.gate.board.line(), "coil 1 on");
    scene.gate.camera.show(photo("person_b_1.jpg"));
    assert_eq!([scene.gate.board.line(), scene.gate.board.line()], ["coil 1 off", "coil 0 on"]);
    scene.gate.camera.show_empty();
    walk(&scene.gate.site, &mut scene.gate.board);
    // B's record comes before A's, whose time is not over. The sensor of A's side has not shown yet
    // that it works.
    for (worker, direction, outcome) in
        [("W002", "entry", "passed"), ("W001", "exit", "unconfirmed")]
    {
        let record = scene.gate.platform.next_on("attendance");
        let seen = [&record["worker"], &record["direction"], &record["outcome"]];
        assert_eq!(seen, [worker, direction, outcome], "{record}");
    }
    // A is still there, and gets a further release.
    assert_eq!(scene.gate.board.line(), "coil 1 on");
    let record = scene.walks(Direction::Exit);
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    assert_eq!(scene.gate.site.status()["lanes"][0]["tailgates"], 0);
}

#[test]
fn the_releases_for_a_worker_who_stays_become_rarer() {
    let mut scene = Scene::start(3, 1);
    scene.exit.show(photo("person_a_1.jpg"));
    let mut record = || {
        let record = scene.gate.platform.next_on("attendance");
        assert_eq!(record["outcome"], "unconfirmed", "the sensor has not shown yet that it works");
        record["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
    };
    let at: Vec<_> = (0..4).map(|_| record()).collect();
    let between: Vec<i64> =
        at.windows(2).map(|two| two[1].as_millisecond() - two[0].as_millisecond()).collect();
    // 3 s open, and pauses of 1 s, 2 s and 4 s.
    for (between, least) in between.iter().zip([4000, 5000, 7000]) {
        assert!(*between >= least, "{between} of {least}");
    }
}
