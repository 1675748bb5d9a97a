//! `gatehouse demo`, run as by a newcomer.

#[allow(dead_code, reason = "a program of its own")]
#[path = "../benches/commits.rs"]
mod commits;
#[allow(dead_code, reason = "a program of its own")]
#[path = "../benches/roster.rs"]
mod roster;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use assert_cmd::Command;
use serde_json::Value;

/// Timeout after which a run fails. It takes about ten seconds on an idle machine.
const TOO_LONG: Duration = Duration::from_secs(240);

/// Runs the program in a checkout, and returns its stdout and stderr. Asserts that it leaves no
/// files.
fn demo(checkout: &Path, arguments: &[&str], environment: &[(&str, String)]) -> (String, String) {
    let scratch = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(arguments)
        .current_dir(checkout)
        .env("TMPDIR", scratch.path())
        .envs(environment.iter().cloned())
        .timeout(TOO_LONG)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "after {:?}:\n{said}{complaints}", begun.elapsed());
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    (said, complaints)
}

#[test]
fn the_demo_shows_the_whole_gate_ends_by_itself_and_leaves_nothing() {
    let (said, complaints) = demo(Path::new(env!("CARGO_MANIFEST_DIR")), &["demo"], &[]);
    assert_eq!(complaints, "");
    let mut rest = said.as_str();
    let in_order = "enrolled|release received: 01 05 00 00 ff 00 8c 3a (Modbus|the arm is free|\
                    passage reported: 01 02 01|a person walks through|passed|(face|refused|\
                    D003's card|release received|passage reported|D003 entry passed|(card)|cut|\
                    kept|kept|back|\
                    passed|passed|each once";
    for told in in_order.split('|') {
        let (_, after) = rest.split_once(told).unwrap_or_else(|| panic!("no {told:?} in\n{said}"));
        rest = after;
    }
}

#[test]
fn the_demo_prints_json_and_nothing_else() {
    let (said, _) = demo(Path::new(env!("CARGO_MANIFEST_DIR")), &["demo", "--json"], &[]);
    let steps: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut after = 0.0;
    for step in &steps {
        let now = step["after_s"].as_f64().unwrap();
        assert!(now >= after && step["what"].is_string() && step["text"].is_string(), "{step}");
        after = now;
    }
    let of = |what: &str, field: &str| -> Vec<Value> {
        let these = steps.iter().filter(|step| step["what"] == what);
        these.map(|step| step[field].clone()).filter(|value| !value.is_null()).collect()
    };
    assert_eq!(of("enrolled", "worker"), ["D001", "D002", "D003"]);
    assert_eq!(of("turnstile", "bytes")[0], "01050000ff008c3a");
    assert_eq!(of("turnstile", "bytes").len(), 8);
    // On a very busy machine a grant may become void, and its record then shows that.
    let passages =
        of("platform", "record").into_iter().filter(|record| record["outcome"] == "passed");
    let workers = passages.map(|record| [record["worker"].clone(), record["means"].clone()]);
    let by = [["D001", "face"], ["D003", "card"], ["D002", "face"], ["D001", "face"]];
    assert_eq!(workers.collect::<Vec<_>>(), by);
    assert_eq!(of("refused", "denial")[0]["reason"], "unknown_face");
    assert_eq!(of("link", "link"), ["cut", "back"]);
    assert_eq!(of("kept", "worker"), ["D002", "D001"]);
    let sums = steps.last().unwrap();
    assert_eq!((&sums["what"], &sums["waiting"]), (&"reckoning".into(), &0.into()));
    assert!(sums["attendance"].as_u64().unwrap() >= 4, "{sums}");
}

#[test]
fn a_first_run_says_once_that_it_fetches_the_models() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let clone = tempfile::tempdir().unwrap();
    let (models, bin) = (clone.path().join("models"), clone.path().join("bin"));
    fs::create_dir(&models).unwrap();
    fs::create_dir(&bin).unwrap();
    fs::copy(root.join("models/fetch"), models.join("fetch")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let python = std::env::split_paths(&path).map(|dir| dir.join("python3")).find(|p| p.exists());
    let peer = root.join("tests/peers/pip_offline.py");
    let offline =
        format!("#!/bin/sh\nexec {} {} \"$@\"\n", python.unwrap().display(), peer.display());
    fs::write(bin.join("python3"), offline).unwrap();
    fs::set_permissions(bin.join("python3"), Permissions::from_mode(0o755)).unwrap();
    let environment = [
        ("PATH", format!("{}:{path}", bin.display())),
        ("GATEHOUSE_TEST_MODELS", root.join("models").display().to_string()),
    ];
    let (said, complaints) = demo(clone.path(), &["demo", "--json"], &environment);
    assert_eq!(complaints, "fetching models (22 MB)\n");
    assert!(said.lines().all(|line| line.starts_with('{')), "{said}");
    assert!(models.join("photos/CREDITS.md").exists());
    // A missing file is fetched again, and no other file.
    let again = |expected: &str| {
        let mut fetch = Command::new(models.join("fetch"));
        fetch.envs(environment.clone()).assert().success().stdout("").stderr(expected.to_owned());
    };
    again("");
    fs::remove_file(models.join("photos/person_a_1.jpg")).unwrap();
    again("fetching test photos (11 MB)\n");
    again("");
}

/// Each bench runs as briefly as possible. The bench of the lanes brings a worker back repeatedly,
/// with a pause of the camera before each visit.
#[test]
fn each_bench_ends_with_its_figures_and_leaves_nothing() {
    let stages = &["--json", "bench", "--rounds", "3", "--workers", "10"][..];
    let lanes = ["--lanes", "1", "--seconds", "2", "--visits", "2", "--workers", "10"];
    let lanes = [&["--json", "bench", "lanes"][..], &lanes].concat();
    for (arguments, figure) in [
        (stages, "step_up_to_release_ms"),
        (&lanes, "idle_cpu_percent"),
        (&["--json", "bench", "commits", "--passages", "25"], "grant_ms"),
    ] {
        let (said, _) = demo(Path::new(env!("CARGO_MANIFEST_DIR")), arguments, &[]);
        assert!(said.contains(&format!("\"{figure}\"")), "{arguments:?}: {said}");
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = || Some(scratch.path().to_owned());
    let arguments = commits::Arguments { dir: dir(), turns: 1, passages: 25, bench: false };
    let report = commits::measure(arguments).unwrap();
    assert!(report.ratio > 0.0 && report.bare_ms.max > 0.0, "{report:?}");
    let arguments = roster::Arguments { workers: 20, rounds: 2, dir: dir(), bench: false };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = runtime.block_on(roster::measure(arguments)).unwrap();
    assert!(report.worker_list_ms.max > 0.0 && report.load_ms.max > 0.0, "{report:?}");
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
