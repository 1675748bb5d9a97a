//! Several faces before a camera: the nearest one in the zone passes, and no one else.

use serde_json::{Value, json};
use toml::Value as Toml;

use crate::common::{
    Gate, Lane, Site,
    camera::jpeg,
    film::{poster, scene},
    photo_path, walk,
};

const A: (&str, &str, &str) = ("W001", "522201199003074411", "person_a_2.jpg");
const B: (&str, &str, &str) = ("W002", "522201198805112024", "person_b_2.jpg");

/// Starts the usual lane, with the middle half of the picture as its zone, and enrols A and B.
fn start(min_face_px: f64) -> Gate {
    let site = Site::of(Lane::north());
    let corner = |x: f64, y: f64| Toml::Array(vec![x.into(), y.into()]);
    let zone = Toml::Array(vec![corner(0.25, 0.0), corner(0.75, 1.0)]);
    site.configure(|c| c.camera("zone", zone).set("recognition", "min_face_px", min_face_px));
    let mut gate = Gate::at(site, &[("GATEHOUSE_LOG", "debug")]);
    for (id, number, file) in [A, B] {
        let said = gate.site.enroll(id, id, number, &photo_path(file));
        assert_eq!(said.code, 0, "{said:?}");
        gate.platform.event("enrolment");
    }
    gate
}

fn shows(gate: &Gate, people: &[(&str, (i64, i64), f32)]) {
    gate.camera.show(jpeg(&scene(people)));
}

fn frames(status: &Value, name: &str) -> u64 {
    status["lanes"][0]["cameras"][0][name].as_u64().unwrap()
}

fn decided(status: &Value) -> [u64; 2] {
    let lane = &status["lanes"][0];
    ["grants", "denials"].map(|name| lane[name].as_u64().unwrap())
}

#[test]
fn the_nearest_of_a_queue_passes_and_neither_the_queue_nor_a_poster_is_asked_for_one_person() {
    let mut gate = start(48.0);
    let mut people = poster();
    people.push(("impostor_1.jpg", (380, 240), 80.0));
    people.push(("person_b_1.jpg", (880, 240), 110.0));
    people.push(("person_a_1.jpg", (630, 330), 170.0));
    shows(&gate, &people);
    assert_eq!(gate.board.line(), "coil 0 on");
    shows(&gate, &[]);
    walk(&gate.site, &mut gate.board);
    let record = gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["outcome"]), (&json!("W001"), &json!("passed")));
    let status = gate.site.status();
    assert_eq!((decided(&status), frames(&status, "beside")), ([1, 0], 0), "{status:#}");
    gate.platform.assert_whole();
}

#[test]
fn two_workers_side_by_side_are_asked_for_one_person_and_the_one_who_stays_passes() {
    let mut gate = start(48.0);
    let (one, two) = (("person_a_1.jpg", (450, 330), 140.0), ("person_b_1.jpg", (830, 330), 140.0));
    shows(&gate, &[one, two]);
    let denial = gate.platform.event("denial");
    assert_eq!((&denial["reason"], &denial["worker"]), (&json!("several_faces"), &Value::Null));
    let status = gate.site.status();
    assert_eq!(decided(&status), [0, 1], "{status:#}");
    assert!(frames(&status, "beside") > 0, "{status:#}");
    shows(&gate, &[one]);
    assert_eq!(gate.board.line(), "coil 0 on");
    shows(&gate, &[]);
    walk(&gate.site, &mut gate.board);
    assert_eq!(gate.platform.next_on("attendance")["worker"], "W001");
    gate.platform.assert_whole();
}

#[test]
fn what_is_no_whole_face_in_the_zone_opens_nothing_and_is_counted_under_its_own_reason() {
    let gate = start(100.0);
    let black = image::RgbImage::new(1280, 720);
    let half = scene(&[("person_a_1.jpg", (640, 714), 170.0)]);
    let beside_the_zone = scene(&[("person_a_1.jpg", (150, 330), 170.0)]);
    // A phone that is held up, with a small portrait.
    let phone = scene(&[("person_a_1.jpg", (640, 330), 80.0)]);
    for (name, picture) in
        [("outside", beside_the_zone), ("cut_off", half), ("too_small", phone), ("black", black)]
    {
        gate.camera.show(jpeg(&picture));
        let three = |status: &Value| frames(status, name) >= 3;
        let status = gate.site.status_when(name, three);
        assert_eq!((decided(&status), frames(&status, "faces")), ([0, 0], 0), "{name}: {status:#}");
    }
}

#[test]
fn the_person_who_aims_a_camera_sees_the_zone_and_no_face() {
    let gate = start(48.0);
    shows(
        &gate,
        &[
            ("impostor_2.jpg", (150, 330), 150.0),
            ("person_b_1.jpg", (820, 330), 80.0),
            ("person_a_1.jpg", (500, 330), 140.0),
        ],
    );
    gate.site.status_when("the faces to be seen", |s| frames(s, "faces") > 0);
    let file = gate.site.path("north.jpg");
    let watch = ["lane", "watch", "north", "--picture", file.to_str().unwrap()];
    let shown = gate.site.gatehouse(&[&["--json"], &watch[..]].concat()).json_lines().remove(0);
    let whats: Vec<_> = shown["faces"].as_array().unwrap().iter().map(|f| &f["what"]).collect();
    assert_eq!(whats, ["outside", "followed", "behind"], "{shown}");
    assert_eq!((&shown["frame"], &shown["zone"]), (&json!([1280, 720]), &json!(true)));
    let picture = image::open(&file).unwrap();
    assert_eq!((picture.width(), picture.height()), (640, 360));
    gate.site.gatehouse(&watch).refused("cannot be created: choose another file");
    gate.site.gatehouse(&["lane", "watch", "south", "--picture", "x.jpg"]).refused("no lane");
    let saved_as = |name: &str| {
        let file = gate.site.path(name);
        gate.site.gatehouse(&["lane", "watch", "north", "--picture", file.to_str().unwrap()])
    };
    saved_as("north.png").refused("choose a name that ends in .jpg");
    saved_as("no folder/north.jpg").refused("cannot be created");
    drop(gate.camera);
    saved_as("north2.jpg").refused("the camera");
    assert!(!gate.site.path("north2.jpg").exists());
}
