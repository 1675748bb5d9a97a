//! A worker was suspended, barred or readmitted (`active`).

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::Actor,
    roster::{State, WorkerId},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateChange {
    pub worker: WorkerId,
    pub state: State,
    /// In the words of the person who asked for it.
    pub reason: String,
    pub by: Actor,
}

impl Kind for StateChange {
    const NAME: &str = "state";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.worker)
    }
}
