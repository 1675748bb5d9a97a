//! The effective time of entries (I9): the recorded time, a corrected one, or none.
//!
//! In: the entries `boot` and `clock`. Out: [`Dates`], with a row for each boot of the machine. All
//! views select and reckon by it; entries never change. The rules:
//!
//! 1. Within a boot the monotonic clock is right. So one instant, at which the boot began, dates all
//!    its entries: that instant plus the entry's uptime.
//! 2. A synchronised clock names the instant. If it named several, because it was stepped, the
//!    instant counts that held for most of the boot's running time; of equal ones, the last. It
//!    holds until a synchronised clock names the next one.
//! 3. An entry is corrected if its recorded time differs from (1) by a second or more.
//! 4. In a boot whose clock was never synchronised, an entry has no date. It has bounds: the boots
//!    before and after it that have one.
//! 5. Before the ledger's first synchronised clock there is nothing to correct by. The recorded
//!    times stand, except those before 2025: no gateway ran then.

use std::{collections::HashMap, ops::Range};

use rusqlite::{Transaction, params};

use super::{Body, Entry, LedgerError, Stored, known, size};
use crate::{
    clock::{BootId, Stamp},
    roster::WorkerId,
};

/// Minimum difference between two times of one entry that counts.
const DIFFERS_MS: u64 = 1_000;
/// Time around the record of a change of the clock within which entries may have another time. The
/// record comes at most a minute after the change, and further changes of that minute may have none.
const AROUND_MS: u64 = 120_000;
/// 2025-01-01. An earlier time of a clock that is not synchronised is no date.
const EARLIEST_MS: i64 = 1_735_689_600_000;
/// Maximum number of different instants that are compared for one boot. Further ones do not count.
const INSTANTS: usize = 256;

/// How an entry's time is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// The recorded time counts.
    Recorded,
    /// The clock was not synchronised, or was wrong; ms since 1970. The time may be equal to the
    /// recorded one.
    Corrected(i64),
    /// No clock dates the entry.
    Undated(Bounds),
}

/// The times between which an entry without a date was made, as far as they are known; ms since
/// 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub after_ms: Option<i64>,
    pub before_ms: Option<i64>,
}

impl Bounds {
    /// Returns the time nearest to `ms` that the bounds allow.
    pub fn nearest(self, ms: i64) -> i64 {
        let late = ms.max(self.after_ms.unwrap_or(i64::MIN));
        late.min(self.before_ms.unwrap_or(i64::MAX))
    }

    /// Returns whether the entry may have been made in this range, end exclusive.
    pub fn meets(self, (from_ms, to_ms): (i64, i64)) -> bool {
        self.after_ms.is_none_or(|after| after < to_ms)
            && self.before_ms.is_none_or(|before| before >= from_ms)
    }
}

impl Dated {
    /// Returns the effective time of an entry with this recorded time; for an entry without a date,
    /// the time that its bounds allow, only to order entries by it.
    pub fn ms(self, recorded_ms: i64) -> i64 {
        match self {
            Dated::Recorded => recorded_ms,
            Dated::Corrected(ms) => ms,
            Dated::Undated(bounds) => bounds.nearest(recorded_ms),
        }
    }
}

/// A clock reading that names the instant at which the boot began.
#[derive(Clone, Copy, Debug)]
struct Reading {
    index: u64,
    uptime_ms: u64,
    began_ms: i64,
    synced: bool,
    /// It is the record of a change of the clock.
    is_change: bool,
}

impl Reading {
    fn of(entry: &Entry) -> Reading {
        let Stamp { wall_ms, synced, uptime_ms, .. } = entry.stamp;
        let by_stamp = wall_ms.saturating_sub_unsigned(uptime_ms);
        let (began_ms, synced, is_change) = match &entry.body {
            Body::ClockChange(change) => {
                let began = change.booted_at_ms;
                (began.unwrap_or(by_stamp), began.is_some(), true)
            }
            _ => (by_stamp, synced, false),
        };
        Reading { index: entry.index, uptime_ms, began_ms, synced, is_change }
    }
}

