//! The account at the platform: the form of a call with its signature, and the cipher of ID numbers.
//!
//! The signature is the SHA-256 of all fields in alphabetical order as `name=value&…`, in lower case,
//! with the secret at the end. The values are not URL-encoded in it. The cipher is AES-CBC with
//! PKCS#7. Its key is the secret, and its first block (IV) the secret's first 16 bytes.

use aes::{Aes128, Aes192, Aes256};
use base64::{Engine, engine::general_purpose::STANDARD};
use cbc::{
    Encryptor,
    cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7},
};
use jiff::{Zoned, fmt::strtime};
use sha2::{Digest, Sha256};
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::super::talk::Moment;

/// Length of a nonce in hexadecimal digits. A shorter nonce has decimal digits.
pub const HEX_NONCE: u8 = 32;

/// The account, and what its platform wants of each call.
pub struct Account {
    pub appid: String,
    pub secret: Zeroizing<String>,
    /// The company's key, of which some platforms want `corpsign`.
    pub corp_key: Option<Zeroizing<String>>,
    pub nonce_digits: u8,
}

impl Account {
    /// Returns whether a secret has the length of an AES key.
    pub fn is_secret(secret: &str) -> bool {
        matches!(secret.len(), 16 | 24 | 32)
    }

    /// Returns the cipher of a text in base64. `None` if the secret has not the length of a key.
    pub fn sealed(&self, text: &str) -> Option<String> {
        let key = self.secret.as_bytes();
        let iv = key.get(..16)?;
        let text = text.as_bytes();
        let sealed = match key.len() {
            16 => Encryptor::<Aes128>::new_from_slices(key, iv)
                .ok()?
                .encrypt_padded_vec::<Pkcs7>(text),
            24 => Encryptor::<Aes192>::new_from_slices(key, iv)
                .ok()?
                .encrypt_padded_vec::<Pkcs7>(text),
            _ => Encryptor::<Aes256>::new_from_slices(key, iv)
                .ok()?
                .encrypt_padded_vec::<Pkcs7>(text),
        };
        Some(STANDARD.encode(sealed))
    }

    /// Returns the body of a call. `at` is the time in the site's time zone.
    pub fn form(
        &self,
        method: &str,
        data: &str,
        at: &Zoned,
        moment: &Moment,
    ) -> Zeroizing<Vec<u8>> {
        let timestamp = strtime::format("%Y%m%d%H%M%S", at).unwrap_or_default();
        let corp_sign = self.corp_key.as_ref().and_then(|key| {
            let text = Zeroizing::new([key, timestamp.as_str()].concat());
            self.sealed(&text)
        });
        let nonce = self.nonce(moment);
        let mut fields = vec![("appid", self.appid.as_str())];
        fields.extend(corp_sign.as_deref().map(|sign| ("corpsign", sign)));
        fields.extend([
            ("data", data),
            ("format", "json"),
            ("method", method),
            ("nonce", &nonce),
            ("timestamp", &timestamp),
            ("version", "1.0"),
        ]);
        let sign = self.signature(&fields);
        fields.push(("sign", &sign));
        Zeroizing::new(Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes())
    }

    fn nonce(&self, moment: &Moment) -> String {
        if self.nonce_digits == HEX_NONCE {
            return hex::encode(moment.nonce);
        }
        let digits = moment.nonce.iter().map(|byte| char::from(b'0' + byte % 10));
        digits.take(self.nonce_digits.into()).collect()
    }

    /// Returns the signature of fields that are in alphabetical order.
    fn signature(&self, fields: &[(&str, &str)]) -> String {
        let mut signed = Zeroizing::new(String::new());
        // With its final size from the start, it leaves no copies of the secret behind.
        let size: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        signed.reserve(size + "appsecret=".len() + self.secret.len());
        for (name, value) in fields {
            signed.extend([name, "=", value, "&"]);
        }
        signed.extend(["appsecret=", &self.secret]);
        let signed = Zeroizing::new(signed.to_lowercase());
        hex::encode(Sha256::digest(signed.as_bytes()))
    }
}
