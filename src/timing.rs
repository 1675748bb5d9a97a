//! Durations of the stages of a passage.
//!
//! In: durations, from any thread; the caller's [`Clock`] measures them. Out: their [`Spread`], for
//! `gatehouse status` and the metrics. Touches nothing.

#![warn(missing_docs)]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Clock;

/// Upper bounds of the buckets; the last bucket has none. The bounds are close together where a
/// gate's times lie.
const BOUNDS_MS: [u64; 19] =
    [1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000, 2000, 3000, 5000];

/// Counts durations by size.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS_MS.partition_point(|bound| took > Duration::from_millis(*bound));
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Measures the duration of `work` and counts it.
    pub fn time<T>(&self, clock: &dyn Clock, work: impl FnOnce() -> T) -> T {
        let begun = clock.monotonic();
        let done = work();
        self.observe(clock.monotonic().since(begun));
        done
    }

    /// Returns the counts until now.
    pub fn spread(&self) -> Spread {
        let bounds = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1000.0).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let sum_s = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        Spread { buckets: bounds.zip(counts).collect(), sum_s }
    }
}

/// A [`Histogram`] at one moment; seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// Each bucket's upper bound and its own count (not cumulative).
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all durations.
    pub sum_s: f64,
}

impl Spread {
    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Returns the mean; `None` if there is no duration.
    pub fn mean_s(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_s / count as f64)
    }

    /// Returns the quantile `part` (0 to 1), interpolated within its bucket as Prometheus does;
    /// `None` if there is no duration.
    pub fn quantile_s(&self, part: f64) -> Option<f64> {
        let rank = part * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, count) in self.buckets.iter().filter(|_| self.count() > 0) {
            let count = *count as f64;
            if below + count >= rank {
                let within = if count > 0.0 { (rank - below) / count } else { 1.0 };
                // The last bucket has no upper bound: the result is its lower bound.
                return Some(if upper.is_finite() {
                    lower + (upper - lower) * within
                } else {
                    lower
                });
            }
            (below, lower) = (below + count, *upper);
        }
        None
    }
}

/// The stages of a frame and of a passage. The commit is measured by the store.
#[derive(Debug, Default)]
pub struct Stages {
    /// A frame's thumbnail and the motion in it: of every frame that a vision worker takes.
    pub glance: Histogram,
    /// Decoding for a search and decoding for a face; each is one duration.
    pub decode: Histogram,
    /// The search for faces.
    pub detect: Histogram,
    /// A face made into a template.
    pub embed: Histogram,
    /// A template compared with the roster.
    pub matching: Histogram,
    /// From the frame that decided to the grant, before it is committed.
    pub decision: Histogram,
    /// From the same frame to the turnstile's acknowledgement of the release.
    pub release: Histogram,
}

#[cfg(test)]
mod tests;
