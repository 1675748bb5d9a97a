//! Measures how long it takes to list, show, change and load a full roster.
//!
//!     cargo bench --bench roster
//!
//! The daemon is a separate process with invented workers. Each command of an admin is also a
//! separate process, timed from its start to its end. The load of the roster at a start and the new
//! snapshot after a change are timed in this process, on the same database.

#![allow(clippy::disallowed_methods, reason = "a bench measures")]

mod workshop;

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use gatehouse::{config::Config, control::Client, roster, store::Sealer, vision::EMBEDDER_NAME};
use workshop::{Times, fill};

/// Timeout after which the start of the daemon has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(clap::Parser)]
pub struct Arguments {
    /// Workers on the roster; each has three templates
    #[arg(long, default_value_t = 10_000)]
    pub workers: usize,
    /// Number of repetitions of each command
    #[arg(long, default_value_t = 10)]
    pub rounds: usize,
    /// Where to measure; a folder is created there and removed afterwards [default: the temporary
    /// folder]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}

#[derive(Debug)]
pub struct Report {
    workers: usize,
    templates: usize,
    start_to_ready_ms: f64,
    /// Times of the commands, from the start of the process to its end.
    pub worker_list_ms: Times,
    worker_show_ms: Times,
    /// `worker suspend` and `worker resume`: each writes a ledger entry and makes a new snapshot.
    worker_suspend_ms: Times,
    /// Time to read the whole roster from the database and to decrypt every template.
    pub load_ms: Times,
    /// Time to make a new snapshot after one change.
    change_ms: Times,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    print!("{}", human(&measure(Arguments::parse()).await?));
    Ok(())
}

/// Kills the daemon when the bench ends, also after an error.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn measure(arguments: Arguments) -> anyhow::Result<Report> {
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new().prefix("gatehouse-").tempdir_in(parent)?;
    let text = format!(
        "[site]\nproject_code = \"bench\"\n[storage]\ndir = \"data\"\n[models]\ndir = {:?}\n\
         [control]\nsocket = \"control.sock\"\n",
        concat!(env!("CARGO_MANIFEST_DIR"), "/models")
    );
    let path = dir.path().join("gatehouse.toml");
    std::fs::write(&path, &text)?;
    let config = Config::parse(&path, &text)?;
    let workers = arguments.workers.clamp(1, 10_000);
    let rounds = arguments.rounds.clamp(1, 1_000);
    fill(&config, workers, &[]).await?;

    let gatehouse = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.arg("--config").arg(&path);
        command
    };
    let began = Instant::now();
    let mut daemon = Daemon(gatehouse().arg("run").stderr(Stdio::null()).spawn()?);
    while Client::connect(&config.control.socket).await.is_err() {
        anyhow::ensure!(daemon.0.try_wait()?.is_none(), "the daemon ended early");
        anyhow::ensure!(began.elapsed() < TIMEOUT, "the daemon does not answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ready = began.elapsed();
    let last = format!("B{:05}", workers - 1);
    let command = |arguments: &[&str]| -> anyhow::Result<Duration> {
        let began = Instant::now();
        let done = gatehouse().args(arguments).stdout(Stdio::null()).status()?;
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
    drop(daemon);

    let sealer = Sealer::load(&config.storage.key, false)?;
    let mut database = rusqlite::Connection::open(config.storage.database())?;
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
    [
        format!("{} workers, {} templates\n\n", report.workers, report.templates),
        format!("{:<38}{:9.1} ms\n\n", "start to ready", report.start_to_ready_ms),
        format!("{:<38}{:>9} {:>9} {:>9}\n", "ms", "p50", "p99", "max"),
        report.worker_list_ms.row("worker list"),
        report.worker_show_ms.row("worker show"),
        report.worker_suspend_ms.row("worker suspend, worker resume"),
        report.load_ms.row("load the whole roster"),
        report.change_ms.row("make a snapshot after a change"),
    ]
    .concat()
}
