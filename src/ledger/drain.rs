//! The outboxes of databases that were set aside drain under their own ledger ids.
//!
//! In: the databases, read only, and how far each has come. Out: their waiting records, page by page.
//! Touches: `drained/…` in `meta` of the present database, and rows of its table `verdict`: a record
//! that a platform refused, or for which the gateway lacks something, is listed there and holds
//! nothing up. [`retry_drained`] offers it again.

use std::path::{Path, PathBuf};

use rusqlite::{Transaction, params};

use super::{
    LedgerError, Stored,
    outbox::{Refusal, waiting_or_aside},
};
use crate::store::{all_set_aside, meta, open_set_aside, read_from, set_meta};

/// The seq up to which an outbox has drained, if nothing in it waits any more.
const ALL: u64 = u64::MAX;
/// The lists of single records in `verdict`: those that stand aside, and those that are due again.
const REFUSED: &str = "refused";
const AGAIN: &str = "again";

/// Some waiting records of one database that was set aside.
pub struct Drained<T> {
    pub rows: Vec<T>,
    progress: Progress,
}

/// How far the outbox of a database that was set aside has drained with some rows.
#[derive(Clone, Debug)]
pub struct Progress {
    upstream: String,
    /// The name of the database's folder.
    place: String,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// Rows after a seq up to a seq, and the key in `meta` that notes it.
    On { key: String, after: u64, upto: u64 },
    /// Single rows that stood aside, each with whether it is legible.
    Again(Vec<(u64, bool)>),
}

impl Progress {
    /// Returns the name of the database's folder.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the progress up to a row only.
    pub fn only_upto(mut self, seq: u64) -> Progress {
        match &mut self.step {
            Step::On { upto, .. } => *upto = seq,
            Step::Again(seqs) => seqs.retain(|(again, _)| *again <= seq),
        }
        self
    }
}

