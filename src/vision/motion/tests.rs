use super::*;

const WIDTH: u32 = 160;
const HEIGHT: u32 = 90;
/// 15 frames a second.
const FRAME_MS: u64 = 67;

/// Returns a scene of 720p as a thumbnail: a slope from dark to light, altered by `change`.
fn scene(change: impl Fn(u32, u32, f32) -> f32) -> Luma {
    let values = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
    let values = values.map(|(x, y)| {
        let value = 40.0 + x as f32;
        change(x, y, value).clamp(0.0, 255.0) as u8
    });
    Luma { width: WIDTH, height: HEIGHT, values: values.collect() }
}

fn empty() -> Luma {
    scene(|_, _, value| value)
}

/// Returns a scene with a face. A face of 48 pixels in a frame of 720p is 6 pixels wide here.
fn face(left: u32) -> Luma {
    scene(
        move |x, y, value| {
            if (left..left + 6).contains(&x) && (40..48).contains(&y) {
                value + 30.0
            } else {
                value
            }
        },
    )
}

/// A camera that gives one frame after another to a [`Motion`].
struct Camera {
    motion: Motion,
    ms: u64,
}

impl Camera {
    fn of_an_empty_scene() -> Camera {
        let mut camera = Camera { motion: Motion::default(), ms: 1000 };
        assert!(camera.sees(&empty()), "the first frame counts as motion");
        for _ in 0..30 {
            assert!(!camera.sees(&empty()));
        }
        camera
    }

    fn sees(&mut self, luma: &Luma) -> bool {
        self.ms += FRAME_MS;
        self.motion.moves(luma, Monotonic::from_millis(self.ms), true)
    }
}

#[test]
fn a_small_face_is_seen_at_once_and_while_it_moves() {
    let mut camera = Camera::of_an_empty_scene();
    for frame in 0..100 {
        assert!(camera.sees(&face(20 + frame)), "{frame}");
    }
}

#[test]
fn a_face_that_stays_becomes_background_and_its_leaving_is_motion() {
    let mut camera = Camera::of_an_empty_scene();
    let quiet_after = (0..).find(|_| !camera.sees(&face(70))).unwrap();
    assert!((15..150).contains(&quiet_after), "{quiet_after} frames");
    assert!((0..100).all(|_| !camera.sees(&face(70))));
    assert!(camera.sees(&empty()));
}

/// Adds noise of this spread to each pixel of the thumbnail: an eighth of the sensor's noise.
fn noisy(luma: Luma, sigma: f32, state: &mut u32) -> Luma {
    let mut luma = luma;
    for value in &mut luma.values {
        // The sum of four uniform values from -1 to 1 has a standard deviation of 1.155.
        let mut noise = 0.0;
        for _ in 0..4 {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise += (*state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        }
        let noise = (noise * sigma / 1.155).round() as i8;
        *value = value.saturating_add_signed(noise);
    }
    luma
}

#[test]
fn noise_in_twilight_is_not_motion_and_stronger_noise_is_learned() {
    let mut state = 1;
    let mut camera = Camera::of_an_empty_scene();
    for _ in 0..300 {
        assert!(!camera.sees(&noisy(empty(), 2.0, &mut state)));
    }
    assert!(camera.sees(&noisy(face(70), 2.0, &mut state)));
    let mut camera = Camera::of_an_empty_scene();
    let moved: Vec<bool> =
        (0..600).map(|_| camera.sees(&noisy(empty(), 4.0, &mut state))).collect();
    let late = moved[300..].iter().filter(|moved| **moved).count();
    assert!(late < 10, "{late} of 300");
    assert!(camera.sees(&noisy(face(70), 4.0, &mut state)));
}

#[test]
fn a_change_of_exposure_is_not_motion_but_a_face_that_comes_with_it_is() {
    let mut camera = Camera::of_an_empty_scene();
    for step in 0..12 {
        let gain = 1.0 + 0.02 * step as f32;
        assert!(!camera.sees(&scene(|_, _, value| value * gain)), "{gain}");
    }
    let mut camera = Camera::of_an_empty_scene();
    let brighter = face(70);
    let brighter = scene(|x, y, _| 1.3 * f32::from(brighter.values[(y * WIDTH + x) as usize]));
    assert!(camera.sees(&brighter));
}

#[test]
fn after_the_light_is_switched_on_motion_ends_within_seconds() {
    let mut camera = Camera::of_an_empty_scene();
    let lit = scene(|x, y, value| if x + y < 120 { value + 90.0 } else { value });
    assert!(camera.sees(&lit));
    let quiet_after = (0..).find(|_| !camera.sees(&lit)).unwrap();
    assert!(quiet_after < 150, "{quiet_after} frames");
}

#[test]
fn a_lamp_that_flickers_is_learned_and_a_face_before_it_is_seen() {
    let mut camera = Camera::of_an_empty_scene();
    let lamp = |frame: u32, luma: Luma| {
        let mut luma = luma;
        for (at, value) in luma.values.iter_mut().enumerate() {
            let (x, y) = (at as u32 % WIDTH, at as u32 / WIDTH);
            if x >= 140 && y < 20 {
                *value = if frame.is_multiple_of(3) { 200 } else { 185 };
            }
        }
        luma
    };
    let moved: Vec<bool> = (0..600).map(|n| camera.sees(&lamp(n, empty()))).collect();
    assert!(moved[0], "a new lamp counts as motion");
    assert!(!moved[300..].contains(&true), "the lamp is learned");
    assert!(camera.sees(&lamp(600, face(70))));
}

#[test]
fn nothing_is_learned_while_a_person_is_there() {
    let mut camera = Camera::of_an_empty_scene();
    for frame in 0..300 {
        let at = Monotonic::from_millis(camera.ms + FRAME_MS * (frame + 1));
        camera.motion.moves(&face(20 + (frame as u32 * 7) % 100), at, false);
    }
    assert!(camera.motion.cells.iter().all(|cell| cell.unrest < 1.0));
}

#[test]
fn a_picture_of_any_size_is_examined() {
    let mut motion = Motion::default();
    let mut ms = 0;
    for (width, height) in
        [(1, 1), (1, 500), (500, 1), (79, 61), (161, 91), (2048, 2), (0, 0), (0, 9)]
    {
        let luma = |value| Luma { width, height, values: vec![value; (width * height) as usize] };
        let mut moves = |value| {
            ms += FRAME_MS;
            motion.moves(&luma(value), Monotonic::from_millis(ms), true)
        };
        assert!(moves(50), "the first frame of a size counts as motion");
        assert!(!moves(50), "{width} x {height}");
        assert_eq!(moves(255), width > 0, "{width} x {height}");
    }
    // A thumbnail with fewer values than its size needs.
    motion.moves(
        &Luma { width: 80, height: 60, values: vec![1; 100] },
        Monotonic::from_millis(ms),
        true,
    );
    // Time that goes backwards.
    motion.moves(&empty(), Monotonic::from_millis(5), true);
    motion.moves(&empty(), Monotonic::from_millis(1), true);
    assert!(motion.cells.iter().all(|cell| cell.background.is_finite()));
}
