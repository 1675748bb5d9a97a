//! The key that a platform signs with: a secret that both sides have (HMAC-SHA-256), or the public
//! half of the platform's key (Ed25519).

use serde::{Deserialize, Deserializer, de::Error};

use super::Secret;

/// A key that checks a platform's signatures.
#[derive(Clone, Debug)]
pub enum SignerKey {
    /// 64 hexadecimal digits: the 32 bytes that both sides have.
    Hmac(Secret),
    /// The public key's 32 bytes.
    Ed25519([u8; 32]),
}

/// The prefix of a public key in the configuration.
pub const ED25519: &str = "ed25519:";

const FORM: &str = "must be file:PATH or credential:NAME of a secret that the platform has too, or \
                    ed25519: and the 64 hex digits of the platform's public key";

impl<'de> Deserialize<'de> for SignerKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<SignerKey, D::Error> {
        match Secret::deserialize(from)? {
            Secret::Plain(text) => {
                let mut key = [0; 32];
                let digits = text.strip_prefix(ED25519);
                match digits.map(|digits| hex::decode_to_slice(digits, &mut key)) {
                    Some(Ok(())) => Ok(SignerKey::Ed25519(key)),
                    // The text may be the secret itself, so the message does not show it.
                    _ => Err(D::Error::custom(FORM)),
                }
            }
            secret => Ok(SignerKey::Hmac(secret)),
        }
    }
}
