//! The signature of a terminal's messages: RSA with SHA-256 (PKCS #1 v1.5), in base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Map, Value};

use super::keys::{Keys, filled};
use crate::turnstile::settings::{Checked, wrong};

/// Signs messages, where the configuration has a key.
pub struct Signing {
    key: RsaKeyPair,
    field: String,
}

impl Signing {
    /// Reads the key. A template that names what no message has is refused.
    pub fn new(keys: &Keys) -> Checked<Option<Signing>> {
        let Some(secret) = &keys.sign_key else { return Ok(None) };
        let pem = secret.read().or_else(|e| wrong("sign_key", e.to_string()))?;
        let der = zeroize::Zeroizing::new(decoded(&pem).unwrap_or_default());
        let Ok(key) = RsaKeyPair::from_pkcs8(&der) else {
            let form = "is not an RSA key of 2048 to 4096 bits in PKCS #8 (PEM, BEGIN PRIVATE KEY): \
                        openssl pkcs8 -topk8 -nocrypt writes it so";
            return wrong("sign_key", form);
        };
        Ok(Some(Signing { key, field: keys.sign_field.clone() }))
    }

    /// Adds the signature of a template's text to an envelope.
    pub fn sign(
        &self,
        envelope: &mut Map<String, Value>,
        topic: &str,
        template: &str,
        info: &Map<String, Value>,
    ) {
        let text = filled(template, |name| Some(text_of(envelope, topic, info, name)));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let text = text.unwrap_or_default();
        let random = SystemRandom::new();
        if self.key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).is_ok() {
            envelope.insert(self.field.clone(), STANDARD.encode(signature).into());
        }
    }
}

/// Returns what a name in a template stands for. A member that the message lacks is empty.
fn text_of(
    envelope: &Map<String, Value>,
    topic: &str,
    info: &Map<String, Value>,
    name: &str,
) -> String {
    match name {
        "topic" => topic.to_owned(),
        "has_pic" => if info.contains_key("pic") { "1" } else { "0" }.to_owned(),
        _ => match info.get(name).or_else(|| envelope.get(name)) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        },
    }
}

/// Returns the bytes of a key in PEM.
fn decoded(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}
