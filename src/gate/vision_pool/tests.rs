//! The vision workers, step by step on a clock that the test moves, with the real models.

mod bad_input;
mod queue;
mod scenes;
mod search;

use std::{path::Path, sync::OnceLock};

use jiff::tz::TimeZone;

use super::*;
use crate::{
    camera::{Layout, Picture, Yuv},
    clock::ManualClock,
    config::{FaceLimits, MatchThreshold, ModelFiles, Threshold},
    gate::{lane::PRESENTED, policy::Sighted},
    roster::{Person, Worker},
};

/// 15 frames a second.
const FRAME: Duration = Duration::from_millis(67);

fn models() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models"))
}

fn vision() -> Arc<Vision> {
    static VISION: OnceLock<Arc<Vision>> = OnceLock::new();
    let load = || Vision::load(&ModelFiles::in_dir(models()));
    VISION
        .get_or_init(|| Arc::new(load().unwrap_or_else(|e| panic!("run models/fetch first: {e}"))))
        .clone()
}

fn photo(name: &str) -> Vec<u8> {
    let path = models().join("photos").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("run models/fetch: {}: {e}", path.display()))
}

fn jpeg(picture: &image::RgbImage) -> Picture {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    Picture::Encoded(bytes.into_inner().into())
}

/// Returns a gate's 640 x 480 picture, with this photo in it if there is one.
fn scene(photo_name: Option<&str>) -> Picture {
    let mut picture = image::RgbImage::from_fn(640, 480, |x, y| {
        image::Rgb([(60 + x / 8) as u8, (60 + y / 8) as u8, 90])
    });
    if let Some(name) = photo_name {
        let one = image::load_from_memory(&photo(name)).unwrap();
        let one = one.resize(640, 400, image::imageops::Triangle).to_rgb8();
        image::imageops::replace(&mut picture, &one, 150, 40);
    }
    jpeg(&picture)
}

struct Gate {
    vision_pool: VisionPool,
    clock: Arc<ManualClock>,
    beat: Heartbeat,
    presented: mpsc::Receiver<Presented>,
    passing: channel::Sender<Passing>,
    seq: u64,
}

/// Makes a gate with this number of cameras and person A on its roster.
fn gate(cameras: usize) -> Gate {
    let clock = Arc::new(ManualClock::new(crate::clock::wall().as_millisecond(), true));
    let wakeup: Arc<Wakeup> = Arc::default();
    let (lane, presented) = mpsc::channel(PRESENTED);
    let passing = channel::Sender::default();
    let feeds = (0..cameras).map(|n| CameraFeed {
        name: format!("lane {n}"),
        direction: Direction::Entry,
        slot: Arc::new(Slot::new(wakeup.clone())),
        lane: lane.clone(),
        passing: passing.subscribe(),
        face: Default::default(),
        seen: Arc::default(),
        zone: Zone::default(),
        turn: Mutex::default(),
    });
    let text = || "x".to_owned();
    let id = "W001".parse().unwrap();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    let worker = Worker::new(person);
    let limits = FaceLimits::default();
    let enrolled = vision().face_for_enrolment(&photo("person_a_2.jpg"), &limits);
    let template = enrolled.unwrap().template;
    let roster = Arc::new(Roster::new(1, vec![(worker, vec![template])]));
    let vision_pool = VisionPool {
        feeds: feeds.collect(),
        wakeup,
        vision: vision(),
        roster: channel::channel(roster).1,
        clock: clock.clone(),
        stages: Arc::default(),
        capacity: Arc::new(Capacity::new(2, cameras, 2)),
        last_trusted: Arc::new(crate::clock::LastTrusted::new(None)),
        rules: Recognition {
            threshold: MatchThreshold::new(0.5).unwrap().into(),
            margin: 0.05,
            min_face_px: 48.0,
            frames_to_agree: 2,
            liveness: Default::default(),
            liveness_threshold: 0.5,
        },
        timezone: TimeZone::UTC,
        photos: true,
        scenes_for: Vec::new(),
        cancel: CancellationToken::new(),
    };
    let beat = Heartbeats::new(clock.clone(), Duration::from_secs(10)).part("vision");
    Gate { vision_pool, clock, beat, presented, passing, seq: 0 }
}

