//! A simulated camera: multipart MJPEG over HTTP on the loopback interface, 1280x720, with the
//! noise of a sensor. The bench sets which person it shows.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use image::RgbImage;

use super::super::{before, jpeg};
use crate::clock::{Clock, Monotonic};

/// Number of different frames of a scene. They differ by noise, as those of a sensor do.
const VARIANTS: usize = 6;
/// Maximum noise of a pixel, in grey levels.
const NOISE: i16 = 3;

/// Encoded frames of each scene: without a person, and with each person.
pub(super) struct Scenes {
    frames_without_person: Vec<Vec<u8>>,
    people: Vec<Vec<Vec<u8>>>,
}

impl Scenes {
    /// Makes the scenes. `photos`: one of each person.
    pub(super) fn new(photos: &[Vec<u8>]) -> anyhow::Result<Scenes> {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let empty = site();
        let frames_without_person = variants(&empty, &mut dice)?;
        let mut person = |photo| variants(&before(empty.clone(), photo, 120)?, &mut dice);
        let people = photos.iter().map(|photo| person(photo));
        Ok(Scenes { frames_without_person, people: people.collect::<Result<_, _>>()? })
    }

    fn frame(&self, person: Option<usize>, n: usize) -> &[u8] {
        let frames = person.and_then(|p| self.people.get(p)).unwrap_or(&self.frames_without_person);
        frames.get(n % VARIANTS).map_or(&[], Vec::as_slice)
    }
}

/// Draws a rough background: a fence, a path and sky.
fn site() -> RgbImage {
    RgbImage::from_fn(1280, 720, |x, y| {
        let fence = if y > 260 && x % 64 < 6 { 40 } else { 0 };
        let light = (190 - y / 6 - fence) as u8;
        image::Rgb([light, light.saturating_sub(6), light.saturating_sub(14)])
    })
}

fn variants(scene: &RgbImage, dice: &mut Dice) -> anyhow::Result<Vec<Vec<u8>>> {
    let frames = (0..VARIANTS).map(|_| {
        let mut noisy = scene.clone();
        for sample in noisy.iter_mut() {
            let noise = dice.below(2 * NOISE as u64 + 1) as i16 - NOISE;
            *sample = (i16::from(*sample) + noise).clamp(0, 255) as u8;
        }
        jpeg(&noisy, 80)
    });
    frames.collect()
}

/// Random numbers by xorshift64*, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

/// The person before the camera, and the time when the first frame of this person had been sent.
#[derive(Default)]
struct Shown {
    person: Option<usize>,
    since: Option<Monotonic>,
}

/// The camera. Its thread ends when this value is dropped, after the next frame to a client.
pub(super) struct BenchCamera {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    shown: Mutex<Shown>,
    stop: AtomicBool,
    scenes: Arc<Scenes>,
    period: Duration,
    clock: Arc<dyn Clock>,
}

impl BenchCamera {
    pub(super) fn start(
        scenes: Arc<Scenes>,
        fps: f32,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<BenchCamera> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let period = Duration::from_secs_f32(1.0 / fps);
        let (shown, stop) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { shown, stop, scenes, period, clock });
        let served = shared.clone();
        let thread =
            std::thread::Builder::new().name("bench camera".to_owned()).spawn(move || {
                for client in listener.incoming() {
                    if served.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // An error of a client ends only this connection.
                    let _ = client.map(|client| served.serve(client));
                }
            })?;
        Ok(BenchCamera { address, shared, thread: Some(thread) })
    }

    /// Sets the person before the camera, or none.
    pub(super) fn show(&self, person: Option<usize>) {
        *self.shared.lock() = Shown { person, since: None };
    }

    /// Returns when the first frame of the person had been sent.
    pub(super) fn shown_since(&self) -> Option<Monotonic> {
        self.shared.lock().since
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut head = BufReader::new(client.try_clone()?).lines();
        while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        client.set_nodelay(true)?;
        client.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n",
        )?;
        let mut due = self.clock.monotonic();
        for n in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let person = self.lock().person;
            let frame = self.scenes.frame(person, n);
            let length = frame.len();
            let part = "--frame\r\nContent-Type: image/jpeg\r\nContent-Length:";
            let mut bytes = format!("{part} {length}\r\n\r\n").into_bytes();
            bytes.extend_from_slice(frame);
            bytes.extend_from_slice(b"\r\n");
            client.write_all(&bytes)?;
            let now = self.clock.monotonic();
            let mut shown = self.lock();
            if person.is_some() && shown.person == person {
                shown.since.get_or_insert(now);
            }
            drop(shown);
            due = (due + self.period).max(now);
            std::thread::sleep(due - now);
        }
        Ok(())
    }
}

impl Drop for BenchCamera {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // A connection wakes the thread if it waits for a client.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
