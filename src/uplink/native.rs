//! The `native` profile: topics and payloads, in JSON or in CBOR with the same names.

pub mod command;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    attendance::{EventRecord, Origin, Record},
    config::Encoding,
    ledger::{LaneMode, Stored},
};

/// Topics under `gatehouse/v1/{project}/{gateway}/`.
pub fn topic(origin: &Origin, leaf: &str) -> String {
    ["gatehouse/v1/", &origin.project, "/", &origin.gateway, "/", leaf].concat()
}

/// A message ready for the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// A record takes less, in most cases.
const USUAL_BYTES: usize = 1024;

/// A payload: JSON with the fields as declared, or the same document as CBOR (RFC 8949) with
/// definite lengths.
fn encode(value: &impl Serialize, encoding: Encoding) -> Result<Vec<u8>, serde_json::Error> {
    match encoding {
        Encoding::Json => {
            let mut bytes = Vec::with_capacity(USUAL_BYTES);
            serde_json::to_writer(&mut bytes, value)?;
            Ok(bytes)
        }
        Encoding::Cbor => {
            let document = serde_json::to_value(value)?;
            let mut bytes = Vec::new();
            // Writing a document into a Vec has no error to give.
            let _ = ciborium::into_writer(&document, &mut bytes);
            Ok(bytes)
        }
    }
}

/// What came, strictly: no unknown field, nothing behind it.
fn decode<T: DeserializeOwned>(encoding: Encoding, payload: &[u8]) -> Result<T, String> {
    match encoding {
        Encoding::Json => serde_json::from_slice(payload).map_err(|e| e.to_string()),
        Encoding::Cbor => {
            let mut rest = payload;
            let value = ciborium::from_reader(&mut rest).map_err(|e| e.to_string())?;
            if rest.is_empty() { Ok(value) } else { Err("something stands behind it".to_owned()) }
        }
    }
}

/// On the topic `ack`: the consumer has everything of this ledger up to a seq.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    pub ledger: String,
    pub upto: u64,
}

/// An acknowledgement is some 70 bytes.
const ACKNOWLEDGEMENT_BYTES: usize = 1024;

pub fn acknowledgement(encoding: Encoding, payload: &[u8]) -> Result<Acknowledgement, String> {
    if payload.len() > ACKNOWLEDGEMENT_BYTES {
        return Err(format!("it has {} bytes, more than {ACKNOWLEDGEMENT_BYTES}", payload.len()));
    }
    decode(encoding, payload).map_err(|e| format!("it is not {{\"ledger\", \"upto\"}}: {e}"))
}

/// An outbox row's message: attendance where an outcome closes a worker's passage or somebody adds
/// one, else an event.
/// `cause` is the entry that an outcome closes.
pub fn message(
    origin: &Origin,
    encoding: Encoding,
    stored: &Stored,
    cause: Option<Stored>,
    resent: bool,
) -> Result<Message, serde_json::Error> {
    if let Some(record) = Record::of(origin, stored, cause) {
        let payload = encode(&Record { resent, ..record }, encoding)?;
        return Ok(Message { topic: topic(origin, "attendance"), payload });
    }
    let event = EventRecord::of(origin, stored).map(|e| EventRecord { resent, ..e });
    Ok(Message { topic: topic(origin, "event"), payload: encode(&event, encoding)? })
}

/// What the retained status says while connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Online {
    pub state: &'static str,
    pub version: &'static str,
    pub booted_at: String,
    pub roster_version: u64,
    pub outbox: u64,
    pub lanes: Vec<OnlineLane>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnlineLane {
    pub name: String,
    pub mode: LaneMode,
    pub turnstile: bool,
    pub cameras: Vec<bool>,
}

impl Online {
    pub fn payload(&self, encoding: Encoding) -> Result<Vec<u8>, serde_json::Error> {
        encode(self, encoding)
    }
}

/// The last will, and what a clean shutdown says.
pub fn offline(encoding: Encoding) -> Result<Vec<u8>, serde_json::Error> {
    encode(&serde_json::json!({ "state": "offline" }), encoding)
}