impl Gate {
    fn show(&mut self, camera: usize, picture: &Picture) {
        let captured = self.clock.monotonic();
        self.seq += 1;
        let frame =
            Frame { seq: self.seq, captured, pause: Duration::ZERO, picture: picture.clone() };
        self.vision_pool.feeds[camera].slot.put(frame);
    }

    /// Shows the next frame to the first camera and lets one worker finish it.
    fn frame(&mut self, picture: &Picture) -> Option<Sighting> {
        self.clock.advance(FRAME);
        self.show(0, picture);
        while self.vision_pool.round(&self.beat).is_none() {}
        self.sighting()
    }

    fn sighting(&mut self) -> Option<Sighting> {
        match self.presented.try_recv() {
            Ok(Presented::Look(sighting)) => Some(sighting),
            Ok(Presented::NoFace { .. }) => self.sighting(),
            Ok(claim) => panic!("{claim:?}"),
            Err(_) => None,
        }
    }

    fn seen(&self, camera: usize) -> SeenCounts {
        self.vision_pool.feeds[camera].seen.counts()
    }

    fn searches(&self) -> u64 {
        self.vision_pool.stages.detect.spread().count()
    }
}

#[test]
fn i8_a_sighting_that_a_busy_lane_does_not_take_is_dropped_and_counted() {
    let mut gate = gate(1);
    let see = |gate: &Gate, captured| {
        gate.vision_pool.feeds[0].hand_over(Sighting {
            direction: Direction::Entry,
            visit: 0,
            captured,
            pace: Pace::default(),
            sighted: Sighted::Stranger { score: 0.1 },
            threshold: MatchThreshold::new(0.5).unwrap(),
            roster_version: 1,
            photo: None,
            today: Day::NotBefore(None),
            face: FaceSeen::default(),
        });
    };
    let begun = gate.clock.monotonic();
    for n in 0..PRESENTED as u32 + 3 {
        see(&gate, begun + n * FRAME);
    }
    assert_eq!(gate.seen(0).lane_full, 3);
    assert_eq!(gate.sighting().unwrap().captured, begun);
    see(&gate, begun + 100 * FRAME);
    assert_eq!(gate.seen(0).lane_full, 3, "there is room again");
    let last = std::iter::from_fn(|| gate.sighting()).last().unwrap();
    assert_eq!(last.captured, begun + 100 * FRAME);
}

#[test]
fn an_empty_lane_is_searched_every_other_second_and_a_face_with_the_frame_it_appears_in() {
    let mut gate = gate(1);
    let (empty, worker) = (scene(None), scene(Some("person_a_1.jpg")));
    for _ in 0..150 {
        assert!(gate.frame(&empty).is_none());
    }
    // Ten seconds: the first frame, and four or five more.
    assert!((5..=6).contains(&gate.searches()), "{}", gate.searches());
    let seen = gate.seen(0);
    assert_eq!((seen.analysed, seen.unchanged), (150, 150 - gate.searches()));

    // The lane needs two frames that agree.
    for _ in 0..2 {
        let sighting = gate.frame(&worker).expect("each frame at once");
        assert_eq!(sighting.captured, gate.clock.monotonic());
        assert_eq!(
            (sighting.sighted.named().map(|id| id.as_str()), sighting.visit),
            (Some("W001"), 1)
        );
    }
    // Then the visit is settled: a search every 200 ms, an embedding every 500 ms.
    let (searched, embedded) = (gate.searches(), gate.seen(0).settled);
    let again = (0..30).filter(|_| gate.frame(&worker).is_some()).count();
    assert!((3..=4).contains(&again), "{again} in two seconds");
    assert!((9..=11).contains(&(gate.searches() - searched)), "{}", gate.searches() - searched);
    assert_eq!(gate.seen(0).settled - embedded, 30 - again as u64);
    // The worker leaves. For two seconds each frame is searched, then one frame every two seconds.
    for _ in 0..60 {
        assert!(gate.frame(&empty).is_none());
    }
    let searched = gate.searches();
    (0..30).for_each(|_| drop(gate.frame(&empty)));
    assert!(gate.searches() - searched <= 2);
}