/// Returns the instant that held longest. `readings`: of a synchronised clock, as uptime and
/// instant, in order. `end_ms`: the boot's last known uptime.
fn longest(readings: &[(u64, i64)], end_ms: u64) -> Option<i64> {
    let mut instants: Vec<(i64, u64, usize)> = Vec::new();
    for (n, &(uptime_ms, began_ms)) in readings.iter().enumerate() {
        let until = readings.get(n + 1).map_or(end_ms, |next| next.0);
        let held = until.saturating_sub(uptime_ms);
        let room = instants.len() < INSTANTS;
        match instants.iter_mut().find(|one| one.0.abs_diff(began_ms) < DIFFERS_MS) {
            Some(one) => *one = (began_ms, one.1 + held, n),
            None if room => instants.push((began_ms, held, n)),
            None => {}
        }
    }
    let longest = instants.into_iter().max_by_key(|&(_, held, last)| (held, last));
    longest.map(|(began_ms, ..)| began_ms)
}

/// A boot of the machine.
#[derive(Clone, Debug)]
struct Boot {
    id: BootId,
    /// Its entries: first index, and the index after the last one.
    entries: Range<u64>,
    /// The last known uptime.
    uptime_ms: u64,
    /// The instant at which it began, if a synchronised clock named it.
    began_ms: Option<i64>,
    /// An earlier boot has such an instant.
    after_first: bool,
    /// The bounds of the whole boot.
    bounds: Bounds,
}

impl Boot {
    /// Returns the range of effective times of its entries.
    fn meets(&self, range: (i64, i64)) -> bool {
        let bounds = match self.began_ms {
            Some(began) => Bounds {
                after_ms: Some(began),
                before_ms: Some(began.saturating_add_unsigned(self.uptime_ms)),
            },
            None if self.after_first => self.bounds,
            // Some entries have no date, and the others keep their own.
            None => Bounds::default(),
        };
        bounds.meets(range)
    }
}

/// The effective times of a ledger's entries.
#[derive(Clone, Debug, Default)]
pub struct Dates {
    boots: Vec<Boot>,
    by_id: HashMap<BootId, usize>,
    /// The ranges of entries whose effective time may not be the recorded one, each with its boot.
    /// In order, and apart from each other.
    moved: Vec<(Range<u64>, usize)>,
}

const READINGS: &str = "SELECT idx, bytes, leaf FROM entry INDEXED BY entry_clock
    WHERE kind IN ('boot', 'clock') ORDER BY idx";
const BACK: &str = "SELECT idx, bytes, leaf FROM entry WHERE idx < ?1 ORDER BY idx DESC";
const ON: &str = "SELECT idx, bytes, leaf FROM entry WHERE idx > ?1 ORDER BY idx";
const MOVED: &str = "SELECT idx, bytes, leaf FROM entry NOT INDEXED
    WHERE idx >= ?1 AND idx < ?2 AND worker IS NOT NULL AND kind IN ('grant', 'release', 'denial')
      AND (?3 IS NULL OR worker = ?3) AND (?4 IS NULL OR lane = ?4)";

