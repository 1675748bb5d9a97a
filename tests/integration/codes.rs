//! Codes in QR at readers on pseudo-terminals: made by the gateway, and by a platform that has its key.

use std::{io::Write, process::Stdio};

use gatehouse::reader::{Code, CodeKey, code::Says};
use jiff::Timestamp;
use serde_json::{Value, json};
use toml::Table;

use crate::common::{Gate, Lane, Site, WallClock, reader::Reader, slave, walk};

const ID: &str = "522201199003074411";

fn accept(what: &[&str]) -> Table {
    let what: Vec<_> = what.iter().map(|word| toml::Value::from(*word)).collect();
    Table::from_iter([("accept".to_owned(), what.into())])
}

/// A gate with a trusted clock, whose lane has an entry and an exit reader.
struct Codes {
    gate: Gate,
    wall: WallClock,
    entry: Reader,
    exit: Reader,
}

impl Codes {
    fn start(entry: Table) -> Codes {
        let lane = Lane::north().reader_with("in", "entry", "line", entry);
        let site = Site::of(lane.reader("out", "exit", "line"));
        std::fs::write(site.path("qr-key"), hex::encode([9; 32])).unwrap();
        site.configure(|c| c.set("roster", "qr_key", "file:qr-key"));
        let [entry, exit] = ["in", "out"].map(|name| Reader::plug_in(&site.path(name)));
        let wall = WallClock::new(&site.path("."));
        wall.synchronised(true);
        let gate = Gate::at(site, &wall.environment());
        let said = gate.site.enroll_with("W001", "刘峰", ID, &[]);
        assert_eq!(said.code, 0, "{said:?}");
        Codes { gate, wall, entry, exit }
    }

    /// Returns a code of `worker qr`.
    fn made(&self) -> String {
        let said = self.gate.site.gatehouse(&["worker", "qr", "W001", "--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        let made: Value = serde_json::from_str(&said.out).unwrap();
        made["code"].as_str().unwrap().to_owned()
    }

    fn denied(&mut self) -> String {
        let denial = self.gate.platform.event("denial");
        assert!(denial["worker"].is_null(), "{denial}");
        denial["reason"].as_str().unwrap().to_owned()
    }

    /// The code opens the entry, and its worker walks in. Returns the record.
    fn passes(&mut self, code: &str) -> Value {
        self.entry.send(format!("{code}\r").as_bytes());
        assert_eq!(self.gate.board.line(), "coil 0 on");
        walk(&self.gate.site, &mut self.gate.board);
        self.gate.platform.next_on("attendance")
    }
}

/// Returns a code of the platform with this key, which counts from now on for this time.
fn by_platform(key: [u8; 32], gateway: &str, (from, seconds): (i64, i64), nonce: u8) -> String {
    let issued = Timestamp::now().as_second() + from;
    let text = |text: &str| text.to_owned();
    let (project, gateway, worker) = (text("P-1"), text(gateway), text("W001"));
    let says = Says { project, gateway, worker, issued, expires: issued + seconds };
    Code::make(says, [nonce; 8], &CodeKey::new(key)).text()
}

#[test]
fn a_code_opens_one_passage_and_none_after_a_kill() {
    let mut codes = Codes::start(Table::new());
    let code = codes.made();
    let event = codes.gate.platform.event("card");
    assert_eq!((&event["worker"], &event["what"]), (&json!("W001"), &json!("code")));
    let record = codes.passes(&code);
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("qr")));
    assert_eq!(record["evidence"][0]["qr"]["reader"], "in", "{record}");
    assert_eq!(record["evidence"][0]["qr"]["commitment"], event["commitment"]);

