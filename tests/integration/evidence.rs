//! Evidence from outside: packages, heads and the audit, with the real daemon and broker. A verifier
//! in another language, written from the documentation alone, agrees with ours.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::common::{
    Gate, Said, Site,
    past::{Went, journal, person, went, write},
    slave::python,
    wall::WallClock,
};
use gatehouse::{
    clock::{BootId, Stamp},
    config::Direction::{Entry, Exit},
    ledger::{Alarm, AlarmWhat, Detail, Heartbeat, Outcome, tree::is_consistent},
};
use rusqlite::Connection;
use serde_json::Value;

/// Returns a site with the attendance of two workers on two days, before its first start.
pub(super) fn site() -> Site {
    let site = Site::without_lanes();
    let people = [person("W001", "刘峰", "t"), person("W002", "王芳", "t")];
    let days = ["2026-10-12", "2026-10-13"];
    let passages = days.iter().flat_map(|day| {
        people.iter().flat_map(move |person| {
            [(Entry, "07:30"), (Exit, "17:30")]
                .map(|(direction, at)| went(person, direction, &format!("{day}T{at}:00+08:00")))
        })
    });
    write(&site, &people, passages);
    site
}

pub(super) fn export(site: &Site, more: &[&str]) -> std::path::PathBuf {
    let out = site.path("W001.cbor");
    let days = ["--from", "2026-10-01", "--to", "2026-10-31"];
    let mut arguments = vec!["evidence", "export", "--worker", "W001", "--force"];
    arguments.extend(days);
    arguments.extend(["--out", out.to_str().unwrap()]);
    arguments.extend(more);
    let said = site.gatehouse(&arguments);
    assert_eq!(said.code, 0, "{said:?}");
    out
}

/// Returns what the verifier in Python says: its exit code, and its output as JSON.
pub(crate) fn by_others(package: &std::path::Path, more: &[&str]) -> (i32, Value) {
    let python = std::env::var_os("GATEHOUSE_TEST_PYTHON").expect("run tests/run");
    let verifier = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/evidence.py");
    let output = Command::new(python).arg(verifier).arg(package).args(more).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), json)
}

pub(super) fn verify(site: &Site, package: &std::path::Path, more: &[&str]) -> Said {
    let mut arguments = vec!["--json", "evidence", "verify", package.to_str().unwrap()];
    arguments.extend(more);
    site.gatehouse(&arguments)
}

#[test]
fn a_package_is_verified_here_and_by_another_implementation() {
    let mut site = site();
    site.broker.start();
    let daemon = site.start();
    let head = site.path("october.head");
    let said = site.gatehouse(&["--json", "evidence", "head", "--out", head.to_str().unwrap()]);
    let shown = said.json_lines().remove(0);
    let fingerprint = shown["fingerprint"].as_str().unwrap().to_owned();
    let head = head.to_str().unwrap();
    let package = export(&site, &["--head", head]);
    daemon.stop();

    let known = ["--fingerprint", &fingerprint, "--head", head];
    let report = verify(&site, &package, &known).json_lines().remove(0);
    assert_eq!(report["attendance"].as_array().unwrap().len(), 4);
    assert_eq!(report["anchor"]["fingerprint"], true);
    assert_eq!(report["anchor"]["earlier_head"], true);
    let (code, theirs) = by_others(&package, &known);
    assert_eq!((code, &theirs["ok"]), (0, &Value::Bool(true)), "{theirs}");
    for field in ["worker", "ledger", "tree_size", "root", "entries", "fingerprint"] {
        assert_eq!(theirs[field], report[field], "{field}: {theirs}");
    }
    let unanchored = site.gatehouse(&["evidence", "verify", package.to_str().unwrap()]);
    assert!(unanchored.out.contains("unanchored"), "{unanchored:?}");

    // A damaged package is refused by both.
    let good = std::fs::read(&package).unwrap();
    let damaged = site.path("damaged.cbor");
    for (n, step) in (0..good.len()).step_by(97).enumerate() {
        let mut bytes = good.clone();
        if n % 3 == 0 {
            bytes.truncate(step);
        } else {
            bytes[step] ^= 1 << (n % 8);
        }
        std::fs::write(&damaged, bytes).unwrap();
        let ours = verify(&site, &damaged, &known);
        let (code, theirs) = by_others(&damaged, &known);
        assert_eq!((ours.code, code), (1, 1), "byte {step}: {ours:?}, {theirs}");
    }
}

