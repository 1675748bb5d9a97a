//! The gateway's signing key: Ed25519 (RFC 8032). It signs the heads of the ledger's tree.
//!
//! Each gateway makes its own key at its first start: 32 random bytes, as 64 hex digits in a file
//! of mode 0600, or in a systemd credential. The key never leaves the gateway. Its public half and
//! that half's fingerprint may be told to everyone.

mod rotation;

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::rotation::{SigningRotated, rotate_signing};
use super::{
    meta::{meta, set_meta},
    sealing::{KeyError, read_key},
};
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

/// Key in `meta`: the public key that the ledger recorded last.
const RECORDED: &str = "signing_key";
/// Key in `meta`: the earlier keys with their endorsements, oldest first, 96 bytes each.
const LINKS: &str = "signing_links";
/// Key in `meta`: the key in whose place another one came that it had not endorsed.
const REPLACED: &str = "signing_key_replaced";
/// Maximum number of earlier keys that are kept. The oldest is dropped.
pub const MOST_LINKS: usize = 64;

/// A key that was rotated out, with its signature of the next one, 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The key.
    pub key: PublicKey,
    /// Its signature of the next key.
    #[serde(with = "serde_bytes")]
    pub endorsement: Vec<u8>,
}

/// Returns the public key that the ledger recorded last.
pub fn recorded_key(connection: &Connection) -> rusqlite::Result<Option<PublicKey>> {
    key_of(connection, RECORDED)
}

/// Returns the key in whose place another one came that it had not endorsed, while that is unsettled.
pub fn replaced_key(connection: &Connection) -> rusqlite::Result<Option<PublicKey>> {
    key_of(connection, REPLACED)
}

fn key_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<PublicKey>> {
    Ok(meta(connection, name)?.and_then(|key| key.try_into().ok()).map(PublicKey))
}

/// Notes the key that the ledger records in the caller's transaction. `link`: the key before it, if
/// that one has endorsed it. A key that no one endorsed is noted, until the key before it is back,
/// or a rotation settles it.
pub fn record_key(
    connection: &Connection,
    key: PublicKey,
    link: Option<Link>,
) -> rusqlite::Result<()> {
    let forget = "DELETE FROM meta WHERE key = ?1";
    let replaced = replaced_key(connection)?;
    match (recorded_key(connection)?, link) {
        (_, Some(link)) => {
            let mut links = meta(connection, LINKS)?.unwrap_or_default();
            links.extend(link.key.0);
            links.extend(&link.endorsement);
            let over = links.len().saturating_sub(MOST_LINKS * LINK);
            set_meta(connection, LINKS, links.get(over..).unwrap_or_default())?;
            connection.execute(forget, [REPLACED])?;
        }
        (Some(_), None) if replaced == Some(key) => {
            connection.execute(forget, [REPLACED])?;
        }
        (Some(before), None) if replaced.is_none() => set_meta(connection, REPLACED, &before.0)?,
        _ => {}
    }
    set_meta(connection, RECORDED, &key.0)
}

/// Number of bytes of a key and its endorsement.
const LINK: usize = 32 + 64;

/// Returns the keys before this one, oldest first: each has endorsed the next.
pub fn links_to(connection: &Connection, key: &PublicKey) -> rusqlite::Result<Vec<Link>> {
    let bytes = meta(connection, LINKS)?.unwrap_or_default();
    let (mut next, mut found) = (*key, Vec::new());
    for link in bytes.as_chunks::<LINK>().0.iter().rev() {
        let Some((key, endorsement)) = link.split_first_chunk() else { continue };
        let key = PublicKey(*key);
        if key.has_endorsed(&next, endorsement) {
            found.push(Link { key, endorsement: endorsement.to_vec() });
            next = key;
        }
    }
    found.reverse();
    Ok(found)
}

/// Carries the keys of a damaged database over to the one that takes its place.
pub fn carry_keys_over(connection: &Connection, old: &Connection) -> rusqlite::Result<()> {
    for name in [RECORDED, LINKS, REPLACED] {
        if let Some(value) = meta(old, name).ok().flatten() {
            set_meta(connection, name, &value)?;
        }
    }
    Ok(())
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
