//! An outcome that replaces an earlier one of the same passage. The last correction counts.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::{Detail, EntryRef, Flag, Outcome},
    turnstile::PassageId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    pub passage: PassageId,
    /// The grant, or the release.
    pub cause: EntryRef,
    /// The outcome that was recorded first. Further corrections name the same one.
    pub corrects: EntryRef,
    /// The seq of that outcome.
    pub corrects_seq: u64,
    pub outcome: Outcome,
    /// Why it was corrected.
    pub detail: Option<Detail>,
    /// The flags of the corrected outcome, and further ones.
    #[serde(default)]
    pub flags: Vec<Flag>,
}

impl Kind for Correction {
    const NAME: &str = "correction";

    fn cause(&self) -> Option<u64> {
        Some(self.cause.index)
    }

    fn refers_to(&self) -> Vec<EntryRef> {
        vec![self.cause, self.corrects]
    }
}
