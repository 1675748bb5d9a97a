//! An entry and its bytes.
//!
//! The bytes of a version are frozen, because courts read them years later. A later version adds a
//! kind or an optional field. An entry is one deterministic CBOR map with text keys:
//!
//! | key | value |
//! |---|---|
//! | `v` | 1 |
//! | `alg` | 1: leaf = SHA-256(0x00 \|\| these bytes), RFC 9162 |
//! | `salt` | 16 random bytes, so that a proof's neighbouring leaf hash does not let its entry be guessed |
//! | `ledger` | 16 bytes, made with the database |
//! | `index` | the entry's place among all entries, from 0 |
//! | `seq` | its place among the entries that go upstream, from 1; absent on a grant, which goes upstream with its outcome |
//! | `time` | `wall_ms` since 1970, `synced`, `boot` (16 bytes), `uptime_ms`, `ran_s`: seconds that this box has run in all since the ledger began, at least |
//! | `kind` | a word: [`kinds`](super::kinds) |
//! | `data` | a map, by kind; scores are ten-thousandths (0.7123 is 7123), dates ISO 8601 |
//!
//! A reader keeps unknown kinds and fields, and never refuses them.

use std::borrow::Cow;

use ciborium::Value;
use serde::{Deserialize, Serialize, de::IgnoredAny};
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
    /// Seconds that this box has run in all since the ledger began, at least.
    pub ran_s: u64,
    pub body: Body,
    /// Fields of a later version.
    pub unknown: Vec<Unknown>,
}

/// A field that this version does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// Its path: the keys of maps and the places in lists.
    pub path: Vec<Value>,
    pub value: Value,
}

/// The map of the table above. A first reading passes over `data`, because their type depends on
/// `kind`.
#[derive(Serialize, Deserialize)]
struct Whole<'a, Data> {
    v: u8,
    alg: u8,
    #[serde(with = "serde_bytes")]
    salt: [u8; 16],
    ledger: LedgerId,
    index: u64,
    seq: Option<u64>,
    time: Time,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    data: Data,
}

#[derive(Serialize, Deserialize)]
struct Time {
    wall_ms: i64,
    synced: bool,
    boot: BootId,
    uptime_ms: u64,
    ran_s: u64,
}

impl Entry {
    fn whole(&self) -> Whole<'_, &Body> {
        let Stamp { wall_ms, synced, boot, uptime_ms } = self.stamp;
        Whole {
            v: VERSION,
            alg: SHA256_LEAVES,
            salt: self.salt,
            ledger: self.ledger,
            index: self.index,
            seq: self.seq,
            time: Time { wall_ms, synced, boot, uptime_ms, ran_s: self.ran_s },
            kind: self.body.word().into(),
            data: &self.body,
        }
    }

    /// Returns the entry's bytes.
    ///
    /// # Errors
    /// None for a declared kind.
    pub fn encode(&self) -> Result<Vec<u8>, CborError> {
        let mut whole = canonical(&self.whole())?;
        for Unknown { path, value } in &self.unknown {
            put_back(&mut whole, path, value);
        }
        Ok(cbor::encode_whole(whole))
    }

    /// Reads an entry of version 1. The result is encoded again and compared with the bytes. Only
    /// fields that this version does not know may differ.
    ///
    /// # Errors
    /// Bytes that are not the deterministic form of an entry.
    pub fn decode(bytes: &[u8]) -> Result<Entry, CborError> {
        let decoded = cbor::decode(bytes)?;
        let mut entry = Entry::read(decoded.read())?;
        if entry.find_unknown(decoded.read())? {
            Ok(entry)
        } else {
            Err(CborError::NotDeterministic)
        }
    }

    /// Reads an entry without comparing the bytes again. The caller has to check the leaf hash.
    pub(super) fn decode_known(bytes: &[u8]) -> Result<Entry, CborError> {
        let decoded = cbor::decode(bytes)?;
        let mut entry = Entry::read(decoded.read())?;
        // The first reading passes over `data`: one value is always counted.
        if decoded.passed_over() > 1 {
            entry.find_unknown(decoded.read())?;
        }
        Ok(entry)
    }

    /// Keeps the unknown fields of the original. Returns whether the original has all known fields.
    fn find_unknown(&mut self, original: Read<'_, '_>) -> Result<bool, CborError> {
        let (original, understood) = (Value::deserialize(original)?, canonical(&self.whole())?);
        Ok(beyond(&original, &understood, &[], &mut self.unknown))
    }

    fn read(value: Read<'_, '_>) -> Result<Entry, CborError> {
        let Whole { v, alg, salt, ledger, index, seq, time, kind, data: IgnoredAny } =
            Whole::deserialize(value)?;
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

/// Returns whether the original has every understood value. Adds the other values to `unknown`.
fn beyond(
    original: &Value,
    understood: &Value,
    path: &[Value],
    unknown: &mut Vec<Unknown>,
) -> bool {
    let within = |key: Value| [path, &[key]].concat();
    match (original, understood) {
        (Value::Map(all), Value::Map(known)) => {
            let mut found = 0;
            all.iter().all(|(key, value)| match known.iter().find(|(known, _)| known == key) {
                Some((_, known)) => {
                    found += 1;
                    beyond(value, known, &within(key.clone()), unknown)
                }
                None => {
                    let (path, value) = (within(key.clone()), value.clone());
                    unknown.push(Unknown { path, value });
                    true
                }
            }) && found == known.len()
        }
        (Value::Array(all), Value::Array(known)) => {
            all.len() == known.len()
                && (all.iter().zip(known).enumerate())
                    .all(|(n, (a, k))| beyond(a, k, &within((n as u64).into()), unknown))
        }
        _ => original == understood,
    }
}

/// Puts an unknown field back at its path.
fn put_back(into: &mut Value, path: &[Value], field: &Value) {
    let Some((key, rest)) = path.split_first() else { return };
    let next = match into {
        Value::Map(pairs) if rest.is_empty() => {
            pairs.push((key.clone(), field.clone()));
            None
        }
        Value::Map(pairs) => pairs.iter_mut().find(|(name, _)| name == key).map(|(_, next)| next),
        Value::Array(items) => {
            let place = key.as_integer().and_then(|place| usize::try_from(place).ok());
            place.and_then(|place| items.get_mut(place))
        }
        _ => None,
    };
    if let Some(next) = next {
        put_back(next, rest, field);
    }
}

/// Returns the hash of a leaf of the Merkle tree: SHA-256(0x00 || entry), RFC 9162, 2.1.1.
pub fn leaf_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// Returns the commitment to an ID number that an enrolment's entry holds instead of the number:
/// SHA-256("gatehouse id 1" || salt || type || 0x00 || number). `number` is normalised: trimmed,
/// ASCII letters in upper case ([`crate::roster::Identity::checked`]). `salt`: 32 random bytes,
/// kept sealed with the number. An evidence package opens the commitment by showing all three.
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
