//! Measures the stages of a frame, and a gate from its start to the release.
//!
//! The stages run on a photo in a 720p frame. The gate is the real daemon with a simulated board
//! and a roster of made-up workers with one real face. Out: a [`Report`].

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use image::RgbImage;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    Context, Times, before,
    commits::passages,
    crowd::{fill, made_up_roster},
    jpeg,
    process::{Daemon, status},
    table_head,
};
use crate::{
    cli::rig::{self, Bench},
    clock::{Clock, SystemClock},
    config::{Config, FaceLimits, ModelFiles},
    gate::{
        pace::Capacity,
        policy,
        vision_pool::{self, GATE_LONGEST_SIDE, probe},
    },
    roster::Roster,
    vision::{self, Image, Vision},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Workers on the roster, three templates each
    #[arg(long, default_value_t = 1000)]
    workers: usize,
    /// How many times each stage is run
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// A photo with one face, JPEG or PNG [default: person_a_2.jpg of models/photos]
    #[arg(long, value_name = "FILE")]
    photo: Option<PathBuf>,
}

#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    cores: usize,
    workers: usize,
    templates: usize,
    #[serde(flatten)]
    process: Process,
    /// One 1280x720 JPEG frame, one thread, by stage.
    decode_ms: Times,
    detect_ms: Times,
    embed_ms: Times,
    match_ms: Times,
    frame_ms: Times,
    /// A look at a face as the gate takes it, one thread.
    look_ms: Times,
    /// Number of cameras that this box carries; see [`Capacity::carries`].
    cameras: usize,
    /// Commit of a grant or an outcome to the disk.
    commit_ms: Times,
    /// Time from a worker's first frame to the release bytes at the controller. Two frames must
    /// agree.
    step_up_to_release_ms: Times,
}

/// Returns the configured models. A bench in a checkout needs no configuration, and then uses the
/// checkout's models. A configuration that the user named must be right.
fn models(context: &Context) -> anyhow::Result<ModelFiles> {
    match context.config() {
        Ok(config) => Ok(config.models),
        Err(e) if context.config.is_some() => Err(e.into()),
        Err(_) => Ok(ModelFiles::in_dir(&rig::models_of_checkout())),
    }
}

pub(super) async fn measure(context: &Context, arguments: Arguments) -> anyhow::Result<Report> {
    let models = models(context)?;
    let photo =
        arguments.photo.unwrap_or_else(|| rig::models_of_checkout().join("photos/person_a_2.jpg"));
    let named = format!("{} (run models/fetch, or give another --photo)", photo.display());
    let photo = std::fs::read(&photo).with_context(|| named.clone())?;
    let rounds = arguments.rounds.clamp(1, 10_000);
    let workers = arguments.workers.clamp(1, 10_000);

    let dir = models.detector.parent().map(PathBuf::from).unwrap_or_default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let bench = Bench::with_lane(&dir, clock, "")?;
    let vision = Vision::load(&models)?;
    let grey = RgbImage::from_pixel(1280, 720, image::Rgb([96, 96, 96]));
    let frame = jpeg(&before(grey, &photo, 0).with_context(|| named.clone())?, 85)?;
    let limits = FaceLimits { min_face_px: 1.0, ..FaceLimits::default() };
    let face = vision.face_for_enrolment(&photo, &limits).with_context(|| named.clone())?.template;
    let roster = made_up_roster(workers, std::slice::from_ref(&face))?;
    let stages = stages(&vision, &frame, &roster, &bench.config, rounds)?;
    let looks = probe::looks(&vision, &*bench.clock, rounds, &CancellationToken::new())?;
    let frames_to_agree = bench.config.recognition.frames_to_agree;
    let capacity = Capacity::new(vision_pool::workers(), 1, frames_to_agree);
    let look_ms = Times::of(looks);
    let cameras = capacity.carries(Duration::from_secs_f64(look_ms.p50 / 1000.0));
    drop((vision, roster));
    fill(&bench.config, workers, &[face]).await?;
    let commits = passages(&bench.config.storage, 0, rounds).await?;
    let commit_ms = Times::of(commits.concat());

    let process = of_a_process(&bench, frame.clone()).await?;
    let mut rig = bench.start().await?;
    let mut step_up = Vec::new();
    for _ in 0..rounds.min(10) {
        let steps_up = Instant::now();
        let worker = rig.bench.show(frame.clone());
        rig.release().await?;
        step_up.push(steps_up.elapsed());
        worker.walks_off().await?;
        // The next grant needs a new visit, after the end of the cool-down.
        tokio::time::sleep(Duration::from_millis(2600)).await;
    }
    rig.stop().await?;
    let [decode_ms, detect_ms, embed_ms, match_ms, frame_ms] = stages;
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
        workers,
        templates: workers * 3,
        process,
        decode_ms,
        detect_ms,
        embed_ms,
        match_ms,
        frame_ms,
        look_ms,
        cameras,
        commit_ms,
        step_up_to_release_ms: Times::of(step_up),
    })
}

