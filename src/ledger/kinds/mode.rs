//! A lane works otherwise from now on.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::{Actor, Detail, LaneMode};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeChange {
    pub lane: String,
    pub mode: LaneMode,
    /// In the words of who asked for it.
    pub reason: Option<String>,
    pub by: Option<Actor>,
    /// Where a fire alarm opened it.
    pub detail: Option<Detail>,
}

impl Kind for ModeChange {
    const NAME: &str = "mode";

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }
}
