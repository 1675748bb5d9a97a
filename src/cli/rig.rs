//! A test gate for `demo` and `bench`: the real daemon in a temporary folder. Its camera is a pipe.
//! Its turnstile is simulated, and the frames on the turnstile's line are observed.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::broadcast,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    clock::Clock,
    config::{Config, INSTALLED_MODELS},
    control::Client,
    daemon::{self, Running},
    turnstile::DeviceFrame,
};

/// Timeout of each wait. Each event comes much earlier, also on a slow board.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);
pub(super) const LANE: &str = "north";
/// Interval between two frames of the camera.
const FRAME: Duration = Duration::from_millis(100);
const PIPE: &str = "camera";

/// Returns `models/` of the working directory, or of the checkout that this program was built from.
/// A build for devices (without the demo) must be reproducible, so it holds no path of a checkout.
/// It uses the installed models.
pub(super) fn models_of_checkout() -> PathBuf {
    let here = Path::new("models");
    let here = std::path::absolute(here).unwrap_or_else(|_| here.to_owned());
    if here.join("fetch").exists() {
        here
    } else if cfg!(feature = "demo") {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models")).to_owned()
    } else {
        INSTALLED_MODELS.into()
    }
}

/// Runs the work until it ends or until SIGINT or SIGTERM, which is an error. The work's values are
/// then dropped, and so its temporary folder is removed.
pub(super) async fn unless_interrupted<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("interrupted"),
    }
}

/// The folder, the configuration and the clock of a daemon that is not started yet.
pub(super) struct Bench {
    /// The folder is removed when this value is dropped.
    dir: tempfile::TempDir,
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
}

impl Bench {
    /// Creates the folder and the configuration. `more`: further sections, for example the lanes.
    pub(super) fn new(models: &Path, clock: Arc<dyn Clock>, more: &str) -> anyhow::Result<Bench> {
        let dir = tempfile::Builder::new().prefix("gatehouse-").tempdir()?;
        let text = format!(
            r#"mode = "bench"
[site]
project_code = "bench"
gateway_id = "gate-1"
[storage]
dir = "data"
[models]
dir = {models:?}
[control]
socket = "control.sock"
{more}"#
        );
        let path = dir.path().join("gatehouse.toml");
        std::fs::write(&path, &text)?;
        let config = Config::parse(&path, &text)?;
        Ok(Bench { dir, config, clock })
    }

    /// As [`new`](Self::new), with one lane: a pipe for its camera, and a simulated turnstile.
    pub(super) fn with_lane(
        models: &Path,
        clock: Arc<dyn Clock>,
        more: &str,
    ) -> anyhow::Result<Bench> {
        let lane = format!(
            r#"[[lane]]
name = "{LANE}"
cool_down_s = 1
[lane.turnstile]
driver = "simulated"
pass_after_ms = 300
[[lane.camera]]
direction = "entry"
source = "replay:{PIPE}"
{more}"#
        );
        let bench = Bench::new(models, clock, &lane)?;
        nix::unistd::mkfifo(&bench.pipe(), nix::sys::stat::Mode::S_IRWXU)?;
        Ok(bench)
    }

    fn pipe(&self) -> PathBuf {
        self.dir.path().join(PIPE)
    }

    /// Puts a visitor before the camera, also if the daemon does not run yet.
    pub(super) fn show(&self, jpeg: Vec<u8>) -> Visitor {
        Visitor::before(self.pipe(), jpeg)
    }

    pub(super) async fn start(self) -> anyhow::Result<Rig> {
        let running = daemon::start(&self.config, self.clock.clone()).await?;
        let tap = running.taps.iter().find(|(lane, _)| lane == LANE);
        let line = tap.context("the simulated turnstile has no tap")?.1.subscribe();
        Ok(Rig { bench: self, running, line })
    }
}

/// A running gate.
pub(super) struct Rig {
    pub(super) bench: Bench,
    pub(super) running: Running,
    line: broadcast::Receiver<DeviceFrame>,
}

impl Rig {
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.bench.config.control.socket).await?)
    }

    /// Waits for the next release. Returns its bytes as the controller received them.
    pub(super) async fn release(&mut self) -> anyhow::Result<Vec<u8>> {
        let released = timeout(TIMEOUT, released(&mut self.line)).await;
        Ok(released.context("the turnstile was not released")??.received)
    }

    /// Waits until a person walks through after a release. Returns the answer with the sensor's
    /// state.
    pub(super) async fn walked(&mut self) -> anyhow::Result<Vec<u8>> {
        // The answer to function 02 with input 0 on: a person is in the passage.
        let passed = |f: &DeviceFrame| {
            let on = f.answered.get(3).is_some_and(|inputs| inputs & 1 == 1);
            f.answered.get(1..3) == Some(&[2, 1]) && on
        };
        let passed = timeout(TIMEOUT, heard(&mut self.line, passed)).await;
        Ok(passed.context("the turnstile reported no passage")??.answered)
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.running.shutdown().await
    }
}

/// Waits for the next release of an entry that the controller receives.
pub(super) async fn released(
    line: &mut broadcast::Receiver<DeviceFrame>,
) -> anyhow::Result<DeviceFrame> {
    // A release is function 05 with coil 0 and value FF00.
    heard(line, |frame| frame.received.get(1..6) == Some(&[5, 0, 0, 0xff, 0])).await
}

async fn heard(
    line: &mut broadcast::Receiver<DeviceFrame>,
    wanted: impl Fn(&DeviceFrame) -> bool,
) -> anyhow::Result<DeviceFrame> {
    loop {
        match line.recv().await {
            Ok(frame) if wanted(&frame) => return Ok(frame),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(e) => bail!(e),
        }
    }
}

/// A person before the camera: the same photo in each frame.
pub(super) struct Visitor {
    walks_off: std::sync::mpsc::Sender<()>,
    frames: JoinHandle<std::io::Result<()>>,
}

impl Visitor {
    fn before(pipe: PathBuf, jpeg: Vec<u8>) -> Visitor {
        let (walks_off, gone) = std::sync::mpsc::channel::<()>();
        let frames = tokio::task::spawn_blocking(move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(pipe)?;
            loop {
                pipe.write_all(&jpeg)?;
                match gone.recv_timeout(FRAME) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return Ok(()),
                }
            }
        });
        Visitor { walks_off, frames }
    }

    /// Tells the camera to stop showing this person. [`walks_off`](Self::walks_off) waits for it.
    pub(super) fn turns_away(&self) {
        // If the camera has failed, the message is lost, and `walks_off` returns the error.
        let _ = self.walks_off.send(());
    }

    pub(super) async fn walks_off(self) -> anyhow::Result<()> {
        drop(self.walks_off);
        timeout(TIMEOUT, self.frames).await.context("the camera's pipe is not read")???;
        Ok(())
    }
}
