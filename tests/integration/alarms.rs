//! Alarms of the real daemon: the platform gets them as events, raised and over in turns, also
//! across restarts. `status` lists those that stand.

use std::path::PathBuf;

use crate::common::{
    Gate, Site, Subscriber, ends_with_test, photo, port::Stranger, shim::shim, until,
};
use serde_json::{Value, json};

/// Returns the next alarm of this sort.
fn alarm(platform: &mut Subscriber, what: &str) -> Value {
    loop {
        let event = platform.event("alarm");
        if event["what"] == what {
            return event;
        }
    }
}

/// Returns all alarms that came, as (what, subject, raised).
fn told(platform: &Subscriber) -> Vec<(String, String, bool)> {
    let alarms = platform.records.iter().filter(|m| m.json["kind"] == "alarm");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |json: &Value| {
        (text(&json["what"]), text(&json["subject"]), json["raised"].as_bool().unwrap())
    };
    alarms.map(|m| of(&m.json)).collect()
}

/// Returns the standing alarm of this sort, if there is one.
fn standing(status: &Value, what: &str) -> Option<Value> {
    let all = status["alarms"]["standing"].as_array().unwrap();
    all.iter().find(|alarm| alarm["what"] == what).cloned()
}

fn raised(status: &Value) -> u64 {
    status["alarms"]["raised"].as_u64().unwrap()
}

#[test]
fn a_lost_link_and_a_waiting_outbox_raise_alarms_that_survive_a_restart() {
    let site = Site::prepare();
    site.configure(|c| c.set("alarms", "link_down_s", 2).set("alarms", "outbox_age_s", 3));
    let mut gate = Gate::at(site, &[]);
    gate.site.settled(&mut gate.platform);
    gate.site.broker.kill();
    let lost = gate.site.status_when("the alarm", |s| standing(s, "link").is_some());
    let link = standing(&lost, "link").unwrap();
    assert_eq!(link["subject"], "platform");
    assert!(link["detail"].as_str().unwrap().contains("check the link and the broker"), "{link}");
    // The alarm also waits in the outbox, and so it causes the second alarm.
    let lost =
        gate.site.status_when("the alarm of the outbox", |s| standing(s, "outbox").is_some());
    assert_eq!(raised(&lost), 2);
    assert!(Site::degraded(&lost).contains(&"upstream platform"), "{lost:#}");

    // A power cut in between: the alarm still stands and is not raised again.
    gate.daemon.take().unwrap().kill();
    gate.daemon = Some(gate.site.start());
    let again = gate.site.status_when("both to stand", |s| standing(s, "outbox").is_some());
    assert_eq!(standing(&again, "link"), Some(link.clone()));

    gate.site.broker.start();
    let first = alarm(&mut gate.platform, "link");
    assert_eq!((&first["raised"], &first["subject"]), (&json!(true), &json!("platform")));
    assert_eq!(first["detail"], link["detail"]);
    let over = loop {
        let next = alarm(&mut gate.platform, "link");
        if next["raised"] == false {
            break next;
        }
    };
    assert!(over["detail"].as_str().unwrap().contains("records waited at most"), "{over}");
    let well = gate.site.status_when("none to stand", |s| s["alarms"]["standing"] == json!([]));
    assert_eq!(raised(&well), 0, "alarms raised since this start");
    gate.site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0);
    until("both to be over", || {
        let over = told(&gate.platform).iter().filter(|(.., raised)| !raised).count();
        (over == 2).then_some(()).or_else(|| {
            gate.platform.next_within(std::time::Duration::from_millis(100));
            None
        })
    });
    for what in ["link", "outbox"] {
        let of: Vec<_> = told(&gate.platform).into_iter().filter(|(w, ..)| w == what).collect();
        let expected = [true, false].map(|raised| (what.to_owned(), "platform".to_owned(), raised));
        assert_eq!(of, expected);
    }
    gate.platform.assert_whole();
}

#[test]
fn a_camera_that_goes_and_a_board_that_never_answered_raise_alarms_until_they_come() {
    let mut site = Site::prepare();
    site.configure(|c| c.set("alarms", "device_down_s", 5));
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let shown = site.plug_camera_in();
    let daemon = site.start();
    let never = alarm(&mut platform, "turnstile");
    assert_eq!((&never["raised"], &never["subject"]), (&json!(true), &json!("north")));
    let status = site.status();
    assert_eq!(standing(&status, "camera"), None, "the camera is there");
    let board = site.plug_board_in();
    let over = alarm(&mut platform, "turnstile");
    assert_eq!((&over["raised"], &over["subject"]), (&json!(false), &json!("north")));

    drop(shown);
    std::fs::remove_file(site.path("camera")).unwrap();
    let gone = alarm(&mut platform, "camera");
    assert_eq!((&gone["raised"], &gone["subject"]), (&json!(true), &json!("north/entry")));
    let status = site.status_when("the missing camera", |s| standing(s, "camera").is_some());
    assert!(Site::degraded(&status).contains(&"camera north/entry"), "{status:#}");
    let text = site.gatehouse(&["status"]).out;
    assert!(text.contains("2 raised since the start, 1 active: camera north/entry"), "{text}");
    // The camera is plugged in again while the daemon is stopped.
    daemon.stop();
    let shown = site.plug_camera_in();
    let _daemon = site.start();
    let over = alarm(&mut platform, "camera");
    assert_eq!((&over["raised"], &over["subject"]), (&json!(false), &json!("north/entry")));
    assert!(over["detail"].as_str().unwrap().starts_with("over after "), "{over}");
    let status = site.status_when("a healthy gate", |s| Site::degraded(s).is_empty());
    assert_eq!(status["alarms"], json!({ "raised": 0, "standing": [] }));
    platform.assert_whole();
    drop((shown, board));
}

