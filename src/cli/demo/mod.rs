//! `gatehouse demo`: the whole gate on this machine with nothing configured.
//!
//! The real daemon with real models, in a temporary folder: its camera is a pipe that the demo
//! writes photos into, its turnstile a simulated board behind a pty, its platform a subscriber of
//! an embedded broker, its link a relay that the demo cuts. What is printed was seen, and what
//! was not seen ends the demo with an error.

mod broker;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, mpsc::RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    clock::{Clock, Monotonic, SystemClock},
    config::Config,
    control::{AttendanceQuery, Client, Enrol, Photo, Request, Status},
    daemon,
    ledger::{self, hex},
    roster::Worker,
    turnstile::DeviceFrame,
    vision::{DETECTOR_FILE, EMBEDDER_FILE},
};

/// Anything the demo waits for comes well within this, also on a slow board.
const PATIENCE: Duration = Duration::from_secs(20);
/// From one frame of the demo's camera to the next.
const FRAME: Duration = Duration::from_millis(150);
const LANE: &str = "north";

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    let mut demo = Demo::prepare().await?;
    let played = demo.play().await;
    let stopped = demo.running.shutdown().await;
    played?;
    stopped?;
    println!("\nNothing is left behind but models/. Next: README.md, \"A gate of your own\".");
    Ok(ExitCode::SUCCESS)
}

/// Where the models and the photos are; fetched when they are not.
fn fetched_models() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?.join("models");
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let dir = if here.join("fetch").exists() { here } else { checkout };
    let fetch = dir.join("fetch");
    ensure!(
        fetch.exists(),
        "there is no models/fetch: run the demo in a checkout, as `cargo run --release -- demo`"
    );
    // It checks every hash, and does nothing more where all is there.
    let done = Command::new(&fetch).status().with_context(|| fetch.display().to_string())?;
    ensure!(done.success(), "models/fetch failed; it says above what is missing");
    for file in [DETECTOR_FILE, EMBEDDER_FILE] {
        ensure!(dir.join(file).exists(), "{} is missing", dir.join(file).display());
    }
    Ok(dir)
}

/// Who stands before the camera: the same photo, frame after frame.
struct Visitor {
    walks_off: std::sync::mpsc::Sender<()>,
    frames: JoinHandle<std::io::Result<()>>,
}

impl Visitor {
    async fn walks_off(self) -> anyhow::Result<()> {
        drop(self.walks_off);
        timeout(PATIENCE, self.frames).await.context("the camera's pipe is not read")???;
        Ok(())
    }
}

struct Demo {
    clock: Arc<dyn Clock>,
    began: Monotonic,
    /// Removed when dropped.
    dir: tempfile::TempDir,
    photos: PathBuf,
    config: Config,
    running: daemon::Running,
    link: broker::Link,
    received: mpsc::Receiver<broker::Received>,
    line: broadcast::Receiver<DeviceFrame>,
    /// What the platform received, by seq: how often, and what.
    platform: BTreeMap<u64, (u32, String, Value)>,
}

impl Demo {
    async fn prepare() -> anyhow::Result<Demo> {
        println!("Gatehouse {}: a gate on this machine.\n", env!("CARGO_PKG_VERSION"));
        let models = fetched_models()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
        let began = clock.monotonic();
        let dir = tempfile::Builder::new().prefix("gatehouse-demo").tempdir()?;
        nix::unistd::mkfifo(&dir.path().join("camera"), nix::sys::stat::Mode::S_IRWXU)?;
        let broker = broker::start()?;
        let (received, _) = broker::subscribe(broker, "gatehouse/v1/demo/gate-1/#").await?;
        let link = broker::Link::to(broker).await?;
        let text = format!(
            r#"mode = "bench"
[site]
project_code = "demo"
gateway_id = "gate-1"
[storage]
dir = "data"
[models]
dir = {models:?}
[[lane]]
name = "{LANE}"
cool_down_s = 1
[lane.turnstile]
driver = "simulated"
[[lane.camera]]
direction = "entry"
source = "replay:camera"
[[upstream]]
name = "platform"
broker = "mqtt://{}"
[control]
socket = "control.sock"
"#,
            link.address
        );
        let config = Config::parse(&dir.path().join("gatehouse.toml"), &text)?;
        let running = daemon::start(&config, clock.clone()).await?;
        let tap = running.taps.iter().find(|(lane, _)| lane == LANE);
        let line = tap.context("the simulated turnstile has no tap")?.1.subscribe();
        let photos = models.join("photos");
        let platform = BTreeMap::new();
        let demo =
            Demo { clock, began, dir, photos, config, running, link, received, line, platform };
        demo.say(
            "gate",
            &format!("lane {LANE:?}, a camera, a Modbus turnstile, a broker at {broker}"),
        );
        Ok(demo)
    }

