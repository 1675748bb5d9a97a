//! The platforms' signed acknowledgements.
//!
//! A row that was struck off says only that the broker had it. That the platform itself has
//! everything up to a seq is known only from an acknowledgement with its signature. Whatever may
//! delete a record rests on this, never on an unsigned message (I13).

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::store::{meta, set_meta};

/// Key in `meta`, before the upstream's name.
const KEY: &str = "signed_ack/";

/// The newest acknowledgement of one platform that its key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAck {
    /// The seq up to which the platform has everything.
    pub upto: u64,
    /// Time at which the platform signed it, by its own clock; ms since 1970.
    pub issued_ms: i64,
}

/// Returns the newest signed acknowledgement of an upstream; `None` where there is none.
pub fn signed_ack(tx: &Transaction<'_>, upstream: &str) -> Result<Option<SignedAck>, LedgerError> {
    let kept = meta(tx, &format!("{KEY}{upstream}"))?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()))
}

/// Keeps the newest signed acknowledgement of an upstream.
pub fn keep_signed_ack(
    tx: &Transaction<'_>,
    upstream: &str,
    ack: SignedAck,
) -> Result<(), LedgerError> {
    // Serializing plain numbers cannot fail.
    let kept = serde_json::to_vec(&ack).unwrap_or_default();
    Ok(set_meta(tx, &format!("{KEY}{upstream}"), &kept)?)
}
