//! Pictures that are no whole face in good light: none is granted to another person, and each is
//! counted under its own reason.

use image::{Rgb, RgbImage, imageops};

use super::*;
use crate::vision::Landmarks;

/// The middle of the picture.
const MIDDLE: (i64, i64) = (WIDTH / 2, HEIGHT / 2);
const GREY: Rgb<u8> = Rgb([96; 3]);
const WIDTH: i64 = 640;
const HEIGHT: i64 = 360;
/// The usual width of a face.
const FACE: f32 = 120.0;

/// A person's photo, with the middle and the width of the face.
struct Portrait {
    image: RgbImage,
    middle: (f32, f32),
    width: f32,
}

impl Portrait {
    fn of(image: RgbImage) -> Portrait {
        let face = only_face(&image);
        let middle = (face.bbox.x + face.bbox.w / 2.0, face.bbox.y + face.bbox.h / 2.0);
        Portrait { image, middle, width: face.bbox.w }
    }

    fn photo(name: &str) -> Portrait {
        Portrait::of(image::load_from_memory(&photo(name)).unwrap().to_rgb8())
    }

    /// Puts the photo into a picture, with the middle of the face at this place.
    fn put(&self, picture: &mut RgbImage, (x, y): (i64, i64), face_px: f32) {
        let scale = face_px / self.width;
        let side = |side: u32| (side as f32 * scale).round() as u32;
        let (w, h) = (side(self.image.width()), side(self.image.height()));
        let scaled = imageops::resize(&self.image, w, h, imageops::FilterType::Triangle);
        let (left, top) = (self.middle.0 * scale, self.middle.1 * scale);
        imageops::replace(picture, &scaled, x - left as i64, y - top as i64);
    }
}

fn only_face(image: &RgbImage) -> Face {
    let (width, height) = image.dimensions();
    let image = vision::Image::from_rgb(width, height, image.as_raw().clone()).unwrap();
    vision().detect(&image, GATE_LONGEST_SIDE).unwrap().remove(0)
}

/// Returns a gate, in other colours than a face.
fn background() -> RgbImage {
    RgbImage::from_fn(WIDTH as u32, HEIGHT as u32, |x, y| {
        Rgb([(60 + x / 8) as u8, (60 + y / 8) as u8, 90])
    })
}

/// Returns the gate with a person.
fn at(who: &Portrait, place: (i64, i64), face_px: f32) -> RgbImage {
    let mut picture = background();
    who.put(&mut picture, place, face_px);
    picture
}

/// Paints where `paint` gives a colour. Its arguments are the place in the face: to the side of the
/// nose in distances between the eyes, and from the eyes (0) to the mouth (1).
fn painted(picture: &RgbImage, paint: impl Fn(f32, f32) -> Option<[f32; 3]>) -> RgbImage {
    let mut picture = picture.clone();
    let [left, right, _, mouth_left, mouth_right]: Landmarks = only_face(&picture).landmarks;
    let middle = |a: [f32; 2], b: [f32; 2]| [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    let (eyes, mouth) = (middle(left, right), middle(mouth_left, mouth_right));
    let (apart, long) = ((right[0] - left[0]).max(1.0), (mouth[1] - eyes[1]).max(1.0));
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (across, down) = ((x as f32 - eyes[0]) / apart, (y as f32 - eyes[1]) / long);
        if let Some(colour) = paint(across, down) {
            // Folds and shade.
            let light = 1.0 + 0.1 * (9.0 * down).sin() - 0.15 * across.abs();
            *pixel = Rgb(colour.map(|value| (value * light).clamp(0.0, 255.0) as u8));
        }
    }
    picture
}

/// Returns the picture with other values for each pixel.
fn lit(mut picture: RgbImage, light: impl Fn(f32) -> f32) -> RgbImage {
    for pixel in picture.pixels_mut() {
        pixel.0 = pixel.0.map(|value| light(value.into()).clamp(0.0, 255.0) as u8);
    }
    picture
}

/// Returns the picture as a camera sees it that moves by this many pixels, to the side and up, in one
/// exposure.
fn moved(picture: &RgbImage, (to_the_side, up): (u32, u32)) -> RgbImage {
    let (width, height) = picture.dimensions();
    let filter = imageops::FilterType::Triangle;
    let narrow = imageops::resize(picture, width / to_the_side, height / up, filter);
    imageops::resize(&narrow, width, height, filter)
}

/// Returns twenty small faces on a wall, the last of which is `one`.
fn poster(others: &Portrait, one: &Portrait) -> RgbImage {
    let mut picture = background();
    for n in 0..20_i64 {
        let who = if n == 19 { one } else { others };
        who.put(&mut picture, (50 + n % 7 * 90, 60 + n / 7 * 120), 40.0);
    }
    picture
}

