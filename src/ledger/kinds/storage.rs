//! How the disk does.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::Detail;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskState {
    /// `ample`, `low`, `scarce`, `full` or `failing`.
    pub state: String,
    pub detail: Detail,
    /// Entries given up since the entry of this kind before.
    pub unrecorded: u64,
}

impl Kind for DiskState {
    const NAME: &str = "storage";
}
