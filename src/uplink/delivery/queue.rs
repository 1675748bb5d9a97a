//! The rows of one lane of a delivery.

use std::collections::{BTreeSet, VecDeque};

use super::Delivery;

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Rows up to this seq were read.
    pub(super) cursor: u64,
    /// Rows up to this seq were handed to the client on this connection.
    pub(super) handed: u64,
    pub(super) until: u64,
    /// No row is left to read for now.
    pub(super) dry: bool,
    pub(super) ready: VecDeque<(u64, T)>,
    /// Rows that the broker has acknowledged and the platform has not.
    pub(super) awaited: BTreeSet<u64>,
}

impl<T> Queue<T> {
    pub(super) fn new(after: u64, until: u64) -> Queue<T> {
        let (ready, awaited) = (VecDeque::new(), BTreeSet::new());
        Queue { cursor: after, handed: after, until, dry: false, ready, awaited }
    }

    /// Returns the first row that was not handed to the client yet; where more may be read, the
    /// first seq that may be one.
    pub(super) fn unsent(&self) -> Option<u64> {
        let ready = self.ready.front().map(|(seq, _)| *seq);
        ready.or_else(|| (!self.dry).then_some(self.cursor + 1))
    }
}

impl<T> Delivery<T> {
    /// Returns the number of rows that were read and are ready to go.
    pub fn ready(&self) -> usize {
        self.backlog.ready.len() + self.fresh.ready.len()
    }

    /// Whether no row is on its way to the broker, and none is ready to go.
    pub fn is_quiet(&self) -> bool {
        self.is_idle() && self.backlog.dry && self.ready() == 0
    }
}
