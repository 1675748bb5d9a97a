//! A camera that shows what the test chooses: JPEG frames in a named pipe, at a camera's pace.

use std::{
    fs::{File, OpenOptions},
    io::{Cursor, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use image::{RgbImage, imageops};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Interval between two frames.
const PERIOD: Duration = Duration::from_millis(100);

/// Returns the bytes of one of the test photos.
pub fn photo(name: &str) -> Vec<u8> {
    let path = photo_path(name);
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run tests/run or models/fetch", path.display()))
}

pub fn photo_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/photos").join(name)
}

pub fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// Returns a grey picture, as of a gate with no person before the camera.
pub fn empty() -> RgbImage {
    RgbImage::from_pixel(640, 480, image::Rgb([120, 120, 120]))
}

/// Returns a grey picture with these photos in a row, scaled to this height in pixels.
pub fn group(names: &[&str], height: u32) -> RgbImage {
    let mut picture = empty();
    for (n, name) in names.iter().enumerate() {
        let one = image::load_from_memory(&photo(name)).unwrap().to_rgb8();
        let width = one.width() * height / one.height();
        let one = imageops::resize(&one, width, height, imageops::FilterType::Triangle);
        imageops::replace(&mut picture, &one, (20 + n * 310) as i64, 40);
    }
    picture
}

/// A camera. Dropping this value ends its thread.
pub struct Camera {
    scene: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    /// Creates the pipe and shows an empty gate.
    pub fn plug_in(path: &Path) -> Self {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let scene = Arc::new(Mutex::new(jpeg(&empty())));
        let stop = Arc::new(AtomicBool::new(false));
        let (shown, stopped, pipe) = (scene.clone(), stop.clone(), path.to_owned());
        let thread = std::thread::spawn(move || {
            let mut file: Option<File> = None;
            while !stopped.load(Ordering::Relaxed) {
                let frame = shown.lock().unwrap().clone();
                file = file.or_else(|| open_for_a_reader(&pipe));
                // A daemon that is killed has not read the whole frame; the rest is lost.
                file = file.filter(|mut file| file.write_all(&frame).is_ok());
                std::thread::sleep(PERIOD);
            }
        });
        Self { scene, stop, thread: Some(thread) }
    }

    /// Shows this picture in every frame from now on.
    pub fn show(&self, jpeg: Vec<u8>) {
        *self.scene.lock().unwrap() = jpeg;
    }

    pub fn show_empty(&self) {
        self.show(jpeg(&empty()));
    }
}

/// Opens the pipe, or returns `None` while it has no reader. A blocking open would not notice a
/// stop.
fn open_for_a_reader(pipe: &Path) -> Option<File> {
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(pipe).ok()?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    Some(file)
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