#[test]
fn i5_a_sighting_of_a_worker_has_a_small_photo_and_one_of_a_stranger_has_none() {
    let mut gate = gate(1);
    let sighting = gate.frame(&scene(Some("person_a_1.jpg"))).unwrap();
    assert!(sighting.sighted.named().is_some());
    let photo = sighting.photo.unwrap();
    assert_eq!(PassagePhoto::new(photo.jpeg.to_vec()), photo);
    let picture = image::load_from_memory(&photo.jpeg).unwrap();
    assert!(picture.width().max(picture.height()) <= 320, "{picture:?}");
    // The photo shows a face that is large enough for recognition.
    let limits = FaceLimits::default();
    let seen = vision().face_for_enrolment(&photo.jpeg, &limits).unwrap().template;
    assert!(gate.vision_pool.roster.borrow().best(&seen).unwrap().score > 0.5);

    let (empty, stranger) = (scene(None), scene(Some("impostor_1.jpg")));
    (0..60).for_each(|_| drop(gate.frame(&empty)));
    let sightings: Vec<_> = (0..30).filter_map(|_| gate.frame(&stranger)).collect();
    assert!(!sightings.is_empty());
    assert!(sightings.iter().all(|s| s.sighted.named().is_none() && s.photo.is_none()));

    let mut gate = self::gate(1);
    gate.vision_pool.photos = false;
    let sighting = gate.frame(&scene(Some("person_a_1.jpg"))).unwrap();
    assert!(sighting.sighted.named().is_some() && sighting.photo.is_none());
}

#[test]
fn a_person_who_does_not_move_is_found_in_the_first_frame() {
    let mut gate = gate(1);
    assert!(gate.frame(&scene(Some("person_a_1.jpg"))).is_some());
}

#[test]
fn a_stranger_gets_enough_sightings_for_a_denial_within_a_second() {
    let mut gate = gate(1);
    let (empty, stranger) = (scene(None), scene(Some("impostor_1.jpg")));
    (0..20).for_each(|_| drop(gate.frame(&empty)));
    let sightings: Vec<_> = (0..15).filter_map(|_| gate.frame(&stranger)).collect();
    assert!(sightings.len() >= 4, "{}", sightings.len());
    assert!(
        sightings.iter().all(|s| matches!(s.sighted, Sighted::Stranger { .. }) && s.visit == 1)
    );
    assert!(gate.seen(0).settled > 0);
}

#[test]
fn the_threshold_follows_the_roster_from_one_look_to_the_next() {
    let mut gate = gate(1);
    gate.vision_pool.rules.threshold = Threshold::ByRoster;
    let few = gate.vision_pool.roster.borrow().clone();
    let (publish, roster) = channel::channel(few.clone());
    gate.vision_pool.roster = roster;
    let seen = gate.frame(&scene(Some("person_a_1.jpg"))).unwrap();
    assert!(seen.threshold.cosine() == 0.45 && seen.sighted.named().is_some(), "{seen:?}");
    let mut values = [0.0; crate::vision::TEMPLATE_LEN];
    values[0] = 1.0;
    let face = crate::vision::Template::from_slice(&values).unwrap();
    let worker = Worker { templates: 999, ..(*few.workers()[0]).clone() };
    let id = "W002".parse().unwrap();
    let many = few.with(2, &id, Some((worker, vec![face; 999])));
    publish.send(Arc::new(many)).unwrap();
    let seen = gate.frame(&scene(Some("person_a_1.jpg"))).unwrap();
    assert_eq!((seen.threshold.cosine(), seen.roster_version), (0.492, 2));
}

