//! Queries for attendance, ordered by the time of the passage, with the outcome.
//!
//! In: a filter. Out: pages of [`Attended`]. Each entry is read whole and compared with its hash.
//! An entry that cannot be read is left out, because wages depend on the rest.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, Transaction, params};
use serde::Deserialize;

use super::{Body, Closing, Correction, Flag, Kind, LedgerError, Outcome, Stored, read};
use crate::{roster::WorkerId, turnstile::PassageId};

/// Which attendance to list.
#[derive(Clone, Debug, Default)]
pub struct AttendanceFilter {
    pub worker: Option<WorkerId>,
    pub lane: Option<String>,
    /// Start of the range of passage times, inclusive; wall time in ms since 1970.
    pub from_ms: Option<i64>,
    /// End of the range, exclusive.
    pub to_ms: Option<i64>,
    /// Where the last page ended.
    pub after: Option<(i64, u64)>,
    pub limit: usize,
}

/// One attendance.
#[derive(Clone, Debug)]
pub struct Attended {
    /// The outcome that counts, which may be a correction; or a supplement.
    pub entry: Stored,
    /// The grant or release of an outcome; absent for a supplement.
    pub cause: Option<Stored>,
    /// The seq of the dispute, if there is one.
    pub disputed: Option<u64>,
}

/// A page of attendance.
#[derive(Debug, Default)]
pub struct AttendancePage {
    /// Completed attendance and supplements, ordered by the time of the passage.
    pub rows: Vec<Attended>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<(i64, u64)>,
    /// Number of attendances that are left out, because an entry cannot be read.
    pub unread: u64,
}

/// The index of the outcome that counts, for a cause `c` with the outcome `o`: the last correction,
/// or the outcome.
const COUNTS: &str = "coalesce((SELECT max(idx) FROM entry
                                WHERE cause = c.idx AND kind = 'correction'), o.idx)";

/// Returns the indices of a cause's outcome, and of the outcome that counts.
pub(super) fn outcomes(
    tx: &Transaction<'_>,
    cause: u64,
) -> Result<Option<(u64, u64)>, LedgerError> {
    let sql = format!(
        "SELECT o.idx, {COUNTS} FROM entry c JOIN entry o ON o.cause = c.idx AND o.kind = 'outcome'
         WHERE c.idx = ?1"
    );
    let indices = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    Ok(tx.query_row(&sql, [cause], indices).optional()?)
}

/// Returns the SELECT for causes of passages, with the outcome that counts and the seq of their
/// dispute. The cause's time is the time of the passage. `FROM` names the index: a query for a month of three
/// years, or for one worker of hundreds, must not read the whole ledger.
fn select(index: &str) -> String {
    format!(
        "SELECT c.at_ms, c.idx, {COUNTS}, d.seq, c.worker
         FROM entry c INDEXED BY {index}
              LEFT JOIN entry o ON o.cause = c.idx AND o.kind = 'outcome'
              LEFT JOIN entry d ON d.cause = coalesce(o.idx, c.idx) AND d.kind = 'dispute'
         WHERE c.worker IS NOT NULL AND c.kind IN ('grant', 'release', 'supplement')
           AND (o.idx IS NOT NULL OR c.kind = 'supplement')"
    )
}

fn page(of_one_worker: bool) -> String {
    let (index, worker) = match of_one_worker {
        true => ("entry_worker", "c.worker = ?1"),
        false => ("entry_attended", "?1 IS NULL"),
    };
    format!(
        "{} AND {worker} AND (?2 IS NULL OR c.lane = ?2)
           AND c.at_ms >= ?3 AND c.at_ms < ?4 AND (c.at_ms, c.idx) > (?5, ?6)
         ORDER BY c.at_ms, c.idx LIMIT ?7",
        select(index)
    )
}

