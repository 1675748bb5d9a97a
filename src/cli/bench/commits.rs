//! `gatehouse bench commits`: what a passage costs on the disk, beside bare SQLite.
//!
//! The two take turns in one folder, so that the disk's mood meets both. A passage is a grant and
//! its outcome, committed one after the other through the store and the ledger as a lane does it.
//! Bare is a plain table of its own, as durable, with two rows of an entry's size to a commit.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::{Context, Times, grant, person};
use crate::{
    cli::rig,
    clock::{Clock, SystemClock},
    config::{Secret, Storage},
    ledger::{Ledger, LedgerError, Outcome, Stored},
    store::{self, Priority, Store, StoreError, StoreThread},
    turnstile::PassageId,
};

/// Passages, and as many times two bare commits, before the other has its turn.
const TURN: usize = 25;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to measure; a folder is made there and taken away again [default: the temporary folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Turns of 50 commits each, after two to warm up
    #[arg(long, default_value_t = 40)]
    turns: usize,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    dir: PathBuf,
    /// Type and device. A `tmpfs` has no disk to wait for.
    file_system: String,
    /// Of each.
    commits: usize,
    passage_commits_per_s: f64,
    bare_commits_per_s: f64,
    /// The first to the second.
    ratio: f64,
    grant_ms: Times,
    outcome_ms: Times,
    bare_ms: Times,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let report = rig::unless_interrupted(measure(arguments)).await?;
    context.print(&report, human)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(arguments: Arguments) -> anyhow::Result<Report> {
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new()
        .prefix("gatehouse-")
        .tempdir_in(&parent)
        .with_context(|| format!("a folder in {} (--dir names another)", parent.display()))?;
    let key = Secret::File(dir.path().join("key"));
    let storage = Storage::usual(dir.path().join("data"), key);
    let ours = Passages::open(&storage).await?;
    let (grant, outcome) = ours.entries().await?;
    let mut bare = Bare::open(&dir.path().join("bare.db"), [grant, outcome])?;

    let turns = arguments.turns.clamp(1, 10_000);
    let (mut grants, mut outcomes, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns + 2 {
        if turn == 2 {
            grants.clear();
            outcomes.clear();
            bares.clear();
        }
        for _ in 0..TURN {
            let (grant, outcome) = ours.passage().await?;
            grants.push(grant);
            outcomes.push(outcome);
        }
        tokio::task::block_in_place(|| {
            (0..TURN * 2).try_for_each(|_| bare.commit().map(|took| bares.push(took)))
        })?;
    }
    ours.close()?;
    let commits = bares.len();
    let per_s = |all: &[&Vec<Duration>]| {
        let took: Duration = all.iter().copied().flatten().sum();
        commits as f64 / took.as_secs_f64()
    };
    let passage_commits_per_s = per_s(&[&grants, &outcomes]);
    let bare_commits_per_s = per_s(&[&bares]);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        file_system: file_system(dir.path())?,
        dir: parent,
        commits,
        passage_commits_per_s,
        bare_commits_per_s,
        ratio: passage_commits_per_s / bare_commits_per_s,
        grant_ms: Times::of(grants),
        outcome_ms: Times::of(outcomes),
        bare_ms: Times::of(bares),
    })
}

/// Passages through the store and the ledger, for one upstream.
pub(super) struct Passages {
    store: Store,
    thread: StoreThread,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

impl Passages {
    pub(super) async fn open(storage: &Storage) -> anyhow::Result<Passages> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
        let (store, thread) = store::open(storage, clock.clone())?;
        let ledger =
            store.write(Priority::Attendance, |tx| Ledger::open(tx, vec!["u".into()])).await?;
        Ok(Passages { store, thread, ledger, clock })
    }

    /// What the grant and the outcome took, each until it was on the disk.
    pub(super) async fn passage(&self) -> anyhow::Result<(Duration, Duration)> {
        let began = Instant::now();
        let passage = PassageId::random()?;
        self.grant(passage).await?;
        let granted = began.elapsed();
        self.outcome(passage).await?;
        Ok((granted, began.elapsed() - granted))
    }

    async fn grant(&self, passage: PassageId) -> anyhow::Result<Stored> {
        let (stamp, person) = (self.clock.stamp(), person(0)?);
        let body = grant(passage, person);
        self.write(move |ledger, tx| ledger.append(tx, stamp, body)).await
    }

    async fn outcome(&self, passage: PassageId) -> anyhow::Result<Stored> {
        let stamp = self.clock.stamp();
        self.write(move |ledger, tx| ledger.close(tx, stamp, passage, Outcome::Passed, None)).await
    }

    async fn write(
        &self,
        work: impl FnOnce(&Ledger, &Transaction<'_>) -> Result<Stored, LedgerError> + Send + 'static,
    ) -> anyhow::Result<Stored> {
        let ledger = self.ledger.clone();
        Ok(self.store.write(Priority::Attendance, move |tx| work(&ledger, tx)).await?)
    }

    /// How long the bytes of a grant and of an outcome are.
    async fn entries(&self) -> anyhow::Result<(usize, usize)> {
        let passage = PassageId::random()?;
        let (grant, outcome) = (self.grant(passage).await?, self.outcome(passage).await?);
        Ok((grant.entry.encode()?.len(), outcome.entry.encode()?.len()))
    }

    pub(super) fn close(self) -> Result<(), StoreError> {
        drop(self.store);
        self.thread.join()
    }
}

/// SQLite with nothing of ours around it.
struct Bare {
    connection: Connection,
    rows: [Vec<u8>; 2],
}

impl Bare {
    fn open(path: &Path, lengths: [usize; 2]) -> anyhow::Result<Bare> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)", [])?;
        Ok(Bare { connection, rows: lengths.map(|length| vec![0x5a; length]) })
    }

    fn commit(&mut self) -> rusqlite::Result<Duration> {
        let began = Instant::now();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for row in &self.rows {
            tx.prepare_cached("INSERT INTO row (bytes) VALUES (?1)")?.execute(params![row])?;
        }
        tx.commit()?;
        Ok(began.elapsed())
    }
}

/// Type and device of what is mounted there.
fn file_system(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mount = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let over = mounts.lines().filter_map(mount).filter(|(_, at, _)| path.starts_with(at));
    // The longest, and of those on one another the last, is what one sees.
    let seen = over.max_by_key(|(_, at, _)| at.len());
    Ok(seen.map_or("unknown".into(), |(device, _, kind)| format!("{kind} on {device}")))
}

fn human(report: &Report) -> String {
    let rate = |what: &str, n: f64| format!("{what:<38}{n:9.0}\n");
    let row =
        |what: &str, t: &Times| format!("{what:<38}{:9.2} {:9.2} {:9.2}\n", t.p50, t.p99, t.max);
    [
        format!(
            "gatehouse {} · {} commits of each · {} ({})\n\n",
            report.version,
            report.commits,
            report.dir.display(),
            report.file_system
        ),
        format!("{:<38}{:>9}\n", "commits a second", ""),
        rate("a passage's: grant, then outcome", report.passage_commits_per_s),
        rate("bare SQLite, two rows each", report.bare_commits_per_s),
        format!("{:<38}{:9.2}\n", "the first to the second", report.ratio),
        format!("\n{:<38}{:>9} {:>9} {:>9}\n", "ms", "p50", "p99", "max"),
        row("grant", &report.grant_ms),
        row("outcome", &report.outcome_ms),
        row("bare SQLite, two rows", &report.bare_ms),
    ]
    .concat()
}
