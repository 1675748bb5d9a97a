//! Grant or deny: a pure function of the match, the worker's standing, the direction, the
//! lane's mode and the clock.

use crate::{
    config::{Direction, MatchThreshold},
    ledger::{Flag, LaneMode},
    reader::WithFace,
    roster::{Day, Match, Roster, Standing, Worker, WorkerId},
    vision::Template,
    words::words,
};

/// Result of comparing one face with the roster.
#[derive(Clone, Debug)]
pub enum Sighted {
    /// This worker: the score reaches the threshold, and the margin to the second worker is enough.
    Worker(Match),
    /// No worker on the roster. The best score is kept, the best worker is not.
    Stranger { score: f32 },
    /// The scores of two workers are too close to decide between them.
    Ambiguous { score: f32 },
}

impl Sighted {
    /// Returns the recognised worker.
    pub fn named(&self) -> Option<&WorkerId> {
        match self {
            Sighted::Worker(found) => Some(&found.worker.person.id),
            Sighted::Stranger { .. } | Sighted::Ambiguous { .. } => None,
        }
    }

    /// Returns the reason of a denial without a worker. For a recognised worker it is
    /// `AmbiguousFace`: the sightings do not agree.
    pub fn reason(&self) -> Reason {
        match self {
            Sighted::Stranger { .. } => Reason::UnknownFace,
            Sighted::Worker(_) | Sighted::Ambiguous { .. } => Reason::AmbiguousFace,
        }
    }

    /// Returns the similarity to the best worker; 0 if the roster is empty.
    pub fn score(&self) -> f32 {
        match self {
            Sighted::Worker(found) => found.score,
            Sighted::Stranger { score } | Sighted::Ambiguous { score } => *score,
        }
    }
}

/// Finds a face on the roster. A pending worker is found only where no confirmed worker is similar:
/// what comes from afar must not make a confirmed worker ambiguous, who could then neither enter nor
/// leave.
pub fn found(roster: &Roster, face: &Template, threshold: MatchThreshold, margin: f32) -> Sighted {
    let judged = |pending| judge(roster.best_of(face, pending), threshold, margin);
    match judged(false) {
        Sighted::Stranger { score } => match judged(true) {
            Sighted::Stranger { score: pending } => Sighted::Stranger { score: score.max(pending) },
            pending => pending,
        },
        confirmed => confirmed,
    }
}

/// Applies the threshold and the margin to the best match.
pub fn judge(best: Option<Match>, threshold: MatchThreshold, margin: f32) -> Sighted {
    match best {
        Some(m)
            if m.score >= threshold.cosine() && m.margin.is_none_or(|found| found >= margin) =>
        {
            Sighted::Worker(m)
        }
        Some(m) if m.score >= threshold.cosine() => Sighted::Ambiguous { score: m.score },
        Some(m) => Sighted::Stranger { score: m.score },
        None => Sighted::Stranger { score: 0.0 },
    }
}

words! {
    /// The reason of a denial, as the entry and the event have it.
    pub enum Reason {
        /// The face matches no worker on the roster.
        UnknownFace = "unknown_face",
        /// The face matches two workers on the roster.
        AmbiguousFace = "ambiguous_face",
        /// Two people stand side by side: one person only.
        SeveralFaces = "several_faces",
        /// The worker came from afar, and no person at the site has confirmed the worker yet.
        Pending = "pending",
        NotYetValid = "not_yet_valid",
        Expired = "expired",
        Suspended = "suspended",
        Barred = "barred",
        /// The worker has no safety training, and the site requires it.
        TrainingMissing = "training_missing",
        /// The card is no worker's.
        CardUnknown = "card_unknown",
        /// The worker lost the card.
        CardLost = "card_lost",
        /// The face before the camera is not that of the worker whose card was shown.
        CardFaceDiffers = "card_face_differs",
        /// The card needs the worker's face, and no face was before the camera.
        FaceMissing = "face_missing",
        /// The code is for another gateway.
        CodeElsewhere = "code_elsewhere",
        /// The code is damaged or forged, or its worker is not on the roster.
        CodeUnknown = "code_unknown",
        /// The code's time is over, has not come, or is too long.
        CodeExpired = "code_expired",
        /// The code was used before.
        CodeUsed = "code_used",
        /// The clock is not synchronised, so that the age of a code is not known.
        ClockNotTrusted = "clock_not_trusted",
        /// The worker is recognised, and whether a living person stands there is left to the guard.
        NotJudged = "not_judged",
        /// The lane is closed for entry.
        LaneClosed = "lane_closed",
    }
}

/// Decides on a worker. Standing never denies an exit, so that no worker is locked in. While the
/// clock is not synchronised, only an admission that had ended on the last trusted day denies, and
/// the entry's own stamp says that the clock was not synchronised. A lane that stands open denies no worker and
/// records each worker.
pub fn decide(
    worker: &Worker,
    direction: Direction,
    mode: LaneMode,
    today: Day,
    require_training: bool,
) -> Result<(), Reason> {
    match (direction, mode) {
        (Direction::Exit, _) | (_, LaneMode::Free) => return Ok(()),
        (Direction::Entry, LaneMode::Closed) => return Err(Reason::LaneClosed),
        (Direction::Entry, LaneMode::Normal) => {}
    }
    match worker.standing(today, require_training) {
        Standing::InForce => Ok(()),
        Standing::Pending => Err(Reason::Pending),
        Standing::NotYet => Err(Reason::NotYetValid),
        Standing::Expired => Err(Reason::Expired),
        Standing::Suspended => Err(Reason::Suspended),
        Standing::Barred => Err(Reason::Barred),
        Standing::TrainingMissing => Err(Reason::TrainingMissing),
    }
}

words! {
    /// How much a face is like a worker's templates.
    pub enum Likeness {
        /// As much as a recognition needs.
        Like = "like",
        /// Neither clearly like nor clearly unlike.
        Unclear = "unclear",
        /// As little as two looks at one person never are.
        Unlike = "unlike",
    }
}

/// Decides on the face beside a card, for a worker whose face may be compared. `seen`: the face before
/// the camera, if there was one. Returns a flag for the record. I15: an exit is never denied.
pub fn beside(
    rule: WithFace,
    (direction, mode): (Direction, LaneMode),
    seen: Option<Likeness>,
) -> Result<Option<Flag>, Reason> {
    let denies =
        rule == WithFace::Require && direction == Direction::Entry && mode != LaneMode::Free;
    match seen {
        _ if rule == WithFace::Off => Ok(None),
        Some(Likeness::Like) => Ok(None),
        Some(Likeness::Unlike | Likeness::Unclear) if denies => Err(Reason::CardFaceDiffers),
        None if denies => Err(Reason::FaceMissing),
        Some(Likeness::Unlike) => Ok(Some(Flag::CARD_FACE_DIFFERS)),
        Some(Likeness::Unclear) | None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
