//! A person at the site exempted a worker from the judgement on a living face, or ended the exemption.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{ledger::Actor, roster::WorkerId, words::words};

words! {
    /// What happened to an exemption.
    pub enum ExemptionWhat {
        Given = "given",
        Ended = "ended",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exemption {
    pub worker: WorkerId,
    pub name: String,
    pub what: ExemptionWhat,
    /// In the words of the person who asked for it.
    pub reason: String,
    pub by: Actor,
}

impl Kind for Exemption {
    const NAME: &str = "exemption";
    const IN_HISTORY: bool = true;

    fn worker(&self) -> Option<&WorkerId> {
        Some(&self.worker)
    }
}