#[test]
fn a_board_moves_to_another_terminal_when_a_left_over_gate_has_taken_its_own() {
    let site = Site::prepare();
    let tty = site.path("tty");
    let mut board = site.plug_board_in();
    let lost = board.port();
    let _stranger = Stranger::takes(&tty);
    let _daemon = site.start();
    site.turnstile_connected();
    assert_ne!(board.port(), lost);
    assert_eq!(std::fs::read_link(&tty).unwrap().to_str().unwrap(), board.port());
    assert_eq!(board.command("input 5 off"), [""; 0], "it is the same board");
    // A dangling link would lead this gate to the next terminal with that number.
    drop(board);
    assert!(tty.symlink_metadata().is_err());
}

/// The test is killed, and the program that it started ends too.
#[test]
fn a_process_that_a_test_starts_ends_with_the_test() {
    let (word, words) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let mut command = std::process::Command::new("sleep");
        word.send(ends_with_test(command.arg("infinity")).spawn().unwrap()).unwrap();
    });
    let mut left = words.recv().unwrap();
    test.join().unwrap();
    let ended = until("its end", || left.try_wait().unwrap());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGKILL));
}

#[test]
fn a_burst_of_unknown_faces_raises_an_alarm_with_their_number() {
    let site = Site::prepare();
    site.configure(|c| {
        c.set("alarms", "unknown_faces", 2).set("alarms", "unknown_faces_within_s", 30)
    });
    let mut gate = Gate::at(site, &[]);
    let unknown = |s: &Value| s["lanes"][0]["unknown_faces"].as_u64().unwrap();
    let mut strangers = ["impostor_1.jpg", "person_a_1.jpg"].iter().cycle();
    let mut before = gate.site.status();
    assert_eq!((unknown(&before), raised(&before)), (0, 0), "{before:#}");
    // Strangers come one by one, until two come within the time, also on a slow machine.
    while raised(&before) == 0 {
        gate.camera.show(photo(strangers.next().unwrap()));
        let one_more = |s: &Value| unknown(s) > unknown(&before);
        before = gate.site.status_when("an unknown face", one_more);
    }
    assert!(unknown(&before) >= 2, "{before:#}");
    gate.camera.show_empty();
    let first = alarm(&mut gate.platform, "unknown_faces");
    assert_eq!((&first["raised"], &first["subject"]), (&json!(true), &json!("north")));
    let detail = first["detail"].as_str().unwrap();
    assert!(detail.contains(" visits of unknown faces"), "{detail}");
    let status = gate.site.status();
    assert!(Site::degraded(&status).contains(&"faces north"), "{status:#}");
    assert_eq!(standing(&status, "unknown_faces").unwrap()["detail"], first["detail"]);
    let over = alarm(&mut gate.platform, "unknown_faces");
    assert_eq!(over["raised"], false);
    assert!(over["detail"].as_str().unwrap().ends_with(" in all"), "{over}");
    let status = gate.site.status_when("the end of the alarm", |s| Site::degraded(s).is_empty());
    assert_eq!(status["alarms"], json!({ "raised": 1, "standing": [] }));
    gate.platform.assert_whole();
}

/// The kernel's network tables, as on a box at another place.
struct Network(PathBuf);

impl Network {
    fn router(&self, mac: &str) {
        // The file is replaced at once, because the daemon may read it meanwhile.
        let put = |name: &str, text: String| {
            let fresh = self.0.join(format!("{name}.new"));
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(fresh, self.0.join(name)).unwrap();
        };
        let gateway = u32::from_ne_bytes([192, 0, 2, 1]);
        put(
            "route",
            format!("Iface\neth0\t00000000\t{gateway:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"),
        );
        put("arp", format!("IP address\n192.0.2.1  0x1  0x2  {mac}  *  eth0\n"));
    }
}

