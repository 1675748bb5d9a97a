//! A platform with the national interface, in Python: the real daemon delivers attendance while
//! answers are lost, the platform and the daemon are killed, and rows are refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use base64::Engine as _;
use gatehouse::{config::Direction, ledger::Outcome};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::common::{
    Daemon, Gate, Lane, Site, WallClock,
    broker::free_port,
    ends_with_test,
    past::{self, Went, person, went},
    pki::Authority,
    slave::python,
    until,
};
use crate::platform_photos::{enrolls_two, shows_a};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
const TEAMS: [(&str, &str); 3] =
    [("钢筋班", "100001"), ("木工班", "100002"), ("混凝土班", "100003")];

/// The platform's process, whose disk outlives it. Dropping this value ends it.
pub struct Platform {
    child: Option<Child>,
    pub port: u16,
    pub nonce_digits: u8,
    dir: PathBuf,
    tls: Option<(PathBuf, PathBuf)>,
}

impl Platform {
    /// Prepares a platform with this folder in the site's.
    pub fn of(site: &Site, name: &str) -> Platform {
        let dir = site.path(name);
        std::fs::create_dir(&dir).unwrap();
        Platform { child: None, port: free_port(), nonce_digits: 32, dir, tls: None }
    }

    pub fn start(&mut self) {
        let mut command = Command::new(python());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/national.py");
        command.arg(script).args(["--port", &self.port.to_string(), "--secret", SECRET]);
        command.args(["--nonce-digits", &self.nonce_digits.to_string()]);
        command.args(["--appid", "P-1", "--project", "P-1", "--dir"]).arg(&self.dir);
        if let Some((cert, key)) = &self.tls {
            command.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = ends_with_test(&mut command).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sets the platform's faults; see `tests/peers/national.py`.
    fn set(&self, control: Value) {
        let new = self.dir.join("control.new");
        std::fs::write(&new, control.to_string()).unwrap();
        std::fs::rename(new, self.dir.join("control.json")).unwrap();
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        // The last line may be under way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn records(&self) -> Vec<Value> {
        self.lines("records.jsonl")
    }

    /// Asserts that the gateway never broke a rule of the interface.
    pub fn broke_no_rule(&self) {
        let wrong = std::fs::read_to_string(self.dir.join("wrong.txt")).unwrap_or_default();
        assert_eq!(wrong, "", "the gateway broke a rule");
    }

    /// Asserts that exactly these passages are on its disk, each once, and that the gateway never
    /// broke a rule of the interface.
    fn assert_has(&self, passages: &[Went]) {
        self.broke_no_rule();
        let field = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let rows: Vec<[String; 4]> = self
            .records()
            .iter()
            .map(|row| ["id", "date", "direction", "team"].map(|name| field(row, name)))
            .collect();
        let found: BTreeSet<_> = rows.iter().cloned().collect();
        assert_eq!(found.len(), rows.len(), "a record is there twice");
        let teams = BTreeMap::from(TEAMS);
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
        let expected = passages.iter().map(|went| {
            let at = jiff::Timestamp::from_millisecond(went.at_ms).unwrap().to_zoned(zone.clone());
            let direction = if went.direction == Direction::Entry { "01" } else { "02" };
            let team = teams.get(&*went.person.team).copied().unwrap_or("100009");
            let id = format!("E{:0>8}", went.person.id.as_str());
            [id, at.strftime("%Y-%m-%d %H:%M:%S").to_string(), direction.into(), team.into()]
        });
        assert_eq!(found, expected.collect());
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a site whose upstream is this kind of platform, and the platform, which is not started.
fn prepared() -> (Site, Platform) {
    let site = Site::without_lanes();
    let platform = Platform::of(&site, "platform");
    std::fs::write(site.path("secret"), SECRET).unwrap();
    let url = format!("http://127.0.0.1:{}/open/api", platform.port);
    site.configure(|c| {
        let teams: toml::Table =
            TEAMS.iter().map(|(team, no)| ((*team).to_owned(), (*no).into())).collect();
        c.calls(&url, "national")
            .set("site", "timezone", "Asia/Shanghai")
            .its("appid", "P-1")
            .its("secret", "file:secret")
            .its("teams", teams)
    });
    (site, platform)
}

/// Returns a morning: workers of the teams by turns come, and half of them leave again.
fn morning(workers: usize) -> (Vec<gatehouse::roster::Person>, Vec<Went>) {
    let people: Vec<_> = (0..workers)
        .map(|n| person(&format!("W{n:03}"), "刘峰", TEAMS[n % TEAMS.len()].0))
        .collect();
    let mut passages = Vec::new();
    for (n, person) in people.iter().enumerate() {
        let at = |hour: u32| format!("2026-10-12T{hour:02}:{:02}:{:02}+08:00", n / 60, n % 60);
        passages.push(went(person, Direction::Entry, &at(6)));
        if n % 2 == 0 {
            passages.push(went(person, Direction::Exit, &at(11)));
        }
    }
    passages.sort_by_key(|went| went.at_ms);
    (people, passages)
}

fn upstream(status: &Value) -> &Value {
    &status["upstreams"][0]
}

fn counted(status: &Value, name: &str) -> u64 {
    upstream(status)[name].as_u64().unwrap()
}

fn delivered(site: &Site) -> Value {
    site.status_when("everything to be delivered", |s| Site::outbox(s) == 0)
}

/// Returns the seqs and the words of the refused rows.
fn refused(site: &Site) -> Vec<(u64, String)> {
    let path = site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let query = "SELECT seq, words FROM verdict WHERE words IS NOT NULL ORDER BY seq";
    let mut query = database.prepare(query).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Waits until the link has failed with this text.
fn fails_with(site: &Site, expected: &str) -> Value {
    site.status_when(expected, |s| {
        upstream(s)["last_error"].as_str().is_some_and(|error| error.contains(expected))
    })
}

#[test]
fn i3_the_same_morning_arrives_once_while_answers_are_lost_and_both_sides_are_killed() {
    let (site, mut platform) = prepared();
    let (people, mut passages) = morning(120);
    // What did not take place stays home; what is not known costs no worker the day.
    passages[7].outcome = Outcome::NotPassed;
    passages[9].outcome = Outcome::Unconfirmed;
    passages[11].vouched = true;
    past::write(&site, &people, passages.iter().cloned());
    passages.remove(7);
    platform.set(json!({"lose": 3, "delay_s": 0.1}));
    platform.start();
    let daemon = site.start();
    until("the first rows", || (platform.records().len() > 20).then_some(()));
    platform.kill();
    site.status_when("the link to be down", |s| upstream(s)["connected"] == false);
    platform.start();
    let there = platform.records().len();
    until("more rows", || (platform.records().len() > there).then_some(()));
    daemon.kill();
    let _daemon = site.start();
    delivered(&site);
    platform.assert_has(&passages);
    assert_eq!(refused(&site), []);
    // Rows of one team go together, although the teams came by turns.
    let calls = platform.lines("calls.jsonl");
    let largest = calls.iter().map(|call| call["rows"].as_array().unwrap().len()).max();
    assert!(largest > Some(10), "{largest:?}");
    assert!(calls.iter().any(|call| call["refused"].is_string()), "no row came twice");
}

#[test]
fn i3_verdicts_that_come_later_are_asked_for_after_a_restart_and_no_row_is_sent_again() {
    let (site, mut platform) = prepared();
    let (people, passages) = morning(12);
    past::write(&site, &people, passages.iter().cloned());
    platform.set(json!({"late": true}));
    platform.start();
    let all = passages.len() as u64;
    let undecided = |s: &Value| counted(s, "undecided") == all && Site::outbox(s) >= all;
    let daemon = site.start();
    site.status_when("the calls to wait", undecided);
    daemon.kill();
    platform.kill();
    platform.start();
    let _daemon = site.start();
    site.status_when("the calls to wait again", undecided);
    assert_eq!(platform.records(), [Value::Null; 0]);
    let calls = platform.lines("calls.jsonl").len();
    // An answer to another inquiry is no verdict.
    platform.set(json!({"late": true, "foreign": true}));
    fails_with(&site, "it answers for call \"attend-0\"");
    platform.set(json!({"late": true, "decide": true, "refuse": ["E0000W003"]}));
    // The call of the refused worker's team fails as a whole, and its rows go one by one.
    let status = site.status_when("the verdicts", |s| {
        Site::outbox(s) == 0 && counted(s, "refused_rows") == 1 && counted(s, "undecided") == 0
    });
    assert!(counted(&status, "acknowledged") > 0, "{status}");
    let refused = refused(&site);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].1.contains("人员未在项目中"), "{refused:?}");
    let taken: Vec<_> =
        passages.iter().filter(|w| w.person.id.as_str() != "W003").cloned().collect();
    platform.assert_has(&taken);
    let of_team = passages.iter().filter(|w| w.person.team == TEAMS[0].0).count();
    assert_eq!(platform.lines("calls.jsonl").len(), calls + of_team, "other rows came again");
    let said = site.gatehouse(&["upstream", "refused", "platform"]);
    assert!(said.out.contains("人员未在项目中") && said.out.contains("W003"), "{said:?}");
    platform.set(json!({}));
    let said = site.gatehouse(&["upstream", "retry", "platform"]);
    assert_eq!(said.code, 0, "{said:?}");
    site.status_when("the refused row to go", |s| {
        Site::outbox(s) == 0 && counted(s, "refused_rows") == 0
    });
    platform.assert_has(&passages);
}

#[test]
fn a_refused_row_holds_nothing_up_and_goes_when_its_team_has_a_number() {
    let (site, mut platform) = prepared();
    let (mut people, mut passages) = morning(50);
    let painter = person("W900", "刘峰", "油漆班");
    people.push(painter.clone());
    passages.insert(5, went(&painter, Direction::Entry, "2026-10-12T06:00:30+08:00"));
    past::write(&site, &people, passages.iter().cloned());
    platform.set(json!({"refuse": ["E0000W004"], "delay_s": 0.01}));
    platform.start();
    let daemon = site.start();
    let status = site.status_when("the others to arrive", |s| {
        Site::outbox(s) == 0 && counted(s, "refused_rows") == 3
    });
    let trouble = upstream(&status)["last_trouble"].as_str().unwrap();
    assert!(trouble.contains("人员未在项目中"), "{trouble}");
    let is_refused = |w: &Went| ["W004", "W900"].contains(&w.person.id.as_str());
    let taken: Vec<_> = passages.iter().filter(|w| !is_refused(w)).cloned().collect();
    platform.assert_has(&taken);
    let words: Vec<_> = refused(&site).into_iter().map(|(_, words)| words).collect();
    assert_eq!(words.iter().filter(|w| *w == "人员未在项目中, code -1").count(), 2, "{words:?}");
    let team = "the team \"油漆班\" has no number of the platform: add \"油漆班\" = NUMBER";
    assert!(words.iter().any(|w| w.starts_with(team)), "{words:?}");
    daemon.stop();
    platform.set(json!({}));
    site.configure(|c| {
        let teams = TEAMS.iter().chain([&("油漆班", "100009")]);
        let teams: toml::Table = teams.map(|(t, no)| ((*t).to_owned(), (*no).into())).collect();
        c.its("teams", teams)
    });
    let _daemon = site.start();
    site.status_when("the refused rows to go", |s| {
        Site::outbox(s) == 0 && counted(s, "refused_rows") == 0
    });
    platform.assert_has(&passages);
    assert_eq!(refused(&site), []);
}

#[test]
fn fresh_rows_overtake_the_backlog() {
    let (site, mut platform) = prepared();
    let (people, passages) = morning(300);
    past::write(&site, &people, passages.iter().cloned());
    site.configure(|c| c.its("at_once", 2));
    platform.set(json!({"delay_s": 0.05}));
    platform.start();
    let _daemon = site.start();
    until("the first rows", || (!platform.records().is_empty()).then_some(()));
    let at = ["--worker", "W001", "--at", "2026-10-12 17:30", "--direction", "exit"];
    let supplement = [&["attendance", "supplement"], &at[..], &["--reason", "power cut"]].concat();
    let said = site.gatehouse(&supplement);
    assert_eq!(said.code, 0, "{said:?}");
    delivered(&site);
    let records = platform.records();
    assert_eq!(records.len(), passages.len() + 1);
    let place = records.iter().position(|row| row["date"] == "2026-10-12 17:30:00").unwrap();
    assert!(place < passages.len() - 1, "it came after the backlog, at {place}");
    assert_eq!(
        (&records[place]["attendType"], &records[place]["id"]),
        (&json!("011"), &json!("E0000W001"))
    );
}

#[test]
fn answers_that_are_none_and_a_refused_account_are_named_and_cost_no_row() {
    let (site, mut platform) = prepared();
    let (people, passages) = morning(4);
    past::write(&site, &people, passages.iter().cloned());
    platform.set(json!({"body": "<html>登录"}));
    platform.start();
    let daemon = site.start();
    let status = fails_with(&site, "its answer is no JSON object but begins with \"<html>登录\"");
    assert!(Site::degraded(&status).contains(&"upstream platform"), "{status}");
    for (control, expected) in [
        (json!({"huge": 30 << 20}), "its answer has more than 1048576 bytes"),
        (json!({"status": 503}), "the platform answers with HTTP status 503"),
        (
            json!({"status": 302, "location": "https://other.example/"}),
            "which names https://other.example/: it is not followed",
        ),
        (json!({"status": 404}), "404 Not Found: check the path of the url"),
        (json!({"code": -2}), "the signature is refused: check secret, appid and corp_key"),
    ] {
        platform.set(control);
        fails_with(&site, expected);
    }
    // The account is tried again after a minute only.
    let status = site.status_when("the pause", |s| upstream(s)["next_try_uptime_ms"].is_u64());
    assert_eq!(upstream(&status)["connected"], false);
    let checked = |about: &str| {
        let said = site.gatehouse(&["--json", "check"]);
        let mut lines = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.find(|line| line["check"] == about).unwrap_or_else(|| panic!("{said:?}"))
    };
    assert_eq!(checked("upstream platform")["ok"], true);
    let account = checked("account at platform");
    assert!(
        account["detail"].as_str().unwrap().starts_with("the signature is refused"),
        "{account}"
    );
    assert_eq!(account["ok"], false);
    daemon.stop();
    // A call that the platform does not take for now is offered again later; a limit too.
    platform.set(json!({"code": -5}));
    let daemon = site.start();
    let all = passages.len() as u64;
    let status = site.status_when("the refusals", |s| counted(s, "refused") == all);
    let trouble = upstream(&status)["last_trouble"].as_str().unwrap();
    assert!(trouble.contains("did not take a record for now (拒绝, code -5)"), "{trouble}");
    assert_eq!(upstream(&status)["connected"], true);
    daemon.stop();
    platform.set(json!({}));
    let _daemon = site.start();
    delivered(&site);
    platform.assert_has(&passages);
    assert_eq!(refused(&site), []);
    assert_eq!(checked("account at platform")["ok"], true);
}

#[test]
fn a_wrong_certificate_is_named_and_a_right_one_needs_no_restart() {
    let (site, mut platform) = prepared();
    let (people, passages) = morning(2);
    past::write(&site, &people, passages.iter().cloned());
    let [authority, other] = ["The project's authority", "Another"].map(Authority::new);
    other.sign(&["127.0.0.1"]).write(site.path("").as_path(), "server");
    std::fs::write(site.path("ca.pem"), &authority.pem).unwrap();
    platform.tls = Some((site.path("server.pem"), site.path("server.key")));
    platform.start();
    let url = format!("https://127.0.0.1:{}/open/api", platform.port);
    site.configure(|c| c.its("url", url.as_str()).its("ca", "ca.pem"));
    let _daemon = site.start();
    let expected = "the platform's certificate is signed by \"CN=Another\"";
    fails_with(&site, expected);
    let said = site.gatehouse(&["--json", "check"]);
    assert!(said.out.contains("the platform's certificate is signed by"), "{said:?}");
    assert_eq!(platform.records(), [Value::Null; 0]);
    platform.kill();
    authority.sign(&["127.0.0.1"]).write(site.path("").as_path(), "server");
    platform.start();
    delivered(&site);
    platform.assert_has(&passages);
    let link = site.status()["upstreams"][0].clone();
    assert!(
        link["certificates"].as_array().unwrap().iter().any(|c| c["whose"] == "broker"),
        "{link}"
    );
    let said = site.gatehouse(&["--json", "check"]);
    assert!(said.out.contains("can be reached, its certificate is valid until"), "{said:?}");
}

/// Cuts the daemon at each step of a delivery, and starts it again.
#[cfg(feature = "failpoints")]
#[test]
fn i3_a_cut_within_a_call_loses_nothing_and_a_repeat_counts_once() {
    use std::os::unix::process::ExitStatusExt;

    for (point, late) in [
        ("uplink.read", false),
        ("uplink.published", false),
        ("uplink.acknowledged", false),
        ("uplink.striking", false),
        ("uplink.struck", false),
        ("uplink.undecided", true),
        ("uplink.acknowledged", true),
    ] {
        let (site, mut platform) = prepared();
        let (people, passages) = morning(6);
        past::write(&site, &people, passages.iter().cloned());
        platform.set(json!({"late": late, "decide": true}));
        platform.start();
        let mut cut: Daemon = site.spawn(&[("FAILPOINTS", &format!("{point}=return"))]);
        let ended = cut.0.wait().unwrap();
        assert_eq!(ended.signal(), Some(libc::SIGKILL), "{point}: {}", site.log());
        let _daemon = site.start();
        delivered(&site);
        platform.assert_has(&passages);
        assert_eq!(refused(&site), [], "{point}");
    }
}

#[test]
fn i5_a_record_carries_the_photo_of_a_worker_who_consents_and_none_of_another() {
    let site = Site::of(Lane::north().set("cool_down_s", 0.1));
    let mut platform = Platform::of(&site, "platform");
    std::fs::write(site.path("secret"), SECRET).unwrap();
    let url = format!("http://127.0.0.1:{}/open/api", platform.port);
    site.configure(|c| {
        let teams: toml::Table = [("钢筋一班".to_owned(), "100001".into())].into_iter().collect();
        c.calls(&url, "national")
            .set("site", "timezone", "Asia/Shanghai")
            .its("photos", "record")
            .its("appid", "P-1")
            .its("secret", "file:secret")
            .its("teams", teams)
    });
    platform.start();
    let wall = WallClock::new(&site.path(""));
    wall.synchronised(true);
    let mut gate = Gate::at(site, &wall.environment());
    let ids = ["522201199003074411", "522201198805112024"];
    enrolls_two(&gate.site, ids);
    gate.pass_again("person_a_1.jpg");
    gate.pass_again("person_b_1.jpg");
    until("both records", || (platform.records().len() == 2).then_some(()));
    platform.broke_no_rule();
    let records = platform.records();
    let of = |id: &str| records.iter().find(|row| row["id"] == id).unwrap();
    let image = of(ids[0])["image"].as_str().unwrap();
    shows_a(&base64::engine::general_purpose::STANDARD.decode(image).unwrap());
    assert_eq!(of(ids[1]).get("image"), None, "no photo goes without consent");
    // Both records are counted when they are struck off: one photo went, and one did not.
    let site = &gate.site;
    let status =
        site.status_when("the photo to be counted", |s| s["upstreams"][0]["photos_sent"] == 1);
    assert_eq!(status["upstreams"][0]["photos_left_out"], serde_json::json!({"no_consent": 1}));
}
