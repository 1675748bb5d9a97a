//! Photos of passages were deleted: their days were over, or others needed the room.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhotoPruning {
    /// Number of photos whose days were over.
    pub pruned: u64,
    /// Photos of earlier days are deleted; absent if only the room was short.
    pub of_days_before: Option<Date>,
    /// Number of photos that were deleted before their days were over, to make room.
    pub crowded_out: u64,
}

impl Kind for PhotoPruning {
    const NAME: &str = "photo_pruning";
}
