//! A sign of life of a gate at which nothing happens.

use serde::{Deserialize, Serialize};

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Number of lanes.
    pub lanes: u32,
    /// Number of lanes whose controller answers and whose cameras send frames.
    pub working: u32,
}

impl Kind for Heartbeat {
    const NAME: &str = "heartbeat";
    // Heads go upstream more often.
    const GOES_UPSTREAM: bool = false;
}
