//! The life of a worker on the roster, on the real daemon: enrolled from photos or before a camera,
//! suspended, barred, readmitted, amended, vouched for, removed.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use crate::common::{Gate, Lane, Site, camera, photo, photo_path, until, walk};
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";

/// Runs `worker enroll` with the fields that every worker has.
fn enroll(site: &Site, id: &str, number: &str, more: &[&str]) -> crate::common::Said {
    let always = ["worker", "enroll", "--id", id, "--name", "刘峰", "--id-number", number];
    let job = ["--team", "钢筋一班", "--contractor", "Fuding Labour", "--trade", "steel fixer"];
    site.gatehouse(&[&["--json"], &always[..], &job, more].concat())
}

fn said(site: &Site, arguments: &[&str]) -> Value {
    site.gatehouse(&[&["--json"], arguments].concat()).json_lines().remove(0)
}

fn photo_of(name: &str) -> String {
    photo_path(name).to_str().unwrap().to_owned()
}

/// Shows a worker to the entry camera and returns the reason of the denial. A worker who passed
/// just now is ignored for a while, so the worker steps aside and comes back.
fn denied(gate: &mut Gate, photo_name: &str) -> Value {
    let mut timeout = Duration::from_secs(3);
    until("a denial", || {
        gate.camera.show(photo(photo_name));
        let denial = std::iter::from_fn(|| gate.platform.next_within(timeout))
            .find(|message| message.json["kind"] == "denial");
        gate.camera.show_empty();
        if denial.is_none() {
            std::thread::sleep(Duration::from_secs(2));
            timeout *= 2;
        }
        denial.map(|message| message.json["reason"].clone())
    })
}

#[test]
fn standing_decides_at_the_gate_and_each_change_names_its_author() {
    let site = Site::of(Lane::north().set("cool_down_s", 0.1));
    site.configure(|c| c.set("roster", "require_training", true));
    let mut gate = Gate::at(site, &[]);
    let a = photo_of("person_a_2.jpg");
    let consent = ["--consent", "C-1", "--photo", &a];
    assert_eq!(enroll(&gate.site, "W001", ID_A, &consent).code, 0);
    assert_eq!(denied(&mut gate, "person_a_1.jpg"), "training_missing");
    let updated = said(&gate.site, &["worker", "update", "W001", "--trained-on", "2026-03-02"]);
    assert_eq!(
        (&updated["result"], &updated["trained_on"]),
        (&json!("updated"), &json!("2026-03-02"))
    );
    assert_eq!(gate.platform.event("amendment")["trained_on"], "2026-03-02");
    gate.pass_again("person_a_1.jpg");

    let reason = ["--reason", "no helmet"];
    said(&gate.site, &[&["worker", "suspend", "W001"], &reason[..]].concat());
    let event = gate.platform.event("state");
    let user = event["by"].as_str().unwrap().to_owned();
    assert_eq!((&event["state"], &event["reason"]), (&json!("suspended"), &json!("no helmet")));
    assert_eq!(denied(&mut gate, "person_a_1.jpg"), "suspended");
    // A guard cannot vouch for the entry of a suspended worker. Every worker may leave.
    let release = ["lane", "release", "north", "--worker", "W001", "--reason", "x", "--direction"];
    gate.site
        .gatehouse(&[&release[..], &["entry"]].concat())
        .refused("W001 is suspended (no helmet)");

    said(&gate.site, &["worker", "bar", "W001", "--reason", "stole copper"]);
    let listed = |state: &str| {
        gate.site.gatehouse(&["--json", "worker", "list", "--state", state]).json_lines().len()
    };
    assert_eq!((listed("active"), listed("suspended"), listed("barred")), (0, 0, 1));
    said(&gate.site, &["worker", "resume", "W001"]);
    gate.site.gatehouse(&["worker", "resume", "W001"]).refused("neither suspended nor barred");
    gate.pass_again("person_a_1.jpg");

    said(&gate.site, &["worker", "remove", "W001", "--reason", "left"]);
    let removal = gate.platform.event("removal");
    let erased = ("templates", "photos", "reason");
    assert_eq!((&removal[erased.0], &removal[erased.1]), (&json!(1), &json!(1)), "{removal}");
    assert_eq!(removal[erased.2], "left");
    gate.site.gatehouse(&["worker", "suspend", "W001", "--reason", "x"]).refused("no worker W001");
    gate.site.gatehouse(&["worker", "resume", "W001"]).refused("the worker was removed");
    let vouched = [&release[..], &["exit"]].concat();
    gate.site.gatehouse(&vouched).refused("the worker was removed");
    let history = gate.site.gatehouse(&["--json", "worker", "history", "W001"]).json_lines();
    let kinds: Vec<_> = history.iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["enrolment", "amendment", "state", "state", "state", "removal"]);
    assert!(history.iter().all(|e| e["by"] == user.as_str()), "{history:?}");
    gate.platform.assert_whole();
}

