//! The vision workers: a fixed pool of threads, shared by all cameras.
//!
//! In: the newest frame of each camera. Out: sightings to the camera's lane. A frame without a
//! face large enough, or one that does not decode or has too many pixels, is counted and
//! forgotten; no frame is kept.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{passage::Sighting, policy};
use crate::{
    camera::{Bell, Frame, Picture, Slot},
    clock::Clock,
    config::{Direction, Recognition},
    failpoint,
    figures::Stages,
    roster::Roster,
    vigil::{Beat, Beats},
    vision::{self, DecodeError, Face, Image, Vision},
};

/// The longer side at which frames are searched: fast, and enough for whoever stands at a gate.
pub const GATE_LONGEST_SIDE: u32 = 320;
/// How long a worker waits for a frame before it looks whether the daemon is stopping.
const PATIENCE: Duration = Duration::from_millis(200);

/// One camera as the vision workers see it.
pub struct Eye {
    /// Lane and direction, for the log.
    pub name: String,
    pub direction: Direction,
    pub slot: Arc<Slot>,
    pub lane: mpsc::Sender<Sighting>,
    pub seen: Arc<Seen>,
    /// Held by the worker that looks at this camera's frame, so that its frames stay in order.
    pub turn: Mutex<()>,
}

impl Eye {
    /// A lane that is too busy has newer sightings coming: this one is dropped, and counted.
    fn hand_over(&self, sighting: Sighting) {
        if self.lane.try_send(sighting).is_err() {
            count(&self.seen.lane_full);
        }
    }
}

/// What became of a camera's frames.
#[derive(Debug, Default)]
pub struct Seen {
    analysed: AtomicU64,
    undecodable: AtomicU64,
    too_large: AtomicU64,
    faces: AtomicU64,
    too_small: AtomicU64,
    lane_full: AtomicU64,
    failed: AtomicU64,
}

/// [`Seen`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCounts {
    /// Frames looked at.
    pub analysed: u64,
    /// Frames that were no image.
    pub undecodable: u64,
    /// Frames of more pixels than [`vision::MAX_FRAME_PIXELS`]: set the camera to send smaller ones.
    pub too_large: u64,
    /// Frames with a face large enough.
    pub faces: u64,
    /// Frames whose faces were all smaller than `min_face_px`.
    pub too_small: u64,
    /// Sightings that the lane was too busy to take.
    pub lane_full: u64,
    /// Frames on which a model failed.
    pub failed: u64,
}

