//! The composition root: builds drivers, channels and tasks, and ends them in order.
//!
//! In: a [`Config`]. Out: a running gate. Cameras, turnstiles, lanes and links restart in their own
//! rooms. The store, the vision workers and the control socket are vital: if one of them ends, the
//! daemon ends. If one of them hangs, systemd's watchdog is not fed. In both cases systemd starts
//! the daemon again.

mod alarms;
mod beginning;
mod deletion;
mod heads;
mod journal;
mod maintenance;
mod online;
mod opening;
mod parts;
mod pending;
mod waiting;
mod watchdog;

use std::{collections::HashMap, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use self::{
    alarms::AlarmKeeper,
    beginning::{Begun, NotBegun, begin},
    heads::sign_heads,
    journal::{keep_journal, record_shutdown},
    maintenance::Maintenance,
    online::keep_online,
    parts::{Built, Parts},
};
use crate::{
    attendance::Origin,
    camera::{self, Slot, Wakeup},
    clock::Clock,
    commands,
    config::{Config, Direction, Lane, Liveness, ModelFiles, Upstream},
    control, failpoint,
    gate::{
        self,
        claim::FaceBefore,
        codes::Codes,
        lane::{self, FireAlarms, ModeHolder, PRESENTED, REQUESTS, SensorHolder},
        pace::Capacity,
        passage::Rules,
        reader::{CameraBeside, Desk, ReaderFeed},
        vision_pool::{self, CameraFeed, FrameCounts, VisionPool},
        visit::FaceRules,
    },
    ledger::{HeadState, LaneMode, Ledger, Retention},
    memory::{self, Memory},
    reader::{self, CodeKey, WithFace},
    services::{CameraPanel, Checker, LanePanel, ReaderPanel, Services},
    status,
    store::{
        Store, StoreThread,
        photo_store::{self, PhotoStore},
    },
    supervision::Heartbeats,
    timing::Stages,
    turnstile::{self, DeviceFrame},
    uplink,
    vision::Vision,
};

/// Timeout of a shutdown: the links' disconnect, the withdrawal of releases, the store's queue.
pub const SHUTDOWN: Duration = Duration::from_secs(10);

/// A gate at work.
pub struct Running {
    pub services: Arc<Services>,
    /// The line of each simulated turnstile, by lane.
    pub taps: Vec<(String, broadcast::Sender<DeviceFrame>)>,
    cancel: CancellationToken,
    /// Ends the links after the lanes, so that the last outcomes are still sent.
    cancel_links: CancellationToken,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    turnstiles: Vec<JoinHandle<()>>,
    links: Vec<JoinHandle<()>>,
    threads: Vec<thread::JoinHandle<()>>,
    store: Option<StoreThread>,
    /// The failure of a vital part.
    failed: Option<String>,
}

/// Channel for the name of a vital part that has ended.
type Fatal = mpsc::Sender<&'static str>;
/// Maximum number of reported ends. Only the first one counts.
const ENDED: usize = 1;

/// Reports the end of a task, also after a panic.
fn watch_over(task: JoinHandle<()>, what: &'static str, ended: &Fatal) -> JoinHandle<()> {
    let ended = ended.clone();
    tokio::spawn(async move {
        let _ = task.await;
        let _ = ended.try_send(what);
    })
}

/// Spawns a task that must not end while the gate runs.
fn keep(what: &'static str, ended: &Fatal, work: impl Future<Output = ()> + Send + 'static) {
    watch_over(tokio::spawn(work), what, ended);
}

/// Starts a link to each upstream, and its task.
fn links(
    config: &Config,
    context: &uplink::Context,
    memory: &Arc<Memory>,
    ledger: &Ledger,
    ended: &Fatal,
) -> anyhow::Result<(Vec<uplink::Link>, Links)> {
    let mut links = Links::default();
    let mut spawn = |upstream: &Upstream| {
        let sent_before = ledger.sent_before(&upstream.name);
        let (commands, incoming) = mpsc::channel(uplink::COMMANDS);
        let memory = memory.share();
        let context = uplink::Context { sent_before, commands, memory, ..context.clone() };
        let (link, task) = uplink::spawn(upstream.clone(), context)?;
        links.tasks.push(watch_over(task, "a link's task", ended));
        links.commands.push(incoming);
        Ok(link)
    };
    let upstreams = config.upstreams.iter().map(&mut spawn).collect::<anyhow::Result<_>>()?;
    Ok((upstreams, links))
}

/// The tasks of all links, and the queues of their commands.
#[derive(Default)]
struct Links {
    tasks: Vec<JoinHandle<()>>,
    commands: Vec<mpsc::Receiver<uplink::Incoming>>,
}

/// Loads the models, off the async threads. Unpacking them takes twice their final size.
async fn load_vision(files: &ModelFiles, liveness: Liveness) -> anyhow::Result<Arc<Vision>> {
    let files = files.clone();
    let vision =
        tokio::task::spawn_blocking(move || Vision::configured(&files, liveness)).await??;
    memory::give_back();
    Ok(Arc::new(vision))
}

/// Empties the write-ahead log: after a crash it may hold sealed copies of a removed worker's data
/// (I7). If that fails, for example on a full disk, the gate starts anyway.
async fn empty_log(store: &Store) {
    let kept = match store.checkpoint().await {
        Ok(true) => return,
        Ok(false) => "another program reads the database".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(kept, "the write-ahead log is not emptied; the next start tries again");
}

/// Starts a gate. The cameras open after the passages that a crash left open are closed.
pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Running> {
    let vision = load_vision(&config.models, config.recognition.liveness).await?;
    let mut listener = None;
    let begun = loop {
        let problem = match begin(config, &clock, &vision, &mut listener).await {
            Ok(begun) => break begun,
            Err(NotBegun::Other(error)) => return Err(error),
            Err(NotBegun::Disk(problem)) => problem,
        };
        // Without its database the gate cannot work, and no one would know why. Clients get the
        // reason until the disk is well.
        waiting::wait(config, &problem, &mut listener).await?;
    };
    let Begun { store, mut store_thread, metrics, started, key, opened } = begun;
    let socket = config.control.socket.clone();
    let listener = listener.context("the control socket is closed")?;
    failpoint::at("start.committed");
    empty_log(&store).await;
    let origin = Origin {
        gateway: opened.gateway,
        project: config.site.project_code.clone(),
        timezone: config.site.timezone.clone(),
    };
    let roster = watch::Sender::new(Arc::new(opened.roster));
    let (cancel, cancel_links) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    let (ended, mut first_ended) = mpsc::channel(ENDED);
    tasks.spawn(async move {
        let what = first_ended.recv().await.unwrap_or("all of the gate");
        (what, Err(anyhow::anyhow!("this part must not end while the gate runs")))
    });
    if let Some(store_ended) = store_thread.ended.take() {
        let closed = async move { drop(store_ended.await) };
        keep("the store", &ended, closed);
    }

    let beats = Arc::new(Heartbeats::new(clock.clone(), watchdog::timeout()));
    let wakeup = Arc::new(Wakeup::default());
    let stages = Arc::new(Stages::default());
    let buses = turnstile::Buses::new(clock.clone());
    let (photo_store, keeper) = photo_store::photo_store(
        store.clone(),
        &config.storage,
        clock.clone(),
        config.site.timezone.clone(),
    );
    let stop = cancel.clone();
    keep("the photo store", &ended, async move { keeper.run(stop).await });
    let mut parts = Parts::default();
    let alarms = watch::Sender::new(FireAlarms::default());
    for lane in &config.lanes {
        let built = Built {
            config,
            buses: &buses,
            clock: &clock,
            store: &store,
            ledger: &opened.ledger,
            stages: &stages,
            beats: &beats,
            ended: &ended,
            alarms: &alarms,
            kept: &opened.lanes,
            photo_store: &photo_store,
        };
        parts.lane(lane, &built, &vision, &wakeup, &mut tasks, &cancel)?;
    }

    let memory = Arc::new(Memory::default());
    let returning = memory.clone();
    keep("the return of memory", &ended, async move { returning.give_back().await });
    let last_trusted = Arc::new(opened.last_trusted);
    let (online, online_watch) = watch::channel(uplink::Online::default());
    let replaced = opened.replaced_key;
    let heads = watch::Sender::new(HeadState { replaced, ..HeadState::default() });
    let context = uplink::Context {
        store: store.clone(),
        heads: heads.subscribe(),
        photos: uplink::Photos::dated(&photo_store, &clock, &last_trusted, &origin.timezone),
        clock: clock.clone(),
        origin: origin.clone(),
        online: online_watch,
        sent_before: 0,
        ledger: opened.ledger.id,
        // Each link has its own queue and share.
        commands: mpsc::channel(uplink::COMMANDS).0,
        memory: memory.share(),
        storage_dir: config.storage.dir.clone(),
        cancel: cancel_links.clone(),
    };
    let (upstreams, links) = links(config, &context, &memory, &opened.ledger, &ended)?;

    let frames_to_agree = config.recognition.frames_to_agree;
    let cameras = parts.feeds.len();
    let capacity = Arc::new(Capacity::new(vision_pool::workers(), cameras, frames_to_agree));
    let (exporter_down, exporter) = watch::channel(None);
    let audit = watch::Sender::default();
    let (checked, id) = (store.clone(), opened.ledger.id);
    let checker = Checker::new(checked, id, key.public(), audit.clone(), heads.clone());
    let named = (origin.project.clone(), origin.gateway.clone());
    let codes = Codes::new(named, store.sealer(), qr_key(config)?);
    let services = Arc::new(Services {
        checker: Arc::new(checker),
        heads,
        roster_stale: watch::Sender::new(opened.roster_stale),
        signing_key: key,
        storage_dir: config.storage.dir.clone(),
        config_sha256: config.sha256,
        ledger: opened.ledger,
        undated: opened.undated,
        clock: clock.clone(),
        last_trusted: last_trusted.clone(),
        started,
        beats: beats.clone(),
        site: (&config.site).into(),
        origin,
        vision: vision.clone(),
        roster,
        lanes: parts.panels,
        upstreams,
        stages: stages.clone(),
        capacity: capacity.clone(),
        exporter,
        face_limits: config.enrolment,
        min_face_px: config.recognition.min_face_px,
        threshold: config.recognition.threshold,
        roster_rules: config.roster.clone(),
        retention: Retention {
            settled_on: config.site.settled_on,
            keep_years: config.storage.attendance_keep_years,
            timezone: config.site.timezone.clone(),
        },
        readings: Default::default(),
        codes: Arc::new(codes),
        photo_keep_days: config.storage.photo_keep_days,
        deletions: watch::Sender::default(),
        commands: Default::default(),
        memory: memory.clone(),
        changing: Default::default(),
        audit,
        alarm_limits: config.alarms,
        alarms: watch::Sender::default(),
        photo_store,
        store,
    });
    if let Some((address, listener)) = metrics {
        tokio::spawn(status::export(
            address,
            listener,
            services.clone(),
            exporter_down,
            cancel.clone(),
        ));
    }
    let (served, beat, stop) = (services.clone(), beats.part("control"), cancel.clone());
    tasks.spawn(async move {
        let ended = control::serve(listener, &socket, served, &beat, stop).await;
        ("the control socket", ended.map_err(Into::into))
    });
    let (watched, watched_store, stop) = (beats.clone(), services.store.clone(), cancel.clone());
    tasks.spawn(async move {
        watchdog::watch(watched, watched_store, stop).await;
        ("the watchdog", Err(anyhow::anyhow!("its task ended")))
    });
    let platforms = commands::run(services.clone(), links.commands, cancel.clone());
    keep("the platforms' commands", &ended, platforms);
    let status = keep_online(services.clone(), online, cancel_links.clone());
    keep("the links' status", &ended, status);
    keep("the tree heads", &ended, sign_heads(services.clone(), cancel.clone()));
    keep("the health journal", &ended, keep_journal(services.clone(), cancel.clone()));
    let maintenance = Maintenance::new(&services, opened.clock);
    keep("maintenance", &ended, maintenance.run(cancel.clone()));
    let deleting = deletion::delete(services.clone(), cancel.clone());
    keep("deletion", &ended, deleting);
    let keeper = AlarmKeeper::new(services.clone(), &opened.alarms);
    keep("the alarms' task", &ended, keeper.run(cancel.clone()));

    let desk = Desk {
        roster: services.roster.subscribe(),
        store: services.store.clone(),
        codes: services.codes.clone(),
        clock: clock.clone(),
        last_trusted: last_trusted.clone(),
        timezone: config.site.timezone.clone(),
    };
    for feed in parts.readers {
        let desk = desk.clone();
        keep("a reader", &ended, gate::reader::run(feed, desk, cancel.clone()));
    }

    let vision_pool = VisionPool {
        feeds: parts.feeds,
        wakeup,
        vision,
        roster: services.roster.subscribe(),
        clock: clock.clone(),
        stages,
        capacity,
        last_trusted,
        rules: config.recognition,
        timezone: config.site.timezone.clone(),
        photos: services.photo_store.keeps(),
        scenes_for: config.scenes_for(),
        cancel: cancel.clone(),
    };
    let mut threads = vision_pool::spawn(vision_pool, &beats, &ended)
        .context("cannot start the vision workers")?;
    threads.extend(parts.captures);
    Ok(Running {
        services,
        taps: parts.taps,
        cancel,
        cancel_links,
        tasks,
        turnstiles: parts.turnstiles,
        links: links.tasks,
        threads,
        store: Some(store_thread),
        failed: None,
    })
}

/// Reads the key of the codes that a platform makes.
fn qr_key(config: &Config) -> anyhow::Result<Option<CodeKey>> {
    let Some(secret) = &config.roster.qr_key else { return Ok(None) };
    let read = secret.read().map_err(|error| error.to_string());
    let key = read.and_then(|digits| {
        let malformed = || "the key must be 64 hexadecimal digits on one line".to_owned();
        CodeKey::of_digits(&digits).ok_or_else(malformed)
    });
    Ok(Some(key.map_err(|problem| config.wrong("roster.qr_key", &problem))?))
}

impl Running {
    /// Waits until a vital part has ended. Returns its name and the reason.
    pub async fn failure(&mut self) -> anyhow::Error {
        let failure = match self.tasks.join_next().await {
            Some(Ok((what, Err(error)))) => error.context(format!("{what} ended early")),
            Some(Ok((what, Ok(())))) => anyhow::anyhow!("{what} ended early"),
            Some(Err(panic)) => anyhow::anyhow!(panic).context("a task ended early"),
            None => anyhow::anyhow!("all tasks ended"),
        };
        self.failed = Some(failure.to_string());
        failure
    }

    /// Stops all parts in order: first the sources, then the turnstiles (they withdraw their
    /// releases) and the links, and last the store with its queue. The timeout is [`SHUTDOWN`].
    pub async fn shutdown(self) -> anyhow::Result<()> {
        let Running {
            services,
            cancel,
            cancel_links,
            mut tasks,
            turnstiles,
            links,
            threads,
            store,
            failed,
            ..
        } = self;
        let ordered = async move {
            cancel.cancel();
            for turnstile in turnstiles {
                let _ = turnstile.await;
            }
            cancel_links.cancel();
            for link in links {
                let _ = link.await;
            }
            let joined = tokio::task::spawn_blocking(move || {
                threads.into_iter().try_for_each(thread::JoinHandle::join)
            });
            let joined = joined.await?;
            tasks.abort_all();
            while tasks.join_next().await.is_some() {}
            record_shutdown(&services, failed).await;
            drop(services);
            if let Some(store) = store {
                tokio::task::spawn_blocking(move || store.join()).await??;
            }
            joined.map_err(|_| anyhow::anyhow!("a thread panicked"))
        };
        tokio::time::timeout(SHUTDOWN, ordered)
            .await
            .with_context(|| format!("not all parts stopped within {SHUTDOWN:?}"))?
    }
}
