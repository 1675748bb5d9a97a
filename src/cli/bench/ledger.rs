//! `gatehouse bench ledger`: measures the proofs of a ledger of years.
//!
//! It makes a ledger of passages through the store, as a lane does, but many in one transaction. Then
//! it times the tree's growth, an audit, proofs, and the package of one worker. Last it commits
//! passages with and without the tree, in turns on the same disk.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use serde::Serialize;

use super::crowd::{grant, person};
use crate::{
    attendance::Origin,
    clock::{BootId, Clock, Stamp, SystemClock},
    config::{Secret, Storage},
    evidence::{self, Known, Period},
    ledger::{
        Altered, Head, Ledger, LedgerError, Outcome, SignedHead,
        audit::Audit,
        growth::{self, prover},
        read,
        tree::{includes, is_consistent},
    },
    store::{self, Priority, SigningKey, Store, StoreThread, set_meta},
    turnstile::PassageId,
};

/// Entries in one transaction while the ledger is made, as many as a page of the audit.
const BATCH: u64 = 2000;
/// Days that the ledger covers, and the first one.
const DAYS: i64 = 1095;
const FIRST: Date = Date::constant(2026, 1, 1);
/// Passages of a worker on one day.
const A_DAY: u64 = 4;
/// Passages between two heads of the runs with the tree. A gateway signs a head in 300 s.
const HEAD_AFTER: usize = 100;
const GATEWAY: &str = "bench";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Folder to measure in; a subfolder is created and removed again [default: the temporary
    /// folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Number of entries of the ledger: 1,300,000 are three years of 150 workers
    #[arg(long, default_value_t = 1_300_000)]
    entries: u64,
    /// Number of runs with the tree, and of runs without it
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Number of passages (a grant and its outcome each) of a run
    #[arg(long, default_value_t = 500)]
    passages: usize,
}

#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    entries: u64,
    /// Time to make the ledger.
    made_s: f64,
    /// Size of the database's file.
    database_bytes: u64,
    /// Time in which the tree grew over all entries, and the head was signed.
    tree_s: f64,
    /// Size of what a running gateway keeps of the tree: its right edge.
    tree_bytes: usize,
    audit_s: f64,
    /// Resident memory of this process before the audit, and the highest until the end of it.
    memory_before_mib: f64,
    memory_most_mib: f64,
    /// An inclusion proof and a consistency proof.
    proof_made_ms: f64,
    proof_verified_ms: f64,
    /// Packages of one worker, for a month and for all days.
    packages: Vec<Made>,
    /// Time of a run's commits without the tree, and with it.
    without_tree_ms: Vec<f64>,
    with_tree_ms: Vec<f64>,
    /// The ratio of their medians.
    ratio: f64,
}

/// A package.
#[derive(Serialize)]
struct Made {
    days: i64,
    records: usize,
    bytes: usize,
    made_ms: f64,
    verified_ms: f64,
}

/// A gateway's store, ledger and key.
struct Gateway {
    store: Store,
    ledger: Ledger,
    key: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
}

