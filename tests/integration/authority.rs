//! What a client of the broker can do without the platform's key, and what a gate without a time
//! does with commands and with days of admission. The daemon, mosquitto and the camera are real.

use std::{io::Write, process::Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse::uplink::authority::Signer;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::common::{
    Gate, Site, WallClock,
    desk::{command, issued, signed},
    photo, slave, until,
};

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";
const COMMAND: &str = "gatehouse/v1/P-1/gate-1/command";
const ACK: &str = "gatehouse/v1/P-1/gate-1/ack";
const DAY: i64 = 86_400;

/// Returns a worker of photo, with an invented name and number.
fn worker(id: &str, id_number: &str, photo_name: &str) -> Value {
    json!({
        "id": id, "name": "刘峰", "id_number": id_number, "team": "钢筋一班",
        "contractor": "Fuding Labour Co", "trade": "steel fixer", "consent": "C-1",
        "photos": [STANDARD.encode(photo(photo_name))],
    })
}

/// Publishes a message on the topic `command` and returns its reply.
fn said(gate: &mut Gate, message: &Value) -> Value {
    gate.site.broker.publish(COMMAND, message.to_string().as_bytes());
    gate.platform.next_on("reply")
}

fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or_else(|| panic!("{reply}"))
}

/// Writes a key file, and makes only messages that it signs count.
fn with_key(site: &Site) -> Signer {
    let digits = "7a".repeat(32);
    std::fs::write(site.path("command-key"), &digits).unwrap();
    site.configure(|c| c.its("command_key", "file:command-key"));
    Signer::new(&digits, false).unwrap()
}

fn trusted(site: &Site) -> WallClock {
    let wall = WallClock::new(&site.path("."));
    wall.synchronised(true);
    wall
}

#[test]
fn i13_a_client_of_the_broker_neither_enrolls_itself_nor_reads_a_name_nor_opens_the_gate() {
    let site = Site::prepare();
    let wall = trusted(&site);
    let mut gate = Gate::at(site, &wall.environment());
    let known =
        gate.site.enroll("W009", "赵敏", ID_B, &crate::common::photo_path("person_b_1.jpg"));
    assert_eq!(known.code, 0, "{known:?}");
    let mut myself = worker("W001", ID_A, "person_a_2.jpg");
    let release = json!({ "lane": "north", "direction": "entry", "reason": "a guest" });
    let mut twin = myself.clone();
    twin["allow_duplicate_face"] = json!("twins");
    for (n, (verb, args)) in [
        ("worker.upsert", myself.clone()),
        ("worker.upsert", twin.clone()),
        ("worker.suspend", json!({ "id": "W009", "reason": "x" })),
        ("worker.resume", json!({ "id": "W009" })),
        ("worker.remove", json!({ "id": "W009" })),
        ("roster.page", json!({})),
        ("lane.release", release),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = said(&mut gate, &command(&format!("c-{n}"), verb, args));
        assert_eq!(code(&reply), "not_allowed", "{verb}: {reply}");
    }
    for (n, verb) in ["status.now", "roster.digest"].into_iter().enumerate() {
        let reply = said(&mut gate, &command(&format!("q-{n}"), verb, json!({})));
        assert_eq!(reply["ok"], true, "{reply}");
        assert!(!reply.to_string().contains("赵敏"), "{reply}");
    }
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "unknown_face");
    gate.camera.show_empty();
    assert_eq!(gate.board.command("input 5 off"), [""; 0], "no coil moved");
    let status = gate.site.status();
    assert_eq!(status["upstreams"][0]["commands_unauthorised"], 7);
    let told = status["degraded"].as_array().unwrap().iter().map(|d| d["remedy"].as_str().unwrap());
    let told: Vec<_> = told.filter(|remedy| remedy.contains("for want of authority")).collect();
    assert!(told[0].starts_with("7 commands refused"), "{told:?}");

    // The roster is open to commands without a key: the client may enroll, and learns from a
    // refusal of no one else. `check` warns of it.
    gate.daemon.take().unwrap().stop();
    gate.site.configure(|c| c.its("commands", "roster"));
    let checked = gate.site.gatehouse(&["check"]);
    assert!(checked.out.contains("without a command_key"), "{checked:?}");
    gate.daemon = Some(gate.site.start_with(&wall.environment()));
    assert_eq!(code(&said(&mut gate, &command("u-1", "worker.upsert", twin))), "not_allowed");
    let (number, face) =
        (worker("W002", ID_B, "person_a_2.jpg"), worker("W002", ID_A, "person_b_2.jpg"));
    for (id, guess) in [("u-2", &number), ("u-3", &face)] {
        let reply = said(&mut gate, &command(id, "worker.upsert", guess.clone()));
        assert_eq!(code(&reply), "duplicate", "{reply}");
        for secret in ["W009", "赵敏", "score", "0."] {
            assert!(!reply.to_string().contains(secret), "{reply} has {secret}");
        }
    }

    // With a key, only the platform's signature counts, for this gateway.
    gate.daemon.take().unwrap().stop();
    let key = with_key(&gate.site);
    gate.site.configure(|c| c.its("trust_faces", true));
    gate.daemon = Some(gate.site.start_with(&wall.environment()));
    let first = command("k-1", "worker.upsert", myself.clone());
    let other = Signer::new(&"7b".repeat(32), false).unwrap();
    assert_eq!(code(&said(&mut gate, &first)), "unsigned");
    assert_eq!(code(&said(&mut gate, &signed(&other, "P-1", "gate-1", &first))), "bad_signature");
    assert_eq!(code(&said(&mut gate, &signed(&key, "P-1", "gate-2", &first))), "misaddressed");
    let guess = signed(&key, "P-1", "gate-1", &command("k-2", "worker.upsert", number));
    assert!(said(&mut gate, &guess).to_string().contains("already enrolled, as worker W009"));
    let message = signed(&key, "P-1", "gate-1", &first);
    let reply = said(&mut gate, &message);
    assert_eq!(reply["result"]["result"], "enrolled", "{reply}");
    // Another client sends the signed message again: it gets the same reply, and nothing is done.
    assert_eq!(said(&mut gate, &message), reply);
    myself["team"] = json!("二班");
    let reused = signed(&key, "P-1", "gate-1", &command("k-1", "worker.upsert", myself));
    assert_eq!(code(&said(&mut gate, &reused)), "id_reused");
    gate.pass("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W001");
}

