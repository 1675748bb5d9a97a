//! `gatehouse bench commits`: measures how long the commits of a passage take on the disk.
//!
//! A passage is a grant and its outcome, committed one after the other through the store and the
//! ledger as a lane does it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Times,
    crowd::{grant, person},
    table_head,
};
use crate::{
    clock::{Clock, SystemClock},
    config::{Secret, Storage},
    ledger::{Ledger, Outcome},
    store::{self, Priority},
    turnstile::PassageId,
};

/// Number of passages before the measurement begins.
const WARM_UP: usize = 50;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Folder to measure in; a subfolder is created and removed again [default: the temporary
    /// folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Number of passages (a grant and its outcome each), after 50 passages to warm up
    #[arg(long, default_value_t = 1000)]
    passages: usize,
}

#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    dir: PathBuf,
    /// Type and device of the file system. On a `tmpfs` no commit waits for a disk.
    file_system: String,
    commits: usize,
    commits_per_s: f64,
    grant_ms: Times,
    outcome_ms: Times,
}

pub(super) async fn measure(arguments: Arguments) -> anyhow::Result<Report> {
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir =
        tempfile::Builder::new().prefix("gatehouse-").tempdir_in(&parent).with_context(|| {
            format!("{}: no folder can be created; give another --dir", parent.display())
        })?;
    let key = Secret::File(dir.path().join("key"));
    let storage = Storage::usual(dir.path().join("data"), key);
    let count = arguments.passages.clamp(1, 1_000_000);
    let [grants, outcomes] = passages(&storage, WARM_UP, count).await?;
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

/// Commits passages and returns the durations of the grants and of the outcomes, each until it was
/// on the disk. The first `warm_up` passages are not counted.
pub(super) async fn passages(
    storage: &Storage,
    warm_up: usize,
    count: usize,
) -> anyhow::Result<[Vec<Duration>; 2]> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let (store, thread) = store::open(storage, clock.clone())?;
    let commit = Priority::Attendance;
    let ledger = store.write(commit, |tx| Ledger::open(tx, vec!["u".into()])).await?;
    let (mut grants, mut outcomes) = (Vec::new(), Vec::new());
    for n in 0..warm_up + count {
        let (passage, person) = (PassageId::random()?, person(0)?);
        let (granting, closing) = (ledger.clone(), ledger.clone());
        let began = Instant::now();
        let (stamp, body) = (clock.stamp(), grant(passage, person));
        store.write(commit, move |tx| granting.append(tx, stamp, body)).await?;
        let granted = began.elapsed();
        let (stamp, passed) = (clock.stamp(), Outcome::Passed);
        store.write(commit, move |tx| closing.close(tx, stamp, passage, passed, None)).await?;
        if n >= warm_up {
            grants.push(granted);
            outcomes.push(began.elapsed() - granted);
        }
    }
    drop(store);
    thread.join()?;
    Ok([grants, outcomes])
}

/// Returns type and device of the file system at `path`.
fn file_system(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mount = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let over = mounts.lines().filter_map(mount).filter(|(_, at, _)| path.starts_with(at));
    // The longest mount point holds the path. Of mounts on the same point, the last is visible.
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
