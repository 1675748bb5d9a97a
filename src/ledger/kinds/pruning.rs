//! The bytes of entries were deleted because their retention was over; their leaf hashes stay.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pruning {
    /// Number of entries.
    pub pruned: u64,
    /// All pruned entries have a lower index.
    pub pruned_before: u64,
    pub settled_on: Date,
    pub keep_years: u8,
}

impl Kind for Pruning {
    const NAME: &str = "pruning";
}
