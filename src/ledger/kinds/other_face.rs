//! A person went through on a worker's grant, and another face was before the camera until then.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    config::Direction,
    ledger::Evidence,
    roster::{Person, WorkerId},
    turnstile::PassageId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherFace {
    /// The passage of the worker who was granted.
    pub passage: PassageId,
    pub lane: String,
    pub direction: Direction,
    /// Present if the other face was recognised.
    pub person: Option<Person>,
    /// The scores of the other face.
    #[serde(default, deserialize_with = "crate::ledger::evidence::list")]
    pub evidence: Vec<Evidence>,
}

impl Kind for OtherFace {
    const NAME: &str = "other_face";

    fn worker(&self) -> Option<&WorkerId> {
        self.person.as_ref().map(|person| &person.id)
    }

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }
}
