//! The lines of an export that prove its records.
//!
//! | line | contents |
//! |---|---|
//! | `record` | the bytes of an outcome, a correction or a supplement, and of the outcome's cause; `shown`: what the gateway's list adds, such as a dispute |
//! | `head` | a signed head of the whole ledger, and the public key |
//! | `hashes` | the subtrees that cover the other entries, from the left ([`covering`](crate::ledger::tree::covering)) |
//! | `ending` | the number of records, and their first and last seq |
//! | `signature` | the key's signature of `gatehouse export 1` and the SHA-256 of all lines before |
//!
//! The heading comes first. Bytes are in Base64; the hashes, up to 1,000 in a line, too. The lines
//! prove that the entries are in the signed tree, and that the gateway made the file. They do not
//! prove that no record is missing.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::{
    Origin, Record,
    export::{Doubt, Ending, HeadOf, Heading, Trust},
};
use crate::{
    ledger::{
        Attended, CborError, Entry, Head, SignedHead, Stored, leaf_hash,
        tree::{Hash, root_of_some},
    },
    store::{PublicKey, SigningKey},
};

/// Number of hashes in a line.
pub const HASHES: usize = 1000;

/// A line of an export with proofs, after the heading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Record(Proved),
    Head { cose: Base64, key: Base64 },
    Hashes(Base64),
    Ending(Ending),
    Signature(Base64),
}

/// A record's entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proved {
    pub entry: Base64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Base64>,
    /// Fields of the list's record that its entries do not have.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub shown: Map<String, Json>,
}

/// Bytes, in Base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(Base64).map_err(D::Error::custom)
    }
}

impl Proved {
    /// Returns the line of a record, as the gateway lists it. `bytes` are its entry's and its
    /// cause's.
    ///
    /// # Errors
    /// None in practice: a record is plain data.
    pub fn of(
        origin: &Origin,
        listed: &Record,
        attended: &Attended,
        (entry, cause): (Vec<u8>, Option<Vec<u8>>),
    ) -> Result<Proved, serde_json::Error> {
        let mut shown = Map::new();
        let plain = Record::of(origin, &attended.entry, attended.cause.clone());
        if let Some(plain) = plain.filter(|plain| plain != listed) {
            let (plain, listed) = (fields(&plain)?, fields(listed)?);
            shown.extend(listed.into_iter().filter(|(key, value)| plain.get(key) != Some(value)));
        }
        Ok(Proved { entry: Base64(entry), cause: cause.map(Base64), shown })
    }

    /// Returns the record, and its entries' places and leaf hashes.
    fn read(self, origin: &Origin) -> Result<(Record, Vec<(u64, Hash)>), String> {
        let stored = |Base64(bytes)| -> Result<Stored, CborError> {
            Ok(Stored { entry: Entry::decode(&bytes)?, leaf: leaf_hash(&bytes) })
        };
        let no_entry = |e: CborError| format!("a record's entry: {e}");
        let entry = stored(self.entry).map_err(no_entry)?;
        let cause = self.cause.map(stored).transpose().map_err(no_entry)?;
        let of = |one: &Stored| (one.entry.index, one.leaf);
        let about = entry.entry.body.refers_to();
        if cause.as_ref().is_some_and(|cause| {
            let (index, hash) = of(cause);
            about.iter().all(|there| (there.index, there.hash) != (index, hash))
        }) {
            return Err("a record's cause is not the entry that the record is about".to_owned());
        }
        let leaves = [Some(&entry), cause.as_ref()].into_iter().flatten().map(of).collect();
        let record = Record::of(origin, &entry, cause).ok_or("an entry is no attendance")?;
        if self.shown.is_empty() {
            return Ok((record, leaves));
        }
        let mut all = fields(&record).map_err(|e| e.to_string())?;
        for (key, value) in self.shown {
            if all.contains_key(&key) {
                return Err(format!("a record's {key} is not what its entry says"));
            }
            all.insert(key, value);
        }
        let record = serde_json::from_value(Json::Object(all)).map_err(|e| e.to_string())?;
        Ok((record, leaves))
    }
}

