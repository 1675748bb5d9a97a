//! A budget of entries: a sensor that chatters, or pictures shown in turn, must not fill the disk.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Monotonic;

/// Time to which a budget applies.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The times of the latest entries: at most `MOST` within [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Budget<const MOST: usize>(VecDeque<Monotonic>);

impl<const MOST: usize> Budget<MOST> {
    /// Spends one entry. Returns false if the budget is used up: the caller counts the entry.
    pub(super) fn spend(&mut self, now: Monotonic) -> bool {
        while self.0.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            self.0.pop_front();
        }
        let left = self.0.len() < MOST;
        if left {
            self.0.push_back(now);
        }
        left
    }
}
