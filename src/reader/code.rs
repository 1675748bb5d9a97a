//! Signed codes in QR: a worker's claim that counts once, and for minutes only.
//!
//! The text is `GH1` and Base32 (RFC 4648, without padding) of a body and the first 16 bytes of its
//! HMAC-SHA-256. The body is ASCII: `project/gateway/worker/issued/expires/nonce`, the times in
//! seconds since the Unix epoch. Base32 has only letters and digits that each reader and each
//! layout of a keyboard passes on. `docs/integrate/qr.md` has vectors.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The beginning of each code.
pub(super) const PREFIX: &str = "GH1";
/// Bytes of the authentication code.
const MAC: usize = 16;
/// Maximum length of a body in bytes.
pub const BODY_MAX: usize = 224;

/// What a code says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// The project of the gateway that the code is for.
    pub project: String,
    /// The gateway that the code is for.
    pub gateway: String,
    /// The worker's id.
    pub worker: String,
    /// When the code was made, in seconds since the Unix epoch.
    pub issued: i64,
    /// The time from which on the code does not count.
    pub expires: i64,
}

/// The key that makes and checks codes: 32 bytes that both sides have.
#[derive(Clone)]
pub struct CodeKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeKey(***)")
    }
}

impl CodeKey {
    /// Returns the key of these bytes.
    pub fn new(bytes: [u8; 32]) -> CodeKey {
        CodeKey(Zeroizing::new(bytes))
    }

    /// Returns the key of 64 hexadecimal digits.
    pub fn of_digits(digits: &str) -> Option<CodeKey> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits.trim(), &mut *key).ok()?;
        Some(CodeKey(key))
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        // HMAC pads a short key with zeros to a block.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&*self.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        mac.update(body);
        mac
    }
}

/// A code as it was read. Whether it counts is for the gate to say.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    says: Says,
    body: Vec<u8>,
    mac: [u8; MAC],
}

/// A code opens the gate, so it is not in logs.
impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(…)")
    }
}

impl Code {
    /// Makes a code. The nonce makes two codes of one second differ.
    pub fn make(says: Says, nonce: [u8; 8], key: &CodeKey) -> Code {
        let Says { project, gateway, worker, issued, expires } = &says;
        let nonce = hex::encode(nonce);
        let body = format!("{project}/{gateway}/{worker}/{issued}/{expires}/{nonce}").into_bytes();
        let whole = key.mac(&body).finalize().into_bytes();
        let mac = std::array::from_fn(|n| whole[n]);
        Code { says, body, mac }
    }

    /// Returns the text of the code.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&[&self.body[..], &self.mac].concat()))
    }

    /// Reads a text. `None`: it is no code.
    pub fn read(text: &str) -> Option<Code> {
        let (prefix, rest) = text.split_at_checked(PREFIX.len())?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        let bytes = BASE32_NOPAD.decode(rest.to_ascii_uppercase().as_bytes()).ok()?;
        let (body, mac) = bytes.split_last_chunk::<MAC>()?;
        if body.len() > BODY_MAX {
            return None;
        }
        let parts: Vec<&str> = std::str::from_utf8(body).ok()?.split('/').collect();
        let [project, gateway, worker, issued, expires, _nonce] = parts[..] else { return None };
        let text = |part: &str| part.to_owned();
        let says = Says {
            project: text(project),
            gateway: text(gateway),
            worker: text(worker),
            issued: issued.parse().ok()?,
            expires: expires.parse().ok()?,
        };
        Some(Code { says, body: body.to_vec(), mac: *mac })
    }

    /// Returns what the code says.
    pub fn says(&self) -> &Says {
        &self.says
    }

    /// Returns whether the holder of the key made the code.
    pub fn is_signed_with(&self, key: &CodeKey) -> bool {
        key.mac(&self.body).verify_truncated_left(&self.mac).is_ok()
    }

    /// Returns the hash by which a code counts once.
    pub fn id(&self) -> [u8; 32] {
        Sha256::digest([&self.body[..], &self.mac].concat()).into()
    }
}

#[cfg(test)]
mod tests;
