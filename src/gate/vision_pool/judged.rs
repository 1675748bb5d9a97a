//! The judgement on a living face in the looks of one visit. Pure.

use crate::{
    ledger::{Presentation, Score},
    vision::{Surroundings, Votes},
};

/// The sign that gives the score.
const CUE: &str = "model";
/// Maximum number of looks whose scores are kept: the latest ones.
const LOOKS: usize = 15;

#[derive(Debug, Default)]
pub(super) struct Judged {
    scores: Vec<f32>,
    /// The latest look: dropped with the visit, at the latest when the next face comes.
    last: Option<Surroundings>,
    votes: Votes,
}

impl Judged {
    /// Adds a look. Returns the judgement of the visit so far: the median score of its looks.
    pub(super) fn look(
        &mut self,
        score: Option<f32>,
        surroundings: Option<Surroundings>,
    ) -> Option<Presentation> {
        if let Some(score) = score {
            if self.scores.len() >= LOOKS {
                self.scores.remove(0);
            }
            self.scores.push(score);
        }
        if let Some(next) = surroundings {
            if let Some(last) = &self.last {
                self.votes.add(last.votes(&next));
            }
            self.last = Some(next);
        }
        let mut sorted = self.scores.clone();
        sorted.sort_by(f32::total_cmp);
        // Of an even number, the lower one of the middle counts.
        let median = sorted.get(sorted.len().saturating_sub(1) / 2)?;
        let rides = self.votes.riding().map(Score::of);
        Some(Presentation { score: Score::of(*median), cue: CUE.to_owned(), rides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_is_judged_by_the_median_of_its_looks() {
        let mut judged = Judged::default();
        assert_eq!(judged.look(None, None), None, "a look that was not judged");
        let mut look = |score| judged.look(Some(score), None).unwrap().score.value();
        assert_eq!([look(0.9), look(0.1), look(0.8)], [0.9, 0.1, 0.8]);
        assert_eq!(look(0.2), 0.2);
        for _ in 0..100 {
            look(0.7);
        }
        assert_eq!((look(0.7), judged.scores.len()), (0.7, LOOKS));
    }
}