#[test]
fn each_head_on_the_broker_is_consistent_with_the_one_before() {
    let mut gate = Gate::at(Site::prepare(), &[]);
    let first = gate.platform.next_on("head");
    assert_eq!(first["from"], Value::Null);
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start());
    let second = gate.platform.next_on("head");
    let hash = |value: &Value| -> [u8; 32] {
        hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
    };
    let size = |head: &Value| head["tree_size"].as_u64().unwrap();
    assert_eq!(second["from"], first["tree_size"]);
    assert_eq!(second["key"], first["key"], "the key stays");
    assert!(size(&second) > size(&first));
    let path: Vec<_> = second["consistency"].as_array().unwrap().iter().map(hash).collect();
    let (old, new) = (hash(&first["root"]), hash(&second["root"]));
    assert!(is_consistent((size(&first), &old), (size(&second), &new), &path));
    let cose = hex::decode(second["head"].as_str().unwrap()).unwrap();
    let key = gatehouse::store::PublicKey(hash(&second["key"]));
    let head = gatehouse::ledger::Head::verify(&cose, &key).unwrap();
    assert_eq!((head.size, head.root), (size(&second), new));
}

#[test]
fn an_owner_who_alters_the_database_is_found_by_the_audit() {
    for (fault, sql) in [
        // The record of a day leaves the sheet.
        ("columns", "UPDATE entry SET at_ms = at_ms - 2592000000 WHERE idx = 4"),
        ("missing", "DELETE FROM entry WHERE idx IN (6, 7)"),
        ("bytes", "UPDATE entry SET bytes = substr(bytes, 1, 40) WHERE idx = 4"),
        // The last grant and its outcome, and all after them.
        ("", "DELETE FROM entry WHERE idx >= (SELECT max(idx) - 1 FROM entry)"),
    ] {
        let mut site = site();
        site.broker.start();
        let daemon = site.start();
        let head = site.gatehouse(&["evidence", "head"]);
        assert_eq!(head.code, 0, "{head:?}");
        let sound = site.gatehouse(&["evidence", "audit"]);
        assert_eq!(sound.code, 0, "{sound:?}");
        let database = Connection::open(site.path("data/gatehouse.db")).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        database.execute_batch(sql).unwrap();
        let found = site.gatehouse(&["--json", "evidence", "audit"]);
        assert_eq!(found.code, 1, "{sql}: {found:?}");
        let report: Value = serde_json::from_str(&found.out).unwrap();
        if fault.is_empty() {
            assert_ne!(report["other_roots"], serde_json::json!([]), "{sql}: {report}");
        } else {
            assert_eq!(report["findings"][0]["fault"], fault, "{sql}: {report}");
        }
        daemon.stop();
    }
}

/// A name, the alteration, the first entry that an audit names, the number of records that October
/// still lists, and whether the list says that an entry cannot be read.
type Tampering = (&'static str, fn(&Connection), Option<(u64, &'static str)>, usize, bool);

