//! Tests `worker import` on the real daemon: a generated roster of 300 workers, with photos of real
//! faces.
//!
//! The photos show 40 persons, ten photos each (AT&T Laboratories Cambridge). They come from a
//! Python package that `tests/run` fetches. The roster turns 40 persons into 300 workers, which the
//! usual threshold would refuse as duplicates. A higher threshold treats any two of the photos as
//! two persons.

pub mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use crate::common::{Daemon, Said, Site, camera};
use plan::{CHINESE, ENGLISH, Plan, faces, photo};
use serde_json::Value;
use zip::{ZipWriter, write::SimpleFileOptions};

/// A threshold above the score of any two of the photos.
const THRESHOLD: f64 = 0.99;

fn site() -> (Site, Daemon) {
    let site = Site::prepare();
    site.configure(|c| c.set("recognition", "threshold", THRESHOLD));
    // Neither devices nor a broker exist. On a slow machine the alarms about that must not change
    // the ledger's size.
    site.configure(|c| c.set("alarms", "device_down_s", 3600).set("alarms", "link_down_s", 3600));
    fs::create_dir(site.path("photos")).unwrap();
    let daemon = site.start();
    (site, daemon)
}

/// Returns the arguments of `worker import` for a file of the site, with photos and a report.
fn arguments(site: &Site, roster: &str, more: &[&str]) -> Vec<String> {
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let mut all = vec!["worker".to_owned(), "import".to_owned(), path(roster)];
    all.extend(["--photos".to_owned(), path("photos")]);
    all.extend(["--report".to_owned(), path("report.csv")]);
    all.extend(more.iter().map(|s| (*s).to_owned()));
    all
}

fn import(site: &Site, roster: &str, more: &[&str]) -> Said {
    let said = site.gatehouse(&arguments(site, roster, more));
    for text in [&said.out, &said.err] {
        assert!(!text.contains("5222011960"), "an ID number is shown: {said:?}");
    }
    said
}

/// Returns the workers and the ledger's size, which change with the roster.
fn state(site: &Site) -> (Vec<Value>, Value) {
    let workers = site.gatehouse(&["--json", "worker", "list"]).json_lines();
    (workers, site.status()["ledger"]["size"].clone())
}

/// Returns the last line of a result.
fn summary(said: &Said) -> &str {
    said.out.lines().last().unwrap()
}

#[test]
fn three_hundred_workers_are_enrolled_and_every_bad_row_is_refused_with_its_reason() {
    let (site, _daemon) = site();
    let mut plan = Plan::good(300);
    plan.add_bad();
    plan.write_photos(&site.path("photos"));
    fs::write(site.path("roster.csv"), format!("\u{feff}{}", plan.csv(&CHINESE, b','))).unwrap();
    let said = import(&site, "roster.csv", &[]);
    println!("{}", summary(&said));
    plan.assert_held(&site.path("report.csv"), &CHINESE, None);
    let (good, all) = (plan.good_rows(), plan.rows.len());
    assert_eq!((said.code, good), (1, 303), "{said:?}");
    let counts =
        format!("{all} rows: {good} enrolled, 0 updated, 0 unchanged, {} refused", all - good);
    assert!(summary(&said).starts_with(&counts), "{said:?}");
    assert!(summary(&said).contains("1 without a photo"), "{said:?}");
    // The table lists every refused row, and no correct row of the 300 without a hint: the pictures are
    // made of few people, so some are like another one's.
    let hint = |line: &&str| line.contains("similar to that of worker");
    let listed = said.out.lines().filter(|line| !hint(line)).count();
    assert_eq!(listed, 1 + (all - good) + 1 + 1, "{said:?}");
    assert!(said.err.contains("columns that are not imported: 备注"), "{said:?}");
    assert!(said.err.contains("photo not used: stranger.jpg"), "{said:?}");
    // A refusal is in the table and not repeated on stderr.
    assert!(said.out.contains("does not fit its check digit"), "{said:?}");
    assert!(!said.err.contains("refused"), "{said:?}");
    assert!(said.err.lines().filter(|line| line.contains("photos/s")).count() >= 9, "{said:?}");
    let (workers, size) = state(&site);
    assert_eq!(workers.len(), good);
    assert_eq!(workers[7]["name"], "刘㐂峰7");
    assert_eq!(workers[7]["valid_until"], "2030-12-31");

    let again = import(&site, "roster.csv", &[]);
    plan.assert_held(&site.path("report.csv"), &CHINESE, Some("unchanged"));
    let counts = format!("{all} rows: 0 enrolled, 0 updated, {good} unchanged");
    assert!(summary(&again).starts_with(&counts), "{again:?}");
    assert_eq!(state(&site), (workers, size));
    assert!(!site.log().contains("5222011960") && !site.log().contains("1380000"), "the log");
}

