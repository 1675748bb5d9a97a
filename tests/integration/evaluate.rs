//! `gatehouse evaluate`: on a public set of faces, and on folders that are no set.

use std::{fs, os::unix::fs::symlink, path::Path};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

use crate::{common::camera, import::plan};

/// Runs the command in a checkout without a configuration. Returns its code, stdout and stderr.
fn evaluate(dir: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(crate::common::program())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("GATEHOUSE_CONFIG")
        .args(["evaluate", dir.to_str().unwrap()])
        .args(more)
        .output()
        .unwrap();
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), out, err)
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Writes photos of a public set: a folder for each of these people.
fn set(people: &[usize], photos: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (person, number) in plan::faces() {
        if people.contains(&person) && number <= photos {
            let photo = plan::photo(&[(person, number)]);
            write(dir.path(), &format!("s{person}/{number}.jpg"), &photo);
        }
    }
    dir
}

#[test]
fn a_set_of_faces_is_measured_with_intervals_and_what_it_is_too_small_for_is_said() {
    let set = set(&[1, 2, 3, 4, 5, 6, 7, 10], 4);
    // A photo of nothing, a file that is no photo, a link that leads nowhere, a PGM, a group.
    write(set.path(), "s1/empty.jpg", &camera::jpeg(&camera::empty()));
    write(set.path(), "s2/notes.txt", b"no photo");
    symlink("nowhere", set.path().join("s3/gone.jpg")).unwrap();
    write(set.path(), "s4/grey.pgm", b"P5\n2 2\n255\n\x00\x01\x02\x03");
    write(set.path(), "s5/two.jpg", &plan::photo(&[(5, 5), (5, 6)]));
    write(set.path(), "s6/cut.jpg", &camera::photo("person_a_1.jpg")[..200]);
    write(set.path(), ".hidden/x.jpg", b"");
    write(set.path(), "beside.txt", b"");

    let svg = set.path().join("det.svg");
    let det = ["--json", "--det", svg.to_str().unwrap()];
    let (code, out, err) = evaluate(set.path(), &det);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["people"], &report["photos"]), (&8.into(), &38.into()), "{report:#}");
    assert_eq!((&report["enrolled"], &report["seen"]), (&32.into(), &33.into()), "{report:#}");
    assert_eq!(report["failed_to_detect"], 2, "{report:#}");
    assert_eq!(report["not_seen"], serde_json::json!({"no_face": 2, "unreadable": 3}));
    let expected = serde_json::json!({"no_face": 2, "several_faces": 1, "unreadable": 3});
    assert_eq!(report["not_enrolled"], expected);
    let unusable = report["unusable"].as_array().unwrap();
    assert!(unusable.iter().any(|photo| photo["photo"] == "s2/notes.txt"), "{unusable:?}");
    for named in ["3 photos, unreadable: s2/notes.txt, s3/gone.jpg, s6/cut.jpg", "1 file in no"] {
        assert!(err.contains(named), "{named}: {err}");
    }

    let one = &report["verification"];
    assert!(one["eer"].as_f64().unwrap() < 0.02, "{one}");
    let interval = one["eer_interval"].as_array().unwrap();
    assert!(
        interval[0].as_f64() <= one["eer"].as_f64() && interval[1].as_f64() < Some(0.1),
        "{one}"
    );
    // 33 photos have too few pairs for either.
    assert_eq!(one["tar_at_far"], serde_json::json!({"1e-3": null, "1e-4": null}));
    assert_eq!(one["needs_pairs"], serde_json::json!({"1e-3": 1000, "1e-4": 10000}));
    let many = report["identification"].as_array().unwrap();
    let sizes: Vec<_> = many.iter().map(|found| [&found["gallery"], &found["photos"]]).collect();
    assert_eq!(serde_json::json!(sizes), serde_json::json!([[4, 1], [4, 2], [4, 3]]));
    for found in many {
        assert_eq!(found["fnir_at_fpir"], serde_json::json!({"0.01": null, "0.003": null}));
        assert_eq!(found["needs_looks"], serde_json::json!({"0.01": 200, "0.003": 668}));
        assert_eq!(found["at_gate"]["threshold"], 0.45, "{found}");
        assert!(found["at_gate"]["fnir"].as_f64().unwrap() < 0.1, "{found}");
    }
    let svg = fs::read_to_string(&svg).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 4);

    // The same photos give the same numbers. The file of the curve is not replaced unasked.
    fs::remove_file(set.path().join("det.svg")).unwrap();
    let (code, again, _) = evaluate(set.path(), &["--json"]);
    assert_eq!((code, again), (Some(0), out));
    let (code, table, _) = evaluate(set.path(), &[]);
    assert_eq!(code, Some(0));
    for text in ["38 photos of 8 people", "needs at least 10000 pairs", "needs at least 668 looks"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
}

