//! `gatehouse check`: checks each part by itself, and prints a line for each: ok, or the problem
//! and what to do. Needs no daemon, and leaves to a running daemon what it uses.

mod cards;
mod guard;
mod machine;
mod secrets;
mod upstream;

use std::{
    net::SocketAddr, os::unix::fs::MetadataExt, path::Path, process::ExitCode, sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    camera::{self, Picture, Slot, TIMEOUT, Wakeup},
    clock::{Clock, Stamp, SystemClock},
    config::{
        self, CameraSource, Config, Mode, Recognition, Secret, Storage, Threshold, TurnstileDriver,
    },
    control::Request,
    gate::{
        lane::LivenessShown,
        pace::Capacity,
        vision_pool::{self, probe},
    },
    roster,
    status::{Part, ReaderStatus, Status, threshold_low},
    store::{self, Room},
    turnstile::{self, Buses},
    vision::{self, Vision},
    words::counted,
};

const LISTENER_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout after which a camera without a frame has failed. Opening a camera takes less, also when
/// it fails.
const CAMERA_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Line {
    check: String,
    ok: bool,
    /// The part works, but a change is recommended.
    warning: bool,
    /// What was found. If it is not ok, also what to do.
    detail: String,
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, check: impl Into<String>, found: Result<String, String>) {
        let (ok, detail) = match found {
            Ok(detail) => (true, detail),
            Err(problem) => (false, problem),
        };
        self.0.push(Line { check: check.into(), ok, warning: false, detail });
    }

    fn warn(&mut self, check: impl Into<String>, detail: String) {
        self.0.push(Line { check: check.into(), ok: true, warning: true, detail });
    }
}

#[derive(clap::Args)]
pub(super) struct Check {
    /// Only listen to this reader for 10 s, and show the cards that it reads; needs the port, so
    /// stop the daemon first
    #[arg(long, value_name = "NAME")]
    reader: Option<String>,
}

