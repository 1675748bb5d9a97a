//! Encryption at rest (I5): a sealed value never reaches the disk in plain.
//!
//! A sealed value is `1 || nonce (24) || XChaCha20-Poly1305 ciphertext and tag`. Its place in the
//! database is the associated data, so that a value moved to another row does not open. Each
//! install has one master key: 32 random bytes, as 64 hex digits in a file of mode 0600 or in a
//! systemd credential. The keys in use are derived from it by HMAC-SHA-256, and zeroised when
//! dropped.

use std::{
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    config::{Secret, SecretError},
    memory::locked::pin,
};

const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;

/// Why the sealing key cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant shows its fields")]
pub enum KeyError {
    /// The key's file or credential cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no key, and the database needs one.
    #[error(
        "the sealing key {} is missing, and the database cannot be read without it: put the key \
         back from its backup",
        path.display()
    )]
    Missing { path: PathBuf },
    /// The text is not 64 hexadecimal digits.
    #[error("{} is not a {what}: it must be 64 hexadecimal digits on one line", path.display())]
    Malformed { path: PathBuf, what: &'static str },
    /// Other users may read the key's file.
    #[error("{} may be read by other users (mode {mode:o}): chmod 600 it", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// A new key's file cannot be written.
    #[error("cannot make the key {}: {source}", path.display())]
    NotMade { path: PathBuf, source: std::io::Error },
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Why a value cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant shows its fields")]
pub enum SealError {
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The value was altered, sealed with another key, or sealed for another place.
    #[error("{context} cannot be opened: it was altered, or sealed with another key")]
    DoesNotOpen { context: String },
}

/// Seals and opens values, and makes lookup hashes. Each install has one, shared by reference.
pub struct Sealer(Box<Keys>);

struct Keys {
    cipher: XChaCha20Poly1305,
    lookup: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(***)")
    }
}

fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> Zeroizing<[u8; 32]> {
    // HMAC pads a short key with zeros to a block. A key of a whole block is always accepted.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

impl Sealer {
    pub(super) fn from_master(master: &[u8; 32]) -> Self {
        let sealing = hmac_sha256(master, b"gatehouse sealing 1");
        Self(Box::new(Keys {
            cipher: XChaCha20Poly1305::new((&*sealing).into()),
            lookup: hmac_sha256(master, b"gatehouse lookup 1"),
        }))
    }

    /// Reads the key. A missing key is made if `may_make` says that nothing is sealed yet.
    pub fn load(key: &Secret, may_make: bool) -> Result<Self, KeyError> {
        let sealer = Self::from_master(&*read_key(key, "sealing key", may_make)?);
        pin(&*sealer.0);
        Ok(sealer)
    }

    /// Seals a value. `context` is its place in the database, such as `template/W001/0`.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let sealed = self
            .0
            .cipher
            .encrypt(&nonce.into(), Payload { msg: plain, aad: context.as_bytes() })
            .map_err(|_| SealError::DoesNotOpen { context: context.to_owned() })?;
        Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
    }

    /// Opens a value that was sealed with the same `context`. The plain bytes are zeroised when
    /// they are dropped.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let parts = sealed
            .split_first()
            .filter(|(version, _)| **version == VERSION)
            .and_then(|(_, rest)| rest.split_first_chunk::<NONCE_LEN>());
        parts
            .and_then(|(nonce, ciphertext)| {
                let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
                self.0.cipher.decrypt(nonce.into(), payload).ok()
            })
            .map(Zeroizing::new)
            .ok_or_else(|| SealError::DoesNotOpen { context: context.to_owned() })
    }

    /// Returns a keyed hash of an ID number, so that the database can find it without reading it.
    pub fn lookup(&self, id_number: &str) -> [u8; 32] {
        *hmac_sha256(&self.0.lookup, id_number.as_bytes())
    }
}

/// Reads a key of 32 bytes. `what` is its name in messages.
pub(super) fn read_key(
    key: &Secret,
    what: &'static str,
    may_make: bool,
) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let Some(path) = key.path()? else {
        return Err(KeyError::Malformed { path: "storage.key".into(), what });
    };
    if let Secret::File(_) = key {
        match std::fs::metadata(&path) {
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                return Err(KeyError::Exposed { mode: meta.permissions().mode() & 0o777, path });
            }
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if !may_make {
                    return Err(KeyError::Missing { path });
                }
                make_key(&path)?;
            }
            Err(source) => return Err(SecretError::Unreadable { path, source }.into()),
        }
    }
    let text = key.read()?;
    parse_hex32(text.trim()).ok_or(KeyError::Malformed { path, what })
}

/// Returns the path of a new key, until everything is sealed with it and it replaces the present
/// one.
pub(super) fn next_key(key: &Path) -> PathBuf {
    beside(key, ".next")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Makes a key that survives a power cut. An existing file is never overwritten.
pub(super) fn make_key(path: &Path) -> Result<(), KeyError> {
    let mut master = Zeroizing::new([0; 32]);
    getrandom::fill(master.as_mut())?;
    let mut text = Zeroizing::new([b'\n'; 65]);
    // This cannot fail: 32 bytes make 64 digits.
    let _ = hex::encode_to_slice(master.as_ref(), &mut text[..64]);
    // The key is written under another name and then linked, which never overwrites. A power cut
    // leaves either no key or the whole key.
    let draft = beside(path, ".draft");
    let written = || {
        let _ = std::fs::remove_file(&draft);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_slice())?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)?;
        std::fs::remove_file(&draft)?;
        // The name must survive a power cut too: without the key all sealed values are lost.
        sync_beside(path)
    };
    written().map_err(|source| KeyError::NotMade { path: path.to_owned(), source })
}

/// Syncs a file's folder, so that its names survive a power cut.
pub(super) fn sync_beside(path: &Path) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    std::fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

fn parse_hex32(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut master = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, master.as_mut()).ok()?;
    Some(master)
}

#[cfg(test)]
mod tests;
