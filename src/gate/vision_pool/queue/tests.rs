use proptest::prelude::*;

use super::*;

const FRAME: (u32, u32) = (1280, 720);

fn ms(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

/// A face with its middle at (x, y).
fn face(x: f32, y: f32, w: f32) -> Face {
    let bbox = Rect { x: x - w / 2.0, y: y - w / 2.0, w, h: w };
    let landmarks = [[-0.2, -0.2], [0.2, -0.2], [0.0, 0.0], [-0.2, 0.2], [0.2, 0.2]]
        .map(|[dx, dy]| [x + dx * w, y + dy * w]);
    Face { score: 0.9, bbox, landmarks }
}

fn aim(zone: &Zone) -> Aim<'_> {
    Aim { zone, min_face_px: 48.0, frame: FRAME }
}

/// Sorts a frame without a zone.
fn sort(queue: &mut Queue, at: u64, faces: &[(f32, f32)]) -> Sorted {
    let faces = faces.iter().map(|(x, w)| face(*x, 300.0, *w)).collect();
    queue.sort(ms(at), faces, aim(&Zone::default()))
}

#[test]
fn a_face_that_cannot_be_the_next_persons_is_set_aside_for_its_reason() {
    let zone = Zone::new(vec![(0.25, 0.0), (0.75, 1.0)]).unwrap();
    for (face, why) in [
        (face(640.0, 300.0, 100.0), None),
        (face(640.0, 300.0, 47.0), Some(Aside::TooSmall)),
        (face(640.0, 300.0, f32::NAN), Some(Aside::TooSmall)),
        (face(200.0, 300.0, 100.0), Some(Aside::Outside)),
        (face(1200.0, 300.0, 100.0), Some(Aside::Outside)),
        (face(10.0, 300.0, 100.0), Some(Aside::CutOff)),
        (face(640.0, 715.0, 100.0), Some(Aside::CutOff)),
    ] {
        assert_eq!(aim(&zone).aside(&face), why, "{face:?}");
    }
    // Boxes of halves, as the detector gives them. It guesses landmarks within the picture.
    let boxed = |x, y, w, h| Face { bbox: Rect { x, y, w, h }, ..face(640.0, 300.0, 100.0) };
    for (half, why) in [
        (boxed(600.0, 1.6, 115.0, 82.0), Some(Aside::CutOff)),
        (boxed(600.0, 640.0, 115.0, 82.0), Some(Aside::CutOff)),
        (boxed(-2.0, 300.0, 62.0, 162.0), Some(Aside::CutOff)),
        (boxed(1220.0, 300.0, 58.0, 144.0), Some(Aside::CutOff)),
        (boxed(600.0, 1.6, 115.0, 150.0), None),
        (boxed(600.0, 300.0, 115.0, 82.0), None),
    ] {
        assert_eq!(aim(&Zone::default()).aside(&half), why, "{half:?}");
    }
    let mut queue = Queue::default();
    let faces = vec![face(640.0, 300.0, 47.0), face(200.0, 300.0, 100.0)];
    let sorted = queue.sort(ms(0), faces, aim(&zone));
    assert_eq!((sorted.near.len(), sorted.aside), (0, Some((Aside::Outside, 100.0))));
}

#[test]
fn the_queue_of_the_next_lane_and_who_stands_below_or_at_the_edge_are_told_apart_by_the_zone() {
    let zone = Zone::new(vec![(0.0, 0.0), (0.6, 1.0)]).unwrap();
    let mut queue = Queue::default();
    let mut sort = |at, faces: &[(f32, f32, f32)]| {
        let faces = faces.iter().map(|(x, y, w)| face(*x, *y, *w)).collect();
        let sorted = queue.sort(ms(at), faces, aim(&zone));
        let near: Vec<_> = sorted.near.iter().map(|face| face.bbox.w).collect();
        (near, sorted.aside.map(|(why, _)| why), sorted.beside)
    };
    // The next lane's queue is nearer to this camera than this lane's first person.
    for at in (0..3000).step_by(100) {
        let both = [(400.0, 300.0, 120.0), (900.0, 300.0, 130.0), (1000.0, 280.0, 110.0)];
        assert_eq!(sort(at, &both), (vec![120.0], Some(Aside::Outside), Beside::NoOne));
    }
    // A child, or a person in a wheelchair, is low in the picture; the zone reaches its edges.
    assert_eq!(sort(4000, &[(400.0, 640.0, 100.0)]).0, [100.0]);
    assert_eq!(sort(5000, &[(45.0, 300.0, 100.0)]).0, [100.0]);
    assert_eq!(sort(6000, &[(15.0, 300.0, 100.0)]).1, Some(Aside::CutOff));
    // One behind the other, for long.
    for at in (7000..9000).step_by(100) {
        let two = [(400.0, 300.0, 131.0), (430.0, 280.0, 100.0)];
        assert_eq!(sort(at, &two), (vec![131.0, 100.0], None, Beside::NoOne));
    }
}

#[test]
fn one_person_is_asked_for_when_two_stand_side_by_side_for_a_second() {
    let mut queue = Queue::default();
    let mut beside = |at, faces: &[(f32, f32)]| sort(&mut queue, at, faces).beside;
    let (one, two, behind) = ((400.0, 130.0), (800.0, 101.0), (800.0, 99.0));
    assert_eq!(beside(0, &[one, behind]), Beside::NoOne);
    assert_eq!(beside(100, &[one, two]), Beside::Briefly);
    assert_eq!(beside(600, &[one]), Beside::Briefly, "the detector may have missed the other");
    assert_eq!(beside(1099, &[one, two]), Beside::Briefly);
    assert_eq!(beside(1100, &[one, two]), Beside::Long);
    assert_eq!(beside(1700, &[one, behind]), Beside::NoOne);
    assert_eq!(beside(1800, &[one, two]), Beside::Briefly, "another second");
}

