//! The number of one person's attempt to pass.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

/// The number of one person's attempt to pass: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PassageId(pub [u8; 16]);

/// The kernel gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the kernel for a passage id: {0}")]
pub struct NoRandomness(getrandom::Error);

/// The text is not 32 hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a passage id is 32 hexadecimal digits")]
pub struct BadPassageId;

impl PassageId {
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(NoRandomness)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for PassageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PassageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassageId({self})")
    }
}

impl FromStr for PassageId {
    type Err = BadPassageId;

    fn from_str(text: &str) -> Result<Self, BadPassageId> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadPassageId)?;
        Ok(Self(bytes))
    }
}

/// Writes digits in formats for people, and bytes in a ledger entry.
impl Serialize for PassageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for PassageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return serde_bytes::deserialize(deserializer).map(PassageId);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
