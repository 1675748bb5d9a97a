//! The real daemon on a disk that fills up, fails, is slow, or damages its data.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::common::{Gate, Said, Site, disk::Disk, photo, photo_path, until};
use rusqlite::Connection;
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";
const MIB: i64 = 1 << 20;

fn start() -> (Gate, Disk) {
    let site = Site::prepare();
    let disk = Disk::under(&site.path("data"));
    let gate = Gate::at(site, &disk.environment());
    (gate, disk)
}

fn enroll_a(site: &Site) -> Said {
    site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"))
}

fn enroll_b(site: &Site) -> Said {
    site.enroll("W002", "Jacinda", ID_B, &photo_path("person_b_2.jpg"))
}

fn attendance(site: &Site) -> Vec<Value> {
    site.gatehouse(&["--json", "attendance", "list"]).json_lines()
}

fn room_is(room: &'static str) -> impl Fn(&Value) -> bool {
    move |s| s["disk"]["room"] == room
}

fn is_well(status: &Value) -> bool {
    status["disk"]["room"] == "ample" && status["disk"]["failing"] == Value::Null
}

/// Returns the remedy that the status shows for this trouble.
fn remedy(status: &Value, what: &str) -> String {
    let all = status["degraded"].as_array().unwrap();
    let found = all.iter().find(|d| d["what"] == what);
    let found = found.unwrap_or_else(|| panic!("{what} is not degraded in {status:#}"));
    found["remedy"].as_str().unwrap().to_owned()
}

/// Returns the storage events that the platform got, up to this state.
fn told_until(gate: &mut Gate, last: &str) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let event = gate.platform.event("storage");
        let state = event["state"].clone();
        told.push(event);
        if state == last {
            return told;
        }
    }
}

fn assert_one_process(gate: &Gate) {
    let starts = gate.site.log().matches("running version").count();
    assert_eq!(starts, 1, "the daemon has not restarted");
}

#[test]
fn a_disk_that_fills_up_loses_denials_then_photos_and_never_attendance() {
    let (mut gate, disk) = start();
    assert_eq!(enroll_a(&gate.site).code, 0);
    let reserve = gate.site.status()["disk"]["reserve_bytes"].as_i64().unwrap();
    assert_eq!(fs::metadata(gate.site.path("data/reserve")).unwrap().len() as i64, reserve);

    // The daemon gives up denials first.
    disk.full(60 * MIB);
    let status = gate.site.status_when("a disk with little room", room_is("low"));
    assert!(remedy(&status, "disk").contains("make room"), "{status:#}");
    assert_eq!(gate.platform.event("storage")["state"], "low");
    gate.camera.show(photo("impostor_1.jpg"));
    gate.site.status_when("a denial given up", |s| s["disk"]["unrecorded"] != 0);
    wait_for_an_empty_gate(&gate);
    assert_eq!(enroll_b(&gate.site).code, 0);
    gate.pass_again("person_b_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W002");
    gate.site.status_when("the photo of it", |s| s["photos"]["kept"] == 1);

    // Then it gives up photos.
    disk.full(20 * MIB);
    let status = gate.site.status_when("a disk with less room", room_is("scarce"));
    assert!(remedy(&status, "disk").contains("no worker can be enrolled"), "{status:#}");
    let said = gate.site.enroll("W003", "x", "110101199003070134", &photo_path("impostor_2.jpg"));
    said.refused("make room");
    gate.pass_again("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W001");
    let status = gate.site.status_when("a photo given up", |s| s["photos"]["given_up"] == 1);
    assert_eq!(status["photos"]["given_up"], 1);
    // Old photos are removed to make room.
    gate.site.status_when("the old photo gone", |s| s["photos"]["kept"] == 0);

    // With no free byte left, the reserve is used.
    disk.full(0);
    let status = gate.site.status_when("a full disk", room_is("full"));
    assert!(status["disk"]["reserve_bytes"].as_i64().unwrap() < reserve, "{status:#}");
    assert!(remedy(&status, "disk").contains("reserve"), "{status:#}");
    gate.pass_again("person_b_1.jpg");
    gate.pass_again("person_a_1.jpg");
    let status = gate.site.status_when("both to be sent", |s| Site::outbox(s) == 0);
    assert_eq!(attendance(&gate.site).len(), 4);
    assert_eq!(status["disk"]["failing"], Value::Null);

    // When there is room again, the gate recovers without help.
    disk.well();
    let status = gate.site.status_when("a disk with room", is_well);
    assert_eq!(status["disk"]["reserve_bytes"], reserve);
    let healed = told_until(&mut gate, "ample").pop().unwrap();
    assert!(healed["unrecorded"].as_u64().unwrap() > 0, "{healed}");
    gate.camera.show(photo("impostor_1.jpg"));
    assert_eq!(gate.platform.event("denial")["reason"], "unknown_face");
    gate.camera.show_empty();
    assert_one_process(&gate);
    gate.platform.assert_whole();
}

