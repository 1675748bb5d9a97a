//! Decides about rows over which connections end, such as a row that a platform answers with
//! nonsense each time, or one over which a broker hangs up. Pure.
//!
//! A call is one request to a platform that answers each call. Over MQTT it is all rows that the
//! broker has not acknowledged.
//!
//! The rows of a call over which [`ENDS`] connections ended go alone. A row over which so many
//! connections ended alone goes after all others. A platform that is down ends connections over each
//! row, so a row stands aside only if the platform took another row before the last of these ends.

use std::collections::{BTreeMap, BTreeSet};

use super::delivery::Turn;

/// Number of connections that end over one call before its rows go alone, and over one row before it
/// goes after all others.
pub const ENDS: u32 = 3;
/// Maximum number of suspect rows. With more of them the platform counts as down, and all begin
/// again.
pub const SUSPECTS: usize = 1024;

/// A row: the folder of its database, empty for the present one, and its seq.
pub type Key = (String, u64);

/// Returns the key of a row of the present database.
pub fn present(seq: u64) -> Key {
    (String::new(), seq)
}

/// The suspect rows of one upstream, over all its connections.
#[derive(Debug, Default)]
pub struct Suspects {
    under_way: BTreeSet<Key>,
    /// The rows that the calls over which connections ended have in common, and the number of calls.
    common: (BTreeSet<Key>, u32),
    alone: BTreeSet<Key>,
    rows: BTreeMap<Key, Suspect>,
}

#[derive(Debug, Default)]
struct Suspect {
    ends: u32,
    /// The platform took another row since the last end.
    other_taken: bool,
    /// The words of the failure, for which it stands aside.
    failed: Option<String>,
}

/// When a row goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Course {
    Now,
    /// When no other row waits.
    Last,
    /// Not at all: it stands aside, with the words of the failure.
    Aside(String),
}

impl Suspects {
    /// Notes that a call with these rows is under way.
    pub fn begins(&mut self, call: impl IntoIterator<Item = Key>) {
        self.under_way = call.into_iter().collect();
    }

    /// Notes that the call was answered, and whether the platform took or judged a row.
    pub fn answered(&mut self, taken: bool) {
        for key in std::mem::take(&mut self.under_way) {
            self.common.0.remove(&key);
            self.forget(&key);
        }
        if taken {
            self.rows.values_mut().for_each(|row| row.other_taken = true);
        }
    }

    /// Notes that a broker acknowledged one row of several on their way.
    pub fn taken(&mut self, key: Key) {
        self.begins([key]);
        self.answered(true);
    }

    /// Notes that the connection ended while these rows were on their way.
    pub fn ended_over(&mut self, rows: impl IntoIterator<Item = Key>, words: &str) {
        self.begins(rows);
        self.ended(words);
    }

    /// Notes that the connection ended. The words count if a call was under way.
    pub fn ended(&mut self, words: &str) {
        let call = std::mem::take(&mut self.under_way);
        if call.len() > 1 {
            let both = &self.common.0 & &call;
            let (rows, calls) = if both.is_empty() { (call, 0) } else { (both, self.common.1) };
            self.common = (rows, calls + 1);
            if self.common.1 >= ENDS {
                self.alone.extend(std::mem::take(&mut self.common).0);
            }
        } else if let Some(key) = call.into_iter().next() {
            if !self.rows.contains_key(&key) && self.rows.len() >= SUSPECTS {
                (self.rows, self.alone) = Default::default();
            }
            let row = self.rows.entry(key).or_default();
            row.ends += 1;
            let other_taken = std::mem::take(&mut row.other_taken);
            row.failed = (row.ends >= ENDS && other_taken).then(|| words.to_owned());
        }
    }

    /// Returns when a row goes.
    pub fn course(&self, key: &Key) -> Course {
        match self.rows.get(key) {
            Some(Suspect { failed: Some(words), .. }) => Course::Aside(words.clone()),
            Some(row) if row.ends >= ENDS && !row.other_taken => Course::Last,
            _ => Course::Now,
        }
    }

    /// Returns when a row goes over MQTT. `is_last`: no other row waits.
    pub fn turn(&self, key: &Key, is_last: bool) -> Turn {
        match self.course(key) {
            Course::Aside(_) => Turn::Aside,
            Course::Last if !is_last => Turn::Last,
            Course::Now if !self.goes_alone(key) => Turn::Now,
            Course::Last | Course::Now => Turn::Alone,
        }
    }

    /// Returns whether connections ended over a call of this row with others.
    pub fn is_to_go_alone(&self, key: &Key) -> bool {
        self.alone.contains(key)
    }

    /// Returns whether a row goes alone.
    pub fn goes_alone(&self, key: &Key) -> bool {
        self.alone.contains(key) || self.rows.contains_key(key)
    }

    /// Returns the row to try first among those that go last.
    pub fn first<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Option<&'a Key> {
        keys.min_by_key(|key| (self.rows.get(key).map(|row| row.ends), *key))
    }

    /// Returns whether connections ended over rows of which it is not known yet whether they are the
    /// reason.
    pub fn has_doubts(&self) -> bool {
        let judged = self.rows.values().all(|row| row.failed.is_some());
        self.common.1 > 0 || !self.alone.is_empty() || !judged
    }

    /// Returns whether a record of a database that was set aside goes alone.
    pub fn has_earlier(&self) -> bool {
        self.alone.iter().chain(self.rows.keys()).any(|(place, _)| !place.is_empty())
    }

    /// Forgets the rows of the present database that are offered again.
    pub fn forget_between(&mut self, first: u64, last: u64) {
        let is_other = |(place, seq): &Key| !place.is_empty() || !(first..=last).contains(seq);
        self.alone.retain(is_other);
        self.rows.retain(|key, _| is_other(key));
    }

    /// Forgets a row.
    pub fn forget(&mut self, key: &Key) {
        self.alone.remove(key);
        self.rows.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bad_rows_in_a_row_hold_the_next_one_up_no_longer_than_they_are_tried() {
        let (mut suspects, bad) = (Suspects::default(), 0..100);
        for seq in bad.clone() {
            for _ in 0..ENDS {
                assert_eq!(suspects.course(&present(seq)), Course::Now);
                suspects.ended_over([present(seq)], "cut");
            }
        }
        assert!(bad.clone().all(|seq| suspects.course(&present(seq)) == Course::Last));
        assert_eq!(suspects.course(&present(100)), Course::Now);
        suspects.taken(present(100));
        for seq in bad {
            suspects.ended_over([present(seq)], "cut");
            assert_eq!(suspects.course(&present(seq)), Course::Aside("cut".to_owned()));
        }
    }
}
