//! The whole gate, from camera to broker. The daemon is a process with a replayed camera. The
//! Modbus slave is of another project (pymodbus), and a real mosquitto stops and starts again.
//! `tests/run` installs what this needs.

use std::{collections::BTreeSet, path::Path};

use crate::common::{Gate, Lane, Said, Site, camera, photo, photo_path, until, walk};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";

fn assert_enrolled(said: &Said) {
    assert_eq!(said.code, 0, "{said:?}");
}

fn enroll_a(site: &Site) {
    assert_enrolled(&site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg")));
}

fn enroll_b(site: &Site) {
    assert_enrolled(&site.enroll("W002", "Jacinda", ID_B, &photo_path("person_b_2.jpg")));
}

/// Returns the number of rows of a table, or of a table with a condition.
fn rows(site: &Site, of: &str) -> u64 {
    let path = site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn attendance(site: &Site) -> Vec<Value> {
    site.gatehouse(&["--json", "attendance", "list"]).json_lines()
}

/// Returns a lane whose board holds the arm open for 10 s.
fn with_a_long_pulse() -> Lane {
    Lane::north().set("pass_within_s", 20).turnstile("pulse_ms", 10_000)
}

#[test]
fn a_worker_passes_a_stranger_does_not_and_the_platform_has_the_record() {
    let mut gate = Gate::start(&[]);
    let boot = gate.platform.next_on("event");
    assert_eq!((&boot["kind"], &boot["seq"]), (&json!("boot"), &json!(1)));
    enroll_a(&gate.site);
    let enrolment = gate.platform.event("enrolment");
    assert_eq!((&enrolment["worker"], &enrolment["name"]), (&json!("W001"), &json!("刘峰")));
    assert!(!enrolment.to_string().contains(ID_A));

    gate.pass("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    let named = "v gateway project ledger seq passage worker name team contractor trade \
                 direction lane at means score threshold model camera liveness outcome recorded_at \
                 clock photo leaf";
    assert_eq!(keys(&record), named.split_whitespace().collect());
    assert_eq!(keys(&record["clock"]), BTreeSet::from(["boot", "synced", "uptime_ms"]));
    assert_eq!(keys(&record["leaf"]), BTreeSet::from(["hash", "index"]));
    for (key, expected) in [
        ("v", json!(1)),
        ("gateway", json!("gate-1")),
        ("project", json!("P-1")),
        ("worker", json!("W001")),
        ("name", json!("刘峰")),
        ("team", json!("钢筋一班")),
        ("contractor", json!("Fuding Labour Co")),
        ("trade", json!("steel fixer")),
        ("direction", json!("entry")),
        ("lane", json!("north")),
        ("means", json!("face")),
        // The threshold of a roster with one template.
        ("threshold", json!(0.45)),
        ("camera", json!("replay")),
        ("liveness", Value::Null),
        ("outcome", json!("passed")),
    ] {
        assert_eq!(record[key], expected, "{key}");
    }
    assert_eq!(keys(&record["photo"]), BTreeSet::from(["sha256"]));
    assert!((0.5..0.75).contains(&record["score"].as_f64().unwrap()), "{record}");
    assert_eq!(record["leaf"]["hash"].as_str().unwrap().len(), 64);
    let time = |key: &str| record[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time("at") < time("recorded_at"), "{record}");
    assert!(record["at"].as_str().unwrap().ends_with("+08:00"), "{record}");
    assert_eq!(attendance(&gate.site), std::slice::from_ref(&record));
    assert_eq!(record["ledger"], gate.site.status()["ledger"]["id"]);

    // A frame that is no picture, between others, changes only a counter.
    gate.camera.show(b"\xFF\xD8\xFF\xDA\x00\x02no picture\xFF\xD9".to_vec());
    gate.site.status_when("a frame that does not decode", |s| {
        s["lanes"][0]["cameras"][0]["undecodable"].as_u64().unwrap() > 0
    });
    gate.camera.show(photo("impostor_1.jpg"));
    let denial = gate.platform.event("denial");
    assert_eq!(denial["reason"], "unknown_face");
    assert_eq!((&denial["worker"], &denial["name"]), (&Value::Null, &Value::Null));
    gate.camera.show_empty();
    // The board's next line answers this, so no coil moved for the stranger.
    assert_eq!(gate.board.command("input 5 off"), [""; 0]);

    let status = gate.site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0);
    let lane = &status["lanes"][0];
    assert_eq!((&lane["grants"], &lane["denials"]), (&json!(1), &json!(1)), "{lane:#}");
    gate.platform.assert_whole();
    assert!(gate.platform.records.len() >= 4);
}

#[test]
fn i8_pictures_shown_in_turn_are_recorded_within_a_budget_and_a_denied_worker_once_among_them() {
    let mut gate = Gate::start(&[]);
    enroll_a(&gate.site);
    let mode = ["lane", "mode", "north", "closed", "--reason", "a drill"];
    assert_eq!(gate.site.gatehouse(&mode).code, 0);
    let shown = |gate: &Gate| {
        gate.camera.show(photo("person_a_1.jpg"));
        let seen = |s: &Value| s["lanes"][0]["cameras"][0]["faces"].as_u64().unwrap();
        let before = seen(&gate.site.status());
        gate.site.status_when("looks at the worker", |s| seen(s) > before + 4);
    };
    let number = |s: &Value, key: &str| s["lanes"][0][key].as_u64().unwrap();
    let pictures = ["impostor_1.jpg", "impostor_2.jpg"];
    shown(&gate);
    for picture in pictures.iter().cycle().take(30) {
        let before = number(&gate.site.status(), "unknown_faces");
        gate.camera.show(photo(picture));
        gate.site.status_when("an unknown face", |s| number(s, "unknown_faces") > before);
    }
    shown(&gate);
    gate.camera.show_empty();
    let status = gate.site.status_when("the records", |s| Site::outbox(s) == 0);
    gate.site.broker.flush(&mut gate.platform);
    let denials = gate.platform.records.iter().filter(|m| m.json["kind"] == "denial");
    let (workers, strangers): (Vec<_>, Vec<_>) =
        denials.map(|m| &m.json).partition(|denial| denial["worker"].is_string());
    assert_eq!(workers.len(), 1, "{workers:#?}");
    assert_eq!(workers[0]["reason"], "lane_closed");
    let unrecorded = number(&status, "denials_unrecorded");
    let all = strangers.len() as u64 + unrecorded;
    assert!(all >= 30 && all >= number(&status, "unknown_faces"), "{status:#}");
    // On a slow machine the pictures take longer than a minute.
    let at = |denial: &Value| denial["clock"]["uptime_ms"].as_u64().unwrap();
    for first in &strangers {
        let a_minute = at(first)..at(first) + 60_000;
        let within = strangers.iter().filter(|other| a_minute.contains(&at(other))).count();
        assert!(within <= 20, "{within} from {first:#}");
    }
    assert!(unrecorded > 0 || at(strangers.last().unwrap()) > at(strangers[0]) + 60_000);
    assert_eq!(number(&status, "denials_dropped"), 0);
}

#[test]
fn i3_records_made_without_the_broker_arrive_later_once_and_in_order() {
    let mut gate = Gate::start(&[]);
    enroll_a(&gate.site);
    enroll_b(&gate.site);
    gate.site.settled(&mut gate.platform);
    gate.site.broker.kill();
    gate.site.status_when("the loss to show", |s| s["upstreams"][0]["connected"] == false);
    gate.pass("person_a_1.jpg");
    until("the first record", || (attendance(&gate.site).len() == 1).then_some(()));
    gate.pass("person_b_1.jpg");
    until("the second record", || (attendance(&gate.site).len() == 2).then_some(()));
    let status = gate.site.status();
    assert_eq!(status["upstreams"][0]["connected"], false);
    assert_eq!(Site::outbox(&status), 2);
    assert!(Site::degraded(&status).contains(&"upstream platform"), "{status:#}");

    gate.site.broker.start();
    let arrived = [gate.platform.next_on("attendance"), gate.platform.next_on("attendance")];
    assert_eq!(arrived.to_vec(), attendance(&gate.site));
    assert_eq!((&arrived[0]["worker"], &arrived[1]["worker"]), (&json!("W001"), &json!("W002")));
    // A later record comes after the backlog.
    gate.camera.show(photo("impostor_1.jpg"));
    gate.platform.event("denial");
    gate.site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0);
    gate.platform.assert_whole();
}

#[test]
fn a_photo_that_cannot_enrol_is_refused_with_its_reason_and_not_stored() {
    let site = Site::prepare();
    // No device exists. On a slow machine the alarms about that must not change the ledger's size.
    site.configure(|c| c.set("alarms", "device_down_s", 3600).set("alarms", "link_down_s", 3600));
    let _daemon = site.start();
    let before = site.status()["ledger"]["size"].clone();
    let write = |name: &str, bytes: &[u8]| std::fs::write(site.path(name), bytes).unwrap();
    write("text.jpg", b"not a picture");
    write("grey.jpg", &camera::jpeg(&camera::empty()));
    write("two.jpg", &camera::jpeg(&camera::group(&["person_b_2.jpg", "impostor_1.jpg"], 380)));
    write("far.jpg", &camera::jpeg(&camera::group(&["person_a_2.jpg"], 80)));
    for (file, expected) in [
        ("text.jpg", "it is a text, not a photo"),
        ("grey.jpg", "There is no face in the photo."),
        ("two.jpg", "There are 2 faces in the photo. Use a photo that shows the worker alone."),
        (
            "far.jpg",
            "pixels wide, and at least 48 are needed. Use a photo on which the face is larger.",
        ),
        ("missing.jpg", "No such file or directory"),
    ] {
        let said = site.enroll("W001", "刘峰", ID_A, &site.path(file));
        said.refused(expected);
        said.refused(file);
    }
    let photo = photo_path("person_a_2.jpg");
    let arguments = |consent: &'static [&'static str]| {
        let mut all = vec!["worker", "enroll", "--id", "W001", "--name", "刘峰", "--trade", "x"];
        all.extend(["--id-number", ID_A, "--team", "x", "--contractor", "x"]);
        all.extend(["--photo", photo.to_str().unwrap()]);
        all.extend(consent);
        all
    };
    site.gatehouse(&arguments(&[])).refused("the signed form with --consent");
    site.gatehouse(&arguments(&["--consent", "  "])).refused("consent: must not be empty");
    // The second of two photos is bad, so the first one is not stored either.
    site.gatehouse(
        &[
            &arguments(&["--consent", "C-1"])[..],
            &["--photo", site.path("grey.jpg").to_str().unwrap()],
        ]
        .concat(),
    )
    .refused("There is no face");
    let said = site.gatehouse(&["worker", "enroll", "--id", "W001"]);
    assert_eq!((said.code, said.err.contains("--name")), (2, true), "{said:?}");
    let said = site.enroll("not an id", "刘峰", ID_A, &photo);
    assert_eq!((said.code, said.err.contains("must be 1 to 32 of")), (2, true), "{said:?}");

    assert_eq!(site.gatehouse(&["--json", "worker", "list"]).json_lines(), [Value::Null; 0]);
    assert_eq!(site.status()["ledger"]["size"], before);
    for table in ["worker", "template", "photo"] {
        assert_eq!(rows(&site, table), 0, "{table}");
    }
    // The same arguments with a good photo enrol the worker.
    assert_enrolled(&site.gatehouse(&arguments(&["--consent", "C-1"])));
    assert_eq!((rows(&site, "template"), rows(&site, "photo")), (1, 1));
    // Two workers with one face could never pass. One worker with two faces would let a stranger
    // pass.
    let same = photo_path("person_a_1.jpg");
    site.enroll("W002", "刘峰", ID_B, &same).refused("already enrolled, as worker W001 刘峰");
    let (b, stranger) = (photo_path("person_b_1.jpg"), photo_path("impostor_1.jpg"));
    let photos = ["--photo", b.to_str().unwrap(), "--photo", stranger.to_str().unwrap()];
    let mut two_people = vec!["worker", "enroll", "--id", "W002", "--name", "x", "--trade", "x"];
    two_people.extend(["--id-number", ID_B, "--team", "x", "--contractor", "x", "--consent", "C"]);
    two_people.extend(photos);
    site.gatehouse(&two_people).refused("the face is not that of the first photo");
    assert_eq!((rows(&site, "worker"), rows(&site, "template")), (1, 1));
    // An unknown id is refused; an empty list would mean a worker who never came.
    site.gatehouse(&["attendance", "list", "--worker", "W099"]).refused("there is no worker W099");
    let said = site.gatehouse(&["attendance", "list", "--from", "yesterday"]);
    assert_eq!((said.code, said.err.contains("a day such as 2026-10-01")), (2, true), "{said:?}");
}

