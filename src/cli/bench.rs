//! `gatehouse bench`: this machine's own figures, by stage.
//!
//! The models work on a photo in a 720p frame; the gate is the real daemon with a roster of
//! made-up workers and one real face, from its start to the release bytes at a simulated board.

#![allow(clippy::disallowed_methods, reason = "it measures")]

mod commits;
mod delivery;
mod lanes;
mod roster;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Context,
    rig::{self, Bench},
};
use crate::{
    clock::{Clock, SystemClock},
    config::{Config, Direction, FaceLimits},
    control::{Client, Request, Status},
    daemon,
    gate::{policy, sight::GATE_LONGEST_SIDE},
    ledger::{Body, Judgement, Score},
    roster::{Enrolment, FaceOnFile, IdType, Identity, Person, Roster, RosterError, Worker},
    store::{self, Priority},
    turnstile::PassageId,
    vision::{self, DetectOptions, EMBEDDER_NAME, Image, Models, TEMPLATE_LEN, Template, Vision},
};

#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  gatehouse bench\n  gatehouse bench --workers 200 --rounds 10"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    alone: Option<Alone>,
    /// Workers on the roster, three templates each
    #[arg(long, default_value_t = 1000)]
    workers: usize,
    /// How often each stage is run
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// A photo with one face, JPEG or PNG [default: person_a_2.jpg of models/photos]
    #[arg(long, value_name = "FILE")]
    photo: Option<PathBuf>,
}

