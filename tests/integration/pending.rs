//! Workers and faces that come from afar, at a real gate: they wait for a person at the site, and no
//! chain of them leads from one person to another. The daemon, mosquitto and the cameras are real.

use std::os::unix::fs::PermissionsExt;

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse::uplink::authority::Signer;
use serde_json::{Value, json};

use crate::{
    chain::chain,
    common::{
        Camera, Gate, Lane, Site, WallClock,
        desk::{command, signed},
        photo, photo_path,
    },
};

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";

fn worker(id: &str, id_number: &str, jpeg: &[u8]) -> Value {
    json!({
        "id": id, "name": "刘<峰>", "id_number": id_number, "team": "钢筋一班",
        "contractor": "Fuding Labour Co", "trade": "steel fixer", "consent": "C-1",
        "photos": [STANDARD.encode(jpeg)],
    })
}

/// A gate whose platform enrolls workers.
struct Scene {
    gate: Gate,
    wall: WallClock,
    exit: Camera,
    key: Option<Signer>,
    sent: usize,
}

impl Scene {
    /// Starts a gate. `trusted`: the platform signs, and is trusted for faces.
    fn start(trusted: bool) -> Scene {
        let lane = Lane::north().camera("exit", "replay:exit").set("cool_down_s", 1);
        let site = Site::of(lane);
        site.configure(|c| c.its("commands", "roster"));
        let digits = "7a".repeat(32);
        let key = trusted.then(|| {
            site.configure(|c| c.its("trust_faces", true));
            let unsigned = site.gatehouse(&["check"]);
            assert!(unsigned.err.contains("trust_faces: needs a command_key"), "{unsigned:?}");
            std::fs::write(site.path("command-key"), &digits).unwrap();
            site.configure(|c| c.its("command_key", "file:command-key"));
            Signer::new(&digits, false).unwrap()
        });
        let exit = Camera::plug_in(&site.path("exit"));
        let wall = WallClock::new(&site.path("."));
        wall.synchronised(true);
        Scene { gate: Gate::at(site, &wall.environment()), wall, exit, key, sent: 0 }
    }

    /// Sends a command, and returns the reply.
    fn asks(&mut self, verb: &str, args: Value) -> Value {
        self.sent += 1;
        let command = command(&format!("c-{}", self.sent), verb, args);
        let message = match &self.key {
            Some(key) => signed(key, "P-1", "gate-1", &command),
            None => command,
        };
        let topic = "gatehouse/v1/P-1/gate-1/command";
        self.gate.site.broker.publish(topic, message.to_string().as_bytes());
        self.gate.platform.next_on("reply")
    }

    fn upsert(&mut self, worker: Value) -> Value {
        let reply = self.asks("worker.upsert", worker);
        assert_eq!(reply["ok"], true, "{reply}");
        reply["result"].clone()
    }

