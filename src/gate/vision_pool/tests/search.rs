//! The second look of a visit, around the followed face.

use super::*;
use crate::vision::Reduced;

/// Returns a frame of 1280 x 720 with photos at these places, each some 300 pixels wide.
fn frame(photos: &[(&str, i64)]) -> Picture {
    let mut picture = image::RgbImage::from_fn(1280, 720, |x, y| {
        image::Rgb([(60 + x / 16) as u8, (60 + y / 12) as u8, 90])
    });
    for (name, x) in photos {
        let one = image::load_from_memory(&photo(name)).unwrap();
        let one = one.resize(420, 400, image::imageops::Triangle).to_rgb8();
        image::imageops::replace(&mut picture, &one, *x, 150);
    }
    jpeg(&picture)
}

/// Searches a frame as a vision worker does. Returns the width of the searched picture in pixels of
/// the frame, and the faces.
fn look(watch: &mut Watch, at: Duration, picture: &Picture) -> (u32, Vec<Face>) {
    let (vision, clock) = (vision(), ManualClock::new(0, true));
    let (at, view) = (Monotonic::from_millis(1000) + at, View::new(picture).unwrap());
    let near = watch.visits.unsettled(2);
    let counted = <[crate::timing::Histogram; 2]>::default();
    let (searched, faces) = super::super::search::search(
        (&vision, &clock),
        counted.each_ref(),
        watch,
        (at, near),
        &view,
    )
    .unwrap();
    watch.visits.follow(at, faces.clone());
    (searched_width(&searched), faces)
}

fn searched_width(searched: &Reduced<'_>) -> u32 {
    let right = |x: f32| Face { bbox: crate::vision::Rect { x, ..any().bbox }, ..any() };
    let zero = searched.in_frame(right(0.0)).bbox.x;
    (searched.in_frame(right(searched.image().width() as f32)).bbox.x - zero) as u32
}

fn any() -> Face {
    let bbox = crate::vision::Rect { x: 0.0, y: 0.0, w: 1.0, h: 1.0 };
    Face { score: 1.0, bbox, landmarks: [[0.0; 2]; 5] }
}

#[test]
fn every_other_look_at_a_person_alone_searches_around_the_face() {
    let mut watch = Watch::default();
    let (width, first) = look(&mut watch, Duration::ZERO, &frame(&[("person_a_1.jpg", 300)]));
    assert_eq!((width, first.len()), (1280, 1));
    let moved = frame(&[("person_a_1.jpg", 330)]);
    let (width, second) = look(&mut watch, FRAME, &moved);
    assert!(width < 720, "{width}");
    let [face] = &*second else { panic!("{second:?}") };
    assert!((face.bbox.x - first[0].bbox.x - 30.0).abs() < 6.0, "{face:?}, {first:?}");
    let (width, third) = look(&mut watch, FRAME * 2, &moved);
    assert_eq!(width, 1280);
    // Both searches give one template.
    let view = View::new(&moved).unwrap();
    let templates = [face, &third[0]].map(|face| {
        let small = view.for_detection(GATE_LONGEST_SIDE).unwrap();
        let cut_out = view.for_face(face, small).unwrap().cut_out(face).unwrap();
        vision().embed_aligned(cut_out).unwrap()
    });
    let alike = templates[0].cosine(&templates[1]);
    assert!(alike > 0.9, "{alike}");
}

#[test]
fn the_whole_frame_is_searched_if_the_face_is_gone_or_another_one_is_there() {
    let mut watch = Watch::default();
    look(&mut watch, Duration::ZERO, &frame(&[("person_a_1.jpg", 50)]));
    let (width, faces) = look(&mut watch, FRAME, &frame(&[("person_a_1.jpg", 800)]));
    assert_eq!((width, faces.len()), (1280, 1), "it jumped");
    let pair = frame(&[("person_a_1.jpg", 50), ("person_b_1.jpg", 700)]);
    let mut watch = Watch::default();
    for n in 0..3 {
        let (width, faces) = look(&mut watch, FRAME * n, &pair);
        assert_eq!((width, faces.len()), (1280, 2), "two people");
    }
    let mut watch = Watch::default();
    look(&mut watch, Duration::ZERO, &frame(&[("person_a_1.jpg", 50)]));
    let (width, _) = look(&mut watch, Duration::from_secs(1), &frame(&[("person_a_1.jpg", 50)]));
    assert_eq!(width, 1280, "a second later");
}
