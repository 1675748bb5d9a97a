//! The lane's handle of a turnstile's task, and the state that the task publishes.

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, watch};

use super::{
    port::{Release, TurnstileEvent},
    settings::Direction,
    simulation::DeviceFrame,
};
use crate::clock::Monotonic;

/// What `gatehouse status` shows of a turnstile. Counters run from the task's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnstileState {
    pub connected: bool,
    /// When `connected` last changed; milliseconds since boot.
    #[serde(rename = "since_uptime_ms")]
    pub since: Monotonic,
    /// The last error, kept after the line is up again.
    pub last_error: Option<String>,
    pub confirms_passage: bool,
    /// The arm is held open, by the controller's last acknowledgement.
    pub held_open: bool,
    /// The fire alarm's input, where there is one and it has been read.
    pub fire: Option<bool>,
    /// Releases by another hand that came back after they were withdrawn. They are left, so the arm
    /// may be open.
    #[serde(default)]
    pub foreign: Vec<ForeignHold>,
    pub port: String,
    pub releases: u64,
    pub passages: u64,
    pub errors: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Releases that were void when they arrived.
    pub late: u64,
    /// Events dropped because the lane did not take them (see `task`); zero in a healthy gate.
    pub lost_events: u64,
    /// Number of times that the driver panicked and was created again.
    pub restarts: u64,
    /// Number of releases by another hand that were noticed.
    #[serde(default)]
    pub foreign_releases: u64,
}

/// A release by another hand that is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignHold {
    pub direction: Direction,
    /// The controller's output.
    pub output: String,
    #[serde(rename = "since_uptime_ms")]
    pub since: Monotonic,
}

impl TurnstileState {
    pub(super) fn turn(&mut self, connected: bool, now: Monotonic) {
        if std::mem::replace(&mut self.connected, connected) != connected {
            self.since = now;
        }
    }
}

/// The lane's handle of a turnstile's task. Dropping `releases` or `events` ends the task.
#[derive(Debug)]
pub struct TurnstileHandle {
    pub releases: mpsc::Sender<Release>,
    pub events: mpsc::Receiver<TurnstileEvent>,
    /// Whether the arm is to stand open both ways (free mode). The task follows the newest value,
    /// also across connections. A stop or a fault of the gateway does not close an open arm.
    pub hold_open: watch::Sender<bool>,
    pub state: watch::Receiver<TurnstileState>,
    /// Only with the simulated driver: a subscriber receives each frame on its line. A slow
    /// subscriber loses the oldest frames.
    pub tap: Option<broadcast::Sender<DeviceFrame>>,
}
