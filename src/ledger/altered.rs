//! Entries whose rows an owner of the disk changed. A list selects rows by their columns, so it
//! would not find these.
//!
//! In: an audit's reading of each entry. Out: the entries that a list has to read beside the rows
//! that it selects, and the entries that no list can read. Pure: the database is not touched, and
//! nothing is repaired.

use std::collections::{BTreeMap, BTreeSet};

use super::{Body, Dates, Entry};
use crate::clock::Stamp;

/// Maximum number of entries with other columns. Further ones count as entries that cannot be read.
const ROWS: usize = 100_000;
/// Maximum number of entries that cannot be read and are named. Further ones are counted.
const ILLEGIBLE: usize = 10_000;

/// What an audit found in the rows of a ledger.
#[derive(Clone, Debug, Default)]
pub struct Altered {
    /// The entries whose columns differ from their bytes.
    rows: BTreeSet<u64>,
    /// The causes of a worker's passage among them.
    causes: BTreeSet<u64>,
    /// The others among them, by the entry that they are about.
    about: BTreeMap<u64, Vec<u64>>,
    /// Entries that are missing, damaged or altered, with the stamps of the entries before and after.
    illegible: BTreeMap<u64, (Option<Stamp>, Option<Stamp>)>,
    /// Number of entries beyond the bounds.
    beyond: u64,
    /// The stamp of the last entry that was read.
    last: Option<Stamp>,
    /// Entries that cannot be read since then.
    undated: Vec<u64>,
}

impl Altered {
    /// Adds an entry whose bytes can be read, and whether its columns agree with them.
    pub(super) fn read(&mut self, entry: &Entry, agrees: bool) {
        for index in self.undated.drain(..) {
            self.illegible.insert(index, (self.last, Some(entry.stamp)));
        }
        self.last = Some(entry.stamp);
        if agrees {
            return;
        }
        if self.rows.len() >= ROWS {
            self.beyond += 1;
            return;
        }
        self.rows.insert(entry.index);
        if begins(&entry.body) {
            self.causes.insert(entry.index);
        }
        if let Some(cause) = entry.body.cause() {
            self.about.entry(cause).or_default().push(entry.index);
        }
    }

    /// Adds an entry that is not there, or whose bytes are not those that were appended.
    pub(super) fn unread(&mut self, index: u64) {
        if self.illegible.len() >= ILLEGIBLE {
            self.beyond += 1;
            return;
        }
        self.illegible.insert(index, (self.last, None));
        self.undated.push(index);
    }

    /// Adds an entry that can be read, and is about another one that was altered after it.
    pub(super) fn broken(&mut self, entry: &Entry) {
        if self.illegible.len() < ILLEGIBLE {
            self.illegible.insert(entry.index, (Some(entry.stamp), Some(entry.stamp)));
        } else {
            self.beyond += 1;
        }
    }

    /// Returns whether the row of this entry has other columns than its bytes.
    pub(super) fn has(&self, index: u64) -> bool {
        self.rows.contains(&index)
    }

    /// Returns the entries whose rows have other columns than their bytes.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.rows.iter().copied()
    }

    /// Returns the causes of passages among them.
    pub(super) fn causes(&self) -> impl Iterator<Item = u64> {
        self.causes.iter().copied()
    }

    /// Returns those that are about this entry.
    pub fn about(&self, cause: u64) -> &[u64] {
        self.about.get(&cause).map_or(&[], Vec::as_slice)
    }

    /// Returns the entries that cannot be read and may have been recorded in this range of effective
    /// time, start inclusive, end exclusive.
    pub fn illegible(&self, dates: &Dates, (from_ms, to_ms): (i64, i64)) -> BTreeSet<u64> {
        let within = |(before, after): &(Option<Stamp>, Option<Stamp>)| {
            let from = before.map_or(i64::MIN, |stamp| dates.ms(stamp));
            let until = after.map_or(i64::MAX, |stamp| dates.ms(stamp));
            from.min(until) < to_ms && until.max(from) >= from_ms
        };
        let there = self.illegible.iter().filter(|(_, between)| within(between));
        there.map(|(index, _)| *index).collect()
    }

    /// Returns the number of entries beyond the bounds. They may be of any time.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Returns the number of entries of all sorts, to compare two audits.
    pub fn count(&self) -> u64 {
        (self.rows.len() + self.illegible.len()) as u64 + self.beyond
    }
}

/// Returns whether the entry is the cause of a worker's passage, or a supplement.
pub(super) fn begins(body: &Body) -> bool {
    matches!(body, Body::Grant(_) | Body::GuardRelease(_) | Body::Supplement(_))
        && body.worker().is_some()
}

/// Returns when it happened; wall time in ms since 1970.
pub(super) fn at_ms(entry: &Entry) -> i64 {
    entry.body.at_ms().unwrap_or(entry.stamp.wall_ms)
}
