//! Measures how fast a backlog drains to a broker, and compares with bare rumqttc.
//!
//!     cargo bench --bench delivery -- --broker mqtt://127.0.0.1:1883
//!
//! Gatehouse and bare rumqttc take turns at one broker. Gatehouse works as the daemon does: it
//! reads the records from the database, publishes them and deletes acknowledged rows. It is done
//! when the outbox is empty. Bare rumqttc publishes the same payloads, prepared beforehand. It is
//! done when the broker has acknowledged the last one. The window, the quality of service and the
//! MQTT version are the same. Neither waits for a subscriber.

#![allow(clippy::disallowed_methods, reason = "a bench measures")]

mod workshop;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use rumqttc::QoS;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use gatehouse::{
    attendance::Origin,
    clock::{Clock, SystemClock},
    config::{Broker, Config, MqttVersion, Secret, Storage, Upstream},
    ledger::{self, Ledger, LedgerError, LedgerId, Outcome, Stored},
    store::{self, Priority, Store, photo_store::photo_store},
    turnstile::PassageId,
    uplink::{
        self, COMMANDS, Online,
        delivery::WINDOW,
        profiles::{self, Message},
    },
};

use workshop::{grant, median, person};

/// Number of turns for each of the two.
const TURNS: usize = 3;
/// Number of passages in one transaction.
const AT_ONCE: usize = 5_000;
/// Timeout after which a turn fails, and with it the bench.
const TIMEOUT: Duration = Duration::from_secs(600);

#[derive(clap::Parser)]
pub struct Arguments {
    /// mqtt://HOST:PORT; invented records are sent there, to topics of a project named `bench`
    #[arg(long)]
    pub broker: String,
    /// Records in a turn
    #[arg(long, default_value_t = 20_000)]
    pub records: usize,
    /// MQTT version: 3.1.1 or 5
    #[arg(long, default_value = "3.1.1")]
    pub mqtt: String,
    /// Passed by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}

#[derive(Debug)]
pub struct Report {
    broker: String,
    mqtt: MqttVersion,
    /// Number of records in a turn.
    records: usize,
    /// Average size of a payload.
    bytes: usize,
    window: usize,
    /// Records per second, one rate for each turn.
    pub ours_per_s: Vec<f64>,
    pub bare_per_s: Vec<f64>,
    /// The median rate of gatehouse divided by the median rate of bare rumqttc.
    ratio: f64,
    /// Database commits of gatehouse in each turn; a commit deletes acknowledged rows.
    commits: Vec<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{}", human(&measure(Arguments::parse()).await?));
    Ok(())
}

pub async fn measure(arguments: Arguments) -> anyhow::Result<Report> {
    let dir = tempfile::Builder::new().prefix("gatehouse-").tempdir()?;
    // Parsed as a configuration, so that errors are reported in the words of the configuration.
    let text = format!(
        "[site]\nproject_code = \"bench\"\ngateway_id = \"bench\"\n\
         [[upstream]]\nbroker = {:?}\nversion = {:?}\nallow_plaintext = true\n",
        arguments.broker, arguments.mqtt
    );
    let config = Config::parse(&dir.path().join("bench.toml"), &text)?;
    let upstream = config.upstreams.first().context("no upstream")?;
    let broker = upstream.brokers.first().context("no broker")?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let key = Secret::File(dir.path().join("key"));
    let storage = Storage::usual(dir.path().join("data"), key);
    let (store, thread) = store::open(&storage, clock.clone())?;
    let records = arguments.records.clamp(1, 1_000_000);
    fill(&store, clock.as_ref(), records).await?;
    let origin = Origin {
        gateway: "bench".to_owned(),
        project: "bench".to_owned(),
        timezone: config.site.timezone.clone(),
    };

    let mut mqtt = MqttVersion::V4;
    let mut messages = Vec::new();
    let (mut ours_per_s, mut bare_per_s, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let upstream = Upstream { name: format!("turn-{turn}"), ..upstream.clone() };
        let name = upstream.name.clone();
        // The upstream has a new name, so that the ledger owes it all records.
        let ledger = store.write(Priority::Upkeep, |tx| Ledger::open(tx, vec![name])).await?.id;
        if messages.is_empty() {
            messages = payloads(&store, &upstream, &origin).await?;
            anyhow::ensure!(messages.len() == records, "{} records", messages.len());
        }
        let drained = drain(&store, &clock, upstream, (ledger, &origin), records).await?;
        mqtt = drained.mqtt.unwrap_or(mqtt);
        ours_per_s.push(records as f64 / drained.took.as_secs_f64());
        commits.push(drained.commits);
        let took = bare(broker, mqtt, &messages).await?;
        bare_per_s.push(records as f64 / took.as_secs_f64());
    }
    let offline = profiles::of(upstream, &origin)?.offline()?.context("nothing to forget")?;
    forget_status(broker, mqtt, offline).await?;
    drop(store);
    thread.join()?;
    let bytes: usize = messages.iter().map(|message| message.payload.len()).sum();
    Ok(Report {
        broker: broker.to_string(),
        mqtt,
        records,
        bytes: bytes / records,
        window: WINDOW,
        ratio: median(&ours_per_s) / median(&bare_per_s),
        ours_per_s,
        bare_per_s,
        commits,
    })
}

/// Records passages with their outcomes while no upstream is configured.
async fn fill(store: &Store, clock: &dyn Clock, records: usize) -> anyhow::Result<()> {
    for from in (0..records).step_by(AT_ONCE) {
        let stamp = clock.stamp();
        let until = records.min(from + AT_ONCE);
        let made = (from..until).map(|n| Ok((PassageId::random()?, person(n % 10_000)?)));
        let made = made.collect::<anyhow::Result<Vec<_>>>()?;
        let work = move |tx: &rusqlite::Transaction<'_>| {
            let ledger = Ledger::open(tx, Vec::new())?;
            for (passage, person) in made {
                let body = grant(passage, person);
                ledger.append(tx, stamp, body)?;
                ledger.close(tx, stamp, passage, Outcome::Passed, None)?;
            }
            Ok::<_, LedgerError>(())
        };
        store.write(Priority::Upkeep, work).await?;
    }
    Ok(())
}

