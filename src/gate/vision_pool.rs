//! The vision workers: a fixed pool of threads, shared by all cameras.
//!
//! In: the newest frame of each camera. Out: sightings to the camera's lane. Each frame without a
//! sighting is counted by the reason and dropped; no frame is kept. If photos of passages are kept,
//! a sighting that names a worker has a small photo of the face. The photo is dropped unless the
//! sighting leads to a grant.
//!
//! The work has two parts. A glance at a frame takes one or two milliseconds and decides whether to
//! search the frame for a face. A search and its following steps take about a hundred milliseconds,
//! and 2 s on a small board. A worker glances at all cameras with a frame that is due. Then it
//! searches the newest frame of one camera, and glances again.
//!
//! A visit is finished before the next camera is served, because a decision needs several looks in
//! a row. If several visits go on, the widest face is the nearest one and comes first. A turn of a
//! camera has at most the looks that a denial needs. Then the camera that was served longest ago
//! has its turn. So no crowded camera has two turns before another one is served.
//!
//! | file | what it does |
//! |---|---|
//! | `watch` | decides whether to search a camera's frame (pure) |
//! | `search` | searches a frame, or only the surroundings of the followed face |
//! | `queue` | sets faces aside that are not the next person's (pure) |
//! | `visit` | follows a face, chooses frames to embed, begins the next visit (pure) |
//! | `judged` | the judgement on a living face in a visit (pure) |
//! | `counts` | counts the frames by their result |
//! | `scene` | makes the scene of a passage for platforms |
//! | `probe` | measures a look at a face, without a camera |

mod counts;
mod judged;
pub mod probe;
mod queue;
mod scene;
mod search;
mod visit;
mod watch;

use std::{
    cmp::Reverse,
    io,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Duration,
};

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

pub use self::{
    counts::{Blind, FrameCounts, SeenCounts, Showing},
    queue::{Aim, Aside, nearest},
    visit::UNLIKE,
    watch::Watch,
};
use self::{
    scene::Due,
    visit::{Look, Use},
    watch::Glance,
};
use super::{
    claim::{Beside, FaceBefore, FaceSeen, PassagePhoto, Passing, Presented, Sighting},
    pace::{Capacity, Pace},
    policy,
    visit::Agreement,
};
use crate::{
    camera::{Frame, Slot, Wakeup},
    clock::{Clock, LastTrusted, Monotonic},
    config::{Direction, FaceLimits, Recognition, Zone},
    failpoint,
    roster::{Day, Roster},
    supervision::{Heartbeat, Heartbeats},
    timing::Stages,
    vision::{self, DecodeError, Face, Reduced, View, Vision, VisionError},
};

/// Length in pixels of the longer side of a searched frame. At 384 and more, all faces of 60 pixels
/// in a frame of 1280 are found that a search at 640 finds (500 frames of `cargo bench --bench
/// recognition`); at 320 two of them are missed.
pub const GATE_LONGEST_SIDE: u32 = 416;
/// Timeout after which a worker without a frame checks whether the daemon is stopping.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Maximum number of vision workers.
const WORKERS: usize = 4;

/// Returns the number of vision workers on this box.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()).min(WORKERS)
}

/// One camera as the vision workers see it.
pub struct CameraFeed {
    /// Lane and direction, for the log.
    pub name: String,
    pub direction: Direction,
    pub slot: Arc<Slot>,
    pub lane: mpsc::Sender<Presented>,
    pub passing: channel::Receiver<Passing>,
    pub seen: Arc<FrameCounts>,
    /// The latest good look, for the readers on this side.
    pub face: channel::Sender<Option<FaceBefore>>,
    /// Where the next person stands.
    pub zone: Zone,
    /// Locked by the worker that handles this camera's frame, so that its frames stay in order.
    pub turn: Mutex<Watch>,
}

impl CameraFeed {
    /// Sends a sighting to the lane. If the lane's queue is full, the sighting is dropped and
    /// counted: newer ones follow.
    fn hand_over(&self, sighting: Sighting) {
        if self.lane.try_send(Presented::Look(sighting)).is_err() {
            self.seen.count(|seen| &mut seen.lane_full);
            tracing::debug!(camera = %self.name, "face: dropped, the lane's queue is full");
        }
    }

