//! Builds the lanes from the configuration: turnstiles, cameras and lane tasks.

use super::opening::KeptLane;
use super::*;
use crate::ledger::Score;

pub(super) struct Built<'a> {
    pub(super) config: &'a Config,
    pub(super) buses: &'a turnstile::Buses,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) store: &'a Store,
    pub(super) ledger: &'a Ledger,
    pub(super) stages: &'a Arc<Stages>,
    pub(super) beats: &'a Heartbeats,
    pub(super) ended: &'a Fatal,
    pub(super) alarms: &'a watch::Sender<FireAlarms>,
    pub(super) kept: &'a HashMap<String, KeptLane>,
    pub(super) photo_store: &'a PhotoStore,
}

/// The parts of the lanes, collected until the start.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) panels: Vec<LanePanel>,
    pub(super) feeds: Vec<CameraFeed>,
    pub(super) captures: Vec<thread::JoinHandle<()>>,
    pub(super) turnstiles: Vec<JoinHandle<()>>,
    pub(super) readers: Vec<ReaderFeed>,
    pub(super) taps: Vec<(String, broadcast::Sender<DeviceFrame>)>,
}

impl Parts {
    pub(super) fn lane(
        &mut self,
        lane: &Lane,
        built: &Built<'_>,
        vision: &Vision,
        wakeup: &Arc<Wakeup>,
        tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
        cancel: &CancellationToken,
    ) -> anyhow::Result<()> {
        let (driver, clock) = (&lane.turnstile, built.clock.clone());
        let KeptLane { mode, sensors, liveness } =
            built.kept.get(&lane.name).cloned().unwrap_or_default();
        let stands_open = mode.mode == LaneMode::Free;
        let (handle, task) =
            turnstile::spawn(driver, &lane.name, built.buses, clock, cancel.clone(), stands_open);
        self.turnstiles.push(watch_over(task, "a turnstile's task", built.ended));
        self.taps.extend(handle.tap.clone().map(|tap| (lane.name.clone(), tap)));
        let turnstile_state = handle.state.clone();
        let confirms = turnstile_state.borrow().confirms_passage;
        let liveness = Direction::BOTH.map(|direction| {
            let has = lane.cameras.iter().any(|camera| camera.direction == direction);
            Some(liveness[direction.index()]).filter(|shown| has && shown.mode != Liveness::Off)
        });
        let guard = liveness.iter().flatten().find_map(|shown| shown.guard);
        let rules = Rules {
            lane: lane.name.clone(),
            // A score has four digits.
            guard: guard.map(|score| Score::of(score as f32)),
            cool_down: lane.cool_down,
            pass_within: lane.pass_within,
            require_training: built.config.roster.require_training,
            faces: FaceRules {
                frames_to_agree: built.config.recognition.frames_to_agree,
                model: vision.embedder_name().to_owned(),
                cameras: Direction::BOTH.map(|direction| {
                    let camera = lane.cameras.iter().find(|camera| camera.direction == direction);
                    camera.map_or("", |camera| camera.source.kind())
                }),
            },
        };
        let (presents, presented) = mpsc::channel(PRESENTED);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (state, watched) = watch::channel(lane::LaneState { liveness, ..Default::default() });
        let watchers = lane::Watchers::default();
        let passing = watch::Sender::default();
        let faces: [watch::Sender<Option<FaceBefore>>; 2] = Default::default();
        let model = vision.embedder_name();
        let mut cameras = Vec::new();
        for side in &lane.cameras {
            let slot = Arc::new(Slot::new(wakeup.clone()));
            let seen = Arc::new(FrameCounts::default());
            let name = format!("{}/{}", lane.name, side.direction);
            let capture =
                camera::spawn(&name, side, built.clock.clone(), cancel.clone(), slot.clone())?;
            self.captures.push(capture.thread);
            self.feeds.push(CameraFeed {
                name,
                direction: side.direction,
                slot: slot.clone(),
                lane: presents.clone(),
                passing: passing.subscribe(),
                seen: seen.clone(),
                face: faces[side.direction as usize].clone(),
                zone: side.zone.clone(),
                turn: Default::default(),
            });
            cameras.push(CameraPanel {
                direction: side.direction,
                source: side.source.to_string(),
                state: capture.state,
                stalled_after: camera::stalled_after(side),
                seen,
                slot,
                zone: side.zone.clone(),
            });
        }
        let mut readers = Vec::new();
        for reader in &lane.readers {
            let (readings, state) = reader::spawn(reader, built.clock.clone(), cancel.clone());
            let (name, direction) = (reader.name.clone(), reader.direction);
            let panel = ReaderPanel { name: name.clone(), direction, driver: reader.driver, state };
            let beside = lane.cameras.iter().find(|camera| camera.direction == direction);
            let camera = beside.filter(|_| reader.with_face != WithFace::Off).map(|camera| {
                let face = faces[direction as usize].subscribe();
                CameraBeside { face, model: model.to_owned(), kind: camera.source.kind() }
            });
            let (lane, with_face) = (presents.clone(), reader.with_face);
            self.readers.push(ReaderFeed { name, direction, lane, readings, with_face, camera });
            readers.push(panel);
        }
        let task = lane::LaneTask {
            rules,
            confirms,
            presented,
            requests: asked,
            turnstile: handle,
            store: built.store.clone(),
            ledger: built.ledger.clone(),
            clock: built.clock.clone(),
            stages: built.stages.clone(),
            state,
            passing,
            name: lane.name.clone(),
            beat: built.beats.part(format!("lane {}", lane.name)),
            denials: lane::Permits::default(),
            holding: ModeHolder::new(
                &lane.name,
                lane.fire_signal,
                mode,
                built.alarms,
                built.clock.stamp(),
            ),
            sensors: SensorHolder::new(sensors),
            photo_store: built.photo_store.clone(),
            watchers: watchers.clone(),
        };
        let stop = cancel.clone();
        tasks.spawn(async move {
            lane::run(task, stop).await;
            ("a lane", Err(anyhow::anyhow!("its task ended")))
        });
        self.panels.push(LanePanel {
            name: lane.name.clone(),
            requests,
            state: watched,
            turnstile: turnstile_state,
            fire_input: lane.fire_input,
            cameras,
            readers,
            watchers,
        });
        Ok(())
    }
}
