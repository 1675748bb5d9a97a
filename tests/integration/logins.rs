//! Logins at cameras and brokers: no password in clear where digest was seen, and no lock of an
//! account by tries that repeat. Texts and files that mislead or leak.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::common::{Lane, Site, broker::free_port, photo_path, until};
use serde_json::Value;

const PASSWORD: &str = "p/w:1 @";

/// A camera that refuses every login. It asks for digest, or for basic from a moment on.
struct Refusing {
    port: u16,
    basic: Arc<AtomicBool>,
    /// The lines with a login that came.
    logins: Arc<Mutex<Vec<String>>>,
}

impl Refusing {
    /// `after_login` is the answer to a login, such as `401 Unauthorized`.
    fn start(protocol: &'static str, after_login: &'static str) -> Refusing {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let camera = Refusing { port, basic: Arc::default(), logins: Arc::default() };
        let (basic, logins) = (camera.basic.clone(), camera.logins.clone());
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (basic, logins) = (basic.clone(), logins.clone());
                std::thread::spawn(move || {
                    let mut to = stream.try_clone().unwrap();
                    let mut from = BufReader::new(stream);
                    loop {
                        let (mut line, mut head) = (String::new(), Vec::new());
                        while from.read_line(&mut line).is_ok_and(|n| n > 2) {
                            head.push(std::mem::take(&mut line));
                        }
                        if head.is_empty() {
                            return;
                        }
                        let find = |name: &str| {
                            head.iter().find(|l| l.to_lowercase().starts_with(name)).cloned()
                        };
                        let status = match find("authorization:") {
                            Some(login) => {
                                logins.lock().unwrap().push(login);
                                after_login
                            }
                            None => "401 Unauthorized",
                        };
                        let scheme = match basic.load(Ordering::Relaxed) {
                            true => "Basic realm=\"cam\"",
                            false => "Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\"",
                        };
                        let seq = find("cseq:").unwrap_or_default();
                        let answer = format!(
                            "{protocol} {status}\r\n{seq}WWW-Authenticate: {scheme}\r\n\
                             Content-Length: 0\r\n\r\n"
                        );
                        if to.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        camera
    }

    fn logins(&self) -> Vec<String> {
        self.logins.lock().unwrap().clone()
    }
}

/// Prepares a site with a network camera in each direction, and their password in a file.
fn site(entry: &str, exit: &str) -> Site {
    let site = Site::of(Lane::modbus("north").camera("entry", entry).camera("exit", exit));
    std::fs::write(site.path("camera-password"), format!("{PASSWORD}\n")).unwrap();
    let private = PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(site.path("camera-password"), private).unwrap();
    let login = [("username", "gate"), ("password", "file:camera-password")];
    site.configure(|c| login.iter().fold(c, |c, (key, value)| c.cameras(key, *value)));
    site
}

fn remedies(status: &Value, of: &str) -> String {
    let all = status["degraded"].as_array().unwrap().iter();
    let told: Vec<_> = all.filter(|d| d["what"] == of).map(|d| d["remedy"].to_string()).collect();
    told.join("\n")
}

#[test]
fn a_camera_that_asked_for_digest_gets_no_password_in_clear() {
    let (http, rtsp) =
        (Refusing::start("HTTP/1.1", "503 Busy"), Refusing::start("RTSP/1.0", "503 Busy"));
    let site = site(
        &format!("http://127.0.0.1:{}/cam", http.port),
        &format!("rtsp://127.0.0.1:{}/cam", rtsp.port),
    );
    let daemon = site.start();
    for (camera, name) in [(&http, "camera north/entry"), (&rtsp, "camera north/exit")] {
        until("a login by digest", || (!camera.logins().is_empty()).then_some(()));
        camera.basic.store(true, Ordering::Relaxed);
        site.status_when("the refusal of basic", |s| {
            remedies(s, name).contains("asks for basic now, which would show the password")
        });
        // The camera asks again and again, and gets nothing.
        let errors = |s: &Value| {
            let cameras = s["lanes"][0]["cameras"].as_array().unwrap().iter();
            cameras.map(|c| c["errors"].as_u64().unwrap()).min().unwrap()
        };
        let before = errors(&site.status());
        site.status_when("further tries", |s| errors(s) > before + 1);
        for login in camera.logins() {
            assert!(login.contains("Digest username=\"gate\""), "{login}");
        }
    }
    let log = site.log();
    assert!(!log.contains("p/w") && !log.contains("p%2Fw"), "{log}");
    daemon.stop();
}

#[test]
fn a_refused_login_waits_for_minutes_and_a_changed_password_is_tried_at_once() {
    for protocol in ["HTTP/1.1", "RTSP/1.0"] {
        let camera = Refusing::start(protocol, "401 Unauthorized");
        let scheme = if protocol == "HTTP/1.1" { "http" } else { "rtsp" };
        let site = site(
            &format!("{scheme}://127.0.0.1:{}/cam", camera.port),
            &format!("http://127.0.0.1:{}/away", free_port()),
        );
        let daemon = site.start();
        let refused = site.status_when("the pause", |s| {
            remedies(s, "camera north/entry").contains("The next try is in")
        });
        assert!(
            remedies(&refused, "camera north/entry").contains("refuses the login"),
            "{refused:#}"
        );
        assert!(refused["lanes"][0]["cameras"][0]["next_try_uptime_ms"].is_u64(), "{refused:#}");
        // The other camera is away, and is tried every few seconds.
        site.status_when("tries of the other camera", |s| {
            s["lanes"][0]["cameras"][1]["errors"].as_u64() > Some(5)
        });
        assert_eq!(camera.logins().len(), 1, "{:?}", camera.logins());
        std::fs::write(site.path("camera-password"), "another").unwrap();
        until("a login with the new password", || (camera.logins().len() > 1).then_some(()));
        daemon.stop();
    }
}

#[test]
fn a_broker_that_refuses_the_login_is_tried_after_minutes_or_with_another_password() {
    let mut site = Site::without_lanes();
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c", site.path("passwords").to_str().unwrap(), "gate-user", PASSWORD])
        .status();
    assert!(made.unwrap().success());
    let line = format!("password_file {}\n", site.path("passwords").display());
    site.broker.add(&line);
    site.broker.start();
    std::fs::write(site.path("password"), "wrong").unwrap();
    site.configure(|c| c.its("username", "gate-user").its("password", "file:password"));
    let daemon = site.start();
    let refused = site.status_when("the pause", |s| {
        remedies(s, "upstream platform").contains("The next try is in")
    });
    assert!(refused["upstreams"][0]["next_try_uptime_ms"].is_u64(), "{refused:#}");
    std::fs::write(site.path("password"), PASSWORD).unwrap();
    site.status_when("the link", |s| s["upstreams"][0]["connected"] == true);
    daemon.stop();
}

#[test]
fn a_name_that_shows_another_text_than_it_holds_is_refused_at_every_door() {
    let site = Site::without_lanes();
    let daemon = site.start();
    let photo = photo_path("person_a_2.jpg");
    for mark in ['\u{202e}', '\u{200b}', '\u{2028}'] {
        let said = site.enroll("W001", &format!("刘{mark}峰"), "522201199003074411", &photo);
        said.refused(&format!(
            "name: must be one line of visible characters, and holds U+{:04X}",
            mark as u32
        ));
        let sheet = site.path("roster.csv");
        let row = format!(
            "id,name,id_number,team,contractor,trade\nW1,刘{mark}峰,522201199003074411,T,C,x\n"
        );
        std::fs::write(&sheet, row).unwrap();
        let said = site.gatehouse(&["worker", "import", sheet.to_str().unwrap()]);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(format!("{said:?}").contains(&format!("U+{:04X}", mark as u32)), "{said:?}");
    }
    let said = site.enroll("W001", "Zoe\u{301}", "522201199003074411", &photo);
    assert_eq!(said.code, 0, "{said:?}");
    let shown = site.gatehouse(&["--json", "worker", "show", "W001"]).json_lines().remove(0);
    assert_eq!(shown["name"], "Zo\u{e9}");
    daemon.stop();
    site.configure(|c| c.set("site", "name", "东\u{202e}区"));
    let said = site.gatehouse(&["check"]);
    assert!(said.code == 78 && said.err.contains("site.name: must be one line"), "{said:?}");
}

#[test]
fn keys_and_templates_are_in_locked_memory_and_the_process_leaves_no_core() {
    let site = Site::without_lanes();
    let daemon = site.start();
    let photo = photo_path("person_a_2.jpg");
    assert_eq!(site.enroll("W001", "刘峰", "522201199003074411", &photo).code, 0);
    let process = site.status()["process"].clone();
    let (locked, unlocked) = (process["locked_bytes"].as_u64(), process["unlocked_bytes"].as_u64());
    // The limit of the test's machine may be 0.
    assert!(locked > Some(0) || unlocked > Some(0), "{process}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    daemon.stop();
}

#[test]
fn check_fails_where_others_can_read_a_configuration_with_a_password() {
    let site = Site::of(Lane::modbus("north").camera("entry", "http://gate:hunter2@127.0.0.1:1/"));
    let line = || {
        let said = site.gatehouse(&["check"]).out;
        assert!(!said.contains("hunter2"), "{said}");
        let readers = said.lines().find(|line| line.contains("readers of the configuration"));
        readers.unwrap_or_default().to_owned()
    };
    assert_eq!(line(), "");
    let allow = |mode| {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(site.path("gatehouse.toml"), mode).unwrap();
    };
    allow(0o640);
    assert!(line().starts_with("warn"), "{}", line());
    allow(0o644);
    assert!(line().starts_with("FAIL"), "{}", line());
}
