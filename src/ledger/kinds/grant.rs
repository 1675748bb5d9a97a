//! A claim was granted. The outcome follows in an entry of its own, and both go upstream together.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    config::Direction,
    ledger::{Evidence, Flag},
    roster::{Person, WorkerId},
    turnstile::PassageId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub passage: PassageId,
    pub lane: String,
    pub direction: Direction,
    pub person: Person,
    /// The presented evidence, in the order of its presentation.
    #[serde(default, deserialize_with = "crate::ledger::evidence::list")]
    pub evidence: Vec<Evidence>,
    #[serde(default)]
    pub flags: Vec<Flag>,
    /// The version of the roster that was searched.
    pub roster: u64,
    /// SHA-256 of the photo of this passage, if photos are kept.
    #[serde(default, with = "serde_bytes")]
    pub photo: Option<[u8; 32]>,
}

impl Grant {
    /// Returns a grant without flags or a photo, by the first version of a roster.
    pub fn new(
        passage: PassageId,
        lane: &str,
        direction: Direction,
        person: Person,
        evidence: Evidence,
    ) -> Grant {
        let (lane, evidence, flags) = (lane.to_owned(), vec![evidence], Vec::new());
        Grant { passage, lane, direction, person, evidence, flags, roster: 1, photo: None }
    }
}

impl Kind for Grant {
    const NAME: &str = "grant";
    const GOES_UPSTREAM: bool = false;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.person.id)
    }

    fn lane(&self) -> Option<&str> {
        Some(&self.lane)
    }

    fn opens(&self) -> Option<PassageId> {
        Some(self.passage)
    }
}