#[test]
fn another_person_begins_another_visit_and_the_same_one_does_not() {
    let mut gate = gate(1);
    let people = ["person_a_1.jpg", "person_a_1.jpg", "impostor_1.jpg", "person_a_1.jpg"];
    let mut visits = Vec::new();
    for person in people {
        let picture = scene(Some(person));
        // The next person stands there from one frame to the next.
        let sightings: Vec<_> = (0..12).filter_map(|_| gate.frame(&picture)).collect();
        assert!(!sightings.is_empty(), "{person}");
        visits.push(sightings.last().unwrap().visit);
    }
    assert_eq!(visits, [1, 1, 2, 3]);
    // After long enough without a face, the same person begins another visit.
    (0..30).for_each(|_| drop(gate.frame(&scene(None))));
    let back = gate.frame(&scene(Some("person_a_1.jpg"))).unwrap();
    assert_eq!(back.visit, 4);
    // The same holds if the camera was disconnected in between.
    gate.frame(&scene(Some("person_a_1.jpg")));
    gate.clock.advance(Duration::from_millis(2600));
    let back = gate.frame(&scene(Some("person_a_1.jpg"))).unwrap();
    assert_eq!(back.visit, 5);
}

#[test]
fn faces_that_are_too_small_are_counted_separately() {
    let mut gate = gate(1);
    gate.vision_pool.rules.min_face_px = 1000.0;
    gate.frame(&scene(Some("person_a_1.jpg")));
    let first = gate.clock.monotonic();
    // Nothing moves, and so the next search comes two seconds later.
    gate.clock.advance(Duration::from_secs(2));
    assert!(gate.frame(&scene(Some("person_a_1.jpg"))).is_none());
    let seen = gate.vision_pool.feeds[0].seen.clone();
    assert_eq!((seen.showing(), gate.seen(0).too_small), (None, 2));
    let (why, small) = seen.showing_aside().unwrap();
    assert_eq!(why, Aside::TooSmall);
    assert_eq!((small.first, small.last), (first, gate.clock.monotonic()));
    gate.vision_pool.rules.min_face_px = 48.0;
    gate.clock.advance(Duration::from_secs(2));
    gate.frame(&scene(Some("person_a_1.jpg")));
    assert_eq!(seen.showing_aside(), None);
    assert_eq!(seen.showing().unwrap().last, gate.clock.monotonic());
    // Faces that are further apart do not belong together.
    gate.clock.advance(Duration::from_secs(11));
    gate.frame(&scene(Some("person_a_1.jpg")));
    assert_eq!(seen.showing().unwrap().first, gate.clock.monotonic());
}

#[test]
fn a_poor_look_waits_for_a_better_one_and_is_used_if_none_comes() {
    let mut gate = gate(1);
    let Picture::Encoded(sharp) = scene(Some("person_a_1.jpg")) else { panic!() };
    let sharp_pixels = image::load_from_memory(&sharp).unwrap().to_rgb8();
    let blurred = jpeg(&image::imageops::blur(&sharp_pixels, 8.0));
    assert!(gate.frame(&blurred).is_none());
    assert_eq!((gate.seen(0).poor, gate.seen(0).faces), (1, 1));
    // A good one comes, and is used at once.
    let good = gate.frame(&Picture::Encoded(sharp)).expect("a good look");
    assert_eq!(good.captured, gate.clock.monotonic());
    (0..40).for_each(|_| drop(gate.frame(&scene(None))));
    // No good look comes.
    let begun = gate.clock.monotonic() + FRAME;
    let poor = std::iter::from_fn(|| Some(gate.frame(&blurred))).take(10).position(|s| s.is_some());
    let waited = FRAME * u32::try_from(poor.expect("a poor look is used in the end")).unwrap();
    assert!(waited >= Duration::from_millis(300) && waited <= Duration::from_millis(400));
    assert_eq!(gate.clock.monotonic().since(begun), waited);
}

