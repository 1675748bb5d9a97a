//! Faces that nobody knows, many in a short time: somebody tries faces or masks, or those who come
//! are not on the roster.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Monotonic;

/// One lane's.
#[derive(Debug)]
pub struct Burst {
    /// So many make one.
    limit: usize,
    within: Duration,
    /// What the lane had counted.
    counted: u64,
    /// When the latest came; as many as make a burst.
    latest: VecDeque<Monotonic>,
    /// Since when there is one, and how many have come in it.
    under_way: Option<(Monotonic, u64)>,
}

impl Burst {
    pub fn new(limit: usize, within: Duration) -> Burst {
        let latest = VecDeque::with_capacity(limit);
        Burst { limit: limit.max(1), within, counted: 0, latest, under_way: None }
    }

    /// `counted`: visits of unknown faces since the start. Since when a burst is under way, and how
    /// many came in it; it is over when none came for the whole time.
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