/// Returns the entry; `None` if it cannot be read any more.
fn readable(row: &rusqlite::Row<'_>) -> Result<Option<Entry>, LedgerError> {
    match known(row, 0) {
        Ok(Stored { entry, .. }) => Ok(Some(entry)),
        Err(LedgerError::Damaged { .. } | LedgerError::Pruned { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the last index of the boot's entries that stand next to `index` and within this time of
/// it, searched by `sql`.
fn reach(
    tx: &Transaction<'_>,
    sql: &str,
    boot: BootId,
    reading: &Reading,
) -> Result<u64, LedgerError> {
    let mut query = tx.prepare_cached(sql)?;
    let (mut rows, mut last) = (query.query([reading.index])?, reading.index);
    while let Some(row) = rows.next()? {
        let Some(entry) = readable(row)? else { continue };
        let Stamp { boot: of, uptime_ms, .. } = entry.stamp;
        if of != boot || uptime_ms.abs_diff(reading.uptime_ms) > AROUND_MS {
            break;
        }
        last = entry.index;
    }
    Ok(last)
}

impl Dates {
    /// Reads the entries that name the time.
    pub fn read(tx: &Transaction<'_>) -> Result<Dates, LedgerError> {
        let mut found: Vec<(BootId, Vec<Reading>)> = Vec::new();
        let mut query = tx.prepare_cached(READINGS)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let Some(entry) = readable(row)? else { continue };
            let (boot, reading) = (entry.stamp.boot, Reading::of(&entry));
            match found.last_mut().filter(|(id, _)| *id == boot) {
                Some((_, readings)) => readings.push(reading),
                None => found.push((boot, vec![reading])),
            }
        }
        let mut dates = Dates::default();
        let mut after_first = false;
        for (n, (id, readings)) in found.iter().enumerate() {
            let first = readings.first().map_or(0, |reading| reading.index);
            let next = found.get(n + 1).and_then(|(_, next)| Some(next.first()?.index));
            let end = next.map_or_else(|| size(tx), Ok)?;
            let synced = readings.iter().filter(|reading| reading.synced);
            let synced: Vec<_> = synced.map(|r| (r.uptime_ms, r.began_ms)).collect();
            let last_entry = last_entry(tx, *id, first..end)?;
            let last = readings.last().map_or(0, |reading| reading.uptime_ms);
            let uptime_ms = last_entry.as_ref().map_or(last, |entry| entry.uptime_ms.max(last));
            let began_ms = longest(&synced, uptime_ms);
            let (entries, bounds) = (first..end, Bounds::default());
            let boot = Boot { id: *id, entries, uptime_ms, began_ms, after_first, bounds };
            after_first |= began_ms.is_some();
            dates.by_id.insert(*id, n);
            moved(tx, n, &boot, (readings, last_entry), &mut dates.moved)?;
            dates.boots.push(boot);
        }
        dates.bound();
        Ok(dates)
    }

    /// Sets the bounds of each boot: it began after the boots before it had ended, and ended before
    /// the boots after it began.
    fn bound(&mut self) {
        let mut after = None::<i64>;
        for boot in &mut self.boots {
            boot.bounds.after_ms = after;
            let began = boot.began_ms.or(after);
            after = began.map(|began| began.saturating_add_unsigned(boot.uptime_ms));
        }
        let mut before = None::<i64>;
        for boot in self.boots.iter_mut().rev() {
            boot.bounds.before_ms = before;
            let began = before.map(|before| before.saturating_sub_unsigned(boot.uptime_ms));
            before = boot.began_ms.or(began);
        }
    }

    /// Returns how the time of this stamp is known.
    pub fn of_stamp(&self, stamp: Stamp) -> Dated {
        let boot = self.by_id.get(&stamp.boot).and_then(|n| self.boots.get(*n));
        let Some(boot) = boot else { return Dated::Recorded };
        let Stamp { wall_ms, synced, uptime_ms, .. } = stamp;
        match boot.began_ms {
            Some(began) => {
                let right = began.saturating_add_unsigned(uptime_ms);
                match right.abs_diff(wall_ms) < DIFFERS_MS {
                    true if synced => Dated::Recorded,
                    true => Dated::Corrected(wall_ms),
                    false => Dated::Corrected(right),
                }
            }
            None if synced || !boot.after_first && wall_ms >= EARLIEST_MS => Dated::Recorded,
            None => {
                let rest = boot.uptime_ms.saturating_sub(uptime_ms);
                let Bounds { after_ms, before_ms } = boot.bounds;
                Dated::Undated(Bounds {
                    after_ms: after_ms.map(|after| after.saturating_add_unsigned(uptime_ms)),
                    before_ms: before_ms.map(|before| before.saturating_sub_unsigned(rest)),
                })
            }
        }
    }

    /// Returns how the time of an entry is known. A supplement's time is what a user stated.
    pub fn of(&self, entry: &Entry) -> Dated {
        match entry.body.at_ms() {
            Some(_) => Dated::Recorded,
            None => self.of_stamp(entry.stamp),
        }
    }

    /// Returns the effective time of a stamp, ms since 1970; without a date, the nearest time that
    /// the bounds allow.
    pub fn ms(&self, stamp: Stamp) -> i64 {
        self.of_stamp(stamp).ms(stamp.wall_ms)
    }

    /// Returns whether the effective time of this passage or denial may not be the recorded one.
    pub fn may_move(&self, index: u64) -> bool {
        let after = self.moved.partition_point(|(range, _)| range.start <= index);
        let range = after.checked_sub(1).and_then(|n| self.moved.get(n));
        range.is_some_and(|(range, _)| range.contains(&index))
    }

    /// Returns the passages and denials of workers that [`may_move`](Self::may_move) and whose
    /// effective time is in this range (end exclusive), or may be in it. Each with the time by which
    /// to order it, in that order. One that cannot be read is returned too.
    pub fn moved(
        &self,
        tx: &Transaction<'_>,
        (worker, lane): (Option<&WorkerId>, Option<&str>),
        (from_ms, to_ms): (i64, i64),
    ) -> Result<Vec<(i64, u64)>, LedgerError> {
        let (range, mut found) = ((from_ms, to_ms), Vec::new());
        let meets = |n: usize| self.boots.get(n).is_some_and(|boot| boot.meets(range));
        let ranges = self.moved.iter().filter(|(_, n)| from_ms < to_ms && meets(*n));
        let mut query = tx.prepare_cached(MOVED)?;
        for (entries, _) in ranges {
            let of = params![entries.start, entries.end, worker.map(WorkerId::as_str), lane];
            let mut rows = query.query(of)?;
            while let Some(row) = rows.next()? {
                let Some(entry) = readable(row)? else {
                    found.push((from_ms, row.get(0)?));
                    continue;
                };
                let dated = self.of(&entry);
                let ms = dated.ms(entry.stamp.wall_ms);
                let is_in = match dated {
                    Dated::Undated(bounds) => bounds.meets(range),
                    Dated::Recorded | Dated::Corrected(_) => from_ms <= ms && ms < to_ms,
                };
                found.extend(is_in.then_some((ms, entry.index)));
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Returns the number of passages of workers without a date in the boots before the present one
    /// that may have been after `since_ms`. The present boot may still get a date.
    pub fn undated(
        &self,
        tx: &Transaction<'_>,
        present: BootId,
        since_ms: i64,
    ) -> Result<u64, LedgerError> {
        let mut undated = 0;
        for (_, index) in self.moved(tx, (None, None), (since_ms, i64::MAX))? {
            let mut query = tx.prepare_cached(
                "SELECT idx, bytes, leaf FROM entry WHERE idx = ?1 AND kind <> 'denial'",
            )?;
            let mut rows = query.query([index])?;
            let Some(entry) = rows.next()?.map(readable).transpose()?.flatten() else { continue };
            let is_undated = matches!(self.of(&entry), Dated::Undated(_));
            undated += u64::from(is_undated && entry.stamp.boot != present);
        }
        Ok(undated)
    }
}

/// Returns a boot's last entry as a reading. The next boot's first entries may stand before its `boot`
/// entry.
fn last_entry(
    tx: &Transaction<'_>,
    boot: BootId,
    entries: Range<u64>,
) -> Result<Option<Reading>, LedgerError> {
    let mut query = tx.prepare_cached(BACK)?;
    let mut rows = query.query([entries.end])?;
    while let Some(row) = rows.next()? {
        if row.get::<_, u64>(0)? < entries.start {
            break;
        }
        if let Some(entry) = readable(row)?.filter(|entry| entry.stamp.boot == boot) {
            return Ok(Some(Reading::of(&entry)));
        }
    }
    Ok(None)
}

/// Adds the ranges of a boot's entries whose effective time may not be the recorded one.
fn moved(
    tx: &Transaction<'_>,
    n: usize,
    boot: &Boot,
    (readings, last_entry): (&[Reading], Option<Reading>),
    all: &mut Vec<(Range<u64>, usize)>,
) -> Result<(), LedgerError> {
    let is_early = |r: &Reading| r.began_ms.saturating_add_unsigned(r.uptime_ms) < EARLIEST_MS;
    let is_wrong = |reading: &Reading| match boot.began_ms {
        Some(began_ms) => reading.began_ms.abs_diff(began_ms) >= DIFFERS_MS,
        None => boot.after_first || is_early(reading),
    };
    let mut add = |range: Range<u64>| match all.last_mut() {
        Some((last, of)) if *of == n && range.start <= last.end => {
            last.start = last.start.min(range.start);
            last.end = last.end.max(range.end);
        }
        _ => all.push((range, n)),
    };
    let mut was_wrong = false;
    for (place, reading) in readings.iter().enumerate() {
        let end = readings.get(place + 1).map_or(boot.entries.end, |next| next.index);
        let start = match reading.is_change && !was_wrong {
            true => reach(tx, BACK, boot.id, reading)?,
            false => reading.index,
        };
        was_wrong = is_wrong(reading);
        if was_wrong {
            add(start..end);
        } else if reading.is_change {
            add(start..reach(tx, ON, boot.id, reading)? + 1);
        }
    }
    // The clock may have changed just before the boot's last entry, and the change is not recorded
    // yet, or never was.
    if let Some(last) = last_entry.filter(|_| !was_wrong) {
        add(reach(tx, BACK, boot.id, &last)?..last.index + 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
