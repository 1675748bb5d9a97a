//! Queries for attendance, ordered by the effective time of the passage, with the outcome.
//!
//! In: a filter, and the rows that were [`Altered`]. Out: pages of [`Attended`]. The columns of a row
//! only find it: passages that [`Dates`] may move to another time are found apart. What a row says is
//! read from its bytes, which are compared with their hash. An entry that cannot be read is left out
//! and named, because wages depend on the rest.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;

use super::{
    Actor, Altered, Body, CborError, Closing, Correction, DIFFERS, Dated, Dates, Dispute, EntryRef,
    Flag, Kind, LedgerError, Outcome, Stored,
    altered::{at_ms, begins},
    known,
};
use crate::{clock::Stamp, roster::WorkerId, turnstile::PassageId};

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
    /// The rows that the columns do not find.
    pub altered: Arc<Altered>,
}

/// A dispute that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Disputed {
    pub seq: u64,
    pub reason: String,
    pub by: Actor,
    pub stamp: Stamp,
}

/// One attendance.
#[derive(Clone, Debug)]
pub struct Attended {
    /// The outcome that counts, which may be a correction; or a supplement.
    pub entry: Stored,
    /// The grant or release of an outcome; absent for a supplement.
    pub cause: Option<Stored>,
    /// The outcome that was recorded first, or the supplement: a dispute names it.
    pub first: EntryRef,
    /// The dispute, if one stands.
    pub disputed: Option<Disputed>,
    /// How the time of the passage is known.
    pub dated: Dated,
}

impl Attended {
    /// Returns a supplement that is not disputed.
    pub fn supplement(entry: Stored) -> Attended {
        let first = EntryRef { index: entry.entry.index, hash: entry.leaf };
        Attended { entry, cause: None, first, disputed: None, dated: Dated::Recorded }
    }

    /// Returns the grant, the release or the supplement.
    fn begun(&self) -> &Stored {
        self.cause.as_ref().unwrap_or(&self.entry)
    }

    pub(super) fn worker(&self) -> Option<&WorkerId> {
        self.begun().entry.body.worker()
    }

    fn is_for(&self, filter: &AttendanceFilter) -> bool {
        let body = &self.begun().entry.body;
        filter.worker.as_ref().is_none_or(|worker| body.worker() == Some(worker))
            && filter.lane.as_deref().is_none_or(|lane| body.lane() == Some(lane))
    }

    pub(super) fn dated_by(self, dates: &Dates) -> Attended {
        Attended { dated: dates.of(&self.begun().entry), ..self }
    }
}

/// A page of attendance.
#[derive(Debug, Default)]
pub struct AttendancePage {
    /// Completed attendance and supplements, ordered by the effective time of the passage.
    pub rows: Vec<Attended>,
    /// The entries for which attendances are left out, because these cannot be read.
    pub unread: BTreeSet<u64>,
}

/// Returns the SELECT for causes of passages. The cause's time is the time of the passage. `FROM`
/// names the index: a query for a month of three years, or for one worker of hundreds, must not
/// read the whole ledger.
fn select(index: &str) -> String {
    format!(
        "SELECT at_ms, idx, worker, kind = 'supplement' FROM entry INDEXED BY {index}
         WHERE worker IS NOT NULL AND kind IN ('grant', 'release', 'supplement')"
    )
}

fn page(of_one_worker: bool) -> String {
    let (index, worker) = match of_one_worker {
        true => ("entry_worker", "worker = ?1"),
        false => ("entry_attended", "?1 IS NULL"),
    };
    format!(
        "{} AND {worker} AND (?2 IS NULL OR lane = ?2)
           AND at_ms >= ?3 AND at_ms < ?4 AND (at_ms, idx) > (?5, ?6)
         ORDER BY at_ms, idx LIMIT ?7",
        select(index)
    )
}

/// A passage that a query found: its time, its cause and its worker, as the columns have them.
type Found = (i64, u64, String);

/// Returns a passage whose columns count, if its time is the recorded one.
fn stays(
    row: &Row<'_>,
    dates: &Dates,
    altered: &Altered,
) -> rusqlite::Result<((i64, u64), Option<Found>)> {
    let key: (i64, u64) = (row.get(0)?, row.get(1)?);
    let is_supplement: bool = row.get(3)?;
    let stays = !altered.has(key.1) && (is_supplement || !dates.may_move(key.1));
    Ok((key, if stays { Some((key.0, key.1, row.get(2)?)) } else { None }))
}