    codes.exit.send(format!("{code}\r").as_bytes());
    assert_eq!(codes.denied(), "code_used");
    codes.gate.daemon.take().unwrap().kill();
    codes.gate.restart(&codes.wall.environment());
    codes.exit.send(format!("{code}\r").as_bytes());
    assert_eq!(codes.denied(), "code_used");
    let next = codes.made();
    codes.exit.send(format!("{next}\r").as_bytes());
    assert_eq!(codes.gate.board.line(), "coil 1 on");
    let log = codes.gate.site.log();
    assert!(!log.contains(&code) && !log.contains(&next), "the log shows a code");
}

#[test]
fn a_platforms_code_counts_and_others_are_denied_each_with_its_reason() {
    let mut codes = Codes::start(Table::new());
    for (code, reason) in [
        (by_platform([9; 32], "gate-2", (0, 600), 1), "code_elsewhere"),
        (by_platform([8; 32], "gate-1", (0, 600), 2), "code_unknown"),
        (by_platform([9; 32], "gate-1", (-601, 600), 3), "code_expired"),
        (by_platform([9; 32], "gate-1", (600, 600), 4), "code_expired"),
        (by_platform([9; 32], "gate-1", (0, 7200), 5), "code_expired"),
    ] {
        codes.entry.send(format!("{code}\r").as_bytes());
        assert_eq!(codes.denied(), reason);
    }
    let record = codes.passes(&by_platform([9; 32], "gate-1", (0, 600), 6));
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("qr")));
}

#[test]
fn without_a_trusted_clock_no_code_is_made_or_opens_the_entry_and_an_exit_is_flagged() {
    let mut codes = Codes::start(Table::new());
    codes.wall.synchronised(false);
    let said = codes.gate.site.gatehouse(&["worker", "qr", "W001"]);
    said.refused("the clock of this gateway is not synchronised");
    let code = by_platform([9; 32], "gate-1", (0, 600), 1);
    codes.entry.send(format!("{code}\r").as_bytes());
    assert_eq!(codes.denied(), "clock_not_trusted");
    codes.exit.send(format!("{code}\r").as_bytes());
    assert_eq!(codes.gate.board.line(), "coil 1 on");
    let record = codes.gate.platform.next_on("attendance");
    assert!(record["flags"].as_array().unwrap().contains(&json!("clock")), "{record}");
}

#[test]
fn a_reader_gives_only_what_accept_lists_and_the_rest_is_counted_and_told() {
    let mut codes = Codes::start(accept(&["qr_static"]));
    let added = codes.gate.site.gatehouse(&["worker", "card", "W001", "--add", "662316"]);
    assert_eq!(added.code, 0, "{added:?}");
    let code = codes.made();
    codes.entry.send(format!("{code}\r{}\r", "7".repeat(4_000)).as_bytes());
    let told = |status: &Value| status["lanes"][0]["readers"][0]["unreadable"] == 2;
    let status = codes.gate.site.status_when("what is not accepted to be told", told);
    assert!(Site::degraded(&status).contains(&"reader in"), "{status:#}");
    // The code was not used, and the static number opens.
    let record = codes.passes("0A1B2C");
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("qr")));
    codes.exit.send(format!("{code}\r").as_bytes());
    assert_eq!(codes.gate.board.line(), "coil 1 on");
}

#[test]
fn a_code_is_drawn_for_the_terminal_with_its_text_and_end() {
    let codes = Codes::start(Table::new());
    let said = codes.gate.site.gatehouse(&["worker", "qr", "W001", "--minutes", "60"]);
    assert!(said.out.contains('▀') && said.out.contains("\nGH1"), "{said:?}");
    assert!(said.out.contains("opens one passage of W001 until "), "{said:?}");
    let refused = codes.gate.site.gatehouse(&["worker", "qr", "W001", "--minutes", "61"]);
    refused.refused("must be 1 to 60");
    codes.gate.site.gatehouse(&["worker", "qr", "W009"]).refused("there is no worker W009");
}

