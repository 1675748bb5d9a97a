//! Enrolment photos as phones, scanners, programs and failed copies leave them.
//!
//! `peers/photos.py` writes their forms with Pillow, which is another implementation of each format.

use std::{collections::BTreeMap, fs, path::Path, process::Command, sync::OnceLock};

use gatehouse::{
    config::{FaceLimits, ModelFiles},
    vision::{self, PhotoFace, Vision},
};
use image::{DynamicImage, RgbImage, imageops};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    common::{Said, Site, photo_path, slave::python},
    import::plan,
};

fn vision() -> &'static Vision {
    static VISION: OnceLock<Vision> = OnceLock::new();
    VISION.get_or_init(|| {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        Vision::load(&ModelFiles::in_dir(&models)).unwrap()
    })
}

fn enrolled(photo: &[u8]) -> Result<PhotoFace, String> {
    let limits = FaceLimits { min_face_px: 40.0, ..FaceLimits::default() };
    vision().face_for_enrolment(photo, &limits).map_err(|error| error.to_string())
}

/// The forms of one photo, in folders: whole, turned, damaged, others.
struct Forms(TempDir);

impl Forms {
    fn of(photo: &Path) -> Forms {
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/photos.py");
        let done = Command::new(python()).arg(script).arg(photo).arg(dir.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Forms(dir)
    }

    /// Returns the names and bytes of a group.
    fn group(&self, group: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.0.path().join(group)).unwrap().map(Result::unwrap);
        let read = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        };
        let all: BTreeMap<_, _> = entries.map(read).collect();
        assert!(!all.is_empty(), "{group}");
        all
    }

    fn path(&self, form: &str) -> String {
        self.0.path().join(form).to_str().unwrap().to_owned()
    }
}

#[test]
fn a_whole_photo_of_each_format_and_with_something_behind_it_is_read() {
    let forms = Forms::of(&photo_path("person_a_2.jpg"));
    let all = forms.group("whole");
    let plain = enrolled(&all["plain"]).unwrap().template;
    for (form, bytes) in &all {
        let found = enrolled(bytes).unwrap_or_else(|error| panic!("{form}: {error}"));
        let likeness = found.template.cosine(&plain);
        // A palette and a conversion to inks change the colours a little.
        assert!(likeness > 0.9, "{form}: {likeness}");
        assert_eq!(found.turned, 0, "{form}");
    }
}

#[test]
fn a_photo_that_is_cut_off_or_damaged_is_refused_and_the_same_frame_is_not() {
    for photo in ["person_a_2.jpg", "person_b_1.jpg"] {
        let forms = Forms::of(&photo_path(photo));
        for (form, bytes) in forms.group("damaged") {
            let error = enrolled(&bytes).map(drop).expect_err(&form);
            assert!(error.contains("cut off") || error.contains("damaged"), "{form}: {error}");
            assert!(error.contains("Copy the photo again"), "{form}: {error}");
            if bytes.starts_with(b"\xff\xd8") {
                assert!(vision::decode_frame(&bytes).is_ok(), "{form}");
            }
        }
    }
    // The first 30 % of a JPEG of the face set.
    let jpeg = plan::photo(&[(1, 1)]);
    let error = enrolled(&jpeg[..jpeg.len() * 3 / 10]).map(drop).unwrap_err();
    assert!(error.contains("the JPEG is cut off"), "{error}");
    assert_eq!(enrolled(&jpeg).unwrap().turned, 0);
}

#[test]
fn a_picture_of_a_format_that_is_not_read_is_named() {
    let forms = Forms::of(&photo_path("person_a_2.jpg"));
    let named = BTreeMap::from([
        ("gif", "a GIF picture"),
        ("jpeg2000", "a JPEG 2000 picture"),
        ("pdf", "a PDF document"),
    ]);
    for (form, bytes) in forms.group("others") {
        let error = enrolled(&bytes).map(drop).unwrap_err();
        let named = format!("The photo cannot be read: it is {}", named[&*form]);
        assert!(error.starts_with(&named) && error.contains("JPEG."), "{form}: {error}");
    }
}

/// Returns a clockwise turn of the picture.
fn turned(picture: &RgbImage, degrees: u16) -> RgbImage {
    match degrees {
        90 => imageops::rotate90(picture),
        180 => imageops::rotate180(picture),
        270 => imageops::rotate270(picture),
        _ => picture.clone(),
    }
}

/// Returns the picture with this tilt in degrees, on grey.
fn tilted(picture: &RgbImage, degrees: f64) -> RgbImage {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let side = picture.width().max(picture.height()) * 3 / 2;
    let centre = |length: u32| f64::from(length) / 2.0;
    RgbImage::from_fn(side, side, |x, y| {
        let (x, y) = (f64::from(x) - centre(side), f64::from(y) - centre(side));
        let from_x = (cos * x + sin * y + centre(picture.width())).floor();
        let from_y = (cos * y - sin * x + centre(picture.height())).floor();
        let inside = from_x >= 0.0 && from_y >= 0.0;
        let pixel = inside.then(|| picture.get_pixel_checked(from_x as u32, from_y as u32));
        pixel.flatten().copied().unwrap_or(image::Rgb([110; 3]))
    })
}

