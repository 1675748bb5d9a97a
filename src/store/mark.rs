//! The mark: a file beside the database with what was committed.
//!
//! In: the database at each heartbeat. Out: the file `committed`. A start compares the two. A
//! database that ends before the mark has lost its end: the disk lost commits that it had confirmed.
//! A database that has seen fewer starts than the mark is an older copy that was put back.
//!
//! The file is written about each second while entries are committed, and no commit waits for it. An
//! older mark in it does no harm, but may hide the loss of the last second.

use std::path::Path;

use rusqlite::Connection;

use super::meta::{meta, set_meta};

const FILE: &str = "committed";
/// Key in `meta`: the number of starts that this database has seen, 8 bytes.
const STARTS: &str = "starts";

/// What was committed to a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Number of starts of the daemon with this database.
    pub starts: u64,
    /// The last seq given.
    pub seq: u64,
    /// Number of entries.
    pub entries: u64,
}

impl Mark {
    /// Returns the ledger's id and the mark of a database.
    pub(super) fn of(database: &Connection) -> rusqlite::Result<(Vec<u8>, Mark)> {
        let ledger = meta(database, "ledger")?.unwrap_or_default();
        // Each subquery reads the end of one index.
        let sql = "SELECT coalesce((SELECT max(seq) FROM entry), 0),
                          coalesce((SELECT max(idx) + 1 FROM entry), 0)";
        let (seq, entries) =
            database.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((ledger, Mark { starts: starts(database)?, seq, entries }))
    }

    /// Returns whether this mark has more of anything than another one.
    pub(super) fn is_beyond(&self, other: &Mark) -> bool {
        self.starts > other.starts || self.seq > other.seq || self.entries > other.entries
    }

    /// Writes the file without waiting for the disk.
    pub(super) fn write(&self, dir: &Path, ledger: &[u8]) -> std::io::Result<()> {
        let Mark { starts, seq, entries } = self;
        let fresh = dir.join("committed.new");
        let line = format!("{} {starts} {seq} {entries}\n", hex::encode(ledger));
        // The line stands twice, so that a damaged digit is noticed.
        std::fs::write(&fresh, line.repeat(2))?;
        std::fs::rename(fresh, dir.join(FILE))
    }

    /// Returns the mark of this ledger, if the file has it.
    pub(super) fn read(dir: &Path, ledger: &[u8]) -> Option<Mark> {
        let text = std::fs::read_to_string(dir.join(FILE)).ok()?;
        let (line, again) = text.split_at_checked(text.len() / 2)?;
        let mut words = line.split_whitespace();
        let ours = line == again && words.next()? == hex::encode(ledger);
        let mut number = || words.next()?.parse().ok();
        let mark = Mark { starts: number()?, seq: number()?, entries: number()? };
        ours.then_some(mark)
    }
}

fn starts(database: &Connection) -> rusqlite::Result<u64> {
    let bytes = meta(database, STARTS)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// Counts a start.
pub fn count_start(database: &Connection) -> rusqlite::Result<()> {
    set_meta(database, STARTS, &(starts(database)? + 1).to_be_bytes())
}

/// Returns the mark of a database that ends before it.
pub fn lost_end(database: &Connection, dir: &Path) -> rusqlite::Result<Option<Mark>> {
    let (ledger, found) = Mark::of(database)?;
    let mark = Mark::read(dir, &ledger);
    Ok(mark.filter(|mark| mark.seq > found.seq || mark.entries > found.entries))
}

/// Returns the mark of a database that is older than it by at least one start: a copy of the
/// database was put back.
pub fn older_copy(database: &Connection, dir: &Path) -> rusqlite::Result<Option<Mark>> {
    let (ledger, found) = Mark::of(database)?;
    Ok(Mark::read(dir, &ledger).filter(|mark| mark.starts > found.starts))
}
