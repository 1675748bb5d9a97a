//! Tests of accepted files, and of the messages for refused ones.

use std::time::Duration;

use jiff::civil::Time;

use super::*;

fn refusal(text: &str) -> String {
    Config::parse(Path::new("/etc/g.toml"), text).unwrap_err().to_string()
}

const SITE: &str = "[site]\nproject_code = \"P1\"\n";

#[test]
fn a_minimal_file_takes_the_documented_defaults() {
    let config = Config::parse(Path::new("/etc/g.toml"), SITE).unwrap();
    assert_eq!(config.storage.database(), Path::new("/var/lib/gatehouse/gatehouse.db"));
    assert_eq!(config.recognition.threshold, Threshold::ByRoster);
    assert_eq!(config.site.day_starts_at, Time::constant(4, 0, 0, 0));
    assert_eq!(config.mode, Mode::Field);
}

#[test]
fn alarms_take_limits_within_reason_only() {
    let alarms = |lines: &str| format!("{SITE}[alarms]\n{lines}\n");
    let parsed =
        |lines: &str| Config::parse(Path::new("/etc/g.toml"), &alarms(lines)).unwrap().alarms;
    let seconds = Duration::from_secs;
    let usual = AlarmLimits {
        outbox_age: seconds(900),
        link_down: seconds(60),
        device_down: seconds(30),
        undecided: seconds(60),
        unknown_faces: 10,
        unknown_faces_within: seconds(60),
    };
    assert_eq!(parsed(""), usual);
    let given = parsed("outbox_age_s = 1\nunknown_faces = 2");
    assert_eq!(given, AlarmLimits { outbox_age: seconds(1), unknown_faces: 2, ..usual });
    for (line, key) in [
        ("outbox_age_s = 0", "4: alarms.outbox_age_s: 0 must be from"),
        ("link_down_s = 86401", "4: alarms.link_down_s: 86401 must be from"),
        ("device_down_s = -1", "4: alarms.device_down_s: -1 must be from"),
        ("undecided_s = 0", "4: alarms.undecided_s: 0 must be from"),
        ("unknown_faces = 1", "4: alarms.unknown_faces: 1 must be from 2 to 1000"),
        ("unknown_faces_within_s = 3601", "4: alarms.unknown_faces_within_s: 3601"),
        ("outbox_age = 900", "4: alarms.outbox_age: unknown key (did you mean outbox_age_s?)"),
    ] {
        let refused = refusal(&alarms(line));
        assert!(refused.contains(key), "{refused}");
    }
}

#[test]
fn a_field_gate_refuses_recorded_pictures_and_names_the_remedy() {
    let lane = "[[lane]]\nname = \"north\"\n[lane.turnstile]\ndriver = \"eb\"\nport = \"/dev/ttyS0\"\n\
                [[lane.camera]]\ndirection = \"entry\"\nsource = \"replay:frames\"\n";
    for mode in ["", "mode = \"field\"\n"] {
        let refused = refusal(&format!("{mode}{SITE}{lane}"));
        for words in ["lane[0].camera[0].source: ", "needs mode = \"bench\" at the top of the file"]
        {
            assert!(refused.contains(words), "{refused}");
        }
    }
    let bench = format!("mode = \"bench\"\n{SITE}{lane}");
    Config::parse(Path::new("/etc/g.toml"), &bench).unwrap();
}

