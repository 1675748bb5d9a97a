//! Payloads in JSON, or the same documents in CBOR.

use serde::{Deserialize, Serialize};

/// The encoding of payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// RFC 8259.
    #[default]
    Json,
    /// RFC 8949, with the names that JSON has.
    Cbor,
}

/// Initial capacity of a payload's buffer. Most records take less.
const USUAL_BYTES: usize = 1024;

/// Returns a payload: JSON with the fields as declared, or the same document as CBOR (RFC 8949)
/// with definite lengths.
pub fn encode(value: &impl Serialize, encoding: Encoding) -> Result<Vec<u8>, serde_json::Error> {
    match encoding {
        Encoding::Json => {
            let mut bytes = Vec::with_capacity(USUAL_BYTES);
            serde_json::to_writer(&mut bytes, value)?;
            Ok(bytes)
        }
        Encoding::Cbor => {
            let document = serde_json::to_value(value)?;
            let mut bytes = Vec::new();
            // Writing a document into a Vec cannot fail.
            let _ = ciborium::into_writer(&document, &mut bytes);
            Ok(bytes)
        }
    }
}