/// What is measured by itself, in seconds.
#[derive(clap::Subcommand)]
enum Alone {
    /// What a passage's commits cost on the disk, beside bare SQLite's
    #[command(after_help = "Example:\n  gatehouse bench commits --dir /var/lib/gatehouse")]
    Commits(commits::Arguments),
    /// How fast a backlog drains to a broker, beside bare rumqttc
    #[command(after_help = "Example:\n  gatehouse bench delivery --broker mqtt://127.0.0.1:1883")]
    Delivery(delivery::Arguments),
    /// What lanes cost, idle and busy, and how long a face waits for the release
    #[command(after_help = "Example:\n  gatehouse bench lanes --lanes 1,4 --seconds 10")]
    Lanes(lanes::Arguments),
    /// How long a full roster takes to be listed, shown, changed and loaded
    #[command(after_help = "Example:\n  gatehouse bench roster --workers 1000")]
    Roster(roster::Arguments),
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Times {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Times {
    fn of(mut samples: Vec<Duration>) -> Times {
        samples.sort();
        let at = |quantile: f64| {
            let index = (samples.len() as f64 * quantile) as usize;
            let sample = samples.get(index.min(samples.len().saturating_sub(1)));
            sample.map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
        };
        Times { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    cores: usize,
    workers: usize,
    templates: usize,
    /// From the start of the process until requests are answered.
    start_to_ready_ms: f64,
    /// Until a worker who already stood there was granted.
    start_to_first_decision_ms: f64,
    /// Resident memory of that process.
    rss_mib: f64,
    rss_peak_mib: f64,
    /// One 1280x720 JPEG frame, one thread, by stage.
    decode_ms: Times,
    detect_ms: Times,
    embed_ms: Times,
    match_ms: Times,
    frame_ms: Times,
    /// A grant or an outcome, on the disk.
    commit_ms: Times,
    /// From a worker's first frame to the release bytes at the controller, two frames agreeing.
    step_up_to_release_ms: Times,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.alone {
        Some(Alone::Commits(arguments)) => return commits::run(context, arguments).await,
        Some(Alone::Delivery(arguments)) => return delivery::run(context, arguments).await,
        Some(Alone::Lanes(arguments)) => return lanes::run(context, arguments).await,
        Some(Alone::Roster(arguments)) => return roster::run(context, arguments).await,
        None => {}
    }
    let report = rig::unless_interrupted(measure(context, arguments)).await?;
    context.print(&report, human)?;
    Ok(ExitCode::SUCCESS)
}

/// A bench in a checkout needs no configuration; one that was named must be right.
fn models(context: &Context) -> anyhow::Result<Models> {
    match context.config() {
        Ok(config) => Ok(daemon::models(&config.models)),
        Err(e) if context.names_a_config() => Err(e.into()),
        Err(_) => Ok(Models::in_dir(&rig::models_of_checkout())),
    }
}

async fn measure(context: &Context, arguments: Arguments) -> anyhow::Result<Report> {
    let models = models(context)?;
    let photo =
        arguments.photo.unwrap_or_else(|| rig::models_of_checkout().join("photos/person_a_2.jpg"));
    let named = format!("{} (models/fetch gets it, --photo names another)", photo.display());
    let photo = std::fs::read(&photo).with_context(|| named.clone())?;
    let rounds = arguments.rounds.clamp(1, 10_000);
    let workers = arguments.workers.clamp(1, 10_000);

    let dir = models.detector.parent().map(PathBuf::from).unwrap_or_default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let bench = Bench::new(&dir, clock, "")?;
    let vision = Vision::load(&models, DetectOptions::default())?;
    let frame = frame_720p(&photo).with_context(|| named.clone())?;
    let limits = FaceLimits { min_face_px: 1.0, ..FaceLimits::default() };
    let (_, _, face, _) =
        vision.face_for_enrolment(&photo, &limits).with_context(|| named.clone())?;
    let roster = made_up_roster(workers, std::slice::from_ref(&face))?;
    let stages = stages(&vision, &frame, &roster, &bench.config, rounds)?;
    drop((vision, roster));
    fill(&bench.config, workers, &[face]).await?;
    let commit_ms = commits(&bench.config, rounds).await?;

    let process = of_a_process(&bench, frame.clone()).await?;
    let mut rig = bench.start().await?;
    let mut step_up = Vec::new();
    for _ in 0..rounds.min(10) {
        let steps_up = Instant::now();
        let worker = rig.show(frame.clone());
        rig.release().await?;
        step_up.push(steps_up.elapsed());
        worker.walks_off().await?;
        // This visit must be over and the cool-down too, or nobody is admitted anew.
        tokio::time::sleep(Duration::from_millis(2600)).await;
    }
    rig.stop().await?;
    let [decode_ms, detect_ms, embed_ms, match_ms, frame_ms] = stages;
    let milliseconds = |d: Duration| d.as_secs_f64() * 1000.0;
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
        workers,
        templates: workers * 3,
        start_to_ready_ms: milliseconds(process.ready),
        start_to_first_decision_ms: milliseconds(process.decided),
        rss_mib: process.rss_mib,
        rss_peak_mib: process.rss_peak_mib,
        decode_ms,
        detect_ms,
        embed_ms,
        match_ms,
        frame_ms,
        commit_ms,
        step_up_to_release_ms: Times::of(step_up),
    })
}

/// The photo in the middle of a 1280x720 JPEG.
fn frame_720p(photo: &[u8]) -> anyhow::Result<Vec<u8>> {
    let photo = vision::decode(photo)?;
    let whole = image::RgbImage::from_raw(photo.width(), photo.height(), photo.rgb().to_vec())
        .context("the photo's pixels")?;
    let whole = image::DynamicImage::from(whole).resize(1280, 720, image::imageops::Triangle);
    let mut frame = image::RgbImage::from_pixel(1280, 720, image::Rgb([96, 96, 96]));
    let left = i64::from((1280 - whole.width()) / 2);
    image::imageops::overlay(&mut frame, &whole.to_rgb8(), left, 0);
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 85).encode_image(&frame)?;
    Ok(jpeg)
}

fn stages(
    vision: &Vision,
    frame: &[u8],
    roster: &Roster,
    config: &Config,
    rounds: usize,
) -> anyhow::Result<[Times; 5]> {
    let mut samples: [Vec<Duration>; 5] = Default::default();
    // One round more than is counted: the first makes the detector's plan for this size.
    for round in 0..=rounds {
        let began = Instant::now();
        let image: Image = vision::decode(frame)?;
        let decoded = began.elapsed();
        let faces = vision.detect(&image, GATE_LONGEST_SIDE)?;
        let detected = began.elapsed();
        let face = faces.into_iter().next().context("no face in the frame")?;
        let template = vision.embed(&image, &face)?;
        let embedded = began.elapsed();
        let found = policy::judge(roster.best(&template), &config.recognition);
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

/// Somebody is let through.
fn grant(passage: PassageId, person: Person) -> Body {
    Body::Grant {
        passage,
        lane: rig::LANE.to_owned(),
        direction: Direction::Entry,
        person,
        judgement: Judgement {
            score: Score(7000),
            threshold: Score(5000),
            model: EMBEDDER_NAME.to_owned(),
        },
        margin: Some(Score(5000)),
        roster_version: 1,
        photo: None,
    }
}

fn person(n: usize) -> anyhow::Result<Person> {
    let text = |what: &str| format!("{what} {}", n % 20);
    Ok(Person {
        id: format!("B{n:05}").parse()?,
        name: text("Worker"),
        team: text("Team"),
        contractor: text("Contractor"),
        trade: text("Trade"),
    })
}

fn worker(n: usize) -> anyhow::Result<Worker> {
    let mut worker = Worker { templates: 3, ..Worker::new(person(n)?) };
    worker.terms.consent = Some("BENCH".to_owned());
    Ok(worker)
}

/// A unit vector in a random direction: as far from every face as strangers are.
fn random_template() -> anyhow::Result<Template> {
    let mut bytes = [0_u8; TEMPLATE_LEN * 2];
    getrandom::fill(&mut bytes)?;
    let numbers: Vec<f32> = bytes
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) + 0.5)
        .collect();
    let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit: Vec<f32> = numbers.iter().map(|x| x / norm).collect();
    Ok(Template::from_slice(&unit)?)
}

/// The templates of worker `n`; the first workers have real faces.
fn templates(n: usize, faces: &[Template]) -> anyhow::Result<Vec<Template>> {
    (0..3).map(|_| faces.get(n).map_or_else(random_template, |face| Ok(face.clone()))).collect()
}

fn made_up_roster(workers: usize, faces: &[Template]) -> anyhow::Result<Roster> {
    let all: anyhow::Result<Vec<_>> =
        (0..workers).map(|n| Ok((worker(n)?, templates(n, faces)?))).collect();
    Ok(Roster::new(1, all?))
}

/// Enrols the made-up workers into the bench's database, in one transaction.
async fn fill(config: &Config, workers: usize, faces: &[Template]) -> anyhow::Result<()> {
    let enrolments: anyhow::Result<Vec<_>> = (0..workers)
        .map(|n| {
            let photo = |template| FaceOnFile { template, jpeg: vec![0; 8 * 1024] };
            Ok(Enrolment {
                worker: worker(n)?,
                identity: Identity::checked(
                    IdType::Passport,
                    &format!("BENCH{n:05}"),
                    Default::default(),
                    None,
                )?,
                model: EMBEDDER_NAME.to_owned(),
                faces: templates(n, faces)?.into_iter().map(photo).collect(),
            })
        })
        .collect();
    let enrolments = enrolments?;
    let (store, thread) = store::open(&config.storage, Arc::new(SystemClock::new()?))?;
    let sealer = store.sealer().clone();
    store
        .write(Priority::Upkeep, move |tx| {
            enrolments.iter().try_for_each(|e| crate::roster::enrol(tx, &sealer, e))?;
            Ok::<_, RosterError>(())
        })
        .await?;
    drop(store);
    Ok(thread.join()?)
}

/// Grants and their outcomes, each committed by itself.
async fn commits(config: &Config, rounds: usize) -> anyhow::Result<Times> {
    let passages = commits::Passages::open(&config.storage).await?;
    let mut samples = Vec::new();
    for _ in 0..rounds {
        let (grant, outcome) = passages.passage().await?;
        samples.extend([grant, outcome]);
    }
    passages.close()?;
    Ok(Times::of(samples))
}

/// What a daemon of its own took.
struct Process {
    ready: Duration,
    decided: Duration,
    rss_mib: f64,
    rss_peak_mib: f64,
}

/// `gatehouse run` on the bench's folder, with somebody before the camera from the first moment.
async fn of_a_process(bench: &Bench, frame: Vec<u8>) -> anyhow::Result<Process> {
    const POLL: Duration = Duration::from_millis(5);
    let worker = bench.show(frame);
    let began = Instant::now();
    let mut daemon = Daemon::start(&bench.config.path)?;
    let mut ready = None;
    let decided = loop {
        anyhow::ensure!(daemon.0.try_wait()?.is_none(), "the daemon ended early");
        anyhow::ensure!(began.elapsed() < rig::PATIENCE, "the daemon decided nothing");
        if let Ok(mut client) = Client::connect(&bench.config.control.socket).await {
            ready = ready.or(Some(began.elapsed()));
            let status: Status = client.ask(&Request::Status, |_: serde_json::Value| {}).await?;
            if status.lanes.iter().any(|lane| lane.gate.grants > 0) {
                break began.elapsed();
            }
        }
        tokio::time::sleep(POLL).await;
    };
    worker.walks_off().await?;
    let account = daemon.account("status")?;
    let (rss_mib, rss_peak_mib) = (memory(&account, "VmRSS")?, memory(&account, "VmHWM")?);
    daemon.stop().await?;
    Ok(Process { ready: ready.unwrap_or(decided), decided, rss_mib, rss_peak_mib })
}

/// Ended with the bench, however that ends.
struct Daemon(Child);

impl Daemon {
    fn start(config: &Path) -> anyhow::Result<Daemon> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
        Ok(Daemon(command.stderr(Stdio::null()).spawn()?))
    }

