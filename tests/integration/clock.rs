//! The real daemon with a wall clock that is wrong, is set, and becomes synchronised.

use std::path::PathBuf;

use crate::common::{
    Daemon, Gate, Lane, Said, Site, Subscriber, WallClock, past, photo, photo_path, slave::python,
    walk,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

const ID_A: &str = "522201199003074411";
const HOUR: i64 = 3600;

fn ms(time: &serde_json::Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn i9_no_step_of_the_wall_clock_disturbs_a_passage_and_each_becomes_an_event() {
    let site = Site::of(Lane::north().set("pass_within_s", 20));
    let clock = WallClock::new(&site.path(""));
    // A box without a battery for its clock: the clock is a year behind.
    clock.ahead(-365 * 24 * HOUR);
    let mut gate = Gate::at(site, &clock.environment());
    let enrolled = gate.site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    gate.platform.event("enrolment");

    gate.camera.show(photo("person_a_1.jpg"));
    assert_eq!(gate.board.line(), "coil 0 on");
    gate.camera.show_empty();
    // The clock moves two hours ahead while the worker walks. No deadline passes, and nothing
    // hangs.
    clock.ahead(-365 * 24 * HOUR + 2 * HOUR);
    let step = gate.platform.event("clock");
    assert_eq!((&step["change"], &step["booted_at"]), (&json!("stepped"), &json!(null)));
    assert!((step["moved_ms"].as_i64().unwrap() - 2 * HOUR * 1000).abs() < 100, "{step}");
    walk(&gate.site, &mut gate.board);
    let before = gate.platform.next_on("attendance");
    assert_eq!((&before["outcome"], &before["clock"]["synced"]), (&json!("passed"), &json!(false)));

    // A daemon that restarts in the same boot has no clock event to record until the clock is good.
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start_with(&clock.environment()));
    clock.ahead(0);
    clock.synchronised(true);
    let good = gate.platform.event("clock");
    assert_eq!(good["change"], "synchronised", "{good}");
    assert_eq!(good["clock"]["synced"], true);
    // The event corrects the times of earlier records of the same boot, which the wrong clock
    // dated.
    assert_eq!(good["clock"]["boot"], before["clock"]["boot"]);
    let really = ms(&good["booted_at"]) + before["clock"]["uptime_ms"].as_i64().unwrap();
    let off_by = really - ms(&before["at"]);
    assert!((off_by - 365 * 24 * HOUR * 1000).abs() < 5_000, "{off_by} ms");
    assert_eq!(gate.site.status()["clock"]["synced"], true);
    gate.daemon.take().unwrap().stop();
    gate.daemon = Some(gate.site.start_with(&clock.environment()));
    gate.platform.event("boot");
    clock.synchronised(false);
    assert_eq!(gate.platform.event("clock")["change"], "unsynchronised");
    gate.platform.assert_whole();
}

/// A gateway whose machine has no battery for its clock. A guard vouches for the worker W001 at a
/// simulated turnstile.
struct Machine {
    clock: WallClock,
    platform: Subscriber,
    daemon: Option<Daemon>,
    site: Site,
}

impl Machine {
    /// The machine starts on Friday 2026-10-09 at 07:00, with a synchronised clock. The worker
    /// enters, leaves after ten hours, and the power is cut.
    fn on_friday(gateway: &str) -> Machine {
        let lane = Lane::simulated("north").turnstile("pass_after_ms", 100);
        let mut site = Site::with(|c| c.lane(lane).bench().set("site", "gateway_id", gateway));
        past::write(&site, &[past::person("W001", "刘峰", "钢筋一班")], [].into_iter());
        site.broker.start();
        let platform = site.broker.subscriber();
        let clock = WallClock::new(&site.path(""));
        let mut gate = Machine { clock, platform, daemon: None, site };
        gate.clock.boot(0xa1, "2026-10-09T07:00:00+08:00");
        gate.clock.synchronised(true);
        gate.start();
        gate.synchronised();
        gate.passes("entry");
        gate.works(10);
        gate.passes("exit");
        gate.power_is_cut();
        gate
    }

    fn start(&mut self) {
        self.daemon = Some(self.site.start_with(&self.clock.environment()));
    }

    fn power_is_cut(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    /// Some hours pass, in which the daemon is restarted.
    fn works(&mut self, hours: i64) {
        self.daemon.take().unwrap().stop();
        self.clock.pass(SignedDuration::from_hours(hours));
        self.start();
    }

    /// Waits until the ledger has the synchronised clock. Returns its event.
    fn synchronised(&mut self) -> Value {
        let event = self.platform.event("clock");
        assert_eq!(event["change"], "synchronised", "{event}");
        event
    }

    fn passes(&mut self, direction: &str) {
        self.site.turnstile_connected();
        let release = ["lane", "release", "north", "--worker", "W001", "--reason", "known"];
        let said = self.site.gatehouse(&[&release[..], &["--direction", direction]].concat());
        assert!(said.out.contains("a person walked through"), "{said:?}");
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let said = self.site.gatehouse(&[&["--json"], arguments].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.json_lines()
    }

    fn listed(&self, from: &str, to: &str) -> Vec<Value> {
        self.json(&["attendance", "list", "--from", from, "--to", to])
    }

    fn sheet(&self, more: &[&str]) -> Value {
        self.json(&[&["timesheet", "--month", "2026-10"], more].concat()).remove(0)
    }

    fn file(&self, format: &str) -> (Said, PathBuf) {
        let path = self.site.path(&format!("sheet.{format}"));
        let out = ["--format", format, "--out", path.to_str().unwrap(), "--force"];
        let said = self.site.gatehouse(&[&["timesheet", "--month", "2026-10"][..], &out].concat());
        assert_eq!(said.code, 0, "{said:?}");
        (said, path)
    }

    /// Returns the lines of the CSV that begin with this kind.
    fn csv(&self, kind: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("csv").1).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(&format!("{kind},")));
        lines.map(str::to_owned).collect()
    }

    /// Returns the sheets of the workbook.
    fn workbook(&self) -> Value {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = script.join("tests/peers/xlsx_reader.py");
        let mut reader = std::process::Command::new(python());
        let output = reader.arg(script).arg(self.file("xlsx").1).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["sheets"].take()
    }
}

/// The days of a sheet: date, first in, last out, to the hour; and hours.
fn days(sheet: &Value) -> Vec<[String; 4]> {
    let days = sheet["rows"].as_array().unwrap().iter().flat_map(|row| {
        row["days"].as_array().unwrap().iter().map(|day| {
            let hour = |at: &Value| at.as_str().map_or("-", |at| &at[11..13]).to_owned();
            let date = day["date"].as_str().unwrap().to_owned();
            // The seconds that the test takes may become a minute or two.
            let hours = day["minutes"].as_u64().unwrap() / 60;
            [date, hour(&day["first_in"]), hour(&day["last_out"]), hours.to_string()]
        })
    });
    days.collect()
}

fn cells(sheet: &Value) -> Vec<String> {
    let cells = sheet["cells"].as_object().unwrap().values();
    cells.filter_map(|cell| cell["value"].as_str().map(str::to_owned)).collect()
}

#[test]
fn mondays_hours_are_mondays_although_its_clock_went_on_at_fridays_time() {
    let mut gate = Machine::on_friday("gate-1");
    // Monday at 06:50, but the clock goes on where the power was cut.
    gate.clock.boot(0xb2, "2026-10-09T17:32:00+08:00");
    gate.start();
    gate.passes("entry");
    let here: Vec<Value> = gate.json(&["attendance", "onsite"]);
    assert_eq!((&here[0]["worker"], &here[0]["undated"]), (&json!("W001"), &json!(true)));
    let before = gate.listed("2026-10-12", "2026-10-12");
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(before[0]["undated"]["before"], Value::Null);
    assert!(before[0]["undated"]["after"].as_str().unwrap() > "2026-10-09T17:00", "{before:?}");
    assert_eq!(before[0]["corrected_at"], Value::Null);
    assert_eq!(gate.sheet(&[])["undated"].as_array().unwrap().len(), 1);

    gate.works(10);
    gate.clock.shows("2026-10-12T16:51:00+08:00");
    gate.clock.synchronised(true);
    let good = gate.synchronised();
    gate.passes("exit");
    let monday = gate.listed("2026-10-12", "2026-10-12");
    assert_eq!(monday.len(), 2, "{monday:?}");
    let [entry, exit] = &monday[..] else { unreachable!() };
    assert!(entry["at"].as_str().unwrap().starts_with("2026-10-09T17:3"), "{entry}");
    assert!(entry["corrected_at"].as_str().unwrap().starts_with("2026-10-12T06:5"), "{entry}");
    assert_eq!((exit.get("corrected_at"), exit.get("undated")), (None, None));
    // A consumer reckons the same by the event.
    let reckoned = ms(&good["booted_at"]) + entry["clock"]["uptime_ms"].as_i64().unwrap();
    assert_eq!(ms(&entry["corrected_at"]), reckoned);
    assert_eq!(gate.listed("2026-10-09", "2026-10-09").len(), 2);
    assert_eq!(gate.listed("2026-10-10", "2026-10-11").len(), 0);
    assert_eq!(gate.json(&["attendance", "onsite"]), Vec::<Value>::new());

    let made = gate.sheet(&[]);
    let expected = [["2026-10-09", "07", "17", "10"], ["2026-10-12", "06", "16", "10"]];
    assert_eq!(days(&made), expected);
    assert_eq!(made["rows"][0]["days"][1]["flags"], json!(["corrected"]));
    assert_eq!((&made["undated"], &made["corrected"][0]["seq"]), (&json!([]), &entry["seq"]));
    assert_eq!(made["corrected"][0]["clock_showed"], entry["at"]);
    let note = "gate-1: 1 time was recorded by a wrong clock and was corrected";
    assert!(made["notes"].to_string().contains(note), "{}", made["notes"]);
    assert_eq!(gate.csv("day").len(), 2);
    assert!(gate.csv("day")[1].contains(",2026-10-12,06:5"), "{:?}", gate.csv("day"));
    assert!(gate.csv("day")[1].contains(",10:0"), "{:?}", gate.csv("day"));
    let corrected = gate.csv("corrected");
    assert!(corrected[0].contains("clock showed 2026-10-09 17:3"), "{corrected:?}");
    let book = gate.workbook();
    assert_eq!(made["total"]["minutes"].as_u64().unwrap() / 60, 20);
    let apart = cells(&book[2]);
    assert!(apart.iter().any(|cell| cell == "更正 corrected"), "{apart:?}");
    assert!(cells(&book[1]).iter().any(|cell| cell == "正"), "{:?}", cells(&book[1]));
    assert!(cells(&book[0]).iter().any(|cell| cell.contains("时钟有误")), "{:?}", cells(&book[0]));

    // Another gateway's sheet reckons by the same times.
    let export = gate.site.path("friday.jsonl");
    let out = ["attendance", "export", "--month", "2026-10", "--out", export.to_str().unwrap()];
    assert_eq!(gate.site.gatehouse(&out).code, 0);
    let there = Site::with(|c| c.set("site", "gateway_id", "gate-2"));
    let _daemon = there.start();
    let known = crate::timesheet::fingerprint(&gate.site);
    let with = ["--month", "2026-10", "--with", export.to_str().unwrap(), "--fingerprint", &known];
    let merged = there.gatehouse(&[&["--json", "timesheet"][..], &with].concat());
    let merged = merged.json_lines().remove(0);
    assert_eq!(
        (&merged["rows"][0]["days"], days(&merged)),
        (&made["rows"][0]["days"], days(&made))
    );
    // A package of that Monday has both passages: two releases with their outcomes.
    let package = gate.site.path("W001.cbor");
    let of = ["--worker", "W001", "--from", "2026-10-12", "--to", "2026-10-12", "--out"];
    let said = gate
        .site
        .gatehouse(&[&["evidence", "export"][..], &of, &[package.to_str().unwrap()]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let proved = gate.json(&["evidence", "verify", package.to_str().unwrap()]);
    assert_eq!(proved[0]["attendance"].as_array().map(Vec::len), Some(2), "{proved:?}");
    assert_eq!(gate.site.status()["ledger"]["undated"], 0);
}

#[test]
fn a_day_by_a_clock_of_1970_is_on_the_sheet_with_its_hours_and_without_a_date() {
    let mut gate = Machine::on_friday("gate-1");
    gate.clock.boot(0xb2, "1970-01-01T08:00:00+08:00");
    gate.start();
    gate.passes("entry");
    gate.works(10);
    gate.passes("exit");
    assert_eq!(gate.site.status()["ledger"]["undated"], 0);
    gate.power_is_cut();
    gate.clock.boot(0xc3, "2026-10-13T06:50:00+08:00");
    gate.clock.synchronised(true);
    gate.start();
    gate.synchronised();

    let made = gate.sheet(&[]);
    assert_eq!(days(&made), [["2026-10-09", "07", "17", "10"]]);
    let undated = made["undated"].as_array().unwrap();
    assert_eq!(undated.len(), 2, "{undated:?}");
    let [entry, exit] = &undated[..] else { unreachable!() };
    assert_eq!((&entry["direction"], &entry["minutes"]), (&json!("entry"), &Value::Null));
    assert_eq!((&exit["direction"], exit["minutes"].as_u64().unwrap() / 60), (&json!("exit"), 10));
    // The bounds: after Friday evening, and ten hours before the start on Tuesday.
    assert!(entry["after"].as_str().unwrap().starts_with("2026-10-09T17"), "{entry}");
    assert!(entry["before"].as_str().unwrap().starts_with("2026-10-12T20"), "{entry}");
    assert!(entry["clock_showed"].as_str().unwrap().starts_with("1970-01-01"), "{entry}");
    let note = "gate-1: 2 records have no date";
    assert!(made["notes"].to_string().contains(note), "{}", made["notes"]);
    assert!(gate.csv("undated")[1].contains(",10:0"), "{:?}", gate.csv("undated"));
    let book = gate.workbook();
    let apart = cells(&book[2]);
    assert_eq!(apart.iter().filter(|cell| *cell == "无日期 undated").count(), 2, "{apart:?}");
    assert!(
        cells(&book[0]).iter().any(|cell| cell.contains("无法确定日期")),
        "{:?}",
        cells(&book[0])
    );
    let table = gate.site.gatehouse(&["timesheet", "--month", "2026-10"]).out;
    assert!(table.contains("NO DATE"), "{table}");

    // Lists have them on each day that they may be of.
    assert_eq!(gate.listed("2026-10-11", "2026-10-11").len(), 2);
    assert_eq!(gate.listed("2026-10-14", "2026-10-14").len(), 0);
    assert_eq!(gate.listed("1970-01-01", "1970-01-01").len(), 0);
    let table = gate.site.gatehouse(&["attendance", "list"]).out;
    assert!(table.contains("no date; after 2026-10-09T17"), "{table}");
    let status = gate.site.status_when("the trouble", |s| s["ledger"]["undated"] == 2);
    let told = status["degraded"].as_array().unwrap().iter();
    let told: Vec<_> = told.filter(|d| d["what"] == "ledger").collect();
    assert!(told[0]["remedy"].as_str().unwrap().contains("attendance supplement"), "{told:?}");
}
