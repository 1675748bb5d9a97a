//! The vision workers: a fixed pool of threads, shared by all cameras.
//!
//! In: the newest frame of each camera. Out: sightings to the camera's lane. A frame that is not
//! looked at any further, whatever the reason, is counted and forgotten; no frame is kept. Where
//! photos of passages are, a sighting that names a worker bears a small picture of the face, which
//! is forgotten too unless it decides.
//!
//! Looking has two parts. A glance at a frame costs a millisecond or two and says whether it is to
//! be searched for a face; a search and what follows it cost a hundred. A worker glances at all
//! cameras that have a frame due, then serves the one camera that was served longest ago, then
//! glances again: a camera before which nobody stands does not wait behind a crowd for longer than
//! one face takes, and of crowded ones none is served twice before another was once.
//!
//! | file | what it does |
//! |---|---|
//! | `watch` | what a camera's frames are looked at for (pure) |
//! | `visit` | which face is followed, which frames are embedded, when it is somebody else (pure) |
//! | `counts` | what became of the frames |

mod counts;
mod visit;
mod watch;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Duration,
};

use jiff::{civil::Date, tz::TimeZone};
use tokio::sync::{mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

pub use self::{
    counts::{FrameCounts, SeenCounts, Showing},
    watch::Watch,
};
use self::{
    visit::{Look, Use},
    watch::Glance,
};
use super::{
    claim::{PassagePhoto, Presented, Sighting},
    policy,
};
use crate::{
    camera::{Frame, Slot, Wakeup},
    clock::Clock,
    config::{Direction, FaceLimits, Recognition},
    failpoint,
    roster::Roster,
    supervision::{Heartbeat, Heartbeats},
    timing::Stages,
    vision::{self, DecodeError, View, Vision, VisionError},
};

/// The longer side at which frames are searched: fast, and enough for whoever stands at a gate.
pub const GATE_LONGEST_SIDE: u32 = 320;
/// How long a worker waits for a frame before it looks whether the daemon is stopping.
const TIMEOUT: Duration = Duration::from_millis(200);

/// One camera as the vision workers see it.
pub struct CameraFeed {
    /// Lane and direction, for the log.
    pub name: String,
    pub direction: Direction,
    pub slot: Arc<Slot>,
    pub lane: mpsc::Sender<Presented>,
    pub seen: Arc<FrameCounts>,
    /// Held by the worker that looks at this camera's frame, so that its frames stay in order.
    pub turn: Mutex<Watch>,
}

impl CameraFeed {
    /// A lane that is too busy has newer sightings coming: this one is dropped, and counted.
    fn hand_over(&self, sighting: Sighting) {
        if self.lane.try_send(Presented::Look(sighting)).is_err() {
            self.seen.count(|seen| &mut seen.lane_full);
            tracing::debug!(camera = %self.name, "face: the lane was too busy to take it");
        }
    }
}

/// What all workers share.
pub struct VisionPool {
    pub eyes: Vec<CameraFeed>,
    pub wakeup: Arc<Wakeup>,
    pub vision: Arc<Vision>,
    pub roster: channel::Receiver<Arc<Roster>>,
    pub clock: Arc<dyn Clock>,
    pub stages: Arc<Stages>,
    pub rules: Recognition,
    pub timezone: TimeZone,
    /// Whether photos of passages are kept: else none is made.
    pub photos: bool,
    pub cancel: CancellationToken,
}

/// Starts the pool. Its threads end when the token is cancelled, within a frame's time; each says
/// so to `ended`, also when it ends by a panic.
pub fn spawn(
    vision_pool: VisionPool,
    workers: usize,
    beats: &Heartbeats,
    ended: &mpsc::Sender<&'static str>,
) -> io::Result<Vec<JoinHandle<()>>> {
    struct SaysSo(mpsc::Sender<&'static str>);
    impl Drop for SaysSo {
        fn drop(&mut self) {
            let _ = self.0.try_send("a vision worker");
        }
    }

    let vision_pool = Arc::new(vision_pool);
    (0..workers.max(1))
        .map(|n| {
            let (vision_pool, says_so) = (vision_pool.clone(), SaysSo(ended.clone()));
            let name = format!("vision {n}");
            let beat = beats.part(&name);
            std::thread::Builder::new().name(name).spawn(move || {
                let _says_so = says_so;
                vision_pool.work(&beat);
            })
        })
        .collect()
}

/// Why a frame that was to be searched showed nobody.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Decoding(#[from] DecodeError),
    #[error(transparent)]
    Model(#[from] VisionError),
}

impl VisionPool {
    fn work(&self, beat: &Heartbeat) {
        let (mut heard, mut timeout) = (0, TIMEOUT);
        while !self.cancel.is_cancelled() {
            heard = self.wakeup.wait(heard, timeout);
            beat.beat();
            timeout = loop {
                if let Some(timeout) = self.round(beat) {
                    break timeout;
                }
            };
        }
    }

    /// Glances at all cameras and serves one; where none waits for that, says for how long there
    /// is nothing to do.
    fn round(&self, beat: &Heartbeat) -> Option<Duration> {
        let timeout = self.glance_at_all(beat);
        let Some((eye, mut watch)) = self.served_longest_ago() else { return Some(timeout) };
        if self.cancel.is_cancelled() {
            return Some(timeout);
        }
        if let Some(frame) = watch.waiting.take() {
            self.serve(eye, &mut watch, &frame);
        }
        beat.beat();
        None
    }

    /// Looks at each camera that has a frame due. How long until the next one may be.
    fn glance_at_all(&self, beat: &Heartbeat) -> Duration {
        let mut soonest = TIMEOUT;
        for eye in &self.eyes {
            let Ok(mut watch) = eye.turn.try_lock() else { continue };
            let now = self.clock.monotonic();
            let due_in = watch.due_in(now);
            if !due_in.is_zero() {
                soonest = soonest.min(due_in);
                continue;
            }
            if self.cancel.is_cancelled() {
                break;
            }
            if let Some(frame) = eye.slot.take() {
                watch.looked(now);
                self.glance(eye, &mut watch, frame);
                beat.beat();
            }
        }
        soonest
    }

    fn glance(&self, eye: &CameraFeed, watch: &mut Watch, frame: Frame) {
        failpoint::at("sight.look");
        eye.seen.count(|seen| &mut seen.analysed);
        watch.visits.sent(frame.pause);
        let glance = self.stages.glance.time(&*self.clock, || {
            let luma = View::new(&frame.picture)?.luma()?;
            Ok(watch.glance(frame.captured, &luma, self.rules.frames_to_agree))
        });
        match glance {
            Ok(Glance::Search) => {
                if watch.waiting.replace(frame).is_some() {
                    eye.seen.count(|seen| &mut seen.overtaken);
                }
            }
            Ok(Glance::Unchanged) => drop(eye.seen.count(|seen| &mut seen.unchanged)),
            Ok(Glance::Settled) => drop(eye.seen.count(|seen| &mut seen.settled)),
            Err(error) => self.lost(eye, Lost::Decoding(error)),
        }
    }

    /// Of the cameras with a frame to be searched, the one that had its turn first.
    fn served_longest_ago(&self) -> Option<(&CameraFeed, MutexGuard<'_, Watch>)> {
        let free = self.eyes.iter().filter_map(|eye| Some((eye, eye.turn.try_lock().ok()?)));
        let mut waiting = 0;
        let first = free
            .filter(|(_, watch)| watch.waiting.is_some())
            .inspect(|_| waiting += 1)
            .min_by_key(|(_, watch)| watch.served);
        // Another worker may have passed them by while this one held them.
        if waiting > 1 {
            self.wakeup.wake();
        }
        first
    }

    fn serve(&self, eye: &CameraFeed, watch: &mut Watch, frame: &Frame) {
        watch.served = self.clock.monotonic();
        if let Err(error) = self.search(eye, watch, frame) {
            watch.searched(frame.captured, false);
            self.lost(eye, error);
        }
    }

    fn search(&self, eye: &CameraFeed, watch: &mut Watch, frame: &Frame) -> Result<(), Lost> {
        let (stages, clock, seen) = (&self.stages, &*self.clock, &eye.seen);
        let (at, frames_to_agree) = (frame.captured, self.rules.frames_to_agree);
        let view = View::new(&frame.picture)?;
        let small = stages.decode.time(clock, || view.for_detection(GATE_LONGEST_SIDE))?;
        let faces = stages
            .detect
            .time(clock, || self.vision.detect(small.image(), GATE_LONGEST_SIDE))?
            .into_iter()
            .map(|face| small.in_frame(face));
        let (faces, too_small): (Vec<_>, Vec<_>) =
            faces.partition(|face| face.bbox.w >= self.rules.min_face_px);
        watch.searched(at, !faces.is_empty());
        let Some(face) = watch.visits.follow(at, faces) else {
            if let Some(face) = too_small.first() {
                seen.small_face(at);
                tracing::debug!(
                    camera = %eye.name, width = face.bbox.w, least = self.rules.min_face_px,
                    "face: too small"
                );
            }
            return Ok(());
        };
        seen.face(at);
        if !watch.visits.wants(at, frames_to_agree) {
            seen.count(|seen| &mut seen.settled);
            tracing::trace!(camera = %eye.name, "face: of a visit of which enough looks agree");
            return Ok(());
        }
        let cut_out = stages.decode.time(clock, || {
            let near = view.for_face(&face, small)?;
            let cut_out = near.cut_out(&face)?;
            Ok((near, cut_out))
        });
        let (near, cut_out) = cut_out.map_err(|error: Lost| error)?;
        let look = Look {
            at,
            quality: vision::assess(&face, &cut_out, &FaceLimits::default()),
            face: cut_out,
        };
        let flaw = look.quality.flaw;
        let Use::Embed(look) = watch.visits.offer(look) else {
            seen.count(|seen| &mut seen.poor);
            tracing::debug!(camera = %eye.name, ?flaw, "face: a better look is waited for");
            return Ok(());
        };
        let good = look.quality.flaw.is_none();
        // Of a look that waited, only what was cut out is still there.
        let waited = (self.photos && look.at != at).then(|| look.face.clone());
        let template = stages.embed.time(clock, || self.vision.embed_aligned(look.face))?;
        let roster = self.roster.borrow().clone();
        let best = stages.matching.time(clock, || roster.best(&template));
        let sighted = policy::judge(best, &self.rules);
        // Of strangers nothing is kept (I5).
        let photo = sighted.named().filter(|_| self.photos).and_then(|_| match &waited {
            None => near.portrait(&face),
            Some(cut_out) => cut_out.portrait(),
        });
        let visit = watch.visits.embedded(look.at, good, template, sighted.named());
        eye.hand_over(Sighting {
            direction: eye.direction,
            visit,
            captured: look.at,
            sighted,
            roster_version: roster.version(),
            today: self.today(),
            photo: photo.map(PassagePhoto::new),
        });
        failpoint::at("sight.handed");
        Ok(())
    }

    /// Counts a frame by why it was of no use.
    fn lost(&self, eye: &CameraFeed, lost: Lost) {
        match lost {
            Lost::Decoding(DecodeError::TooLarge { .. }) => {
                eye.seen.count(|seen| &mut seen.too_large);
            }
            Lost::Decoding(_) => drop(eye.seen.count(|seen| &mut seen.undecodable)),
            Lost::Model(error) => {
                // Ten times a second, perhaps, and for days.
                let times = eye.seen.count(|seen| &mut seen.failed);
                if times.is_power_of_two() {
                    tracing::error!(camera = %eye.name, %error, times, "a model failed on a frame");
                }
            }
        }
    }

    /// The site's date, where the clock is trusted.
    fn today(&self) -> Option<Date> {
        let stamp = self.clock.stamp();
        stamp.synced.then(|| stamp.timestamp().to_zoned(self.timezone.clone()).date())
    }
}

#[cfg(test)]
mod tests;