impl Gateway {
    async fn open(storage: &Storage, key: SigningKey) -> anyhow::Result<(Gateway, StoreThread)> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
        let (store, thread) = store::open(storage, clock.clone())?;
        let open = |tx: &rusqlite::Transaction<'_>| Ledger::open(tx, vec!["u".into()]);
        let ledger = store.write(Priority::Attendance, open).await?;
        Ok((Gateway { store, ledger, key: Arc::new(key), clock }, thread))
    }

    /// Adds the passages of some workers on all days, until there are so many entries.
    async fn fill(&self, entries: u64) -> anyhow::Result<()> {
        let workers = (entries / (2 * A_DAY * DAYS as u64)).max(1);
        let midnight = FIRST.to_zoned(zone()?)?.timestamp().as_millisecond();
        let mut made = 0;
        while made < entries {
            let (ledger, until) = (self.ledger.clone(), entries.min(made + BATCH));
            let people = (0..workers).map(|n| person(n as usize)).collect::<Result<Vec<_>, _>>()?;
            let fill = move |tx: &rusqlite::Transaction<'_>| {
                for passages in (made / 2)..(until / 2) {
                    let (day, rest) = (passages / (workers * A_DAY), passages % (workers * A_DAY));
                    let person = people.get((rest % workers) as usize);
                    let hour = 7 + 3 * (rest / workers);
                    let wall_ms = midnight
                        + (day * 86_400_000 + hour * 3_600_000 + rest % workers * 1000) as i64;
                    let passage = PassageId(u128::from(passages).to_be_bytes());
                    let uptime_ms = passages * 1000;
                    let stamp = Stamp { wall_ms, synced: true, boot: BootId([1; 16]), uptime_ms };
                    if let Some(person) = person {
                        ledger.append(tx, stamp, grant(passage, person.clone()))?;
                        ledger.close(tx, stamp, passage, Outcome::Passed, None)?;
                    }
                }
                Ok::<_, LedgerError>(())
            };
            self.store.write(Priority::Upkeep, fill).await?;
            made = until;
        }
        Ok(())
    }

    /// Lets the tree grow to the ledger's end and signs its head, in transactions as the daemon does.
    async fn sign(&self) -> anyhow::Result<SignedHead> {
        loop {
            let (id, key, stamp) = (self.ledger.id, self.key.clone(), self.clock.stamp());
            let turn = move |tx: &rusqlite::Transaction<'_>| {
                let edge = growth::grow(tx, BATCH)?;
                if edge.size() < crate::ledger::size(tx)? {
                    return Ok::<_, LedgerError>(None);
                }
                let head = Head::new(id, (edge.size(), edge.root()), stamp, GATEWAY).sign(&key)?;
                set_meta(tx, "head", &head.bytes)?;
                Ok(Some(head))
            };
            if let Some(head) = self.store.write(Priority::Upkeep, turn).await? {
                return Ok(head);
            }
        }
    }

    async fn audit(&self, head: &SignedHead) -> anyhow::Result<()> {
        let mut audit = Audit::new(self.ledger.id, vec![(head.head.size, head.head.root)]);
        loop {
            let mut next = audit.clone();
            let page = self.store.read(move |tx| {
                let page = next.page(tx, BATCH)?;
                Ok::<_, LedgerError>((next, page))
            });
            let (after, (found, more)) = page.await?;
            audit = after;
            anyhow::ensure!(found.is_empty(), "the audit found {found:?}");
            if !more {
                anyhow::ensure!(audit.other_roots.is_empty(), "the audit found another root");
                return Ok(());
            }
        }
    }

    /// Makes and verifies the proofs of an entry in the middle, and of the tree that ends there.
    async fn proofs(&self, head: &SignedHead) -> anyhow::Result<[Duration; 2]> {
        let (size, root) = (head.head.size, head.head.root);
        let middle = size / 2 + 1;
        let began = Instant::now();
        let proofs = self.store.read(move |tx| {
            let old = prover(tx).root(middle)?;
            let began = Instant::now();
            let (index, mut prover) = (middle - 1, prover(tx));
            let proofs = (prover.inclusion(index, size)?, prover.consistency(middle, size)?);
            Ok::<_, LedgerError>((old, read(tx, index)?.leaf, proofs, began.elapsed()))
        });
        let (old, leaf, (inclusion, consistency), made) = proofs.await?;
        anyhow::ensure!(made <= began.elapsed());
        let began = Instant::now();
        let holds = includes(&leaf, middle - 1, size, &inclusion, &root)
            && is_consistent((middle, &old), (size, &root), &consistency);
        let verified = began.elapsed();
        anyhow::ensure!(holds, "a proof does not hold");
        Ok([made, verified])
    }

    /// Makes and verifies the package of one worker for the first of these days.
    async fn package(&self, head: &SignedHead, days: i64) -> anyhow::Result<Made> {
        let (from, until) = (FIRST, FIRST.checked_add((days - 1).days())?);
        let at = |day: Date| anyhow::Ok(day.to_zoned(zone()?)?.timestamp().as_millisecond());
        let span_ms = (at(from)?, at(until.tomorrow()?)?);
        let period = Period { from, until, span_ms };
        let origin = Origin { gateway: GATEWAY.into(), project: "bench".into(), timezone: zone()? };
        let (head, worker) = (head.clone(), person(0)?.id);
        let began = Instant::now();
        let collect = move |tx: &rusqlite::Transaction<'_>| {
            evidence::collect(tx, &origin, &worker, (period, &Altered::default()), &head, None, &[])
        };
        let bytes = self.store.read(collect).await?.sign(&self.key)?.encode()?;
        let made = began.elapsed();
        let began = Instant::now();
        let report = evidence::verify(&bytes, &Known::default())?;
        let (bytes, records) = (bytes.len(), report.attendance.len());
        Ok(Made { days, records, bytes, made_ms: ms(made), verified_ms: ms(began.elapsed()) })
    }

    /// Commits passages one by one, each entry in its own transaction. `tree`: whether the tree grows
    /// and heads are signed meanwhile, much more often than a gateway does it.
    async fn run(&self, passages: usize, tree: bool) -> anyhow::Result<Duration> {
        // Both kinds of runs begin with a tree that has all entries.
        self.sign().await?;
        let began = Instant::now();
        for n in 1..=passages {
            let (passage, person) = (PassageId::random()?, person(0)?);
            let (granting, closing) = (self.ledger.clone(), self.ledger.clone());
            let (stamp, body) = (self.clock.stamp(), grant(passage, person));
            let commit = Priority::Attendance;
            self.store.write(commit, move |tx| granting.append(tx, stamp, body)).await?;
            let (stamp, passed) = (self.clock.stamp(), Outcome::Passed);
            let close = move |tx: &rusqlite::Transaction<'_>| {
                closing.close(tx, stamp, passage, passed, None)
            };
            self.store.write(commit, close).await?;
            if tree && n % HEAD_AFTER == 0 {
                self.sign().await?;
            }
        }
        Ok(began.elapsed())
    }
}

