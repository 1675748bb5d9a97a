//! Network cameras from other projects: ffmpeg serves Motion JPEG over HTTP, GStreamer serves H.264
//! over RTSP. Both show the same film: a photo in a 720p frame, which moves a little.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use image::{RgbImage, imageops};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{camera::photo, process::ends_with_test};

/// Makes a folder of frames: f00000.jpg, f00001.jpg and so on.
pub fn film(photo_name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let photo = image::load_from_memory(&photo(photo_name)).unwrap();
    let photo = photo.resize(1200, 700, imageops::Triangle).to_rgb8();
    for n in 0..10_u32 {
        let mut frame = RgbImage::from_pixel(1280, 720, image::Rgb([96, 96, 96]));
        let left = (1280 - photo.width()) / 2 + n;
        imageops::replace(&mut frame, &photo, left.into(), (n / 2).into());
        let file = std::fs::File::create(dir.path().join(format!("f{n:05}.jpg"))).unwrap();
        image::codecs::jpeg::JpegEncoder::new_with_quality(file, 85).encode_image(&frame).unwrap();
    }
    dir
}

/// The test photos, each with the middle and the width of its face in pixels.
const FACES: [(&str, (f32, f32), f32); 6] = [
    ("person_a_1.jpg", (100.7, 99.2), 73.8),
    ("person_a_2.jpg", (360.2, 374.9), 314.2),
    ("person_b_1.jpg", (358.7, 345.7), 285.1),
    ("person_b_2.jpg", (348.9, 332.1), 284.3),
    ("impostor_1.jpg", (342.3, 329.0), 240.3),
    ("impostor_2.jpg", (376.8, 384.0), 278.7),
];

/// Returns a 720p frame with these photos: the place of the face's middle, and the face's width in
/// pixels. A later photo is in front of an earlier one.
pub fn scene(people: &[(&str, (i64, i64), f32)]) -> RgbImage {
    let mut frame = RgbImage::from_fn(1280, 720, |x, y| {
        image::Rgb([(70 + x / 16) as u8, (70 + y / 16) as u8, 96])
    });
    for (name, (x, y), width) in people {
        let known = FACES.iter().find(|(known, ..)| known == name);
        let (_, middle, face) = known.unwrap_or_else(|| panic!("{name} is not measured"));
        let scale = width / face;
        let one = image::load_from_memory(&photo(name)).unwrap().to_rgb8();
        let side = |side: u32| (side as f32 * scale) as u32;
        let (w, h) = (side(one.width()), side(one.height()));
        let one = imageops::resize(&one, w, h, imageops::FilterType::Triangle);
        let corner = |at: &i64, middle: f32| at - (middle * scale) as i64;
        imageops::replace(&mut frame, &one, corner(x, middle.0), corner(y, middle.1));
    }
    frame
}

/// Returns a poster with twenty faces of strangers, for the background of a scene.
pub fn poster() -> Vec<(&'static str, (i64, i64), f32)> {
    let place = |n: i64| (90 + n % 7 * 180, 110 + n / 7 * 240);
    let one = |n: i64| (["impostor_1.jpg", "impostor_2.jpg"][n as usize % 2], place(n), 62.0);
    (0..20).map(one).collect()
}

/// A process that is killed when this value is dropped.
struct Ends(Child);

impl Ends {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// ffmpeg as a camera. It serves one client and ends; then a thread starts it again.
pub struct Mjpeg {
    serving: Arc<Mutex<Option<Ends>>>,
    over: Arc<AtomicBool>,
    again: Option<JoinHandle<()>>,
}

impl Mjpeg {
    /// Starts it at `http://127.0.0.1:PORT/cam.mjpg`.
    pub fn start(film: &Path, port: u16) -> Self {
        let ffmpeg = {
            let frames = film.join("f%05d.jpg");
            let url = format!("http://127.0.0.1:{port}/cam.mjpg");
            move || {
                let options = "-nostdin -v error -re -stream_loop -1 -framerate 10 -i";
                let served = "-c copy -f mpjpeg -boundary_tag frame -content_type \
                              multipart/x-mixed-replace;boundary=frame -listen 1";
                let mut command = Command::new("ffmpeg");
                command
                    .args(options.split_whitespace())
                    .arg(&frames)
                    .args(served.split_whitespace())
                    .arg(&url)
                    .stderr(Stdio::null());
                let child = ends_with_test(&mut command)
                    .spawn()
                    .unwrap_or_else(|e| panic!("cannot run ffmpeg: {e}; run tests/run"));
                Some(Ends(child))
            }
        };
        let serving = Arc::new(Mutex::new(ffmpeg()));
        let over = Arc::new(AtomicBool::new(false));
        let again = {
            let (serving, over) = (serving.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut serving = serving.lock().unwrap();
                    if serving.as_mut().is_some_and(|s| s.0.try_wait().unwrap().is_some()) {
                        *serving = ffmpeg();
                    }
                    drop(serving);
                    std::thread::sleep(Duration::from_millis(50));
                }
            })
        };
        Self { serving, over, again: Some(again) }
    }

    /// Sends a signal to ffmpeg, for example to freeze it or to let it continue.
    pub fn signal(&self, signal: Signal) {
        self.serving.lock().unwrap().as_ref().unwrap().signal(signal);
    }
}

impl Drop for Mjpeg {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.again.take().map(JoinHandle::join);
        self.serving.lock().unwrap().take();
    }
}

/// A script of `tests/peers`, run by the system's Python, which has the bindings of GStreamer.
pub struct Script {
    process: Ends,
    said: BufReader<ChildStdout>,
    /// The port where it listens.
    pub port: u16,
}

impl Script {
    /// Starts a server at `rtsp://127.0.0.1:PORT/cam`. `login` is empty, or `basic` or `digest`
    /// with a user and a password, or `udp`.
    pub fn rtsp(film: &Path, port: u16, login: &[&str]) -> Self {
        let port = port.to_string();
        let arguments = [&[film.to_str().unwrap(), &port], login].concat();
        Self::start("rtsp_server.py", &arguments)
    }

    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(scripts.join(name)).args(arguments).stdout(Stdio::piped());
        let mut child = ends_with_test(&mut command)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run /usr/bin/python3: {e}; run tests/run"));
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut script = Self { process: Ends(child), said, port: 0 };
        let ready = script.line();
        let port = ready.strip_prefix("ready ").and_then(|port| port.parse().ok());
        script.port = port.unwrap_or_else(|| panic!("{name} says {ready:?}; run tests/run"));
        script
    }

    /// Returns its next line of output, or nothing where it has ended.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Sends a signal to the script.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }
}
