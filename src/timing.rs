//! How long the stages of a passage take.
//!
//! In: durations, from any thread; who measures reads the [`Clock`]. Out: their [`Spread`], for
//! `gatehouse status` and the metrics. Touches nothing.

#![warn(missing_docs)]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::Clock;

/// Returns a count with its noun: `1 worker`, `2 workers`, `3 entries`. `one`: the singular.
pub fn counted<N: std::fmt::Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    if count == N::from(1) {
        return format!("{count} {one}");
    }
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {one}s"),
    }
}

/// Upper bounds of the buckets; the last one has none. Close together where a gate's times lie.
const BOUNDS_MS: [u64; 19] =
    [1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000, 2000, 3000, 5000];

/// Counts durations by size.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS_MS.partition_point(|bound| took > Duration::from_millis(*bound));
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Observes how long `work` takes.
    pub fn time<T>(&self, clock: &dyn Clock, work: impl FnOnce() -> T) -> T {
        let begun = clock.monotonic();
        let done = work();
        self.observe(clock.monotonic().since(begun));
        done
    }

    /// Returns what was observed until now.
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
    /// Each bucket's upper bound and what is in it alone.
    pub buckets: Vec<(f64, u64)>,
    /// All durations together.
    pub sum_s: f64,
}

impl Spread {
    /// Returns how many were observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// `None` where nothing was observed.
    pub fn mean_s(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_s / count as f64)
    }

    /// So large a part was no slower; estimated within its bucket, as Prometheus does.
    pub fn quantile_s(&self, part: f64) -> Option<f64> {
        let rank = part * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, count) in self.buckets.iter().filter(|_| self.count() > 0) {
            let count = *count as f64;
            if below + count >= rank {
                let within = if count > 0.0 { (rank - below) / count } else { 1.0 };
                // Beyond the last bound nothing more is known.
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
    /// A frame's thumbnail, and whether something moves in it: of every frame that is looked at.
    pub glance: Histogram,
    /// What a search needs of a frame, and what its face needs; each by itself.
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
