//! Compares the vision with OpenCV: the same photos and models must give the same figures. This is
//! a separate program, because `cross/test` builds it for ARM without the features of the other
//! tests.
//!
//! The tests need the models and photos that `models/fetch` downloads, and fail without them. A
//! test that skips itself would prove nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end here")]

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use gatehouse::camera::{Layout, Picture, Yuv};
use gatehouse::config::{FaceLimits, ModelFiles};
use gatehouse::gate::vision_pool::GATE_LONGEST_SIDE;
use gatehouse::vision::{
    self, Face, Image, ModelError, PhotoError, Quality, TEMPLATE_LEN, Template, View, Vision,
    VisionError,
};
use serde::Deserialize;

fn at_least(min_face_px: f32) -> FaceLimits {
    FaceLimits { min_face_px, ..FaceLimits::default() }
}

/// Longest side at which OpenCV searched the photos, in pixels.
const LONGEST_SIDE: u32 = 640;

#[derive(Deserialize)]
struct Reference {
    photos: Vec<Photo>,
    cosine: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Photo {
    file: String,
    width: u32,
    height: u32,
    score: f32,
    box_xywh: [f32; 4],
    landmarks: [[f32; 2]; 5],
    template: Vec<f32>,
}

fn reference() -> Reference {
    let reference: Reference = serde_json::from_str(include_str!("integration/data/faces.json"))
        .expect("tests/integration/data/faces.json");
    assert_eq!(reference.photos.len(), 6);
    reference
}

fn models_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// Returns the models, which are loaded once for all tests of this file.
fn vision() -> &'static Vision {
    static VISION: OnceLock<Vision> = OnceLock::new();
    VISION.get_or_init(|| {
        Vision::load(&ModelFiles::in_dir(&models_dir()))
            .unwrap_or_else(|error| panic!("run models/fetch first: {error}"))
    })
}

fn photo(file: &str) -> Vec<u8> {
    let path = models_dir().join("photos").join(file);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("run models/fetch first: {}: {error}", path.display()))
}

/// Returns the only face in a photo, and its template.
fn only_face(file: &str) -> (Image, Face, Template) {
    let image = vision::decode(&photo(file)).unwrap();
    let mut faces = vision().detect(&image, LONGEST_SIDE).unwrap();
    assert_eq!(faces.len(), 1, "{file}: {faces:?}");
    let face = faces.remove(0);
    let template = vision().embed(&image, &face).unwrap();
    (image, face, template)
}

fn png(image: &Image) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image::RgbImage::from_raw(image.width(), image.height(), image.rgb().to_vec())
        .unwrap()
        .write_to(&mut out, image::ImageFormat::Png)
        .unwrap();
    out.into_inner()
}

#[test]
fn boxes_and_landmarks_equal_those_of_opencv() {
    for expected in reference().photos {
        let (image, face, _) = only_face(&expected.file);
        assert_eq!((image.width(), image.height()), (expected.width, expected.height));
        assert!((face.score - expected.score).abs() < 0.02, "{}: {face:?}", expected.file);
        let tolerance = 0.02 * expected.box_xywh[2];
        let b = face.bbox;
        let found = [b.x, b.y, b.w, b.h].into_iter().chain(face.landmarks.into_iter().flatten());
        let wanted = expected.box_xywh.into_iter().chain(expected.landmarks.into_iter().flatten());
        for (found, wanted) in found.zip(wanted) {
            assert!(
                (found - wanted).abs() <= tolerance,
                "{}: {found}, but OpenCV has {wanted}, {face:?}",
                expected.file
            );
        }
    }
}

fn assert_template_of_opencv(expected: &Photo) {
    assert_eq!(expected.template.len(), TEMPLATE_LEN);
    let opencv = Template::from_slice(&expected.template).unwrap();
    let cosine = only_face(&expected.file).2.cosine(&opencv);
    assert!(cosine >= 0.99, "{}: {cosine}", expected.file);
}

/// A separate test for `cross/test`, because an emulator needs a minute for each photo.
#[test]
fn the_first_template_equals_that_of_opencv() {
    assert_template_of_opencv(&reference().photos[0]);
}

