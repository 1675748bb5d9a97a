//! The accuracy of the gate's recognition on a set of photos, a folder for each person.
//!
//! In: the photos' bytes, then their templates. Out: the error rates with their intervals, and a
//! curve of them. Touches nothing but the models. Each photo is examined as an enrolment photo and
//! as a camera's frame, by the code of both. The rest is computed from the templates, so that a set
//! is embedded once. The same photos give the same numbers.
//!
//! | file | what it does |
//! |---|---|
//! | `photos` | a photo to its two templates, or why it has none |
//! | `rates` | thresholds and shares of scores; intervals by people |
//! | `chance` | the choice of people and photos, which is the same in each run |
//! | `verify` | one photo against one photo: is it the same person (1:1) |
//! | `identify` | one photo against a roster: which worker, or a stranger (1:N) |
//! | `presentation` | photos before the camera against living people |
//! | `twice` | one person in the folders of two |
//! | `det` | the curve as SVG |
//!
//! Errors are by person: a few people have most of them. So an interval is of other people, not of
//! other photos: it comes from choosing the people again and again with repetition (bootstrap).

mod chance;
mod det;
mod identify;
mod photos;
mod presentation;
mod rates;
mod twice;
mod verify;

use serde::Serialize;

pub use self::{
    det::det,
    identify::{AtGate, Identification, identification},
    photos::{Examined, Lacks, examine},
    presentation::{Mistaken, Shown, judge, mistaken},
    twice::twice,
    verify::{Verification, verification},
};
use crate::{config::Recognition, vision::Template};

/// The two templates of a photo. One that could not be made is absent.
pub struct Photo {
    /// As an enrolment photo.
    pub enrolled: Option<Template>,
    /// As a frame of the gate's camera.
    pub seen: Option<Template>,
}

/// The photos of each person.
pub type People = Vec<Vec<Photo>>;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub recognition: Recognition,
    /// Share of the mean template in a score; see [`crate::roster::SHARE_OF_MEAN`].
    pub share_of_mean: f32,
    /// Number of a visit's looks whose mean is compared.
    pub looks: usize,
}

/// A rate with its interval, or the number of samples that it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured {
    Rate {
        rate: f64,
        /// The middle 95 % of the rate among other people.
        interval: [f64; 2],
    },
    /// The rate is not known: it needs this number of pairs, or of looks at strangers.
    Needs(usize),
}

impl Measured {
    pub fn rate(&self) -> Option<f64> {
        match self {
            Measured::Rate { rate, .. } => Some(*rate),
            Measured::Needs(_) => None,
        }
    }
}

/// A measured rate at one share of strangers.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The share of strangers, as JSON has it.
    pub name: &'static str,
    pub share: f64,
    pub found: Measured,
}

/// A point of a curve: the share of strangers who are accepted, and of workers who are missed.
pub type Point = [f64; 2];

/// The number of people and photos of a set.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    pub people: usize,
    pub photos: usize,
    pub enrolled: usize,
    pub seen: usize,
}

impl Counts {
    pub fn of(people: &People) -> Counts {
        let photos = || people.iter().flatten();
        Counts {
            people: people.iter().filter(|photos| !photos.is_empty()).count(),
            photos: photos().count(),
            enrolled: photos().filter(|photo| photo.enrolled.is_some()).count(),
            seen: photos().filter(|photo| photo.seen.is_some()).count(),
        }
    }
}

#[cfg(test)]
mod tests;
