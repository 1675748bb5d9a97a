//! The metrics of the whole gate, read from a plain socket and parsed by Prometheus' own parser.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use crate::common::{Gate, Site, broker::free_port, photo_path, slave::python, until};
use serde_json::Value;

const ID_A: &str = "522201199003074411";

/// Returns a site whose daemon serves its metrics, and their address.
fn site() -> (Site, SocketAddr) {
    let site = Site::prepare();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    site.configure(|c| c.set("metrics", "listen", address.to_string()));
    (site, address)
}

/// Returns the whole answer to a request with one line.
fn asked(address: SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn page(address: SocketAddr) -> String {
    let answer = asked(address, "GET /metrics");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    page.to_owned()
}

/// Returns the page's series by name and labels, as Prometheus' parser reads them.
fn read(page: &str) -> BTreeMap<String, f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/metrics_reader.py");
    let mut reader = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Asserts that each of these counters is in the metrics, with a value between an earlier and a
/// later status. This shows that both have the same numbers.
fn assert_counted(
    metrics: &BTreeMap<String, f64>,
    prefix: &str,
    labels: &str,
    [before, after]: [&Value; 2],
    names: &str,
) {
    for name in names.split_whitespace() {
        let series = format!("gatehouse_{prefix}_{name}_total{labels}");
        let counted = metrics.get(&series).unwrap_or_else(|| panic!("no {series}: {metrics:#?}"));
        let seen = |status: &Value| status[name].as_f64().unwrap_or_else(|| panic!("{name}"));
        assert!((seen(before)..=seen(after)).contains(counted), "{series}: {counted}");
    }
}

#[test]
fn the_metrics_equal_the_numbers_of_status_and_name_no_worker() {
    let (site, address) = site();
    let mut gate = Gate::at(site, &[]);
    let enrolled = gate.site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    gate.platform.event("enrolment");
    gate.pass("person_a_1.jpg");
    gate.platform.next_on("attendance");
    let settled = |s: &Value| Site::outbox(s) == 0 && s["lanes"][0]["busy"] == false;
    let before = gate.site.status_when("the outbox to be empty", settled);
    let page_seen = page(address);
    let metrics = read(&page_seen);
    let after = gate.site.status();

    let of = |name: &str| metrics.get(&format!("gatehouse_{name}")).copied();
    for (name, expected) in [
        (concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
        ("lane_grants_total{lane=\"north\"}", 1.0),
        ("lane_denials_total{lane=\"north\"}", 0.0),
        ("lane_busy{lane=\"north\"}", 0.0),
        ("lane_ready{lane=\"north\"}", 1.0),
        ("turnstile_connected{lane=\"north\"}", 1.0),
        ("turnstile_passages_total{lane=\"north\"}", 1.0),
        ("camera_connected{direction=\"entry\",lane=\"north\"}", 1.0),
        ("upstream_connected{upstream=\"platform\"}", 1.0),
        ("outbox_records{upstream=\"platform\"}", 0.0),
        ("outbox_oldest_age_seconds{upstream=\"platform\"}", 0.0),
        ("roster_workers", 1.0),
        ("stage_seconds_count{stage=\"decision\"}", 1.0),
        ("stage_seconds_count{stage=\"release\"}", 1.0),
    ] {
        assert_eq!(of(name), Some(expected), "{name}\n{page_seen}");
    }
    let lane = |status: &'static str| move |s: &Value| s["lanes"][0][status].clone();
    let both = |part: &dyn Fn(&Value) -> Value| [part(&before), part(&after)];
    let north = "{lane=\"north\"}";
    let [a, b] = both(&|s| s["lanes"][0].clone());
    let names = "grants denials manual_releases unknown_faces stale void tailgates tailgates_unrecorded \
         denials_unrecorded other_faces other_faces_unrecorded denials_dropped short_fire_signs commit_errors";
    assert_counted(&metrics, "lane", north, [&a, &b], names);
    let [a, b] = both(&lane("turnstile"));
    let names = "releases passages errors reconnects late lost_events";
    assert_counted(&metrics, "turnstile", north, [&a, &b], names);
    let [a, b] = both(&|s| s["lanes"][0]["cameras"][0].clone());
    let names = "errors frames dropped skipped analysed undecodable too_large unchanged \
                 overtaken no_face faces too_small cut_off outside fixed beside black frozen plain poor blurred turned_away too_dark too_bright covered settled lane_full failed";
    assert_counted(&metrics, "camera", "{direction=\"entry\",lane=\"north\"}", [&a, &b], names);
    let [a, b] = both(&|s| s["upstreams"][0].clone());
    let names = "connects published acknowledged";
    assert_counted(&metrics, "upstream", "{upstream=\"platform\"}", [&a, &b], names);
    for (name, status) in [
        ("ledger_entries", &after["ledger"]["size"]),
        ("roster_version", &after["roster"]["version"]),
        ("roster_templates", &after["roster"]["templates"]),
        ("roster_match_threshold", &after["roster"]["threshold"]),
        ("clock_synced", &Value::from(u8::from(after["clock"]["synced"] == true))),
        ("disk_total_bytes", &after["disk"]["total_bytes"]),
        ("commits_total", &after["disk"]["commits"]),
        ("stage_seconds_count{stage=\"commit\"}", &after["disk"]["commits"]),
    ] {
        assert_eq!(of(name), status.as_f64(), "{name}");
        assert!(of(name).is_some(), "{name}");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "disk_free_bytes"] {
        assert!(of(name).unwrap() > 0.0, "{name}");
    }
    // A passage takes its stages in this order, and the status shows their times.
    let sum = |stage: &str| of(&format!("stage_seconds_sum{{stage=\"{stage}\"}}")).unwrap();
    assert!(0.0 < sum("decision") && sum("decision") < sum("release"), "{page_seen}");
    let stages = after["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["glance", "decode", "detect", "embed", "match", "decision", "release", "commit"]
    );
    for stage in stages {
        assert!(stage["count"].as_u64().unwrap() > 0, "{stage}");
        let ms = |key: &str| stage[key].as_f64().unwrap();
        assert!(0.0 <= ms("mean_ms") && ms("p50_ms") <= ms("p99_ms"), "{stage}");
    }
    for secret in ["W001", "刘峰", ID_A, "钢筋一班", "Fuding", "steel", "C-1", "person"] {
        assert!(!page_seen.contains(secret), "{secret} in\n{page_seen}");
    }
}

#[test]
fn a_lost_link_is_shown_and_no_client_delays_the_gate_or_the_next_scrape() {
    let (site, address) = site();
    let mut gate = Gate::at(site, &[]);
    let enrolled = gate.site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    gate.site.status_when("the outbox to be empty", |s| Site::outbox(s) == 0);
    let said = gate.site.gatehouse(&["check"]);
    assert!(said.out.contains(&format!("metrics: {address} is in use by the daemon")), "{said:?}");
    assert!(asked(address, "POST /metrics").starts_with("HTTP/1.1 405 "));
    assert!(asked(address, "GET /").starts_with("HTTP/1.1 404 "));

    // A hundred clients that never complete their request.
    let mut slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
            client
        })
        .collect();
    gate.site.broker.kill();
    gate.pass("person_a_1.jpg");
    gate.site.status_when("the record to wait", |s| {
        Site::outbox(s) == 1 && s["upstreams"][0]["connected"] == false
    });
    // As many slow clients stay as the daemon serves at once. It cuts them off and serves the next
    // client.
    slow.truncate(4);
    let metrics = read(&page(address));
    let of = |name: &str| metrics.get(&format!("gatehouse_{name}")).copied();
    for (name, expected) in [
        ("lane_grants_total{lane=\"north\"}", Some(1.0)),
        ("upstream_connected{upstream=\"platform\"}", Some(0.0)),
        ("outbox_records{upstream=\"platform\"}", Some(1.0)),
        ("degraded{what=\"upstream platform\"}", Some(1.0)),
        ("degraded{what=\"turnstile north\"}", None),
    ] {
        assert_eq!(of(name), expected, "{name}: {metrics:#?}");
    }
    for client in &mut slow {
        client.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
        let mut answer = Vec::new();
        // The connection was closed, with or without a reset.
        let _ = client.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }

    gate.site.broker.start();
    gate.platform.next_on("attendance");
    until("the link to show", || {
        let metrics = read(&page(address));
        let up = metrics["gatehouse_upstream_connected{upstream=\"platform\"}"] == 1.0;
        let waits = metrics["gatehouse_outbox_records{upstream=\"platform\"}"];
        (up && waits == 0.0).then_some(())
    });
    let status = gate.site.status();
    assert!(!Site::degraded(&status).contains(&"metrics"), "{status:#}");
}

#[test]
fn a_taken_address_is_reported_by_check_and_does_not_stop_the_gate() {
    let (site, address) = site();
    let said = site.gatehouse(&["check"]);
    assert!(said.out.contains(&format!("ok    metrics: {address} is free")), "{said:?}");
    let other = TcpListener::bind(address).unwrap();
    let said = site.gatehouse(&["check"]);
    assert!(said.out.contains(&format!("FAIL  metrics: {address}: ")), "{said:?}");
    // The gate works without its metrics, and shows the fault until the address is free.
    let daemon = site.start();
    let missed = |s: &Value| Site::degraded(s).contains(&"metrics");
    site.status_when("the metrics to be missed", missed);
    drop(other);
    site.status_when("the metrics", |s| !missed(s));
    daemon.stop();
}
