//! `gatehouse lane watch` at a real gate: the person who wires it sees inputs, looks and decisions.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{
    common::{Gate, Site, ends_with_test, photo, photo_path, program, until, walk},
    import::plan,
};
use serde_json::{Value, json};

/// A running `lane watch`. Dropping this value ends it.
struct Watcher {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<Value>,
}

impl Watcher {
    fn start(site: &Site) -> Watcher {
        let mut command = Command::new(program());
        command.args(["--json", "lane", "watch", "north"]).stdin(Stdio::null());
        command.env("GATEHOUSE_CONFIG", site.path("gatehouse.toml")).stdout(Stdio::piped());
        let mut child = ends_with_test(&mut command).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watcher = Watcher { child, lines, seen: Vec::new() };
        // The state at the beginning shows that it watches.
        watcher.until(|seen| seen["what"] == "controller");
        watcher
    }

    /// Returns the first happening for which this holds, also of those before.
    fn until(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        if let Some(seen) = self.seen.iter().find(|seen| holds(seen)) {
            return seen.clone();
        }
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("it ended: {:#?}", self.seen));
            let seen: Value = serde_json::from_str(&line.unwrap()).unwrap();
            self.seen.push(seen.clone());
            if holds(&seen) {
                return seen;
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_person_who_wires_a_lane_sees_its_inputs_looks_and_decisions() {
    let mut gate = Gate::start(&[]);
    let mut watcher = Watcher::start(&gate.site);
    gate.camera.show(photo("person_a_1.jpg"));
    let look = watcher.until(|seen| seen["what"] == "look");
    assert_eq!((&look["direction"], &look["worker"]), (&json!("entry"), &Value::Null), "{look}");
    let denial = watcher.until(|seen| seen["what"] == "denial");
    assert_eq!(denial["reason"], "unknown_face", "{denial}");
    let faces = |seen: &Value| seen["frames"]["faces"].as_u64().unwrap_or(0) > 0;
    watcher.until(|seen| seen["what"] == "camera" && faces(seen));
    gate.camera.show_empty();

    let photo_file = photo_path("person_a_2.jpg");
    let enrolled = gate.site.enroll("W001", "刘峰", "522201199003074411", &photo_file);
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    let granted = watcher.until(|seen| seen["what"] == "grant");
    assert_eq!((&granted["worker"], &granted["direction"]), (&json!("W001"), &json!("entry")));
    walk(&gate.site, &mut gate.board);
    watcher.until(|seen| seen["what"] == "controller" && seen["passages"] == 1);
    let outcome = watcher.until(|seen| seen["what"] == "outcome");
    assert_eq!((&outcome["passage"], &outcome["outcome"]), (&granted["passage"], &json!("passed")));
    // Neither names nor pictures.
    let all = Value::from(std::mem::take(&mut watcher.seen)).to_string();
    for word in ["刘峰", "photo", "jpeg", "template", "522201199003074411"] {
        assert!(!all.contains(word), "{word}: {all}");
    }
}

#[test]
fn watchers_leave_connections_for_others_and_free_their_place_when_they_end() {
    let gate = Gate::start(&[]);
    let watchers: Vec<_> = (0..4).map(|_| Watcher::start(&gate.site)).collect();
    gate.site.gatehouse(&["lane", "watch", "north"]).refused("4 others watch lanes already");
    gate.site.gatehouse(&["lane", "watch", "south"]).refused("there is no lane \"south\"");
    assert!(Site::degraded(&gate.site.status()).is_empty());
    drop(watchers);
    // The daemon notices the end of a client by itself. A refused watcher ends before it has a line.
    until("a place for a watcher", || {
        let mut command = Command::new(program());
        command.args(["lane", "watch", "north"]).stdin(Stdio::null()).stderr(Stdio::null());
        command.env("GATEHOUSE_CONFIG", gate.site.path("gatehouse.toml")).stdout(Stdio::piped());
        let mut child = ends_with_test(&mut command).spawn().unwrap();
        let first = BufReader::new(child.stdout.take().unwrap()).lines().next();
        let _ = child.kill();
        child.wait().unwrap();
        let line = first?.unwrap();
        assert!(line.contains(" controller: ") || line.contains(" camera "), "{line}");
        Some(())
    });
}

#[test]
fn the_guard_who_watches_a_lane_sees_which_worker_was_not_judged() {
    let site = Site::prepare();
    site.configure(|c| c.set("recognition", "liveness", "guard"));
    let gate = Gate::at(site, &[]);
    // A grey portrait of a public set, which the model takes for a photo.
    let file = gate.site.path("W001.jpg");
    std::fs::write(&file, plan::photo(&[(2, 1)])).unwrap();
    let enrolled = gate.site.enroll("W001", "刘峰", "522201199003074411", &file);
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    let mut watcher = Watcher::start(&gate.site);
    gate.camera.show(plan::photo(&[(2, 2)]));
    let asks = watcher.until(|seen| seen["what"] == "asks_guard");
    assert_eq!((&asks["direction"], &asks["worker"]), (&json!("entry"), &json!("W001")), "{asks}");
    let denial = watcher.until(|seen| seen["what"] == "denial");
    assert_eq!(denial["reason"], "not_judged", "{denial}");
    let taken = |seen: &Value| seen["taken"] == "not judged: the guard decides";
    watcher.until(|seen| seen["what"] == "look" && taken(seen));
    assert!(watcher.seen.iter().all(|seen| seen["what"] != "grant"), "{:#?}", watcher.seen);
}