    /// A file of `/proc/PID`.
    fn account(&self, name: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{name}", self.0.id()))?)
    }

    /// CPU time used so far, by all threads.
    fn cpu(&self) -> anyhow::Result<Duration> {
        // The name, in brackets, may hold spaces; utime and stime are the 12th and 13th after it.
        let stat = self.account("stat")?;
        let after = stat.rsplit_once(')').context("/proc/PID/stat")?.1;
        let ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>()?;
        let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(Duration::from_secs_f64(ticks as f64 / a_second as f64))
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.0.id())?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM)?;
        tokio::task::spawn_blocking(move || self.0.wait()).await??;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line of a process's memory account, in MiB.
fn memory(account: &str, field: &str) -> anyhow::Result<f64> {
    let line = account.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let kib: f64 = line
        .and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok())
        .with_context(|| format!("/proc/self/status has no {field}"))?;
    Ok(kib / 1024.0)
}

fn human(report: &Report) -> String {
    let one = |what: &str, value: f64, unit: &str| format!("{what:<38}{value:9.1} {unit}\n");
    let row =
        |what: &str, t: &Times| format!("{what:<38}{:9.2} {:9.2} {:9.2}\n", t.p50, t.p99, t.max);
    [
        format!(
            "gatehouse {} · {} cores · {} workers, {} templates\n\n",
            report.version, report.cores, report.workers, report.templates
        ),
        one("start to ready", report.start_to_ready_ms, "ms"),
        one("start to first decision", report.start_to_first_decision_ms, "ms"),
        one("resident memory", report.rss_mib, "MiB"),
        one("resident memory, peak", report.rss_peak_mib, "MiB"),
        format!("\n{:<38}{:>9} {:>9} {:>9}\n", "ms", "p50", "p99", "max"),
        row("decode 1280x720 JPEG", &report.decode_ms),
        row("detect", &report.detect_ms),
        row("align and embed", &report.embed_ms),
        row("match and judge", &report.match_ms),
        row("whole frame, one thread", &report.frame_ms),
        row("commit a grant or an outcome", &report.commit_ms),
        row("step up to release bytes", &report.step_up_to_release_ms),
    ]
    .concat()
}
