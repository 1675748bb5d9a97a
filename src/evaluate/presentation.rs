//! How many photos and other imitations a liveness model takes for a living person, and how many
//! living people for a photo. Pure but for the models.
//!
//! The two rates have the names of ISO/IEC 30107-3 (APCER, BPCER). They are no test by that standard.

use std::sync::Arc;

use super::{
    Measured,
    photos::{self, Lacks},
    rates::{self, Sample},
};
use crate::{
    camera::Picture,
    config::Recognition,
    gate::vision_pool::{GATE_LONGEST_SIDE, Lost},
    vision::{View, Vision},
};

/// The scores of one kind of presentation: living people, or one material.
pub struct Shown {
    pub name: String,
    /// The scores of each person's photos.
    pub people: Vec<Vec<f32>>,
    /// Number of photos that gave no score.
    pub not_judged: usize,
}

/// The share of a kind's photos that are taken for the other kind.
pub struct Mistaken {
    pub people: usize,
    pub judged: usize,
    /// `None` if no photo was judged.
    pub share: Option<Measured>,
}

/// Judges one photo as the gate judges a frame.
pub fn judge(vision: &Vision, bytes: Vec<u8>, rules: &Recognition) -> Result<f32, Lacks> {
    let bytes = photos::readable(bytes).ok_or(Lacks::Unreadable)?;
    let found = || {
        let picture = Picture::Encoded(Arc::from(bytes));
        let view = View::new(&picture)?;
        let small = view.for_detection(GATE_LONGEST_SIDE)?;
        let faces = vision.detect(small.image(), GATE_LONGEST_SIDE)?;
        let faces = faces.into_iter().map(|face| small.in_frame(face));
        let Some(face) = faces.max_by(|a, b| a.bbox.w.total_cmp(&b.bbox.w)) else {
            return Ok(Err(Lacks::NoFace));
        };
        if face.bbox.w < rules.min_face_px {
            return Ok(Err(Lacks::TooSmall));
        }
        let score = view.for_face(&face, small)?.liveness(vision, &face)?;
        Ok(score.ok_or(Lacks::Failed))
    };
    found().unwrap_or_else(|lost: Lost| {
        Err(match lost {
            Lost::Decoding(_) => Lacks::Unreadable,
            Lost::Model(_) => Lacks::Failed,
        })
    })
}

/// Returns the share of photos on the wrong side of the threshold: below it of living people
/// (BPCER), and not below it of a material (APCER).
pub fn mistaken(shown: &Shown, live: bool, threshold: f32) -> Mistaken {
    let people = (0..).zip(&shown.people);
    let mut samples: Vec<Sample> = people
        .flat_map(|(person, scores)| {
            scores.iter().map(move |score| Sample { score: *score, person, other: None })
        })
        .collect();
    rates::sort(&mut samples);
    let share = rates::measured(shown.people.len(), |weights| {
        let below = rates::below(&samples, weights, threshold)?;
        Some(if live { below } else { 1.0 - below })
    });
    let people = shown.people.iter().filter(|scores| !scores.is_empty()).count();
    Mistaken { people, judged: samples.len(), share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_on_the_wrong_side_of_the_threshold_is_a_mistake() {
        let shown = |people| Shown { name: "x".to_owned(), people, not_judged: 0 };
        let live = shown(vec![vec![0.9, 0.5], vec![0.49, 0.9], Vec::new()]);
        let found = mistaken(&live, true, 0.5);
        assert_eq!((found.people, found.judged), (2, 4));
        assert_eq!(found.share.unwrap().rate(), Some(0.25));
        let print = shown(vec![vec![0.5], vec![0.1, 0.2, 0.3]]);
        let Some(Measured::Rate { rate, interval: [from, to] }) =
            mistaken(&print, false, 0.5).share
        else {
            panic!("no rate")
        };
        assert!(rate == 0.25 && from == 0.0 && to == 1.0, "{rate} {from} {to}");
        assert!(mistaken(&shown(vec![Vec::new()]), true, 0.5).share.is_none());
    }
}
