//! Photos of passages for a platform, on the real daemon with a real mosquitto: who is on them, with
//! whose consent, and that no record waits for one.

use std::{fs, path::Path, sync::OnceLock};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use gatehouse::{
    config::{FaceLimits, ModelFiles},
    vision::{self, Template, Vision},
};
use image::{RgbImage, imageops};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Configuration, Gate, Lane, Site, WallClock, camera, photo, photo_path, until};

const ID_A: &str = "522201199003074411";

fn vision() -> &'static Vision {
    static VISION: OnceLock<Vision> = OnceLock::new();
    VISION.get_or_init(|| {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        Vision::load(&ModelFiles::in_dir(&models)).unwrap()
    })
}

fn template(name: &str) -> Template {
    vision().face_for_enrolment(&photo(name), &FaceLimits::default()).unwrap().template
}

/// Returns how much the most similar face of a picture is like this person.
fn shows(picture: &[u8], person: &Template) -> f32 {
    let picture = vision::decode(picture).unwrap();
    let faces = vision().detect(&picture, 640).unwrap();
    let faces = faces.iter().map(|face| vision().embed(&picture, face).unwrap());
    faces.map(|face| face.cosine(person)).fold(-1.0, f32::max)
}

/// Returns a picture of a gate with person A in front and person B behind. Its rough wall makes a
/// photo large.
fn two_people() -> Vec<u8> {
    let rough =
        |x: u32, y: u32| (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)) >> 27;
    let wall = |x, y| image::Rgb([(100 + rough(x / 2, y / 2)) as u8; 3]);
    let mut picture = RgbImage::from_fn(1280, 720, wall);
    for (name, (width, height), left) in
        [("person_a_1.jpg", (800, 700), 40), ("person_b_1.jpg", (500, 400), 850)]
    {
        let one = image::load_from_memory(&photo(name)).unwrap();
        let one = one.resize(width, height, imageops::FilterType::Triangle).to_rgb8();
        imageops::replace(&mut picture, &one, left, 10);
    }
    camera::jpeg(&picture)
}

/// A gate whose platform gets photos.
struct Photographed {
    gate: Gate,
    wall: WallClock,
}

impl Photographed {
    /// Starts it, and enrolls person A without a consent to photos for the platform.
    fn start(change: impl FnOnce(&Site, Configuration) -> Configuration) -> Photographed {
        let site = Site::of(Lane::north().set("cool_down_s", 0.1));
        site.configure(|c| change(&site, c.its("photos", "record")));
        let wall = WallClock::new(&site.path(""));
        wall.synchronised(true);
        let gate = Gate::at(site, &wall.environment());
        let enrolled = gate.site.enroll("W001", "刘峰", ID_A, &photo_path("person_a_2.jpg"));
        assert_eq!(enrolled.code, 0, "{enrolled:?}");
        Photographed { gate, wall }
    }

    fn consent(&self, more: &[&str]) {
        let always = ["worker", "consent", "W001", "--purpose", "photo:platform"];
        let said = self.gate.site.gatehouse(&[&always[..], more].concat());
        assert_eq!(said.code, 0, "{said:?}");
    }

    fn consents(&self) {
        self.consent(&["--given", "2020-01-01", "--form", "P-1"]);
    }

    fn withdraws(&self) {
        self.consent(&["--withdrawn", "2020-01-02"]);
    }

    /// Lets person A pass, before person B.
    fn pass(&mut self) {
        self.gate.pass_again_as(&two_people());
    }

    fn restart(&mut self, failpoints: &[(&str, &str)]) {
        let wall = self.wall.environment();
        self.gate.daemon = Some(self.gate.site.start_with(&[&wall[..], failpoints].concat()));
    }

    fn record(&mut self) -> Value {
        self.gate.platform.next_on("attendance")
    }

