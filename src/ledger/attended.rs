//! Queries for attendance, ordered by the time of the passage, with the outcome.
//!
//! In: a filter. Out: pages of [`Attended`]. Each entry is read whole and compared with its hash.
//! An entry that cannot be read is left out, because wages depend on the rest.

use std::collections::HashSet;

use rusqlite::{Transaction, params};

use super::{Body, Closing, LedgerError, Outcome, Stored, read};
use crate::roster::WorkerId;

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
    /// An outcome, or a supplement.
    pub entry: Stored,
    /// The grant or release that an outcome closes; absent for a supplement.
    pub cause: Option<Stored>,
    /// The seq of the dispute, if there is one.
    pub disputed: Option<u64>,
}

/// A page of attendance.
#[derive(Debug)]
pub struct AttendancePage {
    /// Completed attendance and supplements, ordered by the time of the passage.
    pub rows: Vec<Attended>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<(i64, u64)>,
}

/// Returns the SELECT for causes of passages, with their outcome and the seq of their dispute. The
/// cause's time is the time of the passage. `FROM` names the index: a query for a month of three
/// years, or for one worker of hundreds, must not read the whole ledger.
fn select(index: &str) -> String {
    format!(
        "SELECT c.at_ms, c.idx, o.idx, d.seq, c.worker
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
    for (_, cause, outcome, disputed) in found {
        rows.extend(attended(tx, cause, outcome, disputed)?);
    }
    Ok(AttendancePage { rows, next })
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
        let not = Outcome::NotPassed;
        if !matches!(attended.entry.entry.body, Body::Closing(Closing { outcome, .. }) if outcome == not)
        {
            settled.insert(worker);
            latest.push(attended);
        }
    }
    Ok(latest)
}

const LANES: &str = "SELECT DISTINCT lane FROM entry INDEXED BY entry_attended
    WHERE worker IS NOT NULL AND kind IN ('grant', 'release', 'supplement') AND lane IS NOT NULL";

/// Returns the lanes with attendance. Reads one whole index, and no table.
pub fn attended_lanes(tx: &Transaction<'_>) -> Result<Vec<String>, LedgerError> {
    Ok(tx.prepare_cached(LANES)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