/// Shows an empty gate to the camera and waits until no frame with a face is under way.
fn wait_for_an_empty_gate(gate: &Gate) {
    gate.camera.show_empty();
    let seen = || {
        let camera = gate.site.status()["lanes"][0]["cameras"][0].clone();
        (camera["analysed"].as_u64().unwrap(), camera["faces"].as_u64().unwrap())
    };
    let mut before = seen();
    until("an empty gate", || {
        let now = seen();
        if now.1 != before.1 {
            before = now;
        }
        (now.0 >= before.0 + 3).then_some(())
    });
}

/// Shows a worker while the disk accepts no data, and asserts that no coil moves.
fn the_gate_stays_closed(gate: &mut Gate, photo_name: &str) -> Value {
    let errors = |s: &Value| s["lanes"][0]["commit_errors"].as_u64().unwrap();
    let before = errors(&gate.site.status());
    gate.camera.show(photo(photo_name));
    let status = gate.site.status_when("a grant that is not recorded", |s| errors(s) > before);
    wait_for_an_empty_gate(gate);
    assert_eq!(gate.board.command("input 5 off"), [""; 0], "a coil moved");
    let remedy = remedy(&status, "disk");
    assert!(remedy.contains("no worker can pass"), "{remedy}");
    let failing = &status["disk"]["failing"];
    assert!(failing["since"].is_string() && failing["error"].is_string(), "{status:#}");
    status
}

#[test]
fn i1_when_the_reserve_is_used_up_nothing_opens_until_there_is_room() {
    let (mut gate, disk) = start();
    assert_eq!((enroll_a(&gate.site).code, enroll_b(&gate.site).code), (0, 0));
    gate.pass_again("person_a_1.jpg");
    gate.platform.next_on("attendance");
    // Another program's files take all space that the reserve frees.
    let reserve = gate.site.status()["disk"]["reserve_bytes"].as_i64().unwrap();
    disk.full(-reserve);
    gate.site.status_when("an empty reserve", |s| s["disk"]["reserve_bytes"] == 0);
    // The log may still have room for a record, so the log is emptied.
    let database = Connection::open(gate.site.path("data/gatehouse.db")).unwrap();
    let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
    until("an empty log", || {
        let busy: bool = database.query_row(truncate, [], |row| row.get(0)).unwrap();
        (!busy).then_some(())
    });
    let status = the_gate_stays_closed(&mut gate, "person_b_1.jpg");
    assert_eq!(status["disk"]["room"], "full");
    assert!(disk.faults() > 0);
    assert_eq!(attendance(&gate.site).len(), 1);

    disk.well();
    gate.site.status_when("a disk with room", is_well);
    gate.pass_again("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["outcome"], "passed");
    assert_one_process(&gate);
    gate.platform.assert_whole();
}

/// Breaks the disk, asserts that nothing opens, repairs it while the daemon runs, and asserts that
/// the gate works again.
fn nothing_opens_and_it_heals(break_it: impl FnOnce(&Disk)) {
    let (mut gate, disk) = start();
    assert_eq!((enroll_a(&gate.site).code, enroll_b(&gate.site).code), (0, 0));
    gate.pass_again("person_a_1.jpg");
    gate.site.status_when("all to be sent", |s| Site::outbox(s) == 0);

    break_it(&disk);
    the_gate_stays_closed(&mut gate, "person_b_1.jpg");
    let said = gate.site.gatehouse(&[
        "--json",
        "lane",
        "release",
        "north",
        "--direction",
        "entry",
        "--reason",
        "x",
    ]);
    assert_eq!((said.code, said.err.contains("cannot be recorded")), (1, true), "{said:?}");
    assert_eq!(gate.board.command("input 5 off"), [""; 0], "a coil moved");
    // Recorded entries can still be read.
    assert_eq!(attendance(&gate.site).len(), 1);

    disk.well();
    gate.site.status_when("a healthy disk", is_well);
    assert_eq!(told_until(&mut gate, "ample")[0]["state"], "failing");
    gate.pass_again("person_a_1.jpg");
    gate.platform.next_on("attendance");
    assert_eq!(attendance(&gate.site).len(), 2);
    assert_one_process(&gate);
    gate.platform.assert_whole();
}

#[test]
fn i1_a_read_only_disk_opens_nothing_and_heals() {
    nothing_opens_and_it_heals(Disk::read_only);
}

#[test]
fn i1_a_disk_with_write_errors_opens_nothing_and_heals() {
    nothing_opens_and_it_heals(Disk::failing);
}

#[test]
fn an_outcome_that_cannot_be_written_is_recorded_when_the_disk_is_healthy() {
    let (mut gate, disk) = start();
    assert_eq!(enroll_a(&gate.site).code, 0);
    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    disk.failing();
    crate::common::walk(&gate.site, &mut gate.board);
    gate.site.status_when("an outcome that is not recorded", |s| {
        s["lanes"][0]["commit_errors"].as_u64().unwrap() > 0
    });
    disk.well();
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    gate.site.status_when("a healthy disk", is_well);
    assert_one_process(&gate);
    gate.platform.assert_whole();
}

#[test]
fn i4_a_grant_whose_commit_takes_too_long_opens_nothing() {
    let (mut gate, disk) = start();
    assert_eq!((enroll_a(&gate.site).code, enroll_b(&gate.site).code), (0, 0));
    gate.site.status_when("all to be sent", |s| Site::outbox(s) == 0);
    // As slow as a worn SD card.
    disk.slow(Duration::from_millis(300));
    gate.pass_again("person_b_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["outcome"], "passed");
    gate.site.status_when("all to be sent", |s| Site::outbox(s) == 0);
    assert_eq!(gate.site.status()["lanes"][0]["void"], 0);

    // As slow as a dying card. The worker has already moved on.
    disk.slow(Duration::from_millis(4000));
    gate.camera.show(photo("person_a_1.jpg"));
    gate.site.status_when("a passage to begin", |s| s["lanes"][0]["busy"] == true);
    gate.camera.show_empty();
    let status = gate.site.status_when("a void grant", |s| s["lanes"][0]["void"] == 1);
    disk.well();
    assert!(remedy(&status, "disk").contains("commit"), "{status:#}");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("not_passed")));
    assert_eq!(gate.board.command("input 5 off"), [""; 0], "a coil moved");
    gate.platform.assert_whole();
}

