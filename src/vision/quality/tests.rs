use super::*;
use crate::vision::Rect;

/// The landmarks of a face from the front, at the places that the embedder expects.
const FRONT: Landmarks = [[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]];

fn seen(landmarks: Landmarks, grey: impl Fn(usize, usize) -> f32) -> Quality {
    seen_within(&FaceLimits::default(), landmarks, grey)
}

fn seen_within(
    limits: &FaceLimits,
    landmarks: Landmarks,
    grey: impl Fn(usize, usize) -> f32,
) -> Quality {
    let at = |i: usize| grey(i % ALIGNED_SIDE, i / ALIGNED_SIDE);
    let plane: Vec<f32> = (0..ALIGNED_SIDE * ALIGNED_SIDE).map(at).collect();
    let bbox = Rect { x: 0.0, y: 0.0, w: 90.0, h: 120.0 };
    assess(&Face { score: 0.9, bbox, landmarks }, &Aligned(plane.repeat(3)), limits)
}

/// Returns waves of `length` pixels around a mean of `light`.
fn waves(length: f32, light: f32, depth: f32) -> impl Fn(usize, usize) -> f32 {
    move |x, y| {
        let turn = |at: usize| (at as f32 * std::f32::consts::TAU / length).sin();
        (light + depth * turn(x) * turn(y)).clamp(0.0, 255.0)
    }
}

fn sharp(x: usize, y: usize) -> f32 {
    waves(16.0, 130.0, 50.0)(x, y)
}

#[test]
fn a_sharp_face_from_the_front_in_good_light_is_good() {
    let good = seen(FRONT, sharp);
    assert_eq!(good.flaw, None);
    assert!((0.5..=1.0).contains(&good.score), "{good:?}");
}

#[test]
fn each_flaw_has_its_word_and_a_lower_score() {
    let moved = |n: usize, by: [f32; 2]| {
        let mut landmarks = FRONT;
        landmarks[n] = [landmarks[n][0] + by[0], landmarks[n][1] + by[1]];
        landmarks
    };
    let tilted = FRONT.map(|[x, y]| [0.7 * x - 0.7 * y, 0.7 * x + 0.7 * y]);
    let good = seen(FRONT, sharp).score;
    for (word, poor) in [
        ("turned_away", seen(moved(2, [14.0, 0.0]), sharp)),
        ("turned_away", seen(moved(2, [-14.0, 0.0]), sharp)),
        ("turned_away", seen(moved(2, [0.0, -12.0]), sharp)),
        ("turned_away", seen(moved(2, [0.0, 15.0]), sharp)),
        ("turned_away", seen(tilted, sharp)),
        ("turned_away", seen([[5.0; 2]; 5], sharp)),
        ("turned_away", seen([[f32::NAN; 2]; 5], sharp)),
        ("blurred", seen(FRONT, waves(60.0, 130.0, 50.0))),
        ("blurred", seen(FRONT, |_, _| 130.0)),
        // A face that moves along the rows, and along the columns, in one exposure.
        ("blurred", seen(FRONT, |_, y| sharp(4, y))),
        ("blurred", seen(FRONT, |x, _| sharp(x, 4))),
        ("covered", seen(FRONT, |x, y| if y > 74 { 130.0 } else { sharp(x, y) })),
        ("covered", seen(FRONT, |x, y| if (40..62).contains(&y) { 15.0 } else { sharp(x, y) })),
        ("too_dark", seen(FRONT, waves(16.0, 30.0, 20.0))),
        ("too_bright", seen(FRONT, waves(16.0, 225.0, 20.0))),
        ("too_bright", seen(FRONT, waves(16.0, 200.0, 400.0))),
    ] {
        assert_eq!(poor.flaw.map(Flaw::word), Some(word), "{poor:?}");
        assert!((0.0..good).contains(&poor.score), "{word}: {poor:?}");
    }
}

#[test]
fn limits_of_zero_take_masks_and_dark_glasses() {
    let masked = |x: usize, y: usize| if y > 74 { 130.0 } else { sharp(x, y) };
    let dark = |x: usize, y: usize| if (40..62).contains(&y) { 15.0 } else { sharp(x, y) };
    let limits = FaceLimits { min_mouth: 0.0, min_eyes: 0.0, ..FaceLimits::default() };
    for grey in [&masked as &dyn Fn(usize, usize) -> f32, &dark] {
        assert_eq!(seen_within(&limits, FRONT, grey).flaw, None);
    }
}

#[test]
fn a_tilted_head_is_not_turned_away() {
    let (sin, cos) = 20_f32.to_radians().sin_cos();
    let tilted = FRONT.map(|[x, y]| [cos * x - sin * y, sin * x + cos * y]);
    assert_eq!(seen(tilted, sharp).flaw, None);
}
