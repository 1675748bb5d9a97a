//! People before a camera: their templates, and frames in which each of them stands.

use std::{f32::consts::PI, path::Path, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use gatehouse::{
    camera::Picture,
    config::FaceLimits,
    vision::{self, Image, Rect, TEMPLATE_LEN, Template, Vision},
};
use image::{
    RgbImage,
    codecs::jpeg::JpegEncoder,
    imageops::{self, FilterType},
};

/// The photo for the roster, and those before the camera.
const PEOPLE: [(&str, &[&str]); 4] = [
    ("person_a_2.jpg", &["person_a_1.jpg", "person_a_2.jpg"]),
    ("person_b_2.jpg", &["person_b_1.jpg", "person_b_2.jpg"]),
    ("impostor_1.jpg", &["impostor_1.jpg"]),
    ("impostor_2.jpg", &["impostor_2.jpg"]),
];
/// Number of people of the ORL set, and each one's photos before the camera.
const ORL: usize = 40;
const ORL_SHOWN: [usize; 2] = [2, 3];
const SIZE: (u32, u32) = (1280, 720);
/// Minimum and maximum width of a face in a frame.
const WIDTHS: (f32, f32) = (60.0, 300.0);
/// Number of different backgrounds.
const BACKGROUNDS: usize = 8;
/// Maximum noise of a pixel, in grey levels.
const NOISE: u64 = 4;

/// A person before the camera.
pub struct Visit {
    /// The person's number on the roster.
    pub person: usize,
    pub frames: [Picture; 2],
    /// Middle and width of the face in each frame, in pixels.
    pub places: [((f32, f32), f32); 2],
}

impl Visit {
    /// Returns whether a box in a frame is that of the face. The background has no other one.
    pub fn holds(&self, frame: usize, &[x, y, w, h]: &[f32; 4]) -> bool {
        let ((x0, y0), width) = self.places[frame];
        let apart = (x + w / 2.0 - x0).hypot(y + h / 2.0 - y0);
        apart < width / 2.0 && w < 2.0 * width && width < 2.0 * w
    }
}

/// A part of a photo with a face.
struct Head {
    person: usize,
    picture: RgbImage,
    /// Width of the face in the picture, and its middle.
    face: f32,
    middle: (f32, f32),
}

/// The people on the roster.
pub struct People {
    pub templates: Vec<Template>,
    heads: Vec<Head>,
}

impl People {
    /// Reads the photos at hand, and those of the ORL set where `GATEHOUSE_TEST_FACES` names it.
    pub fn new(vision: &Vision, photos: &Path) -> anyhow::Result<People> {
        let mut people = People { templates: Vec::new(), heads: Vec::new() };
        for (enrolled, shown) in PEOPLE {
            let shown: Vec<_> = shown.iter().map(|name| photos.join(name)).collect();
            people.add(vision, &photos.join(enrolled), &shown)?;
        }
        match std::env::var_os("GATEHOUSE_TEST_FACES").map(PathBuf::from) {
            None => println!("GATEHOUSE_TEST_FACES is not set: only {} people", PEOPLE.len()),
            Some(faces) => {
                for person in 1..=ORL {
                    let photo = |n: usize| faces.join(format!("s{person}/{n}.pgm"));
                    people.add(vision, &photo(1), &ORL_SHOWN.map(photo))?;
                }
            }
        }
        Ok(people)
    }

    /// Adds a person. A photo without a face is left out.
    fn add(&mut self, vision: &Vision, enrolled: &Path, shown: &[PathBuf]) -> anyhow::Result<()> {
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("{} (models/fetch)", path.display()))
        };
        let limits = FaceLimits { min_face_px: 1.0, min_sharpness: 0.0, ..FaceLimits::default() };
        let Ok(face) = vision.face_for_enrolment(&read(enrolled)?, &limits) else { return Ok(()) };
        let person = self.templates.len();
        self.templates.push(face.template);
        for photo in shown {
            let image = vision::decode(&read(photo)?)?;
            let faces = vision.detect(&image, 320)?;
            let Some(face) = faces.first() else { continue };
            self.heads.push(Head::cut(person, &image, face.bbox)?);
        }
        Ok(())
    }

    /// Returns visits of people in turn, in faces of all widths.
    pub fn visits(&self, count: usize, dice: &mut Dice) -> anyhow::Result<Vec<Visit>> {
        let backgrounds: Vec<_> = (0..BACKGROUNDS).map(|_| background(dice)).collect();
        let visit = |n: usize| {
            // The first heads, which have more pixels, come in every second frame.
            let sharp = PEOPLE.iter().map(|(_, shown)| shown.len()).sum::<usize>();
            let rest = self.heads.len() - sharp;
            let at = if n.is_multiple_of(2) || rest == 0 {
                n / 2 % sharp
            } else {
                sharp + n / 2 * 7 % rest
            };
            let head = &self.heads[at];
            let part = (n as f32 + 0.5) / count as f32;
            let width = WIDTHS.0 + (WIDTHS.1 - WIDTHS.0) * part;
            let (w, h) = (SIZE.0 as f32, SIZE.1 as f32);
            let room = (0.62 * width, 0.78 * width);
            let x = room.0 + dice.part() * (w - 2.0 * room.0);
            let y = room.1 + dice.part() * (h - 2.0 * room.1);
            let background = &backgrounds[n % BACKGROUNDS];
            let moved = (x + (dice.part() - 0.5) * 24.0, y + (dice.part() - 0.5) * 16.0);
            let grown = width * (1.0 + 0.04 * dice.part());
            let frames = [
                frame(background, head, width, (x, y), dice)?,
                frame(background, head, grown, moved, dice)?,
            ];
            let places = [((x, y), width), (moved, grown)];
            Ok(Visit { person: head.person, frames, places })
        };
        (0..count).map(visit).collect()
    }
}

