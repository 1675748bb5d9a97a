//! Rows over which connections end: they go alone, or when no other row waits.

use std::collections::BTreeSet;

use super::Delivery;

/// When a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// When no other row is on its way, and none follows until the broker has acknowledged it.
    Alone,
    /// When no other row waits.
    Last,
    /// Not over this connection.
    Aside,
}

#[derive(Debug, Default)]
pub(super) struct PutOff {
    alone: Option<u64>,
    last: BTreeSet<u64>,
}

impl PutOff {
    /// Takes in whose turn it is. Returns whether the row does not go now.
    pub(super) fn passes_over(&mut self, seq: u64, turn: Turn) -> bool {
        match turn {
            Turn::Now => false,
            Turn::Alone => {
                self.alone = Some(seq);
                false
            }
            Turn::Last => {
                self.last.insert(seq);
                true
            }
            Turn::Aside => true,
        }
    }

    /// Takes in that rows are read again.
    pub(super) fn offer(&mut self, first: u64, last: u64) {
        self.last.retain(|seq| !(first..=last).contains(seq));
    }

    /// Returns the first row that the broker has not got yet for being put off.
    pub(super) fn first(&self) -> Option<u64> {
        self.last.first().copied()
    }
}

impl<T> Delivery<T> {
    /// Whether a row that goes alone is on its way.
    pub(super) fn one_goes_alone(&self) -> bool {
        self.put_off.alone.is_some_and(|seq| self.busy.contains(&seq))
    }

    /// Returns the rows that the broker has not acknowledged.
    pub fn on_their_way(&self) -> impl Iterator<Item = u64> {
        self.busy.iter().copied()
    }

    /// Returns the rows that go last, if no other row waits and they may go now.
    pub fn last_ones(&self) -> impl Iterator<Item = u64> {
        let is_their_turn = self.is_quiet() && self.wants().is_none();
        self.put_off.last.iter().copied().filter(move |_| is_their_turn)
    }
}