#[test]
fn a_worker_without_consent_is_enrolled_without_a_face_and_a_guard_vouches() {
    let mut gate = Gate::start(&[]);
    let a = photo_of("person_a_2.jpg");
    let refused = enroll(&gate.site, "W001", ID_A, &["--photo", &a]);
    refused.refused("only with the worker's consent");
    let enrolled = enroll(&gate.site, "W001", ID_A, &[]).json_lines().remove(0);
    assert_eq!(enrolled["templates"], 0);
    assert_eq!(denied(&mut gate, "person_a_1.jpg"), "unknown_face");

    let release = ["lane", "release", "north", "--direction", "entry", "--worker", "W001"];
    let reason = ["--reason", "guard Wang knows him"];
    let vouched = std::thread::scope(|scope| {
        let vouched = scope.spawn(|| said(&gate.site, &[&release[..], &reason].concat()));
        assert_eq!(gate.board.line(), "coil 0 on");
        walk(&gate.site, &mut gate.board);
        vouched.join().unwrap()
    });
    assert_eq!(vouched["outcome"], "passed");
    let record = gate.platform.next_on("attendance");
    for (key, expected) in [
        ("worker", json!("W001")),
        ("means", json!("manual")),
        ("outcome", json!("passed")),
        ("score", Value::Null),
        ("reason", json!("guard Wang knows him")),
        ("photo", Value::Null),
    ] {
        assert_eq!(record[key], expected, "{key}");
    }
    assert!(record["by"].is_string());

    // A guard cannot vouch for a worker before the worker's first valid day.
    said(&gate.site, &["worker", "update", "W001", "--valid-from", "2099-01-01"]);
    let early = [&release[..], &reason].concat();
    if gate.site.status()["clock"]["synced"] == true {
        gate.site.gatehouse(&early).refused("admitted only from 2099-01-01 on");
    }
    said(&gate.site, &["worker", "update", "W001", "--clear", "valid-from"]);

    // Consent is given, then withdrawn.
    let added = ["worker", "photo", "W001", "--add", &a];
    gate.site.gatehouse(&added).refused("only with the worker's consent");
    let added = said(&gate.site, &[&added[..], &["--consent", "C-9"]].concat());
    assert_eq!((&added["templates"], &added["consent"]), (&json!(1), &json!("C-9")));
    let erase = ["worker", "photo", "W001", "--erase", "--reason", "consent withdrawn"];
    let erased = said(&gate.site, &erase);
    assert_eq!((&erased["templates"], &erased["consent"]), (&json!(0), &Value::Null));
    let faces = |gate: &mut Gate| loop {
        let event = gate.platform.event("amendment");
        if event["faces"].is_string() {
            return event["faces"].clone();
        }
    };
    let events: Vec<_> = (0..2).map(|_| faces(&mut gate)).collect();
    assert_eq!(events, ["added", "erased"]);
}

#[test]
fn photos_are_added_and_replaced_and_must_show_one_person_alone() {
    let site = Site::prepare();
    let _daemon = site.start();
    let (a1, a2) = (photo_of("person_a_1.jpg"), photo_of("person_a_2.jpg"));
    let (b1, b2) = (photo_of("person_b_1.jpg"), photo_of("person_b_2.jpg"));
    let consent = ["--consent", "C-1", "--photo"];
    assert_eq!(enroll(&site, "W001", ID_A, &[&consent[..], &[&a1]].concat()).code, 0);
    assert_eq!(enroll(&site, "W002", ID_B, &[&consent[..], &[&b1]].concat()).code, 0);
    let change = |how: &str, files: &[&str]| {
        let files = files.iter().flat_map(|file| [how, *file]);
        let all: Vec<_> = ["--json", "worker", "photo", "W001"].into_iter().chain(files).collect();
        site.gatehouse(&all)
    };
    let templates = |said: crate::common::Said| said.json_lines()[0]["templates"].clone();
    assert_eq!(templates(change("--add", &[&a2])), 2);
    change("--add", &[&a1, &a2, &a1, &a2]).refused("6 photos, and the maximum is 5");
    change("--replace", &[&b2]).refused("already enrolled, as worker W002");
    change("--replace", &[&a1, &b2]).refused("is not that of the first photo");
    // The photo shows a person who is not enrolled.
    let c = photo_of("impostor_1.jpg");
    change("--add", &[&c]).refused("not the face that worker W001 is enrolled with");
    change("--replace", &[&c]).refused("not the face that worker W001 is enrolled with");
    assert_eq!(templates(change("--replace", &[&a2])), 1);
    let again = change("--replace", &[&a2]).json_lines().remove(0);
    assert_eq!(again["result"], "unchanged");

    // Twins: no camera can distinguish them.
    let twin = ["--id-type", "passport", "--consent", "C-3", "--photo", &a2];
    enroll(&site, "W003", "E12345678", &twin).refused("already enrolled, as worker W001");
    let allowed = ["--allow-duplicate-face", "--reason", "twin brother"];
    let enrolled = enroll(&site, "W003", "E12345678", &[&twin[..], &allowed].concat());
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    let history = site.gatehouse(&["--json", "worker", "history", "W003"]).json_lines();
    assert_eq!(
        (&history[0]["alike"], &history[0]["alike_reason"]),
        (&json!("W001"), &json!("twin brother"))
    );
    assert!(history[0]["alike_score"].as_f64().unwrap() > 0.9);
}

