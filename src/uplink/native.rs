//! The `native` profile: topics and JSON payloads.

use serde::Serialize;

use crate::{
    attendance::{EventRecord, Origin, Record},
    ledger::Stored,
};

/// Topics under `gatehouse/v1/{project}/{gateway}/`.
pub fn topic(origin: &Origin, leaf: &str) -> String {
    format!("gatehouse/v1/{}/{}/{leaf}", origin.project, origin.gateway)
}

/// A message ready for the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// An outbox row's message: attendance where an outcome closes a worker's passage, else an event.
/// `cause` is the entry that an outcome closes.
pub fn message(
    origin: &Origin,
    stored: &Stored,
    cause: Option<&Stored>,
    resent: bool,
) -> Result<Message, serde_json::Error> {
    if let Some(record) = cause.and_then(|cause| Record::of(origin, stored, cause)) {
        let payload = serde_json::to_vec(&Record { resent, ..record })?;
        return Ok(Message { topic: topic(origin, "attendance"), payload });
    }
    let event = EventRecord::of(origin, stored).map(|e| EventRecord { resent, ..e });
    Ok(Message { topic: topic(origin, "event"), payload: serde_json::to_vec(&event)? })
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
    pub turnstile: bool,
    pub cameras: Vec<bool>,
}

/// The last will, and what a clean shutdown says.
pub const OFFLINE: &str = r#"{"state":"offline"}"#;
