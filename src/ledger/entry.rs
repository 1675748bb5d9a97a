//! An entry in full, and its bytes.
//!
//! The bytes of a version are frozen: courts read them years later. What comes later is a new kind or
//! an optional field. An entry is one deterministic CBOR map with text keys:
//!
//! | key | value |
//! |---|---|
//! | `v` | 1 |
//! | `alg` | 1: leaf = SHA-256(0x00 \|\| these bytes), RFC 9162 |
//! | `salt` | 16 random bytes, so that a neighbour's leaf cannot be guessed |
//! | `ledger` | 16 bytes, made with the database |
//! | `index` | the entry's place among all entries, from 0 |
//! | `seq` | its place among those that go upstream, from 1; absent on a grant, which goes upstream with its outcome |
//! | `time` | `wall_ms` since 1970, `synced`, `boot` (16 bytes), `uptime_ms`, `ran_s`: how long this box has run in all since the ledger began, at least |
//! | `kind` | a word: [`kinds`](super::kinds) |
//! | `data` | a map, by kind; scores are ten-thousandths (0.7123 is 7123), dates ISO 8601 |
//!
//! A reader keeps kinds and fields that it does not know, and never refuses them.

use ciborium::Value;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Body,
    cbor::{self, CborError, Read, canonical},
};
use crate::clock::{BootId, Stamp};

const VERSION: u8 = 1;
const SHA256_LEAVES: u8 = 1;

/// A ledger: 128 random bits made with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LedgerId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl std::fmt::Display for LedgerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// An entry in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub salt: [u8; 16],
    pub ledger: LedgerId,
    pub index: u64,
    pub seq: Option<u64>,
    pub stamp: Stamp,
    /// How long this box has run in all since the ledger began, at least; seconds.
    pub ran_s: u64,
    pub body: Body,
    /// Fields of a later version, by their paths.
    pub unknown: Vec<(String, Value)>,
}

/// All but `data`; see the table above.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    v: u8,
    alg: u8,
    #[serde(with = "serde_bytes")]
    salt: [u8; 16],
    ledger: LedgerId,
    index: u64,
    seq: Option<u64>,
    time: Time,
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct Time {
    wall_ms: i64,
    synced: bool,
    boot: BootId,
    uptime_ms: u64,
    ran_s: u64,
}

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    data: &'a Body,
}

impl Entry {
    fn whole(&self) -> Whole<'_> {
        let Stamp { wall_ms, synced, boot, uptime_ms } = self.stamp;
        Whole {
            head: Head {
                v: VERSION,
                alg: SHA256_LEAVES,
                salt: self.salt,
                ledger: self.ledger,
                index: self.index,
                seq: self.seq,
                time: Time { wall_ms, synced, boot, uptime_ms, ran_s: self.ran_s },
                kind: self.body.word().into(),
            },
            data: &self.body,
        }
    }

    /// # Errors
    /// None that a declared kind can give.
    pub fn encode(&self) -> Result<Vec<u8>, CborError> {
        cbor::encode(&self.whole())
    }

    /// Reads an entry of version 1. What it was taken for is written again and compared: only fields
    /// that this version does not know may be left.
    ///
    /// # Errors
    /// Bytes that are not the one form of an entry.
    pub fn decode(bytes: &[u8]) -> Result<Entry, CborError> {
        let decoded = cbor::decode(bytes)?;
        let mut entry = Entry::read(decoded.read())?;
        let understood = canonical(&entry.whole())?;
        let original = Value::deserialize(decoded.read())?;
        if beyond(&original, &understood, String::new(), &mut entry.unknown) {
            Ok(entry)
        } else {
            Err(CborError::NotDeterministic)
        }
    }

    /// Of bytes that are known to be ours, by their hash: what else may stand in them is not looked
    /// for.
    pub(super) fn decode_known(bytes: &[u8]) -> Result<Entry, CborError> {
        Entry::read(cbor::decode(bytes)?.read())
    }

    fn read(value: Read<'_, '_>) -> Result<Entry, CborError> {
        let Head { v, alg, salt, ledger, index, seq, time, kind } = Head::deserialize(value)?;
        if (v, alg) != (VERSION, SHA256_LEAVES) {
            return Err(CborError::Content(format!("version {v}, algorithm {alg}")));
        }
        let Time { wall_ms, synced, boot, uptime_ms, ran_s } = time;
        let data = value.field("data").ok_or_else(|| CborError::Content("no data".to_owned()))?;
        let stamp = Stamp { wall_ms, synced, boot, uptime_ms };
        let body = Body::read(&kind, data)?;
        Ok(Entry { salt, ledger, index, seq, stamp, ran_s, body, unknown: Vec::new() })
    }
}

/// Whether all that was understood stands in the original; notes what else does.
fn beyond(
    original: &Value,
    understood: &Value,
    path: String,
    unknown: &mut Vec<(String, Value)>,
) -> bool {
    match (original, understood) {
        (Value::Map(all), Value::Map(known)) => {
            let mut found = 0;
            all.iter().all(|(key, value)| {
                let name = key.as_text().unwrap_or_default();
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                match known.iter().find(|(known, _)| known == key) {
                    Some((_, known)) => {
                        found += 1;
                        beyond(value, known, path, unknown)
                    }
                    None => {
                        unknown.push((path, value.clone()));
                        true
                    }
                }
            }) && found == known.len()
        }
        (Value::Array(all), Value::Array(known)) => {
            all.len() == known.len()
                && (all.iter().zip(known).enumerate())
                    .all(|(n, (a, k))| beyond(a, k, format!("{path}.{n}"), unknown))
        }
        _ => original == understood,
    }
}

/// The hash of a leaf of the Merkle tree: SHA-256(0x00 || entry), RFC 9162, 2.1.1.
pub fn leaf_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// What an enrolment's entry says of the ID number without telling it:
/// SHA-256("gatehouse id 1" || salt || type || 0x00 || number). `number` is the normalised one:
/// trimmed, ASCII letters in upper case ([`crate::roster::Identity::checked`]). `salt`: 32 random bytes, kept
/// sealed with the number; an evidence package opens the commitment by showing all three.
pub fn commitment(salt: &[u8; 32], id_type: &str, number: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"gatehouse id 1")
        .chain_update(salt)
        .chain_update(id_type)
        .chain_update([0])
        .chain_update(number)
        .finalize()
        .into()
}
