//! A card was given to a worker, taken back, or lost, or a code was made.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::Actor,
    roster::{CardChange, WorkerId},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub worker: WorkerId,
    pub what: CardChange,
    /// The keyed hash of the card's number, or the hash of the code, as in the evidence of a passage.
    #[serde(with = "serde_bytes")]
    pub commitment: [u8; 32],
    pub by: Actor,
}

impl Kind for Card {
    const NAME: &str = "card";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.worker)
    }
}