/// Returns the passages that are read apart, because the clock was wrong or their rows were
/// altered, in order of their effective time.
fn apart(
    tx: &Transaction<'_>,
    dates: &Dates,
    of: (Option<&WorkerId>, Option<&str>),
    range: (i64, i64),
    altered: &Altered,
) -> Result<Vec<(i64, u64)>, LedgerError> {
    let mut apart = dates.moved(tx, of, range)?;
    apart.retain(|(_, index)| !altered.has(*index));
    for index in altered.causes() {
        let Ok(Stored { entry, .. }) = entry_at(tx, index) else { continue };
        let (dated, at) = (dates.of(&entry), at_ms(&entry));
        let is_in = match dated {
            Dated::Undated(bounds) => bounds.meets(range),
            dated => (range.0..range.1).contains(&dated.ms(at)),
        };
        apart.extend(is_in.then_some((dated.ms(at), index)));
    }
    apart.sort_unstable();
    Ok(apart)
}

/// A search for attendance, to be read page by page.
#[derive(Clone, Debug)]
pub struct Search {
    filter: AttendanceFilter,
    dates: Arc<Dates>,
    /// The passages that are read apart and come on a later page, latest first.
    apart: Vec<(i64, u64)>,
    /// Where the last page ended; `None` after the last page.
    after: Option<(i64, u64)>,
}