#[test]
fn real_name_rules_hold_at_enrolment_and_for_changes() {
    let site = Site::prepare();
    let _daemon = site.start();
    for (number, problem) in [
        ("522201199003074412", "does not fit its check digit"),
        ("522201199013074411", "no birth date"),
        ("002201199003074411", "begins with no region's code"),
        ("522201900307441", "15 digits"),
    ] {
        enroll(&site, "W001", number, &[]).refused(problem);
    }
    enroll(&site, "W001", ID_A, &["--gender", "female"]).refused("gender: is not the one");
    enroll(&site, "W001", ID_A, &["--bank-tail", "6217000012345678"])
        .refused("the last four digits");
    let more =
        ["--phone", "+86 138-0013-8000", "--bank-tail", "8812", "--contract-signed", "2026-02-28"];
    assert_eq!(enroll(&site, "W001", ID_A, &more).code, 0);
    let permit = ["--id-type", "hk_macao_permit", "--birth-date", "1990-03-07", "--gender", "male"];
    enroll(&site, "W002", "12345678", &permit).refused("must be H or M and 8 or 10 digits");
    assert_eq!(enroll(&site, "W002", "H12345678", &permit).code, 0);
    enroll(&site, "W003", ID_A, &[]).refused("already enrolled, as worker W001");
    enroll(&site, "E7654321", "E7654321", &["--id-type", "passport"]).refused("it is an ID number");

    let shown = said(&site, &["worker", "show", "W001"]);
    for (key, expected) in [
        ("id_number", "**************4411"),
        ("id_type", "resident"),
        ("gender", "male"),
        ("birth_date", "1990-03-07"),
        ("phone", "+86 138-0013-8000"),
        ("bank_tail", "8812"),
        ("contract_signed", "2026-02-28"),
        ("state", "active"),
    ] {
        assert_eq!(shown[key], expected, "{key}");
    }
    // A mistyped number is corrected, and the ledger gets a commitment to the correct one.
    let taken = ["worker", "update", "W002", "--id-number", ID_A];
    site.gatehouse(&taken).refused("must be H or M");
    site.gatehouse(&[&taken[..], &["--id-type", "resident"]].concat()).refused("as worker W001");
    let number = ["worker", "update", "W002", "--id-type", "resident", "--id-number", ID_B];
    assert_eq!(said(&site, &number)["result"], "updated");
    let shown = said(&site, &["worker", "show", "W002"]);
    assert_eq!((&shown["birth_date"], &shown["gender"]), (&json!("1988-05-11"), &json!("female")));
    let history = site.gatehouse(&["--json", "worker", "history", "W002"]).json_lines();
    assert!(history.iter().all(|e| e["id_commitment"].is_string()), "{history:?}");
    assert_ne!(history[0]["id_commitment"], history[1]["id_commitment"]);
    let dates = ["--valid-from", "2026-10-02", "--valid-until", "2026-10-01"];
    site.gatehouse(&[&["worker", "update", "W002"], &dates[..]].concat()).refused("is before");
    assert_eq!(said(&site, &["worker", "update", "W002", "--name", "刘峰"])["result"], "unchanged");
    assert!(!site.log().contains(ID_A) && !site.log().contains("0013-8000"));
}

/// Reads the command's stderr until a line contains `what`.
fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, what: &str) {
    let mut said = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let found = line.contains(what);
        said.push(line);
        if found {
            return;
        }
    }
    panic!("{what:?} was not said: {said:#?}");
}