fn fields(record: &Record) -> Result<Map<String, Json>, serde_json::Error> {
    match serde_json::to_value(record)? {
        Json::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// Signs an export while it is written.
pub struct Signing(Sha256);

impl Signing {
    /// Begins with the heading. Returns its line.
    pub fn begin(heading: &Heading) -> Result<(Signing, Vec<u8>), serde_json::Error> {
        let mut signing = Signing(Sha256::new());
        let line = signing.line(heading)?;
        Ok((signing, line))
    }

    /// Returns a line of the file.
    pub fn line(&mut self, line: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.0.update(&bytes);
        Ok(bytes)
    }

    /// Returns the last line.
    pub fn end(&mut self, key: &SigningKey) -> Result<Vec<u8>, serde_json::Error> {
        let signature = key.sign(&signed(self.0.clone()));
        self.line(&Line::Signature(Base64(signature)))
    }
}

impl Line {
    pub fn head(signed: &SignedHead) -> Line {
        let (cose, key) = (Base64(signed.bytes.clone()), Base64(signed.key.0.to_vec()));
        Line::Head { cose, key }
    }
}

fn signed(hash: Sha256) -> Vec<u8> {
    [&b"gatehouse export 1"[..], &hash.finalize()].concat()
}

/// The proof of an export, while it is read.
pub(super) struct Proof {
    origin: Origin,
    ledger: String,
    hash: Sha256,
    leaves: Vec<(u64, Hash)>,
    between: Vec<Hash>,
    head: Option<(PublicKey, Vec<u8>)>,
    signature: Vec<u8>,
    pub(super) ending: Option<Ending>,
}

impl Proof {
    pub(super) fn new(heading: &Heading, line: &[u8]) -> Proof {
        let zone = heading.timezone.as_deref().and_then(|name| TimeZone::get(name).ok());
        let (gateway, project) = (heading.gateway.clone(), heading.project.clone());
        let timezone = zone.unwrap_or(TimeZone::UTC);
        let mut proof = Proof {
            origin: Origin { gateway, project, timezone },
            ledger: heading.ledger.clone(),
            hash: Sha256::new(),
            leaves: Vec::new(),
            between: Vec::new(),
            head: None,
            signature: Vec::new(),
            ending: None,
        };
        proof.saw(line);
        proof
    }

    fn saw(&mut self, line: &[u8]) {
        self.hash.update(line);
        self.hash.update(b"\n");
    }

    /// Takes a line. Returns its record, if it has one.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<Record>, String> {
        let parsed = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        if !matches!(parsed, Line::Signature(_)) {
            self.saw(line);
        }
        match parsed {
            Line::Record(proved) if self.head.is_none() && self.ending.is_none() => {
                let (record, leaves) = proved.read(&self.origin)?;
                // Records of a database that was set aside stand in another tree.
                if record.ledger == self.ledger {
                    self.leaves.extend(leaves);
                }
                return Ok(Some(record));
            }
            Line::Head { cose, key } if self.head.is_none() && self.ending.is_none() => {
                let key = key.0.try_into().map_err(|_| "a public key has 32 bytes")?;
                self.head = Some((PublicKey(key), cose.0));
            }
            Line::Hashes(hashes) if self.head.is_some() && self.ending.is_none() => {
                let (hashes, rest) = hashes.0.as_chunks();
                if !rest.is_empty() {
                    return Err("a hash is cut off".to_owned());
                }
                self.between.extend_from_slice(hashes);
            }
            Line::Ending(ending) if self.ending.is_none() => self.ending = Some(ending),
            Line::Signature(signature) if self.ending.is_some() => self.signature = signature.0,
            _ => return Err("a line is not at its place".to_owned()),
        }
        Ok(None)
    }

    /// Returns whether the file is complete.
    pub(super) fn is_over(&self) -> bool {
        !self.signature.is_empty()
    }

    /// Returns the head, and why the records are not verified.
    pub(super) fn check(mut self, trust: &Trust) -> (Option<HeadOf>, Option<Doubt>) {
        let Some((key, cose)) = self.head else { return (None, Some(Doubt::Unsigned)) };
        let Ok(head) = Head::verify(&cose, &key) else { return (None, Some(Doubt::Fails)) };
        self.leaves.sort_unstable();
        self.leaves.dedup();
        let root = root_of_some(head.size, self.leaves, &self.between);
        let holds = root == Some(head.root)
            && head.gateway == self.origin.gateway
            && head.ledger.to_string() == self.ledger
            && key.has_signed(&signed(self.hash), &self.signature);
        if !holds {
            return (None, Some(Doubt::Fails));
        }
        let fingerprint = hex::encode(key.fingerprint());
        let at = Timestamp::from_millisecond(head.at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let shown = HeadOf {
            tree_size: head.size,
            root: hex::encode(head.root),
            signed_at: self.origin.time(at),
            fingerprint: fingerprint.clone(),
        };
        let known = trust.fingerprints.contains(&key.fingerprint());
        (Some(shown), (!known).then_some(Doubt::UnknownKey { fingerprint }))
    }
}

#[cfg(test)]
mod tests;