/// The ways in which an owner with a database tool was seen to alter a ledger.
fn tamperings() -> [Tampering; 4] {
    fn run(database: &Connection, sql: &str) {
        database.execute_batch(sql).unwrap();
    }
    [
        (
            "columns changed, bytes untouched",
            |database| {
                run(
                    database,
                    "UPDATE entry SET at_ms = at_ms - 7776000000, worker = 'W002' WHERE idx = 2",
                )
            },
            Some((2, "columns")),
            8,
            false,
        ),
        (
            "the kind and the cause of an outcome changed",
            |database| run(database, "UPDATE entry SET kind = 'mode', cause = NULL WHERE idx = 3"),
            Some((3, "columns")),
            8,
            false,
        ),
        (
            "a grant rewritten three hours earlier, with a fresh leaf",
            |database| {
                let bytes: Vec<u8> = database
                    .query_row("SELECT bytes FROM entry WHERE idx = 2", [], |row| row.get(0))
                    .unwrap();
                let mut grant = gatehouse::ledger::Entry::decode(&bytes).unwrap();
                grant.stamp.wall_ms -= 3 * 3600 * 1000;
                let (bytes, at) = (grant.encode().unwrap(), grant.stamp.wall_ms);
                let leaf = gatehouse::ledger::leaf_hash(&bytes);
                let sql = "UPDATE entry SET bytes = ?1, leaf = ?2, at_ms = ?3 WHERE idx = 2";
                database.execute(sql, rusqlite::params![bytes, leaf, at]).unwrap();
            },
            Some((3, "cause")),
            7,
            true,
        ),
        (
            "the last grant and outcome removed, and all after them",
            |database| run(database, "DELETE FROM entry WHERE idx >= 14"),
            None,
            7,
            false,
        ),
    ]
}