#[test]
fn a_worker_is_enrolled_at_the_lanes_camera_with_hints_on_what_is_wrong() {
    let mut gate = Gate::start(&[]);
    let job = ["--team", "x", "--contractor", "x", "--trade", "x", "--consent", "C-1"];
    let live = ["--lane", "north", "--direction", "entry"];
    let who = ["--json", "worker", "enroll", "--id", "W001", "--name", "x", "--id-number", ID_A];
    let all = [&who[..], &job, &live].concat();
    let config = gate.site.path("gatehouse.toml");
    let start = || {
        let mut command = Command::new(crate::common::program());
        command.args(&all).env("GATEHOUSE_CONFIG", &config);
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    };
    let mut enrolment = start();
    let mut lines = BufReader::new(enrolment.stderr.take().unwrap()).lines();
    wait_for(&mut lines, "no face");
    assert_eq!(gate.site.status()["lanes"][0]["cameras"][0]["lent"], true);
    gate.site.gatehouse(&all).refused("in use by another enrolment");
    let both = camera::group(&["person_a_1.jpg", "impostor_1.jpg"], 400);
    gate.camera.show(camera::jpeg(&both));
    wait_for(&mut lines, "two faces");
    gate.camera.show(camera::jpeg(&camera::group(&["person_b_1.jpg"], 110)));
    wait_for(&mut lines, "move closer");
    gate.camera.show(photo("person_a_2.jpg"));
    wait_for(&mut lines, "good pictures 1/3: good");
    let output = enrolment.wait_with_output().unwrap();
    assert!(output.status.success());
    let worker: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!((1..=3).contains(&worker["templates"].as_u64().unwrap()), "{worker}");
    gate.camera.show_empty();
    // No face of the enrolment counts as a visit.
    let lane = &gate.site.status()["lanes"][0];
    assert_eq!((&lane["denials"], &lane["cameras"][0]["lent"]), (&json!(0), &json!(false)));
    gate.pass_again("person_a_1.jpg");

    // A change of the worker during a sitting is kept when the new photos are stored.
    let photos = ["--json", "worker", "photo", "W001", "--lane", "north", "--direction", "entry"];
    let mut command = Command::new(crate::common::program());
    command.args(photos).env("GATEHOUSE_CONFIG", &config).stdin(Stdio::null());
    let mut sitting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(sitting.stderr.take().unwrap()).lines();
    wait_for(&mut lines, "no face");
    said(&gate.site, &["worker", "update", "W001", "--trained-on", "2026-03-02"]);
    gate.camera.show(photo("person_a_1.jpg"));
    wait_for(&mut lines, "good pictures 1/3: good");
    let output = sitting.wait_with_output().unwrap();
    let worker: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&worker["trained_on"], &worker["result"]),
        (&json!("2026-03-02"), &json!("updated"))
    );
    gate.camera.show_empty();

    // A client that ends during a sitting returns the camera to the gate.
    let mut again = start();
    let mut lines = BufReader::new(again.stderr.take().unwrap()).lines();
    again.kill().unwrap();
    again.wait().unwrap();
    lines.by_ref().count();
    gate.site.status_when("the camera to be given back", |s| {
        s["lanes"][0]["cameras"][0]["lent"] == false
    });
    let exit = ["--lane", "north", "--direction", "exit"];
    let other = ["worker", "enroll", "--id", "W2", "--name", "x", "--id-number", ID_B];
    gate.site
        .gatehouse(&[&other[..], &job, &exit].concat())
        .refused("lane north has no camera for exit");
}

#[test]
fn an_enrolment_says_which_further_photo_would_help() {
    let site = Site::of(Lane::north());
    let _daemon = site.start();
    let (a, b) = (photo_of("person_a_2.jpg"), photo_of("person_a_1.jpg"));
    let one = enroll(&site, "W001", ID_A, &["--consent", "C-1", "--photo", &a]);
    assert!(one.code == 0 && one.err.contains("hint: one photo"), "{one:?}");
    let same = site.gatehouse(&["--json", "worker", "photo", "W001", "--add", &a]);
    assert!(same.err.contains("hint: the photos are all alike"), "{same:?}");
    assert_eq!(same.json_lines()[0]["advice"], json!({"lacks": "variety"}));
    let varied = site.gatehouse(&["--json", "worker", "photo", "W001", "--add", &b]);
    assert_eq!((&*varied.err, &varied.json_lines()[0]["advice"]), ("", &Value::Null));
    let faceless = enroll(&site, "W002", ID_B, &["--consent", "C-2"]);
    assert_eq!((faceless.code, &*faceless.err), (0, ""));
}
