//! The program's output: no password appears, the log is in the site's time, and states are in
//! words.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Stdio},
};

use crate::common::{Lane, Said, Site, program};
use gatehouse::config::Config;

/// `p@ss/s3cret`, percent-encoded for an address.
const PASSWORD: &str = "p%40ss%2Fs3cret";
/// Pieces of the password: plain, as in the address, and in base64 (`admin:p@ss/s3cret`).
const PIECES: [&str; 5] = ["s3cret", "p@ss", "p%40ss", "YWRtaW46cEBzcy9zM2NyZXQ", "pwd=p"];

#[track_caller]
fn tells_nothing(what: &str, text: &str) {
    for piece in PIECES {
        assert!(!text.contains(piece), "{what} shows {piece}: {text}");
    }
}

/// Returns a site with one lane: a camera on each side and a simulated turnstile.
fn site(entry: &str, exit: &str) -> Site {
    let lane = Lane::simulated("north").camera("entry", entry).camera("exit", exit);
    Site::with(|c| c.bench().lane(lane))
}

fn run_that_ends(site: &Site, environment: &[(&str, &str)]) -> Said {
    let output = Command::new(program())
        .arg("run")
        .env("GATEHOUSE_CONFIG", site.path("gatehouse.toml"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn an_unescaped_password_is_refused_by_every_command_and_shown_by_none() {
    for (address, remedy) in [
        ("rtsp://admin:p@ss/s3cret@10.0.0.9/1", "write / as %2F"),
        ("http://admin:p@ss?s3cret@10.0.0.9/1", "write ? as %3F"),
        ("http://admin:p@ss#s3cret@10.0.0.9/1", "write # as %23"),
        ("http://admin:p@ss\\s3cret@10.0.0.9/1", "write %5C"),
        ("rtsp://admin:p@ss s3cret@10.0.0.9/1", "write %20"),
    ] {
        let site = site(address, "replay:none");
        for command in ["check", "status", "run"] {
            for json in [&["--json"][..], &[]] {
                let said = site.gatehouse(&[json, &[command]].concat());
                assert_eq!(said.code, 78, "{command}: {said:?}");
                assert!(said.err.contains("lane[0].camera[0].source"), "{said:?}");
                assert!(said.err.contains(remedy), "{command}: {said:?} lacks {remedy}");
                tells_nothing(command, &format!("{}{}", said.out, said.err));
            }
        }
    }
}

/// Starts a camera that asks for a login and refuses it, over HTTP and RTSP. Returns its port.
fn suspicious_cameras() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |stream: TcpStream| -> std::io::Result<()> {
        let mut writer = stream.try_clone()?;
        let (mut lines, mut protocol, mut cseq) = (BufReader::new(stream).lines(), None, None);
        while let Some(line) = lines.next().transpose()? {
            protocol = protocol.or_else(|| Some(line.rsplit(' ').next()?.to_owned()));
            cseq = cseq.or_else(|| line.strip_prefix("CSeq: ").map(str::to_owned));
            if line.is_empty() {
                let (protocol, cseq) = (protocol.take(), cseq.take());
                let protocol = protocol.unwrap_or_default();
                let cseq = cseq.map_or_else(String::new, |n| format!("CSeq: {n}\r\n"));
                write!(
                    writer,
                    "{protocol} 401 Unauthorized\r\n{cseq}WWW-Authenticate: Basic realm=\"x\"\r\n\
                     Content-Length: 0\r\n\r\n"
                )?;
            }
        }
        Ok(())
    };
    // The thread ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

#[test]
fn no_password_is_in_the_log_the_status_or_the_check_even_with_full_tracing() {
    let port = suspicious_cameras();
    let site = site(
        &format!("rtsp://admin:{PASSWORD}@127.0.0.1:{port}/video"),
        &format!("http://admin:{PASSWORD}@127.0.0.1:{port}/video?pwd={PASSWORD}"),
    );
    let log = "trace,retina=trace,hyper=trace,hyper_util=trace,rumqttc=trace,rustls=trace";
    let _daemon = site.start_with(&[("GATEHOUSE_LOG", log)]);
    let status = site.status_when("both cameras to refuse the login", |status| {
        let cameras = status["lanes"][0]["cameras"].as_array().unwrap();
        cameras.iter().all(|camera| {
            camera["last_error"]
                .as_str()
                .is_some_and(|e| e.contains("the camera refuses the login"))
        })
    });
    tells_nothing("status --json", &status.to_string());
    for command in [["--json", "check"], ["check", "--json"]] {
        let said = site.gatehouse(&command);
        tells_nothing("check", &format!("{}{}", said.out, said.err));
    }
    let said = site.gatehouse(&["status"]);
    tells_nothing("status", &said.out);
    let attention = said.out.lines().find(|l| l.starts_with("ATTENTION camera north/entry"));
    let address = format!("rtsp://127.0.0.1:{port}/video");
    assert_eq!(attention.unwrap().matches(&address).count(), 1, "{attention:?}");
    let log = site.log();
    assert!(log.contains("the camera refuses the login"), "{log}");
    tells_nothing("the log", &log);
    let config = Config::load(&site.path("gatehouse.toml")).unwrap();
    tells_nothing("the configuration's own debug output", &format!("{config:?} {config:#?}"));
}

#[test]
fn the_log_holds_only_gatehouses_lines_in_the_sites_time() {
    let site = Site::without_lanes();
    let text = ("GATEHOUSE_LOG", "debug");
    site.start_with(&[text, ("TZ", "America/New_York")]).stop();
    let log = site.log();
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let time = line.split(' ').next().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with("+08:00"), "{line}");
        assert!(!line.contains(" tract"), "{line}");
    }
    std::fs::remove_file(site.path("log")).unwrap();
    site.start_with(&[text, ("GATEHOUSE_LOG_FORMAT", "json")]).stop();
    for line in site.log().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].as_str().unwrap().ends_with("+08:00"), "{line}");
        assert!(line["target"].as_str().unwrap().starts_with("gatehouse"), "{line}");
    }
    for (name, value, told) in [
        ("GATEHOUSE_LOG", "deubg", "GATEHOUSE_LOG: \"deubg\" is not valid: give a level"),
        ("GATEHOUSE_LOG", "info,tract=loud", "GATEHOUSE_LOG: \"tract=loud\" is not valid"),
        ("GATEHOUSE_LOG_FORMAT", "yaml", "GATEHOUSE_LOG_FORMAT: \"yaml\" is not valid"),
    ] {
        let said = run_that_ends(&site, &[(name, value)]);
        assert_eq!((said.code, said.err.contains(told)), (2, true), "{said:?}");
    }
}

