//! Commands of a platform: each is carried out once, answered each time it comes, and never opens a
//! gate late. Some tests hand commands to a daemon in this process, as its links do. Others send
//! them over a real mosquitto to a daemon process.

use crate::common::{
    Broker, Gate, Site, Subscriber, WallClock,
    desk::{Desk, command, issued, signed},
    photo, walk,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse::uplink::{authority::Signer, profiles::native::Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";

fn worker(id: &str, name: &str, id_number: &str, photos: &[&str]) -> Value {
    let photos: Vec<_> = photos.iter().map(|name| STANDARD.encode(photo(name))).collect();
    json!({
        "id": id, "name": name, "id_number": id_number, "team": "钢筋一班",
        "contractor": "Fuding Labour Co", "trade": "steel fixer", "consent": "C-1",
        "photos": photos,
    })
}

fn a() -> Value {
    worker("W001", "刘峰", ID_A, &["person_a_2.jpg"])
}

/// Returns a PNG of a photo that is upside down.
fn upside_down(name: &str) -> Vec<u8> {
    let photo = image::load_from_memory(&photo(name)).unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    photo
        .resize(500, 500, image::imageops::FilterType::Triangle)
        .rotate180()
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    png.into_inner()
}

#[test]
fn a_photo_that_was_turned_is_named_in_the_reply_and_a_foreign_one_in_the_refusal() {
    let desk = Desk::start();
    let mut args = a();
    args["photos"] = json!([STANDARD.encode(upside_down("person_a_2.jpg"))]);
    let result = desk.does("c-1", "worker.upsert", args.clone());
    assert_eq!(result["turned"], json!([{"photo": "photos[0]", "degrees": 180}]), "{result}");
    args["photos"] = json!([STANDARD.encode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")]);
    let said = desk.refuses("photo_unreadable", &command("c-2", "worker.upsert", args));
    assert!(said.contains("args.photos[0]: it is a HEIC photo"), "{said}");
}

fn entries(desk: &Desk, kind: &str) -> u64 {
    desk.count(&format!("count(*) FROM entry WHERE kind = '{kind}'"))
}

#[test]
fn a_worker_is_enrolled_once_however_often_the_command_comes() {
    let desk = Desk::start();
    let first = command("c-1", "worker.upsert", a());
    let reply = desk.asks(&first);
    assert_eq!(reply["ok"], true, "{reply}");
    let expected = json!({
        "id": "W001", "result": "enrolled", "state": "pending", "templates": 1, "waits": "worker",
    });
    assert_eq!(reply["result"], expected);
    assert_eq!(desk.asks(&first), reply);
    // The reply is the same after the command has expired, and in another encoding.
    let mut old = issued(-600, -300, "c-1", "worker.upsert", a());
    assert_eq!(desk.asks(&old), reply);
    let mut payload = Vec::new();
    ciborium::into_writer(&first, &mut payload).unwrap();
    let cbor = desk.reply(desk.hand_over(Encoding::Cbor, payload));
    assert_eq!(ciborium::from_reader::<Value, _>(cbor.as_slice()).unwrap(), reply);
    assert_eq!((entries(&desk, "enrolment"), entries(&desk, "amendment")), (1, 0));

    old["args"]["team"] = json!("二班");
    let said = desk.refuses("id_reused", &old);
    assert!(said.contains("its own id"), "{said}");
    old["id"] = json!("c-2");
    desk.refuses("expired", &old);
    // A field that is not given keeps its value, as in an import.
    let update = worker("W001", "刘峰", ID_A, &[]);
    assert_eq!(desk.does("c-3", "worker.upsert", update.clone())["result"], "unchanged");
    let mut update = update;
    update["team"] = json!("二班");
    let updated = desk.does("c-4", "worker.upsert", update);
    assert_eq!((&updated["result"], &updated["templates"]), (&json!("updated"), &json!(1)));
    let other = worker("W001", "刘峰", ID_B, &[]);
    desk.refuses("duplicate", &command("c-5", "worker.upsert", other));
    let b = blank(worker("W002", "B", ID_B, &[]));
    desk.refuses("no_face", &command("c-6", "worker.upsert", b));
    assert_eq!((entries(&desk, "enrolment"), entries(&desk, "amendment")), (1, 1));
    // Stored replies contain neither a number nor a name.
    let told = format!(
        "count(*) FROM command WHERE reply LIKE '%{ID_A}%' OR reply LIKE '%刘峰%' OR reply IS NULL"
    );
    assert_eq!((desk.count("count(*) FROM command"), desk.count(&told)), (5, 0));
}

#[test]
fn a_refusal_to_a_platform_names_the_fields_of_its_command() {
    let desk = Desk::start();
    let mut ids = 0;
    let mut said = |code: &str, change: &dyn Fn(&mut Value)| {
        ids += 1;
        let mut worker = a();
        change(&mut worker);
        let said = desk.refuses(code, &command(&format!("c-{ids}"), "worker.upsert", worker));
        // Neither options of the command line nor advice to a person before a camera.
        for word in ["--", "hold still", "lens", "camera", "id-number"] {
            assert!(!said.contains(word), "{said}");
        }
        said
    };
    let consent = said("no_consent", &|w| w["consent"] = Value::Null);
    assert!(consent.starts_with("args.consent: a face may be kept only with"), "{consent}");
    let number = said("invalid", &|w| w["id_number"] = json!("522201199003074412"));
    assert!(number.starts_with("args.id_number: does not fit"), "{number}");
    let until = said("invalid", &|w| {
        w["valid_from"] = json!("2026-10-02");
        w["valid_until"] = json!("2026-10-01");
    });
    assert!(until.starts_with("args.valid_until: 2026-10-01 is before 2026-10-02"), "{until}");
    let year = said("invalid", &|w| w["trained_on"] = json!("0226-10-01"));
    assert!(year.starts_with("args.trained_on: 0226-10-01 is no date of our time"), "{year}");
    let sharp = image::load_from_memory(&photo("person_a_2.jpg")).unwrap().to_rgb8();
    let width = sharp.width() as f32;
    let blurred = crate::common::camera::jpeg(&image::imageops::blur(&sharp, width * 0.02));
    let blurred = said("blurred", &|w| w["photos"] = json!([STANDARD.encode(&blurred)]));
    assert!(
        blurred.contains("photos[0]: The face in the photo is blurred: take another"),
        "{blurred}"
    );
    // As an office may write it.
    let mut worker = a();
    worker["id_number"] = json!("522201 19900307\u{3000}4411");
    assert_eq!(desk.does("c-9", "worker.upsert", worker)["result"], "enrolled");
    assert_eq!(desk.does("c-10", "worker.upsert", a())["result"], "unchanged");
}

/// Replaces the photos with a picture without a face.
fn blank(mut worker: Value) -> Value {
    worker["photos"] =
        json!([STANDARD.encode(crate::common::camera::jpeg(&crate::common::camera::empty()))]);
    worker
}

#[test]
fn a_worker_is_suspended_resumed_and_removed_and_the_ledger_names_the_upstream() {
    let mut desk = Desk::start();
    desk.does("c-1", "worker.upsert", worker("W001", "刘峰", ID_A, &[]));
    let suspend = || json!({ "id": "W001", "reason": "contract over" });
    let suspended = desk.does("c-2", "worker.suspend", suspend());
    assert_eq!(suspended, json!({ "id": "W001", "state": "suspended", "reason": "contract over" }));
    let page = desk.does("p-1", "roster.page", json!({}));
    assert_eq!(page["workers"][0]["state_reason"], "contract over");
    assert_eq!(page["workers"][0]["name"], "刘峰");
    assert!(!page.to_string().contains(ID_A), "{page}");
    // A crash left the command begun. It is carried out again, and finds that the work was done.
    desk.restart_with("UPDATE command SET reply = NULL WHERE id = 'c-2'");
    assert_eq!(desk.does("c-2", "worker.suspend", suspend()), suspended);
    assert_eq!(entries(&desk, "state"), 1);
    let resumed = desk.does("c-3", "worker.resume", json!({ "id": "W001" }));
    assert_eq!(resumed["state"], "pending", "no person at the site has confirmed the worker");
    desk.refuses("pending", &command("c-4", "worker.resume", json!({ "id": "W001" })));
    let removed = desk.does("c-5", "worker.remove", json!({ "id": "W001" }));
    assert_eq!(removed["state"], "removed");
    desk.restart_with("UPDATE command SET reply = NULL WHERE id = 'c-5'");
    let again = desk.does("c-5", "worker.remove", json!({ "id": "W001" }));
    assert_eq!((&again["state"], entries(&desk, "removal")), (&json!("removed"), 1));
    desk.refuses("no_such_worker", &command("c-6", "worker.remove", json!({ "id": "W001" })));
    // The ledger distinguishes a platform's action from an admin's.
    let by = "instr(bytes, CAST('upstream' AS BLOB)) > 0";
    assert_eq!(desk.count(&format!("count(*) FROM entry WHERE kind = 'removal' AND {by}")), 1);
}

#[test]
fn i4_a_gate_is_released_only_where_that_is_allowed_once_and_in_time() {
    let mut desk = Desk::start();
    let args = || json!({ "lane": "north", "direction": "entry", "reason": "a guest" });
    let release = |id: &str| command(id, "lane.release", args());
    let said = desk.refuses("not_allowed", &release("r-1"));
    assert!(said.contains("remote_release"), "{said}");
    assert_eq!(entries(&desk, "release"), 0);

    desk.remote_release = true;
    // An unsigned command opens no gate, whatever the configuration says.
    desk.refuses("not_allowed", &release("r-1"));
    desk.sign();
    let first = release("r-1");
    let reply = desk.asks(&first);
    assert_eq!(reply["result"]["released"], true, "{reply}");
    assert_eq!(reply["result"]["outcome"], "passed");
    assert_eq!(desk.asks(&first), reply);
    assert_eq!(entries(&desk, "release"), 1);
    desk.refuses("expired", &issued(-11, 60, "r-2", "lane.release", args()));
    desk.refuses("expired", &issued(-2, -1, "r-2", "lane.release", args()));
    desk.refuses("not_yet", &issued(5, 60, "r-2", "lane.release", args()));
    desk.refuses(
        "no_such_lane",
        &command(
            "r-3",
            "lane.release",
            json!({
                "lane": "south", "direction": "entry", "reason": "a guest",
            }),
        ),
    );
    desk.synchronised(false);
    desk.refuses("clock", &release("r-4"));
    desk.synchronised(true);
    // The daemon ended during the command. The repeated command does not open the gate, also
    // if the first one did not.
    desk.restart_with("UPDATE command SET reply = NULL WHERE id = 'r-1'");
    let reply = desk.asks(&first);
    assert_eq!(reply["error"]["code"], "interrupted", "{reply}");
    assert_eq!(desk.asks(&first), reply);
    assert_eq!(entries(&desk, "release"), 1);
}

#[test]
fn a_platform_can_compare_its_roster_with_that_of_the_gateway() {
    let desk = Desk::start();
    let empty = hex::encode(Sha256::digest(b""));
    let digest = |n: u8| desk.does(&format!("d-{n}"), "roster.digest", json!({}));
    let first = digest(1);
    assert_eq!((&first["workers"], &first["sha256"]), (&json!(0), &json!(empty)));
    desk.does("c-1", "worker.upsert", worker("W002", "B", ID_B, &[]));
    desk.does("c-2", "worker.upsert", a());
    desk.does("c-3", "worker.suspend", json!({ "id": "W002", "reason": "x" }));
    let lines = [
        "W001|刘峰|钢筋一班|Fuding Labour Co|steel fixer|pending|||C-1||||1\n",
        "W002|B|钢筋一班|Fuding Labour Co|steel fixer|suspended|||C-1||||0\n",
    ];
    let lines = lines.concat().replace('|', "\u{1F}");
    let second = digest(2);
    assert_eq!(
        (&second["workers"], &second["sha256"]),
        (&json!(2), &json!(hex::encode(Sha256::digest(lines))))
    );
    assert!(second["version"].as_u64() > first["version"].as_u64());
    let page = |n: u8, args: Value| desk.does(&format!("p-{n}"), "roster.page", args);
    let one = page(1, json!({ "limit": 1 }));
    assert_eq!((&one["workers"][0]["id"], &one["next"]), (&json!("W001"), &json!("W001")));
    let rest = page(2, json!({ "limit": 1, "after": "W001" }));
    assert_eq!(rest["workers"][0]["id"], "W002");
    assert_eq!(page(3, json!({ "after": "W002" }))["workers"], json!([]));
    // A query is not remembered; a repeated query is answered with the current state.
    assert_eq!(desk.count("count(*) FROM command"), 3);
    let status = desk.does("s-1", "status.now", json!({}));
    assert_eq!(
        (&status["lanes"][0]["name"], &status["roster"]["workers"]),
        (&json!("north"), &json!(2))
    );
    assert!(status["outbox"].as_u64() >= Some(4), "{status}");
}

#[test]
fn i3_a_resend_queues_records_again_and_reports_those_that_are_gone() {
    let mut desk = Desk::start();
    for n in 0..3 {
        desk.does(&format!("c-{n}"), "worker.upsert", worker("W001", &format!("N{n}"), ID_A, &[]));
    }
    // All records were sent, and one entry has been damaged since.
    desk.restart_with("DELETE FROM outbox; UPDATE entry SET bytes = x'00' WHERE seq = 2");
    let last = desk.count("max(seq) FROM entry");
    let waiting = || desk.count("count(*) FROM outbox WHERE seq <= 4");
    assert_eq!(waiting(), 0);
    let again = |id: &str, from: u64, to: u64| {
        command(id, "attendance.resend", json!({ "from": from, "to": to }))
    };
    let asked = again("a-1", 1, 4);
    let reply = desk.asks(&asked);
    assert_eq!(reply["result"], json!({ "rows": 3, "gone": 1, "gone_seqs": [[2, 2]] }));
    assert_eq!(waiting(), 3);
    assert_eq!(desk.asks(&asked), reply);
    let beyond = desk.asks(&again("a-2", last + 1, last + 9));
    assert_eq!(beyond["result"], json!({ "rows": 0, "gone": 0, "gone_seqs": [] }));
    let said = desk.refuses("too_many", &again("a-3", 5, 10_005));
    assert!(said.contains("ask for 5 to 10004 first"), "{said}");
}

#[test]
fn i8_an_invalid_command_is_refused_and_the_next_one_is_carried_out() {
    let desk = Desk::start();
    let said = |payload: Vec<u8>| -> Value {
        let reply = desk.reply(desk.hand_over(Encoding::Json, payload));
        serde_json::from_slice(&reply).unwrap()
    };
    let code = |reply: &Value| (reply["id"].clone(), reply["error"]["code"].clone());
    assert_eq!(code(&said(b"\xFF\x00".to_vec())), (Value::Null, json!("malformed")));
    let large = vec![b' '; (8 << 20) + 1];
    assert_eq!(code(&said(large)), (Value::Null, json!("too_large")));
    let mut photos = a();
    photos["photos"] = json!([STANDARD.encode([&b"\xFF\xD8\xFF"[..], &[0; 1 << 20]].concat())]);
    desk.refuses("photo_too_large", &command("c-1", "worker.upsert", photos));
    desk.refuses("unknown_verb", &command("c-2", "gate.open", json!({})));
    desk.refuses("invalid", &command("c-3", "worker.upsert", json!({ "id": "W001" })));
    assert_eq!(desk.count("count(*) FROM command"), 0);
    // Commands that find no free place get `busy`, each with its id. No command is lost.
    let all: Vec<_> = (0..12)
        .map(|n| {
            let command = command(&format!("m-{n}"), "worker.upsert", a());
            desk.hand_over(Encoding::Json, command.to_string().into_bytes())
        })
        .collect();
    let replies: Vec<Value> =
        all.into_iter().map(|r| serde_json::from_slice(&desk.reply(r)).unwrap()).collect();
    let busy = |r: &&Value| r["error"]["code"] == "busy";
    assert!(replies.iter().filter(busy).count() >= 1, "{replies:#?}");
    assert_eq!(replies[0]["result"]["result"], "enrolled");
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply["id"], format!("m-{n}"));
        assert!(reply["ok"] == true || busy(&reply), "{reply}");
    }
    assert_eq!(entries(&desk, "enrolment"), 1);
    desk.does("c-4", "status.now", json!({}));
}

/// A platform at a real broker.
struct Platform<'a> {
    broker: &'a Broker,
    ear: &'a mut Subscriber,
    /// The key that signs its commands.
    key: Option<Signer>,
}

/// The platform's key of the tests.
fn key() -> Signer {
    Signer::new(&"1f".repeat(32), false).unwrap()
}

/// Lets the upstream release gates by signed commands.
fn releases_by_command(site: &Site) {
    std::fs::write(site.path("command-key"), "1f".repeat(32)).unwrap();
    site.configure(|c| {
        c.its("commands", "all").its("command_key", "file:command-key").its("remote_release", true)
    });
}

impl Platform<'_> {
    fn asks(&mut self, command: &Value) -> Value {
        let message = match &self.key {
            Some(key) => signed(key, "P-1", "gate-1", command),
            None => command.clone(),
        };
        self.broker.publish("gatehouse/v1/P-1/gate-1/command", message.to_string().as_bytes());
        loop {
            let reply = self.ear.next_on("reply");
            if reply["id"] == command["id"] {
                return reply;
            }
        }
    }
}