    /// Returns the next photo, and the bytes of its picture. Checks what every photo has.
    fn photo(&mut self) -> (Value, Vec<u8>) {
        let photo = self.gate.platform.next_on("photo");
        let jpeg = BASE64.decode(photo["jpeg"].as_str().unwrap()).unwrap();
        assert_eq!(photo["sha256"], hex::encode(Sha256::digest(&jpeg)), "{photo}");
        let records = &self.gate.platform.records;
        let of = |m: &&crate::common::broker::Message| m.json["seq"] == photo["seq"];
        let record = records.iter().find(of).expect("the record before its photo");
        assert_eq!(photo["of"], record.json["passage"], "{photo}");
        assert_eq!(photo["ledger"], record.json["ledger"], "{photo}");
        (photo, jpeg)
    }

    /// Waits until the state of the upstream is so, and returns it.
    fn upstream(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let status = self.gate.site.status_when(what, |s| holds(&s["upstreams"][0]));
        status["upstreams"][0].clone()
    }

    /// Returns the names of the photo store's files.
    fn files(&self) -> Vec<String> {
        let Ok(folders) = fs::read_dir(self.gate.site.path("data/photos")) else {
            return Vec::new();
        };
        let names = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn scenes(&self) -> usize {
        self.files().iter().filter(|name| name.ends_with(".scene")).count()
    }
}

/// Enrolls persons A and B with these ID numbers. Only person A consents to photos for the platform.
pub fn enrolls_two(site: &Site, [a, b]: [&str; 2]) {
    let a = site.enroll("W001", "刘峰", a, &photo_path("person_a_2.jpg"));
    let b = site.enroll("W002", "Jacinda", b, &photo_path("person_b_2.jpg"));
    assert_eq!((a.code, b.code), (0, 0), "{a:?} {b:?}");
    let consent = ["worker", "consent", "W001", "--purpose", "photo:platform"];
    let given = ["--given", "2020-01-01", "--form", "P-1"];
    let said = site.gatehouse(&[&consent[..], &given].concat());
    assert_eq!(said.code, 0, "{said:?}");
}

/// Asserts that a JPEG of a record shows person A.
pub fn shows_a(jpeg: &[u8]) {
    let alike = shows(jpeg, &template("person_a_2.jpg"));
    assert!(alike > 0.5, "{alike}");
}

#[test]
fn i5_a_photo_follows_its_record_and_shows_no_other_face() {
    let mut gate = Photographed::start(|_, c| c);
    gate.consents();
    gate.pass();
    let record = gate.record();
    let (photo, jpeg) = gate.photo();
    let named = "v gateway project ledger seq of crop sha256 jpeg";
    let named: std::collections::BTreeSet<&str> = named.split_whitespace().collect();
    let keys = photo.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(named, keys);
    assert_eq!((&photo["seq"], &photo["crop"]), (&record["seq"], &json!("scene")));
    assert!(jpeg.len() <= 60 << 10, "{}", jpeg.len());
    let [a, b] = ["person_a_2.jpg", "person_b_2.jpg"].map(template);
    let frame = two_people();
    assert!(shows(&frame, &a) > 0.5 && shows(&frame, &b) > 0.5, "the camera shows both");
    assert!(shows(&jpeg, &a) > 0.5, "{}", shows(&jpeg, &a));
    assert!(shows(&jpeg, &b) < 0.3, "{}", shows(&jpeg, &b));
    // The record names the photo of the face, which users get.
    assert_ne!(photo["sha256"], record["photo"]["sha256"]);
    let upstream = gate.upstream("the photo to be counted", |u| u["photos_sent"] == 1);
    assert_eq!(
        (&upstream["photos_waiting"], &upstream["photos_left_out"]),
        (&json!(0), &json!({}))
    );
    let shown = gate.gate.site.gatehouse(&["status"]).out;
    assert!(shown.contains("  photos    1 sent, 0 waiting, 0 left out\n"), "{shown}");
    gate.gate.platform.assert_whole();
}

#[test]
fn the_face_alone_goes_where_the_upstream_asks_for_it_and_is_the_one_that_the_record_names() {
    let mut gate = Photographed::start(|_, c| c.its("photo_crop", "face"));
    gate.consents();
    gate.pass();
    let record = gate.record();
    let (photo, jpeg) = gate.photo();
    assert_eq!((&photo["crop"], &photo["sha256"]), (&json!("face"), &record["photo"]["sha256"]));
    assert!(shows(&jpeg, &template("person_b_2.jpg")) < 0.3);
    assert_eq!(gate.scenes(), 0, "no scene is made that no platform gets");
}

#[test]
fn i5_without_the_workers_own_consent_no_photo_goes_and_every_record_does() {
    let mut gate = Photographed::start(|_, c| c);
    gate.pass();
    gate.record();
    let why = |u: &Value| u["photos_left_out"] == json!({"no_consent": 1});
    let upstream = gate.upstream("a photo to be left out", why);
    assert_eq!((&upstream["photos_sent"], gate.scenes()), (&json!(0), 0));
    // A consent of today does not reach back to yesterday's photos, and reaches the next one.
    gate.consents();
    gate.pass();
    let record = gate.record();
    assert_eq!(gate.photo().0["seq"], record["seq"]);
    gate.gate.platform.assert_whole();
}

#[test]
fn i5_a_consent_withdrawn_while_the_link_is_down_stops_what_waits() {
    let mut gate = Photographed::start(|_, c| c.its("photo_kb_per_minute", 10));
    gate.consents();
    gate.pass();
    gate.photo();
    // The second photo is due, and the third one's record waits with the broker away.
    gate.pass();
    gate.record();
    gate.upstream("a photo that waits", |u| u["photos_waiting"] == 1);
    gate.gate.site.broker.stop();
    gate.upstream("the link to be down", |u| u["connected"] == false);
    gate.pass();
    gate.withdraws();
    gate.gate.daemon.take().unwrap().kill();
    gate.gate.site.broker.start();
    gate.restart(&[]);
    gate.record();
    let why = |u: &Value| u["photos_left_out"] == json!({"no_consent": 2});
    let upstream = gate.upstream("two photos to be left out", why);
    assert_eq!((&upstream["photos_sent"], &upstream["photos_waiting"]), (&json!(0), &json!(0)));
    gate.gate.platform.assert_whole();
}

#[test]
fn i14_photos_wait_for_their_minute_and_survive_a_kill_while_records_go() {
    let mut gate = Photographed::start(|_, c| c.its("photo_kb_per_minute", 10));
    gate.consents();
    gate.pass();
    let mut came = vec![gate.photo().0["seq"].clone()];
    let mut seqs = came.clone();
    for _ in 0..2 {
        gate.pass();
        seqs.push(gate.record()["seq"].clone());
    }
    let status = gate.upstream("all records to be taken", |u| u["outbox"] == 0);
    assert_eq!((&status["photos_sent"], &status["photos_waiting"]), (&json!(1), &json!(2)));
    // A restart begins another minute. A kill may come before a photo is noted as sent.
    while came.last() != seqs.last() {
        gate.gate.daemon.take().unwrap().kill();
        gate.restart(&[]);
        came.push(gate.photo().0["seq"].clone());
        gate.upstream("the photo to be counted", |u| u["photos_sent"] == 1);
    }
    came.dedup();
    assert_eq!(came, seqs);
    gate.gate.platform.assert_whole();
}

#[cfg(feature = "failpoints")]
#[test]
fn i14_a_cut_around_a_photo_costs_neither_the_record_nor_the_photo() {
    use std::os::unix::process::ExitStatusExt;

    for point in ["photo.published", "photo.acknowledged"] {
        let mut gate = Photographed::start(|_, c| c);
        gate.consents();
        gate.gate.daemon.take().unwrap().stop();
        gate.restart(&[("FAILPOINTS", &format!("{point}=return"))]);
        // The passage is over before the photo goes, and so before the daemon dies.
        gate.gate.site.broker.stop();
        gate.upstream("the link to be down", |u| u["connected"] == false);
        gate.pass();
        gate.gate.site.broker.start();
        let ended = gate.gate.daemon.take().unwrap().0.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "{point}: {ended:?}");
        let record = gate.record();
        gate.restart(&[]);
        assert_eq!(gate.photo().0["seq"], record["seq"], "{point}");
        gate.upstream("no photo to wait", |u| u["photos_waiting"] == 0 && u["outbox"] == 0);
        gate.gate.platform.assert_whole();
    }
}

