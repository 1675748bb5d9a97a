//! `gatehouse bench commits`: what a passage costs on the disk.
//!
//! A passage is a grant and its outcome, committed one after the other through the store and the
//! ledger as a lane does it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rusqlite::Transaction;
use serde::Serialize;

use super::{
    Times,
    crowd::{grant, person},
    table_head,
};
use crate::{
    clock::{Clock, SystemClock},
    config::{Secret, Storage},
    ledger::{Ledger, LedgerError, Outcome, Stored},
    store::{self, Priority, Store, StoreError, StoreThread},
    turnstile::PassageId,
};

/// Passages that are not counted, to begin with.
const WARM_UP: usize = 50;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to measure; a folder is made there and taken away again [default: the temporary folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Passages, each a grant and its outcome, after 50 to warm up
    #[arg(long, default_value_t = 1000)]
    passages: usize,
}

#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    dir: PathBuf,
    /// Type and device. A `tmpfs` has no disk to wait for.
    file_system: String,
    commits: usize,
    commits_per_s: f64,
    grant_ms: Times,
    outcome_ms: Times,
}

pub(super) async fn measure(arguments: Arguments) -> anyhow::Result<Report> {
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new()
        .prefix("gatehouse-")
        .tempdir_in(&parent)
        .with_context(|| format!("a folder in {} (--dir names another)", parent.display()))?;
    let key = Secret::File(dir.path().join("key"));
    let passages = Passages::open(&Storage::usual(dir.path().join("data"), key)).await?;
    for _ in 0..WARM_UP {
        passages.passage().await?;
    }
    let (mut grants, mut outcomes) = (Vec::new(), Vec::new());
    for _ in 0..arguments.passages.clamp(1, 1_000_000) {
        let (grant, outcome) = passages.passage().await?;
        grants.push(grant);
        outcomes.push(outcome);
    }
    passages.close()?;
    let took: Duration = grants.iter().chain(&outcomes).sum();
    let commits = grants.len() + outcomes.len();
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        file_system: file_system(dir.path())?,
        dir: parent,
        commits,
        commits_per_s: commits as f64 / took.as_secs_f64(),
        grant_ms: Times::of(grants),
        outcome_ms: Times::of(outcomes),
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

    pub(super) fn close(self) -> Result<(), StoreError> {
        drop(self.store);
        self.thread.join()
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

pub(super) fn human(report: &Report) -> String {
    [
        format!(
            "gatehouse {} · {} commits · {} ({})\n\n",
            report.version,
            report.commits,
            report.dir.display(),
            report.file_system
        ),
        format!("{:<38}{:9.0}\n", "commits a second", report.commits_per_s),
        table_head(),
        report.grant_ms.row("grant"),
        report.outcome_ms.row("outcome"),
    ]
    .concat()
}
