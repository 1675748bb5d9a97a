//! Several different cards were shown at one side of a lane within a moment: they may be lent.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    config::Direction,
    ledger::Evidence,
    roster::{Person, WorkerId},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeveralCards {
    pub lane: String,
    pub direction: Direction,
    /// The worker of the last of them, if it is on the roster.
    pub person: Option<Person>,
    /// The last of them.
    #[serde(default, deserialize_with = "crate::ledger::evidence::list")]
    pub evidence: Vec<Evidence>,
}

impl Kind for SeveralCards {
    const NAME: &str = "several_cards";

    fn worker(&self) -> Option<&WorkerId> {
        self.person.as_ref().map(|person| &person.id)
    }

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }
}