#[test]
fn i10_a_gate_starts_without_its_devices_and_uses_them_as_they_appear() {
    let mut site = Site::prepare();
    // The platform has subscribed before; now its broker is stopped.
    site.broker.start();
    let mut platform = site.broker.subscriber();
    site.broker.kill();
    let daemon = site.start();
    let whats = ["camera north/entry", "turnstile north", "upstream platform"];
    let status = site.status_when("all three to be missed", |s| Site::degraded(s) == whats);
    for degraded in status["degraded"].as_array().unwrap() {
        assert!(!degraded["remedy"].as_str().unwrap().is_empty(), "{degraded}");
    }
    let released =
        site.gatehouse(&["lane", "release", "north", "--direction", "entry", "--reason", "x"]);
    assert_eq!(released.code, 1, "{released:?}");

    let is_well = |what: &'static str| move |s: &Value| !Site::degraded(s).contains(&what);
    let camera = site.plug_camera_in();
    site.status_when("the camera", is_well(whats[0]));
    let board = site.plug_board_in();
    site.status_when("the turnstile", is_well(whats[1]));
    site.broker.start();
    site.status_when("the upstream", is_well(whats[2]));
    assert_eq!(Site::degraded(&site.status()), [""; 0]);

    enroll_a(&site);
    platform.event("enrolment");
    let mut gate = Gate { daemon: Some(daemon), platform, camera, board, site };
    gate.pass("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["outcome"], "passed");
    gate.platform.assert_whole();
    // A clean stop reports to the platform and removes the socket.
    gate.daemon.take().unwrap().stop();
    while gate.platform.next_on("status")["state"] != "offline" {}
    assert!(!gate.site.path("control.sock").exists());
}

#[test]
fn without_a_daemon_or_its_models_the_message_says_what_to_do() {
    let site = Site::prepare();
    for command in [&["status"][..], &["worker", "list"], &["attendance", "list"]] {
        let said = site.gatehouse(command);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains("systemctl start gatehouse"), "{said:?}");
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    site.configure(|c| c.set("models", "dir", "models"));
    let embedder = "face_recognition_sface_2021dec_int8bq.onnx";
    let run_and_check = |expected: &str| {
        site.gatehouse(&["run"]).refused(expected);
        let said = site.gatehouse(&["check"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains("FAIL  models") && said.out.contains(expected), "{said:?}");
    };
    run_and_check("is missing. Run models/fetch");
    std::fs::create_dir(site.path("models")).unwrap();
    for model in ["face_detection_yunet_2023mar_int8bq.onnx", embedder] {
        std::fs::copy(models.join(model), site.path("models").join(model)).unwrap();
    }
    let altered = site.path("models").join(embedder);
    let mut bytes = std::fs::read(&altered).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&altered, bytes).unwrap();
    run_and_check("is not the one that is expected");
    assert!(!site.path("data").exists(), "no folder is made before the models are right");
}

#[test]
fn a_release_by_hand_is_recorded_with_the_name_of_the_user() {
    let mut gate = Gate::at(Site::of(Lane::north().set("pass_within_s", 5)), &[]);
    enroll_a(&gate.site);
    gate.platform.event("enrolment");
    let me = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let reason = "helmet covers the face";
    let release =
        ["--json", "lane", "release", "north", "--direction", "entry", "--reason", reason];

    // A guard vouches for a worker.
    let said = std::thread::scope(|scope| {
        let site = &gate.site;
        let vouched = [&release[..], &["--worker", "W001"]].concat();
        let command = scope.spawn(move || site.gatehouse(&vouched));
        assert_eq!(gate.board.line(), "coil 0 on");
        walk(site, &mut gate.board);
        command.join().unwrap()
    });
    assert_eq!(said.json_lines()[0]["outcome"], "passed");
    let event = gate.platform.event("release");
    assert_eq!((&event["by"], &event["reason"]), (&json!(me), &json!(reason)));
    assert_eq!((&event["worker"], &event["lane"]), (&json!("W001"), &json!("north")));
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["means"], &record["worker"]), (&json!("manual"), &json!("W001")));
    assert_eq!((&record["outcome"], &record["score"]), (&json!("passed"), &Value::Null));
    assert_eq!(record["passage"], event["passage"]);
    assert_eq!(attendance(&gate.site), [record]);

    // A release without a worker, and without a passage: an event with its outcome, and no
    // attendance.
    let said = gate.site.gatehouse(&release);
    assert_eq!(said.json_lines()[0]["outcome"], "not_passed");
    assert_eq!([gate.board.line(), gate.board.line()], ["coil 0 on", "coil 0 off"]);
    let event = gate.platform.event("release");
    assert_eq!(event["worker"], Value::Null);
    let outcome = gate.platform.event("outcome");
    assert_eq!(
        (&outcome["passage"], &outcome["outcome"]),
        (&event["passage"], &json!("not_passed"))
    );
    assert_eq!(attendance(&gate.site).len(), 1);

    let wrong =
        |arguments: &[&str], expected: &str| gate.site.gatehouse(arguments).refused(expected);
    wrong(
        &["lane", "release", "south", "--direction", "entry", "--reason", "x"],
        "there is no lane \"south\"; there are: north",
    );
    wrong(&[&release[..], &["--worker", "W009"]].concat(), "there is no worker W009");
    wrong(
        &["lane", "release", "north", "--direction", "entry", "--reason", " "],
        "reason: must not",
    );
    assert_eq!(gate.board.command("input 5 off"), [""; 0], "no coil moved for these");
    gate.platform.assert_whole();
}