#[test]
fn a_start_on_a_full_disk_lives_on_the_reserve() {
    let (mut gate, disk) = start();
    assert_eq!(enroll_a(&gate.site).code, 0);
    gate.daemon.take().unwrap().stop();
    disk.full(0);
    gate.restart(&disk.environment());
    gate.site.status_when("a full disk", room_is("full"));
    gate.pass_again("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["outcome"], "passed");
    gate.platform.assert_whole();
}

#[test]
fn a_start_on_a_bad_disk_waits_says_so_and_goes_on_when_the_disk_is_well() {
    let (mut gate, disk) = start();
    assert_eq!(enroll_a(&gate.site).code, 0);
    let ledger = gate.site.status()["ledger"]["id"].clone();
    gate.daemon.take().unwrap().stop();
    for how in ["full", "read-only", "failing", "failing to read"] {
        match how {
            "full" => {
                fs::remove_file(gate.site.path("data/reserve")).unwrap();
                disk.full(0);
            }
            "read-only" => disk.read_only(),
            "failing" => disk.failing(),
            _ => disk.failing_to_read(),
        }
        eprintln!("{how}");
        let daemon = gate.site.spawn(&disk.environment());
        // The control socket answers, and says what is wrong.
        let said = until("an answer of the waiting daemon", || {
            let said = gate.site.gatehouse(&["status"]);
            said.err.contains("waits for its disk").then_some(said)
        });
        assert_eq!(said.code, 1, "{how}: {said:?}");
        assert!(said.err.contains("no worker can pass"), "{how}: {said:?}");
        let checked = gate.site.gatehouse(&["--json", "check"]);
        assert_eq!(checked.code, 1, "{how}: {checked:?}");
        let mut lines =
            checked.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let line = lines.find(|line| line["check"] == "daemon").unwrap();
        assert_eq!(line["ok"], false, "{how}: {line}");
        assert!(line["detail"].as_str().unwrap().contains("waits for its disk"), "{how}: {line}");
        disk.well();
        until("a gate that works", || (gate.site.gatehouse(&["status"]).code == 0).then_some(()));
        let status = gate.site.status_when("a healthy disk", is_well);
        assert_eq!(status["disk"]["set_aside"], json!([]), "{how}: {}", gate.site.log());
        assert_eq!(status["ledger"]["id"], ledger, "{how}");
        daemon.stop();
    }
}

#[test]
fn a_reserve_is_made_before_events_are_recorded_and_a_missing_one_is_told() {
    let (mut gate, disk) = start();
    gate.daemon.take().unwrap().stop();
    let reserve = gate.site.path("data/reserve");
    let whole = fs::metadata(&reserve).unwrap().len();
    // With 70 MiB the reserve is made, and what is missing is told.
    fs::remove_file(&reserve).unwrap();
    disk.full(70 * MIB);
    let daemon = gate.site.start_with(&disk.environment());
    let status = gate.site.status_when("little room", room_is("low"));
    assert_eq!(fs::metadata(&reserve).unwrap().len(), whole);
    assert!(remedy(&status, "disk").contains("MiB more"), "{status:#}");
    daemon.stop();
    // With 20 MiB there is no room for it.
    fs::remove_file(&reserve).unwrap();
    disk.full(20 * MIB);
    let daemon = gate.site.start_with(&disk.environment());
    let status = gate.site.status_when("a trouble", |s| Site::degraded(s).contains(&"disk"));
    let troubles = status["degraded"].to_string();
    assert!(troubles.contains("the reserve for attendance") && troubles.contains("0 MiB of 16"));
    daemon.stop();
}

/// Returns all files of a folder, by their path in it.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Restores the content of a folder.
fn put_back(dir: &Path, contents: &BTreeMap<PathBuf, Vec<u8>>) {
    fs::remove_dir_all(dir).unwrap();
    fs::create_dir(dir).unwrap();
    for (path, bytes) in contents {
        let mut file = fs::File::options();
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = file.write(true).create_new(true).mode(0o600).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }
}

const PAGE: usize = 4096;

/// Returns the first page of a table or an index.
fn root_of(database: &Path, name: &str) -> usize {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    Connection::open(database).unwrap().query_row(sql, [name], |r| r.get(0)).unwrap()
}

/// Returns a stopped gate with two workers and a record, and the content of its data folder.
fn a_gate_with_a_past() -> (Gate, BTreeMap<PathBuf, Vec<u8>>) {
    let mut gate = Gate::start(&[]);
    assert_eq!((enroll_a(&gate.site).code, enroll_b(&gate.site).code), (0, 0));
    gate.pass_again("person_a_1.jpg");
    gate.platform.next_on("attendance");
    gate.site.status_when("all to be sent", |s| Site::outbox(s) == 0);
    gate.daemon.take().unwrap().stop();
    // All data moves into the one file. The last program that closed it may have been a reader.
    let database = Connection::open(gate.site.path("data/gatehouse.db")).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(database);
    let before = contents(&gate.site.path("data"));
    (gate, before)
}

/// The part of the data that a damage leaves readable.
struct Left {
    /// Whether the damaged ledger's id can be read.
    id: bool,
    workers: u32,
    workers_lost: u32,
    /// Number of records that lists include.
    records: usize,
}

const NOTHING: Left = Left { id: false, workers: 0, workers_lost: 0, records: 0 };
const THE_ROSTER: Left = Left { id: true, workers: 2, workers_lost: 0, records: 0 };
const ALL_BUT_PHOTOS: Left = Left { records: 1, ..THE_ROSTER };

#[test]
fn a_damaged_database_is_set_aside_whole_and_the_gate_goes_on() {
    let (mut gate, before) = a_gate_with_a_past();
    let data = gate.site.path("data");
    let database = data.join("gatehouse.db");
    let sound = before[Path::new("gatehouse.db")].clone();
    let old_ledger = gate.platform.records[0].json["ledger"].clone();
    let page = |name: &str| (root_of(&database, name) - 1) * PAGE;
    let overwritten = |from: usize, to: usize, with: u8| {
        let mut bytes = sound.clone();
        bytes[from..to].fill(with);
        bytes
    };
    let (entries, photos, seqs) = (page("entry"), page("photo"), page("sqlite_autoindex_entry_1"));
    let damages = [
        ("no SQLite header", overwritten(0, 100, 0xAA), NOTHING),
        ("no schema", overwritten(100, PAGE, 0xAA), NOTHING),
        ("all zero", vec![0; sound.len()], NOTHING),
        ("empty", Vec::new(), NOTHING),
        ("garbage", sound.iter().map(|b| b.wrapping_mul(31) ^ 0x5A).collect(), NOTHING),
        ("no entries", overwritten(entries, entries + PAGE, 0xAA), THE_ROSTER),
        ("an index of zeros", overwritten(seqs, seqs + PAGE, 0), ALL_BUT_PHOTOS),
        ("no photos", overwritten(photos, photos + PAGE, 0xAA), ALL_BUT_PHOTOS),
        ("cut short", sound[..sound.len() / 2].to_vec(), NOTHING),
    ];
    for (damage, bytes, left) in damages {
        eprintln!("the damage: {damage}");
        put_back(&data, &before);
        fs::write(&database, &bytes).unwrap();
        gate.daemon = Some(gate.site.start());

        // The damaged files are set aside unchanged, and the status names the place.
        let status = gate.site.status();
        let place = PathBuf::from(status["disk"]["set_aside"][0].as_str().unwrap());
        assert!(place.starts_with(data.join("set-aside")), "{damage}: {place:?}");
        assert_eq!(fs::read(place.join("gatehouse.db")).unwrap(), bytes, "{damage}");
        let remedy = remedy(&status, "database");
        assert!(remedy.contains(place.to_str().unwrap()), "{damage}: {remedy}");

        // The platform gets this event first in the new ledger.
        let first = gate.platform.event("successor");
        assert_eq!(first["seq"], 1, "{damage}");
        assert_eq!(first["ledger"], status["ledger"]["id"], "{damage}");
        assert_ne!(first["ledger"], old_ledger, "{damage}");
        let name = place.file_name().unwrap().to_str().unwrap();
        assert_eq!(first["set_aside"], format!("set-aside/{name}"), "{damage}");
        assert_ne!(first["detail"], "", "{damage}");
        if damage != "cut short" {
            let predecessor = if left.id { old_ledger.clone() } else { Value::Null };
            assert_eq!(first["predecessor"], predecessor, "{damage}");
            assert_eq!(first["workers"], left.workers, "{damage}");
            assert_eq!(first["workers_lost"], left.workers_lost, "{damage}");
        }
        let listed = attendance(&gate.site);
        if damage != "cut short" {
            assert_eq!(listed.len(), left.records, "{damage}");
        }

        // A worker whose data was saved can pass; a lost worker can be enrolled.
        gate.site.turnstile_connected();
        if first["workers"] != 2 {
            assert_eq!(enroll_a(&gate.site).code, 0, "{damage}");
        }
        gate.pass_again("person_a_1.jpg");
        let record = gate.platform.next_on("attendance");
        assert_eq!((&record["worker"], &record["ledger"]), (&json!("W001"), &first["ledger"]));
        // A later start is like any other.
        gate.daemon.take().unwrap().stop();
        gate.daemon = Some(gate.site.start());
        let status = gate.site.status();
        assert_eq!(status["ledger"]["id"], first["ledger"], "{damage}");
        assert_eq!(status["disk"]["set_aside"].as_array().unwrap().len(), 1, "{damage}");
        assert_eq!(attendance(&gate.site), [listed, vec![record]].concat(), "{damage}");
        gate.daemon.take().unwrap().stop();
    }
}

#[test]
fn a_garbage_write_ahead_log_costs_no_committed_data() {
    let (mut gate, before) = a_gate_with_a_past();
    assert!(!before.contains_key(Path::new("gatehouse.db-wal")));
    fs::write(gate.site.path("data/gatehouse.db-wal"), vec![0xAA; 9 * PAGE]).unwrap();
    gate.restart(&[]);
    let status = gate.site.status();
    assert_eq!(status["disk"]["set_aside"], json!([]));
    assert_eq!(attendance(&gate.site).len(), 1);
    gate.pass_again("person_a_1.jpg");
    gate.platform.next_on("attendance");
    gate.platform.assert_whole();
}

#[test]
fn a_wrong_key_or_a_foreign_database_is_refused_and_stays_in_place() {
    let (gate, before) = a_gate_with_a_past();
    let data = gate.site.path("data");
    let database = data.join("gatehouse.db");
    let alter = |sql: &str| Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    let cases: [(&str, &dyn Fn()); 4] = [
        ("the sealing key is not the one", &|| {
            let key = fs::read_to_string(data.join("key")).unwrap();
            let other = key.trim_end().chars().rev().collect::<String>() + "\n";
            assert_ne!(key, other);
            fs::write(data.join("key"), other).unwrap();
        }),
        ("the sealing key", &|| fs::remove_file(data.join("key")).unwrap()),
        ("was written by a newer gatehouse", &|| alter("PRAGMA user_version = 99")),
        ("is not a Gatehouse database", &|| {
            fs::remove_file(&database).unwrap();
            alter("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
        }),
    ];
    for (expected, change) in cases {
        put_back(&data, &before);
        change();
        let changed = contents(&data);
        gate.site.gatehouse(&["run"]).refused(expected);
        let after = contents(&data);
        assert!(!data.join("set-aside").exists(), "{expected}");
        for (path, bytes) in &changed {
            assert!(after.get(path) == Some(bytes), "{expected}: {path:?} has changed");
        }
    }
}
