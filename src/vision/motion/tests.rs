use super::*;

const WIDTH: u32 = 160;
const HEIGHT: u32 = 90;
/// 15 frames a second.
const FRAME_MS: u64 = 67;

/// A scene of 720p as a thumbnail: a slope from dark to light, and what `change` makes of it.
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

/// A face of 48 pixels in a frame of 720p is 6 wide here.
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

/// Whether each of these moved, frame by frame.
struct Camera {
    motion: Motion,
    ms: u64,
}

impl Camera {
    fn before_nobody() -> Camera {
        let mut camera = Camera { motion: Motion::default(), ms: 1000 };
        assert!(camera.sees(&empty()), "the first frame is looked at");
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
fn a_small_face_is_seen_at_once_and_for_as_long_as_it_moves() {
    let mut camera = Camera::before_nobody();
    for frame in 0..100 {
        assert!(camera.sees(&face(20 + frame)), "{frame}");
    }
}

#[test]
fn what_stays_becomes_background_and_its_leaving_is_a_change() {
    let mut camera = Camera::before_nobody();
    let quiet_after = (0..).find(|_| !camera.sees(&face(70))).unwrap();
    assert!((15..150).contains(&quiet_after), "{quiet_after} frames");
    assert!((0..100).all(|_| !camera.sees(&face(70))));
    assert!(camera.sees(&empty()));
}

/// With noise of this spread in each pixel of the thumbnail: an eighth of the sensor's.
fn noisy(luma: Luma, sigma: f32, state: &mut u32) -> Luma {
    let mut luma = luma;
    for value in &mut luma.values {
        // The sum of four even ones, whose own spread is 2/3.
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
fn a_sensors_noise_in_twilight_is_no_motion_and_a_worse_ones_is_learned() {
    let mut state = 1;
    let mut camera = Camera::before_nobody();
    for _ in 0..300 {
        assert!(!camera.sees(&noisy(empty(), 2.0, &mut state)));
    }
    assert!(camera.sees(&noisy(face(70), 2.0, &mut state)));
    let mut camera = Camera::before_nobody();
    let moved: Vec<bool> =
        (0..600).map(|_| camera.sees(&noisy(empty(), 4.0, &mut state))).collect();
    let late = moved[300..].iter().filter(|moved| **moved).count();
    assert!(late < 10, "{late} of 300");
    assert!(camera.sees(&noisy(face(70), 4.0, &mut state)));
}

#[test]
fn a_change_of_exposure_is_no_motion_but_who_comes_during_it_is() {
    let mut camera = Camera::before_nobody();
    for step in 0..12 {
        let gain = 1.0 + 0.02 * step as f32;
        assert!(!camera.sees(&scene(|_, _, value| value * gain)), "{gain}");
    }
    let mut camera = Camera::before_nobody();
    let brighter = face(70);
    let brighter = scene(|x, y, _| 1.3 * f32::from(brighter.values[(y * WIDTH + x) as usize]));
    assert!(camera.sees(&brighter));
}

#[test]
fn the_light_is_switched_on_and_all_is_quiet_within_seconds() {
    let mut camera = Camera::before_nobody();
    let lit = scene(|x, y, value| if x + y < 120 { value + 90.0 } else { value });
    assert!(camera.sees(&lit));
    let quiet_after = (0..).find(|_| !camera.sees(&lit)).unwrap();
    assert!(quiet_after < 150, "{quiet_after} frames");
}

#[test]
fn a_lamp_that_flickers_is_learned_and_a_face_before_it_is_seen() {
    let mut camera = Camera::before_nobody();
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
    assert!(moved[0], "it is new");
    assert!(!moved[300..].contains(&true), "it is learned");
    assert!(camera.sees(&lamp(600, face(70))));
}

#[test]
fn nothing_is_learned_while_somebody_is_there() {
    let mut camera = Camera::before_nobody();
    for frame in 0..300 {
        let at = Monotonic::from_millis(camera.ms + FRAME_MS * (frame + 1));
        camera.motion.moves(&face(20 + (frame as u32 * 7) % 100), at, false);
    }
    assert!(camera.motion.cells.iter().all(|cell| cell.unrest < 1.0));
}

#[test]
fn a_picture_of_any_size_is_looked_at() {
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
        assert!(moves(50), "the first of its size");
        assert!(!moves(50), "{width} x {height}");
        assert_eq!(moves(255), width > 0, "{width} x {height}");
    }
    // A thumbnail that is shorter than it says.
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