#[test]
fn a_reader_accepts_only_what_its_driver_gives_and_a_required_face_needs_a_camera() {
    let lane =
        "[[lane]]\nname = \"north\"\n[lane.turnstile]\ndriver = \"eb\"\nport = \"/dev/ttyS0\"\n";
    let reader = |driver: &str, lines: &str| {
        format!(
            "{SITE}{lane}[[lane.reader]]\nname = \"r\"\ndirection = \"entry\"\n\
             port = \"/dev/ttyS1\"\ndriver = \"{driver}\"\n{lines}\n"
        )
    };
    for (driver, lines, told) in [
        ("line", "accept = []", "is empty; the driver line gives \"card\", \"qr\", \"qr_static\""),
        ("line", "accept = [\"id_card\"]", "\"id_card\": the driver line gives"),
        ("rdm6300", "accept = [\"qr\"]", "\"qr\": the driver rdm6300 gives \"card\""),
        ("line", "accept = [\"card\", \"qr_static\"]", "exclude each other"),
        ("line", "accept = [\"cards\"]", "lane[0].reader[0].accept"),
        ("keyboard", "baud = 9600", "a keyboard has no speed"),
        ("line", "with_face = \"require\"", "needs a camera of this lane"),
    ] {
        let refused = refusal(&reader(driver, lines));
        assert!(refused.contains(told), "{refused}");
    }
    for (driver, gives) in
        [("line", [true, true, false, false]), ("id-card", [false, false, false, true])]
    {
        let config = Config::parse(Path::new("/etc/g.toml"), &reader(driver, "")).unwrap();
        let reader = &config.lanes[0].readers[0];
        assert_eq!(crate::reader::Given::ALL.map(|given| reader.accepts(given)), gives);
    }
}

fn lanes(boards: [(&str, u8, u32); 2]) -> String {
    let lane = |(n, (driver, address, baud)): (usize, (&str, u8, u32))| {
        format!(
            "[[lane]]\nname = \"lane-{n}\"\n[lane.turnstile]\ndriver = {driver:?}\n\
             port = \"/dev/ttyUSB0\"\naddress = {address}\nbaud = {baud}\n"
        )
    };
    format!("{SITE}{}", boards.into_iter().enumerate().map(lane).collect::<String>())
}

#[test]
fn lanes_on_one_port_have_one_speed_one_protocol_and_different_addresses() {
    let both = lanes([("7e7f", 1, 9600), ("7e7f", 2, 9600)]);
    assert_eq!(Config::parse(Path::new("/etc/g.toml"), &both).unwrap().lanes.len(), 2);
    for (boards, key) in [
        ([("7e7f", 1, 9600), ("7e7f", 1, 9600)], "lane[1].turnstile.address: 1 on /dev/ttyUSB0 is"),
        ([("7e7f", 1, 9600), ("7e7f", 2, 19200)], "lane[1].turnstile.baud: /dev/ttyUSB0 runs at"),
        ([("7e7f", 1, 9600), ("eb", 2, 9600)], "lane[1].turnstile.driver: /dev/ttyUSB0 speaks"),
    ] {
        let refused = refusal(&lanes(boards));
        assert!(refused.contains(key), "{refused}");
    }
}

#[test]
fn a_cameras_password_is_separated_from_its_address() {
    let camera = "[[lane]]\nname = \"north\"\n[lane.turnstile]\ndriver = \"eb\"\n\
        port = \"/dev/ttyS1\"\n[[lane.camera]]\ndirection = \"exit\"\n\
        source = \"http://admin:p%40ss%3A1@10.0.0.9:8080/video?ch=1\"\n";
    let config = Config::parse(Path::new("/etc/g.toml"), &format!("{SITE}{camera}")).unwrap();
    let source = &config.lanes[0].cameras[0].source;
    let CameraSource::Http(CameraUrl { login: Some(login), .. }) = source else {
        panic!("{source:?}");
    };
    assert_eq!((login.user.as_str(), login.password.read().unwrap().as_str()), ("admin", "p@ss:1"));
    assert_eq!(source.to_string(), "http://10.0.0.9:8080/video?ch=***");
    let shown = |address: &str| {
        let url = CameraUrl { url: url::Url::parse(address).unwrap(), login: None };
        format!("{url} {url:?}")
    };
    for address in [
        "rtsp://10.0.0.9/user=admin_password=hunter2_channel=1.sdp",
        "http://10.0.0.9/video?user=admin&pwd=hunter2",
        "http://10.0.0.9/video?hunter2#hunter2",
    ] {
        assert!(!shown(address).contains("hunter2"), "{}", shown(address));
    }
    let shown = format!("{source:?} {source} {login:?}");
    assert!(
        !shown.contains("admin") && !shown.contains("p@ss") && !shown.contains("p%40"),
        "{shown}"
    );
}

