//! A lane's mode changed.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::{Actor, Detail, LaneMode};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeChange {
    pub lane: String,
    pub mode: LaneMode,
    /// In the words of the person who asked for it.
    pub reason: Option<String>,
    pub by: Option<Actor>,
    /// Present if a fire alarm opened the lane, or if that alarm was a glitch and is over.
    pub detail: Option<Detail>,
}

impl Kind for ModeChange {
    const NAME: &str = "mode";

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }
}
