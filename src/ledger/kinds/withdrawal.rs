//! A dispute is taken back: the attendance counts again.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::{Actor, EntryRef};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The dispute.
    pub withdraws: EntryRef,
    /// In the words of the person who takes it back.
    pub reason: String,
    pub by: Actor,
}

impl Kind for Withdrawal {
    const NAME: &str = "withdrawal";
    const IN_HISTORY: bool = true;

    fn cause(&self) -> Option<u64> {
        Some(self.withdraws.index)
    }

    fn refers_to(&self) -> Vec<EntryRef> {
        vec![self.withdraws]
    }
}