    fn say(&self, what: &str, words: &str) {
        let seconds = self.clock.monotonic().since(self.began).as_secs_f64();
        println!("{seconds:5.1} s  {what:<9} {words}");
    }

    async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.config.control.socket).await?)
    }

    async fn play(&mut self) -> anyhow::Result<()> {
        self.enrol("D001", "演示工人甲 (Demo A)", "110101199003070011", "person_a_2.jpg").await?;
        self.enrol("D002", "演示工人乙 (Demo B)", "110101199003070038", "person_b_1.jpg").await?;
        self.pass("D001", "person_a_1.jpg").await?;
        let record = self.next("attendance").await?;
        self.tell(&record);
        let stranger = self.show("a stranger", "impostor_1.jpg")?;
        let denial = self.next_event("denial").await?;
        self.say("refused", &format!("{} (score {})", denial["reason"], denial["score"]));
        stranger.walks_off().await?;

        // A record under way when the link breaks would come twice, marked as resent.
        self.acknowledged().await?;
        self.link.set(false);
        self.upstream_until(false).await?;
        self.say("link", "cut; the gate goes on by itself");
        for (id, photo) in [("D002", "person_b_2.jpg"), ("D001", "person_a_1.jpg")] {
            self.pass(id, photo).await?;
            let kept =
                self.recorded_until(|r| r["worker"] == id && r["outcome"] == "passed").await?;
            self.say("kept", &format!("{id} passed; {kept} records in SQLite"));
        }
        self.link.set(true);
        self.say("link", "back");
        self.upstream_until(true).await?;
        for _ in 0..2 {
            let record = self.next("attendance").await?;
            self.tell(&record);
        }
        self.reconcile().await
    }

    async fn enrol(&self, id: &str, name: &str, number: &str, photo: &str) -> anyhow::Result<()> {
        let bytes = std::fs::read(self.photos.join(photo)).with_context(|| photo.to_owned())?;
        let announced = Photo { name: photo.to_owned(), bytes: bytes.len() as u64 };
        let enrol = Enrol {
            id: id.parse()?,
            name: name.to_owned(),
            id_number: number.to_owned(),
            team: "demo".to_owned(),
            contractor: "demo".to_owned(),
            trade: "demo".to_owned(),
            valid_from: None,
            valid_until: None,
            consent: Some("DEMO-1".to_owned()),
            photos: vec![announced],
        };
        let worker: Worker = self.client().await?.enrol(enrol, &[bytes]).await?;
        self.say("enrolled", &format!("{id} {} from {photo}", worker.person.name));
        Ok(())
    }

    /// Somebody stands before the camera, until they walk off.
    fn show(&self, who: &str, photo: &str) -> anyhow::Result<Visitor> {
        self.say("camera", &format!("{who} ({photo})"));
        let jpeg = std::fs::read(self.photos.join(photo)).with_context(|| photo.to_owned())?;
        let pipe = self.dir.path().join("camera");
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
        Ok(Visitor { walks_off, frames })
    }

    async fn pass(&mut self, who: &str, photo: &str) -> anyhow::Result<()> {
        let worker = self.show(who, photo)?;
        self.release_seen().await?;
        worker.walks_off().await
    }

    /// The release coil's bytes, and the sensor's answer, as the controller saw them.
    async fn release_seen(&mut self) -> anyhow::Result<()> {
        let line = &mut self.line;
        let seen = timeout(PATIENCE, async {
            let (mut release, mut passage) = (None, None);
            while release.is_none() || passage.is_none() {
                match line.recv().await {
                    // Function 05, coil 0, FF00: release entry.
                    Ok(f) if f.received.get(1..6) == Some(&[5, 0, 0, 0xff, 0]) => {
                        release = Some(f.received);
                    }
                    // Function 02 answered with input 0 on: somebody in the passage.
                    Ok(f) if release.is_some() && f.answered.get(1..3) == Some(&[2, 1]) => {
                        let on = f.answered.get(3).is_some_and(|inputs| inputs & 1 == 1);
                        passage = passage.or(on.then_some(f.answered));
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(e) => bail!(e),
                }
            }
            Ok((release.unwrap_or_default(), passage.unwrap_or_default()))
        });
        let (release, passage) = seen.await.context("the turnstile was not released")??;
        self.say("turnstile", &format!("release received: {}", hex(&release)));
        self.say("turnstile", &format!("passage reported: {}", hex(&passage)));
        Ok(())
    }

    /// The next message of a topic; all that comes is kept for the reckoning.
    async fn next(&mut self, topic: &str) -> anyhow::Result<Value> {
        let waiting = format!("the platform received no {topic}");
        loop {
            let message = timeout(PATIENCE, self.received.recv()).await;
            let (leaf, json) =
                message.with_context(|| waiting.clone())?.context("no subscriber")?;
            if let Some(seq) = json["seq"].as_u64() {
                let kept = self.platform.entry(seq).or_insert((0, leaf.clone(), json.clone()));
                kept.0 += 1;
            }
            if leaf == topic {
                return Ok(json);
            }
        }
    }

    async fn next_event(&mut self, kind: &str) -> anyhow::Result<Value> {
        loop {
            let event = self.next("event").await?;
            if event["kind"] == kind {
                return Ok(event);
            }
        }
    }

    fn tell(&self, record: &Value) {
        let words = format!(
            "seq {}: {} {} {} {} (score {})",
            record["seq"],
            record["worker"],
            record["direction"],
            record["outcome"],
            record["at"],
            record["score"]
        );
        self.say("platform", &words.replace('"', ""));
    }

    async fn records(&self) -> anyhow::Result<Vec<Value>> {
        let mut records = Vec::new();
        let request = Request::Attendance(AttendanceQuery::default());
        let _: Value = self.client().await?.ask(&request, |r| records.push(r)).await?;
        Ok(records)
    }

    /// Waits until the newest record is as wanted; returns how many there are.
    async fn recorded_until(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<usize> {
        let mut commits = self.running.services.store.commits();
        let found = timeout(PATIENCE, async {
            loop {
                commits.mark_unchanged();
                let records = self.records().await?;
                if records.last().is_some_and(&wanted) {
                    return Ok::<_, anyhow::Error>(records.len());
                }
                commits.changed().await?;
            }
        });
        found.await.context("the passage was not recorded")?
    }

    async fn upstream_until(&self, connected: bool) -> anyhow::Result<()> {
        let upstream = self.running.services.upstreams.first().context("no upstream")?;
        let mut upstream = upstream.clone();
        let reached = upstream.wait_for(|state| state.connected == connected);
        timeout(PATIENCE, reached).await.context("the link does not change")??;
        Ok(())
    }

    /// Waits until the broker has acknowledged all there is; returns the last seq.
    async fn acknowledged(&self) -> anyhow::Result<u64> {
        let upstream = self.running.services.upstreams.first().context("no upstream")?;
        let last = self.running.services.store.read(|tx| ledger::last_seq(tx)).await?;
        let mut upstream = upstream.clone();
        let all = upstream.wait_for(|state| state.acknowledged >= last);
        timeout(PATIENCE, all).await.context("the broker did not acknowledge every record")??;
        Ok(last)
    }

    /// What the platform has against what SQLite has: each once, none missing.
    async fn reconcile(&mut self) -> anyhow::Result<()> {
        let last = self.acknowledged().await?;
        while (self.platform.len() as u64) < last {
            let missing = || anyhow::anyhow!("the platform lacks some of {last} records");
            let (leaf, json) =
                timeout(PATIENCE, self.received.recv()).await?.with_context(missing)?;
            if let Some(seq) = json["seq"].as_u64() {
                self.platform.entry(seq).or_insert((0, leaf, json)).0 += 1;
            }
        }
        for (expected, (seq, (times, ..))) in (1..).zip(&self.platform) {
            ensure!(expected == *seq, "seq {expected} is missing at the platform");
            ensure!(*times == 1, "seq {seq} came {times} times");
        }
        let listed = self.records().await?;
        let came: Vec<&Value> = self
            .platform
            .values()
            .filter(|(_, leaf, _)| leaf == "attendance")
            .map(|(.., r)| r)
            .collect();
        ensure!(
            came.len() == listed.len() && came.iter().zip(&listed).all(|(a, b)| *a == b),
            "the platform's attendance differs from SQLite's"
        );
        ensure!(listed.len() == 3, "3 passages were expected, {} are listed", listed.len());
        let status: Status = self.client().await?.ask(&Request::Status, |_: Value| {}).await?;
        self.say(
            "reckoning",
            &format!(
                "seq 1 to {last} received, each once: {} attendance, {} events; SQLite lists the same {}; {} waiting",
                came.len(), last - came.len() as u64, listed.len(), status.upstreams.first().map_or(&Value::Null, |u| &u["outbox"])
            ),
        );
        Ok(())
    }
}