#[test]
fn i13_a_platform_does_not_end_a_withdrawal_of_the_consent_to_the_face() {
    let site = Site::prepare();
    site.configure(|c| c.its("commands", "roster").its("trust_faces", true));
    let wall = trusted(&site);
    let key = with_key(&site);
    let mut gate = Gate::at(site, &wall.environment());
    let mut n = 0;
    let mut asks = |gate: &mut Gate, verb: &str, args: &Value| {
        n += 1;
        let message = command(&format!("c-{n}"), verb, args.clone());
        said(gate, &signed(&key, "P-1", "gate-1", &message))
    };
    let mut row = worker("W001", ID_A, "person_a_2.jpg");
    assert_eq!(asks(&mut gate, "worker.upsert", &row)["result"]["templates"], 1);
    let face = ["worker", "consent", "W001", "--purpose", "face", "--withdrawn", "2020-10-31"];
    assert_eq!(gate.site.gatehouse(&face).code, 0);

    // The platform sends its row again, with a new form, and with parts of it.
    row["team"] = json!("钢筋二班");
    let without = |row: &Value, absent: &[&str]| {
        let mut row = row.clone();
        absent.iter().for_each(|name| drop(row.as_object_mut().unwrap().remove(*name)));
        row
    };
    let mut renewed = row.clone();
    (renewed["consent"], renewed["consent_on"]) = (json!("C-9"), json!("2020-11-02"));
    for row in [&row, &renewed, &without(&row, &["photos"]), &without(&row, &["consent"])] {
        let reply = asks(&mut gate, "worker.upsert", row);
        assert_eq!(code(&reply), "consent_withdrawn", "{reply}");
    }
    let plain = asks(&mut gate, "worker.upsert", &without(&row, &["photos", "consent"]));
    assert_eq!(
        (&plain["result"]["result"], &plain["result"]["templates"]),
        (&json!("updated"), &json!(0))
    );

    // Nor does another id of the same person, after a removal.
    assert_eq!(asks(&mut gate, "worker.remove", &json!({ "id": "W001" }))["ok"], true);
    (row["id"], renewed["id"]) = (json!("W002"), json!("W002"));
    for row in [&row, &renewed, &without(&row, &["photos"])] {
        let reply = asks(&mut gate, "worker.upsert", row);
        assert_eq!(code(&reply), "consent_withdrawn", "{reply}");
    }
    let again = asks(&mut gate, "worker.upsert", &without(&row, &["photos", "consent"]));
    assert_eq!(again["result"]["result"], "enrolled", "{again}");
    let history = gate.site.gatehouse(&["--json", "worker", "history", "W002"]).json_lines();
    assert_eq!(history[0]["face_withdrawn_on"], "2020-10-31");
    assert_eq!(code(&asks(&mut gate, "worker.upsert", &row)), "consent_withdrawn");
    let page = asks(&mut gate, "roster.page", &json!({}));
    let consents = &page["result"]["workers"][0]["consents"];
    assert_eq!(consents[0]["withdrawn_on"], "2020-10-31", "{page}");

    // A person at the gateway records the new form.
    let new = ["worker", "consent", "W002", "--purpose", "face", "--given", "2020-11-02"];
    assert_eq!(gate.site.gatehouse(&[&new[..], &["--form", "C-2"]].concat()).code, 0);
    assert_eq!(code(&asks(&mut gate, "worker.upsert", &row)), "duplicate");
    row["consent"] = json!("C-2");
    assert_eq!(asks(&mut gate, "worker.upsert", &row)["result"]["templates"], 1);
    gate.pass("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W002");
}