/// Returns the messages that the link would send.
async fn payloads(
    store: &Store,
    upstream: &Upstream,
    origin: &Origin,
) -> anyhow::Result<Vec<Message>> {
    let name = upstream.name.clone();
    let rows = store.read(move |tx| {
        let with_cause = |stored, cause| (stored, cause);
        let waiting = ledger::waiting(tx, &name, 0, u64::MAX, usize::MAX, with_cause)?;
        Ok::<_, LedgerError>(waiting.rows)
    });
    let profile = profiles::of(upstream, origin)?;
    let message = |(stored, cause): (Stored, Option<Stored>)| {
        profiles::message(&*profile, origin, &stored, cause, false, |_| Default::default())
    };
    let messages = rows.await?.into_iter().filter_map(message).collect::<Result<Vec<_>, _>>()?;
    Ok(messages.into_iter().flatten().collect())
}

struct Drained {
    took: Duration,
    commits: u64,
    mqtt: Option<MqttVersion>,
}

/// Returns the figures from the start of the upstream's task until its outbox is empty.
async fn drain(
    store: &Store,
    clock: &Arc<dyn Clock>,
    upstream: Upstream,
    (ledger, origin): (LedgerId, &Origin),
    records: usize,
) -> anyhow::Result<Drained> {
    let name = upstream.name.clone();
    let cancel = CancellationToken::new();
    // Kept until the end, because a link without a daemon ends.
    let (_said, online) = watch::channel(Online { state: "online", ..Online::default() });
    let (commands, _asked) = mpsc::channel(COMMANDS);
    let storage = Storage::usual(Default::default(), Secret::File(Default::default()));
    let zone = origin.timezone.clone();
    let photos = photo_store(store.clone(), &storage, clock.clone(), zone.clone()).0;
    let context = uplink::Context {
        photos: uplink::Photos::new(photos, clock.clone(), zone),
        memory: Arc::new(gatehouse::memory::Memory::default()).share(),
        store: store.clone(),
        clock: clock.clone(),
        origin: origin.clone(),
        online,
        heads: watch::channel(Default::default()).1,
        sent_before: 0,
        storage_dir: Default::default(),
        ledger,
        commands,
        cancel: cancel.clone(),
    };
    let before = *store.commits().borrow();
    let began = Instant::now();
    let (mut link, task) = uplink::spawn(upstream, context)?;
    let all = link.state.wait_for(|state| state.acknowledged >= records as u64);
    let state = tokio::time::timeout(TIMEOUT, all).await.context("the backlog does not drain")?;
    let (took, mqtt) = (began.elapsed(), state?.version);
    let commits = store.commits().borrow().wrapping_sub(before);
    let left = store.read(move |tx| ledger::backlog(tx, &name)).await?.0;
    anyhow::ensure!(left == 0, "{left} records are left");
    cancel.cancel();
    task.await?;
    Ok(Drained { took, commits, mqtt })
}