    /// Reports a frame without a face to a lane with a passage under way. A full queue takes none.
    fn no_face(&self, captured: Monotonic) {
        let direction = self.direction;
        if self.passing.borrow()[direction as usize].is_some() {
            let _ = self.lane.try_send(Presented::NoFace { direction, captured });
        }
    }
}

/// The state that all workers share.
pub struct VisionPool {
    pub feeds: Vec<CameraFeed>,
    pub wakeup: Arc<Wakeup>,
    pub vision: Arc<Vision>,
    pub roster: channel::Receiver<Arc<Roster>>,
    pub clock: Arc<dyn Clock>,
    pub stages: Arc<Stages>,
    pub capacity: Arc<Capacity>,
    pub last_trusted: Arc<LastTrusted>,
    pub rules: Recognition,
    pub timezone: TimeZone,
    /// Whether photos of passages are kept; if not, none is made.
    pub photos: bool,
    /// The platforms that get scenes of passages.
    pub scenes_for: Vec<String>,
    pub cancel: CancellationToken,
}

/// Starts the pool. Its threads end within a look's time when the token is cancelled. Each reports
/// its end to `ended`, also after a panic.
pub fn spawn(
    vision_pool: VisionPool,
    beats: &Heartbeats,
    ended: &mpsc::Sender<&'static str>,
) -> io::Result<Vec<JoinHandle<()>>> {
    struct ReportsEnd(mpsc::Sender<&'static str>);
    impl Drop for ReportsEnd {
        fn drop(&mut self) {
            let _ = self.0.try_send("a vision worker");
        }
    }

    let vision_pool = Arc::new(vision_pool);
    (0..vision_pool.capacity.workers.max(1))
        .map(|n| {
            let (vision_pool, reports_end) = (vision_pool.clone(), ReportsEnd(ended.clone()));
            let name = format!("vision {n}");
            let beat = beats.part(&name);
            std::thread::Builder::new().name(name).spawn(move || {
                let _reports_end = reports_end;
                if n == 0 {
                    vision_pool.measure();
                }
                vision_pool.work(&beat);
            })
        })
        .collect()
}

/// The search of a frame failed.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error(transparent)]
    Decoding(#[from] DecodeError),
    #[error(transparent)]
    Model(#[from] VisionError),
}

impl VisionPool {
    /// Measures a look without a person, so that `status` is right also before the first person
    /// comes.
    fn measure(&self) {
        match probe::best_look(&self.vision, &*self.clock, &self.cancel) {
            Ok(None) => {}
            Ok(Some(look)) => self.capacity.observe(self.clock.monotonic(), look),
            Err(error) => tracing::error!(%error, "the time of a look cannot be measured"),
        }
    }

    /// Returns the pace of the looks at one camera.
    fn pace(&self) -> Pace {
        self.capacity.pace(Agreement::default().needed(self.rules.frames_to_agree))
    }

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
            if self.capacity.is_due(self.clock.monotonic()) {
                self.measure();
            }
        }
    }

    /// Glances at all cameras and searches a frame of one. If no frame waits for a search, returns
    /// the time until the next frame may be due.
    fn round(&self, beat: &Heartbeat) -> Option<Duration> {
        let timeout = self.glance_at_all(beat);
        let Some((feed, mut watch)) = self.next_camera() else { return Some(timeout) };
        if self.cancel.is_cancelled() {
            return Some(timeout);
        }
        if let Some(frame) = watch.waiting.take() {
            self.serve(feed, &mut watch, frame);
        }
        beat.beat();
        None
    }

    /// Glances at each camera with a frame that is due. Returns the time until the next frame may
    /// be due.
    fn glance_at_all(&self, beat: &Heartbeat) -> Duration {
        let mut soonest = TIMEOUT;
        for feed in &self.feeds {
            let Ok(mut watch) = feed.turn.try_lock() else { continue };
            let now = self.clock.monotonic();
            let due_in = watch.due_in(now);
            if !due_in.is_zero() {
                soonest = soonest.min(due_in);
                continue;
            }
            if self.cancel.is_cancelled() {
                break;
            }
            if let Some(frame) = feed.slot.take() {
                watch.looked(now);
                self.glance(feed, &mut watch, frame);
                beat.beat();
            }
        }
        soonest
    }

    fn glance(&self, feed: &CameraFeed, watch: &mut Watch, frame: Frame) {
        failpoint::at("sight.look");
        feed.seen.count(|seen| &mut seen.analysed);
        watch.visits.sent(frame.pause);
        let glance = self.stages.glance.time(&*self.clock, || {
            let luma = View::new(&frame.picture)?.luma()?;
            let glance = watch.glance(frame.captured, &luma, self.rules.frames_to_agree);
            feed.seen.shows(frame.captured, watch.blind);
            Ok(glance)
        });
        match glance {
            Ok(Glance::Blind) => {}
            Ok(Glance::Search) => {
                if watch.waiting.replace(frame).is_some() {
                    feed.seen.count(|seen| &mut seen.overtaken);
                }
            }
            Ok(Glance::Unchanged) => drop(feed.seen.count(|seen| &mut seen.unchanged)),
            Ok(Glance::Settled) => drop(feed.seen.count(|seen| &mut seen.settled)),
            Err(error) => self.lost(feed, Lost::Decoding(error)),
        }
    }

    /// Returns the camera to serve, of those with a frame to search: the one with the nearest face
    /// whose visit goes on; if there is none, the one that was served longest ago.
    fn next_camera(&self) -> Option<(&CameraFeed, MutexGuard<'_, Watch>)> {
        let free = self.feeds.iter().filter_map(|feed| Some((feed, feed.turn.try_lock().ok()?)));
        let mut waiting = 0;
        let first = free
            .filter(|(_, watch)| watch.waiting.is_some())
            .inspect(|_| waiting += 1)
            .min_by_key(|(_, watch)| {
                let width = watch.goes_on(self.rules.frames_to_agree).unwrap_or_default();
                (Reverse(width as u32), watch.served)
            });
        // Another worker may have skipped these cameras while this one held their locks.
        if waiting > 1 {
            self.wakeup.wake();
        }
        first
    }

    fn serve(&self, feed: &CameraFeed, watch: &mut Watch, mut frame: Frame) {
        let now = self.clock.monotonic();
        watch.serves(now, self.rules.frames_to_agree);
        // The glances at other cameras took time, and the life of a decision begins with its frame.
        if let Some(newest) = feed.slot.take() {
            watch.looked(now);
            watch.visits.sent(newest.pause);
            feed.seen.count(|seen| &mut seen.analysed);
            feed.seen.count(|seen| &mut seen.overtaken);
            frame = newest;
        }
        if let Err(error) = self.search(feed, watch, &frame) {
            watch.searched(frame.captured, false);
            self.lost(feed, error);
        }
    }

    fn search(&self, feed: &CameraFeed, watch: &mut Watch, frame: &Frame) -> Result<(), Lost> {
        let (stages, clock, seen) = (&self.stages, &*self.clock, &feed.seen);
        let (at, frames_to_agree) = (frame.captured, self.rules.frames_to_agree);
        let (begun, pace) = (clock.monotonic(), self.pace());
        watch.visits.paced(pace);
        let view = View::new(&frame.picture)?;
        // A scene shows all faces of the frame, and the surroundings are compared in whole frames.
        let whole = !self.scenes_for.is_empty() || self.vision.judges();
        let near = watch.visits.unsettled(frames_to_agree).filter(|_| !whole);
        let counted = [&stages.decode, &stages.detect];
        let (small, faces) =
            search::search((&self.vision, clock), counted, watch, (at, near), &view)?;
        let aim = Aim { zone: &feed.zone, min_face_px: self.rules.min_face_px, frame: view.size() };
        let all = if self.scenes_for.is_empty() { Vec::new() } else { faces.clone() };
        let sorted = watch.queue.sort(at, faces, aim);
        watch.searched(at, !sorted.near.is_empty());
        let Some(face) = watch.visits.follow(at, sorted.near) else {
            match sorted.aside {
                Some((why, width)) => {
                    seen.aside(at, why);
                    tracing::debug!(camera = %feed.name, width, %why, "face: set aside");
                }
                None => drop(seen.count(|seen| &mut seen.no_face)),
            }
            feed.no_face(at);
            return Ok(());
        };
        seen.face(at);
        if sorted.beside != Beside::NoOne {
            seen.count(|seen| &mut seen.beside);
        }
        if !watch.visits.wants(at, frames_to_agree) {
            seen.count(|seen| &mut seen.settled);
            feed.face.send_if_modified(|face| {
                face.as_mut().is_some_and(|face| std::mem::replace(&mut face.at, at) != at)
            });
            tracing::trace!(camera = %feed.name, "face: skipped, enough looks of the visit agree");
            return Ok(());
        }
        let surroundings = self.vision.judges().then(|| small.surroundings(&face));
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
        if let Some(flaw) = flaw {
            seen.flaw(flaw);
        }
        let Use::Embed(look) = watch.visits.offer(look) else {
            seen.count(|seen| &mut seen.poor);
            tracing::debug!(camera = %feed.name, ?flaw, "face: set aside for a better look");
            return Ok(());
        };
        let good = look.quality.flaw.is_none();
        // A look that was set aside has only its cut-out; its frame is gone.
        let waited = (self.photos && look.at != at).then(|| look.face.clone());
        let live = if look.at == at { self.live(feed, &near, &face) } else { None };
        let template = stages.embed.time(clock, || probe::embed(&self.vision, look.face))?;
        let roster = self.roster.borrow().clone();
        let threshold = self.rules.threshold.in_force(roster.confirmed_templates());
        let sighted = stages.matching.time(clock, || {
            // A poor look is unlike other looks at the same person.
            let mean = good.then(|| watch.visits.mean(&template, threshold)).flatten();
            policy::found(&roster, mean.as_ref().unwrap_or(&template), threshold, self.rules.margin)
        });
        // No photo of a stranger is kept (I5).
        let photo = sighted.named().filter(|_| self.photos).and_then(|_| match &waited {
            None => near.portrait(&face),
            Some(cut_out) => cut_out.portrait(),
        });
        // The worker whose passage is under way may have stepped aside for another person.
        let passing = feed.passing.borrow()[feed.direction as usize].clone();
        let unlike = passing.filter(|worker| {
            let likeness = || roster.likeness(worker, &template);
            good && sighted.named() != Some(worker) && likeness().is_some_and(|l| l < UNLIKE)
        });
        if good && feed.face.receiver_count() > 0 {
            let (template, at) = (template.clone(), look.at);
            feed.face.send_replace(Some(FaceBefore { template, threshold, at }));
        }
        let visit = watch.visits.embedded(look.at, good, template, sighted.named());
        let presentation = watch.visits.judge(live, surroundings);
        let (today, mut photo) = (self.today(), photo.map(PassagePhoto::new));
        // The frame of a look that waited is gone.
        let worker = sighted.named().filter(|_| waited.is_none());
        let worker = worker.and_then(|id| roster.worker(id)).cloned();
        let scene = self.promise_scene(feed, watch, photo.as_mut(), worker.as_deref(), today);
        feed.hand_over(Sighting {
            direction: feed.direction,
            visit,
            captured: look.at,
            pace,
            sighted,
            threshold,
            roster_version: roster.version(),
            today,
            photo,
            face: FaceSeen { width_px: face.bbox.w, unlike, beside: sorted.beside, presentation },
        });
        let now = clock.monotonic();
        self.capacity.observe(now, now.since(begun));
        failpoint::at("sight.handed");
        if let Some(maker) = scene {
            self.make_scene(feed, &view, Due { maker, worker: &face, faces: &all });
        }
        Ok(())
    }

    /// Returns the liveness score of a face, where it is judged. A model that fails costs no look.
    fn live(&self, feed: &CameraFeed, near: &Reduced<'_>, face: &Face) -> Option<f32> {
        near.liveness(&self.vision, face).unwrap_or_else(|error| {
            self.lost(feed, Lost::Model(error));
            None
        })
    }

    fn today(&self) -> Day {
        Day::at(self.clock.stamp(), &self.last_trusted, &self.timezone)
    }
}

#[cfg(test)]
mod tests;
