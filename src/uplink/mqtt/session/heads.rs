//! Publishes the ledger's signed tree heads: the newest one after each connection, and each new one.
//!
//! A head is an accessory: whatever fails here, records go out.

use tokio::sync::watch;

use super::Session;
use crate::{
    failpoint,
    ledger::{HeadState, LedgerError, growth},
    store::{Priority, meta, set_meta},
    uplink::{link::LinkError, profiles::HeadNotice},
};

/// Key in `meta`, before the upstream's name: the tree size of the last head that the
/// broker acknowledged, 8 bytes.
const SENT: &str = "head_sent/";

impl Session<'_> {
    pub(super) async fn publish_head(
        &mut self,
        heads: &mut watch::Receiver<HeadState>,
    ) -> Result<(), LinkError> {
        let Some(signed) = heads.borrow_and_update().newest.clone() else { return Ok(()) };
        let (sent, size) = (format!("{SENT}{}", self.to.upstream.name), signed.head.size);
        let proof = self.context.store.read(move |tx| {
            let from = meta(tx, &sent)?.and_then(|size| size.try_into().ok());
            let from = from.map(u64::from_be_bytes).filter(|from| *from <= size);
            let consistency = growth::prover(tx).consistency(from.unwrap_or(0), size)?;
            Ok::<_, LedgerError>((from, consistency))
        });
        let (from, consistency) = match proof.await {
            Ok(proof) => proof,
            Err(error) => {
                tracing::warn!(%error, "a tree head is not sent: there is no proof for it");
                return Ok(());
            }
        };
        let notice = HeadNotice { signed, from, consistency };
        let Some(message) = self.to.profile.head(&notice)? else { return Ok(()) };
        if self.publish_accessory(message)? {
            // At QoS 0 no one says that the head arrived, so the next proof begins before it.
            self.head_sent = (!self.qos_0).then_some(size);
        }
        failpoint::at("head.published");
        Ok(())
    }

    /// Notes the head that the broker has acknowledged. The next head's proof begins with it.
    pub(super) async fn note_head(&mut self) {
        if self.rows.delivery.has_others() {
            return;
        }
        let Some(size) = self.head_sent.take() else { return };
        failpoint::at("head.acknowledged");
        let key = format!("{SENT}{}", self.to.upstream.name);
        let wrote = self.context.store.write(Priority::Upkeep, move |tx| {
            set_meta(tx, &key, &size.to_be_bytes()).map_err(LedgerError::from)
        });
        if let Err(error) = wrote.await {
            tracing::warn!(%error, "the next tree head repeats a proof");
        }
        failpoint::at("head.noted");
    }
}