#[test]
fn over_a_broker_a_worker_is_enrolled_and_passes_and_records_are_resent() {
    let site = Site::prepare();
    site.configure(|c| c.its("commands", "roster"));
    let wall = WallClock::new(&site.path("."));
    wall.synchronised(true);
    let mut gate = Gate::at(site, &wall.environment());
    let mut platform = Platform { broker: &gate.site.broker, ear: &mut gate.platform, key: None };
    let first = command("c-1", "worker.upsert", a());
    let reply = platform.asks(&first);
    assert_eq!(reply["result"]["result"], "enrolled", "{reply}");
    assert_eq!(platform.asks(&first), reply);
    // A malformed command: the link holds, and the next command is answered.
    let malformed = json!(["open the gate"]);
    platform.broker.publish("gatehouse/v1/P-1/gate-1/command", malformed.to_string().as_bytes());
    let refused = platform.ear.next_on("reply");
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&Value::Null, &json!("malformed")));
    assert_eq!(gate.site.gatehouse(&["worker", "confirm", "W001"]).code, 0);
    gate.pass("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    gate.site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0);
    let seq = record["seq"].as_u64().unwrap();
    let again = command("c-2", "attendance.resend", json!({ "from": seq, "to": seq }));
    let mut platform = Platform { broker: &gate.site.broker, ear: &mut gate.platform, key: None };
    assert_eq!(platform.asks(&again)["result"]["rows"], 1);
    let sent = |record: &Value| record["seq"] == seq && record["resent"] == true;
    while !gate.platform.records.iter().any(|m| sent(&m.json)) {
        gate.platform.next();
    }
    gate.site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0);
    let enrolments = gate.platform.records.iter().filter(|m| m.json["kind"] == "enrolment");
    assert_eq!(enrolments.count(), 1);
}

