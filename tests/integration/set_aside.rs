//! Databases that lost their end, were damaged, or were put back from a copy: the real daemon keeps
//! what is legible, sends it, lists it, and asks a person to check the roster.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    common::{
        Gate, Said, Site,
        consumer::Consumer,
        past::{person, went, write},
        photo_path, until,
    },
    evidence::by_others,
    national::{Platform, SECRET},
};
use gatehouse::config::Direction;

const ID_A: &str = "522201199003074411";
const ID_B: &str = "522201198805112024";

fn enroll_both(site: &Site) {
    let a = site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
    let b = site.enroll("W002", "Jacinda", ID_B, &photo_path("person_b_2.jpg"));
    assert_eq!((a.code, b.code), (0, 0), "{a:?} {b:?}");
}

fn attendance(site: &Site) -> Vec<Value> {
    site.gatehouse(&["--json", "attendance", "list"]).json_lines()
}

fn all_sent(site: &Site) -> Value {
    site.status_when("all to be sent", |s| Site::outbox(s) == 0)
}

/// The database with its log, as the disk has it.
struct Copy(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Copy {
    fn of(site: &Site) -> Copy {
        let files = ["gatehouse.db", "gatehouse.db-wal"].map(|name| site.path("data").join(name));
        Copy(files.map(|file| (file.clone(), fs::read(file).ok())).into())
    }

    fn put_back(&self, site: &Site) {
        let _ = fs::remove_file(site.path("data/gatehouse.db-shm"));
        for (file, bytes) in &self.0 {
            match bytes {
                Some(bytes) => fs::write(file, bytes).unwrap(),
                None => drop(fs::remove_file(file)),
            }
        }
    }
}

/// Waits until the file beside the database has this seq.
fn marked(site: &Site, seq: u64) {
    let mark = || fs::read_to_string(site.path("data/committed")).unwrap_or_default();
    until("the mark", || {
        let has: u64 = mark().split_whitespace().nth(2)?.parse().ok()?;
        (has >= seq).then_some(())
    });
}

/// Returns what the status says of a part.
fn remedy(status: &Value, what: &str) -> String {
    let all = status["degraded"].as_array().unwrap();
    let found = all.iter().find(|d| d["what"] == what);
    found.unwrap_or_else(|| panic!("{what} is not in {status:#}"))["remedy"].to_string()
}

/// Saves a signed head, and returns the path of its file.
fn head(site: &Site, name: &str) -> String {
    let file = site.path(name).to_str().unwrap().to_owned();
    let said = site.gatehouse(&["evidence", "head", "--out", &file]);
    assert_eq!(said.code, 0, "{said:?}");
    file
}

fn overwrite(site: &Site, from: usize, to: usize) {
    let file = site.path("data/gatehouse.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[from..to].fill(0xAA);
    fs::write(file, bytes).unwrap();
}

/// Returns a stopped gate with a record that the platform has and one that was not sent.
fn a_gate_with_an_unsent_record() -> Gate {
    let mut gate = Gate::start(&[]);
    enroll_both(&gate.site);
    gate.pass_again("person_a_1.jpg");
    gate.platform.next_on("attendance");
    all_sent(&gate.site);
    gate.site.broker.stop();
    gate.site.status_when("the link down", |s| s["upstreams"][0]["connected"] == false);
    gate.pass_again("person_b_1.jpg");
    until("the record", || (attendance(&gate.site).len() == 2).then_some(()));
    gate.daemon.take().unwrap().stop();
    let database = rusqlite::Connection::open(gate.site.path("data/gatehouse.db")).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(database);
    gate.site.broker.start();
    gate
}

#[test]
fn i3_a_database_that_lost_its_end_is_kept_and_every_record_is_flagged_until_a_person_confirms() {
    let mut gate = Gate::start(&[]);
    enroll_both(&gate.site);
    gate.pass_again("person_a_1.jpg");
    gate.platform.next_on("attendance");
    let ledger = all_sent(&gate.site)["ledger"]["id"].clone();
    let kept = gate.platform.records.last().unwrap().json["seq"].as_u64().unwrap();
    // The card confirms what follows and does not keep it.
    let head_kept = head(&gate.site, "kept.head");
    let copy = Copy::of(&gate.site);
    let barred = gate.site.gatehouse(&["worker", "bar", "W001", "--reason", "stole copper"]);
    assert_eq!(barred.code, 0, "{barred:?}");
    gate.pass_again("person_b_1.jpg");
    let sent = gate.platform.next_on("attendance");
    let sent = sent["seq"].as_u64().unwrap();
    marked(&gate.site, sent);
    let head_lost = head(&gate.site, "lost.head");
    gate.daemon.take().unwrap().kill();
    copy.put_back(&gate.site);

    gate.daemon = Some(gate.site.start());
    let status = gate.site.status();
    assert_eq!(status["disk"]["set_aside"], json!([]), "{}", gate.site.log());
    assert_eq!(status["ledger"]["id"], ledger);
    assert!(remedy(&status, "roster").contains("roster confirm"), "{status:#}");
    assert_eq!(attendance(&gate.site).len(), 1, "the month before is still there");
    let lost = gate.platform.event("lost");
    assert_eq!(lost["first"], kept + 1, "{lost}");
    let last = lost["last"].as_u64().unwrap();
    assert!(last > sent, "{lost}");
    assert_eq!(lost["seq"], last + 1, "{lost}");
    assert_eq!(lost["code"], "database_shortened");
    assert!(lost["entries"].as_u64().unwrap() >= sent - kept, "{lost}");
    let alarm = loop {
        let alarm = gate.platform.event("alarm");
        if alarm["what"] == "roster" {
            break alarm;
        }
    };
    assert_eq!(alarm["raised"], true, "{alarm}");

    // The bar is lost with its entry: the worker passes, and the record says so.
    gate.site.turnstile_connected();
    gate.pass_again("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["flags"]), (&json!("W001"), &json!(["roster_stale"])));
    gate.daemon.take().unwrap().stop();
    gate.restart(&[]);
    gate.pass_again("person_b_1.jpg");
    let flagged = gate.platform.next_on("attendance");
    assert_eq!(flagged["flags"], json!(["roster_stale"]), "a restart ends no doubt");

    let confirm = ["--json", "roster", "confirm", "--reason", "compared with the list"];
    let said = gate.site.gatehouse(&confirm);
    assert_eq!(said.json_lines()[0]["workers"], 2, "{said:?}");
    let confirmed = gate.platform.event("roster_confirmation");
    let by = confirmed["by"].as_str().unwrap_or_default();
    assert!(!by.is_empty() && confirmed["reason"] == "compared with the list", "{confirmed}");
    assert_eq!(confirmed["since"]["index"], lost["leaf"]["index"], "{confirmed}");
    gate.pass_again("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["flags"], Value::Null);
    let status = gate.site.status();
    assert!(!Site::degraded(&status).contains(&"roster"), "{status:#}");
    gate.site.gatehouse(&["roster", "confirm"]).refused("not in doubt");
    gate.platform.assert_whole();
    // A package says what was lost. It has a proof for a head before the loss, and none for a lost one.
    let package = gate.site.path("W001.cbor");
    let out = package.to_str().unwrap();
    let day = &record["at"].as_str().unwrap()[..10];
    let export =
        ["evidence", "export", "--worker", "W001", "--from", day, "--to", day, "--out", out];
    let heads = ["--head", &head_kept, "--head", &head_lost];
    let said = gate.site.gatehouse(&[&export[..], &heads].concat());
    assert_eq!(said.code, 0, "{said:?}");
    for (head, anchors) in [(&head_kept, true), (&head_lost, false)] {
        let said = gate.site.gatehouse(&["--json", "evidence", "verify", out, "--head", head]);
        let report = said.json_lines().remove(0);
        assert_eq!(report["anchor"]["earlier_head"], anchors, "{report}");
        assert_eq!(report["lost"][0]["first"], lost["first"], "{report}");
        let (code, theirs) = by_others(&package, &["--head", head]);
        assert_eq!((code, &theirs["anchored"]["earlier_head"]), (0, &json!(anchors)), "{theirs}");
    }
    let audited = gate.site.gatehouse(&["evidence", "audit"]);
    assert_eq!(audited.code, 0, "{audited:?}");
}

#[test]
fn what_a_database_that_was_set_aside_had_not_sent_goes_out_and_its_records_are_listed() {
    let mut gate = a_gate_with_an_unsent_record();
    let old = gate.platform.records[0].json["ledger"].clone();
    // Damage that leaves entries and roster legible.
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'photo'";
    let database = rusqlite::Connection::open(gate.site.path("data/gatehouse.db")).unwrap();
    let page: usize = database.query_row(sql, [], |row| row.get(0)).unwrap();
    drop(database);
    overwrite(&gate.site, (page - 1) * 4096, page * 4096);

    gate.daemon = Some(gate.site.start());
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["ledger"]), (&json!("W002"), &old), "{record}");
    assert_eq!(record["resent"], true);
    let status = gate.site.status_when("all of it to be sent", |s| {
        s["degraded"].to_string().contains("have gone upstream")
    });
    assert_eq!(status["disk"]["set_aside"].as_array().unwrap().len(), 1);
    gate.site.turnstile_connected();
    gate.pass_again("person_a_1.jpg");
    let new = gate.platform.next_on("attendance");
    assert_eq!(
        (&new["ledger"], &new["flags"]),
        (&status["ledger"]["id"], &json!(["roster_stale"]))
    );

    // Lists, sheets and exports have the records of both ledgers.
    let listed = attendance(&gate.site);
    let who: Vec<_> = listed.iter().map(|r| (r["ledger"].clone(), r["worker"].clone())).collect();
    let expected = [(&old, "W001"), (&old, "W002"), (&new["ledger"], "W001")];
    assert_eq!(who, expected.map(|(ledger, worker)| (ledger.clone(), json!(worker))));
    let table = gate.site.gatehouse(&["attendance", "list"]).out;
    assert!(table.contains(&format!("{}/", &old.as_str().unwrap()[..8])), "{table}");
    let onsite = gate.site.gatehouse(&["--json", "attendance", "onsite"]).json_lines();
    assert_eq!(onsite.len(), 2, "{onsite:#?}");
    let month = listed[0]["at"].as_str().unwrap()[..7].to_owned();
    let file = gate.site.path("export.jsonl");
    let export = ["attendance", "export", "--month", &month, "--out", file.to_str().unwrap()];
    let said = gate.site.gatehouse(&export);
    assert!(said.code == 0 && said.out.contains("3 records"), "{said:?}");
    let sheet = gate.site.gatehouse(&["--json", "timesheet", "--month", &month]);
    let sources = sheet.json_lines()[0]["sources"].as_array().unwrap().clone();
    let counts: Vec<_> = sources.iter().map(|s| s["records"].clone()).collect();
    assert_eq!(counts, [json!(1), json!(2)], "{sources:#?}");
}

#[test]
fn a_rescue_makes_a_badly_damaged_database_legible_and_its_records_go_out() {
    let mut gate = a_gate_with_an_unsent_record();
    let old = gate.platform.records[0].json["ledger"].clone();
    overwrite(&gate.site, 0, 4096);
    gate.daemon = Some(gate.site.start());
    let list: Said = gate.site.gatehouse(&["attendance", "list"]);
    assert!(list.err.contains("ledger rescue"), "{list:?}");
    assert_eq!(attendance(&gate.site).len(), 0);

    let said = gate.site.gatehouse(&["--json", "ledger", "rescue"]);
    // All entries are rescued; which records were acknowledged is not legible.
    assert_eq!(said.code, 1, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["missing"], &report["outbox"]), (&json!(0), &json!(false)), "{report}");
    assert_eq!(report["ledger"], old);
    assert_eq!(report["by_bytes"], report["entries"]);
    assert_eq!(attendance(&gate.site).len(), 2);
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start());
    let workers = [(); 2].map(|()| {
        loop {
            let message = gate.platform.next();
            if message.leaf() == "attendance" {
                assert_eq!(message.json["ledger"], old);
                break message.json["worker"].clone();
            }
        }
    });
    assert_eq!(workers, [json!("W001"), json!("W002")]);
    gate.site.gatehouse(&["ledger", "rescue", "7-nowhere"]).refused("no such database");
}