#[test]
fn i9_a_gate_without_a_time_admits_no_one_by_an_old_command_nor_after_the_last_day_of_admission() {
    let site = Site::prepare();
    site.configure(|c| c.its("commands", "roster").its("trust_faces", true));
    let key = with_key(&site);
    let wall = trusted(&site);
    let mut gate = Gate::at(site, &wall.environment());
    let signs = |command: Value| signed(&key, "P-1", "gate-1", &command);
    let mut ended = worker("W001", ID_A, "person_a_2.jpg");
    let last = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3 * 24);
    ended["valid_until"] = json!(last.to_zoned(jiff::tz::TimeZone::UTC).date());
    for (id, worker) in [("c-1", ended.clone()), ("c-2", worker("W002", ID_B, "person_b_1.jpg"))] {
        let reply = said(&mut gate, &signs(command(id, "worker.upsert", worker)));
        assert_eq!(reply["result"]["result"], "enrolled", "{reply}");
    }
    let kept = || {
        let path = gate.site.path("data/gatehouse.db");
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let row = "SELECT 1 FROM meta WHERE key = 'last_trusted'";
        database.prepare(row).unwrap().exists([]).unwrap().then_some(())
    };
    until("the last trusted time to be kept", kept);
    gate.daemon.take().unwrap().stop();

    // The box starts without a battery and without a network: its clock is at some day of 2018.
    wall.synchronised(false);
    wall.ahead(-8 * 365 * DAY);
    gate.restart(&wall.environment());
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "expired");
    gate.camera.show_empty();
    gate.pass("person_b_2.jpg");

    let suspend = || json!({ "id": "W002", "reason": "contract over" });
    let old = issued(-30 * DAY, -29 * DAY, "c-3", "worker.suspend", suspend());
    assert_eq!(code(&said(&mut gate, &signs(old))), "expired");
    ended["valid_until"] = json!("2099-12-31");
    let admits = [
        ("c-4", "worker.upsert", ended),
        ("c-5", "worker.resume", json!({ "id": "W002" })),
        ("c-6", "roster.page", json!({})),
    ];
    for (id, verb, args) in admits {
        let reply = said(&mut gate, &signs(command(id, verb, args)));
        assert_eq!(code(&reply), "clock", "{verb}: {reply}");
    }
    let reply = said(&mut gate, &signs(command("c-7", "worker.suspend", suspend())));
    assert_eq!(reply["result"]["state"], "suspended", "{reply}");
    // By the real time, which is two days later, the first removal is too late.
    for (id, issued_s, worker) in [("c-8", 0, "W001"), ("c-9", 2 * DAY, "W002")] {
        let remove = issued(issued_s, issued_s + 600, id, "worker.remove", json!({ "id": worker }));
        let reply = said(&mut gate, &signs(remove));
        let expected = json!({ "id": worker, "state": "barred", "waits_for": "clock" });
        assert_eq!(reply["result"], expected, "{reply}");
    }
    let state = |id: &str| gate.site.gatehouse(&["worker", "show", id, "--json"]).out;
    assert!(state("W002").contains("\"barred\""), "{}", state("W002"));
    wall.ahead(2 * DAY);
    wall.synchronised(true);
    let removal = gate.platform.event("removal");
    assert_eq!((&removal["worker"], &removal["by"]), (&json!("W002"), &json!("platform")));
    gate.site.status_when("the late removal to be counted", |s| {
        s["upstreams"][0]["commands_expired"] == 2
    });
    let state = gate.site.gatehouse(&["worker", "show", "W001", "--json"]).out;
    assert!(state.contains("\"barred\""), "{state}");
}

