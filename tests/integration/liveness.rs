//! The judgement on a living face: it is recorded, and changes no decision.

use serde_json::Value;

use crate::common::{Gate, Site, photo_path};

fn watching() -> Site {
    let site = Site::prepare();
    site.configure(|c| c.set("recognition", "liveness", "watch"));
    site
}

#[test]
fn a_visit_that_is_watched_has_a_score_in_its_record_and_in_its_evidence() {
    let mut gate = Gate::at(watching(), &[]);
    let file = photo_path("person_a_2.jpg");
    assert_eq!(gate.site.enroll("W001", "刘峰", "522201199003074411", &file).code, 0);
    gate.pass("person_a_1.jpg");
    let record = gate.platform.next_on("attendance");
    let score = record["liveness"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&score), "{record}");
    assert_eq!(gate.site.gatehouse(&["--json", "evidence", "audit"]).code, 0);
    let status = gate.site.status();
    let shown = &status["lanes"][0]["cameras"][0]["liveness"];
    // A visit whose day is not known is not counted.
    let counted = Value::from(u64::from(status["clock"]["synced"] == true));
    assert_eq!((&shown["visits"], &shown["threshold"]), (&counted, &Value::Null), "{status:#}");
    let check = gate.site.gatehouse(&["check"]);
    assert!(check.out.contains("and the liveness model"), "{check:?}");
}

#[test]
fn a_liveness_file_that_is_not_what_it_says_is_refused_by_name() {
    let site = watching();
    let tried = |key: &str, value: toml::Value, problem: &str| {
        site.configure(|c| {
            let mut model = toml::Table::new();
            model.insert(key.to_owned(), value);
            c.set("models", "liveness", model)
        });
        let said = site.gatehouse(&["check"]);
        assert_ne!(said.code, 0, "{said:?}");
        let line = said.out.lines().find(|line| line.contains("models: ")).unwrap();
        assert!(line.contains(problem), "{problem}: {line}");
        let run = site.gatehouse(&["run"]);
        assert!(run.code != 0 && run.err.contains(problem), "{run:?}");
    };
    tried("file", "other.onnx".into(), "other.onnx is missing");
    let detector = "face_detection_yunet_2023mar_int8bq.onnx";
    tried("file", detector.into(), &format!("{detector} is not the one that is expected"));
    tried("live", 3.into(), "it has 3 classes, and `live` is 3");
    tried("size", 64.into(), "fr_liveness.onnx cannot be loaded");
    site.configure(|c| c.set("recognition", "liveness", "on"));
    let said = site.gatehouse(&["check"]);
    assert!(said.code == 78 && said.err.contains("guard"), "{said:?}");
}