fn stages(
    vision: &Vision,
    frame: &[u8],
    roster: &Roster,
    config: &Config,
    rounds: usize,
) -> anyhow::Result<[Times; 5]> {
    let mut samples: [Vec<Duration>; 5] = Default::default();
    let rules = &config.recognition;
    let threshold = rules.threshold.in_force(roster.confirmed_templates());
    // The first round is not counted, because it makes the detector's plan for this frame size.
    for round in 0..=rounds {
        let began = Instant::now();
        let image: Image = vision::decode(frame)?;
        let decoded = began.elapsed();
        let faces = vision.detect(&image, GATE_LONGEST_SIDE)?;
        let detected = began.elapsed();
        let face = faces.into_iter().next().context("no face in the frame")?;
        let template = vision.embed(&image, &face)?;
        let embedded = began.elapsed();
        let found = policy::found(roster, &template, threshold, rules.margin);
        let matched = began.elapsed();
        anyhow::ensure!(matches!(found, policy::Sighted::Worker(_)), "the face was not recognised");
        if round > 0 {
            let stages =
                [decoded, detected - decoded, embedded - detected, matched - embedded, matched];
            samples.iter_mut().zip(stages).for_each(|(all, stage)| all.push(stage));
        }
    }
    Ok(samples.map(Times::of))
}

/// Times and memory of a daemon in a process of its own.
#[derive(Serialize)]
struct Process {
    /// Time from the start until requests are answered.
    start_to_ready_ms: f64,
    /// Time from the start until the grant of a worker who stands before the camera.
    start_to_first_decision_ms: f64,
    /// Resident memory.
    rss_mib: f64,
    rss_peak_mib: f64,
}

/// Measures `gatehouse run` in the bench's folder, with a worker before the camera from the start.
async fn of_a_process(bench: &Bench, frame: Vec<u8>) -> anyhow::Result<Process> {
    const POLL: Duration = Duration::from_millis(5);
    let worker = bench.show(frame);
    let began = Instant::now();
    let mut daemon = Daemon::start(&bench.config.path)?;
    let mut ready = None;
    let decided = loop {
        anyhow::ensure!(daemon.still_runs()?, "the daemon ended during the measurement");
        anyhow::ensure!(began.elapsed() < rig::TIMEOUT, "the daemon granted no worker in time");
        if let Some(status) = status(&bench.config.control.socket).await? {
            ready = ready.or(Some(began.elapsed()));
            if status.lanes.iter().any(|lane| lane.gate.grants > 0) {
                break began.elapsed();
            }
        }
        tokio::time::sleep(POLL).await;
    };
    worker.walks_off().await?;
    let milliseconds = |d: Duration| d.as_secs_f64() * 1000.0;
    let took = Process {
        start_to_ready_ms: milliseconds(ready.unwrap_or(decided)),
        start_to_first_decision_ms: milliseconds(decided),
        rss_mib: daemon.memory("VmRSS")?,
        rss_peak_mib: daemon.memory("VmHWM")?,
    };
    daemon.stop().await?;
    Ok(took)
}

pub(super) fn human(report: &Report) -> String {
    let one = |what: &str, value: f64, unit: &str| format!("{what:<38}{value:9.1} {unit}\n");
    [
        format!(
            "gatehouse {} · {} cores · {} workers, {} templates\n\n",
            report.version, report.cores, report.workers, report.templates
        ),
        one("start to ready", report.process.start_to_ready_ms, "ms"),
        one("start to first decision", report.process.start_to_first_decision_ms, "ms"),
        one("resident memory", report.process.rss_mib, "MiB"),
        one("resident memory, peak", report.process.rss_peak_mib, "MiB"),
        format!("{:<38}{:7}\n", "cameras that this box carries", report.cameras),
        table_head(),
        report.decode_ms.row("decode 1280x720 JPEG"),
        report.detect_ms.row("detect"),
        report.embed_ms.row("align and embed"),
        report.match_ms.row("match and judge"),
        report.frame_ms.row("whole frame, one thread"),
        report.look_ms.row("look at a face"),
        report.commit_ms.row("commit a grant or an outcome"),
        report.step_up_to_release_ms.row("step up to release bytes"),
    ]
    .concat()
}