#[test]
fn a_box_that_was_moved_to_another_network_raises_an_alarm_until_it_is_back() {
    let (home, away) = ("02:fc:00:00:00:05", "02:fc:00:00:00:77");
    let site = Site::prepare();
    let network = Network(site.path("network"));
    std::fs::create_dir(&network.0).unwrap();
    network.router(home);
    let (preload, folder) = (shim("other_network"), network.0.clone());
    let environment = [
        ("LD_PRELOAD", preload.to_str().unwrap()),
        ("GATEHOUSE_TEST_NETWORK", folder.to_str().unwrap()),
    ];
    let mut gate = Gate::at(site, &environment);
    // The daemon learns the first router; the end of the test shows that it raised no alarm.
    let database = gate.site.path("data/gatehouse.db");
    let known = || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(&database, flags).unwrap();
        let sql = "SELECT CAST(value AS TEXT) FROM meta WHERE key = 'neighbourhood'";
        database.query_row(sql, [], |row| row.get::<_, String>(0)).ok()
    };
    let learned = until("the router to be learned", known);
    assert!(learned.contains(home), "{learned}");

    gate.daemon.take().unwrap().stop();
    network.router(away);
    gate.daemon = Some(gate.site.start_with(&environment));
    let moved = alarm(&mut gate.platform, "neighbourhood");
    assert_eq!((&moved["raised"], &moved["subject"]), (&json!(true), &json!(away)));
    let detail = moved["detail"].as_str().unwrap();
    assert!(detail.contains(home) && detail.contains("was moved to another place"), "{detail}");
    let status = gate.site.status();
    assert!(Site::degraded(&status).contains(&"network"), "{status:#}");

    // The alarm survives a restart of the box.
    gate.daemon.take().unwrap().kill();
    gate.daemon = Some(gate.site.start_with(&environment));
    gate.site.status_when("the standing alarm", |s| Site::degraded(s).contains(&"network"));
    network.router(home);
    let over = alarm(&mut gate.platform, "neighbourhood");
    assert_eq!((&over["raised"], &over["subject"]), (&json!(false), &json!(away)));
    gate.site.status_when("a healthy gate", |s| Site::degraded(s).is_empty());
    let of = |raised| ("neighbourhood".to_owned(), away.to_owned(), raised);
    assert_eq!(told(&gate.platform), [of(true), of(false)]);
    gate.platform.assert_whole();
}

#[test]
fn faces_without_a_decision_cause_a_trouble_an_alarm_and_a_denial() {
    let site = Site::prepare();
    site.configure(|c| c.set("alarms", "undecided_s", 2));
    // Three people in an irregular order, each for one frame, so that no two sightings in a row
    // agree. That holds too where a busy machine analyses only some of the frames.
    site.configure(|c| c.camera("source", "replay:people").camera("loop", true).camera("fps", 10));
    let people = site.path("people");
    std::fs::create_dir(&people).unwrap();
    let photos = [
        ["impostor_1.jpg", "impostor_2.jpg"],
        ["person_a_1.jpg", "person_a_2.jpg"],
        ["person_b_1.jpg", "person_b_2.jpg"],
    ];
    let mut random = 1_u32;
    let mut last = 0;
    for n in 0..300 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        last = (last + 1 + (random >> 24) as usize % 2) % 3;
        let shown = photos[last][(random >> 16) as usize % 2];
        std::fs::write(people.join(format!("{n:03}.jpg")), photo(shown)).unwrap();
    }
    let mut gate = Gate::at(site, &[("GATEHOUSE_LOG", "debug")]);
    let first = alarm(&mut gate.platform, "undecided");
    assert_eq!((&first["raised"], &first["subject"]), (&json!(true), &json!("north/entry")));
    let detail = first["detail"].as_str().unwrap();
    assert!(detail.contains("the gate has decided on none of them"), "{detail}");
    gate.site.status_when("the trouble", |s| Site::degraded(s).contains(&"camera north/entry"));
    gate.site.status_when("a denial", |s| s["lanes"][0]["denials"].as_u64().unwrap() > 0);
    let log = gate.site.log();
    assert!(log.contains("sighting: nothing yet: 1 of 4 looks in a row agree"), "{log}");
}

#[test]
fn a_relay_that_another_hand_keeps_on_raises_an_alarm_that_ends_when_it_is_off() {
    let mut gate = Gate::at(Site::prepare(), &[]);
    let coil = |gate: &mut Gate, level: &str| gate.board.command(&format!("coil 1 {level}"));
    coil(&mut gate, "on");
    assert_eq!(gate.board.line(), "coil 1 off", "withdrawn once");
    let noticed = |s: &Value| s["lanes"][0]["turnstile"]["foreign_releases"] == 1;
    let status = gate.site.status_when("the release by another hand", noticed);
    assert!(standing(&status, "foreign_release").is_none(), "{status:#}");
    coil(&mut gate, "on");
    let first = alarm(&mut gate.platform, "foreign_release");
    assert_eq!((&first["raised"], &first["subject"]), (&json!(true), &json!("north/exit")));
    assert_eq!(first["code"], "foreign_release");
    let detail = first["detail"].as_str().unwrap();
    assert!(detail.starts_with("coil 1 of address 1 on "), "{detail}");
    assert!(detail.contains("a fire panel or a guard's button"), "{detail}");
    gate.site.status_when("the trouble", |s| Site::degraded(s).contains(&"turnstile north"));
    assert_eq!(coil(&mut gate, "off"), [""; 0], "it was left on");
    let over = alarm(&mut gate.platform, "foreign_release");
    assert_eq!((&over["raised"], &over["subject"]), (&json!(false), &json!("north/exit")));
    gate.site.status_when("a healthy gate", |s| Site::degraded(s).is_empty());
}
