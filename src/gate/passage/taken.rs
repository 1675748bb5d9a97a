//! What a sighting is taken for, and faces on which a lane does not decide.

use std::{fmt, time::Duration};

use super::{DECISION_LIFE, Reason};
use crate::clock::Monotonic;

/// A face is denied that is seen for this time, in this number of looks, without a decision: its
/// looks name no worker twice running, or belong to ever new visits.
const UNDECIDED_FOR: Duration = Duration::from_secs(5);
const UNDECIDED_LOOKS: u32 = 8;
/// Interval between two such denials of a side.
const DENIED_EVERY: Duration = Duration::from_secs(30);
/// Looks that are further apart than this do not belong together.
const APART: Duration = Duration::from_secs(4);

/// What a sighting was taken for: what followed, or why nothing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Granted,
    Denied(Reason),
    /// Denied because the looks never agree.
    Wavers(Reason),
    /// The visit was denied for this reason already.
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
    /// The frame is too old to decide by.
    Stale,
}

impl Taken {
    /// Whether the lane knows what to do with the face: it decided, or need not.
    pub fn settled(self) -> bool {
        use Taken::{Agreeing, Stale, TurningAway, Wavers};
        !matches!(self, Wavers(_) | Agreeing { .. } | TurningAway | Stale)
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Taken::Granted => f.write_str("granted"),
            Taken::Denied(reason) => write!(f, "denied: {}", reason.word()),
            Taken::Wavers(reason) => {
                write!(f, "denied, for no look agrees with the one before: {}", reason.word())
            }
            Taken::DeniedBefore(reason) => {
                write!(f, "nothing: this visit was denied already: {}", reason.word())
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
            Taken::Stale => write!(f, "nothing: the frame is older than {DECISION_LIFE:?}"),
        }
    }
}

/// The looks at one side of a lane since the lane decided there.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    /// The first look, the last one, and their number.
    looks: Option<(Monotonic, Monotonic, u32)>,
    denied: Option<Monotonic>,
}

impl Undecided {
    /// Takes note of a look. Returns whether the face is to be denied now.
    pub(super) fn look(&mut self, at: Monotonic, taken: Taken) -> bool {
        if taken.settled() {
            self.looks = None;
        }
        if !matches!(taken, Taken::Agreeing { .. }) {
            return false;
        }
        let together = self.looks.filter(|(_, last, _)| at.since(*last) <= APART);
        let (first, looks) = together.map_or((at, 1), |(first, _, n)| (first, n.saturating_add(1)));
        self.looks = Some((first, at, looks));
        let lately = self.denied.is_some_and(|denied| at.since(denied) < DENIED_EVERY);
        let denies = looks >= UNDECIDED_LOOKS && at.since(first) >= UNDECIDED_FOR && !lately;
        if denies {
            self.denied = Some(at);
        }
        denies
    }
}
