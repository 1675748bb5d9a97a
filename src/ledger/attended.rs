//! Queries for attendance, ordered by the effective time of the passage, with the outcome.
//!
//! In: a filter. Out: pages of [`Attended`]. Each entry is read whole and compared with its hash.
//! An entry that cannot be read is left out, because wages depend on the rest. The column `at_ms`
//! selects most passages. Those that [`Dates`] may move to another time are read apart.

use std::{collections::HashSet, sync::Arc};

use rusqlite::{OptionalExtension, Transaction, params};
use serde::Deserialize;

use super::{
    Body, Closing, Correction, Dated, Dates, Flag, Kind, LedgerError, Outcome, Stored, read,
};
use crate::{roster::WorkerId, turnstile::PassageId};

/// Which attendance to list.
#[derive(Clone, Debug, Default)]
pub struct AttendanceFilter {
    pub worker: Option<WorkerId>,
    pub lane: Option<String>,
    /// Start of the range of effective passage times, inclusive; ms since 1970.
    pub from_ms: Option<i64>,
    /// End of the range, exclusive.
    pub to_ms: Option<i64>,
    /// Maximum number of passages on a page; passages that are read apart count separately.
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
    /// How the time of the passage is known.
    pub dated: Dated,
}

/// A page of attendance.
#[derive(Debug, Default)]
pub struct AttendancePage {
    /// Completed attendance and supplements, ordered by the effective time of the passage.
    pub rows: Vec<Attended>,
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
        "SELECT c.at_ms, c.idx, {COUNTS}, d.seq, c.worker, c.kind = 'supplement'
         FROM entry c {index}
              LEFT JOIN entry o ON o.cause = c.idx AND o.kind = 'outcome'
              LEFT JOIN entry d ON d.cause = coalesce(o.idx, c.idx) AND d.kind = 'dispute'
         WHERE c.worker IS NOT NULL AND c.kind IN ('grant', 'release', 'supplement')
           AND (o.idx IS NOT NULL OR c.kind = 'supplement')"
    )
}

fn page(of_one_worker: bool) -> String {
    let (index, worker) = match of_one_worker {
        true => ("INDEXED BY entry_worker", "c.worker = ?1"),
        false => ("INDEXED BY entry_attended", "?1 IS NULL"),
    };
    format!(
        "{} AND {worker} AND (?2 IS NULL OR c.lane = ?2)
           AND c.at_ms >= ?3 AND c.at_ms < ?4 AND (c.at_ms, c.idx) > (?5, ?6)
         ORDER BY c.at_ms, c.idx LIMIT ?7",
        select(index)
    )
}

fn single() -> String {
    format!("{} AND c.idx = ?1", select("NOT INDEXED"))
}

/// A passage, as the columns have it.
struct Found {
    at_ms: i64,
    cause: u64,
    outcome: Option<u64>,
    disputed: Option<u64>,
    worker: String,
    is_supplement: bool,
}

impl Found {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Found> {
        Ok(Found {
            at_ms: row.get(0)?,
            cause: row.get(1)?,
            outcome: row.get(2)?,
            disputed: row.get(3)?,
            worker: row.get(4)?,
            is_supplement: row.get(5)?,
        })
    }

    /// Returns the passage with its effective time, if it has an outcome.
    fn moved(tx: &Transaction<'_>, (ms, index): (i64, u64)) -> Result<Option<Found>, LedgerError> {
        let found = tx.prepare_cached(&single())?.query_row([index], Found::of).optional()?;
        Ok(found.map(|found| Found { at_ms: ms, ..found }))
    }

    /// Returns whether its time is the recorded one.
    fn stays(&self, dates: &Dates) -> bool {
        self.is_supplement || !dates.may_move(self.cause)
    }

    fn key(&self) -> (i64, u64) {
        (self.at_ms, self.cause)
    }
}

/// A search for attendance, to be read page by page.
#[derive(Clone, Debug)]
pub struct Search {
    filter: AttendanceFilter,
    dates: Arc<Dates>,
    /// The passages that are read apart and come on a later page, latest first.
    moved: Vec<(i64, u64)>,
    /// Where the last page ended; `None` after the last page.
    after: Option<(i64, u64)>,
}

impl Search {
    /// Begins to search for the attendance that the filter selects.
    pub fn begin(tx: &Transaction<'_>, filter: AttendanceFilter) -> Result<Search, LedgerError> {
        let dates = Arc::new(Dates::read(tx)?);
        let range = (filter.from_ms.unwrap_or(i64::MIN), filter.to_ms.unwrap_or(i64::MAX));
        let of = (filter.worker.as_ref(), filter.lane.as_deref());
        let mut moved = dates.moved(tx, of, range)?;
        moved.reverse();
        Ok(Search { filter, dates, moved, after: Some((i64::MIN, 0)) })
    }

    /// Returns the effective times by which it selects.
    pub fn dates(&self) -> &Dates {
        &self.dates
    }

