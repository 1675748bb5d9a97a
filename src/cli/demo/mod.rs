//! `gatehouse demo`: a complete gate on this machine without configuration.
//!
//! The real daemon runs with real models in a temporary folder. Its camera is a pipe into which the
//! demo writes photos. Its turnstile is a simulated board behind a pseudo-terminal, and its card
//! reader is a pseudo-terminal into which the demo writes a line. Its platform is a subscriber of an
//! embedded broker, and its link is a relay that the demo cuts.
//!
//! Out: a line for each step, printed after the step was observed. With `--json` each line is an
//! object ([`Step`]). A step that does not happen ends the demo with an error.

mod broker;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, sync::mpsc, time::timeout};
use tokio_serial::{SerialPort as _, SerialStream};

use super::rig::{self, Bench, LANE, Rig, TIMEOUT, Visitor, unless_interrupted};
use crate::{
    clock::{Clock, Monotonic, SystemClock},
    control::Request,
    gate::passage::DECISION_LIFE,
    ledger,
    roster::{CardChange, IdType, Person},
    services::{AttendanceQuery, CardChanged, ChangeCard, Enroll, Enrolled, Photo},
    status::Status,
    uplink::UpstreamState,
};

pub(super) async fn run(context: &super::Context) -> anyhow::Result<ExitCode> {
    let mut demo = unless_interrupted(Demo::prepare(context.json)).await?;
    let played = unless_interrupted(demo.play()).await;
    let stopped = demo.rig.stop().await;
    played?;
    stopped?;
    if !context.json {
        say("\nOnly models/ stays on this machine. Next: README.md, \"A gate of your own\".");
    }
    Ok(ExitCode::SUCCESS)
}

/// One step of the demo, as `--json` prints it.
#[derive(Serialize)]
struct Step<'a> {
    /// Seconds since the demo began.
    after_s: f64,
    /// Kind of step: `gate`, `enrolled`, `card`, `camera`, `reader`, `turnstile`, `platform`,
    /// `refused`, `link`, `kept` or `reckoning`.
    what: &'a str,
    /// What happened, as a text for people.
    text: &'a str,
    /// The same for a program: `worker`, `bytes`, `record`, `denial`, `link`, `records`, or the sums.
    #[serde(flatten)]
    more: Value,
}

/// Prints a line. The demo continues also if its output is closed (`… demo | head`).
fn say(line: &str) {
    let _ = super::print_line(line);
}

