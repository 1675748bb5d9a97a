//! The photo of a passage, for somebody who may look at it. Who looked is logged.

use sha2::{Digest, Sha256};

use super::{Failure, Refusal, Services, to_json};
use crate::{
    control::protocol::{PIECE, PassageAsked, PhotoPiece, PhotoShown, Reply, Wire, patient},
    ledger::{self, Actor},
    store::album::AlbumError,
    turnstile::PassageId,
};

impl From<AlbumError> for Refusal {
    fn from(e: AlbumError) -> Self {
        Failure::new("storage", e).into()
    }
}

impl Services {
    pub(super) async fn passage_photo(
        &self,
        wire: &mut Wire,
        of: PassageAsked,
        by: &Actor,
    ) -> Result<serde_json::Value, Refusal> {
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
            Failure::new("no_photo", problem)
        };
        let passage = passage.ok_or_else(none)?;
        let jpeg = self.album.open(passage.0).await?.ok_or_else(none)?;
        tracing::info!(user = %by.user, uid = by.uid, %passage, asked = ?of, "looks at a photo");
        // Two digits a byte.
        for piece in jpeg.chunks(PIECE) {
            let piece = PhotoPiece { hex: hex::encode(piece) };
            patient(wire.send_json(&Reply::Item(to_json(&piece)?))).await?;
        }
        let sha256 = hex::encode(Sha256::digest(&jpeg));
        to_json(&PhotoShown { passage: passage.to_string(), bytes: jpeg.len(), sha256 })
    }
}