fn zone() -> anyhow::Result<TimeZone> {
    Ok(TimeZone::get("Asia/Shanghai")?)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// Returns a field of this process' `/proc/self/status` in MiB.
fn memory(field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Ok(kib.with_context(|| format!("/proc/self/status has no {field}"))? / 1024.0)
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(super) async fn measure(arguments: Arguments) -> anyhow::Result<Report> {
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir =
        tempfile::Builder::new().prefix("gatehouse-").tempdir_in(&parent).with_context(|| {
            format!("{}: no folder can be created; give another --dir", parent.display())
        })?;
    let key = SigningKey::load(&Secret::File(dir.path().join("signing.key")))?;
    let storage = Storage::usual(dir.path().join("data"), Secret::File(dir.path().join("key")));
    let (gateway, thread) = Gateway::open(&storage, key).await?;
    let began = Instant::now();
    gateway.fill(arguments.entries.clamp(4, 10_000_000)).await?;
    let made_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let head = gateway.sign().await?;
    let tree_s = began.elapsed().as_secs_f64();
    let edge = gateway.store.read(|tx| growth::grow(tx, 0)).await?;
    let database_bytes = std::fs::metadata(storage.database())?.len();
    let memory_before_mib = memory("VmRSS")?;
    let began = Instant::now();
    gateway.audit(&head).await?;
    let audit_s = began.elapsed().as_secs_f64();
    let memory_most_mib = memory("VmHWM")?;
    let [made, verified] = gateway.proofs(&head).await?;
    let mut packages = Vec::new();
    for days in [30, DAYS] {
        packages.push(gateway.package(&head, days).await?);
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..arguments.runs.clamp(1, 100) {
        without.push(ms(gateway.run(arguments.passages, false).await?));
        with.push(ms(gateway.run(arguments.passages, true).await?));
    }
    drop(gateway);
    thread.join()?;
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        entries: head.head.size,
        made_s,
        database_bytes,
        tree_s,
        tree_bytes: size_of_val(&edge) + size_of_val(edge.subtrees()),
        audit_s,
        memory_before_mib,
        memory_most_mib,
        proof_made_ms: ms(made),
        proof_verified_ms: ms(verified),
        packages,
        ratio: median(&with) / median(&without),
        without_tree_ms: without,
        with_tree_ms: with,
    })
}

pub(super) fn human(report: &Report) -> String {
    let mut out = format!(
        "gatehouse {} · {} entries made in {:.1} s · database {} MiB\n\n",
        report.version,
        report.entries,
        report.made_s,
        report.database_bytes >> 20
    );
    let mut row = |what: &str, value: String| {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{what:<38}{value}");
    };
    row("tree over all entries", format!("{:.2} s", report.tree_s));
    row("memory of the running tree", format!("{} bytes", report.tree_bytes));
    row("audit of all entries", format!("{:.2} s", report.audit_s));
    let (before, most) = (report.memory_before_mib, report.memory_most_mib);
    row("memory before the audit, and at most", format!("{before:.1} MiB, {most:.1} MiB"));
    row("two proofs, made", format!("{:.3} ms", report.proof_made_ms));
    row("two proofs, verified", format!("{:.3} ms", report.proof_verified_ms));
    for Made { days, records, bytes, made_ms, verified_ms } in &report.packages {
        let what = format!("package of {days} days, {records} records");
        row(
            &what,
            format!("{bytes} bytes, made in {made_ms:.1} ms, verified in {verified_ms:.1} ms"),
        );
    }
    let (without, with) = (median(&report.without_tree_ms), median(&report.with_tree_ms));
    row("commits of a run without the tree", format!("{without:.1} ms"));
    row("commits of a run with the tree", format!("{with:.1} ms"));
    row("ratio of the medians", format!("{:.3}", report.ratio));
    out
}