pub(super) async fn run(context: &Context, check: Check) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    if let Some(name) = check.reader {
        return listen(context, &config, &name).await;
    }
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let mut lines = Lines::default();
    lines.add("configuration", Ok(config.path.display().to_string()));
    let connected = UnixStream::connect(&config.control.socket).await;
    let denied = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    // A socket that refuses this user exists, so a daemon runs.
    let running = connected.as_ref().map_or_else(denied, |_| true);
    let (daemon, status) = match &connected {
        // A daemon that waits for its disk answers with the reason.
        Ok(_) => match context.ask::<Status>(&Request::Status).await {
            Ok(status) => (Ok("running"), Some(status)),
            Err(error) => {
                (Err(format!("it runs, but does not answer for the gate: {error:#}")), None)
            }
        },
        Err(_) if running => (Ok("running"), None),
        Err(_) => (Ok("not running"), None),
    };
    lines.add("daemon", daemon.map(str::to_owned));
    let runs_with = status.as_ref().map(|status| &*status.config_sha256);
    if runs_with.is_some_and(|sha256| !sha256.is_empty() && sha256 != hex::encode(config.sha256)) {
        lines.warn(
            "daemon",
            "it runs with another configuration than this file: what follows of its links, lanes and \
             devices is of that one. Restart it, and check again"
                .to_owned(),
        );
    }
    if let Some(status) = &status {
        let troubles = status.degraded.iter().filter(|d| d.what == Part::Deletion);
        troubles.for_each(|trouble| lines.warn("deletion", trouble.remedy.clone()));
    }
    let models = config.models.clone();
    let liveness = config.recognition.liveness;
    let loaded = tokio::task::spawn_blocking(move || Vision::configured(&models, liveness));
    match loaded.await? {
        Ok(vision) => {
            let judges = if vision.judges() { ", and the liveness model" } else { "" };
            lines.add("models", Ok(format!("{} can be loaded{judges}", vision.embedder_name())));
            let look_ms = status.as_ref().and_then(|status| status.vision.look_ms);
            let known = look_ms.map(Duration::from_millis);
            let rules = config.recognition;
            let cameras = config.lanes.iter().map(|lane| lane.cameras.len()).sum();
            let measured = move || speed(&rules, cameras, &vision, known);
            let (capacity, look) = tokio::task::spawn_blocking(measured).await??;
            add_speed(&mut lines, &capacity, look);
        }
        Err(e) => lines.add("models", Err(e.to_string())),
    }
    if !vision::decodes_with_vectors() {
        lines.warn(
            "pictures",
            "are decoded without the CPU's vector instructions, which takes up to three times as long, \
             because the program was built without an assembler. Install it (on x86-64: nasm), run \
             `cargo clean --release -p mozjpeg-sys -p openh264-sys2`, and build again"
                .to_owned(),
        );
    }
    secrets::check(&mut lines, &config);
    let mut templates = status.as_ref().map(|status| status.roster.templates);
    let mut faces = status.as_ref().map(guard::shown).unwrap_or_default();
    lines.add("storage", storage(&config, running, &mut templates, &mut faces));
    guard::check(&mut lines, &config, &faces);
    threshold(&mut lines, config.recognition.threshold, templates);
    if let Some(warning) = key_beside_the_data(&config.storage) {
        lines.warn("key", warning);
    }
    let clock = Arc::new(SystemClock::new()?);
    lines.add("clock", synchronised(clock.stamp()));
    if config.mode == Mode::Field {
        machine::check(&mut lines, Path::new("/"), clock.stamp());
    }
    let buses = Buses::new(clock.clone());
    // Lanes that share a line are tested one after the other, while the line stays open.
    let lines_of_lanes = config.lanes.iter().filter_map(|lane| lane.turnstile.place());
    let _ports: Vec<_> = lines_of_lanes.map(|(line, _)| buses.port(line)).collect();
    for lane in &config.lanes {
        let name = format!("turnstile {}", lane.name);
        lines.add(name, turnstile(&lane.turnstile, &buses, running).await);
        for camera in &lane.cameras {
            let name = format!("camera {}/{}", lane.name, camera.direction);
            lines.add(name.clone(), source(name, camera, running).await);
        }
        for reader in &lane.readers {
            let shown = status.as_ref().and_then(|status| shown(status, &reader.name));
            let found = cards::check(reader, running, shown, clock.clone()).await;
            lines.add(format!("reader {}", reader.name), found);
        }
    }
    if config.lanes.is_empty() {
        lines.add("lanes", Err(super::status::NO_LANE.to_owned()));
    }
    for upstream in &config.upstreams {
        let daemon = (running, status.as_ref());
        upstream::check(&mut lines, &config, upstream, daemon, clock.as_ref()).await;
    }
    if let Some(address) = config.metrics.listen {
        lines.add("metrics", metrics(address, running).await);
    }
    let all_ok = lines.0.iter().all(|line| line.ok);
    for line in &lines.0 {
        context.print(line, |l| {
            let word = match l {
                Line { ok: false, .. } => "FAIL",
                Line { warning: true, .. } => "warn",
                Line { .. } => "ok",
            };
            format!("{word:<5} {}: {}", l.check, l.detail)
        })?;
    }
    Ok(if all_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns whether the box carries these cameras, and the time of a look. Measures it if it is not
/// known.
fn speed(
    rules: &Recognition,
    cameras: usize,
    vision: &Vision,
    known: Option<Duration>,
) -> anyhow::Result<(Capacity, Duration)> {
    let clock = SystemClock::new()?;
    let look = match known {
        Some(look) => look,
        None => probe::best_look(vision, &clock, &CancellationToken::new())?.unwrap_or_default(),
    };
    let capacity = Capacity::new(vision_pool::workers(), cameras, rules.frames_to_agree);
    capacity.observe(clock.monotonic(), look);
    Ok((capacity, look))
}

/// Shows what a reader reads.
async fn listen(context: &Context, config: &Config, name: &str) -> anyhow::Result<ExitCode> {
    let mut readers = config.lanes.iter().flat_map(|lane| &lane.readers);
    let Some(reader) = readers.clone().find(|reader| reader.name == name) else {
        let names: Vec<_> = readers.by_ref().map(|reader| reader.name.as_str()).collect();
        anyhow::bail!("there is no reader {name:?} in the configuration; there are: {names:?}");
    };
    if UnixStream::connect(&config.control.socket).await.is_ok() {
        anyhow::bail!(
            "the daemon uses reader {name}: stop it first, or see `gatehouse lane watch`, which \
             shows each card that a lane gets"
        );
    }
    let clock = Arc::new(SystemClock::new()?);
    let said = |detail: String, ok: bool| {
        let line = Line { check: format!("reader {name}"), ok, warning: false, detail };
        context.print(&line, |line| format!("{}: {}", line.check, line.detail))
    };
    let read = cards::listen(reader, clock, said).await?;
    Ok(if read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the reader as the daemon shows it.
fn shown<'s>(status: &'s Status, reader: &str) -> Option<&'s ReaderStatus> {
    status.lanes.iter().flat_map(|lane| &lane.readers).find(|shown| shown.name == reader)
}

fn add_speed(lines: &mut Lines, capacity: &Capacity, look: Duration) {
    match capacity.too_slow() {
        Some(problem) if capacity.misses_decisions() => lines.add("speed", Err(problem)),
        Some(problem) => lines.warn("speed", problem),
        None => lines.add("speed", Ok(format!("fast enough for {}", capacity.load(look)))),
    }
}

/// Adds whether the match threshold suits the roster.
fn threshold(lines: &mut Lines, threshold: Threshold, templates: Option<usize>) {
    // Without a roster to read, the line of the daemon or the storage gives the reason.
    let Some(templates) = templates else { return };
    let in_force = threshold.in_force(templates);
    match threshold.too_low(templates) {
        Some(share) => lines.warn("threshold", threshold_low(in_force, templates, share)),
        None => {
            let templates = counted(templates as u64, "template");
            lines.add("threshold", Ok(format!("{} for {templates}", in_force.cosine())));
        }
    }
}

fn storage(
    config: &Config,
    running: bool,
    templates: &mut Option<usize>,
    faces: &mut Vec<(String, LivenessShown)>,
) -> Result<String, String> {
    let dir = &config.storage.dir;
    if !dir.exists() {
        *templates = Some(0);
        let parent = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
        let writable = nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK);
        return match writable {
            Ok(()) => Ok(format!("{} will be created at the first start", dir.display())),
            Err(e) => Err(format!(
                "{} cannot be created: {}: {e}; allow this user to write there",
                dir.display(),
                parent.display()
            )),
        };
    }
    let found = if running {
        "is in use by the daemon"
    } else {
        let read = store::examine(&config.storage, |db| {
            Ok((roster::count_templates(db)?, guard::kept(config, db)))
        });
        let (count, kept) = read.map_err(|e| e.to_string())?.unwrap_or_default();
        (*templates, *faces) = (Some(count), kept);
        "is not damaged"
    };
    let (free, _) = store::space(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let found = format!("{} {found}, {} MiB free", dir.display(), free >> 20);
    if let Some(place) = store::all_set_aside(dir).last() {
        let place = place.display();
        return Err(format!(
            "{found}; a database was set aside in {place}: see the manual, docs/operate/disk.md"
        ));
    }
    match Room::with(free) {
        Room::Ample => Ok(found),
        room => Err(format!("{found}, which is {}: make room on this disk", room.word())),
    }
}

/// Returns a warning if a copy of the data's disk would hold the key too.
fn key_beside_the_data(storage: &Storage) -> Option<String> {
    let Secret::File(key) = &storage.key else { return None };
    let disk = |path: &Path| {
        // A path that does not exist yet will be on the disk of its parent folder.
        path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|m| m.dev())
    };
    let inside = key.starts_with(&storage.dir);
    if !inside && disk(key) != disk(&storage.dir) {
        return None;
    }
    let place = if inside { "in the storage folder" } else { "on the disk of the storage folder" };
    Some(format!(
        "{} lies {place}: a person who copies it has both key and data, and can read everything. Keep \
         the key as a systemd credential or on another medium: see the manual, docs/operate/keys.md",
        key.display()
    ))
}

