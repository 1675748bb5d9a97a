//! The file of an evidence package: one deterministic CBOR map. Any other form is refused.
//!
//! | key | value |
//! |---|---|
//! | `v` | 1 |
//! | `gateway`, `project`, `timezone` | texts; the time zone is for printing times |
//! | `worker` | the worker's id |
//! | `from`, `until` | the first and the last day, ISO 8601 |
//! | `key` | the gateway's public key, 32 bytes |
//! | `keys` | the keys before it, oldest first: `key`, and its `endorsement` of the next one |
//! | `head` | a signed head: a COSE_Sign1 message ([`Head`](crate::ledger::Head)) |
//! | `entries` | a list, by rising index: `bytes` of the entry, `path` of its inclusion proof |
//! | `earlier` | a list: an earlier signed `head`, and the `path` of the consistency proof |
//! | `signature` | the gateway's Ed25519 signature of `gatehouse evidence 1` and the same map without this key |
//! | `opened` | the enrolment's ID number: `index` of that entry, `id_type`, `number`, `salt` |
//!
//! A `path` is the hashes of RFC 9162, 2.1, nearest first, 32 bytes each, in one byte string.

use serde::{Deserialize, Serialize};

use crate::{
    ledger::{CborError, cbor, tree::Hash},
    store::{Link, MOST_LINKS, PublicKey, SigningKey},
};

/// Maximum size in bytes of a package that is verified.
pub const MOST_BYTES: usize = 64 << 20;
/// Maximum size in bytes of a package that a gateway makes. A worker who passes four times on each
/// day of three years has some 9 MB.
pub const MADE_BYTES: usize = 12 << 20;
const VERSION: u8 = 1;

/// An evidence package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    v: u8,
    pub gateway: String,
    pub project: String,
    pub timezone: String,
    pub worker: String,
    pub from: String,
    pub until: String,
    pub key: PublicKey,
    #[serde(default)]
    pub keys: Vec<Link>,
    #[serde(with = "serde_bytes")]
    pub head: Vec<u8>,
    #[serde(default)]
    pub entries: Vec<Proved>,
    #[serde(default)]
    pub earlier: Vec<Earlier>,
    #[serde(default)]
    pub opened: Option<Opened>,
    #[serde(default, with = "serde_bytes")]
    pub signature: Option<Vec<u8>>,
}

/// An entry with its inclusion proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proved {
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}

/// An earlier head, with the proof that the package's tree begins with its tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    #[serde(with = "serde_bytes")]
    pub head: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}

/// The opening of a commitment to an ID number ([`commitment`](crate::ledger::commitment)).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// The entry with the commitment.
    pub index: u64,
    pub id_type: String,
    pub number: String,
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 32],
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({}, ***)", self.index)
    }
}

impl Package {
    /// Returns a package without entries.
    pub fn new(
        [gateway, project, timezone]: [&str; 3],
        worker: &str,
        [from, until]: [String; 2],
        (key, head): (PublicKey, Vec<u8>),
    ) -> Package {
        Package {
            v: VERSION,
            gateway: gateway.to_owned(),
            project: project.to_owned(),
            timezone: timezone.to_owned(),
            worker: worker.to_owned(),
            from,
            until,
            key,
            keys: Vec::new(),
            head,
            entries: Vec::new(),
            earlier: Vec::new(),
            opened: None,
            signature: None,
        }
    }

    /// Signs the package as it is. The memory holds two copies of it more until then.
    pub fn sign(mut self, key: &SigningKey) -> Result<Package, CborError> {
        self.signature = None;
        self.signature = Some(key.sign(&message(&self.encode()?)));
        Ok(self)
    }

    /// Returns whether its key has signed all of it.
    pub fn is_signed(&self) -> bool {
        let signature = self.signature.as_deref().unwrap_or_default();
        self.signed().is_ok_and(|signed| self.key.has_signed(&signed, signature))
    }

    /// Returns all keys, the present one last; `None` unless each has endorsed the next.
    pub fn all_keys(&self) -> Option<Vec<PublicKey>> {
        let mut all: Vec<PublicKey> = self.keys.iter().map(|link| link.key).collect();
        all.push(self.key);
        let holds =
            |(link, next): (&Link, &PublicKey)| link.key.has_endorsed(next, &link.endorsement);
        let few = self.keys.len() <= MOST_LINKS;
        (few && self.keys.iter().zip(all.iter().skip(1)).all(holds)).then_some(all)
    }

    fn signed(&self) -> Result<Vec<u8>, CborError> {
        let unsigned = Package { signature: None, ..self.clone() };
        Ok(message(&unsigned.encode()?))
    }

    /// Returns the package's file.
    ///
    /// # Errors
    /// None in practice: a package is plain data.
    pub fn encode(&self) -> Result<Vec<u8>, CborError> {
        cbor::encode(self)
    }

    /// Reads a package's file.
    ///
    /// # Errors
    /// Bytes that are not the deterministic form of a package of this version.
    pub fn decode(bytes: &[u8]) -> Result<Package, CborError> {
        if bytes.len() > MOST_BYTES {
            return Err(CborError::Content(format!("it has more than {} MiB", MOST_BYTES >> 20)));
        }
        let decoded = cbor::decode(bytes)?;
        let package = Package::deserialize(decoded.read())?;
        if package.v != VERSION {
            return Err(CborError::Content(format!("version {} of packages", package.v)));
        }
        // This refuses absent values that are written out.
        if package.encode()? != bytes {
            return Err(CborError::NotDeterministic);
        }
        Ok(package)
    }
}

/// Returns what the key signs, for a package without its signature.
fn message(unsigned: &[u8]) -> Vec<u8> {
    [b"gatehouse evidence 1", unsigned].concat()
}

/// Returns a path as one byte string.
pub(super) fn joined(path: Vec<Hash>) -> Vec<u8> {
    path.into_flattened()
}

/// Returns the hashes of a path; `None` if it is not whole.
pub(super) fn hashes(path: &[u8]) -> Option<&[Hash]> {
    let (hashes, rest) = path.as_chunks();
    rest.is_empty().then_some(hashes)
}
