//! The state of the disk changed.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::Detail;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskState {
    /// `ample`, `low`, `scarce`, `full` or `failing`.
    pub state: String,
    pub detail: Detail,
    /// Number of entries given up since the last entry of this kind.
    pub unrecorded: u64,
}

impl Kind for DiskState {
    const NAME: &str = "storage";
}