/// Returns the attendance that the filter selects, oldest first.
pub fn attendance(
    tx: &Transaction<'_>,
    filter: &AttendanceFilter,
) -> Result<AttendancePage, LedgerError> {
    type Row = (i64, u64, Option<u64>, Option<u64>);
    let (from, to) = (filter.from_ms.unwrap_or(i64::MIN), filter.to_ms.unwrap_or(i64::MAX));
    let after = filter.after.unwrap_or((i64::MIN, 0));
    let found: Vec<Row> = tx
        .prepare_cached(&page(filter.worker.is_some()))?
        .query_map(
            params![
                filter.worker.as_ref().map(|w| w.as_str()),
                filter.lane,
                from.max(after.0),
                to,
                after.0,
                after.1,
                i64::try_from(filter.limit).unwrap_or(i64::MAX)
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?
        .collect::<Result<_, _>>()?;
    let last = found.last().filter(|_| found.len() >= filter.limit);
    let next = last.map(|(at_ms, cause, ..)| (*at_ms, *cause));
    let mut rows = Vec::with_capacity(found.len());
    for &(_, cause, outcome, disputed) in &found {
        rows.extend(attended(tx, cause, outcome, disputed)?);
    }
    let unread = (found.len() - rows.len()) as u64;
    Ok(AttendancePage { rows, next, unread })
}

fn attended(
    tx: &Transaction<'_>,
    cause: u64,
    outcome: Option<u64>,
    disputed: Option<u64>,
) -> Result<Option<Attended>, LedgerError> {
    let attended = read(tx, cause).and_then(|cause| match outcome {
        None => Ok(Attended { entry: cause, cause: None, disputed }),
        Some(outcome) => Ok(Attended { entry: read(tx, outcome)?, cause: Some(cause), disputed }),
    });
    match attended {
        Err(error @ (LedgerError::Damaged { .. } | LedgerError::Missing { .. })) => {
            tracing::error!(%error, "an attendance cannot be read and is left out of the list");
            Ok(None)
        }
        attended => attended.map(Some),
    }
}

fn latest() -> String {
    format!(
        "{} AND d.seq IS NULL AND c.at_ms >= ?1 AND c.at_ms < ?2 ORDER BY c.at_ms DESC, c.idx DESC",
        select("entry_attended")
    )
}

/// Returns each worker's latest attendance in a range of wall time, start inclusive, end exclusive.
/// Disputed attendance, and attendance whose outcome is `not_passed`, does not count.
pub fn latest_of_each(
    tx: &Transaction<'_>,
    (from_ms, to_ms): (i64, i64),
) -> Result<Vec<Attended>, LedgerError> {
    let mut statement = tx.prepare_cached(&latest())?;
    let mut found = statement.query(params![from_ms, to_ms])?;
    let (mut settled, mut latest) = (HashSet::<String>::new(), Vec::new());
    while let Some(row) = found.next()? {
        let worker: String = row.get(4)?;
        if settled.contains(&worker) {
            continue;
        }
        let Some(attended) = attended(tx, row.get(1)?, row.get(2)?, None)? else { continue };
        let said = attended.entry.entry.body.said();
        if said.is_none_or(|said| said.outcome != Word::Known(Outcome::NotPassed)) {
            settled.insert(worker);
            latest.push(attended);
        }
    }
    Ok(latest)
}

/// Returns each worker's latest attendance of several ledgers.
pub fn latest_of_all(mut all: Vec<Attended>) -> Vec<Attended> {
    let cause = |attended: &Attended| {
        let entry = &attended.cause.as_ref().unwrap_or(&attended.entry).entry;
        (entry.body.worker().cloned(), entry.body.at_ms().unwrap_or(entry.stamp.wall_ms))
    };
    all.sort_by_key(|attended| std::cmp::Reverse(cause(attended)));
    all.dedup_by_key(|attended| cause(attended).0);
    all
}

/// What an outcome or a correction says about its passage.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Said {
    pub passage: PassageId,
    pub outcome: Word,
    #[serde(default)]
    pub flags: Vec<Flag>,
    /// The seq of the corrected outcome.
    pub corrects_seq: Option<u64>,
}

/// An outcome, or the word of an outcome of a later version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Word {
    Known(Outcome),
    Later(String),
}

impl Body {
    /// Returns what an outcome or a correction says, also one of a later version; `None` for any
    /// other kind.
    pub fn said(&self) -> Option<Said> {
        let (passage, outcome, flags, corrects_seq) = match self {
            Body::Closing(Closing { passage, outcome, flags, .. }) => {
                (passage, outcome, flags, None)
            }
            Body::Correction(Correction { passage, outcome, flags, corrects_seq, .. }) => {
                (passage, outcome, flags, Some(*corrects_seq))
            }
            Body::Other(other) if [Closing::NAME, Correction::NAME].contains(&&*other.kind) => {
                return other.data.deserialized().ok();
            }
            _ => return None,
        };
        let (flags, outcome) = (flags.clone(), Word::Known(*outcome));
        Some(Said { passage: *passage, outcome, flags, corrects_seq })
    }
}

const LANES: &str = "SELECT DISTINCT lane FROM entry INDEXED BY entry_attended
    WHERE worker IS NOT NULL AND kind IN ('grant', 'release', 'supplement') AND lane IS NOT NULL";

/// Returns the lanes with attendance. Reads one whole index, and no table.
pub fn attended_lanes(tx: &Transaction<'_>) -> Result<Vec<String>, LedgerError> {
    Ok(tx.prepare_cached(LANES)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
