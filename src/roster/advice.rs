//! What a worker's photos lack, and which further photo would help. Pure.
//!
//! Measured on the ORL set of faces, looks at workers that are refused at 0.50:
//!
//! | photos of each worker | people 1 to 20 | people 21 to 40 |
//! |---|---|---|
//! | one | 0.90 % | 2.44 % |
//! | two, similarity below 0.75 | 0.14 % | 0.00 % |
//! | two, 0.75 or above | 0.12 % | 1.21 % |
//! | three, the least alike two below 0.75 | 0.11 % | 0.00 % |
//! | three, 0.75 or above | 0.00 % | 0.70 % |
//!
//! So alike photos cost some people much and most people nothing. Advice refuses no photo.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Roster, WorkerId};
use crate::{
    config::MatchThreshold,
    vision::{TEMPLATE_LEN, Template},
    words::words,
};

/// Minimum similarity of two photos that count as alike: of one light, pose and day.
const ALIKE: f32 = 0.75;
/// Maximum distance of another worker's score to the threshold, at which that worker is near. It is
/// the usual margin of the gate. At this distance 3 % of workers have another one near, ten times as
/// many as at the threshold ([`MatchThreshold::strangers`]).
const NEAR: f32 = 0.05;

words! {
    /// What a worker's photos lack.
    pub enum Lack {
        /// The worker has one photo.
        Second = "second_photo",
        /// All photos are alike: of one light and pose.
        Variety = "variety",
        /// Another worker's photo is similar.
        Distance = "distance",
    }
}

/// Advice on a worker's photos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    pub lacks: Lack,
    /// The other worker, with [`Lack::Distance`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<WorkerId>,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ADD: &str = "`gatehouse worker photo ID --add FILE`";
        match (self.lacks, &self.other) {
            (Lack::Second, _) => write!(
                f,
                "one photo: with a second one, from another day or in other light, the gate refuses \
                 this worker less often; add it with {ADD}"
            ),
            (Lack::Variety, _) => write!(
                f,
                "the photos are all alike: one from another day, in the light of the gate, or turned a \
                 little would help; add it with {ADD}"
            ),
            (Lack::Distance, other) => write!(
                f,
                "the face is similar to that of worker {}: more photos with the gate's own camera \
                 keep the two apart; add them to both with {ADD}",
                other.as_ref().map_or("?", WorkerId::as_str)
            ),
        }
    }
}

impl Roster {
    /// Returns the most urgent advice on a worker's photos, under the match threshold in force; `None`
    /// where there is none, or no photo.
    pub fn advice(&self, id: &WorkerId, threshold: MatchThreshold) -> Option<Advice> {
        let own: Result<Vec<Template>, _> =
            self.own(id).chunks_exact(TEMPLATE_LEN).map(Template::from_slice).collect();
        let own = own.ok()?;
        let near = own
            .iter()
            .filter_map(|face| self.nearest_but(face, id))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .filter(|(_, score)| *score >= threshold.cosine() - NEAR);
        if let Some((other, _)) = near {
            let other = Some(other.person.id.clone());
            return Some(Advice { lacks: Lack::Distance, other });
        }
        let alike = |(one, face): (usize, &Template)| {
            own.iter().skip(one + 1).all(|other| other.cosine(face) >= ALIKE)
        };
        let lacks = match own.len() {
            0 => return None,
            1 => Lack::Second,
            _ if own.iter().enumerate().all(alike) => Lack::Variety,
            _ => return None,
        };
        Some(Advice { lacks, other: None })
    }
}

#[cfg(test)]
mod tests;