#[test]
fn templates_equal_those_of_opencv() {
    reference().photos.iter().skip(1).for_each(assert_template_of_opencv);
}

#[test]
fn similarities_equal_those_of_opencv() {
    let reference = reference();
    let templates: Vec<Template> =
        reference.photos.iter().map(|photo| only_face(&photo.file).2).collect();
    assert_eq!(reference.cosine.len(), templates.len());
    for (i, row) in reference.cosine.iter().enumerate() {
        assert_eq!(row.len(), templates.len());
        for (j, wanted) in row.iter().enumerate() {
            let found = templates[i].cosine(&templates[j]);
            assert!(
                (found - wanted).abs() <= 0.02,
                "{} and {}: {found}, but OpenCV has {wanted}",
                reference.photos[i].file,
                reference.photos[j].file
            );
        }
    }
}

#[test]
fn a_face_is_found_at_the_image_size_of_the_gate_too() {
    for expected in reference().photos {
        let (image, _, template) = only_face(&expected.file);
        let faces = vision().detect(&image, 320).unwrap();
        assert_eq!(faces.len(), 1, "{}", expected.file);
        let cosine = vision().embed(&image, &faces[0]).unwrap().cosine(&template);
        assert!(cosine > 0.9, "{}: {cosine}", expected.file);
    }
}

#[test]
fn a_good_photo_enrols() {
    let found = vision().face_for_enrolment(&photo("person_b_1.jpg"), &at_least(100.0)).unwrap();
    let (image, face, template) = (found.image, found.face, found.template);
    assert_eq!(found.turned, 0);
    assert_eq!((image.width(), image.height()), (716, 900));
    assert!(face.bbox.w > 250.0);
    assert!(template.cosine(&only_face("person_b_2.jpg").2) > 0.7);
    assert_eq!(vision().embedder_name(), "sface_2021dec");
}

#[test]
fn a_face_that_fills_the_photo_enrols() {
    let (image, face, template) = only_face("person_b_1.jpg");
    let (x, y) = (face.bbox.x.max(0.0) as u32, face.bbox.y.max(0.0) as u32);
    let (w, h) = (face.bbox.w as u32, face.bbox.h as u32);
    let whole =
        image::RgbImage::from_raw(image.width(), image.height(), image.rgb().to_vec()).unwrap();
    let crop = image::imageops::crop_imm(&whole, x, y, w, h).to_image();
    let large = image::imageops::resize(&crop, w * 6, h * 6, image::imageops::FilterType::Triangle);
    let photo = png(&Image::from_rgb(w * 6, h * 6, large.into_raw()).unwrap());
    let close = vision().face_for_enrolment(&photo, &at_least(100.0)).unwrap().template;
    assert!(close.cosine(&template) > 0.7, "{}", close.cosine(&template));
}

#[test]
fn a_photo_without_a_face_is_refused() {
    let grey = png(&Image::from_rgb(320, 240, vec![128; 320 * 240 * 3]).unwrap());
    let error = vision().face_for_enrolment(&grey, &at_least(48.0)).unwrap_err();
    assert!(matches!(error, PhotoError::NoFace), "{error}");
}

#[test]
fn a_photo_of_two_people_is_refused() {
    let left = vision::decode(&photo("person_b_1.jpg")).unwrap();
    let right = vision::decode(&photo("impostor_1.jpg")).unwrap();
    let height = left.height().max(right.height());
    let mut both = image::RgbImage::new(left.width() + right.width(), height);
    for (image, x) in [(&left, 0), (&right, left.width())] {
        let pixels = image::RgbImage::from_raw(image.width(), image.height(), image.rgb().to_vec());
        image::imageops::replace(&mut both, &pixels.unwrap(), i64::from(x), 0);
    }
    let both = Image::from_rgb(both.width(), height, both.into_raw()).unwrap();
    let error = vision().face_for_enrolment(&png(&both), &at_least(48.0)).unwrap_err();
    assert!(matches!(error, PhotoError::SeveralFaces { count: 2 }), "{error}");
}