#[test]
fn a_camera_that_sends_sixty_frames_a_second_is_looked_at_fifteen_times() {
    let mut gate = gate(1);
    let empty = scene(None);
    for _ in 0..600 {
        gate.clock.advance(Duration::from_millis(17));
        gate.show(0, &empty);
        while gate.vision_pool.round(&gate.beat).is_none() {}
    }
    let looks = gate.seen(0).analysed;
    assert!((150..=157).contains(&looks), "{looks} in 10.2 s");
    let slot = &gate.vision_pool.feeds[0].slot;
    assert_eq!(looks + slot.dropped() + u64::from(slot.take().is_some()), 600);
}

/// Two people in turn, so that no visit is ever settled.
fn two_people() -> [Picture; 2] {
    [scene(Some("person_a_1.jpg")), scene(Some("impostor_1.jpg"))]
}

#[test]
fn crowded_cameras_get_equal_turns_and_an_empty_one_does_not_wait_behind_them() {
    let mut gate = gate(8);
    let (people, empty) = (two_people(), scene(None));
    let (mut rounds, mut turns) = (0, Vec::new());
    for n in 0..45_usize {
        // The time for a face on a slow board; in it, each camera sent a newer frame.
        gate.clock.advance(Duration::from_millis(150));
        gate.show(0, &empty);
        (1..8).for_each(|camera| gate.show(camera, &people[n % 2]));
        let before: Vec<u64> = (0..8).map(|camera| gate.seen(camera).faces).collect();
        rounds += u64::from(gate.vision_pool.round(&gate.beat).is_none());
        turns.extend((1..8).find(|camera| gate.seen(*camera).faces > before[*camera]));
        while gate.sighting().is_some() {}
        // The empty camera gets a glance in each round, and a search now and then.
        assert_eq!(gate.seen(0).analysed, n as u64 + 1);
    }
    assert_eq!(rounds, 45);
    // A turn has at most the four looks that a denial needs, and then each other camera has one.
    assert!(turns.chunk_by(|a, b| a == b).all(|turn| turn.len() <= 4), "{turns:?}");
    turns.dedup();
    assert!(turns.len() >= 10, "{turns:?}");
    assert!(
        turns.windows(7).all(|turns| (1..8).all(|camera| turns.contains(&camera))),
        "{turns:?}"
    );
    assert!((1..8).all(|camera| gate.seen(camera).overtaken >= 20), "the newest frame is served");
}

/// A look on a slow board.
const SLOW: Duration = Duration::from_millis(2100);

impl Gate {
    /// Passes the time of a slow look. Meanwhile each camera sends this picture. Then one worker
    /// serves one camera. Returns the camera, and its sighting.
    fn slow_round(&mut self, shown: &[&Picture]) -> (usize, Option<Sighting>) {
        let before: Vec<u64> = (0..shown.len()).map(|camera| self.seen(camera).faces).collect();
        // On the test's clock a look takes no time.
        (0..5).for_each(|_| self.vision_pool.capacity.observe(self.clock.monotonic(), SLOW));
        self.clock.advance(SLOW);
        shown.iter().enumerate().for_each(|(camera, picture)| self.show(camera, picture));
        assert!(self.vision_pool.round(&self.beat).is_none());
        let served = (0..shown.len()).find(|camera| self.seen(*camera).faces > before[*camera]);
        (served.expect("a face"), self.sighting())
    }
}

