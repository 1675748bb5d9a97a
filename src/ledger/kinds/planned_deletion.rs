//! Data will be deleted, because its time is over soon. The deletion is an entry of its own.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{ledger::DeletedWhat, roster::WorkerId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedDeletion {
    pub what: DeletedWhat,
    /// The first day on which it is deleted. It is deleted later if the date is in doubt then.
    pub on: Date,
    /// Number of passages, photos or workers.
    pub count: u64,
    /// Of attendance and photos: those of earlier days are deleted.
    pub of_days_before: Option<Date>,
    /// Of faces: the workers whose templates and photos are erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerId>,
}

impl Kind for PlannedDeletion {
    const NAME: &str = "planned_deletion";
}