#[test]
fn a_photo_with_a_small_face_is_refused() {
    let error =
        vision().face_for_enrolment(&photo("person_a_1.jpg"), &at_least(100.0)).unwrap_err();
    let PhotoError::FaceTooSmall { width_px, min_px } = error else {
        panic!("{error}");
    };
    assert!((70.0..78.0).contains(&width_px), "{width_px}");
    assert_eq!(min_px, 100.0);
}

#[test]
fn a_file_that_is_no_photo_is_refused_with_a_remedy() {
    let error = vision().face_for_enrolment(b"%PDF-1.7", &at_least(48.0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The photo cannot be read: it is a PDF document. Take the photo out of it and save it as a \
         JPEG."
    );
}

#[test]
fn an_unreasonable_search_size_is_an_error() {
    let image = Image::from_rgb(8, 8, vec![0; 192]).unwrap();
    for asked in [0, 31, 1_000_000] {
        let error = vision().detect(&image, asked).unwrap_err();
        assert!(matches!(error, VisionError::LongestSide { .. }), "{error}");
    }
    assert_eq!(vision().detect(&image, 320).unwrap(), vec![]);
}

#[test]
fn landmarks_that_are_no_face_are_an_error() {
    let (image, mut face, _) = only_face("person_a_1.jpg");
    face.landmarks = [[5.0, 5.0]; 5];
    assert!(matches!(vision().embed(&image, &face), Err(VisionError::Landmarks)));
}

#[test]
fn more_sizes_than_the_cache_holds_work_from_several_threads() {
    std::thread::scope(|scope| {
        for thread in 0..2u32 {
            scope.spawn(move || {
                for step in 0..10 {
                    let side = 32 * (1 + (step + thread) % 10);
                    let image =
                        Image::from_rgb(side, 32, vec![90; (side * 32 * 3) as usize]).unwrap();
                    assert_eq!(vision().detect(&image, 640).unwrap(), vec![]);
                }
            });
        }
    });
}

#[test]
fn an_altered_or_missing_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let copies = ModelFiles::in_dir(dir.path());
    let load = || Vision::load(&copies).err().expect("must not load");

    let error = load();
    assert!(matches!(&error, ModelError::Missing { path } if *path == copies.detector), "{error}");
    assert!(error.to_string().contains("models/fetch"), "{error}");

    let originals = ModelFiles::in_dir(&models_dir());
    std::fs::copy(&originals.detector, &copies.detector).expect("run models/fetch first");
    let mut embedder = std::fs::read(&originals.embedder).expect("run models/fetch first");
    let middle = embedder.len() / 2;
    embedder[middle] ^= 1;
    std::fs::write(&copies.embedder, embedder).unwrap();
    let error = load();
    let ModelError::Altered { path, expected, found } = &error else {
        panic!("{error}");
    };
    assert_eq!(*path, copies.embedder);
    assert_ne!(expected, found);
    assert!(error.to_string().contains(found.as_str()), "{error}");
}

/// Returns a 720p frame with a photo in the middle, whose face is this many pixels wide.
fn at_a_gate(of: &Photo, face_px: f32) -> image::RgbImage {
    let scaled = |side: u32| (side as f32 * face_px / of.box_xywh[2]) as u32;
    let (w, h) = (scaled(of.width), scaled(of.height));
    let photo = image::load_from_memory(&photo(&of.file)).unwrap();
    let photo = photo.resize_exact(w, h, image::imageops::FilterType::Triangle).to_rgb8();
    let mut frame = image::RgbImage::from_pixel(1280, 720, image::Rgb([96, 100, 104]));
    let (x, y) = ((1280 - i64::from(w)) / 2 + 7, (720 - i64::from(h)) / 2 + 3);
    image::imageops::replace(&mut frame, &photo, x, y);
    frame
}

fn as_jpeg(frame: &image::RgbImage) -> Picture {
    let mut out = Cursor::new(Vec::new());
    frame.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
    Picture::Encoded(out.into_inner().into())
}