#[test]
fn i7_a_removed_worker_is_erased_not_admitted_and_may_come_back_under_a_new_id() {
    let mut gate = Gate::start(&[]);
    enroll_a(&gate.site);
    gate.pass("person_a_1.jpg");
    gate.platform.next_on("attendance");
    assert_eq!((rows(&gate.site, "template"), rows(&gate.site, "photo")), (1, 1));
    let kept = attendance(&gate.site);

    assert_eq!(gate.site.gatehouse(&["worker", "remove", "W001"]).code, 0);
    assert_eq!((rows(&gate.site, "template"), rows(&gate.site, "photo")), (0, 0));
    assert_eq!(gate.site.gatehouse(&["--json", "worker", "list"]).json_lines(), [Value::Null; 0]);
    assert_eq!(attendance(&gate.site), kept);
    assert_eq!(kept.len(), 1);
    assert_eq!(gate.platform.event("removal")["worker"], "W001");
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "unknown_face");
    gate.camera.show_empty();

    let photo = photo_path("person_a_2.jpg");
    gate.site.gatehouse(&["worker", "remove", "W001"]).refused("there is no worker W001");
    gate.site.enroll("W001", "刘峰", ID_A, &photo).refused("ids are never used again");
    assert_enrolled(&gate.site.enroll("W002", "刘峰", ID_A, &photo));
    gate.site.enroll("W003", "刘峰", ID_A, &photo).refused("already enrolled, as worker W002");
    gate.pass("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W002");
    gate.platform.assert_whole();
}