#[test]
fn every_format_imports_the_same_workers_a_dry_run_none_and_an_update_the_changes() {
    let (site, _daemon) = site();
    let mut plan = Plan::good(12);
    plan.add_bad();
    plan.write_photos(&site.path("photos"));
    plan.workbook(&site.path("roster.xlsx"));
    let gb = encoding_rs::GB18030.encode(&plan.csv(&CHINESE, b'\t')).0.into_owned();
    fs::write(site.path("gb.csv"), gb).unwrap();
    fs::write(site.path("english.csv"), plan.csv(&ENGLISH, b';')).unwrap();

    let before = state(&site);
    let said = import(&site, "roster.xlsx", &["--dry-run"]);
    plan.assert_held(&site.path("report.csv"), &CHINESE, None);
    assert!(summary(&said).starts_with("dry run, nothing is changed: "), "{said:?}");
    assert_eq!(state(&site), before);

    // With --json there is one line for each row, and no other line.
    let said = import(&site, "gb.csv", &["--json"]);
    plan.assert_held(&site.path("report.csv"), &CHINESE, None);
    let lines: Vec<Value> = said.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((said.code, lines.len()), (1, plan.rows.len()));
    assert_eq!(lines[0]["result"], "enrolled");
    assert_eq!((&lines[0]["row"], &lines[0]["templates"]), (&2.into(), &1.into()));
    let keys: BTreeSet<&str> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["row", "id", "name", "result", "reason", "templates"]));
    let enrolled = state(&site);
    assert_eq!(enrolled.0.len(), plan.good_rows());
    for (roster, headings) in [("roster.xlsx", CHINESE), ("english.csv", ENGLISH)] {
        import(&site, roster, &[]);
        plan.assert_held(&site.path("report.csv"), &headings, Some("unchanged"));
    }
    assert_eq!(state(&site), enrolled);

    // Three changes: another trade, another phone number, another photo.
    let mut next = Plan { rows: plan.rows[..12].to_vec(), photos: BTreeMap::new() };
    next.rows[2].cells[7] = "木工".into();
    next.rows[5].cells[8] = "+86 139 1111 2222".into();
    let replaced = plan.photos.keys().find(|name| name.starts_with("W000")).unwrap();
    // The photo shows the same face in another light. At this threshold another photo of the same
    // person would be refused.
    let same = image::load_from_memory(&photo(&[faces().next().unwrap()])).unwrap().to_rgb8();
    let brighter = camera::jpeg(&image::imageops::brighten(&same, 25));
    next.photos.insert(replaced.clone(), brighter);
    next.write_photos(&site.path("photos"));
    fs::write(site.path("next.csv"), next.csv(&CHINESE, b',')).unwrap();
    let said = import(&site, "next.csv", &[]);
    assert!(summary(&said).starts_with("12 rows: 0 enrolled, 0 updated, 10 unchanged, 2 refused"));
    assert!(said.out.contains("--update brings them up to date"), "{said:?}");
    assert_eq!(state(&site), enrolled);
    let result = |said: &Said| -> Vec<String> {
        let word = |l: &str| {
            serde_json::from_str::<Value>(l).unwrap()["result"].as_str().unwrap().to_owned()
        };
        said.out.lines().map(word).collect()
    };
    let mut expected = ["unchanged"; 12];
    for dry in [&["--dry-run", "--update", "--json"][..], &["--update", "--json"]] {
        let said = import(&site, "next.csv", dry);
        (expected[0], expected[2], expected[5]) = ("updated", "updated", "updated");
        assert_eq!(
            (said.code, result(&said)),
            (0, expected.iter().map(|w| (*w).to_owned()).collect())
        );
        let unchanged = state(&site) == enrolled;
        assert_eq!(unchanged, dry.contains(&"--dry-run"));
    }
    assert_eq!(state(&site).1, enrolled.1.as_u64().unwrap() + 3);
    assert_eq!(state(&site).0[2]["trade"], "木工");
    let said = import(&site, "next.csv", &["--update"]);
    assert!(summary(&said).starts_with("12 rows: 0 enrolled, 0 updated, 12 unchanged"), "{said:?}");
}