fn synchronised(now: Stamp) -> Result<String, String> {
    const NOT: &str = "the kernel reports that the clock is not synchronised: start chrony or \
                       systemd-timesyncd";
    if now.synced { Ok("synchronised".to_owned()) } else { Err(NOT.to_owned()) }
}

async fn turnstile(
    driver: &TurnstileDriver,
    buses: &Buses,
    running: bool,
) -> Result<String, String> {
    match driver.place() {
        Some((line, _)) if running => {
            Ok(format!("{} is in use by the daemon: see `gatehouse status`", line.port.display()))
        }
        _ => turnstile::probe(driver, buses).await.map_err(|e| e.to_string()),
    }
}

async fn metrics(address: SocketAddr, running: bool) -> Result<String, String> {
    if running {
        let answers = tokio::time::timeout(LISTENER_TIMEOUT, TcpStream::connect(address)).await;
        return match answers {
            Ok(Ok(_)) => Ok(format!("{address} is in use by the daemon")),
            _ => Err(format!(
                "{address}: no program listens there: see `gatehouse status`. If it shows no problem, \
                 restart the daemon with this configuration"
            )),
        };
    }
    match TcpListener::bind(address).await {
        Ok(_) => Ok(format!("{address} is free")),
        Err(e) => Err(format!("{address}: {e}; choose another address for metrics.listen")),
    }
}

