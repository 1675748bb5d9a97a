//! The result for a sighting or a claim.

use std::fmt;

use super::{DECISION_LIFE, Reason};

/// The result for a sighting or a claim: a decision, or the reason why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Granted,
    Denied(Reason),
    /// Denied because the sightings never agree.
    Wavers(Reason),
    /// The same claim was denied for this reason a moment ago.
    DeniedBefore(Reason),
    /// The worker passed a moment ago, or still stands there.
    CoolingDown,
    /// A passage is under way.
    Busy,
    /// The lane stands open, and no person is denied.
    Free,
    /// Number of the visit's latest looks that agree; `of` must agree.
    Agreeing {
        looks: u32,
        of: u32,
    },
    /// A worker was recognised a moment ago, and turns to walk.
    TurningAway,
    /// Another face of like width is beside this one.
    Beside,
    /// The worker is recognised, and the next look decides on the living face.
    Judging,
    /// The visit goes to the guard.
    AsksGuard,
    /// It is too old for a decision.
    Stale,
}

impl Taken {
    /// Returns whether the lane decided, or needs no decision.
    pub fn settled(self) -> bool {
        use Taken::{Agreeing, Judging, Stale, TurningAway, Wavers};
        !matches!(self, Wavers(_) | Agreeing { .. } | TurningAway | Judging | Stale)
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Taken::Granted => f.write_str("granted"),
            Taken::Denied(reason) => write!(f, "denied: {reason}"),
            Taken::Wavers(reason) => {
                write!(f, "denied: the looks do not agree: {reason}")
            }
            Taken::DeniedBefore(reason) => {
                write!(f, "nothing: already denied: {reason}")
            }
            Taken::CoolingDown => f.write_str("nothing: the worker passed a moment ago"),
            Taken::Busy => f.write_str("nothing: a passage is under way"),
            Taken::Free => f.write_str("nothing: the lane stands open"),
            Taken::Agreeing { looks, of } => {
                write!(f, "nothing yet: {looks} of {of} looks in a row agree")
            }
            Taken::TurningAway => {
                f.write_str("nothing: a worker was recognised within the last second")
            }
            Taken::Beside => f.write_str("nothing yet: another face is beside this one"),
            Taken::Judging => f.write_str("nothing yet: the face is not judged yet"),
            Taken::AsksGuard => f.write_str("not judged: the guard decides"),
            Taken::Stale => write!(f, "nothing: older than {DECISION_LIFE:?}"),
        }
    }
}