#[test]
fn one_person_in_the_folders_of_two_is_named_because_it_spoils_the_rates() {
    let set = set(&[1, 2, 3, 4], 3);
    let (code, out, err) = evaluate(set.path(), &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["same_photo"], serde_json::json!([]));
    assert_eq!(report["identification"][0]["at_gate"]["fpir"], 0.0, "{report:#}");

    // The same bytes, and the same picture compressed again.
    fs::copy(set.path().join("s1/2.jpg"), set.path().join("s3/copy.jpg")).unwrap();
    let again = image::open(set.path().join("s2/1.jpg")).unwrap();
    let mut jpeg = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 80);
    again.write_with_encoder(encoder).unwrap();
    write(set.path(), "s4/again.jpg", &jpeg);
    let (code, out, err) = evaluate(set.path(), &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let pairs = report["same_photo"].as_array().unwrap();
    for pair in [["s1/2.jpg", "s3/copy.jpg"], ["s2/1.jpg", "s4/again.jpg"]] {
        assert!(pairs.contains(&serde_json::json!(pair)), "{pair:?}: {pairs:?}");
    }
    assert_eq!(pairs.len(), 2, "{pairs:?}");
    let (_, table, _) = evaluate(set.path(), &[]);
    for text in ["WARNING", "2 pairs", "s1/2.jpg and s3/copy.jpg", "s2/1.jpg and s4/again.jpg"] {
        assert!(table.contains(text), "{text}: {table}");
    }
}

#[test]
fn a_folder_that_is_no_set_of_people_is_refused_with_its_form() {
    let refused = |dir: &Path, more: &[&str], with: &str| {
        let (code, out, err) = evaluate(dir, more);
        assert_eq!((code, &*out), (Some(1), ""), "{err}");
        assert!(err.contains(with), "{with}: {err}");
    };
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), &[], "it is empty; it needs a folder for each person");
    refused(&dir.path().join("nowhere"), &[], "No such file");
    write(dir.path(), "a.jpg", b"");
    refused(dir.path(), &[], "it has 1 file and no folders");
    write(dir.path(), "team/anna/1.jpg", b"");
    refused(dir.path(), &[], "its folders hold folders, such as");
    write(dir.path(), "anna/1.jpg", b"");
    refused(dir.path(), &[], "the photos of one person");
    write(dir.path(), "ben/1.jpg", b"no photo");
    refused(dir.path(), &[], "none of 2 photos shows a face that can be used");
    refused(dir.path(), &["--share-of-mean", "2"], "is not 0 to 1");
    write(dir.path(), "det.svg", b"mine");
    let svg = dir.path().join("det.svg");
    refused(dir.path(), &["--det", svg.to_str().unwrap()], "already exists");
    assert_eq!(fs::read(svg).unwrap(), b"mine");
}

#[test]
fn one_photo_of_each_person_has_no_pairs_of_one_person() {
    let set = set(&[1, 2, 3, 4], 1);
    let (code, out, err) = evaluate(set.path(), &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["verification"]["eer"], Value::Null);
    assert_eq!(report["identification"], serde_json::json!([]));
    let (_, table, _) = evaluate(set.path(), &[]);
    assert!(table.contains("needs a person with two photos"), "{table}");
    assert!(table.contains("needs four people, and two photos of each"), "{table}");
}

#[test]
fn a_liveness_model_is_measured_by_material_and_claims_no_standard() {
    let set = tempfile::tempdir().unwrap();
    let put = |folder: &str, names: &[&str]| {
        let folder = set.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        for name in names {
            std::fs::write(folder.join(name), crate::common::photo(name)).unwrap();
        }
    };
    put("live/a", &["person_a_1.jpg", "person_a_2.jpg"]);
    put("live/b", &["person_b_1.jpg", "person_b_2.jpg"]);
    put("print/c", &["impostor_1.jpg"]);
    std::fs::write(set.path().join("print/c/notes.txt"), "no picture").unwrap();
    let (code, out, err) = evaluate(set.path(), &["--liveness", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let (live, print) = (&report["live"], &report["materials"][0]);
    assert_eq!([&live["people"], &live["judged"], &live["not_judged"]], [2, 4, 0], "{report}");
    assert_eq!([&print["people"], &print["judged"], &print["not_judged"]], [1, 1, 1], "{report}");
    assert!((0.0..=1.0).contains(&live["bpcer"].as_f64().unwrap()), "{report}");
    assert!([0.0, 1.0].contains(&print["apcer"].as_f64().unwrap()), "{report}");
    assert!(live["interval"].is_array() && live.get("apcer").is_none(), "{report}");
    let (_, table, _) = evaluate(set.path(), &["--liveness"]);
    assert!(table.contains("BPCER") && table.contains("no test by any standard"), "{table}");
    std::fs::remove_dir_all(set.path().join("live")).unwrap();
    let (code, _, err) = evaluate(set.path(), &["--liveness"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("a folder \"live\""), "{err}");
}
