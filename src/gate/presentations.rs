//! The usual liveness scores of a camera, and the threshold that they give. Pure.
//!
//! In: the scores of granted visits. Out: the score below which a visit is unlike the others. Light,
//! lens and background differ from camera to camera, and a model's scores differ with them.

use serde::{Deserialize, Serialize};

/// Number of days whose visits count.
const DAYS: i64 = 7;
/// Minimum number of visits that give a threshold.
pub const VISITS_LEAST: u32 = 200;
/// Part of the granted visits that may be below the threshold.
const BELOW: f64 = 0.02;
/// Maximum threshold: a visit above it is never low.
const MOST: f64 = 0.5;
/// Number of steps of a score.
const STEPS: usize = 100;

/// The scores of the granted visits at one camera, by day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usual {
    /// Each day since 1970, with its number of visits for each score in hundredths.
    days: Vec<(i64, Vec<u32>)>,
}

impl Usual {
    /// Adds a granted visit. A visit of an earlier week is left out.
    pub fn add(&mut self, day: i64, score: f64) {
        let newest = self.days.iter().map(|(day, _)| *day).max().unwrap_or(day).max(day);
        self.days.retain(|(day, _)| newest - *day < DAYS);
        if newest - day >= DAYS {
            return;
        }
        let at = match self.days.iter().position(|(known, _)| *known == day) {
            Some(at) => at,
            None => {
                self.days.push((day, vec![0; STEPS + 1]));
                self.days.len() - 1
            }
        };
        let step = (score.clamp(0.0, 1.0) * STEPS as f64) as usize;
        if let Some(count) = self.days.get_mut(at).and_then(|(_, steps)| steps.get_mut(step)) {
            *count = count.saturating_add(1);
        }
    }

    /// Returns the number of visits of the week.
    pub fn visits(&self) -> u32 {
        self.steps().fold(0, u32::saturating_add)
    }

    fn steps(&self) -> impl Iterator<Item = u32> {
        let of = |step| {
            let count = |(_, steps): &(i64, Vec<u32>)| steps.get(step).copied().unwrap_or(0);
            self.days.iter().map(count).fold(0, u32::saturating_add)
        };
        (0..=STEPS).map(of)
    }

    /// Returns the score below which a visit is low; `None` before there are enough visits.
    pub fn threshold(&self) -> Option<f64> {
        let visits = self.visits();
        let may = f64::from(visits) * BELOW;
        let mut below = 0.0;
        let step = self.steps().position(|count| {
            below += f64::from(count);
            below > may
        });
        let threshold = step.unwrap_or(STEPS) as f64 / STEPS as f64;
        (visits >= VISITS_LEAST).then(|| threshold.min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_threshold_needs_two_hundred_visits_of_one_week() {
        let mut usual = Usual::default();
        for n in 0..199 {
            usual.add(20_000 + n / 40, 0.9);
        }
        assert_eq!((usual.visits(), usual.threshold()), (199, None));
        usual.add(20_004, 0.9);
        assert_eq!(usual.threshold(), Some(MOST));
        usual.add(19_000, 0.1);
        assert_eq!(usual.visits(), 200, "an earlier week");
        usual.add(20_010, 0.9);
        assert_eq!((usual.visits(), usual.days.len()), (41, 2));
    }

    proptest! {
        /// At most 2 % of the visits are below the threshold, and what is kept is bounded.
        #[test]
        fn few_granted_visits_are_low(scores in prop::collection::vec((0_i64..9, 0.0_f64..1.0), 200..600)) {
            let mut usual = Usual::default();
            for (day, score) in &scores {
                usual.add(20_000 + day, *score);
            }
            prop_assert!(usual.days.len() <= DAYS as usize);
            let kept = serde_json::to_vec(&usual).unwrap();
            prop_assert!(kept.len() < 8192);
            prop_assert_eq!(&serde_json::from_slice::<Usual>(&kept).unwrap(), &usual);
            if let Some(threshold) = usual.threshold() {
                let low: u32 = usual.steps().take((threshold * STEPS as f64).round() as usize).sum();
                prop_assert!(f64::from(low) <= BELOW * f64::from(usual.visits()));
                prop_assert!(threshold <= MOST);
            }
        }
    }
}
