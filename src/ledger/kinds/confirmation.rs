//! A person at the site confirmed, or rejected, what came from afar.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::{Actor, Alike, Compared},
    roster::{WaitsWhat, WorkerId},
    words::words,
};

words! {
    pub enum ConfirmationResult {
        /// The worker may enter, or the new faces are in force.
        Confirmed = "confirmed",
        /// The new faces are erased.
        Rejected = "rejected",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    pub worker: WorkerId,
    /// What waited.
    pub what: WaitsWhat,
    pub result: ConfirmationResult,
    /// The upstream that it came from.
    pub from: String,
    /// Number of templates after it that the gate matches.
    pub templates: u32,
    pub alike: Option<Alike>,
    /// Present if the faces were taken on this person's word.
    pub compared: Option<Compared>,
    /// In the words of the person who confirmed.
    pub reason: Option<String>,
    pub by: Actor,
}

impl Kind for Confirmation {
    const NAME: &str = "confirmation";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.worker)
    }
}