/// Returns these bytes of the turnstile's line as pairs of hexadecimal digits.
fn pairs(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Returns the folder of the models and photos, after `models/fetch` has fetched what is missing.
fn fetched_models() -> anyhow::Result<PathBuf> {
    let dir = rig::models_of_checkout();
    let fetch = dir.join("fetch");
    ensure!(
        fetch.exists(),
        "models/fetch is missing: run the demo in a checkout, with `cargo run --release -- demo`"
    );
    // It checks every hash, and fetches only what is missing.
    let done = Command::new(&fetch).status().with_context(|| fetch.display().to_string())?;
    ensure!(done.success(), "models/fetch failed: see its message above");
    Ok(dir)
}

/// Interval between two passages of one worker. A frame of a worker who has passed can decide for
/// [`DECISION_LIFE`], on a busy machine also after the worker has left.
const COOL_DOWN: Duration = DECISION_LIFE.saturating_add(Duration::from_millis(500));

/// The card of the worker without a photo, as the reader sends it: hexadecimal digits.
const CARD: &str = "0A1B2C";

struct Demo {
    json: bool,
    rig: Rig,
    /// The reader's end of its line, and the gate's end. The gate's end stays open, so that the
    /// line does not hang up.
    reader: (SerialStream, SerialStream),
    began: Monotonic,
    photos: PathBuf,
    link: broker::Link,
    received: mpsc::Receiver<broker::Received>,
    /// The messages that the platform received, by seq: how often each came, its topic and its
    /// JSON.
    platform: BTreeMap<u64, (u32, String, Value)>,
}

impl Demo {
    async fn prepare(json: bool) -> anyhow::Result<Demo> {
        if !json {
            say(&format!("Gatehouse {}: a gate on this machine.\n", env!("CARGO_PKG_VERSION")));
        }
        let models = fetched_models()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
        let began = clock.monotonic();
        let broker = broker::start()?;
        let (received, _) = broker::subscribe(broker, "gatehouse/v1/bench/gate-1/#").await?;
        let link = broker::Link::to(broker).await?;
        let reader = SerialStream::pair()?;
        let port = reader.1.name().context("the card reader's line has no name")?;
        let more = format!(
            "[[lane.reader]]\nname = \"north-card\"\ndirection = \"entry\"\ndriver = \"line\"\n\
             port = {port:?}\n\
             [[upstream]]\nname = \"platform\"\nversion = \"3.1.1\"\nbroker = \"mqtt://{}\"\n",
            link.address
        );
        let mut bench = Bench::with_lane(&models, clock, &more)?;
        bench.config.lanes.iter_mut().for_each(|lane| lane.cool_down = COOL_DOWN);
        let rig = bench.start().await?;
        let (photos, platform) = (models.join("photos"), BTreeMap::new());
        let demo = Demo { json, rig, reader, began, photos, link, received, platform };
        let words = format!(
            "lane {LANE:?}, a camera, a card reader, a Modbus turnstile, a broker at {broker}"
        );
        demo.say("gate", &words);
        Ok(demo)
    }

    fn say(&self, what: &str, text: &str) {
        self.say_with(what, text, json!({}));
    }

    fn say_with(&self, what: &str, text: &str, more: Value) {
        let seconds = self.rig.bench.clock.monotonic().since(self.began).as_secs_f64();
        if self.json {
            let after_s = (seconds * 1000.0).round() / 1000.0;
            // Strings and numbers can always be serialised.
            let step = Step { after_s, what, text, more };
            say(&serde_json::to_string(&step).unwrap_or_default());
        } else {
            say(&format!("{seconds:5.1} s  {what:<9} {text}"));
        }
    }

    async fn play(&mut self) -> anyhow::Result<()> {
        self.enroll("D001", "演示工人甲 (Demo A)", "110101199003070011", Some("person_a_2.jpg"))
            .await?;
        self.enroll("D002", "演示工人乙 (Demo B)", "110101199003070038", Some("person_b_1.jpg"))
            .await?;
        self.enroll("D003", "演示工人丙 (Demo C)", "110101199003070054", None).await?;
        self.give_card("D003").await?;
        self.crossing("D001", "person_a_1.jpg").await?;
        self.passage_received().await?;
        let recorded = self.rig.bench.clock.monotonic();
        let stranger = self.show("a stranger", "impostor_1.jpg")?;
        let denial = self.next_event("denial").await?;
        let text = format!("{} (score {})", denial["reason"], denial["score"]).replace('"', "");
        self.say_with("refused", &text, json!({ "denial": denial }));
        stranger.walks_off().await?;
        self.crossing_by_card().await?;
        self.passage_received().await?;

        // A record that is in flight when the link breaks would come twice, marked as resent.
        self.acknowledged().await?;
        self.link.set(false);
        self.upstream_until(false).await?;
        self.say_with("link", "cut; the gate works without it", json!({ "link": "cut" }));
        for (id, photo) in [("D002", "person_b_2.jpg"), ("D001", "person_a_1.jpg")] {
            if id == "D001" {
                // A worker who is seen before the end of the cool-down stays in the same visit.
                let since = self.rig.bench.clock.monotonic().since(recorded);
                tokio::time::sleep(COOL_DOWN.saturating_sub(since)).await;
            }
            self.crossing(id, photo).await?;
            let kept =
                self.recorded_until(|r| r["worker"] == id && r["outcome"] == "passed").await?;
            let text = format!("{id} passed; {kept} records in SQLite");
            self.say_with("kept", &text, json!({ "worker": id, "records": kept }));
        }
        self.link.set(true);
        self.say_with("link", "back", json!({ "link": "back" }));
        self.upstream_until(true).await?;
        for _ in 0..2 {
            self.passage_received().await?;
        }
        self.reconcile().await
    }

    async fn enroll(
        &self,
        id: &str,
        name: &str,
        number: &str,
        photo: Option<&str>,
    ) -> anyhow::Result<()> {
        let text = || "demo".to_owned();
        let (id, name) = (id.parse()?, name.to_owned());
        let person = Person { id, name, team: text(), contractor: text(), trade: text() };
        let mut enroll = Enroll::new(person, IdType::Resident, number.to_owned());
        let mut photos = Vec::new();
        if let Some(photo) = photo {
            let bytes = self.photo(photo)?;
            enroll.terms.consent = Some("DEMO-1".to_owned());
            enroll.photos = vec![Photo { name: photo.to_owned(), bytes: bytes.len() as u64 }];
            photos.push(bytes);
        }
        let request = Request::Enroll(Box::new(enroll));
        let mut client = self.rig.client().await?;
        let done: Enrolled = client.ask_with(&request, &photos, |_: Value| {}).await?;
        let Person { id, name, .. } = &done.worker.person;
        let from = photo.map_or("without a photo".to_owned(), |photo| format!("from {photo}"));
        let text = format!("{id} {name} {from}");
        self.say_with("enrolled", &text, json!({ "worker": id, "name": name }));
        Ok(())
    }

    async fn give_card(&self, id: &str) -> anyhow::Result<()> {
        let change = ChangeCard {
            id: id.parse()?,
            number: CARD.to_owned(),
            change: CardChange::Added,
            dry_run_after: None,
        };
        let request = Request::ChangeCard(change);
        let CardChanged { id, number, .. } = self.rig.client().await?.ask(&request).await?;
        self.say_with("card", &format!("{id} has card {number}"), json!({ "worker": id }));
        Ok(())
    }

    fn photo(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        std::fs::read(self.photos.join(name)).with_context(|| name.to_owned())
    }

    fn show(&self, who: &str, photo: &str) -> anyhow::Result<Visitor> {
        self.say("camera", &format!("{who} ({photo})"));
        Ok(self.rig.bench.show(self.photo(photo)?))
    }

    async fn crossing(&mut self, who: &str, photo: &str) -> anyhow::Result<()> {
        let worker = self.show(who, photo)?;
        let release = self.rig.release().await?;
        worker.turns_away();
        let passage = self.rig.walked().await?;
        self.say_crossing(&release, &passage);
        worker.walks_off().await
    }

    async fn crossing_by_card(&mut self) -> anyhow::Result<()> {
        self.say("reader", &format!("D003's card: {CARD} (a line of text)"));
        self.reader.0.write_all(format!("{CARD}\r\n").as_bytes()).await?;
        let release = self.rig.release().await?;
        let passage = self.rig.walked().await?;
        self.say_crossing(&release, &passage);
        Ok(())
    }

    fn say_crossing(&self, release: &[u8], passage: &[u8]) {
        // The rig waits for these frames: a board at address 1, its coil 0 and its input 0.
        for (what, bytes, meaning) in [
            ("release received", release, "function 5, relay 1 on: the arm is free"),
            ("passage reported", passage, "function 2, input 1 is on: a person walks through"),
        ] {
            let text = format!("{what}: {} (Modbus, board 1, {meaning})", pairs(bytes));
            self.say_with("turnstile", &text, json!({ "bytes": hex::encode(bytes) }));
        }
    }

    /// Waits for the next message, and keeps it for [`reconcile`](Self::reconcile).
    async fn received(&mut self) -> anyhow::Result<broker::Received> {
        let (leaf, json) =
            timeout(TIMEOUT, self.received.recv()).await?.context("the subscriber has ended")?;
        if let Some(seq) = json["seq"].as_u64() {
            self.platform.entry(seq).or_insert((0, leaf.clone(), json.clone())).0 += 1;
        }
        Ok((leaf, json))
    }

    /// Waits for the next message of a topic.
    async fn next(&mut self, topic: &str) -> anyhow::Result<Value> {
        loop {
            let message = self.received().await;
            let (leaf, json) =
                message.with_context(|| format!("the platform received no {topic}"))?;
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

    /// Waits until the platform has received a passage. On a very busy machine a grant may become
    /// void first; the records of these grants are printed too.
    async fn passage_received(&mut self) -> anyhow::Result<()> {
        loop {
            let record = self.next("attendance").await?;
            self.say_record(&record);
            if record["outcome"] == "passed" {
                return Ok(());
            }
        }
    }

    fn say_record(&self, record: &Value) {
        let score = &record["score"];
        let score = if score.is_null() { String::new() } else { format!(", score {score}") };
        let words = format!(
            "seq {}: {} {} {} {} ({}{score})",
            record["seq"],
            record["worker"],
            record["direction"],
            record["outcome"],
            record["at"],
            record["means"]
        );
        self.say_with("platform", &words.replace('"', ""), json!({ "record": record }));
    }

    async fn records(&self) -> anyhow::Result<Vec<Value>> {
        let mut records = Vec::new();
        let request = Request::Attendance(AttendanceQuery::default());
        let _: Value = self.rig.client().await?.list(&request, |r| records.push(r)).await?;
        Ok(records)
    }

    /// Waits until the newest record meets the condition. Returns the number of records.
    async fn recorded_until(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<usize> {
        let mut commits = self.rig.running.services.store.commits();
        let found = timeout(TIMEOUT, async {
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
        let reached = self.link_until(|link| link.connected == connected);
        reached.await.context("the upstream did not notice the change of the link in time")
    }

    async fn link_until(&self, wanted: impl FnMut(&UpstreamState) -> bool) -> anyhow::Result<()> {
        let upstream = self.rig.running.services.upstreams.first().context("no upstream")?;
        timeout(TIMEOUT, upstream.state.clone().wait_for(wanted)).await??;
        Ok(())
    }

    /// Waits until the broker has acknowledged all records. Returns the last seq.
    async fn acknowledged(&self) -> anyhow::Result<u64> {
        let last = self.rig.running.services.store.read(ledger::last_seq).await?;
        let all = self.link_until(|link| link.acknowledged >= last);
        all.await.context("the broker did not acknowledge every record")?;
        Ok(last)
    }

    /// Compares the platform's records with SQLite's: each came once, and none is missing.
    async fn reconcile(&mut self) -> anyhow::Result<()> {
        let last = self.acknowledged().await?;
        while (self.platform.len() as u64) < last {
            let missing = || format!("the platform lacks some of {last} records");
            self.received().await.with_context(missing)?;
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
        let passed = listed.iter().filter(|record| record["outcome"] == "passed").count();
        ensure!(passed == 4, "4 passages were expected, {passed} are listed");
        let status: Status = self.rig.client().await?.ask(&Request::Status).await?;
        let (attendance, waiting) = (came.len() as u64, status.upstreams.first());
        let waiting = waiting.and_then(|u| u.outbox).unwrap_or_default();
        let events = last - attendance;
        let text = format!(
            "seq 1 to {last} received, each once: {attendance} attendance, {events} events; SQLite lists \
             the same {attendance}; {waiting} waiting"
        );
        let sums = json!({ "attendance": attendance, "events": events, "waiting": waiting });
        self.say_with("reckoning", &text, sums);
        Ok(())
    }
}
