//! This ledger takes the place of a damaged one.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::ledger::{Detail, EntryRef, LedgerId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Successor {
    /// The damaged ledger's id, if it could be read.
    pub predecessor: Option<LedgerId>,
    /// The last entry of the damaged ledger that could be read.
    pub head: Option<EntryRef>,
    /// The folder that holds the damaged database.
    pub set_aside: String,
    /// The damage.
    pub detail: Detail,
    /// Number of workers carried over, and of workers that could not be.
    pub workers: u32,
    pub workers_lost: u32,
}

impl Kind for Successor {
    const NAME: &str = "successor";
}