#[test]
fn names_go_unencrypted_to_another_machine_only_where_the_configuration_allows_it() {
    let loads = |text: &str| Config::parse(Path::new("/etc/g.toml"), text).map(drop);
    let upstream =
        |broker: &str, more: &str| format!("{SITE}[[upstream]]\nbroker = [{broker}]\n{more}");
    for brokers in ["\"mqtt://10.0.0.9\"", "\"mqtts://a.example\", \"mqtt://b.example\""] {
        let message = refusal(&upstream(brokers, ""));
        assert!(message.contains("would send names unencrypted"), "{message}");
        loads(&upstream(brokers, "allow_plaintext = true\n")).unwrap();
    }
    loads(&upstream("\"mqtt://127.0.0.1\", \"mqtt://[::1]\", \"mqtts://a.example\"", "")).unwrap();
}

#[test]
fn a_camera_that_this_build_cannot_read_is_refused_by_name() {
    for (source, readable, words) in [
        ("v4l2:/dev/video0", cfg!(target_pointer_width = "64"), "has no USB cameras"),
        ("rtsp://10.0.0.9/1", cfg!(feature = "h264"), "has no H.264"),
    ] {
        let text = format!(
            "{SITE}[[lane]]\nname = \"north\"\n[lane.turnstile]\ndriver = \"eb\"\n\
             port = \"/dev/ttyS1\"\n[[lane.camera]]\ndirection = \"exit\"\nsource = {source:?}\n"
        );
        let refused = Config::parse(Path::new("/etc/g.toml"), &text).err().map(|e| e.to_string());
        assert_eq!(refused.is_none(), readable, "{refused:?}");
        if let Some(refused) = refused {
            assert!(refused.contains("lane[0].camera[0].source: this build"), "{refused}");
            assert!(refused.contains(words), "{refused}");
        }
    }
}

#[test]
fn a_fire_panel_speaks_by_a_level_unless_the_lane_says_by_pulses() {
    let lane = |keys: &str| {
        let board = "[lane.turnstile]\ndriver = \"modbus-rtu\"\nport = \"/dev/ttyS1\"\n";
        let text = format!("{SITE}[[lane]]\nname = \"north\"\n{keys}{board}");
        let lane = Config::parse(Path::new("/etc/g.toml"), &text).unwrap().lanes.remove(0);
        (lane.fire_input, lane.fire_signal)
    };
    assert_eq!(lane(""), (None, FireSignal::Level));
    assert_eq!(lane("fire_input = 7\n"), (Some(7), FireSignal::Level));
    let pulse = lane("fire_input = 7\nfire_signal = \"pulse\"\n");
    assert_eq!(pulse, (Some(7), FireSignal::Pulse));
}

/// Returns a site with a platform that does not speak MQTT.
fn platform(url: &str, more: &str) -> String {
    format!("{SITE}[[upstream]]\nurl = {url:?}\n{more}")
}