#[test]
fn i5_the_files_hold_no_secret_in_plain() {
    let site = Site::prepare();
    let daemon = site.start();
    enroll_a(&site);
    enroll_b(&site);
    assert_eq!(site.gatehouse(&["worker", "remove", "W002"]).code, 0);
    assert!(site.gatehouse(&["worker", "show", "W001"]).out.contains("**************4411"));
    daemon.stop();
    let files: Vec<_> = std::fs::read_dir(site.path("data")).unwrap().map(|e| e.unwrap()).collect();
    let mut bytes = std::fs::read(site.path("log")).unwrap();
    for file in files.iter().filter(|file| file.file_name() != "key") {
        bytes.extend(std::fs::read(file.path()).unwrap());
    }
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    // The search finds data that is not secret, so it would also find a secret.
    assert!(holds("刘峰".as_bytes()) && holds(b"C-1"));
    for (what, secret) in [
        ("an ID number", ID_A.as_bytes()),
        ("an ID number", ID_B.as_bytes()),
        ("a JPEG", b"\xFF\xD8\xFF\xE0"),
        ("a JPEG", b"\xFF\xD8\xFF\xDB"),
        ("a JPEG", b"JFIF\0"),
    ] {
        assert!(!holds(secret), "{what} is in {files:?}");
    }
}

