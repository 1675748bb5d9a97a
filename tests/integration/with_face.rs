//! A card and the face at the lane's camera: what is compared, recorded and denied.

use serde_json::{Value, json};
use toml::Table;

use crate::common::{Gate, Lane, Site, photo, photo_path, reader::Reader, walk};

const ID: &str = "522201199003074411";
const OTHER_ID: &str = "522201198805112024";

/// A gate with a camera and a reader at its entry, and a reader at its exit.
struct Gated {
    gate: Gate,
    entry: Reader,
    exit: Reader,
}

impl Gated {
    fn start(with_face: &str) -> Gated {
        let rule = |rule: &str| Table::from_iter([("with_face".to_owned(), rule.into())]);
        let lane = Lane::north().reader_with("in", "entry", "line", rule(with_face));
        let site = Site::of(lane.reader("out", "exit", "line"));
        let [entry, exit] = ["in", "out"].map(|name| Reader::plug_in(&site.path(name)));
        Gated { gate: Gate::at(site, &[]), entry, exit }
    }

    /// Enrolls a worker with this card.
    fn enroll(&self, id: &str, id_number: &str, card: &str, more: &[&str]) {
        let said = self.gate.site.enroll_with(id, "刘峰", id_number, more);
        assert_eq!(said.code, 0, "{said:?}");
        let said = self.gate.site.gatehouse(&["worker", "card", id, "--add", card]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// A stranger stands before the entry's camera.
    fn a_stranger_stands_there(&mut self) {
        self.gate.camera.show(photo("person_b_1.jpg"));
        loop {
            let denial = self.gate.platform.event("denial");
            if denial["direction"] == "entry" {
                assert_eq!(denial["reason"], "unknown_face");
                return;
            }
        }
    }

    fn passes(&mut self, bytes: &[u8]) -> Value {
        self.entry.send(bytes);
        assert_eq!(self.gate.board.line(), "coil 0 on");
        walk(&self.gate.site, &mut self.gate.board);
        self.gate.platform.next_on("attendance")
    }
}

fn flags(record: &Value) -> Vec<&str> {
    let flags = record["flags"].as_array().map(Vec::as_slice).unwrap_or_default();
    flags.iter().map(|flag| flag.as_str().unwrap()).collect()
}

#[test]
fn another_face_beside_a_card_is_recorded_and_flagged_and_decides_nothing() {
    let mut gated = Gated::start("check");
    let face = photo_path("person_a_2.jpg");
    let face = face.to_str().unwrap();
    gated.enroll("W001", ID, "662316", &["--photo", face, "--consent", "C-1"]);
    gated.enroll("W002", OTHER_ID, "662317", &[]);
    gated.a_stranger_stands_there();
    let record = gated.passes(b"0A1B2C\r");
    assert_eq!((&record["worker"], &record["means"]), (&json!("W001"), &json!("card")));
    assert!(flags(&record).contains(&"card_face_differs"), "{record}");
    assert!(record["score"].as_f64().unwrap() < 0.3, "{record}");
    assert!(record["evidence"][0]["card"].is_object() && record["evidence"][1]["face"].is_object());
    // No face is compared with a worker who gave no consent to the face.
    let record = gated.passes(b"0A1B2D\r");
    assert_eq!(record["worker"], "W002");
    assert!(record["score"].is_null() && record["evidence"].as_array().unwrap().len() == 1);
    assert!(!flags(&record).contains(&"card_face_differs"), "{record}");
}

#[test]
fn i15_a_card_that_requires_the_face_is_denied_beside_another_one_but_at_no_exit() {
    let mut gated = Gated::start("require");
    let face = photo_path("person_a_2.jpg");
    let face = face.to_str().unwrap();
    gated.enroll("W001", ID, "662316", &["--photo", face, "--consent", "C-1"]);
    gated.enroll("W002", OTHER_ID, "662317", &[]);
    let denied = |gated: &mut Gated, reason: &str| loop {
        let denial = gated.gate.platform.event("denial");
        if denial["reason"] == reason {
            assert_eq!(
                (&denial["worker"], &denial["direction"]),
                (&json!("W001"), &json!("entry"))
            );
            return;
        }
    };
    gated.entry.send(b"0A1B2C\r");
    denied(&mut gated, "face_missing");
    gated.gate.camera.show(photo("person_b_1.jpg"));
    gated.entry.send(b"0A1B2C\r");
    denied(&mut gated, "card_face_differs");
    // Another way in stays open to who gives no consent to the face.
    let record = gated.passes(b"0A1B2D\r");
    assert_eq!(record["worker"], "W002");
    gated.exit.send(b"0A1B2C\r");
    assert_eq!(gated.gate.board.line(), "coil 1 on");
    let record = gated.gate.platform.next_on("attendance");
    assert_eq!((&record["worker"], &record["direction"]), (&json!("W001"), &json!("exit")));
}

#[test]
fn a_card_tells_twins_apart_whose_faces_are_ambiguous() {
    let mut gated = Gated::start("require");
    let face = photo_path("person_a_2.jpg");
    let face = face.to_str().unwrap();
    gated.enroll("W001", ID, "662316", &["--photo", face, "--consent", "C-1"]);
    let twin = ["--allow-duplicate-face", "--reason", "twins"];
    let twin = [&["--photo", face, "--consent", "C-2"][..], &twin].concat();
    gated.enroll("W002", OTHER_ID, "662317", &twin);
    gated.gate.camera.show(photo("person_a_1.jpg"));
    loop {
        if gated.gate.platform.event("denial")["reason"] == "ambiguous_face" {
            break;
        }
    }
    let record = gated.passes(b"0A1B2D\r");
    assert_eq!((&record["worker"], &record["means"]), (&json!("W002"), &json!("card")));
    assert_eq!(flags(&record), [""; 0], "{record}");
    assert!(record["score"].as_f64().unwrap() >= record["threshold"].as_f64().unwrap(), "{record}");
}
