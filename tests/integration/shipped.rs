//! Starts each configuration in `config/` and checks that it serves its purpose.

use std::{collections::BTreeSet, fs, path::Path};

use crate::common::{Gate, Site, photo_path, shipped};
use serde_json::json;

const ID_NUMBER: &str = "110101199003070011";

/// The configurations with a test below, and the folder of those that `platforms` lists.
const TESTED: [&str; 3] = ["bench.toml", "gatehouse.toml", "platforms"];
/// The files of the five platforms.
const PLATFORMS: [&str; 5] =
    ["guizhou.toml", "longminggong.toml", "xinjiang.toml", "yanbian.toml", "yunzhugong.toml"];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_shipped_configuration_is_started_by_a_test() {
    let files = fs::read_dir(checkout().join("config")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), TESTED.map(str::to_owned).into());
    let files = fs::read_dir(checkout().join("config/platforms")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), PLATFORMS.map(str::to_owned).into());
}

/// Makes a site with this configuration.
fn site(text: impl FnOnce(&Site) -> String) -> Site {
    let site = Site::without_lanes();
    fs::write(site.path("gatehouse.toml"), text(&site)).unwrap();
    site
}

#[test]
fn bench_toml_grants_and_denies() {
    let mut site = site(|site| {
        let mut text = fs::read_to_string(checkout().join("config/bench.toml")).unwrap();
        let models = checkout().join("models").display().to_string();
        let broker = format!("127.0.0.1:{}", site.broker.port);
        for (there, here) in
            [("../target/bench", "bench"), ("../models", &models), ("127.0.0.1:1883", &broker)]
        {
            assert!(text.contains(there), "{there}");
            text = text.replace(there, here);
        }
        text
    });
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let _daemon = site.start();
    let enrolled = site.enroll("W001", "刘峰", ID_NUMBER, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    // The photos repeat without end, so that records and denials come repeatedly, in either order.
    let record = platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    assert_eq!(platform.event("denial")["lane"], "desk");
}

#[test]
fn gatehouse_toml_reports_missing_devices_and_works_when_they_appear() {
    let mut site = site(|site| shipped::gatehouse_toml(&site.path(""), site.broker.port));
    fs::create_dir_all(site.path("var/lib")).unwrap();
    let said = site.gatehouse(&["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    for expected in [
        "ok    configuration: ",
        "ok    models: ",
        "ok    storage: ",
        "FAIL  turnstile north: ",
        "FAIL  camera north/entry: ",
        "FAIL  upstream platform: ",
    ] {
        assert!(
            said.out.lines().any(|line| line.starts_with(expected)),
            "{said:?} lacks {expected:?}"
        );
    }

    let daemon = Some(site.start());
    let missing = ["turnstile", "camera", "upstream"];
    let all = |s: &serde_json::Value| {
        let degraded = Site::degraded(s);
        missing.iter().all(|what| degraded.iter().any(|d| d.starts_with(what)))
    };
    site.status_when("all that is missing to be named", all);
    site.broker.start();
    let platform = site.broker.subscriber();
    let (camera, board) = (site.plug_camera_in(), site.plug_board_in());
    let mut gate = Gate { daemon, platform, camera, board, site };
    // The daemon may find the broker before the platform subscribes, and says so.
    let healthy = |s: &serde_json::Value| {
        let degraded = Site::degraded(s);
        let heard = degraded.iter().all(|what| what.starts_with("upstream"));
        s["upstreams"][0]["connected"] == true && heard
    };
    gate.site.status_when("a healthy gate", healthy);
    let enrolled = gate.site.enroll("W001", "刘峰", ID_NUMBER, &photo_path("person_a_2.jpg"));
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    gate.pass("person_a_1.jpg");
    assert_eq!(gate.platform.next_on("attendance")["outcome"], "passed");
}
