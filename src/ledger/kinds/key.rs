//! The sealing key was replaced.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::Actor;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyChange {
    /// Number of values that were sealed again with the new key.
    pub resealed: u64,
    pub by: Actor,
}

impl Kind for KeyChange {
    const NAME: &str = "key";
}
