//! The key that seals the roster is another one.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::Actor;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyChange {
    /// Values that were sealed with it.
    pub resealed: u64,
    pub by: Actor,
}

impl Kind for KeyChange {
    const NAME: &str = "key";
}
