//! Encrypted links: a real mosquitto with TLS, certificates of the test's own authorities, and an
//! eavesdropper on the line.

use std::{collections::BTreeSet, process::Command};

use crate::common::{
    Configuration, Gate, Said, Site, Subscriber,
    broker::free_port,
    photo_path,
    pki::{Authority, Signed, day, self_signed},
    relay::{Relay, holds},
    until,
};

use serde_json::{Value, json};

const NAME: &str = "刘峰";
const ID_NUMBER: &str = "522201199003074411";
const PASSWORD: &str = "correct-horse-7301";

/// Sets the broker's address, and further keys of its `[[upstream]]`.
fn upstream(site: &Site, address: &str, more: &str) {
    site.configure(|c| with(c.its("broker", address), more));
}

/// Adds these lines to the last `[[upstream]]`.
fn with(configuration: Configuration, more: &str) -> Configuration {
    let more: toml::Table = more.parse().unwrap();
    more.into_iter().fold(configuration, |c, (key, value)| c.its(&key, value))
}

/// Lets the broker also listen with TLS, with `server.pem` and `server.key`. Returns the port.
fn encrypted(site: &Site, more: &str) -> u16 {
    encrypted_as(site, "server", more)
}

fn encrypted_as(site: &Site, name: &str, more: &str) -> u16 {
    let port = free_port();
    let at = |end: &str| site.path(&format!("{name}.{end}")).display().to_string();
    let (cert, key) = (at("pem"), at("key"));
    site.broker.add(&format!("listener {port} 127.0.0.1\ncertfile {cert}\nkeyfile {key}\n{more}"));
    port
}

/// Returns a site without lanes whose gateway trusts an authority, and the broker's TLS port.
fn site_with(authority: &Authority) -> (Site, u16) {
    let site = Site::without_lanes();
    authority.sign(&["localhost", "127.0.0.1"]).write(site.path("").as_path(), "server");
    std::fs::write(site.path("ca.pem"), &authority.pem).unwrap();
    let port = encrypted(&site, "");
    (site, port)
}

fn enroll(site: &Site) {
    let said = site.enroll("W001", NAME, ID_NUMBER, &photo_path("person_a_2.jpg"));
    assert_eq!(said.code, 0, "{said:?}");
}