impl Search {
    /// Begins to search for the attendance that the filter selects.
    pub fn begin(tx: &Transaction<'_>, filter: AttendanceFilter) -> Result<Search, LedgerError> {
        let dates = Arc::new(Dates::read(tx)?);
        let range = (filter.from_ms.unwrap_or(i64::MIN), filter.to_ms.unwrap_or(i64::MAX));
        let of = (filter.worker.as_ref(), filter.lane.as_deref());
        let mut apart = apart(tx, &dates, of, range, &filter.altered)?;
        apart.reverse();
        Ok(Search { filter, dates, apart, after: Some((i64::MIN, 0)) })
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
        let (mut rows, mut unread) = (Vec::new(), BTreeSet::new());
        let Some(after) = self.after else { return Ok(AttendancePage { rows, unread }) };
        let (filter, limit) = (&self.filter, self.filter.limit.max(1));
        // The page ends before the first of the others that does not fit.
        let stop = self.apart.len().checked_sub(limit + 1).and_then(|n| self.apart.get(n)).copied();
        let to = filter.to_ms.unwrap_or(i64::MAX);
        let to = stop.map_or(to, |(at_ms, _)| to.min(at_ms.saturating_add(1)));
        let found: Vec<((i64, u64), Option<Found>)> = tx
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
                |row| stays(row, &self.dates, &filter.altered),
            )?
            .collect::<Result<_, _>>()?;
        let full = found.last().filter(|_| found.len() >= limit).map(|(key, _)| *key);
        let before = stop.map(|(at_ms, index)| (at_ms, index.saturating_sub(1)));
        let end = full.into_iter().chain(before).min();
        let found = found.into_iter().filter_map(|(key, found)| found.map(|_| key));
        let mut found: Vec<_> = found.filter(|key| end.is_none_or(|end| *key <= end)).collect();
        while let Some(key) = self.apart.pop_if(|key| end.is_none_or(|end| *key <= end)) {
            found.push(key);
        }
        found.sort_unstable();
        self.after = end;
        rows.reserve(found.len());
        for (_, cause) in found {
            match attended_of(tx, &filter.altered, cause) {
                Ok(attended) => {
                    let attended = attended.filter(|attended| attended.is_for(filter));
                    rows.extend(attended.map(|attended| attended.dated_by(&self.dates)));
                }
                Err(LedgerError::Damaged { index, .. } | LedgerError::Missing { index }) => {
                    unread.insert(index);
                }
                Err(error) => return Err(error),
            }
        }
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

/// Returns the entries that are about this one, in their order.
fn about(tx: &Transaction<'_>, altered: &Altered, cause: u64) -> Result<Vec<Stored>, LedgerError> {
    let mut found: Vec<Stored> = Vec::new();
    let mut query =
        tx.prepare_cached("SELECT idx, bytes, leaf FROM entry WHERE cause = ?1 ORDER BY idx")?;
    let mut rows = query.query([cause])?;
    while let Some(row) = rows.next()? {
        found.push(known(row, 0)?);
    }
    for index in altered.about(cause) {
        found.push(entry_at(tx, *index)?);
    }
    found.retain(|stored| stored.entry.body.cause() == Some(cause));
    found.sort_by_key(|stored| stored.entry.index);
    found.dedup_by_key(|stored| stored.entry.index);
    Ok(found)
}

/// Returns the entry at an index. Its bytes are compared with its leaf hash.
fn entry_at(tx: &Transaction<'_>, index: u64) -> Result<Stored, LedgerError> {
    let mut query = tx.prepare_cached("SELECT idx, bytes, leaf FROM entry WHERE idx = ?1")?;
    let mut rows = query.query([index])?;
    known(rows.next()?.ok_or(LedgerError::Missing { index })?, 0)
}

/// Returns the attendance that this entry belongs to: a grant, a release or a supplement, or what is
/// about one. `None` if it is no worker's, or while the passage is under way.
///
/// # Errors
/// An entry of it is missing, cannot be read, or was altered after another one referred to it.
pub(super) fn attended_of(
    tx: &Transaction<'_>,
    altered: &Altered,
    index: u64,
) -> Result<Option<Attended>, LedgerError> {
    let mut begun = entry_at(tx, index)?;
    if !begins(&begun.entry.body) {
        let Some(cause) = begun.entry.body.cause() else { return Ok(None) };
        begun = entry_at(tx, cause)?;
    }
    if !begins(&begun.entry.body) {
        return Ok(None);
    }
    if let Body::Supplement(_) = begun.entry.body {
        let disputed = disputed(tx, altered, &begun)?;
        return Ok(Some(Attended { disputed, ..Attended::supplement(begun) }));
    }
    let cause = begun.entry.index;
    let about = about(tx, altered, cause)?;
    let is = |stored: &Stored, kind: &str| stored.entry.body.word() == kind;
    let Some(outcome) = about.iter().find(|stored| is(stored, Closing::NAME)) else {
        let open = "SELECT 1 FROM open_passage WHERE cause = ?1";
        let open = tx.prepare_cached(open)?.query_row([cause], |_| Ok(())).optional()?;
        // A passage that is over has an outcome: it was removed.
        return open.map(|()| None).ok_or(LedgerError::Missing { index: cause });
    };
    for stored in &about {
        let mut refers = stored.entry.body.refers_to().into_iter();
        if refers.any(|there| there.index == cause && there.hash != begun.leaf) {
            let source = CborError::Content(DIFFERS.to_owned());
            return Err(LedgerError::Damaged { index: stored.entry.index, source });
        }
    }
    let disputed = disputed(tx, altered, outcome)?;
    let first = EntryRef { index: outcome.entry.index, hash: outcome.leaf };
    let entry = about.iter().rev().find(|stored| is(stored, Correction::NAME)).unwrap_or(outcome);
    let (entry, dated) = (entry.clone(), Dated::Recorded);
    Ok(Some(Attended { entry, first, cause: Some(begun), disputed, dated }))
}

/// Returns the dispute of an outcome or a supplement, if one stands that was not withdrawn.
fn disputed(
    tx: &Transaction<'_>,
    altered: &Altered,
    of: &Stored,
) -> Result<Option<Disputed>, LedgerError> {
    for stored in about(tx, altered, of.entry.index)?.into_iter().rev() {
        let Body::Dispute(Dispute { reason, by, .. }) = stored.entry.body else { continue };
        let mut later = about(tx, altered, stored.entry.index)?.into_iter();
        if later.any(|stored| matches!(stored.entry.body, Body::Withdrawal(_))) {
            continue;
        }
        let (seq, stamp) = (stored.entry.seq.unwrap_or_default(), stored.entry.stamp);
        return Ok(Some(Disputed { seq, reason, by, stamp }));
    }
    Ok(None)
}

fn latest() -> String {
    format!(
        "{} AND at_ms >= ?1 AND at_ms < ?2 ORDER BY at_ms DESC, idx DESC",
        select("entry_attended")
    )
}

/// Returns each worker's latest attendance in a range of effective time, start inclusive, end
/// exclusive. Disputed attendance, and attendance whose outcome is `not_passed`, does not count.
/// Returns the entries for which attendances are left out, too, because these cannot be read.
pub fn latest_of_each(
    tx: &Transaction<'_>,
    dates: &Dates,
    range: (i64, i64),
    altered: &Altered,
) -> Result<(Vec<Attended>, BTreeSet<u64>), LedgerError> {
    let mut statement = tx.prepare_cached(&latest())?;
    let found = statement.query_map([range.0, range.1], |row| stays(row, dates, altered))?;
    let mut found: Vec<(i64, u64, Option<String>)> = found
        .filter_map(|found| match found {
            Ok((_, found)) => found.map(|(at, index, worker)| Ok((at, index, Some(worker)))),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()?;
    let apart = apart(tx, dates, (None, None), range, altered)?;
    found.extend(apart.into_iter().map(|(at, index)| (at, index, None)));
    found.sort_unstable_by(|a, b| b.cmp(a));
    let (mut settled, mut latest) = (HashSet::<String>::new(), Vec::new());
    let mut unread = BTreeSet::new();
    for (_, index, worker) in found {
        if worker.is_some_and(|worker| settled.contains(&worker)) {
            continue;
        }
        let attended = match attended_of(tx, altered, index) {
            Ok(Some(attended)) => attended,
            Ok(None) => continue,
            Err(LedgerError::Damaged { index, .. } | LedgerError::Missing { index }) => {
                unread.insert(index);
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(worker) = attended.worker().map(ToString::to_string) else { continue };
        let said = attended.entry.entry.body.said();
        if attended.disputed.is_none()
            && said.is_none_or(|said| said.outcome != Word::Known(Outcome::NotPassed))
            && settled.insert(worker)
        {
            latest.push(attended.dated_by(dates));
        }
    }
    Ok((latest, unread))
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
