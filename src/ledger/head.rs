//! Signed tree heads: the gateway's statement of what its whole ledger is at one moment.
//!
//! A head is a COSE_Sign1 message (RFC 9052, 4.2; tag 18) with Ed25519 and no external data. The
//! protected header is `{1: -8, 4: kid}`; `kid` is the fingerprint of the public key, 32 bytes. The
//! unprotected header is empty. The payload is one deterministic CBOR map:
//!
//! | key | value |
//! |---|---|
//! | `v` | 1 |
//! | `alg` | 1: SHA-256 in the tree, Ed25519 for the head |
//! | `ledger` | 16 bytes |
//! | `tree_size` | the number of entries |
//! | `root` | the tree's root, 32 bytes (RFC 9162, 2.1) |
//! | `at` | wall time in ms since 1970 |
//! | `synced` | whether the clock was synchronised |
//! | `gateway` | the gateway's id |
//!
//! The whole message is deterministic too: any other encoding is refused.

use std::sync::Arc;

use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use serde::{Deserialize, Serialize};

use super::{
    LedgerId,
    cbor::{self, CborError},
    tree::Hash,
};
use crate::{
    clock::Stamp,
    store::{PublicKey, SigningKey},
};

const VERSION: u8 = 1;
const SHA256_ED25519: u8 = 1;

/// What a head states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub ledger: LedgerId,
    /// Number of entries.
    pub size: u64,
    pub root: Hash,
    /// Wall time in ms since 1970.
    pub at_ms: i64,
    /// Whether the clock was synchronised.
    pub synced: bool,
    pub gateway: String,
}

/// A head with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    pub head: Head,
    /// The COSE_Sign1 message.
    pub bytes: Vec<u8>,
    /// The key that signed it.
    pub key: PublicKey,
}

/// The newest head of a running gateway.
#[derive(Clone, Debug, Default)]
pub struct HeadState {
    pub newest: Option<Arc<SignedHead>>,
    /// Why the ledger cannot be signed now.
    pub problem: Option<String>,
    /// The number of entries of a signed head that the ledger is not true to any more.
    pub broken: Option<u64>,
    /// The key in whose place the present one came, without its endorsement.
    pub replaced: Option<PublicKey>,
}

/// The map of the table above.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    v: u8,
    alg: u8,
    ledger: LedgerId,
    tree_size: u64,
    #[serde(with = "serde_bytes")]
    root: Hash,
    at: i64,
    synced: bool,
    gateway: String,
}

/// Why a head is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("not a signed tree head: {0}")]
    Malformed(String),
    #[error("a tree head of another version or algorithm; use a newer gatehouse")]
    OtherVersion,
    #[error("the tree head is signed with another key, of fingerprint {}", hex::encode(.0))]
    OtherKey(Vec<u8>),
    #[error("the tree head's signature is wrong: the head was altered or forged")]
    Forged,
}

impl From<CborError> for HeadError {
    fn from(error: CborError) -> HeadError {
        HeadError::Malformed(error.to_string())
    }
}

impl Head {
    /// Returns the head of a tree, for signing.
    pub fn new(ledger: LedgerId, (size, root): (u64, Hash), stamp: Stamp, gateway: &str) -> Head {
        let Stamp { wall_ms: at_ms, synced, .. } = stamp;
        Head { ledger, size, root, at_ms, synced, gateway: gateway.to_owned() }
    }

    /// Signs the head.
    ///
    /// # Errors
    /// None in practice: the payload is plain data.
    pub fn sign(self, key: &SigningKey) -> Result<SignedHead, HeadError> {
        let payload = Payload {
            v: VERSION,
            alg: SHA256_ED25519,
            ledger: self.ledger,
            tree_size: self.size,
            root: self.root,
            at: self.at_ms,
            synced: self.synced,
            gateway: self.gateway.clone(),
        };
        let signed = CoseSign1Builder::new()
            .protected(header(&key.public()))
            .payload(cbor::encode(&payload)?)
            .create_signature(&[], |message| key.sign(message))
            .build();
        let bytes = signed.to_tagged_vec().map_err(malformed)?;
        Ok(SignedHead { head: self, bytes, key: key.public() })
    }

    /// Reads a signed head, and checks its signature with the public key.
    pub fn verify(bytes: &[u8], key: &PublicKey) -> Result<Head, HeadError> {
        let signed = CoseSign1::from_tagged_slice(bytes).map_err(malformed)?;
        // This also refuses a second encoding, further headers, and bytes behind the message.
        let again = CoseSign1 {
            protected: coset::ProtectedHeader { original_data: None, ..signed.protected.clone() },
            ..signed.clone()
        };
        if again.to_tagged_vec().map_err(malformed)? != bytes {
            return Err(CborError::NotDeterministic.into());
        }
        let kid = &signed.protected.header.key_id;
        if *kid != key.fingerprint() {
            return Err(HeadError::OtherKey(kid.clone()));
        }
        if signed.protected.header != header(key) || !signed.unprotected.is_empty() {
            return Err(HeadError::OtherVersion);
        }
        signed.verify_signature(&[], |signature, message| {
            key.has_signed(message, signature).then_some(()).ok_or(HeadError::Forged)
        })?;
        let payload = signed.payload.unwrap_or_default();
        let decoded = cbor::decode(&payload)?;
        let payload = Payload::deserialize(decoded.read())?;
        if (payload.v, payload.alg) != (VERSION, SHA256_ED25519) {
            return Err(HeadError::OtherVersion);
        }
        Ok(Head {
            ledger: payload.ledger,
            size: payload.tree_size,
            root: payload.root,
            at_ms: payload.at,
            synced: payload.synced,
            gateway: payload.gateway,
        })
    }
}

impl Head {
    /// Reads a signed head, which one of these keys has signed. Returns that key, too.
    pub fn verify_with(bytes: &[u8], keys: &[PublicKey]) -> Result<(Head, PublicKey), HeadError> {
        let mut other = HeadError::OtherKey(Vec::new());
        for key in keys {
            match Head::verify(bytes, key) {
                Err(error @ HeadError::OtherKey(_)) => other = error,
                found => return found.map(|head| (head, *key)),
            }
        }
        Err(other)
    }
}

fn header(key: &PublicKey) -> coset::Header {
    let builder = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA);
    builder.key_id(key.fingerprint().to_vec()).build()
}

fn malformed(error: coset::CoseError) -> HeadError {
    HeadError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;
