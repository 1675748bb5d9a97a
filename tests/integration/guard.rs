//! `liveness = "guard"`: a visit that is not judged to be a living person's goes to the guard. The
//! daemon and the model are real. A photo is a grey portrait of a public set, as a print is.

use serde_json::{Value, json};

use crate::{
    common::{
        Gate, Lane, Site, WallClock, broker::until, desk::command, photo_path, reader::Reader, walk,
    },
    import::plan,
};

const ID: &str = "522201199003074411";
const NUMBERS: [&str; 4] =
    ["522201199003074438", "522201199003074454", "522201199003074470", "522201199003074497"];

fn guarded(lane: Lane) -> Site {
    let site = Site::of(lane);
    site.configure(|c| c.set("recognition", "liveness", "guard"));
    site
}

/// Enrolls a person of the public set. A model takes that person's photos for photos.
fn enroll(gate: &Gate, id: &str, number: &str, person: usize) {
    let file = gate.site.path(&format!("{id}.jpg"));
    std::fs::write(&file, plan::photo(&[(person, 1)])).unwrap();
    let said = gate.site.enroll(id, "刘峰", number, &file);
    assert_eq!(said.code, 0, "{said:?}");
}

fn print(person: usize) -> Vec<u8> {
    plan::photo(&[(person, 2)])
}

/// Shows a print until the visit goes to the guard. Returns the number of visits that went there.
fn asks_guard(gate: &Gate, person: usize, before: u64) -> u64 {
    gate.camera.show(print(person));
    let asked = |status: &Value| status["lanes"][0]["asked_guard"].as_u64().unwrap();
    let status = gate.site.status_when("the guard to be asked", |s| asked(s) > before);
    asked(&status)
}

fn liveness(status: &Value) -> &Value {
    &status["lanes"][0]["cameras"][0]["liveness"]
}

fn assert_no_reproach(said: &str) {
    for word in ["fake", "attack", "fraud", "spoof", "cheat", "impost"] {
        assert!(!said.to_lowercase().contains(word), "{word}: {said}");
    }
}

#[test]
fn a_photo_of_a_worker_at_an_entry_opens_nothing_and_the_guards_button_opens_and_keeps_the_day() {
    let mut gate = Gate::at(guarded(Lane::north().turnstile("guard_button_entry", 3)), &[]);
    enroll(&gate, "W001", ID, 2);
    let said = gate.site.enroll("W002", "王芳", NUMBERS[0], &photo_path("person_a_2.jpg"));
    assert_eq!(said.code, 0, "{said:?}");
    // A living face opens.
    gate.pass("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["means"]), (&json!("W002"), &json!("face")));

    assert_eq!(asks_guard(&gate, 2, 0), 1);
    let denial = gate.platform.event("denial");
    assert_eq!((&denial["reason"], &denial["worker"]), (&json!("not_judged"), &json!("W001")));
    let status = gate.site.status();
    assert_eq!(status["lanes"][0]["grants"], 1, "{status:#}");
    let shown = liveness(&status);
    assert_eq!((&shown["mode"], &shown["guard"]), (&json!("guard"), &json!(0.5)), "{status:#}");
    // The guard looks at the worker, and presses the button.
    let mut said = gate.board.command("input 3 on");
    if said.is_empty() {
        said.push(gate.board.line());
    }
    assert_eq!(said, ["coil 0 on"]);
    gate.camera.show_empty();
    walk(&gate.site, &mut gate.board);
    let record = gate.platform.next_on("attendance");
    for (key, value) in [
        ("worker", "W001"),
        ("means", "manual"),
        ("by", "guard_button"),
        ("outcome", "passed"),
        ("direction", "entry"),
    ] {
        assert_eq!(record[key], value, "{record}");
    }
    assert!(record["liveness"].as_f64().unwrap() < 0.5, "{record}");
    let attendance = gate.site.gatehouse(&["--json", "attendance", "list"]);
    assert!(attendance.out.contains(r#""outcome":"passed""#), "{attendance:?}");
    assert_eq!(gate.site.gatehouse(&["--json", "evidence", "audit"]).code, 0);
    let log = gate.site.log();
    assert!(
        log.contains("not judged: the guard's button, a card, or `gatehouse lane release"),
        "{log}"
    );
    let history = gate.site.gatehouse(&["worker", "history", "W001"]);
    for said in [&denial.to_string(), &record.to_string(), &status.to_string(), &history.out, &log]
    {
        assert_no_reproach(said);
    }
    gate.platform.assert_whole();
}

#[test]
fn i15_a_photo_at_an_exit_opens_as_with_watch() {
    let site = guarded(Lane::north());
    site.configure(|c| c.camera("direction", "exit"));
    let mut gate = Gate::at(site, &[]);
    enroll(&gate, "W001", ID, 2);
    gate.camera.show(print(2));
    assert_eq!(gate.board.line(), "coil 1 on");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["direction"]), (&json!("W001"), &json!("exit")));
    assert!(record["liveness"].as_f64().unwrap() < 0.5, "{record}");
    let status = gate.site.status();
    assert_eq!(
        (&liveness(&status)["mode"], &liveness(&status)["guard"]),
        (&json!("watch"), &Value::Null)
    );
    let check = gate.site.gatehouse(&["check"]);
    assert!(check.out.contains("no lane has a camera at its entry"), "{check:?}");
}

#[test]
fn the_workers_card_is_the_second_means() {
    let site = guarded(Lane::north().reader("in", "entry", "line"));
    let mut reader = Reader::plug_in(&site.path("in"));
    let mut gate = Gate::at(site, &[]);
    enroll(&gate, "W001", ID, 2);
    let said = gate.site.gatehouse(&["worker", "card", "W001", "--add", "662316"]);
    assert_eq!(said.code, 0, "{said:?}");
    asks_guard(&gate, 2, 0);
    reader.send(b"0A1B2C\r");
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    walk(&gate.site, &mut gate.board);
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("card")));
}

