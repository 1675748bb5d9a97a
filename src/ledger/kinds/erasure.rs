//! A worker's templates and photos were erased, long after the worker's last day. The worker stays
//! on the roster, and the attendance stays.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::roster::{Erased, WorkerId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Erasure {
    pub worker: WorkerId,
    pub erased: Erased,
    /// The worker's last day.
    pub valid_until: Date,
    /// Number of days after it for which templates and photos were kept, at least.
    pub kept_days: u32,
}

impl Kind for Erasure {
    const NAME: &str = "erasure";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.worker)
    }
}
