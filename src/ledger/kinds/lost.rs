//! The database had lost its end. The ledger goes on with a later seq.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::Detail;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// The first and the last seq that will not be sent. Some of them may have been sent before.
    pub first: u64,
    /// This entry has the seq after it.
    pub last: u64,
    /// Number of entries that were lost, at least. They had the index of this entry and those after.
    pub entries: u64,
    pub detail: Detail,
}

impl Kind for Lost {
    const NAME: &str = "lost";
}
