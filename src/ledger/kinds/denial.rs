//! A claim, or a face that matches no worker, was denied.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    config::Direction,
    ledger::{Evidence, Flag},
    roster::{Person, WorkerId},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Denial {
    pub lane: String,
    pub direction: Direction,
    /// A word: see [`Reason`](crate::gate::policy::Reason).
    pub reason: String,
    /// Present if the person was recognised.
    pub person: Option<Person>,
    #[serde(default, deserialize_with = "crate::ledger::evidence::list")]
    pub evidence: Vec<Evidence>,
    #[serde(default)]
    pub flags: Vec<Flag>,
}

impl Kind for Denial {
    const NAME: &str = "denial";

    fn worker(&self) -> Option<&WorkerId> {
        self.person.as_ref().map(|person| &person.id)
    }

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }
}