#[test]
fn a_slow_box_finishes_a_visit_before_it_serves_the_next_camera() {
    let mut gate = gate(2);
    let worker = scene(Some("person_a_1.jpg"));
    let mut served = Vec::new();
    for _ in 0..8 {
        let (camera, sighting) = gate.slow_round(&[&worker, &worker]);
        let sighting = sighting.expect("each look is a sighting");
        assert_eq!(sighting.captured, gate.clock.monotonic(), "of the newest frame");
        assert_eq!((sighting.visit, sighting.sighted.named().is_some()), (1, true));
        assert_eq!(sighting.pace, Pace { look: SLOW, others: SLOW * 2 });
        served.push(camera);
    }
    let first = served[0];
    assert_eq!(served[..4], [first, first, 1 - first, 1 - first], "{served:?}");
    // Both visits are settled. The cameras are served in turn, and the visits go on.
    assert!(served[4..].windows(2).all(|two| two[0] != two[1]), "{served:?}");
}

#[test]
fn a_face_that_is_never_settled_leaves_other_cameras_their_turns() {
    let mut gate = gate(2);
    let (people, worker) = (two_people(), scene(Some("person_a_1.jpg")));
    let served: Vec<_> = (0..16).map(|n| gate.slow_round(&[&people[n % 2], &worker]).0).collect();
    let others = served.iter().filter(|camera| **camera == 1).count();
    assert!(others >= 4, "{served:?}");
    assert!(served.chunk_by(|a, b| a == b).all(|turn| turn.len() <= 4), "{served:?}");
}

#[test]
fn of_two_visits_that_go_on_the_nearest_face_comes_first() {
    let mut gate = gate(2);
    let (near, far) = (scene(Some("person_a_1.jpg")), far());
    // Each camera is served once while the other one sends nothing.
    for (camera, picture) in [(0, &far), (1, &near)] {
        gate.clock.advance(SLOW);
        gate.show(camera, picture);
        assert!(gate.vision_pool.round(&gate.beat).is_none());
        assert!(gate.sighting().is_some());
    }
    assert_eq!(gate.slow_round(&[&far, &near]).0, 1);
    // That visit is settled, and the other one goes on.
    assert_eq!(gate.slow_round(&[&far, &near]).0, 0);
}

/// Returns a scene with person A further away.
fn far() -> Picture {
    let Picture::Encoded(near) = scene(Some("person_a_1.jpg")) else { panic!() };
    let near = image::load_from_memory(&near).unwrap().to_rgb8();
    let small = image::imageops::resize(&near, 400, 300, image::imageops::FilterType::Triangle);
    let mut picture = image::RgbImage::from_pixel(640, 480, image::Rgb([90, 90, 90]));
    image::imageops::replace(&mut picture, &small, 100, 100);
    jpeg(&picture)
}

#[test]
fn the_newest_frame_is_served_also_if_it_came_during_the_glances() {
    let mut gate = gate(1);
    let worker = scene(Some("person_a_1.jpg"));
    gate.clock.advance(FRAME);
    gate.show(0, &worker);
    gate.vision_pool.glance_at_all(&gate.beat);
    gate.clock.advance(FRAME);
    gate.show(0, &worker);
    let (feed, mut watch) = gate.vision_pool.next_camera().unwrap();
    let waiting = watch.waiting.take().unwrap();
    gate.vision_pool.serve(feed, &mut watch, waiting);
    drop(watch);
    assert_eq!(gate.sighting().unwrap().captured, gate.clock.monotonic());
    assert_eq!((gate.seen(0).analysed, gate.seen(0).overtaken), (2, 1));
}

#[test]
fn two_workers_serve_eight_crowded_cameras_equally() {
    let gate = gate(8);
    let Gate { mut vision_pool, beat: _, presented: _kept, .. } = gate;
    vision_pool.clock = Arc::new(crate::clock::SystemClock::new().unwrap());
    let (cancel, clock) = (vision_pool.cancel.clone(), vision_pool.clock.clone());
    let cameras: Vec<_> =
        vision_pool.feeds.iter().map(|feed| (feed.slot.clone(), feed.seen.clone())).collect();
    let people = two_people();
    let beats = Heartbeats::new(clock.clone(), Duration::from_secs(60));
    let workers = spawn(vision_pool, &beats, &mpsc::channel(2).0).unwrap();
    let served = || cameras.iter().map(|(_, seen)| seen.counts().faces).collect::<Vec<u64>>();
    let mut seq = 0;
    while served().iter().sum::<u64>() < 64 {
        for (slot, _) in &cameras {
            seq += 1;
            let picture = people[seq as usize % 2].clone();
            slot.put(Frame { seq, captured: clock.monotonic(), pause: Duration::ZERO, picture });
        }
        std::thread::yield_now();
    }
    cancel.cancel();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let served = served();
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    // Two or three turns of at most four looks each, and a turn that had just begun.
    assert!(*least >= 2 && *most <= 16, "{served:?}");
}

