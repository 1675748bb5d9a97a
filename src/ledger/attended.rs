//! Queries for attendance, ordered by the time of the passage, with the outcome.
//!
//! In: a filter, and the rows that were [`Altered`]. Out: pages of [`Attended`]. The columns of a row
//! only find it. What it says is read from its bytes, which are compared with their hash. An entry
//! that cannot be read is left out and named, because wages depend on the rest.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;

use super::{
    Actor, Altered, Body, CborError, Closing, Correction, DIFFERS, Dispute, EntryRef, Flag, Kind,
    LedgerError, Outcome, Stored,
    altered::{at_ms, begins},
    known,
};
use crate::{clock::Stamp, roster::WorkerId, turnstile::PassageId};

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
}

impl Attended {
    /// Returns a supplement that is not disputed.
    pub fn supplement(entry: Stored) -> Attended {
        let first = EntryRef { index: entry.entry.index, hash: entry.leaf };
        Attended { entry, cause: None, first, disputed: None }
    }

    /// Returns the grant, the release or the supplement.
    fn begun(&self) -> &Stored {
        self.cause.as_ref().unwrap_or(&self.entry)
    }

    pub(super) fn worker(&self) -> Option<&WorkerId> {
        self.begun().entry.body.worker()
    }

    fn is_for(&self, filter: &AttendanceFilter) -> bool {
        let begun = &self.begun().entry;
        let at = at_ms(begun);
        filter.worker.as_ref().is_none_or(|worker| begun.body.worker() == Some(worker))
            && filter.lane.as_deref().is_none_or(|lane| begun.body.lane() == Some(lane))
            && filter.from_ms.is_none_or(|from| at >= from)
            && filter.to_ms.is_none_or(|to| at < to)
    }
}

/// A page of attendance.
#[derive(Debug)]
pub struct AttendancePage {
    /// Completed attendance and supplements, ordered by the time of the passage.
    pub rows: Vec<Attended>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<(i64, u64)>,
    /// The entries for which attendances are left out, because these cannot be read.
    pub unread: BTreeSet<u64>,
}

/// Returns the SELECT for causes of passages. The cause's time is the time of the passage. `FROM`
/// names the index: a query for a month of three years, or for one worker of hundreds, must not
/// read the whole ledger.
fn select(index: &str) -> String {
    format!(
        "SELECT at_ms, idx, worker FROM entry INDEXED BY {index}
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

/// Returns the attendance that the filter selects, oldest first.
pub fn attendance(
    tx: &Transaction<'_>,
    filter: &AttendanceFilter,
) -> Result<AttendancePage, LedgerError> {
    let (from, to) = (filter.from_ms.unwrap_or(i64::MIN), filter.to_ms.unwrap_or(i64::MAX));
    let after = filter.after.unwrap_or((i64::MIN, 0));
    let mut found: Vec<(i64, u64)> = tx
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
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<Result<_, _>>()?;
    let next = found.last().copied().filter(|_| found.len() >= filter.limit);
    let begin = (after.0, after.1.saturating_add(1)).max((from, 0));
    let end = next.unwrap_or((to, 0));
    found.retain(|(_, index)| !filter.altered.has(*index));
    found.extend(filter.altered.causes(begin..=end));
    found.sort_unstable();
    let (mut rows, mut unread) = (Vec::with_capacity(found.len()), BTreeSet::new());
    for (_, cause) in found {
        match attended_of(tx, &filter.altered, cause) {
            Ok(attended) => rows.extend(attended.filter(|attended| attended.is_for(filter))),
            Err(LedgerError::Damaged { index, .. } | LedgerError::Missing { index }) => {
                unread.insert(index);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(AttendancePage { rows, next, unread })
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
    Ok(Some(Attended { entry: entry.clone(), first, cause: Some(begun), disputed }))
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

/// Returns each worker's latest attendance in a range of wall time, start inclusive, end exclusive.
/// Disputed attendance, and attendance whose outcome is `not_passed`, does not count. An attendance
/// that cannot be read is passed over, and is in `unread`.
pub fn latest_of_each(
    tx: &Transaction<'_>,
    (from_ms, to_ms): (i64, i64),
    altered: &Altered,
) -> Result<(Vec<Attended>, BTreeSet<u64>), LedgerError> {
    let mut statement = tx.prepare_cached(&latest())?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found = statement.query_map(params![from_ms, to_ms], row)?;
    let mut found: Vec<(i64, u64, Option<String>)> = found.collect::<Result<_, _>>()?;
    found.retain(|(_, index, _)| !altered.has(*index));
    let changed = altered.causes((from_ms, 0)..=(to_ms, 0));
    found.extend(changed.map(|(at, index)| (at, index, None)));
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
            latest.push(attended);
        }
    }
    Ok((latest, unread))
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