#[test]
fn i1_a_crash_within_a_passage_leaves_it_unconfirmed_and_the_coil_withdrawn() {
    // A pulse that outlasts the crash, so that the board's coil stays on.
    let mut gate = Gate::at(Site::of(with_a_long_pulse()), &[]);
    enroll_a(&gate.site);
    gate.platform.event("enrolment");
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    gate.daemon.take().unwrap().kill();
    assert_eq!(gate.board.command("closed"), [""; 0]);
    assert_eq!(rows(&gate.site, "entry WHERE kind = 'outcome'"), 0);
    gate.daemon = Some(gate.site.start());
    assert_eq!(gate.board.line(), "coil 0 off");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("unconfirmed")));
    assert_eq!(attendance(&gate.site), [record]);
    gate.platform.event("boot");
    gate.platform.assert_whole();
}

#[test]
fn i1_a_stop_within_a_passage_withdraws_the_coil_first_and_leaves_it_unconfirmed() {
    // A pulse that outlasts the stop: the coil goes off because the daemon ends.
    let mut gate = Gate::at(Site::of(with_a_long_pulse()), &[]);
    enroll_a(&gate.site);
    gate.platform.event("enrolment");
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    // The worker still stands before the camera. A stop that takes longer than its bound fails.
    gate.daemon.take().unwrap().stop();
    assert_eq!(gate.board.command("closed"), ["coil 0 off"]);
    let grants = || rows(&gate.site, "entry WHERE kind = 'grant'");
    let outcomes = || rows(&gate.site, "entry WHERE kind = 'outcome'");
    assert_eq!((grants(), outcomes()), (1, 0));
    gate.camera.show_empty();
    for _ in 0..2 {
        let daemon = gate.site.start();
        gate.site.status_when("a healthy gate", |s| Site::degraded(s).is_empty());
        assert_eq!((grants(), outcomes()), (1, 1));
        assert_eq!(attendance(&gate.site)[0]["outcome"], "unconfirmed");
        daemon.stop();
    }
    assert_eq!(gate.board.command("closed"), [""; 0], "no coil moved again");
    assert_eq!(gate.platform.next_on("attendance")["outcome"], "unconfirmed");
}

