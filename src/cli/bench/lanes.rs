//! Measures the CPU load of lanes, idle and busy, and the latency from a face to the release.
//!
//! The daemon runs as a process of its own. Each lane has a 720p MJPEG camera over HTTP and a relay
//! board on a pseudo-terminal. Cameras and boards run in the bench's process, so the CPU time is
//! the daemon's alone. A latency begins when the first frame with the face had been sent. It ends
//! when the board has received the bytes of the release.

mod camera;

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{sync::broadcast, time::timeout};

use self::camera::{BenchCamera, Scenes};
use super::{
    Times,
    crowd::fill,
    process::{Daemon, status},
};
use crate::{
    cli::rig,
    clock::{Clock, SystemClock},
    config::{FaceLimits, ModelFiles},
    turnstile::{DeviceFrame, SimulatedDevice, drivers::simulated::SimulatedTurnstile},
    vision::{Template, Vision},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Numbers of lanes, with commas between them; each number is measured by itself
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 8])]
    lanes: Vec<usize>,
    /// Time for which the CPU load is measured, idle and busy each; seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Frames per second of each camera
    #[arg(long, default_value_t = 15.0)]
    fps: f32,
    /// People per minute at each lane while it is busy
    #[arg(long, default_value_t = 40)]
    people: u32,
    /// Number of people who come one by one to an idle gate
    #[arg(long, default_value_t = 12)]
    visits: usize,
    /// Workers on the roster, three templates each
    #[arg(long, default_value_t = 1000)]
    workers: usize,
}

/// The people: for each, the photo for the enrolment and the photo for the camera.
const PEOPLE: [(&str, &str); 4] = [
    ("person_a_2.jpg", "person_a_1.jpg"),
    ("person_b_2.jpg", "person_b_1.jpg"),
    ("impostor_1.jpg", "impostor_1.jpg"),
    ("impostor_2.jpg", "impostor_2.jpg"),
];
/// Timeout after which a person without a release goes away.
const GIVES_UP: Duration = Duration::from_secs(4);
/// Interval between two people at an idle gate. It is long enough for the first visit to end.
const IDLE_BETWEEN: Duration = Duration::from_secs(4);
/// Time from a release until the camera no longer sees the person.
const WALKS_OFF: Duration = Duration::from_millis(300);

#[derive(Serialize)]
pub(super) struct Row {
    lanes: usize,
    /// CPU load for each lane, in percent of one core.
    idle_cpu_percent: f64,
    busy_cpu_percent: f64,
    /// Time from the face's first frame to the release bytes, at an idle gate and at a busy gate.
    idle_ms: Times,
    busy_ms: Times,
    /// Number of people who came, and number of these who were released.
    people: usize,
    let_through: usize,
    rss_mib: f64,
}

pub(super) async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let models = rig::models_of_checkout();
    let photos = |name: &str| -> anyhow::Result<Vec<u8>> {
        let path = models.join("photos").join(name);
        std::fs::read(&path).with_context(|| format!("{} (run models/fetch)", path.display()))
    };
    let vision = Vision::load(&ModelFiles::in_dir(&models))?;
    let (mut faces, mut shown) = (Vec::new(), Vec::new());
    for (enrolled, before_camera) in PEOPLE {
        let limits = FaceLimits { min_face_px: 1.0, ..FaceLimits::default() };
        let face = vision.face_for_enrolment(&photos(enrolled)?, &limits)?;
        faces.push(face.template);
        shown.push(photos(before_camera)?);
    }
    drop(vision);
    let scenes = Arc::new(Scenes::new(&shown)?);
    let mut rows = Vec::new();
    for lanes in &arguments.lanes {
        let site = Site::start((*lanes).clamp(1, 64), &faces, &scenes, &models, arguments).await?;
        rows.push(site.measure(arguments).await?);
    }
    Ok(rows)
}

/// A daemon with its lanes.
struct Site {
    lanes: Vec<BenchLane>,
    daemon: Daemon,
    bench: rig::Bench,
}

struct BenchLane {
    camera: BenchCamera,
    line: broadcast::Receiver<DeviceFrame>,
    _device: SimulatedDevice,
}

