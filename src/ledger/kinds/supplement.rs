//! A person reports a passage that no gate recorded.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    config::Direction,
    ledger::Actor,
    roster::{Person, WorkerId},
    turnstile::PassageId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supplement {
    pub passage: PassageId,
    pub person: Person,
    pub direction: Direction,
    /// The reported time of the passage: wall time in ms since 1970.
    pub at_ms: i64,
    /// In the words of the person who added it.
    pub reason: String,
    pub by: Actor,
}

impl Kind for Supplement {
    const NAME: &str = "supplement";

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.person.id)
    }

    fn at_ms(&self) -> Option<i64> {
        Some(self.at_ms)
    }
}
