//! The whole program without its vision: a roster, a relay board on a serial line, TLS, MQTT, the
//! database, a power cut. `cross/test` runs this with a program for another processor. Its emulator
//! is too slow to recognise faces in time.

use std::collections::BTreeSet;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Gate, Lane, Site, broker::free_port, pki::Authority, walk};

const ID_NUMBER: &str = "522201199003074411";

/// Returns a lane without a camera. Its passages may take long, because commands may need seconds.
fn lane() -> Lane {
    Lane::modbus("north").set("pass_within_s", 60)
}

/// Starts a gate whose broker is reached only by TLS.
fn gate() -> Gate {
    let site = Site::of(lane());
    let authority = Authority::new("The project's authority");
    authority.sign(&["127.0.0.1"]).write(site.path("").as_path(), "server");
    std::fs::write(site.path("ca.pem"), &authority.pem).unwrap();
    let at = |file: &str| site.path(file).display().to_string();
    let (port, cert, key) = (free_port(), at("server.pem"), at("server.key"));
    site.broker.add(&format!("listener {port} 127.0.0.1\ncertfile {cert}\nkeyfile {key}\n"));
    let broker = format!("mqtts://127.0.0.1:{port}");
    site.configure(|c| c.its("broker", broker).its("ca", "ca.pem"));
    Gate::at(site, &[])
}

fn attendance(site: &Site) -> Vec<Value> {
    site.gatehouse(&["--json", "attendance", "list"]).json_lines()
}

#[test]
fn a_passage_by_hand_is_released_recorded_sealed_sent_and_outlives_a_power_cut() {
    let mut gate = gate();
    let who = ["worker", "enroll", "--id", "W001", "--name", "刘峰", "--id-number", ID_NUMBER];
    let job = ["--team", "x", "--contractor", "x", "--trade", "x", "--consent", "C-1"];
    let said = gate.site.gatehouse(&[&who[..], &job].concat());
    assert_eq!(said.code, 0, "{said:?}");

    let said = std::thread::scope(|scope| {
        let site = &gate.site;
        let release = ["--json", "lane", "release", "north", "--direction", "entry"];
        let vouched = [&release[..], &["--worker", "W001", "--reason", "no face"]].concat();
        let command = scope.spawn(move || site.gatehouse(&vouched));
        assert_eq!(gate.board.line(), "coil 0 on");
        walk(site, &mut gate.board);
        command.join().unwrap()
    });
    assert_eq!(said.json_lines()[0]["outcome"], "passed");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    gate.platform.assert_whole();

    gate.daemon.take().unwrap().kill();
    gate.daemon = Some(gate.site.start());
    assert_eq!(attendance(&gate.site), [record]);
    gate.daemon.take().unwrap().stop();

    // This processor verifies the data that the other one wrote.
    let path = gate.site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let mut entries = database.prepare("SELECT bytes, leaf FROM entry ORDER BY idx").unwrap();
    let entries = entries.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let entries: Vec<(Vec<u8>, [u8; 32])> = entries.map(Result::unwrap).collect();
    assert!(entries.len() >= 4, "{}", entries.len());
    for (bytes, leaf) in entries {
        let hash = Sha256::new().chain_update([0]).chain_update(bytes).finalize();
        assert_eq!(hash[..], leaf[..]);
    }
    let mut looked_at = BTreeSet::new();
    for file in std::fs::read_dir(gate.site.path("data")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            continue;
        }
        let bytes = std::fs::read(file.path()).unwrap();
        let plain = bytes.windows(ID_NUMBER.len()).any(|w| w == ID_NUMBER.as_bytes());
        assert!(!plain, "an ID number is in {}", file.path().display());
        looked_at.insert(file.file_name().into_string().unwrap());
    }
    assert!(looked_at.contains("gatehouse.db"), "{looked_at:?}");
}
