//! Attendance reports from the real daemon: lists, workers on site, supplements and disputes by
//! hand, and the monthly sheet of two gateways. Programs of other projects read the files for
//! Excel: openpyxl, and Python's csv.

use std::{path::Path, process::Command};

use crate::common::{
    Daemon, Said, Site, WallClock,
    past::{self, Went, person, went},
    slave::python,
};
use gatehouse::{
    attendance::{
        export::{HeadOf, Trust},
        merge::Gathered,
        print::{self, Document},
        timesheet::{Days, SheetFilter, timesheet},
    },
    config::Direction::{self, Entry, Exit},
    ledger::Outcome,
    roster::Person,
};
use serde_json::{Value, json};

fn liu() -> Person {
    person("W001", "刘峰", "钢筋一班")
}

fn chen() -> Person {
    person("W002", "陈静", "瓦工班")
}

/// Starts a site named 一号地块, whose gateway has recorded `passages`.
fn site(gateway: &str, project: &str, passages: Vec<Went>) -> (Site, Daemon) {
    let site = Site::prepare();
    site.configure(|c| {
        c.set("site", "gateway_id", gateway).set("site", "name", "一号地块").set(
            "site",
            "project_code",
            project,
        )
    });
    past::write(&site, &[liu(), chen()], passages.into_iter());
    let daemon = site.start();
    (site, daemon)
}

/// Returns a passage in 2024-10, at a day and time in Shanghai.
fn on(person: &Person, direction: Direction, time: &str) -> Went {
    went(person, direction, &format!("2024-10-{time}:00+08:00"))
}

fn sheet(site: &Site, more: &[&str]) -> Said {
    site.gatehouse(&[&["--json", "timesheet", "--month", "2024-10"][..], more].concat())
}

/// Returns the fingerprint of a gateway's key, as a person notes it.
pub(super) fn fingerprint(site: &Site) -> String {
    let shown = one(&site.gatehouse(&["--json", "evidence", "head"]));
    shown["fingerprint"].as_str().unwrap().to_owned()
}

fn one(said: &Said) -> Value {
    said.json_lines().remove(0)
}