#[test]
fn a_workers_history_shows_old_and_new_values_and_a_gate_without_lanes_reports_that() {
    let site = Site::without_lanes();
    let _daemon = site.start();
    let who = ["worker", "enroll", "--id", "W001", "--name", "刘峰"];
    let papers = ["--id-number", "522201199003074411", "--phone", "13800138000"];
    let job = ["--team", "钢筋一班", "--contractor", "福鼎劳务", "--trade", "钢筋工"];
    let done = |arguments: &[&str]| {
        let said = site.gatehouse(arguments);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    done(&[&who[..], &papers, &job].concat());
    let update = ["worker", "update", "W001", "--team", "木工班", "--valid-until", "2027-03-31"];
    done(&[&update[..], &["--phone", "13900139000", "--reason", "moved"]].concat());
    done(&["worker", "update", "W001", "--id-number", "522201198805112024"]);
    done(&["worker", "suspend", "W001", "--reason", "no helmet"]);
    done(&["worker", "remove", "W001", "--reason", "left"]);

    let table = done(&["worker", "history", "W001"]);
    for expected in [
        "name: 刘峰",
        "team: 钢筋一班",
        "id number: ***",
        "team: 钢筋一班 → 木工班",
        "valid until: 2027-03-31",
        "phone: *** → *******9000",
        "id number: *** → **************2024",
        "state: active → suspended",
        "no helmet",
        "state: suspended → removed",
        "left",
    ] {
        assert!(table.contains(expected), "{table} lacks {expected}");
    }
    let json = done(&["--json", "worker", "history", "W001"]);
    for secret in ["13800138000", "13900139000", "522201"] {
        assert!(!table.contains(secret) && !json.contains(secret), "{secret}: {table}{json}");
    }
    let events: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let team = serde_json::json!({ "field": "team", "from": "钢筋一班", "to": "木工班" });
    assert_eq!(events[1]["changes"][0], team);
    assert_eq!(events[1]["particulars"], serde_json::json!(["phone"]));

    let status = done(&["status"]);
    assert!(status.contains("lane      no lane is configured"), "{status}");
    assert!(!status.contains("all is well"), "{status}");
    assert!(status.contains("roster    0 workers, 0 templates"), "{status}");
    let who = [&["worker", "enroll", "--id", "W002", "--name", "王刚"][..], &job].concat();
    done(&[&who[..], &["--id-number", "110101199003070011"]].concat());
    let status = done(&["status"]);
    assert!(status.contains("roster    1 worker, 0 templates"), "{status}");
    assert!(site.gatehouse(&["check"]).out.contains("FAIL  lanes: no lane is configured"));
}
