//! One photo against one photo (1:1): the enrolment of the one, and the frame of the other.

use super::{
    At, Measured, People, Point,
    rates::{Sample, below, curve, equal_error, measured, sort, threshold},
};

/// Maximum number of pairs of two people that are compared; of more pairs every second, third and
/// so on is.
const MOST_PAIRS: usize = 2_000_000;
/// The shares of pairs of two people at which the rate is given.
const FARS: [(&str, f64); 2] = [("1e-3", 1e-3), ("1e-4", 1e-4)];

/// Error rates of pairs of photos.
#[derive(Clone, Debug)]
pub struct Verification {
    /// Number of compared pairs of one person, and of two people.
    pub own_pairs: usize,
    pub other_pairs: usize,
    /// Equal error rate; `Needs` a pair of each kind.
    pub eer: Measured,
    /// Share of own pairs that are accepted (TAR), at two shares of accepted others (FAR).
    pub tar_at_far: Vec<At>,
    pub curve: Vec<Point>,
}

/// Measures how well two photos of one person are told from photos of two people.
pub fn verification(people: &People) -> Verification {
    let photos: Vec<(u32, &super::Photo)> = (0..)
        .zip(people)
        .flat_map(|(person, photos)| photos.iter().map(move |p| (person, p)))
        .collect();
    let pairs = photos.len().saturating_sub(1) * photos.len() / 2;
    let step = pairs.div_ceil(MOST_PAIRS).max(1);
    let (mut own, mut others, mut count) = (Vec::new(), Vec::new(), 0_usize);
    for (at, (one, photo)) in photos.iter().enumerate() {
        let Some(face) = &photo.enrolled else { continue };
        for (two, photo) in photos.iter().skip(at + 1) {
            let Some(seen) = &photo.seen else { continue };
            if one == two {
                own.push(Sample { score: face.cosine(seen), person: *one, other: None });
                continue;
            }
            count += 1;
            if count.is_multiple_of(step) {
                others.push(Sample { score: face.cosine(seen), person: *one, other: Some(*two) });
            }
        }
    }
    sort(&mut own);
    sort(&mut others);
    let (own, others) = (own, others);
    let eer = measured(people.len(), |weights| equal_error(&own, &others, weights));
    let tar = |(name, share): (&'static str, f64)| {
        let least = (1.0 / share).round() as usize;
        let rate =
            |weights: &[f64]| Some(1.0 - below(&own, weights, threshold(&others, weights, share))?);
        let found = match others.len() >= least {
            true => measured(people.len(), rate).unwrap_or(Measured::Needs(least)),
            false => Measured::Needs(least),
        };
        At { name, share, found }
    };
    Verification {
        own_pairs: own.len(),
        other_pairs: others.len(),
        eer: eer.unwrap_or(Measured::Needs(1)),
        tar_at_far: FARS.into_iter().map(tar).collect(),
        curve: curve(&own, &others, &vec![1.0; people.len()]),
    }
}