#[test]
fn a_code_for_a_worker_who_may_not_enter_says_so_and_opens_the_exit_only() {
    let mut codes = Codes::start(Table::new());
    let does = |what: &[&str]| {
        let said = codes.gate.site.gatehouse(&[&["worker"], what].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    for (verb, word, remedy) in [
        (&["bar", "W001", "--reason", "theft"][..], "barred (theft)", "worker resume W001"),
        (&["resume", "W001", "--reason", "cleared"], "", ""),
        (
            &["update", "W001", "--valid-until", "2026-01-31", "--yes"],
            "until 2026-01-31",
            "--valid-until",
        ),
        (&["update", "W001", "--clear", "valid-until", "--reason", "goes on"], "", ""),
        (&["suspend", "W001", "--reason", "papers"], "suspended (papers)", "worker resume W001"),
    ] {
        does(verb);
        let said = does(&["qr", "W001"]);
        let line =
            if word.is_empty() { "opens one passage" } else { "opens no entry, only an exit" };
        assert!([line, word, remedy].iter().all(|part| said.contains(part)), "{verb:?}: {said}");
    }
    let made = does(&["qr", "W001", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert!(made["exit_only"].as_str().unwrap().contains("suspended (papers)"), "{made}");
    let code = made["code"].as_str().unwrap();
    codes.entry.send(format!("{code}\r").as_bytes());
    assert_eq!(codes.gate.platform.event("denial")["reason"], "suspended");
    codes.exit.send(format!("{code}\r").as_bytes());
    assert_eq!(codes.gate.board.line(), "coil 1 on");
    // A worker who was removed gets none.
    let removed = codes.gate.site.gatehouse(&["worker", "remove", "W001", "--reason", "left"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    codes.gate.site.gatehouse(&["worker", "qr", "W001"]).refused("removed");
}

#[test]
fn a_used_code_does_not_open_again_after_the_ledger_is_renewed() {
    let mut codes = Codes::start(Table::new());
    let [used, fresh] = [codes.made(), codes.made()];
    codes.passes(&used);
    codes.gate.site.status_when("an empty outbox", |s| Site::outbox(s) == 0);
    codes.gate.daemon.take().unwrap().stop();
    let renew = ["ledger", "renew", "--reason", "copy put back"];
    let said = codes.gate.site.gatehouse(&renew);
    assert_eq!(said.code, 0, "{said:?}");
    codes.gate.restart(&codes.wall.environment());
    codes.gate.platform.event("successor");
    codes
        .gate
        .site
        .status_when("the readers", |s| s["lanes"][0]["readers"][0]["connected"] == true);
    codes.entry.send(format!("{used}\r").as_bytes());
    assert_eq!(codes.denied(), "code_used");
    assert_eq!(codes.passes(&fresh)["means"], "qr");
}

/// Returns the fenced block of docs/integrate/qr.md that begins after this text.
fn documented(after: &str) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/integrate/qr.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, fenced) = page.split_once(after).unwrap();
    let (_, block) = fenced.split_once('\n').unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_vectors_are_what_python_and_gatehouse_make() {
    let vectors = documented("the text:\n\n```");
    let program = format!(
        "{}\nimport sys\nfor line in sys.stdin:\n    body = line.split()[0]\n    parts = \
         body.split('/')\n    print(body, code(bytes(range(32)), *parts))\n",
        documented("```python")
    );
    let mut python = std::process::Command::new(slave::python())
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(vectors.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), vectors);
    let key = CodeKey::of_digits(&hex::encode((0..32).collect::<Vec<u8>>())).unwrap();
    let mut count = 0;
    for line in vectors.lines() {
        let (body, text) = line.split_once(' ').unwrap();
        let code = Code::read(text).unwrap();
        assert!(code.is_signed_with(&key), "{line}");
        let nonce = hex::decode(body.rsplit('/').next().unwrap()).unwrap();
        let again = Code::make(code.says().clone(), nonce.try_into().unwrap(), &key);
        assert_eq!(again.text(), text);
        count += 1;
    }
    assert_eq!(count, 2);
}
