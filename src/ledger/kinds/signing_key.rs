//! The key that signs tree heads was made, or took the place of another one.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{ledger::Actor, store::PublicKey};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SigningKeyChange {
    pub key: PublicKey,
    pub predecessor: Option<PublicKey>,
    /// The predecessor's signature of this key, 64 bytes; absent if the predecessor was lost. See
    /// [`SigningKey::endorse`](crate::store::SigningKey::endorse).
    #[serde(default, with = "serde_bytes")]
    pub endorsement: Option<Vec<u8>>,
    /// Who changed it; absent if the daemon found another key at its start.
    pub by: Option<Actor>,
}

impl Kind for SigningKeyChange {
    const NAME: &str = "signing_key";
}
