//! What happens at a lane, for a person who wires it or aims its cameras.
//!
//! In: the lane's events and actions. Out: [`Happening`]s for each watcher, without photos and
//! templates. A lane that no one watches makes none. A slow watcher loses the oldest ones, and the
//! lane never waits.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::{
    config::Direction,
    gate::{
        claim::Presented,
        passage::{Action, Taken},
        vision_pool::SeenCounts,
    },
    ledger::{Body, Evidence, Outcome},
    turnstile::{TurnstileEvent, TurnstileState},
};

/// Maximum number of happenings that wait for a slow watcher. It loses the oldest ones beyond.
const HAPPENINGS: usize = 256;

/// What happened, and when. Times are the wall clock's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watched {
    pub at: Timestamp,
    #[serde(flatten)]
    pub happening: Happening,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happening {
    /// The controller's levels and counters: at the beginning, and after each change.
    Controller(Box<TurnstileState>),
    /// The counts of a camera's frames: at the beginning, and after each change.
    Camera {
        direction: Direction,
        connected: bool,
        last_error: Option<String>,
        frames: SeenCounts,
    },
    /// An event that the controller reported.
    Turnstile {
        event: String,
    },
    /// A face in one frame. `taken`: the decision, or why there is none.
    Look {
        direction: Direction,
        visit: u64,
        worker: Option<String>,
        score: f64,
        taken: String,
    },
    /// A claim by other means, for example a card.
    Claim {
        direction: Direction,
        worker: Option<String>,
        taken: String,
    },
    /// A decision to let a person through. Without a worker: a release by hand.
    Grant {
        passage: String,
        direction: Direction,
        worker: Option<String>,
        score: Option<f64>,
    },
    Denial {
        direction: Direction,
        reason: String,
        worker: Option<String>,
    },
    /// The worker is recognised, and the guard decides whether a living person stands there.
    AsksGuard {
        direction: Direction,
        worker: String,
    },
    Outcome {
        passage: String,
        outcome: Outcome,
        detail: Option<String>,
    },
    /// A person passed without a grant or a release.
    Tailgate {
        direction: Direction,
    },
    /// This watcher was too slow, and lost this number of happenings.
    Missed {
        happenings: u64,
    },
}

/// The watchers of a lane.
#[derive(Clone, Debug)]
pub struct Watchers(broadcast::Sender<Watched>);

impl Default for Watchers {
    fn default() -> Watchers {
        Watchers(broadcast::channel(HAPPENINGS).0)
    }
}

impl Watchers {
    pub fn number(&self) -> usize {
        self.0.receiver_count()
    }

    /// Adds a watcher. It ends when the receiver is dropped.
    pub fn watch(&self) -> broadcast::Receiver<Watched> {
        self.0.subscribe()
    }

    /// Tells the watchers, if there are any.
    pub(super) fn tell(
        &self,
        at: impl FnOnce() -> Timestamp,
        of: impl FnOnce() -> Option<Happening>,
    ) {
        if self.number() > 0
            && let Some(happening) = of()
        {
            // The last watcher may have left just now.
            let _ = self.0.send(Watched { at: at(), happening });
        }
    }
}

impl Happening {
    pub(super) fn of_turnstile(event: &TurnstileEvent) -> Option<Happening> {
        use TurnstileEvent::{CountersRestarted, Down, NotReleased, Passed, Released, Up};
        let event = match event {
            Up { withdrawn } if withdrawn.is_empty() => "connected".to_owned(),
            Up { withdrawn } => format!("connected; withdrew a release: {withdrawn:?}"),
            Down { error } => format!("down: {error}"),
            Released { passage, .. } => format!("released for {passage}"),
            NotReleased { passage, why, .. } => format!("not released for {passage}: {why:?}"),
            Passed { direction, .. } => format!("a person passed: {direction}"),
            CountersRestarted { .. } => "the passage counters started again".to_owned(),
            // The levels show the others.
            _ => return None,
        };
        Some(Happening::Turnstile { event })
    }

    pub(super) fn of_presented(presented: &Presented, taken: Taken) -> Option<Happening> {
        let (direction, taken) = (presented.direction(), taken.to_string());
        Some(match presented {
            Presented::Look(sighting) => Happening::Look {
                direction,
                visit: sighting.visit,
                worker: sighting.sighted.named().map(ToString::to_string),
                score: rounded(sighting.sighted.score().into()),
                taken,
            },
            Presented::Claim(claim) => {
                let worker = claim.who.as_ref().ok().map(|worker| worker.person.id.to_string());
                Happening::Claim { direction, worker, taken }
            }
            Presented::NoFace { .. } => return None,
        })
    }

    pub(super) fn of_action(action: &Action) -> Option<Happening> {
        Some(match action {
            Action::Commit { passage, body, .. } => {
                let worker = body.worker().map(ToString::to_string);
                let (direction, evidence) = match body {
                    Body::Grant(grant) => (grant.direction, &grant.evidence[..]),
                    Body::GuardRelease(release) => (release.direction, &release.evidence[..]),
                    _ => return None,
                };
                let score = evidence.iter().find_map(Evidence::face).map(|face| face.score.value());
                Happening::Grant { passage: passage.to_string(), direction, worker, score }
            }
            Action::Deny { body: Body::Denial(denial) } => Happening::Denial {
                direction: denial.direction,
                reason: denial.reason.clone(),
                worker: denial.person.as_ref().map(|person| person.id.to_string()),
            },
            Action::AskGuard { worker } => {
                Happening::AsksGuard { direction: Direction::Entry, worker: worker.to_string() }
            }
            Action::Close { passage, outcome, detail, .. } => Happening::Outcome {
                passage: passage.to_string(),
                outcome: *outcome,
                detail: detail.as_ref().map(ToString::to_string),
            },
            Action::Tailgate { body: Body::Tailgate(tailgate) } => {
                Happening::Tailgate { direction: tailgate.direction }
            }
            _ => return None,
        })
    }
}

/// Returns the score with four digits, as entries have it.
fn rounded(score: f64) -> f64 {
    (score * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_watcher_loses_the_oldest_happenings_and_the_lane_never_waits() {
        let watchers = Watchers::default();
        watchers.tell(|| panic!("no one watches"), || panic!("no one watches"));
        let mut slow = watchers.watch();
        for happenings in 0..HAPPENINGS as u64 + 10 {
            watchers.tell(|| Timestamp::UNIX_EPOCH, || Some(Happening::Missed { happenings }));
        }
        assert_eq!(slow.try_recv().err(), Some(broadcast::error::TryRecvError::Lagged(10)));
        let next = slow.try_recv().unwrap().happening;
        assert!(matches!(next, Happening::Missed { happenings: 10 }), "{next:?}");
    }
}