/// Returns a picture of white noise.
fn noise() -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(WIDTH as u32, HEIGHT as u32, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb((state >> 8).to_le_bytes()[..3].try_into().unwrap())
    })
}

/// A picture, with the reasons under which its frames may be counted: where the detector finds a face
/// in spite of the flaw, and where it does not.
type Bad = (&'static str, &'static [&'static str], RgbImage);

/// Returns people whose faces are partly covered or badly lit.
fn badly_seen(who: &Portrait) -> Vec<Bad> {
    let usual = at(who, MIDDLE, FACE);
    let mut behind_a_pole = usual.clone();
    let pole = RgbImage::from_pixel(60, HEIGHT as u32, GREY);
    imageops::replace(&mut behind_a_pole, &pole, WIDTH / 2, 0);
    let mut light_behind = lit(usual.clone(), |value| value * 0.22);
    let window = RgbImage::from_pixel(150, HEIGHT as u32, Rgb([250; 3]));
    imageops::replace(&mut light_behind, &window, 0, 0);
    let infra_red = image::DynamicImage::ImageLuma8(imageops::grayscale(&usual)).to_rgb8();
    let mask = |x: f32, y: f32| y > 0.45 && y < 1.8 && x.abs() < 1.05 - 0.2 * (y - 0.45);
    let glasses =
        |x: f32, y: f32| y > -0.3 && y < 0.25 && x.abs() < 1.0 && (x.abs() > 0.08 || y < -0.1);
    let helmet = |x: f32, y: f32| y > -1.8 && y < -0.3 && x.abs() < 1.25;
    let hat = |x: f32, y: f32| y > -2.0 && y < -0.6 && x.abs() < 1.6;
    let paint = |over: &dyn Fn(f32, f32) -> bool, colour| {
        painted(&usual, |x, y| over(x, y).then_some(colour))
    };
    vec![
        ("a surgical mask", &["covered"], paint(&mask, [150.0, 190.0, 215.0])),
        ("a mask of dark cloth", &["covered"], paint(&mask, [45.0, 45.0, 50.0])),
        // The detector may place the eyes above the glasses.
        ("dark glasses", &["covered", "faces"], paint(&glasses, [13.0; 3])),
        // These faces have no flaw of their own.
        ("a helmet over the brows", &["faces"], paint(&helmet, [230.0, 190.0, 30.0])),
        ("a hat", &["faces"], paint(&hat, [70.0, 60.0, 50.0])),
        ("half a face behind a pole", &["faces", "no_face"], behind_a_pole),
        ("light behind the face", &["too_dark"], light_behind),
        ("infra-red", &["faces"], infra_red),
    ]
}

/// Returns pictures of a person that are bad in other ways.
fn bad(who: &Portrait, others: &Portrait) -> Vec<Bad> {
    let usual = at(who, MIDDLE, FACE);
    let mut colours_swapped = usual.clone();
    colours_swapped.pixels_mut().for_each(|pixel| pixel.0.reverse());
    let mut phone = background();
    imageops::replace(&mut phone, &RgbImage::from_pixel(70, 130, Rgb([12; 3])), 285, 100);
    let mut shown = RgbImage::from_pixel(62, 110, GREY);
    who.put(&mut shown, (31, 50), 40.0);
    imageops::replace(&mut phone, &shown, 289, 110);
    let edge: &[_] = &["cut_off", "turned_away", "no_face"];
    vec![
        ("half a face at the left", edge, at(who, (0, HEIGHT / 2), FACE)),
        ("half a face at the right", edge, at(who, (WIDTH, HEIGHT / 2), FACE)),
        ("half a face at the top", edge, at(who, (WIDTH / 2, 0), FACE)),
        ("half a face at the bottom", edge, at(who, (WIDTH / 2, HEIGHT), FACE)),
        ("too much light", &["too_bright", "no_face"], lit(usual.clone(), |v| v * 1.5 + 130.0)),
        ("moved to the side", &["blurred"], moved(&usual, (20, 1))),
        ("moved further to the side", &["blurred", "no_face"], moved(&usual, (34, 1))),
        ("moved up", &["blurred"], moved(&usual, (1, 20))),
        ("moved further up", &["blurred", "no_face"], moved(&usual, (1, 34))),
        ("moved out of recognition", &["no_face"], moved(&usual, (128, 1))),
        ("far away", &["too_small"], at(who, MIDDLE, 36.0)),
        ("as small as a dot", &["no_face"], at(who, MIDDLE, 6.0)),
        ("much too near", &["no_face", "cut_off", "faces"], at(who, MIDDLE, 800.0)),
        ("a poster of twenty faces", &["too_small"], poster(others, who)),
        ("a phone held up", &["too_small"], phone),
        // A face that is found upside down is no one's.
        ("upside down", &["no_face", "turned_away", "faces"], imageops::rotate180(&usual)),
        ("mirrored", &["faces"], imageops::flip_horizontal(&usual)),
        ("the colours swapped", &["faces"], colours_swapped),
    ]
}

/// Returns pictures without a person.
fn empty() -> Vec<Bad> {
    let plain = |grey| RgbImage::from_pixel(WIDTH as u32, HEIGHT as u32, Rgb([grey; 3]));
    let mut tape = plain(96);
    // A clock, as cameras write it into the picture.
    imageops::replace(&mut tape, &RgbImage::from_pixel(120, 14, Rgb([255; 3])), 10, 10);
    vec![
        ("black", &["black"], plain(0)),
        ("white", &["plain"], plain(255)),
        ("tape over the lens", &["plain"], tape),
        ("noise", &["no_face"], noise()),
        ("a gate without a person", &["no_face"], background()),
    ]
}

fn count(counts: &SeenCounts, reason: &str) -> u64 {
    serde_json::to_value(counts).unwrap()[reason].as_u64().unwrap()
}

/// Shows each picture long enough for a poor look to be used, with a pause between two pictures.
/// Returns what is wrong: a look at another person than the one who it may be, or another reason.
fn wrong(gate: &mut Gate, pictures: Vec<Bad>, may_be: Option<&str>) -> Vec<String> {
    let shown = pictures.into_iter().filter_map(|(name, reasons, picture)| {
        gate.clock.advance(Duration::from_secs(60));
        let (before, picture) = (gate.seen(0), jpeg(&picture));
        let looks: Vec<_> = (0..6).filter_map(|_| gate.frame(&picture)).collect();
        let after = gate.seen(0);
        let named = looks.iter().filter_map(|look| look.sighted.named());
        let others: Vec<_> = named.filter(|id| Some(id.as_str()) != may_be).collect();
        let counted = |reason: &&str| count(&after, reason) > count(&before, reason);
        let right = others.is_empty() && reasons.iter().any(counted);
        (!right).then(|| format!("{name}: {others:?}, not {reasons:?}: {before:?}, {after:?}"))
    });
    shown.collect()
}

#[test]
fn a_picture_that_is_no_good_face_is_granted_to_no_other_person_and_counted_under_its_reason() {
    let (worker, stranger) = (Portrait::photo("person_a_1.jpg"), Portrait::photo("impostor_1.jpg"));
    let mut gate = gate(1);
    let mut all = wrong(&mut gate, empty(), None);
    for (who, may_be) in [(&worker, Some("W001")), (&stranger, None)] {
        all.extend(wrong(&mut gate, badly_seen(who), may_be));
        all.extend(wrong(&mut gate, bad(who, &stranger), may_be));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// Returns the first picture of a person of the public set.
fn of_the_set(person: u32) -> Portrait {
    let set = std::env::var_os("GATEHOUSE_TEST_FACES").expect(
        "GATEHOUSE_TEST_FACES must name the folder of faces: run tests/run, which fetches them",
    );
    let picture = image::open(Path::new(&set).join(format!("s{person}/1.pgm"))).unwrap();
    Portrait::of(picture.to_rgb8())
}

#[test]
fn no_stranger_who_is_badly_seen_is_taken_for_one_of_twenty_workers() {
    let mut gate = gate(1);
    let worker = |person: u32| {
        let Portrait { image, .. } = of_the_set(person);
        let (width, height) = image.dimensions();
        let image = vision::Image::from_rgb(width, height, image.into_raw()).unwrap();
        let face = vision().detect(&image, GATE_LONGEST_SIDE).unwrap().remove(0);
        let (text, id) = (|| "x".to_owned(), format!("W{person:03}").parse().unwrap());
        let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
        (Worker::new(person), vec![vision().embed(&image, &face).unwrap()])
    };
    let roster = Roster::new(2, (1..=20).map(worker).collect());
    gate.vision_pool.roster = channel::channel(Arc::new(roster)).1;
    gate.vision_pool.rules.threshold = Threshold::ByRoster;
    // The set has 40 people.
    let named = (21..=40).step_by(3).flat_map(|person| {
        let looks = badly_seen(&of_the_set(person)).into_iter().flat_map(|(name, _, picture)| {
            gate.clock.advance(Duration::from_secs(60));
            let picture = jpeg(&picture);
            let looks: Vec<_> = (0..6).filter_map(|_| gate.frame(&picture)).collect();
            looks.into_iter().map(move |look| (name, look))
        });
        let looks: Vec<_> = looks.collect();
        assert!(looks.len() >= 8, "person {person}: {} looks", looks.len());
        let named = looks.into_iter().filter(|(_, look)| look.sighted.named().is_some());
        named.map(move |(name, look)| (person, name, look.sighted)).collect::<Vec<_>>()
    });
    let named: Vec<_> = named.collect();
    assert!(named.is_empty(), "{named:?}");
}