impl Site {
    async fn start(
        count: usize,
        faces: &[Template],
        scenes: &Arc<Scenes>,
        models: &Path,
        arguments: &Arguments,
    ) -> anyhow::Result<Site> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
        let (mut text, mut lanes) = (String::new(), Vec::new());
        for n in 0..count {
            let (tap, line) = broadcast::channel(1024);
            let pass_after = Some(Duration::from_millis(300));
            let simulated = SimulatedTurnstile { pass_after, fire_input: None };
            let device = simulated.device(clock.clone(), tap)?;
            let camera = BenchCamera::start(scenes.clone(), arguments.fps, clock.clone())?;
            write!(
                text,
                "[[lane]]\nname = \"lane-{n}\"\ncool_down_s = 1\n[lane.turnstile]\n\
                 driver = \"modbus-rtu\"\nport = {:?}\n[[lane.camera]]\ndirection = \"entry\"\n\
                 source = \"http://{}/\"\n",
                device.path(),
                camera.address
            )?;
            lanes.push(BenchLane { camera, line, _device: device });
        }
        let bench = rig::Bench::new(models, clock, &text)?;
        fill(&bench.config, arguments.workers.clamp(PEOPLE.len(), 10_000), faces).await?;
        let daemon = Daemon::start(&bench.config.path)?;
        let site = Site { lanes, daemon, bench };
        timeout(rig::TIMEOUT, site.ready()).await.context("the lanes are not ready in time")??;
        Ok(site)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        loop {
            let status = status(&self.bench.config.control.socket).await?;
            if status.is_some_and(|status| status.lanes.iter().all(|lane| lane.ready)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn measure(mut self, arguments: &Arguments) -> anyhow::Result<Row> {
        let count = self.lanes.len();
        let window = Duration::from_secs(arguments.seconds.clamp(1, 3600));
        tokio::time::sleep(IDLE_BETWEEN).await;
        let percent = |used: Duration, over: Duration| {
            used.as_secs_f64() / over.as_secs_f64() * 100.0 / count as f64
        };
        let before = self.daemon.cpu()?;
        tokio::time::sleep(window).await;
        let idle_cpu_percent = percent(self.daemon.cpu()? - before, window);

        let mut alone = Vec::new();
        for n in 0..arguments.visits {
            let lane = self.lanes.get_mut(n % count).context("a lane")?;
            alone.push(lane.visit(n % PEOPLE.len()).await?);
            tokio::time::sleep(IDLE_BETWEEN).await;
        }

        let clock = self.bench.clock.clone();
        let (begun, before) = (clock.monotonic(), self.daemon.cpu()?);
        let every = Duration::from_secs(60) / arguments.people.clamp(1, 60);
        let mut crowds = tokio::task::JoinSet::new();
        for (n, mut lane) in self.lanes.drain(..).enumerate() {
            let (clock, ends) = (clock.clone(), begun + window);
            crowds.spawn(async move {
                // The lanes start one after the other, because people do not come at the same time.
                let mut next = begun + every * (n as u32) / (count as u32);
                let mut latencies = Vec::new();
                let mut person = n;
                while next < ends {
                    tokio::time::sleep(next - clock.monotonic()).await;
                    latencies.push(lane.visit(person % PEOPLE.len()).await?);
                    person += 1;
                    next = (next + every).max(clock.monotonic());
                }
                anyhow::Ok((lane, latencies))
            });
        }
        let mut busy = Vec::new();
        let mut kept = Vec::new();
        while let Some(done) = crowds.join_next().await {
            let (lane, latencies) = done??;
            kept.push(lane);
            busy.extend(latencies);
        }
        let took = clock.monotonic() - begun;
        let busy_cpu_percent = percent(self.daemon.cpu()? - before, took);
        let rss_mib = self.daemon.memory("VmRSS")?;
        let people = alone.len() + busy.len();
        let let_through = alone.iter().chain(&busy).flatten().count();
        self.daemon.stop().await?;
        Ok(Row {
            lanes: count,
            idle_cpu_percent,
            busy_cpu_percent,
            idle_ms: Times::of(alone.into_iter().flatten().collect()),
            busy_ms: Times::of(busy.into_iter().flatten().collect()),
            people,
            let_through,
            rss_mib,
        })
    }
}

impl BenchLane {
    /// Shows a person until the release. Returns the latency, or `None` after the timeout.
    async fn visit(&mut self, person: usize) -> anyhow::Result<Option<Duration>> {
        self.camera.show(Some(person));
        let released = timeout(GIVES_UP, rig::released(&mut self.line)).await;
        let since = self.camera.shown_since();
        if released.is_ok() {
            tokio::time::sleep(WALKS_OFF).await;
        }
        self.camera.show(None);
        let Ok(released) = released else { return Ok(None) };
        Ok(Some(released?.at.since(since.context("a release before the first frame")?)))
    }
}

pub(super) fn human(rows: &[Row], arguments: &Arguments) -> String {
    let mut out = format!(
        "CPU load for each lane in percent of one core, {} fps 720p MJPEG; ms from a face's first \
         frame to the release bytes\n\n{:>5} {:>10} {:>10} {:>20} {:>20} {:>12} {:>8}\n",
        arguments.fps,
        "lanes",
        "idle",
        "busy",
        "idle p50/p99",
        "busy p50/p99",
        "let through",
        "MiB"
    );
    for row in rows {
        let times = |t: &Times| format!("{:.0}/{:.0} ms", t.p50, t.p99);
        let _ = writeln!(
            out,
            "{:>5} {:>9.1}% {:>9.1}% {:>20} {:>20} {:>12} {:>8.0}",
            row.lanes,
            row.idle_cpu_percent,
            row.busy_cpu_percent,
            times(&row.idle_ms),
            times(&row.busy_ms),
            format!("{}/{}", row.let_through, row.people),
            row.rss_mib
        );
    }
    let _ = write!(out, "\nbusy: {} people per minute at each lane", arguments.people);
    out
}
