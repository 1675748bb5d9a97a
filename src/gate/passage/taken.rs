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
    looks: Option<Looks>,
    denied: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
struct Looks {
    first: Monotonic,
    last: Monotonic,
    /// All of them, and those that named a worker.
    number: u32,
    named: u32,
}

impl Undecided {
    /// Takes note of a look, which names a worker or not. Returns whether the face is to be denied
    /// now. The first look that names a worker never is: the next one may agree with it.
    pub(super) fn look(&mut self, at: Monotonic, named: bool, taken: Taken) -> bool {
        if taken.settled() {
            self.looks = None;
        }
        if !matches!(taken, Taken::Agreeing { .. }) {
            return false;
        }
        let together = self.looks.filter(|looks| at.since(looks.last) <= APART);
        let mut looks = together.unwrap_or(Looks { first: at, last: at, number: 0, named: 0 });
        looks.last = at;
        looks.number = looks.number.saturating_add(1);
        looks.named = looks.named.saturating_add(named.into());
        self.looks = Some(looks);
        let enough = looks.number >= UNDECIDED_LOOKS && at.since(looks.first) >= UNDECIDED_FOR;
        let lately = self.denied.is_some_and(|denied| at.since(denied) < DENIED_EVERY);
        let may_agree = named && looks.named == 1;
        let denies = enough && !lately && !may_agree;
        if denies {
            self.denied = Some(at);
        }
        denies
    }
}