#[test]
fn a_poster_is_followed_no_longer_when_it_has_stayed_in_its_place_for_minutes() {
    let mut queue = Queue::default();
    let poster: Vec<_> = (0..20).map(|n| (60.0 + 60.0 * n as f32, 50.0)).collect();
    let near = |queue: &mut Queue, at, faces: &[(f32, f32)]| sort(queue, at, faces).near.len();
    for at in (0..180_000).step_by(2000) {
        assert_eq!(near(&mut queue, at, &poster), 20);
    }
    for at in (180_000..200_000).step_by(2000) {
        let sorted = sort(&mut queue, at, &poster);
        assert_eq!((sorted.near.len(), sorted.aside.unwrap().0), (0, Aside::Fixed));
        assert_eq!(sorted.beside, Beside::NoOne);
    }
    // A person steps before it, covers a part of it, and goes.
    let person = (660.0, 200.0);
    let shown: Vec<_> = [person].into_iter().chain(poster[..6].iter().copied()).collect();
    for at in (200_000..320_000).step_by(200) {
        let sorted = sort(&mut queue, at, &shown);
        assert_eq!((sorted.near.len(), sorted.near[0].bbox.w), (1, 200.0));
        assert_eq!(sorted.beside, Beside::NoOne);
    }
    assert_eq!(near(&mut queue, 321_000, &poster), 0);
    // A poster that was taken down is forgotten, and one that was moved is another one.
    assert_eq!(near(&mut queue, 322_000, &[(75.0, 50.0)]), 1);
    assert_eq!(near(&mut queue, 930_000, &poster), 20);
}

#[test]
fn a_poster_is_known_sooner_while_people_come_and_go_and_no_person_is_taken_for_one() {
    let mut queue = Queue::default();
    let poster = (1000.0, 150.0);
    let mut known = None;
    for at in (0..120_000).step_by(200) {
        // A queue moves on by half a face in a second, and its first one stands still for 3 s.
        let step = 100.0 + 40.0 * (at / 1000 % 15) as f32;
        let stands = (300.0, 120.0 + (at / 3000 % 7) as f32 * 20.0);
        let sorted = sort(&mut queue, at, &[poster, (step, 80.0), stands]);
        assert!(sorted.near.iter().any(|face| face.bbox.w == stands.1), "{at}");
        if !sorted.near.iter().any(|face| face.bbox.w == poster.1) {
            known = known.or(Some(at));
        }
    }
    assert!((60_000..90_000).contains(&known.unwrap()), "{known:?}");
}

#[test]
fn i8_the_places_of_faces_are_bounded() {
    let mut queue = Queue::default();
    for at in 0..10 {
        let faces: Vec<_> = (0..50).map(|n| (20.0 * n as f32 + 300.0 * at as f32, 50.0)).collect();
        sort(&mut queue, at, &faces);
    }
    assert_eq!(queue.places.len(), PLACES);
}

proptest! {
    /// A queue is no two people side by side, however it moves.
    #[test]
    fn a_queue_of_any_length_never_asks_for_one_person(
        frames in prop::collection::vec((0_u64..2000, 60.0_f32..400.0, 1_usize..8), 1..60),
    ) {
        let (mut queue, mut now) = (Queue::default(), 0);
        for (step, nearest, people) in frames {
            now += step;
            let widths = (0..people as i32).map(|n| nearest / 1.31_f32.powi(n));
            let faces: Vec<_> = widths.enumerate().map(|(n, w)| (100.0 + 90.0 * n as f32, w)).collect();
            prop_assert_eq!(sort(&mut queue, now, &faces).beside, Beside::NoOne);
        }
    }

    /// Of any faces, those that stay may be the next person's, and one person is asked for only after
    /// a second with two of them.
    #[test]
    fn what_is_followed_is_whole_near_and_in_the_zone(
        frames in prop::collection::vec(
            (0_u64..400, prop::collection::vec(
                (-200.0_f32..1500.0, -200.0_f32..900.0, 0.0_f32..500.0), 0..6)), 1..60),
    ) {
        let zone = Zone::new(vec![(0.2, 0.1), (0.9, 1.0)]).unwrap();
        let (mut queue, mut now, mut pairs) = (Queue::default(), 0, Vec::new());
        for (step, faces) in frames {
            now += step;
            let faces: Vec<_> = faces.into_iter().map(|(x, y, w)| face(x, y, w)).collect();
            let (number, sorted) = (faces.len(), queue.sort(ms(now), faces, aim(&zone)));
            for face in &sorted.near {
                prop_assert_eq!(aim(&zone).aside(face), None);
            }
            prop_assert_eq!(sorted.aside.is_none(), sorted.near.len() == number);
            let mut widths: Vec<_> = sorted.near.iter().map(|face| face.bbox.w).collect();
            widths.sort_by(f32::total_cmp);
            if widths.len() > 1 && widths[widths.len() - 2] * ALIKE >= widths[widths.len() - 1] {
                pairs.push(now);
            }
            match sorted.beside {
                Beside::NoOne => prop_assert!(pairs.last() != Some(&now)),
                Beside::Briefly => prop_assert!(now - pairs.last().unwrap() <= 500),
                Beside::Long => prop_assert!(pairs.last().unwrap() - pairs[0] >= 1000),
            }
        }
    }
}
