//! A guard released a lane by hand, and may vouch for a worker. The outcome follows.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    config::Direction,
    ledger::{Actor, Evidence, Flag},
    roster::{Person, WorkerId},
    turnstile::PassageId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardRelease {
    pub passage: PassageId,
    pub lane: String,
    pub direction: Direction,
    pub person: Option<Person>,
    /// In the guard's words.
    pub reason: String,
    /// The guard who vouches.
    #[serde(default, deserialize_with = "crate::ledger::evidence::list")]
    pub evidence: Vec<Evidence>,
    #[serde(default)]
    pub flags: Vec<Flag>,
}

impl GuardRelease {
    /// Returns the guard who released the lane.
    pub fn by(&self) -> Option<&Actor> {
        self.evidence.iter().find_map(Evidence::guard)
    }
}

impl Kind for GuardRelease {
    const NAME: &str = "release";

    fn worker(&self) -> Option<&WorkerId> {
        self.person.as_ref().map(|person| &person.id)
    }

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }

    fn opens(&self) -> Option<PassageId> {
        Some(self.passage)
    }
}