#[test]
fn a_fixed_threshold_that_is_too_low_for_the_roster_is_a_trouble_with_its_figure() {
    let site = Site::of(Lane::north());
    site.configure(|c| c.set("recognition", "threshold", 0.3));
    let mut gate = Gate::at(site, &[]);
    let recognition = |status: &Value| -> Vec<String> {
        let degraded = status["degraded"].as_array().unwrap().iter();
        let of = degraded.filter(|trouble| trouble["what"] == "recognition");
        of.map(|trouble| trouble["remedy"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(recognition(&gate.site.status()), [""; 0], "no one is on the roster");
    enroll_a(&gate.site);
    let figure =
        "recognition.threshold = 0.3 is too low for 1 template: it lets in 2.0 % of strangers";
    let status = gate.site.status();
    let said = recognition(&status);
    assert!(said.len() == 1 && said[0].contains(figure), "{said:?}");
    assert_eq!(status["roster"]["threshold"], 0.3);
    assert_eq!(status["roster"]["threshold_fixed"], true);
    let warned = |site: &Site| {
        // Other lines may fail, such as the clock's.
        let said = site.gatehouse(&["--json", "check"]).out;
        let mut lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.find(|line| line["check"] == "threshold").unwrap()
    };
    let line = warned(&gate.site);
    assert!(line["detail"].as_str().unwrap().contains(figure) && line["warning"] == true, "{line}");
    gate.daemon.take().unwrap().stop();
    let line = warned(&gate.site);
    assert!(line["detail"].as_str().unwrap().contains(figure), "{line}");
    gate.site.configure(|c| c.set("recognition", "threshold", 0.45));
    let line = warned(&gate.site);
    assert_eq!((&line["detail"], &line["warning"]), (&json!("0.45 for 1 template"), &json!(false)));
}
