//! Bursts: many unknown faces in a short time. A person tries photos or masks, or workers are
//! missing on the roster.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Monotonic;

/// Finds bursts at one lane.
#[derive(Debug)]
pub struct Burst {
    /// Minimum number of unknown faces in a burst.
    limit: usize,
    within: Duration,
    /// The lane's count at the last check.
    counted: u64,
    /// Times of the latest faces, at most `limit`.
    latest: VecDeque<Monotonic>,
    /// Begin of the current burst, and the number of faces in it.
    under_way: Option<(Monotonic, u64)>,
}

impl Burst {
    pub fn new(limit: usize, within: Duration) -> Burst {
        let latest = VecDeque::with_capacity(limit);
        Burst { limit: limit.max(1), within, counted: 0, latest, under_way: None }
    }

    /// Returns the begin of the current burst, and the number of faces in it. `counted`: visits of
    /// unknown faces since the start. A burst is over when no unknown face came within `within`.
    pub fn look(&mut self, now: Monotonic, counted: u64) -> Option<(Monotonic, u64)> {
        let fresh = counted.saturating_sub(self.counted);
        self.counted = counted;
        while self.latest.front().is_some_and(|at| now.since(*at) >= self.within) {
            self.latest.pop_front();
        }
        for _ in 0..fresh.min(self.limit as u64) {
            if self.latest.len() >= self.limit {
                self.latest.pop_front();
            }
            self.latest.push_back(now);
        }
        match &mut self.under_way {
            Some((_, count)) => *count = count.saturating_add(fresh),
            None if self.latest.len() >= self.limit => {
                let since = self.latest.front().copied().unwrap_or(now);
                self.under_way = Some((since, fresh.max(self.limit as u64)));
            }
            None => {}
        }
        if self.latest.is_empty() {
            self.under_way = None;
        }
        self.under_way
    }
}

#[cfg(test)]
mod tests;