async fn source(name: String, camera: &config::Camera, running: bool) -> Result<String, String> {
    let source = &camera.source;
    match source {
        // The pipe is not opened, because that would take frames from the daemon.
        CameraSource::Replay(path) => match std::fs::metadata(path) {
            Ok(_) => Ok(source.to_string()),
            Err(e) => Err(format!(
                "{source}: {e}; create it (images, or a pipe of JPEGs), or change the source"
            )),
        },
        CameraSource::V4l2(_) if running => {
            Ok(format!("{source} is in use by the daemon: see `gatehouse status`"))
        }
        CameraSource::V4l2(_) | CameraSource::Http(_) | CameraSource::Rtsp(_) => {
            let camera = camera.clone();
            let looks = tokio::task::spawn_blocking(move || first_frame(&name, &camera)).await;
            match looks.map_err(|e| e.to_string())? {
                Ok(picture) => Ok(format!("{source} shows {picture}")),
                Err(e) if running => Err(format!(
                    "{e} (perhaps the camera allows one client, which is the daemon: see \
                     `gatehouse status`)"
                )),
                Err(e) => Err(e),
            }
        }
    }
}

/// Opens a camera as the daemon does. Returns a description of its first frame.
fn first_frame(name: &str, camera: &config::Camera) -> Result<String, String> {
    let clock = Arc::new(SystemClock::new().map_err(|e| e.to_string())?);
    let (wakeup, cancel) = (Arc::new(Wakeup::default()), CancellationToken::new());
    let _stops = cancel.clone().drop_guard();
    let slot = Arc::new(Slot::new(wakeup.clone()));
    let handle = camera::spawn(name, camera, clock.clone(), cancel, slot.clone());
    let handle = handle.map_err(|e| e.to_string())?;
    let (begun, mut heard) = (clock.monotonic(), 0);
    let frame = loop {
        heard = wakeup.wait(heard, TIMEOUT);
        if let Some(frame) = slot.take() {
            break frame;
        }
        // A camera fails after its own timeouts, and gives the reason.
        let state = handle.state.borrow();
        if state.errors > 0 {
            return Err(state.last_error.clone().unwrap_or_default());
        }
        if clock.monotonic() - begun > CAMERA_TIMEOUT {
            let source = &camera.source;
            if let Some(since) = state.no_key_frame_since {
                let waits = camera::CameraError::NoKeyFrame(clock.monotonic() - since);
                return Err(format!("{source}: {waits}"));
            }
            return Err(format!(
                "{source} sent no picture within {CAMERA_TIMEOUT:?}: check its power, cable and address"
            ));
        }
    };
    Ok(match &frame.picture {
        Picture::Raw(yuv) => format!("pictures of {} x {} pixels", yuv.width, yuv.height),
        Picture::Encoded(data) => {
            let image = vision::decode_frame(data)
                .map_err(|e| format!("{} sent an unusable picture: {e}", camera.source))?;
            format!("pictures of {} x {} pixels", image.width(), image.height())
        }
    })
}

#[cfg(test)]
mod tests;