#[test]
fn a_sheet_merges_the_records_of_two_gateways_and_names_its_sources() {
    let (there, _daemon) = site(
        "gate-2",
        "P-1",
        vec![
            on(&liu(), Exit, "09T12:01"),
            on(&liu(), Entry, "09T13:00"),
            on(&chen(), Exit, "10T06:00"),
        ],
    );
    let here = vec![
        on(&liu(), Entry, "09T07:58"),
        Went { outcome: Outcome::NotPassed, ..on(&liu(), Entry, "09T12:30") },
        Went { outcome: Outcome::Unconfirmed, ..on(&liu(), Exit, "09T17:30") },
        Went { vouched: true, ..on(&chen(), Entry, "09T20:00") },
        on(&chen(), Entry, "11T08:00"),
    ];
    let (here, _daemon) = site("gate-1", "P-1", here);
    let file = there.path("gate-2.jsonl");
    let out = file.to_str().unwrap();
    let export = ["attendance", "export", "--month", "2024-10", "--out", out];
    let said = there.gatehouse(&export);
    assert_eq!(
        (said.code, said.out.contains("3 records, 2024-09-30 to 2024-11-02")),
        (0, true),
        "{said:?}"
    );
    // The export shows the whereabouts of workers, so only the owner may read it.
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    there.gatehouse(&export).refused("already exists: choose another file, or give --force");
    assert_eq!(there.gatehouse(&[&export[..], &["--force"]].concat()).code, 0);

    let alone = one(&sheet(&here, &[]));
    assert_eq!(
        (&alone["total"]["missing_out"], &alone["total"]["minutes"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(alone["total"]["unconfirmed"], json!({ "days": 0, "minutes": 572 }));
    // Its records are proved to come from the ledger of a gateway whose key the user knows.
    let theirs = fingerprint(&there);
    let refused = sheet(&here, &["--with", out]);
    refused.refused(&format!("give --fingerprint {theirs}; or give --unverified"));
    let known = ["--fingerprint", &theirs];
    let sheet = |site: &Site, more: &[&str]| self::sheet(site, &[&known, more].concat());
    // A file that is given twice counts once.
    let made = one(&sheet(&here, &["--with", out, "--with", out]));
    let rows = made["rows"].as_array().unwrap();
    let days = |row: &Value| -> Vec<Value> {
        let day = |d: &Value| json!([d["date"], d["minutes"], d["flags"]]);
        row["days"].as_array().unwrap().iter().map(day).collect()
    };
    assert_eq!((&rows[0]["worker"], &rows[0]["team"]), (&json!("W002"), &json!("瓦工班")));
    let expected =
        [json!(["2024-10-09", 600, ["across"]]), json!(["2024-10-11", 0, ["missing_out"]])];
    assert_eq!(days(&rows[0]), expected);
    assert_eq!((&rows[1]["worker"], &rows[1]["name"]), (&json!("W001"), &json!("刘峰")));
    assert_eq!(days(&rows[1]), [json!(["2024-10-09", 243, ["unconfirmed"]])]);
    // The sheet shows only the end of the ID number, which is E0000W001 here.
    assert_eq!((&rows[1]["trade"], &rows[1]["id_tail"]), (&json!("steel fixer"), &json!("W001")));
    assert!(!made.to_string().contains("0W001"), "{made}");
    let day = &rows[1]["days"][0];
    assert_eq!(day["first_in"], "2024-10-09T07:58:00.000+08:00");
    assert_eq!(day["last_out"], "2024-10-09T17:30:00.000+08:00");
    assert_eq!(made["total"]["minutes"], 600 + 243);
    assert_eq!(made["total"]["unconfirmed"], json!({ "days": 0, "minutes": 270 }));
    assert_eq!((&made["total"]["days_present"], &made["workers"]), (&json!(3), &json!(2)));
    assert_eq!((&made["site"], &made["month"]), (&json!("一号地块"), &json!("2024-10")));
    let sources: Vec<Value> = made["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            json!([
                s["gateway"],
                s["ledger"],
                s["first_seq"],
                s["last_seq"],
                s["records"],
                s["file"]
            ])
        })
        .collect();
    for (source, site) in made["sources"].as_array().unwrap().iter().zip([&here, &there]) {
        assert_eq!(
            (&source["verified"], &source["head"]["fingerprint"]),
            (&true.into(), &json!(fingerprint(site)))
        );
    }
    let (ours, theirs) = (&here.status()["ledger"]["id"], &there.status()["ledger"]["id"]);
    // A guard's release is a separate record.
    let expected = [
        json!(["gate-1", ours, 1, 6, 5, null]),
        json!(["gate-2", theirs, 1, 3, 3, "gate-2.jsonl"]),
        json!(["gate-2", theirs, 1, 3, 3, "gate-2.jsonl"]),
    ];
    assert_eq!(sources, expected);
    let begins =
        "gate-1: its ledger begins on 2024-10-09 07:58; what was before is not on this sheet";
    assert_eq!(made["notes"], json!([begins]));

    let only = one(&sheet(&here, &["--with", out, "--team", "瓦工班"]));
    assert_eq!((&only["total"]["minutes"], &only["workers"]), (&json!(600), &json!(1)));
    let only = one(&sheet(&here, &["--with", out, "--worker", "W001"]));
    assert_eq!(only["total"]["minutes"], 243);
    sheet(&here, &["--team", "木工"])
        .refused("with records: 福鼎劳务 / 瓦工班, 福鼎劳务 / 钢筋一班");
    sheet(&here, &["--worker", "W009"]).refused("there is no worker W009");

    // The table for people.
    let month = [&["timesheet", "--month", "2024-10", "--with", out][..], &known].concat();
    let said = here.gatehouse(&month);
    for part in ["刘峰", "4:03", "4:30", "10:00", "14:03", "gate-2", "seq 1 to 3"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let said = here.gatehouse(&[&month[..], &["--worker", "W002"]].concat());
    assert!(said.out.contains("06:00+1") && said.out.contains("20:00–06:00+1"), "{}", said.out);
    let xlsx = here.path("sheet.xlsx");
    let said = here.gatehouse(&[&month[..], &["--format", "xlsx"]].concat());
    assert_eq!((said.code, said.err.contains("needs --out")), (2, true), "{said:?}");
    let written = [&month[..], &["--format", "xlsx", "--out", xlsx.to_str().unwrap()]].concat();
    assert_eq!(here.gatehouse(&written).code, 0);
    let book = read("xlsx_reader.py", &xlsx);
    // The worker signs the sheet, with the ledgers' roots and the keys' fingerprints on it.
    let printed = book["sheets"][0]["cells"].to_string();
    for source in made["sources"].as_array().unwrap() {
        assert!(printed.contains(source["head"]["fingerprint"].as_str().unwrap()), "{printed}");
    }
    let last = made["sources"][1]["head"]["root"].as_str().unwrap();
    assert!(printed.contains(last) && !printed.contains("not verified"), "{printed}");
    assert_eq!(
        book["sheets"][0]["cells"]["A1"]["value"],
        "一号地块 2024年10月考勤表  Attendance sheet 2024-10"
    );
    let said = here.gatehouse(&[&month[..], &["--format", "csv"]].concat());
    assert!(said.out.starts_with('\u{feff}') && said.out.contains("\r\n"), "{}", said.out);
    let said = here.gatehouse(&["timesheet", "--month", "2024-13"]);
    assert_eq!((said.code, said.err.contains("a month such as 2026-10")), (2, true), "{said:?}");
}

#[test]
fn an_export_that_is_incomplete_or_of_another_project_is_refused_with_its_file_name() {
    let (there, daemon) = site("gate-2", "P-2", vec![on(&liu(), Exit, "09T12:01")]);
    let other = Person { name: "刘锋".into(), ..liu() };
    let (third, _third) = site("gate-3", "P-1", vec![on(&other, Exit, "09T12:01")]);
    let (here, _daemon) = site("gate-1", "P-1", vec![on(&liu(), Entry, "09T07:58")]);
    let file = here.path("there.jsonl");
    let known = fingerprint(&third);
    let named = ["--with", file.to_str().unwrap(), "--fingerprint", &known];
    let with = |bytes: &[u8], expected: &str| {
        std::fs::write(&file, bytes).unwrap();
        let said = sheet(&here, &named);
        said.refused(expected);
        said.refused("there.jsonl, line");
    };
    let out = there.path("out.jsonl");
    let days = ["--from", "2024-10-01", "--to", "2024-10-31"];
    let export = [&["attendance", "export", "--out", out.to_str().unwrap()], &days[..]].concat();
    assert_eq!(there.gatehouse(&export).code, 0);
    let whole = std::fs::read_to_string(&out).unwrap();
    with(
        whole.as_bytes(),
        "line 1: the export is of project P-2, and this gateway is of project P-1",
    );
    let moved = whole.replace("P-2", "P-1");
    with(moved.as_bytes(), "the proofs do not hold: the file was altered, or made by someone else");
    let theirs = third.path("out.jsonl");
    let export_third = [&["attendance", "export", "--out", theirs.to_str().unwrap()], &days[..]];
    assert_eq!(third.gatehouse(&export_third.concat()).code, 0);
    let ours = std::fs::read_to_string(&theirs).unwrap();
    let cut = ours.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    with(cut.as_bytes(), "line 3: the file was cut off: its last line, with the count, is missing");
    with(&ours.as_bytes()[..ours.len() - 5], "cut off");
    std::fs::write(&file, &ours).unwrap();
    sheet(&here, &named).refused("worker W001 is 刘");
    let said = sheet(&here, &[&named[..], &["--same-person", "W001"]].concat());
    assert_eq!(one(&said)["total"]["minutes"], 243);
    assert_eq!(one(&said)["rows"][0]["id_tail"], "W001");
    // The export lacks the night shifts at the month's ends, and the program reports that.
    assert!(said.err.contains("export 2024-09-30 to 2024-11-01 for the whole month"), "{said:?}");
    // An invented file, such as one of a former version, is taken on request only, and marked.
    let record = one(&third.gatehouse(&["--json", "attendance", "list"]));
    let heading = json!({ "format": "gatehouse attendance", "version": 1, "project": "P-1",
        "gateway": "gate-3", "ledger": record["ledger"], "from": "2024-09-29", "to": "2024-11-02",
        "exported_at": "2024-11-03T00:00:00Z", "timezone": "Asia/Shanghai" });
    let ending = json!({ "count": 1, "first_seq": record["seq"], "last_seq": record["seq"] });
    let invented = format!("{heading}\n{record}\n{ending}\n");
    with(invented.as_bytes(), "the file has no proofs");
    let taken = ["--unverified", "--same-person", "W001"];
    for bytes in [&invented, &moved] {
        std::fs::write(&file, bytes).unwrap();
        let said = sheet(&here, &[&named[..], &taken].concat());
        let made = one(&said);
        assert_eq!(made["total"]["minutes"], 243);
        assert_eq!(made["sources"][1]["verified"], false);
        assert!(made["notes"].to_string().contains("NOT VERIFIED"), "{made}");
        let csv = ["timesheet", "--month", "2024-10", "--format", "csv"];
        let said = here.gatehouse(&[&csv[..], &named, &taken].concat());
        assert!(said.out.contains("未经验证 not verified"), "{}", said.out);
        assert!(said.err.contains("NOT VERIFIED"), "{said:?}");
    }
    std::fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
    sheet(&here, &named).refused("line 1: the line has more than 64 KiB");
    sheet(&here, &["--with", "nowhere.jsonl"]).refused("nowhere.jsonl");

    // A failed export leaves no file.
    daemon.stop();
    std::fs::remove_file(&out).unwrap();
    assert_eq!(there.gatehouse(&export).code, 3);
    assert!(!out.exists());
    let left = std::fs::read_dir(out.parent().unwrap()).unwrap();
    let left =
        left.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().starts_with(".gate"));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_supplement_and_a_dispute_are_new_records_and_reach_the_platform() {
    let mut site = Site::prepare();
    past::write(&site, &[liu()], vec![on(&liu(), Entry, "09T08:00")].into_iter());
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let clock = WallClock::new(&site.path("."));
    clock.synchronised(true);
    let _daemon = site.start_with(&clock.environment());
    let wrong = platform.next_on("attendance");
    let me = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let supplement = |worker: &str, at: &str, reason: &str| {
        let what = ["--worker", worker, "--at", at, "--direction", "exit", "--reason", reason];
        site.gatehouse(&[&["--json", "attendance", "supplement"][..], &what].concat())
    };
    let added = one(&supplement("W001", "2024-10-09 17:30", "the gate had no power"));
    let record = platform.next_on("attendance");
    assert_eq!(added, record);
    for (key, expected) in [
        ("means", json!("supplement")),
        ("outcome", json!("claimed")),
        ("at", json!("2024-10-09T17:30:00.000+08:00")),
        ("direction", json!("exit")),
        ("lane", Value::Null),
        ("score", Value::Null),
        ("name", json!("刘峰")),
        ("reason", json!("the gate had no power")),
        ("by", json!(me)),
    ] {
        assert_eq!(record[key], expected, "{key}");
    }
    let same = one(&supplement("W001", "2024-10-09T17:30:00+09:00", "x"));
    assert_eq!(same["at"], "2024-10-09T16:30:00.000+08:00");
    platform.next_on("attendance");
    supplement("W001", "2100-01-01 00:00", "x").refused("lies in the future");
    // A repeated supplement is refused. The other direction would be another passage.
    let again = format!("was already added, as record {}", added["seq"]);
    supplement("W001", "2024-10-09 17:30", "no answer came").refused(&again);
    supplement("W009", "2024-10-09 17:30", "x").refused("there is no worker W009");
    supplement("W001", "2024-10-09 17:30", " ").refused("reason: must not be empty");
    for at in ["2024-10-09", "17:30", "2024-02-30 10:00"] {
        let said = supplement("W001", at, "x");
        assert_eq!((said.code, said.err.contains("must be a time such as")), (2, true), "{said:?}");
    }

    let dispute = |seq: &Value, reason: &str| {
        let seq = seq.to_string();
        site.gatehouse(&["--json", "attendance", "dispute", &seq, "--reason", reason])
    };
    let marked = one(&dispute(&wrong["seq"], "it was his brother"));
    let event = platform.event("dispute");
    assert_eq!((&event["reason"], &event["by"]), (&json!("it was his brother"), &json!(me)));
    assert_eq!(event["disputes"], wrong["leaf"]);
    assert_eq!(marked["disputed"], event["seq"]);
    // The old entry stays, and lists show that it is disputed.
    let listed = site.gatehouse(&["--json", "attendance", "list"]).json_lines();
    let mut expected = wrong.clone();
    expected.as_object_mut().unwrap().remove("resent");
    expected["disputed"] = event["seq"].clone();
    expected["dispute"] = json!({"by": me, "at": event["at"], "reason": "it was his brother"});
    assert_eq!((listed.len(), &listed[0]), (3, &expected));
    let table = site.gatehouse(&["attendance", "list"]).out;
    let by = format!("by {me} ({}): it was his brother", event["seq"]);
    assert!(table.contains(&by), "{table}");
    assert!(table.contains("supplement") && table.contains("claimed"), "{table}");
    dispute(&wrong["seq"], "x").refused("is already disputed, by record");
    dispute(&event["seq"], "x").refused("is not a worker's attendance");
    dispute(&json!(99_999), "x").refused("is not a worker's attendance");
    // A supplement can be disputed too.
    assert_eq!(dispute(&same["seq"], "not true").code, 0);

    let made = one(&sheet(&site, &[]));
    assert_eq!((&made["total"]["minutes"], &made["total"]["days_present"]), (&json!(0), &json!(0)));
    let seqs = |of: &str| -> Vec<Value> {
        made[of].as_array().unwrap().iter().map(|apart| apart["seq"].clone()).collect()
    };
    assert_eq!(seqs("disputed"), [wrong["seq"].clone(), same["seq"].clone()]);
    assert_eq!(seqs("supplements"), [added["seq"].clone()]);
    // The hours that the dispute takes from the day stand beside, with who and why.
    assert_eq!(made["disputed"][0]["dispute"]["by"], json!(me));
    assert_eq!(made["disputed"][0]["dispute"]["reason"], "it was his brother");
    assert_eq!(made["rows"][0]["days"][0]["flags"], json!(["supplement", "disputed"]));

    // A withdrawal is a new entry, and the record counts again.
    let withdraw = |seq: &Value| {
        let seq = seq.to_string();
        site.gatehouse(&["--json", "attendance", "withdraw", &seq, "--reason", "it was he"])
    };
    let counts = one(&withdraw(&wrong["seq"]));
    assert_eq!((&counts["seq"], &counts["disputed"]), (&wrong["seq"], &Value::Null));
    let withdrawal = platform.event("withdrawal");
    assert_eq!((&withdrawal["reason"], &withdrawal["by"]), (&json!("it was he"), &json!(me)));
    assert_eq!(withdrawal["withdraws"], event["leaf"]);
    withdraw(&wrong["seq"]).refused("is not disputed");
    let made = one(&sheet(&site, &[]));
    assert_eq!(made["disputed"].as_array().unwrap().len(), 1);
    assert_eq!(dispute(&wrong["seq"], "still not he").code, 0);
    platform.assert_whole();
}

#[test]
fn an_impossible_date_is_refused_and_an_unlikely_one_needs_confirmation() {
    let site = Site::prepare();
    past::write(&site, &[liu()], vec![on(&liu(), Entry, "09T08:00")].into_iter());
    let clock = WallClock::new(&site.path("."));
    clock.synchronised(true);
    let _daemon = site.start_with(&clock.environment());
    let supplement = |at: &str, more: &[&str]| {
        let what = ["--worker", "W001", "--at", at, "--direction", "exit", "--reason", "x"];
        site.gatehouse(&[&["attendance", "supplement"][..], &what, more].concat())
    };
    let enroll = |id: &str, more: &[&str]| {
        let who = ["--id", id, "--name", "x", "--id-type", "passport", "--id-number", "E12345678"];
        let rest = ["--team", "x", "--contractor", "x", "--trade", "x", "--consent", "C-1"];
        site.gatehouse(&[&["worker", "enroll"][..], &who, &rest, more].concat())
    };
    // With a synchronised clock a future time is refused, also with --yes.
    for more in [&[][..], &["--yes"]] {
        supplement("2100-01-01 00:00", more)
            .refused("at: 2100-01-01T00:00:00.000+08:00 lies in the future");
        for field in ["consent-on", "contract-signed", "trained-on"] {
            let option = format!("--{field}");
            let date = [&[&*option, "2100-01-01"], more].concat();
            enroll("W009", &date).refused(&format!("{field}: 2100-01-01 lies in the future"));
            let update = [&["worker", "update", "W001"], &date[..]].concat();
            let said = site.gatehouse(&update);
            said.refused(&format!("{field}: "));
        }
    }
    let turned = ["--valid-from", "2026-10-02", "--valid-until", "2026-10-01"];
    enroll("W009", &turned).refused("valid-until: 2026-10-01 is before 2026-10-02");
    enroll("W009", &["--valid-until", "0226-10-01"]).refused("is no date of our time");
    // A time long before the gateway's first entry needs --yes too.
    let asks = "nothing is changed. If the value is right, repeat the command with --yes";
    supplement("2004-10-09 17:30", &[]).refused("more than a year before the first entry");
    supplement("2004-10-09 17:30", &[]).refused(asks);
    assert_eq!(supplement("2004-10-09 17:30", &["--yes"]).code, 0);

    clock.synchronised(false);
    let asked = supplement("2100-01-01 00:00", &[]);
    asked.refused("lies in the future of this gateway's clock");
    asked.refused(asks);
    let asked = enroll("W009", &["--trained-on", "2100-01-01"]);
    asked.refused("trained-on: 2100-01-01 lies in the future of this gateway's clock");
    asked.refused(asks);
    let listed = || site.gatehouse(&["--json", "attendance", "list"]).json_lines().len();
    assert_eq!(
        (listed(), site.gatehouse(&["--json", "worker", "list"]).json_lines().len()),
        (2, 1)
    );
    assert_eq!(supplement("2100-01-01 00:00", &["--yes"]).code, 0);
    assert_eq!(enroll("W009", &["--trained-on", "2100-01-01", "--yes"]).code, 0);
    assert_eq!(
        (listed(), site.gatehouse(&["--json", "worker", "list"]).json_lines().len()),
        (3, 2)
    );
}

#[test]
fn a_list_accepts_a_former_lane_and_refuses_an_unknown_one() {
    let gone = Went { lane: "old gate", ..on(&chen(), Entry, "09T08:00") };
    let (site, _daemon) = site("gate-1", "P-1", vec![gone, on(&liu(), Entry, "09T08:01")]);
    let list =
        |more: &[&str]| site.gatehouse(&[&["--json", "attendance", "list"][..], more].concat());
    let workers = |said: Said| -> Vec<String> {
        said.json_lines().iter().map(|r| r["worker"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(workers(list(&["--lane", "old gate"])), ["W002"]);
    assert_eq!(workers(list(&["--lane", "north"])), ["W001"]);
    list(&["--lane", "nroth"]).refused("there is no lane nroth; there are: north, old gate");
    assert_eq!(workers(list(&["--team", "瓦工班"])), ["W002"]);
    assert_eq!(workers(list(&["--contractor", "福鼎劳务"])), ["W002", "W001"]);
    assert_eq!(workers(list(&["--worker", "W001", "--from", "2024-10-10"])), [""; 0]);
    assert_eq!(workers(list(&["--worker", "W001", "--to", "2024-10-09"])), ["W001"]);
    list(&["--from", "2024-10-02", "--to", "2024-10-01"]).refused("is before from");
}

#[test]
fn a_worker_is_on_site_when_the_latest_counted_passage_is_an_entry() {
    let now = jiff::Timestamp::now().as_millisecond();
    let ago = |person: &Person, direction, hours: i64| Went {
        at_ms: now - hours * 3_600_000,
        ..went(person, direction, "2024-10-09T08:00:00Z")
    };
    let p = |n: usize| person(&format!("W{n:03}"), "某", "钢筋一班");
    let people: Vec<Person> = (1..=8).map(p).collect();
    let passages = vec![
        ago(&p(8), Entry, 80),
        ago(&p(2), Entry, 40),
        ago(&p(1), Entry, 9),
        ago(&p(3), Entry, 8),
        ago(&p(3), Exit, 2),
        ago(&p(4), Entry, 7),
        Went { outcome: Outcome::NotPassed, ..ago(&p(4), Exit, 1) },
        Went { outcome: Outcome::NotPassed, ..ago(&p(5), Entry, 1) },
        ago(&p(6), Entry, 3),
        Went { outcome: Outcome::Unconfirmed, ..ago(&p(7), Entry, 3) },
    ];
    let site = Site::prepare();
    past::write(&site, &people, passages.into_iter());
    let _daemon = site.start();
    let last = site.gatehouse(&["--json", "attendance", "list", "--worker", "W006"]).json_lines();
    let seq = last[0]["seq"].to_string();
    assert_eq!(site.gatehouse(&["attendance", "dispute", &seq, "--reason", "x"]).code, 0);
    let hour_ago = jiff::Timestamp::from_millisecond(now - 3_600_000).unwrap().to_string();
    let added = ["--worker", "W005", "--at", &hour_ago, "--direction", "entry", "--reason", "x"];
    assert_eq!(site.gatehouse(&[&["attendance", "supplement"][..], &added].concat()).code, 0);

    let onsite = |more: &[&str]| -> Vec<Value> {
        let said = site.gatehouse(&[&["--json", "attendance", "onsite"][..], more].concat());
        let brief = |p: &Value| json!([p["worker"], p["means"], p["overdue"], p["lane"]]);
        said.json_lines().iter().map(brief).collect()
    };
    let recent = [
        json!(["W001", "face", false, "north"]),
        json!(["W002", "face", true, "north"]),
        json!(["W004", "face", false, "north"]),
        json!(["W005", "supplement", false, null]),
        json!(["W007", "face", false, "north"]),
    ];
    assert_eq!(onsite(&[]), recent);
    let long_ago = jiff::Timestamp::from_millisecond(now - 96 * 3_600_000).unwrap();
    let day = long_ago.to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    let all = onsite(&["--since", &day]);
    assert_eq!((all.len(), &all[5]), (6, &json!(["W008", "face", true, "north"])));
    let table = site.gatehouse(&["attendance", "onsite"]).out;
    assert!(table.contains("no exit recorded since") && table.contains("added by hand"), "{table}");
    assert!(table.contains("5 on site at"), "{table}");
    // A worker who was removed meanwhile is still on site.
    assert_eq!(site.gatehouse(&["worker", "remove", "W004", "--reason", "left"]).code, 0);
    let said = site.gatehouse(&["--json", "attendance", "onsite"]).json_lines();
    let removed: Vec<_> = said.iter().map(|p| (&p["worker"], &p["removed"])).collect();
    let expected = ["W001", "W002", "W004", "W005", "W007"].map(|w| (json!(w), json!(w == "W004")));
    assert_eq!(removed, expected.each_ref().map(|(w, r)| (w, r)));
    let table = site.gatehouse(&["attendance", "onsite"]).out;
    let line = table.lines().find(|line| line.contains("W004")).unwrap();
    assert!(line.contains("removed from the roster"), "{table}");
    assert_eq!(table.matches("removed from the roster").count(), 1, "{table}");
    site.gatehouse(&["attendance", "onsite", "--since", "2100-01-01"]).refused("in the future");
}

/// Copies the workbook to the path in `GATEHOUSE_KEEP_SHEET`, so that a person can view it.
fn kept(workbook: &Path) {
    if let Some(to) = std::env::var_os("GATEHOUSE_KEEP_SHEET") {
        std::fs::copy(workbook, to).unwrap();
    }
}

/// Returns a file's content as a program of another project reads it.
fn read(script: &str, file: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    let output = Command::new(python()).arg(script).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Id, name, team and contractor; then direction, time, means and outcome.
type Went26<'a> = ([&'a str; 4], &'a str, &'a str, &'a str, &'a str);

/// Returns a sheet of October 2026 with records from seq 41 on. `clock` returns the gateway of each
/// record and whether its clock was synchronised.
fn document(rows: &[Went26], clock: impl Fn(u64) -> (&'static str, bool)) -> Document {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let (first, last) = ("2026-10-01".parse().unwrap(), "2026-10-31".parse().unwrap());
    let days = Days::new(first, last, zone, "04:00".parse().unwrap()).unwrap();
    let mut gathered = Gathered::new(&days, Trust::default());
    let mut extent = serde_json::from_value(json!({
        "project": "P-1", "gateway": "gate-1", "ledger": "1e".repeat(16), "count": 0,
        "first_seq": null, "last_seq": null, "at": "2026-11-05T01:02:03Z",
    }));
    let extent: &mut gatehouse::attendance::export::Extent = extent.as_mut().unwrap();
    for (seq, ([worker, name, team, contractor], direction, at, means, outcome)) in (41..).zip(rows)
    {
        let by_hand = *means == "supplement";
        let (gateway, synced) = clock(seq);
        let mut record = json!({
            "v": 1, "gateway": gateway, "project": "P-1", "ledger": extent.ledger, "seq": seq,
            "passage": "00", "worker": worker, "name": name, "team": team, "contractor": contractor,
            "trade": "steel fixer", "direction": direction, "lane": (!by_hand).then_some("north"),
            "at": format!("2026-10-{at}.000+08:00"), "means": means, "score": null,
            "threshold": null, "model": null, "liveness": null, "outcome": outcome,
            "recorded_at": "2026-10-13T09:00:00.000+08:00",
            "clock": {"synced": synced, "boot": "00", "uptime_ms": 1}, "photo": null,
            "leaf": {"index": seq, "hash": "00"},
        });
        if by_hand {
            record["reason"] = "-forgot, \"really\"".into();
            record["by"] = "admin".into();
        }
        if *at == "31T08:00:00" {
            record["disputed"] = 60.into();
        }
        let record = serde_json::from_value(record).unwrap();
        gathered.take(&record).unwrap();
        extent.saw(&record);
    }
    let head = HeadOf {
        tree_size: 5120,
        root: "a5".repeat(32),
        signed_at: "2026-11-05T09:02:04.000+08:00".into(),
        fingerprint: "5c".repeat(32),
    };
    gathered.own(extent, Some(head));
    let Gathered { passes, sources, mut notes, .. } = gathered;
    let mut sheet = timesheet(passes, &days, &SheetFilter::default());
    notes.extend(sheet.notes());
    for row in sheet.rows.iter_mut().filter(|row| &*row.worker == "W001") {
        row.id_tail = Some("441X".into());
    }
    Document {
        project: "P-1".into(),
        site: "一号地块".into(),
        month: "2026-10".into(),
        timezone: "Asia/Shanghai".into(),
        day_starts_at: "04:00".into(),
        made_at: days.at("2026-11-05T01:02:03Z".parse().unwrap()),
        sources,
        notes,
        dates: days.shown().collect(),
        sheet,
    }
}

/// Returns a sheet of a few days: three workers in two teams of two contractors.
fn fixed() -> Document {
    let (liu, chen) =
        (["W001", "刘峰", "钢筋一班", "福鼎劳务"], ["W002", "=1+1", "瓦工班", "福鼎劳务"]);
    let ma = ["W003", "马强 \"老马\"\n二", "+木工", "@贵州三建"];
    let rows = [
        (liu, "entry", "09T07:58:59", "face", "passed"),
        (liu, "exit", "09T12:01:10", "face", "passed"),
        (liu, "entry", "09T13:00:00", "face", "unconfirmed"),
        (liu, "exit", "09T17:30:00", "face", "passed"),
        (liu, "entry", "10T20:00:00", "manual", "passed"),
        (liu, "exit", "11T06:00:00", "face", "passed"),
        (liu, "entry", "12T08:00:00", "face", "passed"),
        (liu, "exit", "12T17:00:00", "supplement", "claimed"),
        (chen, "exit", "09T17:00:00", "face", "passed"),
        (chen, "entry", "10T08:00:00", "face", "passed"),
        (chen, "exit", "10T16:30:00", "card", "passed"),
        (ma, "entry", "09T08:00:00", "face", "passed"),
        (ma, "exit", "09T18:15:00", "face", "passed"),
        (ma, "entry", "31T08:00:00", "face", "passed"),
    ];
    document(&rows, |_| ("gate-1", true))
}

/// Returns the workbook as openpyxl reads it.
fn workbook(document: &Document) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sheet.xlsx");
    std::fs::write(&path, print::xlsx(document).unwrap()).unwrap();
    kept(&path);
    read("xlsx_reader.py", &path)
}

#[test]
fn pages_are_full_and_a_teams_last_workers_stay_with_its_sum() {
    for sizes in
        [&[1, 2, 19, 3][..], &[18, 1, 1, 40], &[17], &[18], &[19], &[36, 37, 38, 39], &[120]]
    {
        let named: Vec<[String; 4]> = (0..)
            .zip(sizes)
            .flat_map(|(team, size)| {
                (0..*size).map(move |n| {
                    let contractor = ["甲劳务", "乙劳务"][team / 2];
                    let id = format!("W{team}{n:03}");
                    [id, "刘峰".into(), format!("{team}班"), contractor.into()]
                })
            })
            .collect();
        let rows: Vec<Went26> = named
            .iter()
            .flat_map(|who| {
                let who = who.each_ref().map(String::as_str);
                [("entry", "09T08:00:00"), ("exit", "09T18:00:00")]
                    .map(|(direction, at)| (who, direction, at, "face", "passed"))
            })
            .collect();
        let book = workbook(&document(&rows, |_| ("gate-1", true)));
        // Every system has a font with the same digit width as this one.
        assert_eq!(book["default_font"], json!(["Verdana", 8.0]));
        let sheet = &book["sheets"][0];
        let number = |value: &Value| value.as_f64().unwrap();
        let numbers = |of: &str| sheet[of].as_array().unwrap().iter().map(number);
        // The page shrinks to the width of the columns. A digit has 7 pixels, and an inch 96.
        let margins: Vec<f64> = numbers("margins").collect();
        let inches = numbers("widths").map(|digits| (digits * 7.0).round()).sum::<f64>() / 96.0;
        let scale = (297.0 / 25.4 - margins[0] - margins[1]) / inches;
        assert!((0.6..0.75).contains(&scale), "the columns are too many to be read: {scale}");
        let page = (210.0 / 25.4 - margins[2] - margins[3]) * 72.0 / scale;
        let heights: Vec<f64> = numbers("heights").collect();
        let first = |row: usize| &sheet["cells"][format!("A{}", row + 1)];
        let text = |row: usize| first(row)["value"].as_str().unwrap_or("").to_owned();
        let is_worker = |row: usize| first(row)["value"].is_number();
        let repeated: Vec<usize> = sheet["repeated"]
            .as_str()
            .unwrap()
            .split(':')
            .map(|row| row.trim_start_matches('$').parse().unwrap())
            .collect();
        let headings: f64 = heights[repeated[0] - 1..repeated[1]].iter().sum();
        let mut starts = vec![0];
        starts.extend(
            sheet["breaks"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as usize),
        );
        assert_eq!(starts.len() > 1, sizes.iter().sum::<usize>() > 15, "{sizes:?}");
        let ends = starts.iter().skip(1).copied().chain([heights.len()]);
        for (at, (start, end)) in starts.iter().copied().zip(ends).enumerate() {
            let above = if at == 0 { 0.0 } else { headings };
            let used = above + heights[start..end].iter().sum::<f64>();
            assert!(used <= page, "{sizes:?}: page {at} has {used} points of {page}");
            // Otherwise the page would have room for two more workers, all sums, the legend and the
            // signatures.
            let most = page * 0.95 - 6.0 * 35.0;
            assert!(end == heights.len() || used > most, "{sizes:?}: {used} of {page} are used");
            if at == 0 {
                continue;
            }
            // A page begins with a team or a worker. A sum at its start has workers above it.
            assert!(is_worker(start) || text(start).contains("班组 Team:"), "{sizes:?}: {start}");
            let sum = (start..end).find(|row| text(*row).starts_with("班组小计"));
            let workers = |rows: std::ops::Range<usize>| rows.filter(|row| is_worker(*row)).count();
            let of_one = sum.is_some_and(|sum| text(sum).contains("(1 人)"));
            assert!(sum.is_none_or(|sum| of_one || workers(start..sum) >= 2), "{sizes:?}: {start}");
            // No page ends with the name of a team.
            assert!(end == heights.len() || !text(end - 1).contains("班组 Team:"), "{sizes:?}");
        }
        let last = starts.last().unwrap();
        assert!((*last..heights.len()).any(is_worker), "{sizes:?}: sums alone on the last page");
    }
}

#[test]
fn a_gateway_without_a_time_server_gets_one_note_and_no_marked_cell() {
    let (liu, chen) =
        (["W001", "刘峰", "钢筋一班", "福鼎劳务"], ["W002", "陈静", "瓦工班", "福鼎劳务"]);
    let rows = [
        (liu, "entry", "09T08:00:00", "face", "passed"),
        (liu, "exit", "09T17:00:00", "face", "passed"),
        (liu, "entry", "10T08:00:00", "face", "passed"),
        (liu, "exit", "10T17:00:00", "face", "passed"),
        (chen, "entry", "09T08:00:00", "face", "passed"),
        (chen, "exit", "09T17:00:00", "face", "passed"),
        (chen, "entry", "10T08:00:00", "face", "passed"),
        (chen, "exit", "10T17:00:00", "face", "passed"),
    ];
    let clocks = |document: &Document| {
        let book = workbook(document);
        let cells = book["sheets"][0]["cells"].as_object().unwrap();
        let with = cells.values().filter(|cell| {
            let text = cell["value"].as_str().unwrap_or_default();
            text.contains('钟') && !text.starts_with("标记")
        });
        with.map(|cell| (cell["value"].as_str().unwrap().to_owned(), cell["colour"].clone()))
            .collect::<Vec<_>>()
    };
    // gate-2 has no time server. The clock of gate-1 was not synchronised for one passage.
    let all =
        document(&rows, |seq| if seq < 45 { ("gate-2", false) } else { ("gate-1", seq != 46) });
    let said = "注意 Note: 钟 闸机 gate-2 的时钟未同步，其全部时刻可能有偏差。gate-2: its clock was \
                not synchronised at any of its times.";
    let red = json!("FFC00000");
    assert_eq!(clocks(&all), [(said.to_owned(), red.clone()), ("钟".to_owned(), red)]);
    assert_eq!(all.sheet.unsynchronised.len(), 1);
    let csv = String::from_utf8(print::csv(&all).unwrap()).unwrap();
    assert_eq!(csv.matches(said).count(), 1, "{csv}");
    assert!(clocks(&document(&rows, |_| ("gate-1", true))).is_empty());
}

#[test]
fn rows_of_several_passages_are_as_high_as_their_lines() {
    let liu = ["W001", "刘峰", "钢筋一班", "福鼎劳务"];
    let times: Vec<String> = (0..5)
        .flat_map(|n| [format!("09T{:02}:00:00", 8 + 2 * n), format!("09T{:02}:00:00", 9 + 2 * n)])
        .chain(["10T08:00:00", "10T17:00:00"].map(str::to_owned))
        .collect();
    let rows: Vec<Went26> = times
        .iter()
        .zip(["entry", "exit"].into_iter().cycle())
        .map(|(at, direction)| (liu, direction, at.as_str(), "face", "passed"))
        .collect();
    let book = workbook(&document(&rows, |_| ("gate-1", true)));
    let details = &book["sheets"][1];
    let passages = "08:00–09:00, 10:00–11:00,\n12:00–13:00, 14:00–15:00,\n16:00–17:00";
    assert_eq!(details["cells"]["H2"]["value"], passages);
    let height = |row: usize| details["heights"][row - 1].as_f64().unwrap();
    // A line of 10 points takes 12 to 13.5 points.
    assert!(height(2) >= 3.0 * 13.5 && (13.5..20.0).contains(&height(3)), "{details}");
}

#[test]
fn a_shift_that_may_still_run_is_noted_in_both_languages() {
    let site = Site::prepare();
    let passages = vec![
        on(&liu(), Entry, "30T08:00"),
        on(&chen(), Entry, "31T08:00"),
        on(&chen(), Exit, "31T17:00"),
        on(&liu(), Entry, "31T20:00"),
    ];
    past::write(&site, &[liu(), chen()], passages.into_iter());
    let clock = WallClock::new(&site.path("."));
    let at = |time: &str| {
        let then: jiff::Timestamp = time.parse().unwrap();
        clock.ahead(then.as_second() - jiff::Timestamp::now().as_second());
    };
    at("2024-11-01T05:00:00+08:00");
    let _daemon = site.start_with(&clock.environment());
    let notes = |more: &[&str]| -> Vec<String> {
        let made = one(&sheet(&site, more));
        let notes = made["notes"].as_array().unwrap();
        notes.iter().map(|note| note.as_str().unwrap().to_owned()).collect()
    };
    // The month is over, but the night shift of its last day is not.
    let runs =
        "1 worker has come in and not left when the records were read: the shift may still run";
    let now = notes(&[]);
    assert!(now.iter().any(|note| note.starts_with(runs)), "{now:?}");
    assert!(!now.iter().any(|note| note.contains("before all of the month")), "{now:?}");
    assert!(!notes(&["--team", "瓦工班"]).iter().any(|note| note.contains("still run")));
    let path = site.path("sheet.xlsx");
    let out = ["--format", "xlsx", "--out", path.to_str().unwrap()];
    let said = site.gatehouse(&[&["timesheet", "--month", "2024-10"][..], &out].concat());
    assert!(said.code == 0 && said.err.contains(": 2 workers, "), "{said:?}");
    let book = read("xlsx_reader.py", &path);
    let texts: Vec<&str> = book["sheets"][0]["cells"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|cell| cell["value"].as_str())
        .collect();
    for both in ["尚有 1 人在场内，其班次可能未结束", "gate-1 的账本自 2024-10-30 08:00 起"]
    {
        let found = texts.iter().find(|text| text.contains(both)).expect(both);
        assert!(found.starts_with("注意 Note: ") && found.is_ascii() == both.is_ascii(), "{found}");
    }
    // On its last day the month is not over. Long after the month no shift can still run.
    at("2024-10-31T23:00:00+08:00");
    let before = notes(&[]);
    let not_past = "gate-1: read on 2024-10-31 23:00, before all of the month was past";
    assert!(before.iter().any(|note| note == not_past), "{before:?}");
    assert!(before.iter().any(|note| note.starts_with(runs)), "{before:?}");
    at("2024-11-01T13:00:00+08:00");
    let after = notes(&[]);
    assert!(!after.iter().any(|note| note.contains("still run")), "{after:?}");
}

#[test]
fn the_workbook_has_the_expected_cells_and_prints_on_a4() {
    let bytes = print::xlsx(&fixed()).unwrap();
    assert!(bytes == print::xlsx(&fixed()).unwrap(), "the same sheet has other bytes");
    let book = workbook(&fixed());
    assert_eq!(book["created"], "2026-11-05 01:02:03");
    let sheets = book["sheets"].as_array().unwrap();
    let names: Vec<_> = sheets.iter().map(|sheet| sheet["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["考勤表 Sheet", "明细 Details", "补记与异议 Apart"]);
    let mut cells = String::new();
    for (sheet, repeated) in sheets.iter().zip(["$6:$7", "$1:$1", "$1:$1"]) {
        assert_eq!((&sheet["paper"], &sheet["orientation"]), (&json!(9), &json!("landscape")));
        assert_eq!(sheet["fit"], json!([true, 1, 0]));
        assert_eq!(sheet["repeated"], repeated);
        assert_eq!(sheet["footer"], "第 &P 页，共 &N 页  Page &P of &N");
        cells += &format!("# {}\n", sheet["name"].as_str().unwrap());
        let mut lines: Vec<(u32, usize, String)> = Vec::new();
        for (place, cell) in sheet["cells"].as_object().unwrap() {
            assert_ne!(cell["type"], "f", "{place} is a formula: {cell}");
            assert_eq!(cell["font"], "宋体", "{place}");
            let format = match cell["format"].as_str().unwrap() {
                "General" => "",
                other => &format!("\t{other}"),
            };
            let column: String = place.chars().take_while(char::is_ascii_alphabetic).collect();
            let row = place[column.len()..].parse().unwrap();
            let line = format!("{place}\t{}{format}\n", cell["value"]);
            let order = column.bytes().fold(0, |n, letter| n * 26 + usize::from(letter - b'@'));
            lines.push((row, order, line));
        }
        lines.sort();
        cells.extend(lines.into_iter().map(|(.., line)| line));
    }
    // A person has checked each line of this file.
    let expected = include_str!("data/timesheet_cells.txt");
    for (n, (is, should)) in cells.lines().zip(expected.lines()).enumerate() {
        assert_eq!(
            is,
            should,
            "line {} of tests/integration/data/timesheet_cells.txt\n{cells}",
            n + 1
        );
    }
    assert_eq!(cells.lines().count(), expected.lines().count(), "{cells}");
}

#[test]
fn the_csv_has_the_expected_cells_and_no_formula() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sheet.csv");
    let bytes = print::csv(&fixed()).unwrap();
    assert!(bytes.starts_with(b"\xEF\xBB\xBF") && bytes.ends_with(b"\r\n"));
    std::fs::write(&path, bytes).unwrap();
    let rows = read("csv_reader.py", &path);
    let rows: Vec<Vec<&str>> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap()).collect())
        .collect();
    for row in &rows {
        assert_eq!(row.len(), rows[0].len());
        for cell in row {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{row:?}");
        }
    }
    let of = |kind: &str| -> Vec<&Vec<&str>> { rows.iter().filter(|row| row[0] == kind).collect() };
    let days: Vec<_> = of("day").iter().map(|r| (r[3], r[4], r[5], r[8], r[10], r[14])).collect();
    let ma = "马强 \"老马\"\n二";
    let expected = [
        ("W003", ma, "2026-10-09", "08:00–18:15", "10:15", ""),
        ("W003", ma, "2026-10-31", "", "0:00", "议"),
        ("W002", "'=1+1", "2026-10-09", "?–17:00", "0:00", "入"),
        ("W002", "'=1+1", "2026-10-10", "08:00–16:30", "8:30", "卡"),
        ("W001", "刘峰", "2026-10-09", "07:58–12:01, 13:00–17:30", "4:03", "疑"),
        ("W001", "刘峰", "2026-10-10", "20:00–06:00+1", "10:00", "夜"),
        ("W001", "刘峰", "2026-10-12", "08:00–?", "0:00", "出补"),
    ];
    assert_eq!(days, expected);
    assert_eq!((of("day")[0][1], of("day")[0][2]), ("'@贵州三建", "'+木工"));
    let sums: Vec<_> =
        of("total").iter().map(|r| (r[9], r[10], r[11], r[12], r[13], r[16])).collect();
    assert_eq!(sums, [("6", "32:48", "1968", "1", "1", "41:48")]);
    let unconfirmed: Vec<_> = of("total").iter().map(|r| (r[20], r[21], r[22])).collect();
    assert_eq!(unconfirmed, [("0", "4:30", "270")]);
    let disputed: Vec<_> = of("total").iter().map(|r| (r[23], r[24], r[25])).collect();
    assert_eq!(disputed, [("1", "0:00", "0")]);
    assert_eq!(of("worker").len() + of("team").len() + of("contractor").len(), 3 + 3 + 2);
    assert_eq!(of("supplement")[0][17], "2026-10-13 09:00 admin: -forgot, \"really\"");
    assert_eq!(of("disputed")[0][17], "异议见 disputed by (seq 60)");
    let who: Vec<_> = of("worker").iter().map(|r| (r[3], r[18], r[19])).collect();
    let trade = "steel fixer";
    assert_eq!(who, [("W003", trade, ""), ("W002", trade, ""), ("W001", trade, "441X")]);
    let legend =
        "卡 刷卡、身份证或二维码进出，非人脸 passages by card, ID card or QR code, not by face";
    assert!(of("note").iter().any(|row| row[17].contains(legend)));
    assert!(of("source")[0][17].contains("gate-1") && of("source")[0][17].contains("41–54"));
}

#[test]
fn a_corrected_outcome_counts_in_lists_and_sheets_and_reaches_the_platform() {
    let not_passed = |went: Went| Went { outcome: Outcome::NotPassed, ..went };
    let mut site = Site::prepare();
    let passages = vec![
        on(&liu(), Exit, "08T17:00"),
        on(&liu(), Entry, "09T08:00"),
        not_passed(on(&liu(), Exit, "09T17:00")),
        not_passed(on(&liu(), Entry, "10T07:50")),
        on(&liu(), Entry, "10T08:00"),
        not_passed(on(&liu(), Exit, "10T16:00")),
    ];
    past::write(&site, &[liu()], passages.into_iter());
    assert_eq!(past::correct(&site, "north", Exit), 2);
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let _daemon = site.start();
    let sent: Vec<Value> = (0..8).map(|_| platform.next_on("attendance")).collect();
    let (first, correction) = (&sent[2], &sent[6]);
    assert_eq!((&first["outcome"], first.get("corrects")), (&json!("not_passed"), None));
    assert_eq!(correction["corrects"], first["seq"]);
    assert_eq!(correction["outcome"], "unconfirmed");
    assert_eq!(correction["flags"], json!(["sensor_suspect"]));
    // A correction is a whole record with a seq and a leaf of its own.
    assert_ne!((&correction["seq"], &correction["leaf"]), (&first["seq"], &first["leaf"]));
    for key in ["passage", "worker", "name", "lane", "direction", "at", "means", "score", "clock"] {
        assert_eq!(correction[key], first[key], "{key}");
    }

    let listed = site.gatehouse(&["--json", "attendance", "list"]).json_lines();
    let rows: Vec<_> =
        listed.iter().map(|r| json!([r["seq"], r["outcome"], r.get("corrects")])).collect();
    let expected = [
        json!([1, "passed", null]),
        json!([2, "passed", null]),
        json!([7, "unconfirmed", 3]),
        json!([4, "not_passed", null]),
        json!([5, "passed", null]),
        json!([8, "unconfirmed", 6]),
    ];
    assert_eq!(rows, expected);
    let table = site.gatehouse(&["attendance", "list"]).out;
    assert!(table.contains("CORRECTS"), "{table}");

    let total = one(&sheet(&site, &[]))["total"].clone();
    assert_eq!((&total["days_present"], &total["minutes"]), (&json!(3), &json!(0)));
    assert_eq!(total["unconfirmed"], json!({ "days": 0, "minutes": 540 + 480 }));
    // The worker left on the 10th, also if no sensor confirmed it.
    let onsite = site.gatehouse(&["--json", "attendance", "onsite", "--since", "2024-10-01"]);
    assert_eq!(onsite.json_lines().len(), 0);
    let said = site.gatehouse(&["timesheet", "--month", "2024-10"]);
    assert!(said.out.contains("HOURS UNCONFIRMED") && said.out.contains("17:00"), "{}", said.out);

    // A platform may know either number, and a dispute names the record that came first.
    let dispute = |seq: &str| {
        site.gatehouse(&["--json", "attendance", "dispute", seq, "--reason", "his brother"])
    };
    let (by_first, by_correction) = (one(&dispute("3")), one(&dispute("8")));
    assert_eq!((&by_first["seq"], &by_correction["seq"]), (&json!(7), &json!(8)));
    assert_eq!(platform.event("dispute")["disputes"], first["leaf"]);
    assert_eq!(platform.event("dispute")["disputes"], sent[5]["leaf"]);
    dispute("7").refused("is already disputed, by record");
    let total = one(&sheet(&site, &[]))["total"].clone();
    assert_eq!(total["unconfirmed"], json!({ "days": 0, "minutes": 0 }));
    platform.assert_whole();
}

#[test]
fn a_sheet_counts_a_correction_from_another_gateways_export_once() {
    let there = Site::prepare();
    there.configure(|c| c.set("site", "gateway_id", "gate-2").set("site", "project_code", "P-1"));
    let exit = Went { outcome: Outcome::NotPassed, ..on(&liu(), Exit, "09T17:00") };
    past::write(&there, &[liu()], [exit].into_iter());
    let files = [there.path("before.jsonl"), there.path("after.jsonl")];
    let [before, after] = files.each_ref().map(|file| file.to_str().unwrap());
    let export = |file: &str| {
        let daemon = there.start();
        let said = there.gatehouse(&["attendance", "export", "--month", "2024-10", "--out", file]);
        assert_eq!(said.code, 0, "{said:?}");
        let theirs = fingerprint(&there);
        daemon.stop();
        theirs
    };
    let theirs = export(before);
    assert_eq!(past::correct(&there, "north", Exit), 1);
    export(after);
    let (here, _daemon) = site("gate-1", "P-1", vec![on(&liu(), Entry, "09T08:00")]);
    for with in [[before, after], [after, before]] {
        let known = ["--fingerprint", &theirs];
        let with = ["--with", with[0], "--with", with[1]];
        let made = one(&sheet(&here, &[&known[..], &with].concat()));
        let total = &made["total"];
        assert_eq!((&total["days_present"], &total["minutes"]), (&json!(1), &json!(0)));
        assert_eq!(total["unconfirmed"], json!({ "days": 0, "minutes": 540 }));
    }
}

/// Uses a week of some workers. `GATEHOUSE_LEDGER_DAYS=1095 GATEHOUSE_LEDGER_WORKERS=288` makes the
/// three years of a site, 1.26 million records, and prints the time of each query.
#[test]
fn a_long_ledger_is_queried_by_month_by_worker_and_for_workers_on_site() {
    let size =
        |name: &str, usual: i64| std::env::var(name).map_or(usual, |size| size.parse().unwrap());
    let (days, workers) = (size("GATEHOUSE_LEDGER_DAYS", 7), size("GATEHOUSE_LEDGER_WORKERS", 24));
    let site = Site::prepare();
    let people: Vec<Person> = (0..workers)
        .map(|n| person(&format!("W{n:04}"), &format!("工人{n}"), &format!("班组 {}", n % 12)))
        .collect();
    // The last of these days is the last day of the previous month.
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::get("Asia/Shanghai").unwrap());
    let month = today.date().first_of_month().yesterday().unwrap();
    let last = month.to_zoned(today.time_zone().clone()).unwrap().timestamp().as_millisecond();
    let went = {
        let people = people.clone();
        (0..days).flat_map(move |day| {
            let midnight = last - (days - 1 - day) * 86_400_000;
            let people = people.clone();
            [(Entry, 7 * 60), (Exit, 12 * 60), (Entry, 13 * 60), (Exit, 18 * 60)]
                .into_iter()
                .flat_map(move |(direction, minute)| {
                    let people = people.clone();
                    people.into_iter().zip(0..).map(move |(person, n)| Went {
                        person,
                        direction,
                        at_ms: midnight + (minute + n % 30) * 60_000 + n * 100,
                        lane: "north",
                        outcome: Outcome::Passed,
                        vouched: false,
                        means: gatehouse::attendance::Means::Face,
                    })
                })
        })
    };
    past::write(&site, &people, went);
    let _daemon = site.start();
    let timed = |what: &str, arguments: &[&str]| {
        let begun = std::time::Instant::now();
        let said = site.gatehouse(arguments);
        assert_eq!(said.code, 0, "{said:?}");
        println!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
        said
    };
    let name = month.strftime("%Y-%m").to_string();
    let made = timed("timesheet", &["--json", "timesheet", "--month", &name]);
    let made = one(&made);
    let shown = days.min(month.day().into());
    assert_eq!(made["total"]["minutes"], shown * workers * 600);
    assert_eq!(made["total"]["days_present"], shown * workers);
    assert_eq!(made["rows"].as_array().unwrap().len() as i64, workers);
    let path = site.path("sheet.xlsx");
    let out = ["--format", "xlsx", "--out", path.to_str().unwrap()];
    timed("timesheet, xlsx", &[&["timesheet", "--month", &name][..], &out].concat());
    kept(&path);
    let book = read("xlsx_reader.py", &path);
    let first = &book["sheets"][0];
    let breaks = first["breaks"].as_array().unwrap();
    assert!(!breaks.is_empty());
    for after in breaks {
        // The cell is empty in a worker's second row.
        let begins = format!("A{}", after.as_u64().unwrap() + 1);
        assert_ne!(
            first["cells"][&begins],
            Value::Null,
            "a page begins in the middle of a worker's rows"
        );
    }
    let of_one = ["timesheet", "--json", "--month", &name, "--worker", "W0007"];
    assert_eq!(one(&timed("timesheet of one worker", &of_one))["total"]["minutes"], shown * 600);
    let list = timed("list of one worker", &["--json", "attendance", "list", "--worker", "W0007"]);
    assert_eq!(list.json_lines().len() as i64, 4 * days);
    let day = month.to_string();
    let list = ["--json", "attendance", "list", "--from", &day, "--to", &day];
    assert_eq!(timed("list of a day", &list).json_lines().len() as i64, 4 * workers);
    let onsite = ["--json", "attendance", "onsite", "--since", &day];
    assert_eq!(timed("onsite", &onsite).json_lines().len(), 0);
    let unknown = site.gatehouse(&["attendance", "list", "--lane", "nowhere"]);
    unknown.refused("there is no lane nowhere; there are: north");
}
