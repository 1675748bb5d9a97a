//! Shares of scores above a threshold, thresholds for a share, and intervals by people. Pure.
//!
//! Samples are sorted by [`sort`], highest first. A weight says how often a person is chosen. A pair
//! of two people counts as often as both are chosen.

use super::{Measured, Point, chance::Chance};

/// Number of choices of people from which an interval is made.
const CHOICES: u64 = 200;
/// Part of the choices beyond each end of an interval: 95 % are within.
const BEYOND: f64 = 0.025;

/// A score, and the people of whom it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub score: f32,
    pub person: u32,
    /// The other person of a pair.
    pub other: Option<u32>,
}

impl Sample {
    fn weight(&self, weights: &[f64]) -> f64 {
        let of = |person: u32| weights.get(person as usize).copied().unwrap_or(0.0);
        of(self.person) * self.other.map_or(1.0, of)
    }
}

pub(super) fn sort(samples: &mut [Sample]) {
    samples.sort_by(|a, b| b.score.total_cmp(&a.score));
}

fn total(samples: &[Sample], weights: &[f64]) -> f64 {
    // The sum of nothing is -0.0.
    samples.iter().fold(0.0, |sum, sample| sum + sample.weight(weights))
}

/// Returns the lowest threshold that at most this share of the samples reaches.
pub(super) fn threshold(sorted: &[Sample], weights: &[f64], share: f64) -> f32 {
    // A sum of weights is a whole number, and the share of it is not exact.
    let most = share * total(sorted, weights) + 1e-6;
    let mut reached = 0.0;
    for equal in sorted.chunk_by(|a, b| a.score == b.score) {
        reached += total(equal, weights);
        if let Some(first) = equal.first().filter(|_| reached > most) {
            return first.score.next_up();
        }
    }
    f32::MIN
}

/// Returns the share of the samples below a threshold; `None` without samples.
pub(super) fn below(sorted: &[Sample], weights: &[f64], threshold: f32) -> Option<f64> {
    let (reach, rest) = sorted.split_at(sorted.partition_point(|s| s.score >= threshold));
    let (reach, rest) = (total(reach, weights), total(rest, weights));
    Some(rest / (reach + rest)).filter(|share| share.is_finite())
}

/// Returns the equal error rate: the share of own pairs that a threshold misses, where it accepts
/// the same share of the others' pairs; `None` without samples. Between two thresholds the higher of
/// both shares counts.
pub(super) fn equal_error(own: &[Sample], others: &[Sample], weights: &[f64]) -> Option<f64> {
    let (all_own, all_others) = (total(own, weights), total(others, weights));
    if all_own <= 0.0 || all_others <= 0.0 {
        return None;
    }
    let (mut missed, mut accepted) = (all_own, 0.0);
    let mut least = 1.0_f64;
    let mut waiting = own.chunk_by(|a, b| a.score == b.score).peekable();
    let mut reaches = |score: f32, missed: &mut f64| {
        while let Some(equal) = waiting.next_if(|own| own.first().is_some_and(|s| s.score >= score))
        {
            *missed -= total(equal, weights);
        }
    };
    for equal in others.chunk_by(|a, b| a.score == b.score) {
        let Some(first) = equal.first() else { continue };
        // The threshold just above these scores, then the one at them.
        reaches(first.score.next_up(), &mut missed);
        least = least.min((missed / all_own).max(accepted / all_others));
        accepted += total(equal, weights);
        reaches(first.score, &mut missed);
        least = least.min((missed / all_own).max(accepted / all_others));
        if accepted / all_others >= missed / all_own {
            break;
        }
    }
    reaches(f32::MIN, &mut missed);
    Some(least.min((missed / all_own).max(accepted / all_others)))
}

/// Returns a rate of all people with its interval. `rate` takes the weights of the people.
pub(super) fn measured(
    people: usize,
    rate: impl Fn(&[f64]) -> Option<f64> + Sync,
) -> Option<Measured> {
    let found = rate(&vec![1.0; people])?;
    let mut chosen: Vec<f64> = (0..CHOICES)
        .filter_map(|choice| rate(&Chance::of(choice).weights(people)))
        .filter(|rate| rate.is_finite())
        .collect();
    chosen.sort_by(f64::total_cmp);
    let last = chosen.len().saturating_sub(1) as f64;
    let at = |part: f64| chosen.get((part * last).round() as usize).copied().unwrap_or(found);
    Some(Measured::Rate { rate: found, interval: [at(BEYOND), at(1.0 - BEYOND)] })
}

/// Returns the curve of both errors, from few accepted strangers to many.
pub(super) fn curve(own: &[Sample], strangers: &[Sample], weights: &[f64]) -> Vec<Point> {
    /// Points of a curve for each tenfold share.
    const POINTS: i32 = 10;
    let least = 1.0 / total(strangers, weights).max(1.0);
    let shares = (-6 * POINTS..=0).map(|n| 10_f64.powf(f64::from(n) / f64::from(POINTS)));
    let points = shares.filter(|share| *share >= least).filter_map(|share| {
        let missed = below(own, weights, threshold(strangers, weights, share))?;
        Some([share, missed])
    });
    points.collect()
}