    /// Returns whether there are more pages.
    pub fn has_more(&self) -> bool {
        self.after.is_some()
    }

    /// Returns the next page, oldest first.
    pub fn page(&mut self, tx: &Transaction<'_>) -> Result<AttendancePage, LedgerError> {
        let nothing = AttendancePage { rows: Vec::new(), unread: 0 };
        let Some(after) = self.after else { return Ok(nothing) };
        let (filter, limit) = (&self.filter, self.filter.limit.max(1));
        // The page ends before the first of the others that does not fit.
        let stop = self.moved.len().checked_sub(limit + 1).and_then(|n| self.moved.get(n)).copied();
        let to = filter.to_ms.unwrap_or(i64::MAX);
        let to = stop.map_or(to, |(at_ms, _)| to.min(at_ms.saturating_add(1)));
        let mut found: Vec<Found> = tx
            .prepare_cached(&page(filter.worker.is_some()))?
            .query_map(
                params![
                    filter.worker.as_ref().map(|w| w.as_str()),
                    filter.lane,
                    filter.from_ms.unwrap_or(i64::MIN).max(after.0),
                    to,
                    after.0,
                    after.1,
                    i64::try_from(limit).unwrap_or(i64::MAX)
                ],
                Found::of,
            )?
            .collect::<Result<_, _>>()?;
        let full = found.last().filter(|_| found.len() >= limit).map(Found::key);
        let before = stop.map(|(at_ms, index)| (at_ms, index.saturating_sub(1)));
        let end = full.into_iter().chain(before).min();
        found.retain(|one| one.stays(&self.dates) && end.is_none_or(|end| one.key() <= end));
        while let Some(key) = self.moved.pop_if(|key| end.is_none_or(|end| *key <= end)) {
            found.extend(Found::moved(tx, key)?);
        }
        found.sort_unstable_by_key(Found::key);
        self.after = end;
        let mut rows = Vec::with_capacity(found.len());
        for one in &found {
            rows.extend(attended(tx, one, &self.dates)?);
        }
        let unread = (found.len() - rows.len()) as u64;
        Ok(AttendancePage { rows, unread })
    }
}

/// Returns the first page of the attendance that the filter selects.
#[cfg(test)]
pub fn attendance(
    tx: &Transaction<'_>,
    filter: &AttendanceFilter,
) -> Result<AttendancePage, LedgerError> {
    Search::begin(tx, filter.clone())?.page(tx)
}

fn attended(
    tx: &Transaction<'_>,
    found: &Found,
    dates: &Dates,
) -> Result<Option<Attended>, LedgerError> {
    let disputed = found.disputed;
    let attended = read(tx, found.cause).and_then(|cause| {
        let dated = dates.of(&cause.entry);
        let (entry, cause) = match found.outcome {
            None => (cause, None),
            Some(outcome) => (read(tx, outcome)?, Some(cause)),
        };
        Ok(Attended { entry, cause, disputed, dated })
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
        select("INDEXED BY entry_attended")
    )
}

/// Returns each worker's latest attendance in a range of effective time, start inclusive, end
/// exclusive. Disputed attendance, and attendance whose outcome is `not_passed`, does not count.
pub fn latest_of_each(
    tx: &Transaction<'_>,
    dates: &Dates,
    (from_ms, to_ms): (i64, i64),
) -> Result<Vec<Attended>, LedgerError> {
    let mut moved = dates.moved(tx, (None, None), (from_ms, to_ms))?;
    let mut statement = tx.prepare_cached(&latest())?;
    let mut found = statement.query_map(params![from_ms, to_ms], Found::of)?.peekable();
    let (mut settled, mut latest) = (HashSet::<String>::new(), Vec::new());
    loop {
        let next = found.next_if(|next| match (next, moved.last()) {
            (Ok(next), Some(last)) => next.key() >= *last,
            _ => true,
        });
        let found = match next {
            Some(next) => Some(next?).filter(|next| next.stays(dates)),
            None => match moved.pop() {
                Some(key) => Found::moved(tx, key)?.filter(|found| found.disputed.is_none()),
                None => break,
            },
        };
        let Some(found) = found.filter(|found| !settled.contains(&found.worker)) else { continue };
        let Some(attended) = attended(tx, &found, dates)? else { continue };
        let said = attended.entry.entry.body.said();
        if said.is_none_or(|said| said.outcome != Word::Known(Outcome::NotPassed)) {
            settled.insert(found.worker);
            latest.push(attended);
        }
    }
    Ok(latest)
}

/// Returns each worker's latest attendance of several ledgers.
pub fn latest_of_all(mut all: Vec<Attended>) -> Vec<Attended> {
    let cause = |attended: &Attended| {
        let entry = &attended.cause.as_ref().unwrap_or(&attended.entry).entry;
        let recorded_ms = entry.body.at_ms().unwrap_or(entry.stamp.wall_ms);
        (entry.body.worker().cloned(), attended.dated.ms(recorded_ms))
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
