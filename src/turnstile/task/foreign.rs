//! What to do about releases by another hand. It decides only.
//!
//! A release by another hand is withdrawn once. If it comes back, the other hand may be a fire panel
//! or a guard, so it is left and is a trouble until it ends by itself.

use std::time::Duration;

use crate::{
    clock::Monotonic,
    turnstile::{handle::ForeignHold, port::ForeignRelease, settings::Direction},
};

/// Time after which a release by another hand counts as a first one again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The releases by another hand, in the order of [`Direction::BOTH`].
#[derive(Default)]
pub(super) struct Foreign {
    /// When each direction was last seen released.
    seen: [Option<Monotonic>; 2],
    /// The releases that came back and are left.
    left: [Option<ForeignHold>; 2],
}

/// What to do about one release by another hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Withdraw(ForeignRelease),
    /// It came back, and is left. Returned once.
    Leave(ForeignRelease),
    /// A release that was left has ended.
    Ended(Direction),
}

impl Foreign {
    /// Takes the releases that a poll found. `may_close`: the lane is not open and has no sign of a
    /// fire.
    pub fn handle(
        &mut self,
        now: Monotonic,
        found: &[ForeignRelease],
        may_close: bool,
    ) -> Vec<Action> {
        let act = |direction: Direction| {
            let at = direction.index();
            let Some(release) = found.iter().find(|release| release.direction == direction) else {
                return self.left[at].take().map(|_| Action::Ended(direction));
            };
            if self.left[at].is_some() {
                self.seen[at] = Some(now);
                return None;
            }
            let came_back = self.seen[at].is_some_and(|seen| now.since(seen) < FORGOTTEN_AFTER);
            if !came_back && !may_close {
                return None;
            }
            self.seen[at] = Some(now);
            if !came_back {
                return Some(Action::Withdraw(release.clone()));
            }
            let output = release.output.clone();
            self.left[at] = Some(ForeignHold { direction, output, since: now });
            Some(Action::Leave(release.clone()))
        };
        Direction::BOTH.into_iter().filter_map(act).collect()
    }

    /// The gateway itself holds the arm open, so no other hand can be seen.
    pub fn forget(&mut self) {
        self.left = Default::default();
    }

    /// Returns the releases that are left.
    pub fn left(&self) -> Vec<ForeignHold> {
        self.left.iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
