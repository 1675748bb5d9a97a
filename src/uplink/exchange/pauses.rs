//! Topics whose rows the platform does not take for now: a team, a session. Pure.
//!
//! The rows of such a topic wait aside until its pause is over, so that they hold up no others.

use std::collections::{BTreeMap, BTreeSet};

use crate::{clock::Monotonic, uplink::delivery::REFUSED_PAUSE};

/// Maximum number of rows that wait aside. Beyond it no further row is read.
pub const PAUSED: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Pauses {
    topics: BTreeMap<String, (Monotonic, BTreeSet<u64>)>,
}

impl Pauses {
    /// Returns whether a topic's rows wait.
    pub fn holds(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub fn has_room(&self) -> bool {
        self.topics.values().map(|(_, rows)| rows.len()).sum::<usize>() < PAUSED
    }

    /// Adds a row to a topic that waits, or begins its pause.
    pub fn put(&mut self, topic: &str, seq: u64, now: Monotonic) {
        let pause = || (now + REFUSED_PAUSE, BTreeSet::new());
        self.topics.entry(topic.to_owned()).or_insert_with(pause).1.insert(seq);
    }

    /// Ends the pause of a topic, if one is over. Returns the first and the last of its rows.
    pub fn over(&mut self, now: Monotonic) -> Option<(u64, u64)> {
        let over = self.topics.iter().find(|(_, (until, _))| now >= *until);
        let topic = over.map(|(topic, _)| topic.clone())?;
        let (_, rows) = self.topics.remove(&topic)?;
        Some((*rows.first()?, *rows.last()?))
    }

    /// Ends all pauses at the next look.
    pub fn end(&mut self, now: Monotonic) {
        self.topics.values_mut().for_each(|(until, _)| *until = now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_pauses_with_its_rows_and_no_other_topic_does() {
        let now = Monotonic::default();
        let mut pauses = Pauses::default();
        for seq in [3, 9, 5] {
            pauses.put("T1", seq, now);
        }
        assert!(pauses.holds("T1") && !pauses.holds("T2") && pauses.has_room());
        assert_eq!(pauses.over(now), None);
        assert_eq!(pauses.over(now + REFUSED_PAUSE), Some((3, 9)));
        assert!(!pauses.holds("T1"));
        pauses.put("T2", 4, now);
        pauses.end(now);
        assert_eq!((pauses.over(now), pauses.over(now)), (Some((4, 4)), None));
    }
}