fn tampered(site: &Site, alter: fn(&Connection)) {
    let database = Connection::open(site.path("data/gatehouse.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    alter(&database);
}

#[test]
fn a_tampered_ledger_is_noticed_and_no_record_vanishes_from_a_list_unsaid() {
    for (what, alter, first, records, unread) in tamperings() {
        for running in [true, false] {
            // A start sets a database aside that ends before what was sent.
            if first.is_none() && !running {
                continue;
            }
            eprintln!("{what}, running: {running}");
            let mut site = site();
            site.broker.start();
            let mut platform = site.broker.subscriber();
            let mut daemon = site.start();
            platform.next_on("head");
            // Lists have read the rows once already.
            let listed = |more: &[&str]| {
                let october = ["--json", "attendance", "list", "--from", "2026-10-01"];
                site.gatehouse(&[&october[..], &["--to", "2026-10-31"], more].concat())
            };
            assert_eq!(listed(&[]).json_lines().len(), 8);
            if running {
                tampered(&site, alter);
            } else {
                daemon.stop();
                tampered(&site, alter);
                daemon = site.start();
            }
            // The lists know it before the audit at leisure comes by.
            let said = listed(&[]);
            assert_eq!(said.json_lines().len(), records, "{what}: {said:?}");
            assert_eq!(said.err.contains("cannot be read"), unread, "{what}: {said:?}");
            let of_worker = listed(&["--worker", "W001"]).json_lines();
            let theirs = if first.is_some() && !unread { 4 } else { 3 };
            assert_eq!(of_worker.len(), if first.is_none() { 4 } else { theirs }, "{what}");
            // Status and platform say it, and the audit names the first bad entry.
            site.status_when("the ledger to be named", |s| Site::degraded(s).contains(&"ledger"));
            // After its end was removed, a ledger gives the seqs of the removed entries again, which
            // the link has sent already.
            if first.is_some() {
                let alarm = platform.event("alarm");
                let expected = (&Value::from("ledger"), &Value::from(true));
                assert_eq!((&alarm["what"], &alarm["raised"]), expected, "{what}: {alarm}");
            }
            let audit = site.gatehouse(&["--json", "evidence", "audit"]);
            assert_eq!(audit.code, 1, "{what}: {audit:?}");
            let report: Value = serde_json::from_str(&audit.out).unwrap();
            match first {
                Some((index, fault)) => {
                    let found = &report["findings"][0];
                    assert_eq!((&found["index"], &found["fault"]), (&index.into(), &fault.into()));
                }
                None => assert_ne!(report["other_roots"], serde_json::json!([]), "{report}"),
            }
            // Recording goes on, and nothing was repaired.
            let seq = of_worker[0]["seq"].to_string();
            let dispute = ["attendance", "dispute", &seq, "--reason", "x"];
            assert_eq!(site.gatehouse(&dispute).code, 0, "{what}");
            assert_eq!(site.gatehouse(&["evidence", "audit"]).code, 1, "{what}");
            daemon.stop();
        }
    }
}

#[test]
fn the_sheet_of_a_tampered_ledger_has_the_hidden_day_and_names_what_cannot_be_read() {
    let mut site = site();
    site.broker.start();
    let daemon = site.start();
    let sheet = || {
        let said = site.gatehouse(&["--json", "timesheet", "--month", "2026-10"]);
        said.json_lines().remove(0)
    };
    let sound = sheet();
    assert_eq!(sound["total"]["minutes"], 4 * 600);
    let [(_, columns, ..), _, (_, rewritten, ..), _] = tamperings();
    tampered(&site, columns);
    let altered = sheet();
    assert_eq!((&altered["rows"], &altered["total"]), (&sound["rows"], &sound["total"]));
    tampered(&site, rewritten);
    let altered = sheet();
    let notes = altered["notes"].to_string();
    assert!(notes.contains("cannot be read or was altered") && notes.contains("(3)"), "{notes}");
    assert_eq!(altered["total"]["minutes"], 3 * 600);
    daemon.stop();
}

#[test]
fn an_altered_ledger_is_reported_at_the_next_start_and_recording_goes_on() {
    for sql in [
        "DELETE FROM entry WHERE idx IN (6, 7)",
        "UPDATE entry SET at_ms = at_ms - 2592000000 WHERE idx = 4",
    ] {
        let mut site = site();
        site.broker.start();
        let mut platform = site.broker.subscriber();
        let daemon = site.start();
        platform.next_on("head");
        daemon.stop();
        let database = Connection::open(site.path("data/gatehouse.db")).unwrap();
        database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        database.execute_batch(sql).unwrap();
        drop(database);
        let daemon = site.start();
        site.status_when("the ledger to be named", |s| Site::degraded(s).contains(&"ledger"));
        let alarm = platform.event("alarm");
        assert_eq!((&alarm["what"], &alarm["raised"]), (&"ledger".into(), &true.into()), "{alarm}");
        assert_eq!(site.gatehouse(&["evidence", "audit"]).code, 1, "{sql}");
        let size = |s: &Value| s["ledger"]["size"].as_u64().unwrap();
        let before = size(&site.status());
        site.status_when("the alarm to be recorded", |s| size(s) >= before);
        daemon.stop();
    }
}

/// Returns a site at which a worker has a whole month: two stretches on each day, a night shift, and
/// days with a mark.
fn month() -> Site {
    let site = Site::without_lanes();
    let liu = person("W001", "刘峰", "钢筋一班");
    let mut passages = Vec::new();
    for day in 1..=31 {
        let times = [(Entry, "07:28"), (Exit, "11:32"), (Entry, "12:57"), (Exit, "17:31")];
        for (n, (direction, at)) in times.into_iter().enumerate() {
            let went = went(&liu, direction, &format!("2026-10-{day:02}T{at}:00+08:00"));
            match (day, n) {
                (7, 3) => {}
                (9, 0) => passages.push(Went { outcome: Outcome::Unconfirmed, ..went }),
                _ => passages.push(went),
            }
        }
    }
    passages.push(went(&liu, Entry, "2026-10-20T20:02:00+08:00"));
    passages.push(went(&liu, Exit, "2026-10-21T05:30:00+08:00"));
    passages.sort_by_key(|went| went.at_ms);
    write(&site, &[liu], passages.into_iter());
    site
}

/// Renders a page in Chromium, as a PDF and as a picture of an A4 page at 192 pixels an inch.
fn rendered(page: &Path) -> (Vec<u8>, std::path::PathBuf) {
    let (pdf, png) = (page.with_extension("pdf"), page.with_extension("png"));
    let printed = format!("--print-to-pdf={}", pdf.display());
    let taken = format!("--screenshot={}", png.display());
    let size = ["--window-size=794,1123", "--force-device-scale-factor=2"];
    for what in [vec!["--no-pdf-header-footer", &printed], vec![&taken, size[0], size[1]]] {
        let output = Command::new("chromium-headless-shell")
            .args(["--no-sandbox", "--disable-gpu"])
            .args(what)
            .arg(format!("file://{}", page.display()))
            .output()
            .expect("run tests/run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    (std::fs::read(&pdf).unwrap(), png)
}

#[test]
fn the_sheet_of_a_month_is_one_page_and_its_code_names_the_file() {
    let mut site = month();
    site.broker.start();
    let daemon = site.start();
    let by = ["--at", "2026-10-07 17:31", "--direction", "exit", "--reason", "闸机停电"];
    let added =
        site.gatehouse(&[&["attendance", "supplement", "--worker", "W001"], &by[..]].concat());
    assert_eq!(added.code, 0, "{added:?}");
    let disputed = site.gatehouse(&["attendance", "dispute", "40", "--reason", "<i>brother</i>"]);
    assert_eq!(disputed.code, 0, "{disputed:?}");
    let package = export(&site, &[]);
    let report = verify(&site, &package, &[]).json_lines().remove(0);
    let again = ["evidence", "export", "--worker", "W001", "--from", "2026-10-01", "--to"];
    let out = package.to_str().unwrap();
    site.gatehouse(&[&again[..], &["2026-10-31", "--out", out]].concat()).refused("already exists");
    let page = package.with_extension("html");
    site.gatehouse(&[&again[..], &["2026-10-31", "--out", page.to_str().unwrap()]].concat())
        .refused("is for the sheet");
    daemon.stop();

    let html = std::fs::read_to_string(&page).unwrap();
    for field in ["sha256", "fingerprint", "root", "ledger", "name"] {
        assert!(html.contains(report[field].as_str().unwrap()), "{field}");
    }
    for part in
        ["刘峰", "钢筋一班", "2026-10-31", "补记", "闸机停电", "异议", "20:02–05:30+1", "夜"]
    {
        assert!(html.contains(part), "{part}");
    }
    // Nothing is loaded from elsewhere. The only address names the drawing's language.
    let addresses = html.matches("http").count();
    assert_eq!((addresses, html.matches("http://www.w3.org/2000/svg").count()), (1, 1));
    assert!(!html.contains("<script") && !html.contains("<i>"), "{html}");

    let (pdf, png) = rendered(&page);
    if let Some(to) = std::env::var_os("GATEHOUSE_KEEP_SHEET") {
        for kept in [&page, &page.with_extension("pdf"), &png] {
            std::fs::copy(kept, Path::new(&to).join(kept.file_name().unwrap())).unwrap();
        }
    }
    let pages = pdf.windows(12).filter(|part| part.starts_with(b"/Type /Page\n")).count();
    assert_eq!(pages, 1, "a month fits on one page");
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/qr_reader.py");
    let output = Command::new(python()).arg(reader).arg(&png).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = String::from_utf8(output.stdout).unwrap().to_lowercase();
    let words: Vec<&str> = read.split_whitespace().collect();
    let expected = ["sha256", "signature"].map(|field| report[field].as_str().unwrap());
    assert_eq!(words, ["gatehouse-evidence", "1", expected[0], expected[1]]);
}

#[test]
fn the_bench_of_a_ledger_makes_and_verifies_its_proofs() {
    let site = Site::without_lanes();
    let small = ["--entries", "4000", "--runs", "1", "--passages", "120"];
    let dir = site.path(".");
    let bench = ["--json", "bench", "ledger", "--dir", dir.to_str().unwrap()];
    let said = site.gatehouse(&[&bench[..], &small].concat());
    let report = said.json_lines().remove(0);
    assert_eq!(report["entries"], 4000, "{report}");
    let [month, all] = [0, 1].map(|n| report["packages"][n]["records"].as_u64().unwrap());
    // One worker, four passages a day.
    assert_eq!((month, all), (30 * 4, 2000), "{report}");
    assert!(
        report["ratio"].as_f64().unwrap() > 0.0 && report["tree_bytes"].as_u64().unwrap() < 4096
    );
}

#[test]
fn no_record_is_told_from_a_gate_that_was_down_or_blind() {
    let mut site = site();
    site.broker.start();
    // The power goes in the evening of the second day, and comes back today.
    let at = |time: &str| Stamp {
        wall_ms: format!("2026-10-13T{time}:00+08:00")
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_millisecond(),
        synced: true,
        boot: BootId([9; 16]),
        uptime_ms: 1_000_000,
    };
    let camera = |raised| {
        let (what, subject) = (AlarmWhat::Camera, "north/entry".to_owned());
        let code = if raised { "camera_silent" } else { "over" };
        Alarm { what, subject, raised, detail: Detail::new(code) }.into()
    };
    let life = Heartbeat { lanes: 1, working: 1 }.into();
    let entries =
        vec![(at("09:00"), camera(true)), (at("09:20"), camera(false)), (at("18:00"), life)];
    journal(&site, entries);
    let clock = WallClock::new(&site.path(""));
    clock.synchronised(true);
    let mut platform = site.broker.subscriber();
    let daemon = site.start_with(&clock.environment());
    let gap = platform.event("gap");
    assert_eq!(
        (&gap["why"], &gap["last_at"]),
        (&"power_cut".into(), &"2026-10-13T18:00:00.000+08:00".into())
    );
    assert!(gap["lasted_ms"].as_u64().unwrap() > 24 * 3600 * 1000, "{gap}");

    let health = |from: &str, to: &str| {
        let said = site.gatehouse(&["--json", "evidence", "health", "--from", from, "--to", to]);
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str::<Value>(&said.out).unwrap()
    };
    let down = health("2026-10-01", "2026-10-31");
    let lost: Vec<_> = down.as_array().unwrap().iter().map(|o| (&o["what"], &o["why"])).collect();
    let words = |what: &str, why: &str| (Value::from(what), Value::from(why));
    let expected = [words("camera", "camera_silent"), words("gate", "power_cut")];
    assert_eq!(lost, expected.each_ref().map(|(what, why)| (what, why)));
    assert_eq!((&down[0]["lasted_s"], &down[0]["certain"]), (&1200.into(), &true.into()));
    assert_eq!(down[1]["from"], "2026-10-13T18:00:00.000+08:00");
    assert_eq!(health("2026-10-01", "2026-10-12"), Value::Array(Vec::new()));
    let said =
        site.gatehouse(&["evidence", "health", "--from", "2026-10-14", "--to", "2026-10-14"]);
    assert!(said.out.contains("power_cut") && !said.out.contains("camera"), "{said:?}");

    // A worker's package says so, too, and holds no other worker's entries.
    let package = export(&site, &[]);
    daemon.stop();
    let report = verify(&site, &package, &[]).json_lines().remove(0);
    assert_eq!(report["outages"], down);
    assert_eq!(report["attendance"].as_array().unwrap().len(), 4);
    let (code, theirs) = by_others(&package, &[]);
    assert_eq!((code, &theirs["entries"]), (0, &report["entries"]), "{theirs}");
    let ms =
        |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let ours: Vec<_> = down
        .as_array()
        .unwrap()
        .iter()
        .map(|o| {
            serde_json::json!([
                o["what"],
                o["subject"],
                o["why"],
                ms(&o["from"]),
                ms(&o["until"]),
                o["certain"]
            ])
        })
        .collect();
    assert_eq!(theirs["outages"], Value::Array(ours));
    let said = site.gatehouse(&["evidence", "verify", package.to_str().unwrap()]);
    assert!(said.out.contains("not recorded") && said.out.contains("power_cut"), "{said:?}");
    // The orderly end is the ledger's last entry.
    let database = Connection::open(site.path("data/gatehouse.db")).unwrap();
    let last = "SELECT kind FROM entry ORDER BY idx DESC LIMIT 1";
    assert_eq!(database.query_row(last, [], |row| row.get::<_, String>(0)).unwrap(), "shutdown");
}

fn key_shown(site: &Site) -> Value {
    let said = site.gatehouse(&["--json", "key", "show"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.json_lines().remove(0)
}

#[test]
fn what_was_noted_of_an_old_key_stays_good_after_its_rotation() {
    let mut site = site();
    site.broker.start();
    let mut platform = site.broker.subscriber();
    site.gatehouse(&["key", "rotate-signing"])
        .refused("the ledger has not recorded this signing key");
    let daemon = site.start();
    let head = site.path("old.head");
    let said = site.gatehouse(&["evidence", "head", "--out", head.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    let old = key_shown(&site);
    site.gatehouse(&["key", "rotate-signing"]).refused("is used by another gatehouse process");
    daemon.stop();
    for _ in 0..2 {
        let said = site.gatehouse(&["key", "rotate-signing"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let daemon = site.start();
    let new = key_shown(&site);
    assert_ne!(new["fingerprint"], old["fingerprint"]);
    assert_eq!(new["earlier"].as_array().unwrap().len(), 2);
    assert_eq!(new["earlier"][0], old["fingerprint"]);
    platform.event("signing_key");
    let change = platform.event("signing_key");
    assert_eq!(change["predecessor"], old["key"]);
    assert_eq!(change["endorsement"].as_str().unwrap().len(), 128);
    assert!(!Site::degraded(&site.status()).contains(&"ledger"));
    let package = export(&site, &["--head", head.to_str().unwrap()]);
    daemon.stop();
    let known =
        ["--fingerprint", old["fingerprint"].as_str().unwrap(), "--head", head.to_str().unwrap()];
    let report = verify(&site, &package, &known).json_lines().remove(0);
    assert_eq!(report["anchor"], serde_json::json!({"fingerprint": true, "earlier_head": true}));
    assert_eq!(report["earlier_keys"], new["earlier"]);
    let (code, theirs) = by_others(&package, &known);
    assert_eq!((code, &theirs["anchored"]), (0, &report["anchor"]), "{theirs}");

    // A package whose endorsement is another one is refused by both.
    let mut bytes = std::fs::read(&package).unwrap();
    let name = b"endorsement";
    let place = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[place + name.len() + 2] ^= 1;
    std::fs::write(&package, bytes).unwrap();
    let refused = verify(&site, &package, &known);
    assert!(refused.err.contains("have not endorsed each other"), "{refused:?}");
    let (code, theirs) = by_others(&package, &known);
    assert_eq!((code, &theirs["step"]), (1, &2.into()), "{theirs}");
}

#[test]
fn a_signing_key_that_was_swapped_by_hand_stays_a_trouble_until_it_is_settled() {
    let mut site = site();
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let daemon = site.start();
    let old = key_shown(&site);
    daemon.stop();
    let file = site.path("data/signing.key");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        let daemon = site.start();
        let status = site.status();
        let degraded = status["degraded"].as_array().unwrap();
        let ledger = degraded.iter().find(|part| part["what"] == "ledger").expect("a trouble");
        let remedy = ledger["remedy"].as_str().unwrap();
        assert!(remedy.contains(old["fingerprint"].as_str().unwrap()), "{remedy}");
        assert_eq!(key_shown(&site)["replaced"], old["fingerprint"]);
        daemon.stop();
    }
    platform.event("signing_key");
    let swapped = platform.event("signing_key");
    assert_eq!((&swapped["predecessor"], &swapped["endorsement"]), (&old["key"], &Value::Null));
    assert_eq!(platform.event("alarm")["code"], "signing_key_replaced");

    // The old key comes back, in a credential.
    let credentials = site.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let from = credentials.join("sign");
    std::fs::write(&from, kept).unwrap();
    std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o600)).unwrap();
    site.configure(|c| c.set("storage", "signing_key", "credential:sign"));
    let environment = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    let daemon = site.start_with(&environment);
    assert_eq!(key_shown(&site)["key"], old["key"]);
    assert_eq!(key_shown(&site)["replaced"], Value::Null);
    assert!(!Site::degraded(&site.status()).contains(&"ledger"));
    daemon.stop();
    let to = site.path("next");
    let rotate =
        ["key", "rotate-signing", "--to", to.to_str().unwrap(), "--from", from.to_str().unwrap()];
    let said = site.gatehouse(&rotate);
    assert!(said.out.contains("in the credential's place"), "{said:?}");
    std::fs::rename(&to, &from).unwrap();
    let daemon = site.start_with(&environment);
    assert_eq!(key_shown(&site)["earlier"], serde_json::json!([old["fingerprint"]]));
    assert_eq!(key_shown(&site)["replaced"], Value::Null);
    daemon.stop();
}
