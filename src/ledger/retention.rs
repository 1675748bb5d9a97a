//! Retention: the bytes of old entries are deleted when their time is over (I2).
//!
//! In: the day on which all wages were settled, and the years for which attendance is kept after
//! it. Out: entries without their bytes, worker and lane, from the first entry on. Their leaf
//! hashes, indices, seqs and kinds stay. Each run ends with an entry that says how far it went.
//! Nothing is deleted without that day, by a date that is not corroborated, or before every
//! upstream has acknowledged it. Touches: the table `entry`, and `pruned_*` in `meta`.

use jiff::{Span, civil::Date, tz::TimeZone};
use rusqlite::{Transaction, params};

use super::{Entry, Ledger, LedgerError, Pruning, size};
use crate::{
    clock::{Corroborated, Stamp},
    store::{meta, set_meta},
};

/// Maximum number of entries that are pruned in one transaction.
const BATCH: u64 = 500;

/// Key in `meta`: the index of the first entry that still has its bytes.
const BEFORE: &str = "pruned_before";
/// Key in `meta`: the number of entries pruned since the last `pruning` entry.
const UNTOLD: &str = "pruned_untold";

/// The time for which attendance is kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// The day on which all wages of the project were settled.
    pub settled_on: Option<Date>,
    /// Years from that day, and from an entry's own, whichever is later.
    pub keep_years: u8,
    pub timezone: TimeZone,
}

impl Retention {
    /// Returns the last day on which everything is kept; `None` when nothing is ever deleted.
    pub fn kept_until(&self) -> Option<Date> {
        Some(later(self.settled_on?, self.keep_years))
    }

    /// Returns whether any entry may be pruned.
    fn is_over(&self, today: Date) -> bool {
        self.kept_until().is_some_and(|until| today > until)
    }

    /// Returns whether an entry of this day may be pruned.
    fn is_over_for(&self, day: Date, today: Date) -> bool {
        self.is_over(today) && today > later(day, self.keep_years)
    }

    /// Returns the site's date at a corroborated time.
    pub fn today(&self, date: Corroborated) -> Date {
        date.at().to_zoned(self.timezone.clone()).date()
    }

    /// Returns the day before which an entry may be pruned on a day.
    pub fn of_days_before(&self, on: Date) -> Date {
        on.checked_sub(Span::new().years(self.keep_years)).unwrap_or(Date::MIN)
    }

    /// Returns the site's date at a time by the clock.
    pub fn day(&self, wall_ms: i64) -> Date {
        let at = jiff::Timestamp::from_millisecond(wall_ms);
        // A time outside the calendar counts as not over yet.
        at.map_or(Date::MAX, |at| at.to_zoned(self.timezone.clone()).date())
    }
}

fn later(day: Date, years: u8) -> Date {
    day.checked_add(Span::new().years(years)).unwrap_or(Date::MAX)
}