#[test]
fn every_refusal_names_file_line_and_key() {
    let turnstile =
        |body: &str| format!("{SITE}[[lane]]\nname = \"north\"\n[lane.turnstile]\n{body}");
    let upstream =
        |broker: &str, more: &str| format!("{SITE}[[upstream]]\nbroker = {broker:?}\n{more}");
    for (text, expected) in [
        (
            "[site]\nproject_code = \"P1\"\ncolour = 1\n".to_owned(),
            "/etc/g.toml:3: site.colour: unknown key",
        ),
        (
            "[site]\nproject_code = 5\n".to_owned(),
            "/etc/g.toml:2: site.project_code: must be text in quotes: \"5\"",
        ),
        (
            "[site]\nproject_code = \"P 1\"\n".to_owned(),
            "/etc/g.toml:2: site.project_code: \"P 1\" is not a name: a name is 1 to 64 characters",
        ),
        ("[site\n".to_owned(), "/etc/g.toml:1: syntax:"),
        ("\n[storage]\n".to_owned(), "site: is missing: add [site] and its keys"),
        (
            format!("{SITE}[storage]\nattendance_keep_years = 2\n"),
            "/etc/g.toml:4: storage.attendance_keep_years: the law",
        ),
        (
            format!("{SITE}[storage]\nphoto_max_bytes = 5\n"),
            "/etc/g.toml:4: storage.photo_max_bytes: 5 must be 1048576 or more",
        ),
        (
            format!("{SITE}[roster]\nadmin_group = \"no such group\"\n"),
            "/etc/g.toml:4: roster.admin_group: there is no group",
        ),
        (
            format!("{SITE}[enrolment]\nmax_tilt_deg = 120\n"),
            "/etc/g.toml:4: enrolment.max_tilt_deg: 120 must be from 5 to 90",
        ),
        (
            format!("{SITE}[enrolment]\nlight = [200, 100]\n"),
            "/etc/g.toml:4: enrolment.light: [200, 100] must be two rising grey levels",
        ),
        (
            turnstile("driver = \"modbus-rtu\"\n"),
            "/etc/g.toml:5: lane[0].turnstile.port: modbus-rtu needs a port",
        ),
        (
            turnstile("driver = \"simulated\"\n"),
            "/etc/g.toml:6: lane[0].turnstile.driver: \"simulated\" needs mode",
        ),
        (
            turnstile("driver = \"7e7f\"\nport = \"/dev/ttyS1\"\npulse_ms = 300\n"),
            "/etc/g.toml:8: lane[0].turnstile.pulse_ms: belongs to driver = \"modbus-rtu\"",
        ),
        (
            format!(
                "{}[[lane.camera]]\ndirection = \"entry\"\nsource = \"http://u:hunter2@\"\n",
                turnstile("driver = \"eb\"\nport = \"/dev/ttyS1\"\n")
            ),
            "/etc/g.toml:10: lane[0].camera[0].source: not the address of a camera",
        ),
        (
            turnstile("driver = \"eb\"\nport = \"/dev/ttyS1\"\n")
                .replace("[lane.", "fire_signal = \"pulse\"\n[lane."),
            "/etc/g.toml:5: lane[0].fire_signal: needs fire_input",
        ),
        (
            turnstile("driver = \"modbus-rtu\"\nport = \"/dev/ttyS1\"\n")
                .replace("[lane.", "fire_input = 7\nfire_signal = \"bell\"\n[lane."),
            "/etc/g.toml:6: lane[0].fire_signal: ",
        ),
        (
            turnstile("driver = \"warp\"\n"),
            "/etc/g.toml:6: lane[0].turnstile.driver: \"warp\" is no driver",
        ),
        (
            format!("{SITE}[[upstream]]\nbroker = \"mqtt://broker.example:1883\"\n"),
            "/etc/g.toml:4: upstream[0].broker: \"mqtt://broker.example:1883\" would send",
        ),
        (
            upstream("ssl://broker.example", ""),
            "upstream[0].broker: \"ssl://broker.example\" is not a broker's address: it must be mqtts://",
        ),
        (
            upstream("mqtts://broker.example:0", ""),
            "upstream[0].broker: \"mqtts://broker.example:0\" has no port",
        ),
        (upstream("mqtts://bro ker", ""), "upstream[0].broker: the address holds a space"),
        (
            upstream("mqtt://localhost", "url = \"https://platform.example\"\n"),
            "/etc/g.toml:5: upstream[0].url: cannot stand beside a broker",
        ),
        (
            platform("http://platform.example", ""),
            "upstream[0].url: \"http://platform.example\" would send",
        ),
        (
            platform("tcp://platform.example:1", ""),
            "upstream[0].url: \"tcp://platform.example:1\" would send",
        ),
        (platform("tcp://127.0.0.1", ""), "upstream[0].url: \"tcp://127.0.0.1\" has no port"),
        (
            platform("https://a:b@platform.example", ""),
            "upstream[0].url: the platform's address has an @",
        ),
        (
            platform("https://platform.example", "username = \"gate\"\n"),
            "/etc/g.toml:5: upstream[0].username: belongs to a broker",
        ),
        (
            upstream("mqtt://localhost", "ca = \"ca.pem\"\n"),
            "/etc/g.toml:5: upstream[0].ca: no address of this upstream has mqtts:// or https://",
        ),
        (
            upstream("mqtts://broker.example", "cert = \"gate.pem\"\n"),
            "/etc/g.toml:5: upstream[0].cert: needs its private key as well: key = \"file:PATH\"",
        ),
        (
            upstream("mqtts://broker.example", "key = \"file:gate.key\"\n"),
            "/etc/g.toml:5: upstream[0].key: needs the certificate it belongs to",
        ),
        (
            upstream("mqtts://broker.example", "ack = \"no one\"\n"),
            "/etc/g.toml:5: upstream[0].ack: must be \"broker\" or \"platform\"",
        ),
        (
            upstream("mqtts://broker.example", "photos = \"all\"\n"),
            "/etc/g.toml:5: upstream[0].photos: must be \"off\" or \"record\"",
        ),
        (
            upstream("mqtts://broker.example", "photo_crop = \"body\"\n"),
            "/etc/g.toml:5: upstream[0].photo_crop: must be \"scene\" or \"face\"",
        ),
        (
            upstream("mqtts://broker.example", "photo_kb = 501\n"),
            "/etc/g.toml:5: upstream[0].photo_kb: 501 must be from 10 to 500",
        ),
        (
            upstream("mqtts://broker.example", "photo_kb_per_minute = 9\n"),
            "/etc/g.toml:5: upstream[0].photo_kb_per_minute: 9 must be from 10 to 65535",
        ),
        (
            upstream("mqtts://broker.example", "photos = \"record\"\n")
                + "[storage]\nphoto_keep_days = 0\n",
            "/etc/g.toml:5: upstream[0].photos: needs a storage.photo_keep_days of 1 or more",
        ),
        (
            upstream("mqtts://broker.example", "version = \"4\"\n"),
            "/etc/g.toml:5: upstream[0].version: must be \"3.1.1\" or \"5\"",
        ),
        (
            upstream("mqtts://broker.example", "password = \"file:pw\"\n"),
            "/etc/g.toml:5: upstream[0].password: needs a username",
        ),
        (
            format!("{SITE}[metrics]\nlisten = \"0.0.0.0:9464\"\n"),
            "/etc/g.toml:4: metrics.listen: \"0.0.0.0:9464\" would show this gate to its whole network",
        ),
        (
            format!("{SITE}[metrics]\nlisten = \"localhost:9464\"\n"),
            "/etc/g.toml:4: metrics.listen: \"localhost:9464\" is not an address and port",
        ),
        (
            format!("{SITE}[metrics]\nlisten = \"[::1]:0\"\n"),
            "/etc/g.toml:4: metrics.listen: \"[::1]:0\" is not an address and port",
        ),
    ] {
        let message = refusal(&text);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

#[test]
fn secrets_are_masked_and_read_where_they_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pw"), "hunter2\n").unwrap();
    let text = format!(
        "{SITE}[[upstream]]\nbroker = [\"mqtt://127.0.0.1\", \"mqtt://[::1]:1884\"]\nusername = \"u\"\npassword = \"file:pw\"\n\
         [[upstream]]\nbroker = \"mqtt://localhost\"\nusername = \"u\"\npassword = \"hunter2\"\n"
    );
    let config = Config::parse(&dir.path().join("g.toml"), &text).unwrap();
    for upstream in &config.upstreams {
        assert_eq!(**upstream.password.as_ref().unwrap().read().unwrap(), *"hunter2");
    }
    assert_eq!(
        config.upstreams[0].brokers[1],
        Broker { host: "::1".into(), port: 1884, tls: false }
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn an_upstream_has_nodes_with_and_without_tls_and_files_beside_the_configuration() {
    let text = format!(
        "{SITE}[[upstream]]\nbroker = [\"mqtts://a.example\", \"mqtts://[fd00::9]:1\", \
         \"mqtts://10.0.0.9:8884/\", \"mqtt://127.0.0.1\"]\nca = \"ca.pem\"\ncert = \"/etc/gate.pem\"\n\
         key = \"file:gate.key\"\nversion = \"3.1.1\"\nack = \"platform\"\nremote_release = true\n\
         [[upstream]]\nbroker = \"mqtt://10.0.0.9\"\nallow_plaintext = true\n\
         [[upstream]]\nbroker = \"mqtts://b.example\"\n"
    );
    let config = Config::parse(Path::new("/etc/g.toml"), &text).unwrap();
    let [nodes, private, plain] = &config.upstreams[..] else { panic!("{config:?}") };
    let broker = |host: &str, port, tls| Broker { host: host.into(), port, tls };
    assert_eq!(
        nodes.brokers,
        [
            broker("a.example", 8883, true),
            broker("fd00::9", 1, true),
            broker("10.0.0.9", 8884, true),
            broker("127.0.0.1", 1883, false),
        ]
    );
    assert_eq!(nodes.brokers[1].to_string(), "mqtts://[fd00::9]:1");
    assert_eq!(nodes.tls().ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    let Some((cert, Secret::File(key))) = &nodes.tls().own else { panic!("{:?}", nodes.tls()) };
    assert_eq!(
        (cert.as_path(), key.as_path()),
        ("/etc/gate.pem".as_ref(), "/etc/gate.key".as_ref())
    );
    assert_eq!((nodes.version, nodes.ack), (Some(MqttVersion::V4), Ack::Platform));
    let own: Vec<_> = nodes.own.0.keys().collect();
    assert!(own == ["remote_release"] && plain.own.0.is_empty(), "{own:?}");
    assert_eq!(private.brokers, [broker("10.0.0.9", 1883, false)]);
    assert!(plain.ca.is_none() && plain.cert.is_none());
    assert_eq!((plain.version, plain.ack), (None, Ack::Broker));
}

#[test]
fn no_refusal_repeats_a_secret() {
    for (text, expected) in [
        ("broker = \"mqtts://u:hunter2@b.example\"\n", "username and password have keys"),
        ("broker = \"ssl://u:hunter2@b.example\"\n", "username and password have keys"),
        ("broker = \"u:hunter2@b.example\"\n", "username and password have keys"),
        ("broker = \"mqtts://b\"\npassword = \"hunter2\"\n", "needs a username"),
        ("broker = \"mqtts://b\"\ncert = \"c\"\nkey = \"hunter2\"\n", "never the key itself"),
        ("broker = \"mqtts://b\"\nusername = \"u\"\npassword = 1234567\n", "text in quotes"),
        ("broker = \"mqtts://b\"\nkey = 1234567\n", "text in quotes"),
    ] {
        let message = refusal(&format!("{SITE}[[upstream]]\n{text}"));
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        assert!(!message.contains("hunter2") && !message.contains("1234567"), "{message}");
    }
}

/// MQTT reserves some of these characters in a topic; for others a NATS server drops the
/// connection.
#[test]
fn names_that_become_part_of_topics_are_plain() {
    for letter in ["+", "#", "/", "$", ".", " ", "*", ">", "\t", "工", "\u{0}"] {
        let name = toml::Value::from(format!("a{letter}b"));
        for text in [
            format!("[site]\nproject_code = {name}\n"),
            format!("{SITE}gateway_id = {name}\n"),
            format!("{SITE}[[upstream]]\nbroker = \"mqtt://localhost\"\nname = {name}\n"),
        ] {
            let message = refusal(&text);
            assert!(message.contains("1 to 64 characters of A-Z, a-z, 0-9, - and _,"), "{message}");
        }
    }
}

#[test]
fn a_client_id_and_a_user_are_what_the_operator_of_the_broker_prescribes() {
    let upstream = |key: &str, text: &str| {
        let text = toml::Value::from(text);
        format!("{SITE}[[upstream]]\nbroker = \"mqtt://localhost\"\n{key} = {text}\n")
    };
    for prescribed in [
        "gate|securemode=2,signmethod=hmacsha256,timestamp=1789|",
        "GID_site@@@gate-1",
        "a1B2.gate&a1B2",
        " with blanks / and + # $ 工地",
        &"x".repeat(300),
    ] {
        for key in ["client_id", "username"] {
            let text = upstream(key, prescribed);
            let config = Config::parse(Path::new("/etc/g.toml"), &text).unwrap();
            let upstream = &config.upstreams[0];
            let read = if key == "client_id" { &upstream.client_id } else { &upstream.username };
            assert_eq!(read.as_deref(), Some(prescribed));
        }
    }
    for impossible in ["", "a\0b", &"x".repeat(65_536)] {
        let message = refusal(&upstream("client_id", impossible));
        assert!(message.contains("not a text that MQTT can carry"), "{message}");
    }
}