/// Converts to YUV by BT.601 in the video range.
fn as_yuv(frame: &image::RgbImage, layout: Layout) -> Picture {
    let (width, height) = frame.dimensions();
    let yuv = |x: u32, y: u32| {
        let [r, g, b] = frame.get_pixel(x, y).0.map(f32::from);
        [
            16.0 + 0.257 * r + 0.504 * g + 0.098 * b,
            128.0 - 0.148 * r - 0.291 * g + 0.439 * b,
            128.0 + 0.439 * r - 0.368 * g - 0.071 * b,
        ]
        .map(|v| v.round() as u8)
    };
    let all = |every: u32, part: usize| {
        let rows = (0..height).step_by(every as usize);
        rows.flat_map(move |y| (0..width).step_by(every as usize).map(move |x| yuv(x, y)[part]))
    };
    let data = match layout {
        Layout::I420 => all(1, 0).chain(all(2, 1)).chain(all(2, 2)).collect(),
        Layout::Yuyv => (0..height)
            .flat_map(|y| (0..width).step_by(2).map(move |x| (x, y)))
            .flat_map(|(x, y)| {
                let [luma, u, v] = yuv(x, y);
                [luma, u, yuv(x + 1, y)[0], v]
            })
            .collect(),
    };
    Picture::Raw(Arc::new(Yuv { width, height, layout, data }))
}

/// Returns the only face, its quality and its template, found as the gate finds them.
fn at_reduced_scale(picture: &Picture) -> (Face, Quality, Template) {
    let view = View::new(picture).unwrap();
    let small = view.for_detection(GATE_LONGEST_SIDE).unwrap();
    let mut faces = vision().detect(small.image(), GATE_LONGEST_SIDE).unwrap();
    assert_eq!(faces.len(), 1, "{faces:?}");
    let face = small.in_frame(faces.remove(0));
    let cut_out = view.for_face(&face, small).unwrap().cut_out(&face).unwrap();
    let quality = vision::assess(&face, &cut_out, &FaceLimits::default());
    (face, quality, vision().embed_aligned(cut_out).unwrap())
}

fn at_full_scale(picture: &Picture) -> (Face, Template) {
    let image = match picture {
        Picture::Encoded(bytes) => vision::decode_frame(bytes).unwrap(),
        Picture::Raw(yuv) => {
            let view = View::new(picture).unwrap();
            let image = view.for_detection(yuv.width.max(yuv.height)).unwrap().image().clone();
            assert_eq!((image.width(), image.height()), (yuv.width, yuv.height));
            image
        }
    };
    let faces = vision().detect(&image, GATE_LONGEST_SIDE).unwrap();
    let template = vision().embed(&image, &faces[0]).unwrap();
    (faces[0].clone(), template)
}

/// Each pair of photos must match or not match at the gate's usual threshold, as it does at full
/// scale.
#[test]
fn a_face_at_reduced_scale_has_the_same_template_and_is_recognised_alike() {
    let reference = reference();
    for (i, photo) in reference.photos.iter().enumerate() {
        // Detected at a quarter of the scale; embedded at full scale, at full scale, and at a half.
        for face_px in [75.0, 150.0, 290.0] {
            let frame = at_a_gate(photo, face_px);
            let mut pictures = vec![as_jpeg(&frame)];
            if i == 2 && face_px == 150.0 {
                pictures.extend([Layout::I420, Layout::Yuyv].map(|layout| as_yuv(&frame, layout)));
            }
            for picture in pictures {
                let (face, quality, template) = at_reduced_scale(&picture);
                let (whole_face, whole) = at_full_scale(&picture);
                let what = format!("{} at {face_px}: {face:?}, {whole_face:?}", photo.file);
                assert_eq!(quality.flaw, None, "{what}");
                assert!((face.bbox.w - whole_face.bbox.w).abs() < 0.02 * face.bbox.w, "{what}");
                let cosine = template.cosine(&whole);
                assert!(cosine >= 0.97, "{what}: {cosine}");
                for (other, expected) in reference.photos.iter().zip(&reference.cosine[i]) {
                    let likeness = template.cosine(&Template::from_slice(&other.template).unwrap());
                    assert_eq!(likeness >= 0.5, *expected >= 0.5, "{what}, {}", other.file);
                }
            }
        }
    }
}
