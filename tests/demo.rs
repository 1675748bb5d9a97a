//! `gatehouse demo`, as a stranger runs it.
#![cfg(feature = "demo")]

use std::time::{Duration, Instant};

use assert_cmd::Command;

#[test]
fn the_demo_shows_the_whole_gate_ends_by_itself_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .arg("demo")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TMPDIR", scratch.path())
        .timeout(Duration::from_secs(180))
        .output()
        .unwrap();
    let (said, complaints) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "after {:?}:\n{said}{complaints}", begun.elapsed());
    let mut rest = said.as_str();
    let in_order = "enrolled|release received|passage reported|passed|refused|cut|kept|kept|back|\
                    passed|passed|each once";
    for told in in_order.split('|') {
        let (_, after) = rest.split_once(told).unwrap_or_else(|| panic!("no {told:?} in\n{said}"));
        rest = after;
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
