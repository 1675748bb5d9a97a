//! Returns the photo of a passage, and records the user who asked for it. The caller checks that the
//! user may see it.

use serde::{Deserialize, Serialize};

use super::{Failure, Services, refusal::Refusal};
use crate::{
    ledger::{self, AccessWhat, Actor},
    turnstile::PassageId,
};

/// A passage, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassageAsked {
    /// The seq of its record.
    Seq(u64),
    /// The passage's id, 32 hexadecimal digits.
    Passage(String),
}

/// A passage's photo.
pub struct PassagePhoto {
    /// The passage's id.
    pub passage: PassageId,
    /// The photo of the face, a JPEG.
    pub jpeg: Vec<u8>,
}

impl Services {
    /// Returns the photo of a passage. The failure is `no_photo` if none is kept.
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
        let passage = passage.ok_or(Refusal::NoPhoto)?;
        let jpeg = self.photo_store.open(passage.0).await?.ok_or(Refusal::NoPhoto)?;
        self.record_reading(AccessWhat::Photo, by).await;
        Ok(PassagePhoto { passage, jpeg })
    }
}
