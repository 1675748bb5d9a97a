//! Tests of scenes: who is in them, and of whom they are made.

use jiff::civil::date;

use super::*;
use crate::{
    roster::{Consent, Purpose},
    vision::{Image, Template, decode, scene as scene_of},
};

/// Returns a picture of 1280 x 720 with person A in front, and this photo small behind.
fn with_another(behind: &str) -> image::RgbImage {
    let mut picture = image::RgbImage::from_fn(1280, 720, |x, y| {
        image::Rgb([(60 + x / 16) as u8, (60 + y / 16) as u8, 90])
    });
    for (name, (width, height), left) in
        [("person_a_1.jpg", (800, 700), 40), (behind, (500, 400), 850)]
    {
        let one = image::load_from_memory(&photo(name)).unwrap();
        let one = one.resize(width, height, image::imageops::Triangle).to_rgb8();
        image::imageops::replace(&mut picture, &one, left, 10);
    }
    picture
}

/// Returns the templates of all faces in a picture.
fn faces(picture: &Image) -> Vec<Template> {
    let found = vision().detect(picture, 640).unwrap();
    found.iter().map(|face| vision().embed(picture, face).unwrap()).collect()
}

fn enrolled(name: &str) -> Template {
    vision().face_for_enrolment(&photo(name), &FaceLimits::default()).unwrap().template
}

fn shown(faces: &[Template], person: &Template) -> f32 {
    faces.iter().map(|face| face.cosine(person)).fold(-1.0, f32::max)
}

/// Lets person A consent to photos for a platform, which gets scenes.
fn consenting() -> Gate {
    let mut gate = gate(1);
    let worker = gate.vision_pool.roster.borrow().workers()[0].clone();
    let consent = Consent {
        purpose: Purpose::Photo("platform".to_owned()),
        form: None,
        given_on: Some(date(2026, 1, 1)),
        withdrawn_on: None,
    };
    let worker = Worker { consents: vec![consent], ..(*worker).clone() };
    let roster = Roster::new(2, vec![(worker, vec![enrolled("person_a_2.jpg")])]);
    gate.vision_pool.roster = channel::channel(Arc::new(roster)).1;
    gate.vision_pool.scenes_for = vec!["platform".to_owned()];
    gate
}

/// Shows a picture until a sighting leads to a grant. Returns its scene, and the number of sightings
/// before it that had none.
fn taken(gate: &mut Gate, picture: &Picture) -> (Option<Arc<[u8]>>, usize) {
    let sightings: Vec<_> = (0..4).filter_map(|_| gate.frame(picture)).collect();
    assert!(sightings.len() >= 2, "{}", sightings.len());
    assert!(sightings.iter().all(|s| s.sighted.named().is_some()), "{sightings:?}");
    let scenes = sightings.into_iter().map(|s| s.photo.unwrap().scene);
    let scenes: Vec<_> = scenes.collect();
    let first = scenes.iter().position(Option::is_some).unwrap_or(scenes.len());
    let scene = scenes.into_iter().flatten().next();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    (scene.and_then(|scene| runtime.block_on(scene.finished())), first)
}

#[test]
fn i5_a_scene_shows_the_worker_and_no_other_face() {
    let picture = with_another("person_b_1.jpg");
    let [a, b] = ["person_a_2.jpg", "person_b_2.jpg"].map(enrolled);
    // The frame shows both, also at the size of a scene.
    let small = image::imageops::resize(&picture, 640, 360, image::imageops::Triangle);
    let seen = faces(&Image::from_rgb(640, 360, small.into_raw()).unwrap());
    assert!(shown(&seen, &a) > 0.5 && shown(&seen, &b) > 0.5, "the test shows both");

    let mut gate = consenting();
    let (jpeg, without) = taken(&mut gate, &jpeg(&picture));
    assert_eq!(without, 1, "only a sighting that can lead to a grant has a scene");
    let jpeg = jpeg.unwrap();
    let scene = decode(&jpeg).unwrap();
    assert_eq!((scene.width(), scene.height()), (640, 360));
    let seen = faces(&scene);
    assert!(shown(&seen, &a) > 0.5, "the worker is recognised: {}", shown(&seen, &a));
    assert!(shown(&seen, &b) < 0.3, "the other person is not: {}", shown(&seen, &b));
}

#[test]
fn i5_a_face_below_the_size_limit_is_blurred_too() {
    let picture = with_another("person_b_1.jpg");
    let mut gate = consenting();
    // The other face is now too small for the gate.
    gate.vision_pool.rules.min_face_px = 190.0;
    let (scene, _) = taken(&mut gate, &jpeg(&picture));
    let seen = faces(&decode(&scene.unwrap()).unwrap());
    let other = shown(&seen, &enrolled("person_b_2.jpg"));
    assert!(other < 0.3, "{other}");
}

#[test]
fn i5_no_scene_is_made_without_the_workers_own_consent() {
    let picture = jpeg(&with_another("person_b_1.jpg"));
    let mut gate = consenting();
    gate.vision_pool.scenes_for = vec!["another".to_owned()];
    assert_eq!(taken(&mut gate, &picture).0, None);
    let mut gate = self::gate(1);
    gate.vision_pool.scenes_for = vec!["platform".to_owned()];
    assert_eq!(taken(&mut gate, &picture).0, None);
}

#[test]
fn i5_without_a_search_that_finds_the_worker_there_is_no_scene() {
    let Picture::Encoded(bytes) = jpeg(&with_another("person_b_1.jpg")) else { panic!() };
    let picture = Picture::Encoded(bytes);
    let view = View::new(&picture).unwrap();
    let whole = view.for_detection(640).unwrap();
    let found = vision().detect(whole.image(), 640).unwrap();
    let found: Vec<_> = found.into_iter().map(|face| whole.in_frame(face)).collect();
    let widest = found.iter().max_by(|a, b| a.bbox.w.total_cmp(&b.bbox.w)).unwrap();
    assert!(scene_of(&whole, widest, [&found, &found]).is_some());
    assert!(scene_of(&whole, widest, [&found, &[]]).is_none());
    assert!(scene_of(&whole, widest, [&[], &found]).is_none());
}
