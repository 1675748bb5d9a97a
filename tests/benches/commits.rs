//! Measures how many commits per second a disk allows for passages, and compares with bare SQLite.
//!
//!     cargo bench --bench commits -- --dir /var/lib
//!
//! `gatehouse bench commits` and bare SQLite take turns in one folder. The speed of a disk varies
//! with time, and so it affects both alike. Bare SQLite is a plain table with the same durability;
//! each commit writes two rows of the size of ledger entries.

#![allow(clippy::disallowed_methods, reason = "a bench measures")]

mod workshop;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use rusqlite::{Connection, TransactionBehavior, params};
use workshop::Times;

#[derive(clap::Parser)]
pub struct Arguments {
    /// Where to measure; a folder is created there and removed afterwards [default: the temporary
    /// folder]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Number of turns
    #[arg(long, default_value_t = 5)]
    pub turns: usize,
    /// Passages in a turn; each passage is two commits
    #[arg(long, default_value_t = 200)]
    pub passages: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}

#[derive(Debug)]
pub struct Report {
    /// One rate for each turn.
    pub ours_per_s: Vec<f64>,
    pub bare_per_s: Vec<f64>,
    /// The median rate of gatehouse divided by the median rate of bare SQLite.
    pub ratio: f64,
    pub bare_ms: Times,
}

fn main() -> anyhow::Result<()> {
    let report = measure(Arguments::parse())?;
    let rates = |what: &str, all: &[f64]| {
        let all: String = all.iter().map(|rate| format!("{rate:9.0}")).collect();
        println!("{what:<38}{all}");
    };
    rates("commits per second: gatehouse", &report.ours_per_s);
    rates("bare SQLite, two rows each", &report.bare_per_s);
    println!("{:<38}{:9.2}", "gatehouse / bare SQLite", report.ratio);
    print!("{}", report.bare_ms.row("bare SQLite, two rows: p50, p99, max"));
    Ok(())
}

pub fn measure(arguments: Arguments) -> anyhow::Result<Report> {
    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new().prefix("gatehouse-").tempdir_in(&parent)?;
    let mut bare = Bare::open(&dir.path().join("bare.db"))?;
    let (mut ours_per_s, mut bare_per_s, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.turns {
        let done = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args(["--json", "bench", "commits", "--passages", &arguments.passages.to_string()])
            .arg("--dir")
            .arg(dir.path())
            .output()?;
        anyhow::ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let report: serde_json::Value = serde_json::from_slice(&done.stdout)?;
        ours_per_s.push(report["commits_per_s"].as_f64().context("no commits_per_s")?);
        let commits = arguments.passages * 2;
        let turn = (0..commits).map(|_| bare.commit()).collect::<Result<Vec<_>, _>>()?;
        bare_per_s.push(commits as f64 / turn.iter().sum::<Duration>().as_secs_f64());
        all.extend(turn);
    }
    let ratio = workshop::median(&ours_per_s) / workshop::median(&bare_per_s);
    Ok(Report { ours_per_s, bare_per_s, ratio, bare_ms: Times::of(all) })
}

/// SQLite without the code of gatehouse.
struct Bare(Connection);

/// Sizes of a grant and of an outcome, in bytes.
const ROWS: [usize; 2] = [330, 180];

impl Bare {
    fn open(path: &Path) -> anyhow::Result<Bare> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)", [])?;
        Ok(Bare(connection))
    }

    fn commit(&mut self) -> rusqlite::Result<Duration> {
        let began = Instant::now();
        let tx = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for row in ROWS.map(|length| vec![0x5a_u8; length]) {
            tx.prepare_cached("INSERT INTO row (bytes) VALUES (?1)")?.execute(params![row])?;
        }
        tx.commit()?;
        Ok(began.elapsed())
    }
}