#[test]
fn an_exempt_worker_passes_and_the_exemption_is_in_the_ledger_and_survives_a_restart() {
    let mut gate = Gate::at(guarded(Lane::north()), &[]);
    enroll(&gate, "W001", ID, 2);
    let exempt = |more: &[&str]| gate.site.gatehouse(&[&["worker", "exempt"], more].concat());
    assert_eq!(exempt(&["W001"]).code, 2, "a reason is needed");
    exempt(&["W009", "--reason", "x"]).refused("there is no worker W009");
    exempt(&["W001", "--reason", " "]).refused("must not be empty");
    exempt(&["W001", "--reason", "a\u{1b}[31m"]).refused("reason");
    exempt(&["W001", "--reason", &"x".repeat(201)]).refused("at most 200 characters");
    exempt(&["W001", "--end", "--reason", "x"]).refused("W001 is not exempt");
    let said = exempt(&["W001", "--reason", "三个早上都是本人"]);
    assert!(said.code == 0 && said.out.contains("W001 is exempt"), "{said:?}");
    exempt(&["W001", "--reason", "again"]).refused("W001 is exempt already");
    let event = gate.platform.event("exemption");
    for (key, value) in
        [("worker", "W001"), ("name", "刘峰"), ("what", "given"), ("reason", "三个早上都是本人")]
    {
        assert_eq!(event[key], value, "{event}");
    }
    assert!(event["by"].is_string(), "{event}");
    gate.daemon.take().unwrap().stop();
    gate.restart(&[]);
    gate.camera.show(print(2));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    walk(&gate.site, &mut gate.board);
    let record = gate.platform.next_on("attendance");
    assert!(record["worker"] == "W001" && record["means"] == "face", "{record}");
    assert!(record["liveness"].as_f64().unwrap() < 0.5, "it is still judged: {record}");
    let asks = |more: &[&str]| gate.site.gatehouse(more).out;
    assert!(asks(&["worker", "show", "W001"]).contains("exempt: not asked for this face"));
    assert!(asks(&["worker", "list"]).contains("active, exempt"));
    let history = asks(&["worker", "history", "W001"]);
    assert!(history.contains("exemption") && history.contains("三个早上都是本人"), "{history}");
    assert_eq!(gate.site.status()["roster"]["liveness_exempt"], 1);
    let said =
        gate.site.gatehouse(&["worker", "exempt", "W001", "--end", "--reason", "new camera"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(gate.platform.event("exemption")["what"], "ended");
    assert_eq!(gate.site.status()["roster"]["liveness_exempt"], 0);
    // A removal ends it, and removed workers are refused.
    assert_eq!(gate.site.gatehouse(&["worker", "remove", "W001"]).code, 0);
    let said = gate.site.gatehouse(&["worker", "exempt", "W001", "--reason", "x"]);
    said.refused("there is no worker W001 on the roster any longer");
}

#[test]
fn a_worker_who_waits_for_a_confirmation_cannot_be_exempt_and_no_command_exempts() {
    let site = guarded(Lane::north());
    site.configure(|c| c.its("commands", "roster"));
    let wall = WallClock::new(&site.path("."));
    wall.synchronised(true);
    let mut gate = Gate::at(site, &wall.environment());
    let worker = json!({
        "id": "W001", "name": "刘峰", "id_number": ID, "team": "钢筋一班",
        "contractor": "Fuding Labour Co", "trade": "steel fixer",
    });
    let mut asks = |id: &str, verb: &str, args: Value| {
        let asked = command(id, verb, args).to_string();
        gate.site.broker.publish("gatehouse/v1/P-1/gate-1/command", asked.as_bytes());
        gate.platform.next_on("reply")
    };
    let reply = asks("c-1", "worker.upsert", worker);
    assert_eq!(reply["ok"], true, "{reply}");
    let reply = asks("c-2", "worker.exempt", json!({"id": "W001", "reason": "x"}));
    assert_eq!(reply["error"]["code"], "unknown_verb", "{reply}");
    let said = gate.site.gatehouse(&["worker", "exempt", "W001", "--reason", "x"]);
    said.refused("gatehouse worker confirm W001");
}

#[test]
fn above_5_percent_the_entry_falls_back_with_an_alarm_and_a_restart_says_so() {
    let site = guarded(Lane::north().set("cool_down_s", 1));
    site.configure(|c| c.set("recognition", "liveness_threshold", 1.0));
    let mut gate = Gate::at(site, &[]);
    for (person, number) in (1..=4).zip(NUMBERS) {
        enroll(&gate, &format!("W00{person}"), number, person);
    }
    let mut asked = 0;
    for person in 1..=3 {
        asked = asks_guard(&gate, person, asked);
        assert_eq!(liveness(&gate.site.status())["fallback"], false);
    }
    // The fourth of fewer than 60 visits is above 5 %. It goes to the guard, and the next one passes.
    asks_guard(&gate, 4, asked);
    gate.camera.show(print(1));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    // The alarm may come before the record.
    let alarm = gate.platform.event("alarm");
    assert_eq!(
        (&alarm["what"], &alarm["subject"], &alarm["raised"], &alarm["code"]),
        (&json!("liveness"), &json!("north/entry"), &json!(true), &json!("liveness_fallback"))
    );
    assert_no_reproach(&alarm.to_string());
    let status =
        gate.site.status_when("the trouble", |s| Site::degraded(s).contains(&"camera north/entry"));
    assert_eq!(liveness(&status)["fallback"], true, "{status:#}");
    let check = gate.site.gatehouse(&["check"]);
    assert!(check.out.contains("it has fallen back to watch"), "{check:?}");
    walk(&gate.site, &mut gate.board);
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W001");
    gate.daemon.take().unwrap().stop();
    gate.restart(&[]);
    assert_eq!(liveness(&gate.site.status())["fallback"], false);
    until("the log to say so", || {
        gate.site.log().contains("fallen back to watch before this start").then_some(())
    });
    let over = gate.platform.event("alarm");
    assert_eq!((&over["what"], &over["raised"]), (&json!("liveness"), &json!(false)));
    asks_guard(&gate, 1, 0);
}

#[test]
fn check_says_where_the_guard_has_no_way_to_let_a_worker_in_and_no_threshold_is_measured() {
    let site = guarded(Lane::north());
    let said = site.gatehouse(&["check"]).out;
    assert!(
        said.contains("warn  guard north/entry: a visit below 0.5, the configured one"),
        "{said}"
    );
    assert!(said.contains("neither a button nor a reader"), "{said}");
    assert!(said.contains("warn  guard: no camera has a threshold of its own"), "{said}");
    let site = guarded(Lane::north().turnstile("guard_button_entry", 3));
    let said = site.gatehouse(&["check"]).out;
    assert!(
        said.contains("ok    guard north/entry") && said.contains("the guard's button opens"),
        "{said}"
    );
}
