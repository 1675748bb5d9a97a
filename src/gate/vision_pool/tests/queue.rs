//! Posters and frozen pictures, which take minutes to tell.

use image::{RgbImage, imageops};

use super::*;

/// Returns a picture with photos of this height, each at its place. `noise` differs from frame to
/// frame, as a sensor's does.
fn composed(photos: &[(&RgbImage, (i64, i64), u32)], noise: u32) -> Picture {
    let mut picture = RgbImage::from_fn(1280, 720, |x, y| {
        let lit = x > 1200 && y > 680 && noise % 2 == 1;
        image::Rgb(if lit { [120; 3] } else { [(60 + x / 16) as u8, (60 + y / 16) as u8, 90] })
    });
    for (photo, (x, y), height) in photos {
        let width = photo.width() * height / photo.height();
        let one = imageops::resize(*photo, width, *height, imageops::FilterType::Triangle);
        imageops::replace(&mut picture, &one, *x, *y);
    }
    jpeg(&picture)
}

fn pixels(name: &str) -> RgbImage {
    image::load_from_memory(&photo(name)).unwrap().to_rgb8()
}

#[test]
fn a_poster_of_twenty_faces_is_not_followed_for_long_and_hides_no_worker() {
    let (stranger, worker) = (pixels("impostor_1.jpg"), pixels("person_a_1.jpg"));
    let places: Vec<_> = (0..20_i64).map(|n| (n % 7 * 180, n / 7 * 220)).collect();
    let poster = || places.iter().map(|place| (&stranger, *place, 210)).collect::<Vec<_>>();
    let mut gate = gate(1);
    let shows = |gate: &mut Gate, picture: &Picture| {
        gate.clock.advance(Duration::from_secs(2));
        gate.frame(picture)
    };
    let pictures = [0, 1].map(|noise| composed(&poster(), noise));
    for n in 0..100 {
        let seen = shows(&mut gate, &pictures[n % 2]);
        assert!(seen.is_none_or(|seen| seen.sighted.named().is_none()));
    }
    let (before, counts) = (gate.seen(0).faces, gate.seen(0));
    assert!(counts.fixed >= 5 && counts.faces >= 80, "{counts:?}");
    for n in 0..10 {
        assert!(shows(&mut gate, &pictures[n % 2]).is_none());
    }
    assert_eq!(gate.seen(0).faces, before, "{:?}", gate.seen(0));
    let mut before_it = poster();
    before_it.push((&worker, (480, 160), 480));
    let seen = shows(&mut gate, &composed(&before_it, 0)).expect("the worker is followed");
    assert_eq!(seen.sighted.named().map(|id| id.as_str()), Some("W001"));
    assert_eq!(seen.face.beside, Beside::NoOne);
}

#[test]
fn a_frozen_picture_of_a_worker_is_looked_at_for_half_a_minute_and_then_counted() {
    let mut gate = gate(1);
    let worker = pixels("person_a_1.jpg");
    let frozen = composed(&[(&worker, (480, 160), 480)], 0);
    let mut last = None;
    for _ in 0..300 {
        gate.clock.advance(Duration::from_millis(133));
        if gate.frame(&frozen).is_some() {
            last = Some(gate.clock.monotonic());
        }
    }
    let counts = gate.seen(0);
    let now = gate.clock.monotonic();
    assert!(now.since(last.unwrap()) >= Duration::from_secs(29), "{counts:?}");
    assert_eq!(counts.frozen, 150, "{counts:?}");
    let (why, showing) = gate.vision_pool.feeds[0].seen.blind().unwrap();
    assert_eq!((why, showing.last), (Blind::Frozen, gate.clock.monotonic()));
    // A picture that changes is a picture again.
    assert!(gate.frame(&composed(&[(&worker, (490, 160), 480)], 1)).is_some());
    assert_eq!(gate.vision_pool.feeds[0].seen.blind(), None);
    gate.frame(&jpeg(&RgbImage::new(1280, 720)));
    assert_eq!(gate.seen(0).black, 1);
}