fn name(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn key(place: &Path, upstream: &str) -> String {
    format!("drained/{}/{}/{upstream}", name(place), read_from(place))
}

/// Returns the name in `verdict` of a list of single records. No upstream has a name with a slash.
fn list(upstream: &str, which: &str, place: &str) -> String {
    format!("{upstream}/{which}/{place}")
}

/// Returns the bounds of the names of an upstream's lists: all are after the first one, and before
/// the last one.
fn lists(upstream: &str, which: &str) -> [String; 2] {
    // '0' follows '/'.
    [format!("{upstream}/{which}/"), format!("{upstream}/{which}0")]
}

fn upto(tx: &Transaction<'_>, key: &str) -> Result<u64, LedgerError> {
    let bytes = meta(tx, key)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// Returns the next records that wait for an upstream, oldest database first; `None` if no legible
/// record waits. `tx` is of the present database. [`drained`] must follow.
pub fn next_to_drain<T>(
    tx: &Transaction<'_>,
    dir: &Path,
    upstream: &str,
    limit: usize,
    mut make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<Option<Drained<T>>, LedgerError> {
    for place in all_set_aside(dir) {
        let key = key(&place, upstream);
        let after = upto(tx, &key)?;
        let again = match after {
            ALL => single(tx, &list(upstream, AGAIN, &name(&place)), limit)?,
            _ => Vec::new(),
        };
        if after == ALL && again.is_empty() {
            continue;
        }
        let read = match after {
            ALL => read_single(&place, upstream, &again, &mut make).map(|rows| {
                let legible = |seq| rows.iter().any(|(read, _)| *read == seq);
                let again = again.into_iter().map(|seq| (seq, legible(seq))).collect();
                (rows.into_iter().map(|(_, row)| row).collect(), Step::Again(again))
            }),
            _ => read_on(&place, (upstream, after, limit), &mut make)
                .map(|(rows, upto)| (rows, Step::On { key, after, upto })),
        };
        match read {
            Ok((rows, step)) => {
                let (upstream, place) = (upstream.to_owned(), name(&place));
                let progress = Progress { upstream, place, step };
                return Ok(Some(Drained { rows, progress }));
            }
            Err(error) => {
                tracing::debug!(%error, place = %place.display(), "its outbox cannot be read");
            }
        }
    }
    Ok(None)
}

fn opened(place: &Path) -> Result<rusqlite::Connection, LedgerError> {
    let gone = || LedgerError::from(rusqlite::Error::InvalidPath(place.into()));
    open_set_aside(place).ok_or_else(gone)
}

fn read_on<T>(
    place: &Path,
    (upstream, after, limit): (&str, u64, usize),
    make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<(Vec<T>, u64), LedgerError> {
    let mut old = opened(place)?;
    let waiting = waiting_or_aside(&old.transaction()?, upstream, after, limit, make)?;
    Ok((waiting.rows, if waiting.more { waiting.upto } else { ALL }))
}

/// Reads single records, each with its seq. An illegible one is left out.
fn read_single<T>(
    place: &Path,
    upstream: &str,
    seqs: &[u64],
    mut make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Result<Vec<(u64, T)>, LedgerError> {
    let mut old = opened(place)?;
    let old = old.transaction()?;
    let mut rows = Vec::new();
    for seq in seqs {
        // The next row is another one, if this one is not legible.
        let mut one = |stored: Stored, cause| {
            (stored.entry.seq == Some(*seq)).then(|| (*seq, make(stored, cause)))
        };
        rows.extend(waiting_or_aside(&old, upstream, seq - 1, 1, &mut one)?.rows);
    }
    Ok(rows.into_iter().flatten().collect())
}

fn single(tx: &Transaction<'_>, list: &str, limit: usize) -> Result<Vec<u64>, LedgerError> {
    let query = "SELECT seq FROM verdict WHERE upstream = ?1 ORDER BY seq LIMIT ?2";
    let mut query = tx.prepare_cached(query)?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let seqs = query.query_map(params![list, most], |row| row.get(0))?;
    Ok(seqs.collect::<Result<_, _>>()?)
}

/// Notes that an upstream has these records, but for the refused ones, which stand aside.
pub fn drained(
    tx: &Transaction<'_>,
    Progress { upstream, place, step }: &Progress,
    refusals: &[Refusal],
) -> Result<(), LedgerError> {
    let mut gone =
        tx.prepare_cached("DELETE FROM verdict WHERE upstream = ?1 AND seq > ?2 AND seq <= ?3")?;
    let [aside, again] = [REFUSED, AGAIN].map(|which| list(upstream, which, place));
    match step {
        Step::On { key, after, upto } => {
            set_meta(tx, key, &upto.to_be_bytes())?;
            // They may stand aside from before the database was rescued.
            for list in [&aside, &again] {
                gone.execute(params![list, after, (*upto).min(i64::MAX as u64)])?;
            }
        }
        Step::Again(seqs) => {
            let rests =
                "UPDATE OR REPLACE verdict SET upstream = ?2 WHERE upstream = ?1 AND seq = ?3";
            for (seq, is_legible) in seqs {
                match is_legible {
                    true => gone.execute(params![again, seq - 1, seq])?,
                    false => tx.prepare_cached(rests)?.execute(params![again, aside, seq])?,
                };
            }
        }
    }
    let mut keep =
        tx.prepare_cached("INSERT OR REPLACE INTO verdict VALUES (?1, ?2, NULL, ?3, ?4, ?5)")?;
    for Refusal { seq, words, here, at_ms } in refusals {
        keep.execute(params![aside, seq, words, here, at_ms])?;
    }
    Ok(())
}

/// Offers records again that stand aside in databases that were set aside: all, or with `here` those
/// for which the gateway lacked something.
pub(super) fn retry_drained(
    tx: &Transaction<'_>,
    upstream: &str,
    here: bool,
) -> Result<(), LedgerError> {
    let [from, until] = lists(upstream, REFUSED);
    tx.prepare_cached(
        "UPDATE OR REPLACE verdict SET upstream = ?3 || substr(upstream, length(?1) + 1)
         WHERE upstream > ?1 AND upstream < ?2 AND (NOT ?4 OR here = 1)",
    )?
    .execute(params![from, until, format!("{upstream}/{AGAIN}/"), here])?;
    Ok(())
}

/// Returns the number of records that stand aside in databases that were set aside.
pub(super) fn count_not_drained(tx: &Transaction<'_>, upstream: &str) -> Result<u64, LedgerError> {
    let count = "SELECT count(*) FROM verdict WHERE upstream > ?1 AND upstream < ?2";
    Ok(tx.prepare_cached(count)?.query_row(lists(upstream, REFUSED), |row| row.get(0))?)
}

/// Returns refused records of databases that were set aside, each with the name of the folder: after
/// a folder and a seq, at most `limit`.
pub fn not_drained(
    tx: &Transaction<'_>,
    upstream: &str,
    (place, seq): (&str, u64),
    limit: usize,
) -> Result<Vec<(String, Refusal)>, LedgerError> {
    let [from, until] = lists(upstream, REFUSED);
    let mut query = tx.prepare_cached(
        "SELECT substr(upstream, length(?1) + 1), seq, coalesce(words, ''), here, at_ms FROM verdict
         WHERE (upstream, seq) > (?1 || ?3, ?4) AND upstream < ?2 ORDER BY upstream, seq LIMIT ?5",
    )?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query.query_map(params![from, until, place, seq, most], |row| {
        let (seq, words) = (row.get(1)?, row.get(2)?);
        Ok((row.get(0)?, Refusal { seq, words, here: row.get(3)?, at_ms: row.get(4)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes something of single records of the database in a folder, as far as they are legible.
pub fn of_set_aside<T>(
    dir: &Path,
    folder: &str,
    upstream: &str,
    seqs: &[u64],
    make: impl FnMut(Stored, Option<Stored>) -> T,
) -> Vec<T> {
    let place: Option<PathBuf> = all_set_aside(dir).into_iter().find(|p| name(p) == folder);
    let read = place.map(|place| read_single(&place, upstream, seqs, make));
    let rows = read.and_then(Result::ok).unwrap_or_default();
    rows.into_iter().map(|(_, row)| row).collect()
}

impl<T> Drained<T> {
    /// Returns the rows, and what [`drained`] is to note when the upstream has them.
    pub fn split(self) -> (Vec<T>, Progress) {
        (self.rows, self.progress)
    }
}

/// Returns whether records of databases that were set aside may still wait for one of these
/// upstreams, or stand aside.
pub fn still_drains(
    tx: &Transaction<'_>,
    dir: &Path,
    upstreams: &[String],
) -> Result<bool, LedgerError> {
    for place in all_set_aside(dir) {
        for upstream in upstreams {
            let waits = |which| {
                Ok::<_, LedgerError>(
                    !single(tx, &list(upstream, which, &name(&place)), 1)?.is_empty(),
                )
            };
            if upto(tx, &key(&place, upstream))? != ALL || waits(AGAIN)? || waits(REFUSED)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