impl Seen {
    pub fn counts(&self) -> SeenCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SeenCounts {
            analysed: read(&self.analysed),
            undecodable: read(&self.undecodable),
            too_large: read(&self.too_large),
            faces: read(&self.faces),
            too_small: read(&self.too_small),
            lane_full: read(&self.lane_full),
            failed: read(&self.failed),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all workers share.
pub struct Sight {
    pub eyes: Vec<Eye>,
    pub bell: Arc<Bell>,
    pub vision: Arc<Vision>,
    pub roster: watch::Receiver<Arc<Roster>>,
    pub clock: Arc<dyn Clock>,
    pub stages: Arc<Stages>,
    pub rules: Recognition,
    pub timezone: TimeZone,
    pub cancel: CancellationToken,
}

/// Starts the pool. Its threads end when the token is cancelled, within a frame's time; each says
/// so to `ended`, also when it ends by a panic.
pub fn spawn(
    sight: Sight,
    workers: usize,
    beats: &Beats,
    ended: &mpsc::Sender<&'static str>,
) -> io::Result<Vec<JoinHandle<()>>> {
    struct SaysSo(mpsc::Sender<&'static str>);
    impl Drop for SaysSo {
        fn drop(&mut self) {
            let _ = self.0.try_send("a vision worker");
        }
    }

    let sight = Arc::new(sight);
    (0..workers.max(1))
        .map(|n| {
            let (sight, says_so) = (sight.clone(), SaysSo(ended.clone()));
            let name = format!("vision {n}");
            let beat = beats.part(&name);
            std::thread::Builder::new().name(name).spawn(move || {
                let _says_so = says_so;
                sight.work(n, &beat);
            })
        })
        .collect()
}

impl Sight {
    fn work(&self, first: usize, beat: &Beat) {
        let mut heard = 0;
        let mut next = first;
        while !self.cancel.is_cancelled() {
            heard = self.bell.wait(heard, PATIENCE);
            // Each worker begins after the camera it last looked at, so none is starved.
            beat.beat();
            for _ in 0..self.eyes.len() {
                next = (next + 1) % self.eyes.len();
                let Some(eye) = self.eyes.get(next) else { break };
                let Ok(_turn) = eye.turn.try_lock() else { continue };
                if let Some(frame) = eye.slot.take() {
                    self.look(eye, &frame);
                    beat.beat();
                }
                if self.cancel.is_cancelled() {
                    return;
                }
            }
        }
    }

    fn look(&self, eye: &Eye, frame: &Frame) {
        failpoint::at("sight.look");
        count(&eye.seen.analysed);
        let (stages, clock) = (&self.stages, &*self.clock);
        let Some(image) = stages.decode.time(clock, || decoded(frame, &eye.seen)) else { return };
        let faces = stages.detect.time(clock, || self.vision.detect(&image, GATE_LONGEST_SIDE));
        let template = faces.and_then(|faces| {
            let some = !faces.is_empty();
            match nearest(faces, self.rules.min_face_px) {
                Some(face) => {
                    stages.embed.time(clock, || self.vision.embed(&image, &face)).map(Some)
                }
                None => {
                    if some {
                        count(&eye.seen.too_small);
                    }
                    Ok(None)
                }
            }
        });
        let template = match template {
            Ok(Some(template)) => template,
            Ok(None) => return,
            Err(error) => {
                // Ten times a second, perhaps, and for days.
                let times = eye.seen.failed.fetch_add(1, Ordering::Relaxed) + 1;
                if times.is_power_of_two() {
                    tracing::error!(camera = %eye.name, %error, times, "a model failed on a frame");
                }
                return;
            }
        };
        count(&eye.seen.faces);
        let roster = self.roster.borrow().clone();
        let best = stages.matching.time(clock, || roster.best(&template));
        let sighting = Sighting {
            direction: eye.direction,
            visit: 0,
            captured: frame.captured,
            sighted: policy::judge(best, &self.rules),
            roster_version: roster.version(),
            today: self.today(),
        };
        eye.hand_over(sighting);
        failpoint::at("sight.handed");
    }

    /// The site's date, where the clock is trusted.
    fn today(&self) -> Option<Date> {
        let stamp = self.clock.stamp();
        stamp.synced.then(|| stamp.timestamp().to_zoned(self.timezone.clone()).date())
    }
}

/// The frame's pixels; where it has none that are looked at, that is counted.
fn decoded(frame: &Frame, seen: &Seen) -> Option<Image> {
    let image = match &frame.picture {
        Picture::Encoded(data) => vision::decode_frame(data),
        Picture::Raw(yuv) => Image::from_yuv(yuv),
    };
    match image {
        Ok(image) => return Some(image),
        Err(DecodeError::TooLarge { .. }) => count(&seen.too_large),
        Err(_) => count(&seen.undecodable),
    }
    None
}

/// The widest face, which is who stands nearest, where it is wide enough.
pub fn nearest(faces: Vec<Face>, min_face_px: f32) -> Option<Face> {
    faces
        .into_iter()
        .filter(|face| face.bbox.w >= min_face_px)
        .max_by(|a, b| a.bbox.w.total_cmp(&b.bbox.w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Monotonic,
        gate::{lane::SIGHTINGS, policy::Sighted},
    };

    #[test]
    fn i8_a_sighting_that_a_busy_lane_does_not_take_is_dropped_and_counted() {
        let (lane, mut sightings) = mpsc::channel(SIGHTINGS);
        let eye = Eye {
            name: "north/entry".into(),
            direction: Direction::Entry,
            slot: Arc::new(Slot::new(Arc::default())),
            lane,
            seen: Arc::default(),
            turn: Mutex::default(),
        };
        let see = |ms| {
            eye.hand_over(Sighting {
                direction: Direction::Entry,
                visit: 0,
                captured: Monotonic::from_millis(ms),
                sighted: Sighted::Stranger { score: 0.1 },
                roster_version: 1,
                today: None,
            });
        };
        (0..SIGHTINGS as u64 + 3).for_each(see);
        assert_eq!(eye.seen.counts().lane_full, 3);
        assert_eq!(sightings.try_recv().unwrap().captured, Monotonic::from_millis(0));
        see(100);
        assert_eq!(eye.seen.counts().lane_full, 3, "there is room again");
        let last = std::iter::from_fn(|| sightings.try_recv().ok()).last().unwrap();
        assert_eq!(last.captured, Monotonic::from_millis(100));
    }

    fn frame(data: &[u8]) -> Frame {
        let picture = Picture::Encoded(data.into());
        Frame { seq: 0, captured: Monotonic::from_millis(0), picture }
    }

    #[test]
    fn a_frame_that_is_no_use_is_counted_by_why() {
        let mut jpeg = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(6, 4).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let mut jpeg = jpeg.into_inner();
        let seen = Seen::default();
        assert!(decoded(&frame(&jpeg), &seen).is_some());
        assert!(decoded(&frame(b"no picture"), &seen).is_none());
        // Its header claims 20 Mpx, within what an enrolment photo may have.
        let sof = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        jpeg[sof + 5..sof + 9]
            .copy_from_slice(&[4000_u16.to_be_bytes(), 5000_u16.to_be_bytes()].concat());
        assert!(decoded(&frame(&jpeg), &seen).is_none());
        let counts = seen.counts();
        assert_eq!((counts.undecodable, counts.too_large), (1, 1));
    }
}