/// Makes an event with this reason.
fn report(site: &Site, reason: &str) {
    let said = site.gatehouse(&["worker", "suspend", "W001", "--reason", reason]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn arrives(platform: &mut Subscriber, reason: &str) {
    while platform.next_on("event")["reason"] != reason {}
}

/// Returns the state of the upstream once it is connected, or once it is not.
fn link_when(site: &Site, connected: bool) -> Value {
    let status = site.status_when("the link to change", |s| {
        s["upstreams"][0]["connected"] == connected
            && (connected || s["upstreams"][0]["last_error"].is_string())
    });
    status["upstreams"][0].clone()
}

/// Returns the lines of `gatehouse check` about this subject.
fn checked(site: &Site, about: &str) -> Vec<Value> {
    let said = site.gatehouse(&["--json", "check"]);
    let lines = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["check"] == about).collect()
}

#[test]
fn records_arrive_over_tls_with_a_private_authority() {
    let site = Site::prepare();
    let authority = Authority::new("The project's authority");
    authority.sign_for(&["127.0.0.1"], (-10, 12)).write(site.path("").as_path(), "server");
    std::fs::write(site.path("ca.pem"), &authority.pem).unwrap();
    // The other tests use TLS 1.3.
    let port = encrypted(&site, "tls_version tlsv1.2\n");
    upstream(&site, &format!("mqtts://127.0.0.1:{port}"), "ca = \"ca.pem\"\n");
    let mut gate = Gate::at(site, &[]);
    enroll(&gate.site);
    gate.pass("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["name"], &record["outcome"]), (&json!(NAME), &json!("passed")));
    gate.platform.assert_whole();

    let link = link_when(&gate.site, true);
    let certificates = link["certificates"].as_array().unwrap();
    let of = |whose: &str| certificates.iter().find(|c| c["whose"] == whose).unwrap();
    assert!(of("broker")["until"].as_str().unwrap().starts_with(&day(12).to_string()), "{link}");
    assert_eq!(of("broker")["path"], Value::Null);
    let ca = gate.site.path("ca.pem").display().to_string();
    assert_eq!(of("authority")["path"], ca);
    assert!(of("authority")["until"].as_str().unwrap().starts_with(&day(3650).to_string()));

    // The check logs in beside the daemon and does not break the daemon's connection.
    let lines = checked(&gate.site, "upstream platform");
    let expected = format!(
        "mqtts://127.0.0.1:{port} accepts us, MQTT 5, its certificate is valid until {}",
        day(12)
    );
    assert_eq!(
        (&lines[0]["ok"], &lines[0]["detail"]),
        (&json!(true), &json!(expected)),
        "{lines:?}"
    );
    let warnings = checked(&gate.site, "certificates of platform");
    assert_eq!((warnings.len(), &warnings[0]["warning"]), (1, &json!(true)), "{warnings:?}");
    let detail = warnings[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("the broker's certificate ends in 11 days"), "{detail}");
    assert_eq!(link_when(&gate.site, true)["connects"], link["connects"]);
}

#[test]
fn an_untrusted_broker_gets_no_record_until_its_certificate_is_right() {
    let authority = Authority::new("The project's authority");
    let other = Authority::new("Another authority");
    let (mut site, port) = site_with(&authority);
    upstream(&site, &format!("mqtts://localhost:{port}"), "ca = \"ca.pem\"\n");
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let _daemon = site.start();
    enroll(&site);
    platform.event("enrolment");

    let ca = site.path("ca.pem").display().to_string();
    let names = &["localhost"][..];
    let expired =
        format!("expired (its own ends on {}); this box's clock says {}", day(-2), day(0));
    let early = format!("is not valid yet (its own begins on {}); this box's clock says", day(5));
    let bad: [(Signed, &[&str]); 6] = [
        (other.sign(names), &["which is not in", &ca, "Another authority", "with ca"]),
        (authority.sign_for(names, (-9, -2)), &[&expired, "must renew it"]),
        (authority.sign_for(names, (5, 9)), &[&early, "Set the clock"]),
        (self_signed(names, false), &["is self-signed, and not one of", &ca]),
        (self_signed(names, true), &["self-signed"]),
        (
            authority.sign(&["mail.example"]),
            &["is not for the name \"localhost\" but for", "mail.example"],
        ),
    ];
    let folder = site.path("");
    let good = authority.sign(names);
    for (n, (certificate, expected)) in bad.into_iter().enumerate() {
        site.settled(&mut platform);
        site.broker.stop();
        link_when(&site, false);
        certificate.write(&folder, "server");
        site.broker.start();
        let reason = format!("reason {n}");
        if n % 2 == 0 {
            report(&site, &reason);
        } else {
            site.gatehouse(&["worker", "resume", "W001"]);
        }
        let status = site.status_when(&format!("{expected:?}"), |s| {
            let error = s["upstreams"][0]["last_error"].as_str().unwrap_or_default();
            expected.iter().all(|words| error.contains(words))
        });
        assert_eq!(status["upstreams"][0]["connected"], false);
        assert_eq!(Site::outbox(&status), 1, "{status:#}");
        assert_eq!(Site::degraded(&status), ["upstream platform"]);
        let remedy = status["degraded"].to_string();
        assert!(remedy.contains("the broker's certificate"), "{remedy}");
        let line = checked(&site, "upstream platform").remove(0);
        let detail = line["detail"].as_str().unwrap();
        assert!(expected.iter().all(|words| detail.contains(words)), "{detail}");
        assert_eq!(line["ok"], false);

        // With the right certificate on the same port, the waiting records arrive.
        site.broker.stop();
        good.write(&folder, "server");
        site.broker.start();
        let state = if n % 2 == 0 { "suspended" } else { "active" };
        assert_eq!(platform.event("state")["state"], state, "{:#?}", platform.records);
    }
    platform.assert_whole();
}

#[test]
fn the_broker_authenticates_the_gateway_and_no_secret_is_logged() {
    let (authority, clients) = (Authority::new("The project's authority"), Authority::new("Gates"));
    let successor = Authority::new("Gates from next year");
    let mut site = Site::without_lanes();
    let folder = site.path("");
    authority.sign(&["localhost"]).write(&folder, "server");
    std::fs::write(site.path("ca.pem"), &authority.pem).unwrap();
    std::fs::write(site.path("clients.pem"), &clients.pem).unwrap();
    let first = clients.sign_for(&["gate-1"], (-300, 20));
    first.write(&folder, "gate");
    std::fs::write(site.path("password"), format!("{PASSWORD}\n")).unwrap();
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .args([site.path("passwords").to_str().unwrap(), "gate-user", PASSWORD])
        .status();
    assert!(made.unwrap().success());
    let port = encrypted(
        &site,
        &format!(
            "cafile {}\nrequire_certificate true\npassword_file {}\n",
            site.path("clients.pem").display(),
            site.path("passwords").display()
        ),
    );
    let more = "ca = \"ca.pem\"\ncert = \"gate.pem\"\nkey = \"file:gate.key\"\n\
                username = \"gate-user\"\npassword = \"file:password\"\n";
    upstream(&site, &format!("mqtts://localhost:{port}"), more);
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let mut said: Vec<Said> = Vec::new();
    let daemon = site
        .start_with(&[("GATEHOUSE_LOG", "trace,rumqttc=trace,rustls=trace,tokio_rustls=trace")]);
    enroll(&site);
    platform.event("enrolment");
    let link = link_when(&site, true);
    let own = link["certificates"].as_array().unwrap();
    let own = own.iter().find(|c| c["whose"] == "gateway").unwrap();
    assert!(own["until"].as_str().unwrap().starts_with(&day(20).to_string()), "{own}");
    let warned = checked(&site, "certificates of platform").remove(0);
    assert!(warned.to_string().contains("no restart is needed"), "{warned}");

    // The broker's operator trusts another authority. The gateway's certificate is renewed in
    // place.
    site.settled(&mut platform);
    site.broker.stop();
    std::fs::write(site.path("clients.pem"), &successor.pem).unwrap();
    site.broker.start();
    report(&site, "while refused");
    let refused = |site: &Site, words: &str| {
        site.status_when(words, |s| {
            s["upstreams"][0]["last_error"].as_str().is_some_and(|e| e.contains(words))
        })
    };
    let status = refused(&site, &format!("certificate {}", site.path("gate.pem").display()));
    assert_eq!(Site::outbox(&status), 1, "{status:#}");
    let second = successor.sign(&["gate-1"]);
    // Only a part of the new files is written: the next attempts report that.
    std::fs::write(site.path("gate.pem"), &second.cert).unwrap();
    refused(&site, "does not belong to cert");
    let half = &second.key[..second.key.len() / 2];
    std::fs::write(site.path("gate.key"), half).unwrap();
    refused(&site, "gate.key: holds no private key that can be used");
    said.push(site.gatehouse(&["check"]));
    std::fs::remove_file(site.path("gate.key")).unwrap();
    refused(&site, "cannot read the secret");
    second.write(&folder, "gate");
    arrives(&mut platform, "while refused");
    let link = link_when(&site, true);
    assert!(link["certificates"].to_string().contains(&day(365).to_string()), "{link}");

    // A wrong password, which `check` finds before the daemon starts.
    std::fs::write(site.path("password"), "wrong-horse-1111\n").unwrap();
    said.push(site.gatehouse(&["check"]));
    let line = checked(&site, "upstream platform").remove(0);
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains("refuses username, password or client_id"), "{detail}");
    site.settled(&mut platform);
    site.broker.stop();
    link_when(&site, false);
    site.broker.start();
    refused(&site, "refuses username, password or client_id");
    std::fs::write(site.path("password"), PASSWORD).unwrap();
    assert_eq!(site.gatehouse(&["worker", "resume", "W001"]).code, 0);
    assert_eq!(platform.event("state")["state"], "active");
    platform.assert_whole();

    for arguments in [&["status"][..], &["--json", "status"], &["check"], &["--json", "check"]] {
        said.push(site.gatehouse(arguments));
    }
    daemon.stop();
    let all = format!("{said:?}\n{}", site.log());
    assert!(all.contains("TRACE") && all.contains("gate.key") && !all.contains("gate-user"));
    for key in [&first.key, &second.key] {
        let lines: Vec<&str> = key.lines().filter(|line| !line.starts_with("-----")).collect();
        assert!(lines.len() > 1, "{key}");
        for line in lines {
            assert!(!all.contains(line), "a line of a private key is in the output");
        }
    }
    for secret in [PASSWORD, "wrong-horse-1111"] {
        assert!(!all.contains(secret), "a password is in the output");
    }
}

#[test]
fn the_check_reports_the_fault_of_each_broker() {
    let (authority, other) = (Authority::new("The project's authority"), Authority::new("Others"));
    let (mut site, port) = site_with(&authority);
    let folder = site.path("");
    std::fs::write(site.path("other.pem"), &other.pem).unwrap();
    let strict = encrypted(
        &site,
        &format!("cafile {}\nrequire_certificate true\n", site.path("ca.pem").display()),
    );
    let strict_12 = encrypted(
        &site,
        &format!(
            "cafile {}\nrequire_certificate true\ntls_version tlsv1.2\n",
            site.path("ca.pem").display()
        ),
    );
    authority.sign(&["gate-1"]).write(&folder, "gate");
    authority.sign_for(&["gate-1"], (-9, -1)).write(&folder, "old");
    other.sign(&["gate-1"]).write(&folder, "foreign");
    self_signed(&["localhost"], false).write(&folder, "own");
    self_signed(&["localhost"], true).write(&folder, "own-ca");
    let pinned = encrypted_as(&site, "own", "");
    let pinned_ca = encrypted_as(&site, "own-ca", "");
    std::fs::write(site.path("garbled.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let absent = free_port();
    let plain = site.broker.port;
    let own =
        |name: &str| format!("ca = \"ca.pem\"\ncert = \"{name}.pem\"\nkey = \"file:{name}.key\"\n");
    let ca = "ca = \"ca.pem\"\n".to_owned();
    let cases: Vec<(&str, u16, String, &str)> = vec![
        ("right", port, ca.clone(), "accepts us, MQTT 5, its certificate is valid until"),
        ("right-4", port, format!("{ca}version = \"3.1.1\"\n"), "accepts us, MQTT 3.1.1, its"),
        ("mutual", strict, own("gate"), "accepts us, MQTT 5, its"),
        ("mutual-12", strict_12, own("gate"), "accepts us, MQTT 5, its"),
        ("none", strict, ca.clone(), "certificate of ours: set cert and key"),
        ("none-12", strict_12, ca.clone(), "certificate of ours: set cert and key"),
        ("old", strict, own("old"), "our certificate"),
        ("old-12", strict_12, own("old"), "our certificate"),
        ("foreign", strict, own("foreign"), "our certificate"),
        ("foreign-12", strict_12, own("foreign"), "our certificate"),
        ("plain", plain, ca.clone(), "or its port takes no TLS"),
        ("absent", absent, ca.clone(), "onnection refused"),
        ("missing", port, "ca = \"none.pem\"\n".to_owned(), "none.pem: No such file"),
        ("garbled", port, "ca = \"garbled.pem\"\n".to_owned(), "certificate 1 in it is damaged"),
        // A self-signed certificate is trusted where `ca` names it, unless it is an authority's
        // own.
        ("pinned", pinned, "ca = \"own.pem\"\n".to_owned(), "accepts us, MQTT 5, its"),
        (
            "pinned-ca",
            pinned_ca,
            "ca = \"own-ca.pem\"\n".to_owned(),
            "is an authority's own (CA:TRUE)",
        ),
        ("other", port, "ca = \"other.pem\"\n".to_owned(), "which is not in"),
    ];
    site.broker.start();
    for port in [port, strict, strict_12, pinned, pinned_ca] {
        until("all listeners", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    }
    let bare = site.configuration();
    let mut left: Vec<_> = cases.iter().collect();
    // Two upstreams cannot share a broker, so each check covers one case of each port.
    while !left.is_empty() {
        let mut ports = BTreeSet::new();
        let (now, later) = left.into_iter().partition(|(_, port, ..)| ports.insert(*port));
        left = later;
        let now: Vec<_> = now;
        let all = now.iter().fold(bare.clone(), |c, (name, port, more, _)| {
            with(c.upstream(name, &format!("mqtts://localhost:{port}")), more)
        });
        site.configure(|_| all);
        let said = site.gatehouse(&["--json", "check"]);
        let lines: Vec<Value> =
            said.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for (name, _, _, expected) in now {
            let about = format!("upstream {name}");
            let line = lines.iter().find(|line| line["check"] == about).expect(name);
            let detail = line["detail"].as_str().unwrap();
            assert_eq!(line["ok"], expected.starts_with("accepts us"), "{line}");
            assert!(detail.contains(expected), "{detail:?} lacks {expected:?}");
        }
        assert_eq!(
            said.code, 1,
            "a check must fail: the clock is not synchronised, or a broker is absent"
        );
    }
}

/// Data about a gateway and its workers that an eavesdropper might look for.
const TOLD: [&[u8]; 8] = [
    b"gatehouse/v1",
    b"P-1",
    b"gate-1",
    NAME.as_bytes(),
    b"W001",
    b"suspended",
    b"gate-user",
    PASSWORD.as_bytes(),
];

#[test]
fn an_eavesdropper_reads_nothing_on_an_encrypted_link() {
    // As a control, the eavesdropper finds all of it on a plain link.
    for encrypted in [false, true] {
        let authority = Authority::new("The project's authority");
        let (mut site, port) = site_with(&authority);
        let relay = Relay::to(if encrypted { port } else { site.broker.port });
        let scheme = if encrypted { "mqtts" } else { "mqtt" };
        let login = format!("username = \"gate-user\"\npassword = \"{PASSWORD}\"\n");
        upstream(&site, &format!("{scheme}://localhost:{}", relay.port), &login);
        site.broker.start();
        let mut platform = site.broker.subscriber();
        // Without `ca` the gateway trusts the authorities of the operating system.
        let trusted = site.path("ca.pem");
        let daemon = site.start_with(&[("SSL_CERT_FILE", trusted.to_str().unwrap())]);
        enroll(&site);
        platform.event("enrolment");
        report(&site, "heard");
        arrives(&mut platform, "heard");
        daemon.stop();
        while platform.next_on("status")["state"] != "offline" {}
        platform.assert_whole();

        let heard = until("the bytes at the relay", || {
            Some(relay.heard()).filter(|heard| heard.len() > 1000)
        });
        let found: Vec<_> = TOLD.iter().filter(|needle| holds(&heard, needle)).collect();
        if encrypted {
            assert!(found.is_empty(), "{found:?}");
            // The handshake names the requested host before the encryption begins.
            assert!(holds(&heard, b"localhost"));
        } else {
            assert_eq!(found.len(), TOLD.len(), "{found:?}");
        }
        // Neither link carries an ID number.
        assert!(!holds(&heard, ID_NUMBER.as_bytes()));
    }
}
