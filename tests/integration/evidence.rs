//! Evidence from outside: packages, heads and the audit, with the real daemon and broker. A verifier
//! in another language, written from the documentation alone, agrees with ours.

use std::{path::Path, process::Command};

use crate::common::{
    Gate, Said, Site,
    past::{Went, person, went, write},
    slave::python,
};
use gatehouse::{
    config::Direction::{Entry, Exit},
    ledger::{Outcome, tree::is_consistent},
};
use rusqlite::Connection;
use serde_json::Value;

/// Returns a site with the attendance of two workers on two days, before its first start.
fn site() -> Site {
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

fn export(site: &Site, more: &[&str]) -> std::path::PathBuf {
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
fn by_others(package: &std::path::Path, more: &[&str]) -> (i32, Value) {
    let python = std::env::var_os("GATEHOUSE_TEST_PYTHON").expect("run tests/run");
    let verifier = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/evidence.py");
    let output = Command::new(python).arg(verifier).arg(package).args(more).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), json)
}

fn verify(site: &Site, package: &std::path::Path, more: &[&str]) -> Said {
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