#[test]
fn i4_over_a_broker_a_gate_is_released_where_the_configuration_allows_it_and_never_late() {
    let site = Site::prepare();
    releases_by_command(&site);
    let wall = WallClock::new(&site.path("."));
    wall.synchronised(true);
    let mut gate = Gate::at(site, &wall.environment());
    let args = || json!({ "lane": "north", "direction": "entry", "reason": "a guest" });
    let mut platform =
        Platform { broker: &gate.site.broker, ear: &mut gate.platform, key: Some(key()) };
    let late = platform.asks(&issued(-11, 60, "r-1", "lane.release", args()));
    assert_eq!(late["error"]["code"], "expired", "{late}");
    wall.synchronised(false);
    let blind = platform.asks(&command("r-2", "lane.release", args()));
    assert_eq!(blind["error"]["code"], "clock", "{blind}");
    wall.synchronised(true);
    // No coil has moved so far, so this is the board's first line.
    let first = command("r-3", "lane.release", args());
    let topic = "gatehouse/v1/P-1/gate-1/command";
    let message = signed(&key(), "P-1", "gate-1", &first).to_string();
    gate.site.broker.publish(topic, message.as_bytes());
    assert_eq!(gate.board.line(), "coil 0 on");
    walk(&gate.site, &mut gate.board);
    let reply = gate.platform.next_on("reply");
    assert_eq!(
        (&reply["id"], &reply["result"]["outcome"]),
        (&json!("r-3"), &json!("passed")),
        "{reply}"
    );
    let mut platform =
        Platform { broker: &gate.site.broker, ear: &mut gate.platform, key: Some(key()) };
    assert_eq!(platform.asks(&first), reply);
    let status = gate.site.status();
    assert_eq!(status["lanes"][0]["manual_releases"], 1);
    assert_eq!(status["upstreams"][0]["commands_repeated"], 1);
    assert_eq!(status["upstreams"][0]["commands_expired"], 1);
}