#[test]
fn an_older_copy_that_was_put_back_begins_a_ledger_that_names_the_old_head() {
    let mut gate = Gate::start(&[]);
    enroll_both(&gate.site);
    gate.pass_again("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    all_sent(&gate.site);
    gate.daemon.take().unwrap().stop();
    let copy = Copy::of(&gate.site);
    gate.restart(&[]);
    gate.pass_again("person_b_1.jpg");
    gate.platform.next_on("attendance");
    all_sent(&gate.site);
    gate.daemon.take().unwrap().stop();
    copy.put_back(&gate.site);

    gate.daemon = Some(gate.site.start());
    let first = gate.platform.event("successor");
    assert_eq!((&first["seq"], &first["code"]), (&json!(1), &json!("older_copy")), "{first}");
    assert_eq!(first["predecessor"], record["ledger"]);
    assert!(first["head"]["index"].as_u64() >= record["leaf"]["index"].as_u64(), "{first}");
    assert_eq!((&first["workers"], &first["workers_lost"]), (&json!(2), &json!(0)));
    let status = gate.site.status();
    assert_eq!(status["ledger"]["id"], first["ledger"]);
    assert!(remedy(&status, "database").contains("older copy"), "{status:#}");
    assert!(remedy(&status, "roster").contains("roster confirm"), "{status:#}");
    assert_eq!(attendance(&gate.site), [record], "the copy's records are listed");
}

#[test]
fn a_person_begins_a_new_ledger_after_a_copy_that_no_gateway_can_notice() {
    let mut gate = Gate::start(&[]);
    enroll_both(&gate.site);
    gate.pass_again("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    all_sent(&gate.site);
    let renew = ["ledger", "renew", "--reason", "copy put back"];
    gate.site.gatehouse(&renew).refused("stop it first");
    gate.daemon.take().unwrap().stop();
    let said = gate.site.gatehouse(&renew);
    assert!(said.code == 0 && said.out.contains("set-aside"), "{said:?}");
    gate.daemon = Some(gate.site.start());
    let first = gate.platform.event("successor");
    assert_eq!(
        (&first["code"], &first["workers"]),
        (&json!("ledger_renewed"), &json!(2)),
        "{first}"
    );
    assert!(first["detail"].as_str().unwrap().ends_with(": copy put back"), "{first}");
    assert_eq!(first["predecessor"], record["ledger"]);
    assert_eq!(attendance(&gate.site), [record]);
}

#[test]
fn a_platform_that_acknowledges_steps_over_what_is_lost() {
    let mut site = Site::without_lanes();
    let people = [person("W001", "刘峰", "t")];
    let passage = went(&people[0], Direction::Entry, "2026-10-12T07:30:00+08:00");
    write(&site, &people, std::iter::once(passage));
    site.configure(|configuration| configuration.its("ack", "platform"));
    site.broker.start();
    let root = "gatehouse/v1/P-1/gate-1";
    let mut platform = Consumer::start(&site.path(""), &[site.broker.port], root, "platform");
    let daemon = site.start();
    all_sent(&site);
    let copy = Copy::of(&site);
    let suspend = ["worker", "suspend", "W001", "--reason", "no helmet"];
    assert_eq!(site.gatehouse(&suspend).code, 0);
    all_sent(&site);
    let highest = platform.report().highest;
    marked(&site, highest);
    daemon.kill();
    copy.put_back(&site);

    let _daemon = site.start();
    assert_eq!(site.gatehouse(&suspend).code, 0, "the first suspension is lost");
    // The outbox is empty only when the platform has acknowledged what came after the gap.
    all_sent(&site);
    let report = platform.report();
    assert!(report.highest > highest + 10_000, "{report:?}");
    assert_eq!((report.missing, report.differing), (0, 0), "{report:?}");
}

#[test]
fn i3_a_record_set_aside_for_which_the_gateway_lacks_something_is_listed_and_goes_later() {
    let mut gate = a_gate_with_an_unsent_record();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'photo'";
    let database = rusqlite::Connection::open(gate.site.path("data/gatehouse.db")).unwrap();
    let page: usize = database.query_row(sql, [], |row| row.get(0)).unwrap();
    drop(database);
    overwrite(&gate.site, (page - 1) * 4096, page * 4096);
    let mut national = Platform::of(&gate.site, "national");
    national.start();
    fs::write(gate.site.path("secret"), SECRET).unwrap();
    let url = format!("http://127.0.0.1:{}/open/api", national.port);
    let configuration = gate.site.path("gatehouse.toml");
    let before = fs::read(&configuration).unwrap();
    // The worker's team has no number there.
    let teams: toml::Table = [("木工班".to_owned(), "100002".into())].into_iter().collect();
    gate.site.configure(|c| {
        let c = c.calls(&url, "national").its("appid", "P-1");
        c.its("secret", "file:secret").its("teams", teams)
    });
    gate.daemon = Some(gate.site.start());
    let status = gate
        .site
        .status_when("the record to be refused", |s| s["upstreams"][0]["refused_rows"] == 1);
    assert!(!status["degraded"].to_string().contains("have gone upstream"), "{status:#}");
    let listed = gate.site.gatehouse(&["--json", "upstream", "refused", "platform"]).json_lines();
    assert_eq!((&listed[0]["worker"], &listed[0]["here"]), (&json!("W002"), &json!(true)));
    let folder = listed[0]["set_aside"].as_str().unwrap();
    assert!(gate.site.path("data/set-aside").join(folder).exists(), "{listed:#?}");
    let table = gate.site.gatehouse(&["upstream", "refused", "platform"]).out;
    assert!(table.contains(&format!(" in {folder}")), "{table}");
    let said = gate.site.gatehouse(&["upstream", "retry", "platform"]);
    assert!(said.code == 0 && said.out.contains("1 record offered again"), "{said:?}");
    gate.site
        .status_when("the record to be refused again", |s| s["upstreams"][0]["refused_rows"] == 1);
    gate.daemon.take().unwrap().stop();
    fs::write(&configuration, before).unwrap();
    gate.daemon = Some(gate.site.start());
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W002");
    gate.site.status_when("all of it to be sent", |s| {
        s["degraded"].to_string().contains("have gone upstream")
    });
}
