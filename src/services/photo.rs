//! The photo of a passage, for those who may look at it. Who looked is logged.

use serde::{Deserialize, Serialize};

use super::{Code, Failure, Services};
use crate::{
    ledger::{self, Actor},
    turnstile::PassageId,
};

/// A passage, as people name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassageAsked {
    /// By its record's number.
    Seq(u64),
    /// Its 32 digits.
    Passage(String),
}

/// A passage's photo.
pub struct PassagePhoto {
    pub passage: PassageId,
    pub jpeg: Vec<u8>,
}

impl Services {
    pub async fn passage_photo(
        &self,
        of: PassageAsked,
        by: &Actor,
    ) -> Result<PassagePhoto, Failure> {
        let passage: Option<PassageId> = match &of {
            PassageAsked::Passage(passage) => passage.parse().ok(),
            PassageAsked::Seq(seq) => {
                let seq = *seq;
                self.store.read(move |tx| ledger::passage_of(tx, seq)).await?
            }
        };
        let none = || {
            let problem = "no photo of this passage is kept: they are for some days only \
                           (storage.photo_keep_days), and go with their worker";
            Failure::new(Code::NoPhoto, problem)
        };
        let passage = passage.ok_or_else(none)?;
        let jpeg = self.photo_store.open(passage.0).await?.ok_or_else(none)?;
        tracing::info!(user = %by.user, uid = by.uid, %passage, asked = ?of, "looks at a photo");
        Ok(PassagePhoto { passage, jpeg })
    }
}