#[test]
fn i13_an_acknowledgement_of_any_client_strikes_off_nothing_where_the_platform_signs() {
    let site = Site::prepare();
    site.configure(|c| c.its("ack", "platform"));
    let unsigned = site.gatehouse(&["check"]);
    assert!(unsigned.out.contains("acknowledgements of platform"), "{unsigned:?}");
    let key = with_key(&site);
    let mut gate = Gate::at(site, &[]);
    gate.site.broker.flush(&mut gate.platform);
    let status = gate.site.status_when("records at the broker", |s| {
        Site::outbox(s) > 0 && s["upstreams"][0]["published"].as_u64() >= Some(Site::outbox(s))
    });
    let (ledger, upto) = (status["ledger"]["id"].clone(), Site::outbox(&status));
    let forged = json!({ "ledger": ledger, "upto": upto });
    gate.site.broker.publish(ACK, forged.to_string().as_bytes());
    let refused = |s: &Value| s["upstreams"][0]["acks_refused"] == 1;
    let status = gate.site.status_when("the refusal", refused);
    assert!(Site::outbox(&status) >= upto, "{status}");
    assert!(status["degraded"].to_string().contains("only a signed message counts here"));
    let body = json!({
        "topic": "ack", "project": "P-1", "gateway": "gate-1", "ledger": ledger, "upto": upto,
        "issued_at": jiff::Timestamp::now().to_string(),
    });
    gate.site.broker.publish(ACK, key.signed(&body.to_string()).to_string().as_bytes());
    let taken = |s: &Value| s["upstreams"][0]["acknowledged_upto"] == upto;
    let status = gate.site.status_when("the signed acknowledgement", taken);
    assert_eq!(status["upstreams"][0]["acks_signed"], true);
}

/// Returns the fenced blocks of docs/integrate/signatures.md in this language.
fn documented(language: &str) -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/integrate/signatures.md");
    let page = std::fs::read_to_string(page).unwrap();
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

/// Runs Python code with this standard input. Returns its output.
fn python(code: &str, stdin: &str) -> String {
    let mut python = std::process::Command::new(slave::python())
        .args(["-c", code])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_documented_vectors_are_what_pythons_cryptography_and_gatehouse_sign() {
    let vectors = documented("json").pop().unwrap();
    let vectors: Vec<Value> =
        vectors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(vectors.len(), 4);
    let digits = hex::encode((0..32).collect::<Vec<u8>>());
    let python_signs = format!(
        "{}\nimport sys\nfor line in sys.stdin:\n    vector = json.loads(line)\n    \
         body = json.loads(vector['body'])\n    json.dumps = __import__('functools').partial(\
         json.dumps, separators=(',', ':'))\n    \
         print(signed(body, bytes.fromhex('{digits}'), vector['alg']))\n",
        documented("python").pop().unwrap()
    );
    let lines = vectors.iter().map(|vector| format!("{vector}\n")).collect::<String>();
    let by_python = python(&python_signs, &lines);
    assert_eq!(by_python.lines().count(), 4);
    for (vector, by_python) in vectors.iter().zip(by_python.lines()) {
        assert_eq!(&serde_json::from_str::<Value>(by_python).unwrap(), vector);
        let signer = Signer::new(&digits, vector["alg"] == "ed25519").unwrap();
        assert_eq!(&signer.signed(vector["body"].as_str().unwrap()), vector);
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/integrate/signatures.md");
    let public = Signer::new(&digits, true).unwrap().public().unwrap();
    assert!(std::fs::read_to_string(page).unwrap().contains(&public));
}

#[test]
fn the_command_line_signs_what_a_gateway_takes() {
    let mut site = Site::prepare();
    site.configure(|c| c.its("commands", "roster"));
    let file = site.path("private-key");
    let made = std::process::Command::new("openssl").args(["rand", "-hex", "32"]).output().unwrap();
    std::fs::write(&file, made.stdout).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let public = site.gatehouse(&["command", "public", "--key", &file]).out;
    site.configure(|c| c.its("command_key", public.trim()));
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let _daemon = site.start();
    let sign = |verb: &str, arguments: &str| {
        let sign = ["command", "sign", verb, arguments, "--key", &file, "--ed25519"];
        let to = ["--project", "P-1", "--gateway", "gate-1"];
        let signed = site.gatehouse(&[&sign[..], &to].concat());
        assert_eq!(signed.code, 0, "{signed:?}");
        signed.out.trim().to_owned()
    };
    site.broker.publish(COMMAND, sign("roster.digest", "{}").as_bytes());
    let reply = platform.next_on("reply");
    assert_eq!((&reply["ok"], &reply["result"]["workers"]), (&json!(true), &json!(0)), "{reply}");
    let suspend = sign("worker.suspend", "{\"id\":\"W001\",\"reason\":\"left\"}");
    site.broker.publish(COMMAND, suspend.as_bytes());
    assert_eq!(code(&platform.next_on("reply")), "no_such_worker");
}
