//! The match threshold: a fixed one, or by default the one that follows the size of the roster.
//!
//! The more templates a roster has, the more often a stranger is similar to one of them. On held-out
//! people the share of strangers who reach a cosine grows with the number of templates, and falls to
//! a tenth for each 0.05 of the cosine:
//!
//! `share = templates * 0.00002 * 10 ^ ((0.45 - cosine) / 0.05)`
//!
//! | templates | share at 0.45: measured, formula | share at 0.50 | cosine for 0.3 % |
//! |---|---|---|---|
//! | 250 | 0.53 %, 0.50 % | 0.05 %, 0.05 % | 0.461, 0.462 |
//! | 750 | 1.43 %, 1.50 % | 0.13 %, 0.15 % | 0.481, 0.485 |
//! | 1,000 | 2.03 %, 2.00 % | 0.22 %, 0.20 % | 0.491, 0.492 |
//! | 2,694 | 5.02 %, 5.39 % | 0.53 %, 0.54 % | 0.510, 0.513 |
//!
//! `docs/operate/accuracy.md` says how this was measured.

use serde::{Deserialize, Serialize};

use super::value::within;

/// Maximum share of strangers that the default threshold lets in.
pub const STRANGERS: f64 = 0.003;
/// Minimum of the default threshold. Below it two photos of different people are alike too often.
const LEAST: f64 = 0.45;
/// Share of strangers who reach [`LEAST`] with a roster of one template.
const AT_LEAST: f64 = 2e-5;
/// Rise of the cosine with which that share falls to a tenth.
const TENTH: f64 = 0.05;
/// Steps of the default threshold; it is rounded up.
const STEPS: f64 = 1000.0;

/// The cosine similarity from which on two templates are the same person.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f32")]
pub struct MatchThreshold(f32);

impl MatchThreshold {
    /// Returns `None` outside 0.3 to 1. Below 0.3 many strangers would pass.
    pub fn new(cosine: f32) -> Option<Self> {
        Self::try_from(cosine).ok()
    }

    pub fn cosine(self) -> f32 {
        self.0
    }

    /// Returns the expected share of strangers whose face matches one of the templates, 0 to 1.
    pub fn strangers(self, templates: usize) -> f64 {
        let one = AT_LEAST * 10_f64.powf((LEAST - f64::from(self.0)) / TENTH);
        (templates as f64 * one).min(1.0)
    }
}

impl TryFrom<f32> for MatchThreshold {
    type Error = String;

    fn try_from(cosine: f32) -> Result<Self, String> {
        within(cosine, 0.3..=1.0).map(Self)
    }
}

/// How the match threshold is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "MatchThreshold")]
pub enum Threshold {
    /// It follows the number of templates on the roster.
    #[default]
    ByRoster,
    Fixed(MatchThreshold),
}

impl From<MatchThreshold> for Threshold {
    fn from(fixed: MatchThreshold) -> Threshold {
        Threshold::Fixed(fixed)
    }
}

impl Threshold {
    /// Returns the threshold in force while the roster has this number of templates.
    pub fn in_force(self, templates: usize) -> MatchThreshold {
        match self {
            Threshold::Fixed(fixed) => fixed,
            Threshold::ByRoster => {
                let most = STRANGERS / AT_LEAST;
                let cosine = LEAST + TENTH * (templates.max(1) as f64 / most).log10();
                let rounded = (cosine * STEPS).ceil() / STEPS;
                MatchThreshold(rounded.clamp(LEAST, 1.0) as f32)
            }
        }
    }

    /// Returns the expected share of strangers who are let in, if a fixed threshold is too low for
    /// this number of templates.
    pub fn too_low(self, templates: usize) -> Option<f64> {
        let Threshold::Fixed(fixed) = self else { return None };
        // A millionth is the rounding of a cosine.
        Some(fixed.strangers(templates)).filter(|share| share - STRANGERS > 1e-6)
    }
}

#[cfg(test)]
mod tests;