#[test]
fn i7_the_removal_of_a_worker_erases_the_scene_and_stops_the_photo() {
    let mut gate = Photographed::start(|_, c| c);
    gate.consents();
    gate.gate.site.broker.stop();
    gate.upstream("the link to be down", |u| u["connected"] == false);
    gate.pass();
    until("the scene to be kept", || (gate.scenes() == 1).then_some(()));
    assert_eq!(gate.files().len(), 2);
    let removed = gate.gate.site.gatehouse(&["worker", "remove", "W001"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    until("the files to go", || gate.files().is_empty().then_some(()));
    gate.gate.site.broker.start();
    gate.record();
    let why = |u: &Value| u["photos_left_out"] == json!({"no_consent": 1});
    assert_eq!(gate.upstream("the photo to be left out", why)["photos_sent"], 0);
    gate.gate.platform.assert_whole();
}

#[test]
fn i14_a_photo_whose_file_is_gone_is_left_out_and_counted() {
    let mut gate = Photographed::start(|_, c| c);
    gate.consents();
    gate.gate.site.broker.stop();
    gate.upstream("the link to be down", |u| u["connected"] == false);
    gate.pass();
    until("the scene to be kept", || (gate.scenes() == 1).then_some(()));
    let folders = fs::read_dir(gate.gate.site.path("data/photos")).unwrap().map(Result::unwrap);
    folders.for_each(|folder| fs::remove_dir_all(folder.path()).unwrap());
    gate.gate.site.broker.start();
    gate.record();
    gate.upstream("the photo to be left out", |u| u["photos_left_out"] == json!({"gone": 1}));
}

#[test]
fn i14_a_photo_over_the_brokers_limit_is_reduced_or_left_out_and_its_record_goes() {
    for (most, sent) in [(12_000, true), (2_500, false)] {
        let mut gate = Photographed::start(|site, c| {
            site.broker.add(&format!("max_packet_size {most}\n"));
            c
        });
        gate.consents();
        gate.pass();
        gate.record();
        if sent {
            let (photo, jpeg) = gate.photo();
            assert!(photo.to_string().len() < most && jpeg.len() > 1000, "{}", jpeg.len());
            assert!(shows(&jpeg, &template("person_b_2.jpg")) < 0.3);
        } else {
            let why = |u: &Value| u["photos_left_out"] == json!({"too_large": 1});
            gate.upstream("the photo to be left out", why);
        }
    }
}

#[test]
fn i14_a_broker_that_forbids_the_topic_of_photos_gets_every_record() {
    let mut gate = Photographed::start(|site, c| {
        let acl = "topic readwrite #\ntopic deny gatehouse/v1/P-1/gate-1/photo\n";
        fs::write(site.path("acl"), acl).unwrap();
        site.broker.add(&format!("acl_file {}\n", site.path("acl").display()));
        c
    });
    gate.consents();
    for _ in 0..2 {
        gate.pass();
        gate.record();
    }
    let told = |u: &Value| u["without"].to_string().contains("gate-1/photo") && u["outbox"] == 0;
    let upstream = gate.upstream("the topic to be named", told);
    assert_eq!(upstream["photos_sent"], 0, "{upstream}");
    assert_eq!(upstream["photos_left_out"], json!({}), "they wait until the topic is allowed");
    gate.gate.platform.assert_whole();
}
