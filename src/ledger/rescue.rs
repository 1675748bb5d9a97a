//! Copies the legible entries of a damaged database into a file beside it.
//!
//! In: the folder of a database that was set aside. Out: the file `rescued.db`, a database with the
//! entries and the outbox, and a report. Entries that SQLite cannot reach any more are found by their
//! bytes: an entry begins with the same bytes always, and its leaf hash stands behind it. The hash
//! proves that the entry is whole. The damaged files are only read.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{Entry, LedgerError, LedgerId, cbor, leaf_hash, tree::Hash};
use crate::{
    roster::WorkerId,
    store::{self, Rescue, StoreError, set_meta},
};

/// Number of bytes that are searched at once.
const PIECE: u64 = 8 << 20;
/// Maximum number of bytes of an entry with its leaf hash that is found by its bytes. SQLite spreads a
/// longer entry over several pages.
const LONGEST: usize = 4096 + 32;
/// The beginning of each entry after its first byte: `v` 1, `alg` 1.
const BEGINNING: [u8; 8] = [0x61, b'v', 1, 0x63, b'a', b'l', b'g', 1];

/// What was rescued, and what was not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rescued {
    /// The file that was written.
    pub file: PathBuf,
    /// The ledger's id, if an entry was found.
    pub ledger: Option<String>,
    /// Number of entries rescued.
    pub entries: u64,
    /// Number of these that SQLite could not read.
    pub by_bytes: u64,
    /// Number of entries that are missing before the last one found. It is not known how many there
    /// were after it.
    pub missing: u64,
    /// The first entries that are missing, as ranges of indices.
    pub missing_at: Vec<(u64, u64)>,
    /// Number of records that will go upstream.
    pub waiting: u64,
    /// Whether the outbox was legible. If not, every record goes upstream again.
    pub outbox: bool,
}

/// Maximum number of ranges of missing entries that a report lists.
const RANGES: usize = 20;

impl Rescued {
    /// Returns whether all entries up to the last one found, and the outbox, were rescued.
    pub fn is_whole(&self) -> bool {
        self.entries > 0 && self.missing == 0 && self.outbox
    }
}

/// Rescues what is legible. `upstreams`: the configured ones, which get every record if the outbox is
/// not legible.
pub fn rescue(place: &Path, upstreams: &[String]) -> Result<Rescued, LedgerError> {
    let old = store::open_damaged(place);
    let kept = |key: &str| old.as_ref().and_then(|old| store::meta(old, key).ok().flatten());
    let mut file = Rescue::begin(place)?;
    let tx = file.connection.transaction()?;
    let ledger = kept("ledger").and_then(|id| id.try_into().ok()).map(LedgerId);
    let mut entries = Entries { tx: &tx, ledger };
    if let Some(old) = &old {
        read_rows(old, &mut entries)?;
    }
    let mut by_bytes = 0;
    for file in store::files_of(place) {
        match File::open(&file) {
            Ok(file) => by_bytes += search(file, &mut entries)?,
            Err(error) => tracing::debug!(%error, file = %file.display(), "it is not searched"),
        }
    }
    let mut done = Rescued { by_bytes, ..report(&tx)? };
    if let Some(ledger) = entries.ledger.filter(|_| done.entries > 0) {
        set_meta(&tx, "ledger", &ledger.0)?;
        done.ledger = Some(ledger.to_string());
    }
    // The worker of an outcome is the worker of its cause, and so on.
    let of_cause = "UPDATE entry SET worker = c.worker FROM entry c WHERE c.idx = entry.cause
                    AND entry.worker IS NULL AND c.worker IS NOT NULL";
    while tx.execute(of_cause, [])? > 0 {}
    // Entries without bytes were deleted when their retention was over.
    let pruned = kept("pruned_before").and_then(|bytes| bytes.try_into().ok());
    done.missing = done.missing.saturating_sub(pruned.map_or(0, u64::from_be_bytes));
    done.outbox = old.as_ref().is_some_and(|old| copy_outbox(old, &tx).is_ok());
    if !done.outbox {
        tx.execute("DELETE FROM outbox", [])?;
        let all = "INSERT INTO outbox SELECT ?1, seq FROM entry WHERE seq IS NOT NULL";
        for upstream in upstreams {
            tx.execute(all, [upstream])?;
        }
    }
    let waiting = "SELECT count(DISTINCT seq) FROM outbox JOIN entry USING (seq)";
    done.waiting = tx.query_row(waiting, [], |row| row.get(0))?;
    tx.commit()?;
    done.file = file.finish()?;
    Ok(done)
}

