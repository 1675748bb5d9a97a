//! A guard's button at a spare input of the relay board: a release by hand, committed before it opens.

use serde_json::{Value, json};

use crate::common::{Gate, Lane, Site, walk};

fn start() -> Gate {
    let lane = Lane::north().turnstile("guard_button_entry", 3).turnstile("guard_button_exit", 5);
    Gate::at(Site::of(lane), &[])
}

/// Returns the next release, and asserts who asked for it.
fn released(gate: &mut Gate) -> Value {
    let event = gate.platform.event("release");
    assert_eq!((&event["reason"], &event["by"]), (&json!("guard_button"), &json!("guard_button")));
    assert!(event["worker"].is_null(), "{event}");
    event
}

#[test]
fn a_guards_button_releases_once_a_press_in_its_direction_and_is_recorded() {
    let mut gate = start();
    // Held down, it is one press.
    let mut said = gate.board.command("input 3 on");
    if said.is_empty() {
        said.push(gate.board.line());
    }
    assert_eq!(said, ["coil 0 on"]);
    walk(&gate.site, &mut gate.board);
    assert_eq!(released(&mut gate)["direction"], "entry");
    // The exit's button opens the exit. The entry's button stays down, and opens nothing.
    let mut said = gate.board.command("input 5 on");
    if said.is_empty() {
        said.push(gate.board.line());
    }
    assert_eq!(said, ["coil 1 on"]);
    let mut said = gate.board.command("input 1 on");
    if said.is_empty() {
        said.push(gate.board.line());
    }
    assert_eq!(said, ["coil 1 off"]);
    assert_eq!(released(&mut gate)["direction"], "exit");
    let status = gate.site.status();
    assert_eq!(status["lanes"][0]["manual_releases"], 2, "{status:#}");
}

#[test]
fn a_button_that_is_down_at_a_start_is_no_press() {
    let mut gate = start();
    gate.daemon.take().unwrap().stop();
    gate.board.command("input 3 on");
    gate.restart(&[]);
    // The next press comes first.
    let mut said = gate.board.command("input 5 on");
    if said.is_empty() {
        said.push(gate.board.line());
    }
    assert_eq!(said, ["coil 1 on"]);
    assert_eq!(released(&mut gate)["direction"], "exit");
}
