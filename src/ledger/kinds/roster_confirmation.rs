//! A person has checked a roster that was in doubt.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::{Actor, EntryRef};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RosterConfirmation {
    /// The entry since which the roster was in doubt: `lost` or `successor`.
    pub since: EntryRef,
    /// Number of workers on the roster.
    pub workers: u32,
    /// The version of the roster.
    pub roster: u64,
    /// What the person wants to say about it.
    #[serde(default)]
    pub reason: Option<String>,
    pub by: Actor,
}

impl Kind for RosterConfirmation {
    const NAME: &str = "roster_confirmation";

    fn refers_to(&self) -> Vec<EntryRef> {
        vec![self.since]
    }
}
