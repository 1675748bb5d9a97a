//! It was not this person: an attendance does not count.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::{Actor, EntryRef};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispute {
    /// The attendance: an outcome, or a supplement.
    pub disputes: EntryRef,
    /// In the words of the person who disputes it.
    pub reason: String,
    pub by: Actor,
}

impl Kind for Dispute {
    const NAME: &str = "dispute";
    const IN_HISTORY: bool = true;

    fn cause(&self) -> Option<u64> {
        Some(self.disputes.index)
    }

    fn refers_to(&self) -> Vec<EntryRef> {
        vec![self.disputes]
    }
}