impl Head {
    fn cut(person: usize, image: &Image, face: Rect) -> anyhow::Result<Head> {
        let picture = RgbImage::from_raw(image.width(), image.height(), image.rgb().to_vec());
        let picture = picture.context("the photo's pixels")?;
        let middle = (face.x + face.w / 2.0, face.y + face.h / 2.0);
        let reach = 1.1 * face.h;
        let (left, top) = ((middle.0 - reach).max(0.0), (middle.1 - reach).max(0.0));
        let right = (middle.0 + reach).min(image.width() as f32);
        let bottom = (middle.1 + reach).min(image.height() as f32);
        let (w, h) = ((right - left) as u32, (bottom - top) as u32);
        let part = imageops::crop_imm(&picture, left as u32, top as u32, w, h).to_image();
        // A larger face than in any frame only costs time.
        let scale = (WIDTHS.1 / face.w).min(1.0);
        let (w, h) = ((w as f32 * scale) as u32, (h as f32 * scale) as u32);
        let picture = imageops::resize(&part, w.max(1), h.max(1), FilterType::Triangle);
        let middle = ((middle.0 - left) * scale, (middle.1 - top) * scale);
        Ok(Head { person, picture, face: face.w * scale, middle })
    }
}

/// Draws a rough background: light from one side, soft patches and a fence.
fn background(dice: &mut Dice) -> RgbImage {
    let (across, down) = (17, 11);
    let patches = RgbImage::from_fn(across, down, |_, _| {
        let light = 70 + dice.below(120) as u8;
        let tint = dice.below(24) as u8;
        image::Rgb([light, light.saturating_sub(tint / 2), light.saturating_sub(tint)])
    });
    let mut soft = imageops::resize(&patches, SIZE.0, SIZE.1, FilterType::CatmullRom);
    let bar = 24 + dice.below(60) as u32;
    for (x, y, pixel) in soft.enumerate_pixels_mut() {
        if x % bar < 4 && y > 300 {
            pixel.0 = pixel.0.map(|value| value / 2);
        }
    }
    soft
}

/// Returns the frame with this head before the background. The edge of the head is smooth.
fn frame(
    background: &RgbImage,
    head: &Head,
    width: f32,
    (x, y): (f32, f32),
    dice: &mut Dice,
) -> anyhow::Result<Picture> {
    let scale = width / head.face;
    let size = |side: u32| ((side as f32 * scale) as u32).max(1);
    let (w, h) = (size(head.picture.width()), size(head.picture.height()));
    let scaled = imageops::resize(&head.picture, w, h, FilterType::CatmullRom);
    let middle = (head.middle.0 * scale, head.middle.1 * scale);
    let (left, top) = ((x - middle.0) as i64, (y - middle.1) as i64);
    let mut scene = background.clone();
    for (i, j, pixel) in scaled.enumerate_pixels() {
        let (px, py) = (left + i64::from(i), top + i64::from(j));
        if !(0..i64::from(SIZE.0)).contains(&px) || !(0..i64::from(SIZE.1)).contains(&py) {
            continue;
        }
        // 0 in the middle of the face, and 1 at the edge of the photo on this side.
        let along = |at: f32, middle: f32, end: f32| {
            let reach = if at < middle { middle } else { end - middle };
            (at - middle) / reach.max(1.0)
        };
        let (dx, dy) = (along(i as f32, middle.0, w as f32), along(j as f32, middle.1, h as f32));
        let edge = ((1.0 - dx.hypot(dy)) / 0.2).clamp(0.0, 1.0);
        let part = edge * edge * (3.0 - 2.0 * edge);
        let under = scene.get_pixel_mut(px as u32, py as u32);
        for (under, over) in under.0.iter_mut().zip(pixel.0) {
            *under = (f32::from(*under) * (1.0 - part) + f32::from(over) * part) as u8;
        }
    }
    for sample in scene.iter_mut() {
        let noise = dice.below(2 * NOISE + 1) as i16 - NOISE as i16;
        *sample = (i16::from(*sample) + noise).clamp(0, 255) as u8;
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 85).encode_image(&scene)?;
    Ok(Picture::Encoded(Arc::from(jpeg)))
}

/// Random numbers by xorshift64*, the same in each run.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Dice {
        Dice(0x9E37_79B9_7F4A_7C15)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    /// Returns a number from 0 to below 1.
    fn part(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 24) as f32
    }

    /// Returns a number of the normal distribution (Box and Muller).
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        radius * (2.0 * PI * self.part()).cos()
    }

    /// Returns a unit vector in a random direction.
    pub fn template(&mut self) -> Template {
        let numbers: Vec<f32> = (0..TEMPLATE_LEN).map(|_| self.normal()).collect();
        unit(&numbers)
    }

    /// Returns a template of the same person as another one: a cosine near 0.6.
    pub fn near(&mut self, template: &Template) -> Template {
        let other = self.template();
        let both = template.as_slice().iter().zip(other.as_slice());
        unit(&both.map(|(a, b)| 0.6 * a + 0.8 * b).collect::<Vec<_>>())
    }
}

fn unit(numbers: &[f32]) -> Template {
    let length = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit: Vec<f32> = numbers.iter().map(|x| x / length).collect();
    Template::from_slice(&unit).unwrap_or_else(|_| unreachable!("a unit vector"))
}
