//! This ledger takes the place of a damaged one.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::{Detail, EntryRef, LedgerId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Successor {
    /// The damaged ledger's id, where it could be read.
    pub predecessor: Option<LedgerId>,
    /// The last entry of the damaged ledger that could be read.
    pub head: Option<EntryRef>,
    /// The folder in which it lies.
    pub set_aside: String,
    /// What was wrong with it.
    pub detail: Detail,
    /// Workers carried over from it, and those that could not be.
    pub workers: u32,
    pub workers_lost: u32,
}

impl Kind for Successor {
    const NAME: &str = "successor";
}