fn number(tx: &Transaction<'_>, key: &str) -> Result<u64, LedgerError> {
    let bytes = meta(tx, key)?;
    Ok(bytes.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// Returns the index of the first entry that still has its bytes; 0 while nothing was pruned.
pub fn pruned_before(tx: &Transaction<'_>) -> Result<u64, LedgerError> {
    number(tx, BEFORE)
}

/// Returns the number of passages before a day.
pub fn passages_before(
    tx: &Transaction<'_>,
    day: Date,
    retention: &Retention,
) -> Result<u64, LedgerError> {
    let Ok(before) = day.to_zoned(retention.timezone.clone()) else { return Ok(0) };
    Ok(tx.query_row(
        "SELECT count(*) FROM entry WHERE worker IS NOT NULL
           AND kind IN ('grant', 'release', 'supplement') AND at_ms < ?1",
        [before.timestamp().as_millisecond()],
        |row| row.get(0),
    )?)
}

/// Returns the index up to which [`Ledger::prune`] may go next on a day; `None` when nothing may be
/// pruned on it.
pub fn prunable(
    tx: &Transaction<'_>,
    today: Date,
    retention: &Retention,
) -> Result<Option<u64>, LedgerError> {
    if !retention.is_over(today) {
        return Ok(None);
    }
    let from = pruned_before(tx)?;
    // The last entry keeps its bytes: they hold the time that the box has run.
    let (most, limit) = (from.saturating_add(BATCH), size(tx)?.saturating_sub(1).min(needed(tx)?));
    let mut before = from;
    let mut bytes = tx.prepare_cached("SELECT bytes FROM entry WHERE idx = ?1")?;
    for index in from..limit {
        if before >= most {
            break;
        }
        let raw: Vec<u8> = bytes.query_row([index], |row| row.get(0))?;
        // An entry that cannot be read, or whose clock was not trusted, is dated by a later entry.
        let Ok(Entry { stamp, body, .. }) = Entry::decode_known(&raw) else { continue };
        if !stamp.synced {
            continue;
        }
        let day = retention.day(stamp.wall_ms.max(body.at_ms().unwrap_or(stamp.wall_ms)));
        if !retention.is_over_for(day, today) {
            break;
        }
        before = index + 1;
    }
    Ok(Some(before.min(most)).filter(|before| *before > from))
}

impl Ledger {
    /// Prunes one batch of the entries that are over on the announced day and today. Returns
    /// whether there may be more.
    pub fn prune(
        &self,
        tx: &Transaction<'_>,
        announced: Date,
        date: Corroborated,
        retention: &Retention,
    ) -> Result<bool, LedgerError> {
        let from = pruned_before(tx)?;
        let Some(before) = prunable(tx, announced.min(retention.today(date)), retention)? else {
            return Ok(false);
        };
        tx.execute(
            "UPDATE entry SET bytes = x'', worker = NULL, lane = NULL WHERE idx >= ?1 AND idx < ?2",
            params![from, before],
        )?;
        // A dismissed row that has no entry any more could not be offered again.
        tx.execute(
            "DELETE FROM outbox WHERE upstream LIKE '%/dismissed'
               AND seq IN (SELECT seq FROM entry WHERE idx >= ?1 AND idx < ?2)",
            params![from, before],
        )?;
        let untold = number(tx, UNTOLD)? + (before - from);
        set_meta(tx, BEFORE, &before.to_be_bytes())?;
        set_meta(tx, UNTOLD, &untold.to_be_bytes())?;
        Ok(true)
    }

    /// Ends a run: appends an entry with the number of entries pruned since the last one. Returns
    /// that number.
    pub fn tell_pruned(
        &self,
        tx: &Transaction<'_>,
        now: Stamp,
        retention: &Retention,
    ) -> Result<u64, LedgerError> {
        let (pruned_before, pruned) = (pruned_before(tx)?, number(tx, UNTOLD)?);
        let (keep_years, Some(settled_on)) = (retention.keep_years, retention.settled_on) else {
            return Ok(0);
        };
        if pruned > 0 {
            self.append(tx, now, Pruning { pruned, pruned_before, settled_on, keep_years })?;
            set_meta(tx, UNTOLD, &0u64.to_be_bytes())?;
        }
        Ok(pruned)
    }
}

/// Returns the index of the first entry that an upstream or an open passage still needs.
fn needed(tx: &Transaction<'_>) -> Result<u64, LedgerError> {
    let first = |sql: &str| -> Result<u64, LedgerError> {
        let first: Option<u64> = tx.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(first.unwrap_or(u64::MAX))
    };
    // A record is sent with its cause.
    let waiting = first(
        "SELECT min(min(idx, coalesce(cause, idx))) FROM outbox JOIN entry USING (seq)
           WHERE upstream NOT LIKE '%/dismissed'",
    )?;
    Ok(waiting.min(first("SELECT min(cause) FROM open_passage")?))
}
