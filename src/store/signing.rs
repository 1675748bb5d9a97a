//! The gateway's signing key: Ed25519 (RFC 8032). It signs the heads of the ledger's tree.
//!
//! Each gateway makes its own key at its first start: 32 random bytes, as 64 hex digits in a file
//! of mode 0600, or in a systemd credential. The key never leaves the gateway. Its public half and
//! that half's fingerprint may be told to everyone.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sealing::{KeyError, read_key};
use crate::{config::Secret, memory::locked::pin};

/// The public half of a signing key, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl PublicKey {
    /// Returns the SHA-256 hash of the key's 32 bytes.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// Returns whether this key has signed the next one, as [`SigningKey::endorse`] does.
    pub fn has_endorsed(&self, next: &PublicKey, endorsement: &[u8]) -> bool {
        self.has_signed(&endorsed(next), endorsement)
    }

    /// Returns whether `signature` is this key's signature of the message.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    /// Writes 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

fn endorsed(next: &PublicKey) -> Vec<u8> {
    [&b"gatehouse signing key 1"[..], &next.0].concat()
}

/// A gateway's signing key.
pub struct SigningKey {
    pair: Box<Ed25519KeyPair>,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(***, public {})", self.public)
    }
}

impl SigningKey {
    /// Reads the key. A missing file is made, with a new key.
    pub fn load(key: &Secret) -> Result<SigningKey, KeyError> {
        let seed = read_key(key, "signing key", true)?;
        let malformed = |path| KeyError::Malformed { path, what: "signing key" };
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .map_err(|_| malformed("storage.signing_key".into()))?;
        let public = pair.public_key().as_ref().try_into();
        let public = public.map_err(|_| malformed("storage.signing_key".into()))?;
        let pair = Box::new(pair);
        pin(&*pair);
        Ok(SigningKey { pair, public: PublicKey(public) })
    }

    /// Returns the key of 32 equal bytes.
    #[cfg(test)]
    pub fn of_bytes(byte: u8) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap();
        let public = PublicKey(pair.public_key().as_ref().try_into().unwrap());
        SigningKey { pair: Box::new(pair), public }
    }

    /// Returns its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Returns this key's signature of the key that takes its place: of the text
    /// `gatehouse signing key 1` and the new key's 32 bytes.
    pub fn endorse(&self, next: &PublicKey) -> Vec<u8> {
        self.sign(&endorsed(next))
    }

    /// Returns the signature of the message, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests;