    fn refused(&mut self, worker: Value) -> String {
        let reply = self.asks("worker.upsert", worker);
        reply["error"]["code"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    /// Returns the reason and the worker of the denial that this photo gets at the entry.
    fn denied(&mut self, photo_name: &str) -> (Value, Value) {
        self.gate.camera.show(photo(photo_name));
        let denial = self.gate.platform.event("denial");
        self.gate.camera.show_empty();
        (denial["reason"].clone(), denial["worker"].clone())
    }

    /// Shows this photo to the camera of the exit. The worker gets a release and walks.
    fn leaves(&mut self, photo_name: &str) -> Value {
        self.exit.show(photo(photo_name));
        assert_eq!(self.gate.board.line(), "coil 1 on");
        self.exit.show_empty();
        let mut said = self.gate.board.command("input 1 on");
        let passages = |s: &Value| s["lanes"][0]["turnstile"]["passages"].as_u64() >= Some(1);
        self.gate.site.status_when("the passage to be seen", passages);
        said.extend(self.gate.board.command("input 1 off"));
        if said.is_empty() {
            said.push(self.gate.board.line());
        }
        assert_eq!(said, ["coil 1 off"]);
        self.gate.platform.next_on("attendance")
    }

    /// Returns the last entry on a worker.
    fn last_of(&self, id: &str) -> Value {
        let history = self.gate.site.gatehouse(&["--json", "worker", "history", id]);
        history.json_lines().pop().unwrap()
    }

    fn said(&self, arguments: &[&str]) -> String {
        let said = self.gate.site.gatehouse(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.out
    }

    fn file(&self, name: &str) -> String {
        self.gate.site.path(name).to_str().unwrap().to_owned()
    }

    /// Writes the sheet, and returns its code and its text.
    fn sheet(&self) -> (String, String) {
        let file = self.file("waiting.html");
        let made =
            ["worker", "confirm", "--upstream", "platform", "--sheet", &file, "--force", "--json"];
        let done: Value = serde_json::from_str(&self.said(&made)).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        (done["seen"].as_str().unwrap().to_owned(), std::fs::read_to_string(file).unwrap())
    }
}

fn because(reason: &str, worker: &str) -> (Value, Value) {
    (json!(reason), json!(worker))
}

#[test]
fn i13_a_worker_from_afar_may_leave_and_may_not_enter_until_a_person_at_the_site_confirms() {
    let mut scene = Scene::start(false);
    let a = || worker("W001", ID_A, &photo("person_a_2.jpg"));
    let enrolled = scene.upsert(a());
    let expected = json!({
        "id": "W001", "result": "enrolled", "state": "pending", "templates": 1, "waits": "worker",
    });
    assert_eq!(enrolled, expected);
    assert_eq!(scene.last_of("W001")["waits"], "worker");
    assert_eq!(scene.denied("person_a_1.jpg"), because("pending", "W001"));
    // I15: the worker is known, and is let out.
    let left = scene.leaves("person_a_1.jpg");
    assert_eq!((&left["worker"], &left["direction"]), (&json!("W001"), &json!("exit")));

    // Neither a platform nor a guard lets the worker in, and a restart changes nothing.
    let resumed = scene.asks("worker.resume", json!({ "id": "W001" }));
    assert_eq!(resumed["error"]["code"], "pending", "{resumed}");
    let by_hand = ["lane", "release", "north", "--direction", "entry", "--reason", "x", "--worker"];
    let vouched = scene.gate.site.gatehouse(&[&by_hand[..], &["W001"]].concat());
    vouched.refused("not confirmed by a person at the site; `gatehouse worker confirm W001`");
    scene.gate.daemon.take().unwrap().stop();
    scene.gate.daemon = Some(scene.gate.site.start_with(&scene.wall.environment()));
    let roster = scene.gate.site.status()["roster"].clone();
    assert_eq!((&roster["pending"], &roster["faces_waiting"]), (&json!(1), &json!(0)), "{roster}");
    assert!(scene.said(&["status"]).contains("1 worker from afar"));
    assert!(scene.said(&["worker", "list", "--state", "pending"]).contains("pending"));
    let shown = scene.said(&["worker", "show", "W001"]);
    assert!(shown.contains("the worker, from platform"), "{shown}");

    // The person looks through a sheet. What comes later is not confirmed by it.
    let unseen = scene.gate.site.gatehouse(&["worker", "confirm", "--upstream", "platform"]);
    assert!(unseen.code == 2 && unseen.err.contains("--sheet"), "{unseen:?}");
    let (code, page) = scene.sheet();
    assert!(page.contains("data:image/jpeg;base64,") && page.contains("刘&lt;峰&gt;"), "{page}");
    assert!(!page.contains(ID_A) && page.contains(&code), "{page}");
    scene.upsert(worker("W002", ID_B, &photo("person_b_1.jpg")));
    let all = |code: &str| {
        ["worker", "confirm", "--upstream", "platform", "--seen"]
            .map(str::to_owned)
            .into_iter()
            .chain([code.to_owned()])
            .collect::<Vec<_>>()
    };
    scene.gate.site.gatehouse(&all(&code)).refused("make the sheet again");
    let (code, page) = scene.sheet();
    assert!(page.contains("W002"), "{page}");
    let said = scene.gate.site.gatehouse(&all(&code));
    assert_eq!((said.code, said.out.lines().count()), (0, 2), "{said:?}");
    let confirmed = scene.gate.platform.event("confirmation");
    let by = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    for (field, expected) in [
        ("worker", "W001"),
        ("what", "worker"),
        ("result", "confirmed"),
        ("from", "platform"),
        ("by", &*by),
    ] {
        assert_eq!(confirmed[field], expected, "{confirmed}");
    }
    let history = scene.said(&["worker", "history", "W001"]);
    assert!(history.contains("state: pending → active"), "{history}");
    scene.gate.pass_again("person_a_1.jpg");
    assert_eq!(scene.gate.platform.next_on("attendance")["worker"], "W001");
    scene.gate.site.gatehouse(&["worker", "confirm", "W001"]).refused("nothing from afar waits");
    assert_eq!(scene.gate.site.status()["roster"]["pending"], 0);
}

#[test]
fn a_new_photo_from_afar_waits_and_the_confirmed_one_stays_in_force() {
    let mut scene = Scene::start(false);
    let site = &scene.gate.site;
    let known = site.enroll("W001", "刘<峰>", ID_A, &photo_path("person_a_2.jpg"));
    assert_eq!(known.code, 0, "{known:?}");
    let new = || worker("W001", ID_A, &photo("person_a_1.jpg"));
    let updated = scene.upsert(new());
    let expected = json!({
        "id": "W001", "result": "updated", "state": "active", "templates": 1, "waits": "faces",
    });
    assert_eq!(updated, expected);
    assert_eq!(scene.last_of("W001")["waits"], "faces");
    assert_eq!(scene.upsert(new())["result"], "unchanged");
    // The photo of another person does not even wait.
    assert_eq!(scene.refused(worker("W001", ID_A, &photo("impostor_1.jpg"))), "duplicate");
    let shown: Value =
        serde_json::from_str(&scene.said(&["--json", "worker", "show", "W001"])).unwrap();
    assert_eq!((&shown["state"], &shown["waits"]["what"]), (&json!("active"), &json!("faces")));
    assert!(scene.said(&["worker", "list"]).contains("photo waits"));
    assert_eq!(scene.gate.site.status()["roster"]["faces_waiting"], 1);
    scene.gate.pass("person_a_2.jpg");
    assert_eq!(scene.gate.platform.next_on("attendance")["worker"], "W001");
    let (_, page) = scene.sheet();
    assert_eq!((page.matches("class=new").count(), page.matches("class=now").count()), (1, 1));

    let reject = ["worker", "confirm", "W001", "--reject", "--reason", "too dark"];
    assert!(scene.said(&reject).contains("the new photos are erased"));
    let event = scene.gate.platform.event("confirmation");
    assert_eq!((&event["result"], &event["reason"]), (&json!("rejected"), &json!("too dark")));
    assert_eq!(scene.gate.site.status()["roster"]["faces_waiting"], 0);
    scene.upsert(new());
    assert!(scene.said(&["worker", "confirm", "W001"]).contains("the new photos are in force"));
    assert_eq!(scene.gate.platform.event("confirmation")["templates"], 1);

    // An erasure reaches what waits too.
    let waits = scene.upsert(worker("W001", ID_A, &photo("person_a_2.jpg")));
    assert_eq!(waits["waits"], "faces", "{waits}");
    scene.said(&["worker", "photo", "W001", "--erase", "--reason", "no longer agrees"]);
    assert_eq!(scene.gate.site.status()["roster"]["faces_waiting"], 0);
    scene.gate.site.gatehouse(&["worker", "confirm", "W001"]).refused("waits");
}

#[test]
fn a_chain_of_photos_does_not_lead_from_person_to_person() {
    // A trusted platform has the most authority over faces that a message can have.
    let mut scene = Scene::start(true);
    let [first, second, third] = chain();
    let update = |picture: &[u8]| worker("W001", ID_A, picture);
    let enrolled = scene.upsert(update(&first));
    assert_eq!((&enrolled["state"], &enrolled["waits"]), (&json!("active"), &Value::Null));
    for other in [&second, &third] {
        assert_eq!(scene.refused(update(other)), "another_face");
    }
    // Several persons in one enrolment are a chain too.
    let mut both = worker("W002", ID_B, &third);
    both["photos"] = json!([STANDARD.encode(&third), STANDARD.encode(&second)]);
    assert_eq!(scene.refused(both), "several_people");

    // At the gateway a person may say with a reason that it is the worker, and the entry says so.
    let file = scene.file("second.jpg");
    std::fs::write(&file, &second).unwrap();
    let replace = ["worker", "photo", "W001", "--replace", &file];
    let site = &scene.gate.site;
    site.gatehouse(&replace).refused("not the face that worker W001 was first enrolled with");
    scene.said(&[&replace[..], &["--reason", "shaved his beard"]].concat());
    let event = scene.gate.platform.event("amendment");
    assert_eq!(
        (&event["anchor"], &event["reason"]),
        (&json!("unlike"), &json!("shaved his beard"))
    );
    assert!(event["anchor_score"].as_f64().unwrap() < 0.5, "{event}");

    // After the consent was withdrawn there is nothing to compare with, so a person decides.
    scene.said(&["worker", "photo", "W001", "--erase", "--reason", "consent withdrawn"]);
    let waits = scene.upsert(update(&third));
    assert_eq!((&waits["waits"], &waits["templates"]), (&json!("faces"), &json!(0)), "{waits}");
    scene.said(&["worker", "confirm", "W001"]);
    assert_eq!(scene.gate.platform.event("confirmation")["anchor"], "gone");
    assert_eq!(scene.refused(update(&first)), "another_face");
}
