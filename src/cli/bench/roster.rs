//! `gatehouse bench roster`: how long a full roster takes to be listed, shown, changed and loaded.
//!
//! The daemon is a process of its own, with made-up workers; what an admin types is timed as a
//! process too, from its start to its end. Reading the roster as a start does, and making the
//! snapshot after a change, are timed in this process, on the same database.

use std::{
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Context, Daemon, Times, fill, models, random_template};
use crate::{
    cli::rig::{self, Bench},
    clock::{Clock, SystemClock},
    control::Client,
    roster,
    store::Sealer,
    vision::EMBEDDER_NAME,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Workers on the roster, three templates each
    #[arg(long, default_value_t = 10_000)]
    workers: usize,
    /// How often each is done
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    workers: usize,
    templates: usize,
    start_to_ready_ms: f64,
    /// The commands, from the start of their process to its end.
    worker_list_ms: Times,
    worker_show_ms: Times,
    /// `worker suspend` and `worker resume`: an entry on the disk and a new snapshot for the gate.
    worker_suspend_ms: Times,
    /// The whole roster from the database, every template opened.
    load_ms: Times,
    /// A new snapshot after one change.
    change_ms: Times,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let report = rig::unless_interrupted(measure(context, arguments)).await?;
    context.print(&report, human)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(context: &Context, arguments: Arguments) -> anyhow::Result<Report> {
    let models = models(context)?;
    let dir = models.detector.parent().map(PathBuf::from).unwrap_or_default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let bench = Bench::new(&dir, clock, "")?;
    let workers = arguments.workers.clamp(1, 10_000);
    let rounds = arguments.rounds.clamp(1, 1_000);
    fill(&bench.config, workers, &[random_template()?]).await?;

    let began = Instant::now();
    let mut process = Daemon::start(&bench.config.path)?;
    while Client::connect(&bench.config.control.socket).await.is_err() {
        anyhow::ensure!(process.0.try_wait()?.is_none(), "the daemon ended early");
        anyhow::ensure!(began.elapsed() < rig::PATIENCE, "the daemon does not answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ready = began.elapsed();
    let last = format!("B{:05}", workers - 1);
    let command = |arguments: &[&str]| -> anyhow::Result<Duration> {
        let began = Instant::now();
        let done = Command::new(std::env::current_exe()?)
            .arg("--config")
            .arg(&bench.config.path)
            .args(arguments)
            .stdout(Stdio::null())
            .status()?;
        anyhow::ensure!(done.success(), "{arguments:?} failed");
        Ok(began.elapsed())
    };
    let times = |arguments: &[&[&str]]| -> anyhow::Result<Times> {
        let all = (0..rounds).flat_map(|_| arguments).map(|one| command(one));
        Ok(Times::of(all.collect::<anyhow::Result<_>>()?))
    };
    let worker_list_ms = times(&[&["worker", "list"]])?;
    let worker_show_ms = times(&[&["worker", "show", &last]])?;
    let suspend: [&[&str]; 2] = [
        &["worker", "suspend", &last, "--reason", "bench"],
        &["worker", "resume", &last, "--reason", "bench"],
    ];
    let worker_suspend_ms = times(&suspend)?;
    process.stop().await?;

    let sealer = Sealer::load(&bench.config.storage.key, false)?;
    let mut database = rusqlite::Connection::open(bench.config.storage.database())?;
    let (mut load, mut change) = (Vec::new(), Vec::new());
    let id = last.parse()?;
    for _ in 0..rounds {
        let tx = database.transaction()?;
        let began = Instant::now();
        let whole = roster::load(&tx, &sealer, EMBEDDER_NAME)?;
        load.push(began.elapsed());
        anyhow::ensure!(whole.workers().len() == workers, "{whole:?}");
        let began = Instant::now();
        let one = roster::load_one(&tx, &sealer, EMBEDDER_NAME, &id)?;
        let changed = whole.with(whole.version() + 1, &id, one);
        change.push(began.elapsed());
        anyhow::ensure!(changed.templates() == whole.templates(), "{changed:?}");
    }
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        workers,
        templates: workers * 3,
        start_to_ready_ms: ready.as_secs_f64() * 1000.0,
        worker_list_ms,
        worker_show_ms,
        worker_suspend_ms,
        load_ms: Times::of(load),
        change_ms: Times::of(change),
    })
}

fn human(report: &Report) -> String {
    let row =
        |what: &str, t: &Times| format!("{what:<38}{:9.1} {:9.1} {:9.1}\n", t.p50, t.p99, t.max);
    [
        format!(
            "gatehouse {} · {} workers, {} templates\n\n",
            report.version, report.workers, report.templates
        ),
        format!("{:<38}{:9.1} ms\n\n", "start to ready", report.start_to_ready_ms),
        format!("{:<38}{:>9} {:>9} {:>9}\n", "ms", "p50", "p99", "max"),
        row("worker list", &report.worker_list_ms),
        row("worker show", &report.worker_show_ms),
        row("worker suspend, worker resume", &report.worker_suspend_ms),
        row("the roster loaded whole", &report.load_ms),
        row("a new snapshot after a change", &report.change_ms),
    ]
    .concat()
}