fn png(picture: RgbImage) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

/// All turns of 400 pictures were measured once; see `vision/turn.rs`. Here each person has one.
#[test]
fn the_upright_turn_of_each_person_s_photo_is_found() {
    for (one, degrees) in plan::faces().take(40).zip([90, 180, 270].into_iter().cycle()) {
        let picture = image::load_from_memory(&plan::photo(&[one])).unwrap().to_rgb8();
        let upright = enrolled(&png(picture.clone())).unwrap();
        assert_eq!(upright.turned, 0, "{one:?}");
        let found = enrolled(&png(turned(&picture, degrees)))
            .unwrap_or_else(|error| panic!("{one:?} turned by {degrees}: {error}"));
        assert_eq!(found.turned, 360 - degrees, "{one:?}");
        let likeness = found.template.cosine(&upright.template);
        assert!(likeness > 0.95, "{one:?} turned by {degrees}: {likeness}");
    }
}

#[test]
fn a_tilted_face_is_enrolled_as_it_is() {
    for (one, degrees) in plan::faces().take(8).zip([-20.0, 20.0].into_iter().cycle()) {
        let picture = image::load_from_memory(&plan::photo(&[one])).unwrap().to_rgb8();
        let found = enrolled(&png(tilted(&picture, degrees)))
            .unwrap_or_else(|error| panic!("{one:?} at {degrees}: {error}"));
        assert_eq!(found.turned, 0, "{one:?} at {degrees}");
    }
}

const A: (&str, &str) = ("W001", "522201199003074411");
const B: (&str, &str) = ("W002", "522201198805112024");

fn enroll(site: &Site, (id, number): (&str, &str), photo: &str, more: &[&str]) -> Said {
    let always = ["worker", "enroll", "--id", id, "--name", "刘峰", "--id-number", number];
    let job = ["--team", "钢筋一班", "--contractor", "Fuding Labour", "--trade", "steel fixer"];
    site.gatehouse(&[more, &always[..], &job, &["--consent", "C-1", "--photo", photo]].concat())
}

#[test]
fn each_way_in_turns_a_photo_says_so_and_enrols_the_person() {
    let site = Site::without_lanes();
    let _daemon = site.start();
    let forms = Forms::of(&photo_path("person_a_2.jpg"));
    let over = forms.path("turned/over_180");
    let said = enroll(&site, A, &over, &[]);
    assert_eq!(said.code, 0, "{said:?}");
    let sentence =
        "over_180: the photo was turned by 180 degrees, because the face was not upright";
    assert!(said.err.contains(sentence), "{said:?}");

    // The same person is recognised on another photo, which is upright.
    let other = photo_path("person_a_1.jpg");
    let twice = enroll(&site, B, other.to_str().unwrap(), &[]);
    assert!(twice.code != 0 && twice.err.contains("already enrolled"), "{twice:?}");

    let lies = forms.path("turned/exif_lies_6");
    let added = site.gatehouse(&["--json", "worker", "photo", A.0, "--add", &lies]);
    let added: Value = added.json_lines().remove(0);
    assert_eq!(added["turned"], json!([{"photo": lies, "degrees": 270}]), "{added}");

    let forms = Forms::of(&photo_path("person_b_1.jpg"));
    fs::create_dir(site.path("photos")).unwrap();
    fs::copy(forms.path("turned/right_90"), site.path("photos/W002.jpg")).unwrap();
    fs::write(site.path("photos/W003.HEIC"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    let head = "id,name,id number,team,contractor,trade,consent";
    let row = |(id, number): (&str, &str)| format!("{id},陈静,{number},S1,Fuding,steel fixer,C-2");
    let (second, third) = (row(B), row(("W003", "35098219920101552X")));
    fs::write(site.path("roster.csv"), format!("{head}\n{second}\n{third}\n")).unwrap();
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let (roster, photos) = (path("roster.csv"), path("photos"));
    let said = site.gatehouse(&["--json", "worker", "import", &roster, "--photos", &photos]);
    assert_eq!(said.code, 1, "{said:?}");
    let rows: Vec<Value> = said.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let reason = rows[0]["reason"].as_str().unwrap();
    assert_eq!(rows[0]["result"], "enrolled", "{rows:?}");
    assert!(
        reason.contains("W002.jpg: the photo was turned to the left by 90 degrees"),
        "{reason}"
    );
    // A worker whose photo cannot be read is not enrolled without a face.
    let reason = rows[1]["reason"].as_str().unwrap();
    assert_eq!(rows[1]["result"], "refused", "{rows:?}");
    assert!(reason.contains("HEIC photo") && reason.contains("Most Compatible"), "{reason}");
}