fn report(tx: &Connection) -> Result<Rescued, LedgerError> {
    let (mut done, mut next) = (Rescued::default(), 0);
    let mut all = tx.prepare("SELECT idx FROM entry ORDER BY idx")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let index: u64 = row.get(0)?;
        if index > next {
            done.missing += index - next;
            if done.missing_at.len() < RANGES {
                done.missing_at.push((next, index - 1));
            }
        }
        (next, done.entries) = (index + 1, done.entries + 1);
    }
    Ok(done)
}

/// The entries rescued so far.
struct Entries<'a> {
    tx: &'a Connection,
    /// The ledger of the database. If it is not legible, the first entry says it.
    ledger: Option<LedgerId>,
}

impl Entries<'_> {
    /// Keeps an entry that its leaf hash proves. Returns whether it is a new one.
    fn keep(&mut self, bytes: &[u8], leaf: Hash) -> Result<bool, LedgerError> {
        if leaf_hash(bytes) != leaf {
            return Ok(false);
        }
        let Ok(Entry { ledger, index, seq, stamp, body, .. }) = Entry::decode(bytes) else {
            return Ok(false);
        };
        if *self.ledger.get_or_insert(ledger) != ledger {
            return Ok(false);
        }
        // A second outcome of a cause cannot stand in the table.
        let sql = "INSERT OR IGNORE INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let new = self.tx.prepare_cached(sql)?.execute(params![
            index,
            seq,
            body.kind(),
            body.at_ms().unwrap_or(stamp.wall_ms),
            body.worker().map(WorkerId::as_str),
            body.lane(),
            body.cause(),
            bytes,
            leaf
        ])?;
        Ok(new > 0)
    }
}

/// Reads the rows from each end, because damage ends a scan.
fn read_rows(old: &Connection, entries: &mut Entries<'_>) -> Result<(), LedgerError> {
    for order in ["ASC", "DESC"] {
        let sql = format!("SELECT bytes, leaf FROM entry ORDER BY idx {order}");
        let Ok(mut all) = old.prepare(&sql) else { continue };
        let Ok(mut rows) = all.query([]) else { continue };
        while let Ok(row) = rows.next() {
            let Some(row) = row else { return Ok(()) };
            if let (Ok(bytes), Ok(leaf)) = (row.get::<_, Vec<u8>>(0), row.get(1)) {
                entries.keep(&bytes, leaf)?;
            }
        }
    }
    Ok(())
}

/// Searches a file for entries by their bytes. Returns the number of entries that were not known.
fn search(mut file: File, entries: &mut Entries<'_>) -> Result<u64, LedgerError> {
    let (mut bytes, mut found) = (Vec::new(), 0);
    loop {
        // A part of the disk that cannot be read ends the search.
        let read = file.by_ref().take(PIECE).read_to_end(&mut bytes).unwrap_or(0);
        found += in_piece(&bytes, entries)?;
        if read == 0 {
            return Ok(found);
        }
        // An entry may begin at the end of one piece and end in the next.
        bytes.drain(..bytes.len().saturating_sub(LONGEST));
    }
}

fn in_piece(bytes: &[u8], entries: &mut Entries<'_>) -> Result<u64, LedgerError> {
    let mut found = 0;
    for (before, window) in bytes.windows(BEGINNING.len()).skip(1).enumerate() {
        if window != BEGINNING {
            continue;
        }
        let rest = bytes.get(before..).unwrap_or_default();
        let rest = rest.get(..LONGEST).unwrap_or(rest);
        let Some((entry, behind)) = cbor::first(rest) else { continue };
        if let Some(leaf) = behind.first_chunk() {
            found += u64::from(entries.keep(entry, *leaf)?);
        }
    }
    Ok(found)
}

/// Copies the outbox whole, or fails.
fn copy_outbox(old: &Connection, tx: &Connection) -> Result<(), StoreError> {
    let mut all = old.prepare("SELECT upstream, seq FROM outbox")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let (upstream, seq): (String, u64) = (row.get(0)?, row.get(1)?);
        tx.prepare_cached("INSERT OR IGNORE INTO outbox VALUES (?1, ?2)")?
            .execute(params![upstream, seq])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