/// rumqttc without the code of gatehouse.
enum Bare {
    V4(rumqttc::AsyncClient, Box<rumqttc::EventLoop>),
    V5(rumqttc::v5::AsyncClient, Box<rumqttc::v5::EventLoop>),
}

const CLIENT_ID: &str = "gatehouse-bench-bare";
const LARGEST: usize = 1024 * 1024;

impl Bare {
    fn new(broker: &Broker, version: MqttVersion) -> Bare {
        let window = u16::try_from(WINDOW).unwrap_or(u16::MAX);
        match version {
            MqttVersion::V4 => {
                let mut options = rumqttc::MqttOptions::new(CLIENT_ID, &broker.host, broker.port);
                options.set_inflight(window);
                options.set_max_packet_size(LARGEST, LARGEST);
                let (client, events) = rumqttc::AsyncClient::new(options, WINDOW);
                Bare::V4(client, Box::new(events))
            }
            MqttVersion::V5 => {
                let mut options =
                    rumqttc::v5::MqttOptions::new(CLIENT_ID, &broker.host, broker.port);
                options.set_outgoing_inflight_upper_limit(window);
                let (client, events) = rumqttc::v5::AsyncClient::new(options, WINDOW);
                Bare::V5(client, Box::new(events))
            }
        }
    }

    /// Publishes these messages and returns when the broker has acknowledged all of them.
    async fn publish(self, messages: &[(String, Vec<u8>, bool)]) -> anyhow::Result<()> {
        let mut left = messages.len();
        match self {
            Bare::V4(client, mut events) => {
                let publish = async {
                    for (topic, payload, retain) in messages {
                        let qos = QoS::AtLeastOnce;
                        client.publish(topic, qos, *retain, payload.clone()).await?;
                    }
                    Ok::<_, anyhow::Error>(())
                };
                let heard = async {
                    use rumqttc::{Event, Packet};
                    while left > 0 {
                        left -= usize::from(matches!(
                            events.poll().await?,
                            Event::Incoming(Packet::PubAck(_))
                        ));
                    }
                    Ok::<_, anyhow::Error>(())
                };
                tokio::try_join!(publish, heard)?;
            }
            Bare::V5(client, mut events) => {
                let publish = async {
                    for (topic, payload, retain) in messages {
                        let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
                        client.publish(topic, qos, *retain, payload.clone()).await?;
                    }
                    Ok::<_, anyhow::Error>(())
                };
                let heard = async {
                    use rumqttc::v5::{Event, mqttbytes::v5::Packet};
                    while left > 0 {
                        left -= usize::from(matches!(
                            events.poll().await?,
                            Event::Incoming(Packet::PubAck(_))
                        ));
                    }
                    Ok::<_, anyhow::Error>(())
                };
                tokio::try_join!(publish, heard)?;
            }
        }
        Ok(())
    }
}

async fn bare(
    broker: &Broker,
    version: MqttVersion,
    messages: &[Message],
) -> anyhow::Result<Duration> {
    let messages: Vec<_> =
        messages.iter().map(|m| (m.topic.clone(), m.payload.clone(), false)).collect();
    let began = Instant::now();
    let all = Bare::new(broker, version).publish(&messages);
    tokio::time::timeout(TIMEOUT, all).await.context("bare rumqttc gets nowhere")??;
    Ok(began.elapsed())
}

/// Removes the retained status, so that the broker keeps nothing from this bench.
async fn forget_status(
    broker: &Broker,
    version: MqttVersion,
    status: Message,
) -> anyhow::Result<()> {
    let nothing = [(status.topic, Vec::new(), status.retained)];
    Bare::new(broker, version).publish(&nothing).await
}

fn human(report: &Report) -> String {
    let rates = |what: &str, all: &[f64]| {
        let all: String = all.iter().map(|rate| format!("{rate:9.0}")).collect();
        format!("{what:<38}{all}\n")
    };
    let commits: String = report.commits.iter().map(|n| format!("{n:9}")).collect();
    let mqtt = report.mqtt.word();
    [
        format!(
            "{} records of {} bytes per turn · {} · MQTT {mqtt} · window {}\n\n",
            report.records, report.bytes, report.broker, report.window
        ),
        rates("records per second: gatehouse", &report.ours_per_s),
        rates("bare rumqttc", &report.bare_per_s),
        format!("{:<38}{:9.2}\n", "gatehouse / bare rumqttc", report.ratio),
        format!("{:<38}{commits}\n", "commits in each turn"),
    ]
    .concat()
}