/// Runs an import as a process, and calls `then` in the middle of it.
fn half_way(site: &Site, then: impl FnOnce(&Child)) -> Said {
    let mut child = Command::new(crate::common::program())
        .args(arguments(site, "roster.csv", &[]))
        .env("GATEHOUSE_CONFIG", site.path("gatehouse.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut err = String::new();
    while !err.contains(" rows, ") {
        assert_ne!(lines.read_line(&mut err).unwrap(), 0, "{err}");
    }
    then(&child);
    lines.read_to_string(&mut err).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    Said { code, out, err }
}

/// Returns the ids of the report's rows with this result.
fn reported(site: &Site, result: &str) -> Vec<String> {
    let text = fs::read_to_string(site.path("report.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    rows.iter().filter(|row| &row[3] == result).map(|row| row[1].to_owned()).collect()
}

fn ids(site: &Site) -> Vec<String> {
    let id = |w: &Value| w["id"].as_str().unwrap().to_owned();
    state(site).0.iter().map(id).collect()
}

#[test]
fn an_interrupted_import_continues_when_it_is_run_again() {
    let (site, daemon) = site();
    let plan = Plan::good(30);
    plan.write_photos(&site.path("photos"));
    fs::write(site.path("roster.csv"), plan.csv(&ENGLISH, b',')).unwrap();

    let said = half_way(&site, |_| daemon.kill());
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("run the import again"), "{said:?}");
    let (enrolled, not_done) = (reported(&site, "enrolled"), reported(&site, "not done"));
    assert!(enrolled.len() >= 3 && !not_done.is_empty(), "{said:?}");
    assert_eq!(enrolled.len() + not_done.len(), 30);
    // Without a daemon no row is begun.
    let said = import(&site, "roster.csv", &[]);
    assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");

    let _daemon = site.start();
    // Every worker reported as enrolled is on the roster; the worker in progress may be too.
    let there = ids(&site);
    assert!(there.starts_with(&enrolled) && there.len() <= enrolled.len() + 1, "{there:?}");
    let said = half_way(&site, |import| {
        // SAFETY: no memory is involved; the process is ours and not yet waited for.
        assert_eq!(unsafe { libc::kill(import.id() as i32, libc::SIGINT) }, 0);
    });
    assert_eq!(said.code, 130, "{said:?}");
    assert!(said.err.contains("stopping after this row"), "{said:?}");
    let (enrolled, unchanged) = (reported(&site, "enrolled"), reported(&site, "unchanged"));
    assert_eq!(unchanged, there[..unchanged.len()]);
    assert_eq!(ids(&site).len(), there.len() + enrolled.len());
    assert!(!reported(&site, "not done").is_empty(), "{said:?}");

    let said = import(&site, "roster.csv", &[]);
    assert_eq!((said.code, ids(&site).len()), (0, 30), "{said:?}");
    let whole = state(&site);
    assert!(whole.0.iter().all(|w| w["templates"] == 1), "{whole:?}");
    let said = import(&site, "roster.csv", &[]);
    assert!(summary(&said).starts_with("30 rows: 0 enrolled, 0 updated, 30 unchanged"), "{said:?}");
    assert_eq!(state(&site), whole);
}

#[test]
fn an_import_understands_the_notation_of_an_office_and_reports_a_common_fault_once() {
    let (site, _daemon) = site();
    let mut plan = Plan::good(6);
    plan.write_photos(&site.path("photos"));
    for row in &mut plan.rows {
        row.cells[11].clear();
        let number = row.cells[3].clone();
        row.cells[3] = format!("{} {}\u{3000}{}", &number[..6], &number[6..14], &number[14..]);
    }
    plan.rows[5].cells[5].clear();
    let closing = "合　计,6人,,,,,,,,,,,,\n制表人：张三,,,,,审核：李四,,,,,,,,\n";
    let text = plan.csv(&CHINESE, b',') + closing;
    fs::write(site.path("roster.csv"), text).unwrap();
    let said = import(&site, "roster.csv", &[]);
    assert_eq!(said.code, 1, "{said:?}");
    // The last cell of each row has two lines. The table has four lines: the headings, the five
    // rows without a consent, the row without a team, and the summary.
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 4, "{said:?}");
    let once =
        "a face may be kept only with the worker's consent: fill in the number of the signed";
    assert!(lines[1].contains("2, 4, 6, 8, 10") && lines[1].contains("5 rows"), "{said:?}");
    assert!(lines[1].contains(&format!("同意书编号: {once}")), "{said:?}");
    assert!(lines[2].contains("12 ") && lines[2].contains("班组: is missing"), "{said:?}");
    let counts = "6 rows: 0 enrolled, 0 updated, 0 unchanged, 6 refused; 2 lines skipped";
    assert!(lines[3].starts_with(counts), "{said:?}");
    let passed = "2 lines skipped because they hold sums, signatures or notes, not workers: 14 (合 计), 15 (制表人：张三)";
    assert!(said.err.contains(passed), "{said:?}");
    for option in ["--team", "--consent"] {
        assert!(!said.out.contains(option) && !said.err.contains(option), "{said:?}");
    }
    let report = fs::read_to_string(site.path("report.csv")).unwrap();
    assert_eq!(report.matches(once).count(), 5, "{report}");
    let head = format!("\u{feff}行号,{},{},结果,原因,照片模板数\n", CHINESE[0], CHINESE[1]);
    assert!(report.starts_with(&head), "{report}");

    // With the column filled, all rows are imported. The stored numbers have no blanks.
    for (at, row) in plan.rows.iter_mut().enumerate() {
        row.cells[11] = format!("C-{at}");
        row.cells[5] = "钢筋一班".into();
    }
    fs::write(site.path("roster.csv"), plan.csv(&CHINESE, b',') + closing).unwrap();
    let said = import(&site, "roster.csv", &[]);
    assert_eq!(
        (said.code, summary(&said).starts_with("6 rows: 6 enrolled")),
        (0, true),
        "{said:?}"
    );
    for row in &mut plan.rows {
        row.cells[3] = row.cells[3].replace([' ', '\u{3000}'], "");
    }
    fs::write(site.path("roster.csv"), plan.csv(&CHINESE, b',')).unwrap();
    let said = import(&site, "roster.csv", &[]);
    assert!(summary(&said).starts_with("6 rows: 0 enrolled, 0 updated, 6 unchanged"), "{said:?}");

    // A refusal of a photo file contains no advice to a person before a camera.
    let blurred = image::load_from_memory(&photo(&[faces().next().unwrap()])).unwrap();
    let blurred = image::imageops::blur(&blurred.to_rgb8(), 3.5);
    plan.rows.truncate(1);
    plan.rows[0].cells[0] = "W900".into();
    plan.rows[0].cells[3] = "E12345678".into();
    plan.rows[0].cells[2] = "护照".into();
    fs::write(site.path("photos/W900.jpg"), crate::common::camera::jpeg(&blurred)).unwrap();
    fs::write(site.path("roster.csv"), plan.csv(&CHINESE, b',')).unwrap();
    let said = import(&site, "roster.csv", &[]);
    assert!(
        said.out.contains("W900.jpg: The face in the photo is blurred: take another photo"),
        "{said:?}"
    );
    for word in ["hold still", "lens", "camera"] {
        assert!(!said.out.contains(word) && !said.err.contains(word), "{said:?}");
    }
    assert!(summary(&said).starts_with("1 row: 0 enrolled"), "{said:?}");
}

#[test]
fn a_dry_run_finds_the_faults_of_cards_and_photo_consents_that_the_real_run_finds() {
    let (site, _daemon) = site();
    let head = "工号,姓名,证件类型,证件号码,班组,劳务公司,工种,卡号,同意书编号,同意书日期,照片同意";
    let row =
        |id: &str, more: &str| format!("{id},刘峰,护照,E1234{id},钢筋一班,福鼎劳务,钢筋工,{more}");
    let import = |rows: &[String], more: &[&str]| {
        fs::write(site.path("roster.csv"), format!("{head}\n{}\n", rows.join("\n"))).unwrap();
        import(&site, "roster.csv", more)
    };
    let first = [row("W001", "1001,C-1,2026-10-01,是"), row("W002", "1002,C-2,2026-10-01,否")];
    let said = import(&first, &[]);
    assert_eq!(said.code, 0, "{said:?}");
    let consents = |id: &str| {
        let shown = site.gatehouse(&["--json", "worker", "show", id]).out;
        shown.contains("photo:platform")
    };
    assert!(consents("W001") && !consents("W002"), "{said:?}");
    // The same file again changes nothing.
    let again = import(&first, &[]);
    assert!(summary(&again).starts_with("2 rows: 0 enrolled, 0 updated, 2 unchanged"), "{again:?}");

    let rows = [
        row("W003", "1003,,,"),
        row("W004", "0000001003,,,"),
        row("W005", "1001,,,"),
        row("W006", "1;2;3;4,,,"),
        row("W001", ",C-1,2026-10-01,否"),
        row("W007", ",C-7,2026-10-07,也许"),
    ];
    for more in [&["--dry-run"][..], &[]] {
        let said = import(&rows, more);
        assert_eq!(said.code, 1, "{said:?}");
        let report = fs::read_to_string(site.path("report.csv")).unwrap();
        let of = |id: &str| {
            let row = format!(",{id},");
            report.lines().find(|line| line.contains(&row)).unwrap().to_owned()
        };
        for (id, words) in [
            ("W003", "is also in row 3"),
            ("W004", "is also in row 2"),
            ("W005", "W001"),
            ("W006", "3"),
            ("W001", "--purpose photo:platform --withdrawn"),
            ("W007", "neither yes (是) nor no (否)"),
        ] {
            assert!(of(id).contains("refused") && of(id).contains(words), "{more:?}: {}", of(id));
        }
        assert!(summary(&said).contains("6 refused"), "{more:?}: {said:?}");
    }
    // A column must name one of several platforms.
    let unknown = head.replace("照片同意", "照片同意（elsewhere）");
    let text = format!("{unknown}\n{}\n", row("W008", ",C-8,2026-10-08,是"));
    fs::write(site.path("roster.csv"), text).unwrap();
    let said = site.gatehouse(&arguments(&site, "roster.csv", &[]));
    assert!(
        said.code == 1 && said.err.contains("照片同意（elsewhere） must name one upstream"),
        "{said:?}"
    );
}

#[test]
fn an_unreadable_roster_is_refused_before_its_first_row() {
    // The roster is refused before the command connects to a daemon, so none runs here.
    let site = Site::prepare();
    fs::create_dir(site.path("photos")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(site.path(name), bytes).unwrap();
    write("broken.xlsx", b"PK\x03\x04 and then nothing of the kind");
    let mut bomb = ZipWriter::new(File::create(site.path("bomb.xlsx")).unwrap());
    bomb.start_file("xl/workbook.xml", SimpleFileOptions::default()).unwrap();
    (0..200).for_each(|_| bomb.write_all(&vec![b' '; 1 << 20]).unwrap());
    bomb.finish().unwrap();
    assert!(fs::metadata(site.path("bomb.xlsx")).unwrap().len() < 1 << 20);
    let row = |n: usize| format!("W{n},x,E{n:08},T,C,x\n");
    let many: String = (0..10_001).map(row).collect();
    write("many.csv", format!("id,name,id number,team,contractor,trade\n{many}").as_bytes());
    write("headings.csv", "工号,姓名,身份证号\nW1,刘峰,x\n".as_bytes());
    let head = "id,name,id number,team,contractor,trade\nW1,刘峰,x,x,x,x\n";
    let gbk = encoding_rs::GB18030.encode("W2,刘峰,x,x,x,x\n").0;
    write("mixed.csv", &[head.as_bytes(), &gbk].concat());
    write("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    File::create(site.path("large.csv")).unwrap().set_len((32 << 20) + 1).unwrap();
    for (file, expected) in [
        ("broken.xlsx", "the workbook is damaged"),
        ("bomb.xlsx", "unpacks to too many bytes"),
        ("many.csv", "the maximum is 10000: split the file"),
        ("headings.csv", "headings are missing in line 1: team (班组"),
        ("mixed.csv", "line 3: mixed encodings"),
        ("old.xls", "save it as .xlsx"),
        ("large.csv", "at most 32 MiB"),
        ("missing.csv", "No such file"),
        ("photos", "not a regular file"),
    ] {
        let said = import(&site, file, &[]);
        said.refused(expected);
        said.refused(file);
        assert!(!site.path("report.csv").exists());
    }
    write("good.csv", head.as_bytes());
    fs::remove_dir(site.path("photos")).unwrap();
    import(&site, "good.csv", &[]).refused("photos in");
    let roster = site.path("good.csv").to_str().unwrap().to_owned();
    let said = site.gatehouse(&["worker", "import", &roster, "--report", &roster]);
    said.refused("--report would overwrite the roster");
    assert_eq!(site.gatehouse(&["worker", "import", &roster]).code, 3);
}