#[test]
fn a_frame_that_cannot_be_used_is_counted_by_its_reason() {
    let mut gate = gate(1);
    let Picture::Encoded(whole) = scene(None) else { panic!() };
    // Its header claims 20 Mpx, within what an enrolment photo may have.
    let mut lying = whole.to_vec();
    let sof = lying.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    lying[sof + 5..sof + 9]
        .copy_from_slice(&[4000_u16.to_be_bytes(), 5000_u16.to_be_bytes()].concat());
    let raw = |width, height, length| {
        let (layout, data) = (Layout::Yuyv, vec![90; length]);
        Picture::Raw(Arc::new(Yuv { width, height, layout, data }))
    };
    for (picture, undecodable, too_large) in [
        (Picture::Encoded(b"no picture"[..].into()), 1, 0),
        (Picture::Encoded(lying.into()), 1, 1),
        (Picture::Encoded(whole[..30].into()), 2, 1),
        (raw(64, 48, 100), 3, 1),
        (raw(4096, 3072, 0), 3, 2),
        (raw(64, 48, 64 * 48 * 2), 3, 2),
        (Picture::Encoded(whole.clone()), 3, 2),
    ] {
        assert!(gate.frame(&picture).is_none());
        let seen = gate.seen(0);
        assert_eq!((seen.undecodable, seen.too_large), (undecodable, too_large));
    }
    assert_eq!((gate.seen(0).analysed, gate.searches()), (7, 2));
}

#[test]
fn a_look_at_another_person_than_the_one_who_passes_says_so_unless_it_is_poor() {
    let mut gate = gate(1);
    let (worker, stranger) = (scene(Some("person_a_1.jpg")), scene(Some("impostor_1.jpg")));
    let unlike = |gate: &mut Gate, picture: &Picture| -> Vec<bool> {
        let sightings: Vec<_> = (0..30).filter_map(|_| gate.frame(picture)).collect();
        assert!(sightings.len() >= 3 && sightings.iter().all(|s| s.face.width_px > 48.0));
        sightings.iter().map(|s| s.face.unlike.is_some()).collect()
    };
    assert!(!unlike(&mut gate, &stranger).contains(&true), "no passage is under way");
    let passing = Some("W001".parse().unwrap());
    gate.passing.send_replace([None, passing.clone()]);
    assert!(!unlike(&mut gate, &stranger).contains(&true), "the passage is on the other side");
    gate.passing.send_replace([passing, None]);
    assert!(!unlike(&mut gate, &worker).contains(&true), "the worker");
    assert!(!unlike(&mut gate, &stranger).contains(&false), "a stranger");
    let Picture::Encoded(sharp) = stranger else { panic!() };
    let sharp = image::load_from_memory(&sharp).unwrap().to_rgb8();
    let blurred = jpeg(&image::imageops::blur(&sharp, 8.0));
    assert!(!unlike(&mut gate, &blurred)[1..].contains(&true), "a poor look is no evidence");
}

#[test]
fn a_stop_waits_for_no_measurement() {
    let stopped = CancellationToken::new();
    stopped.cancel();
    let clock = crate::clock::SystemClock::new().unwrap();
    assert_eq!(probe::best_look(&vision(), &clock, &stopped).unwrap(), None);
}
