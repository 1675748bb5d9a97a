//! A worker left the roster: templates and photos are erased, attendance stays (I7).

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::Actor,
    roster::{Erased, WorkerId},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    pub worker: WorkerId,
    /// In the words of the person who removed the worker.
    pub reason: Option<String>,
    pub erased: Erased,
    pub by: Actor,
}

impl Kind for Removal {
    const NAME: &str = "removal";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.worker)
    }
}
