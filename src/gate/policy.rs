//! Grant or deny: a pure function of the match, the worker's standing, the direction, the
//! lane's mode and the clock.

use jiff::civil::Date;

use crate::{
    config::{Direction, Recognition},
    ledger::LaneMode,
    roster::{Match, Standing, Worker, WorkerId},
    words::words,
};

/// Whom one frame shows.
#[derive(Clone, Debug)]
pub enum Sighted {
    /// This worker: the score reaches the threshold, and nobody else is near.
    Worker(Match),
    /// Nobody on the roster. The best score is kept, the best worker is not.
    Stranger { score: f32 },
    /// Two workers are too near each other to say which of them it is.
    Ambiguous { score: f32 },
}

impl Sighted {
    /// Whom it names.
    pub fn named(&self) -> Option<&WorkerId> {
        match self {
            Sighted::Worker(found) => Some(&found.worker.person.id),
            Sighted::Stranger { .. } | Sighted::Ambiguous { .. } => None,
        }
    }

    /// Why no worker is named: of looks that name one, that they do not agree.
    pub fn reason(&self) -> Reason {
        match self {
            Sighted::Stranger { .. } => Reason::UnknownFace,
            Sighted::Worker(_) | Sighted::Ambiguous { .. } => Reason::AmbiguousFace,
        }
    }

    /// How like the best worker it is; 0 where the roster is empty.
    pub fn score(&self) -> f32 {
        match self {
            Sighted::Worker(found) => found.score,
            Sighted::Stranger { score } | Sighted::Ambiguous { score } => *score,
        }
    }
}

/// What a match amounts to.
pub fn judge(best: Option<Match>, rules: &Recognition) -> Sighted {
    match best {
        Some(m)
            if m.score >= rules.threshold.cosine()
                && m.margin.is_none_or(|margin| margin >= rules.margin) =>
        {
            Sighted::Worker(m)
        }
        Some(m) if m.score >= rules.threshold.cosine() => Sighted::Ambiguous { score: m.score },
        Some(m) => Sighted::Stranger { score: m.score },
        None => Sighted::Stranger { score: 0.0 },
    }
}

words! {
    /// Why somebody is not let through, as the entry and the event say it.
    pub enum Reason {
        /// Nobody on the roster looks like this.
        UnknownFace = "unknown_face",
        /// Two workers on the roster look like this.
        AmbiguousFace = "ambiguous_face",
        NotYetValid = "not_yet_valid",
        Expired = "expired",
        Suspended = "suspended",
        Barred = "barred",
        /// Not trained in safety, where the site asks for that.
        TrainingMissing = "training_missing",
        /// Nobody enters through this lane for now.
        LaneClosed = "lane_closed",
    }
}

/// Decides on a worker. Standing never denies an exit: nobody is locked in. `today` is
/// `None` while the clock is not trusted, and then validity dates do not deny; the entry's own
/// time says that the clock was not synchronised. A lane that stands open denies nobody: who went
/// through it is recorded.
pub fn decide(
    worker: &Worker,
    direction: Direction,
    mode: LaneMode,
    today: Option<Date>,
    require_training: bool,
) -> Result<(), Reason> {
    match (direction, mode) {
        (Direction::Exit, _) | (_, LaneMode::Free) => return Ok(()),
        (Direction::Entry, LaneMode::Closed) => return Err(Reason::LaneClosed),
        (Direction::Entry, LaneMode::Normal) => {}
    }
    match worker.standing(today, require_training) {
        Standing::InForce => Ok(()),
        Standing::NotYet => Err(Reason::NotYetValid),
        Standing::Expired => Err(Reason::Expired),
        Standing::Suspended => Err(Reason::Suspended),
        Standing::Barred => Err(Reason::Barred),
        Standing::TrainingMissing => Err(Reason::TrainingMissing),
    }
}
