//! The outcome of a grant or a release. Each has one.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    ledger::{Detail, EntryRef, Flag, Outcome},
    turnstile::PassageId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    pub passage: PassageId,
    /// The grant, or the release.
    pub cause: EntryRef,
    pub outcome: Outcome,
    /// Why it is not `passed`; absent if it is.
    pub detail: Option<Detail>,
    #[serde(default)]
    pub flags: Vec<Flag>,
}

impl Kind for Closing {
    const NAME: &str = "outcome";

    fn cause(&self) -> Option<u64> {
        Some(self.cause.index)
    }

    fn refers_to(&self) -> Vec<EntryRef> {
        vec![self.cause]
    }

    fn closes(&self) -> Option<PassageId> {
        Some(self.passage)
    }
}
