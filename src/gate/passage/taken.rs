//! What a look or a claim is taken for.

use std::fmt;

use super::{DECISION_LIFE, Reason};

/// What a look or a claim was taken for: what followed, or why nothing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Granted,
    Denied(Reason),
    /// Denied because the looks never agree.
    Wavers(Reason),
    /// The same claim was denied for this reason a moment ago.
    DeniedBefore(Reason),
    /// The worker passed only just now, or stands there still.
    CoolingDown,
    /// A passage is under way.
    Busy,
    /// The lane stands open, and no one is denied.
    Free,
    /// This number of the visit's latest looks agree, and more must.
    Agreeing {
        looks: u32,
        of: u32,
    },
    /// A worker was recognised a moment ago, and turns to walk.
    TurningAway,
    /// It is too old to decide by.
    Stale,
}

impl Taken {
    /// Whether the lane knows what to do with it: it decided, or need not.
    pub fn settled(self) -> bool {
        use Taken::{Agreeing, Stale, TurningAway, Wavers};
        !matches!(self, Wavers(_) | Agreeing { .. } | TurningAway | Stale)
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Taken::Granted => f.write_str("granted"),
            Taken::Denied(reason) => write!(f, "denied: {reason}"),
            Taken::Wavers(reason) => {
                write!(f, "denied, for no look agrees with the one before: {reason}")
            }
            Taken::DeniedBefore(reason) => {
                write!(f, "nothing: it was denied already: {reason}")
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
            Taken::Stale => write!(f, "nothing: it is older than {DECISION_LIFE:?}"),
        }
    }
}
