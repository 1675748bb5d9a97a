//! Shows a lane live, for a person who wires it or aims its cameras.

use std::{collections::VecDeque, time::Duration};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{broadcast, watch},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Code, Failure, LanePanel, Services};
use crate::{
    config::Direction,
    gate::lane::{Happening, Watched},
    turnstile::TurnstileState,
};

/// Maximum number of watchers of all lanes. The next one is refused, so that other requests still
/// have a connection.
const WATCHERS: usize = 4;
/// Interval between two looks at the counts of the cameras.
const COUNTS: Duration = Duration::from_millis(500);
/// What a watcher reads of a camera that has sent no key frame yet.
const NO_KEY_FRAME: &str = "pictures come, no key frame: set the key-frame interval to 1 to 2 s";

/// A request to watch a lane until the client disconnects.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Watch {
    /// The lane's name in the configuration
    pub lane: String,
}

/// The view of one watcher.
pub struct Watching<'a> {
    lane: &'a LanePanel,
    now: Box<dyn Fn() -> Timestamp + Send + Sync + 'a>,
    heard: broadcast::Receiver<Watched>,
    turnstile: watch::Receiver<TurnstileState>,
    /// What was last told of each camera.
    told: [Option<String>; Direction::BOTH.len()],
    waiting: VecDeque<Watched>,
    counts: Interval,
}

impl Services {
    /// Begins to watch a lane.
    pub fn watch(&self, asked: &Watch) -> Result<Watching<'_>, Failure> {
        let lane = self.lane(&asked.lane)?;
        let watchers: usize = self.lanes.iter().map(|lane| lane.watchers.number()).sum();
        if watchers >= WATCHERS {
            let problem = format!("{watchers} others watch lanes already; end one of them first");
            return Err(Failure::new(Code::Busy, problem));
        }
        let mut turnstile = lane.turnstile.clone();
        turnstile.mark_changed();
        let mut counts = interval(COUNTS);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Watching {
            lane,
            now: Box::new(|| self.clock.stamp().timestamp()),
            heard: lane.watchers.watch(),
            turnstile,
            told: Default::default(),
            waiting: VecDeque::new(),
            counts,
        })
    }
}

impl Watching<'_> {
    /// Returns the next happening; `None` when the lane has ended. It may be dropped before it ends.
    pub async fn next(&mut self) -> Option<Watched> {
        loop {
            if let Some(next) = self.waiting.pop_front() {
                return Some(next);
            }
            tokio::select! {
                biased;
                heard = self.heard.recv() => match heard {
                    Ok(watched) => return Some(watched),
                    Err(broadcast::error::RecvError::Lagged(happenings)) => {
                        return Some(self.now(Happening::Missed { happenings }));
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                changed = self.turnstile.changed() => {
                    changed.ok()?;
                    let state = self.turnstile.borrow_and_update().clone();
                    return Some(self.now(Happening::Controller(Box::new(state))));
                }
                _ = self.counts.tick() => self.count(),
            }
        }
    }

    fn now(&self, happening: Happening) -> Watched {
        Watched { at: (self.now)(), happening }
    }

    /// Queues the counts of each camera whose counts have changed.
    fn count(&mut self) {
        for camera in &self.lane.cameras {
            let state = camera.state.borrow().clone();
            let (direction, frames) = (camera.direction, camera.seen.counts());
            let waits = state.no_key_frame_since.map(|_| NO_KEY_FRAME.to_owned());
            let connected = state.connected && waits.is_none();
            let last_error = waits.or(state.last_error).filter(|_| !connected);
            let shown = format!("{frames:?} {connected} {last_error:?}");
            if self.told[direction as usize].as_ref() != Some(&shown) {
                self.told[direction as usize] = Some(shown);
                let told = Happening::Camera { direction, connected, last_error, frames };
                self.waiting.push_back(self.now(told));
            }
        }
    }
}
