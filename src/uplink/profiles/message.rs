//! A message of a profile, or why there is none.

/// A message ready for the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic, or path, that it goes to.
    pub topic: String,
    /// The payload in the platform's encoding.
    pub payload: Vec<u8>,
    /// Whether the broker keeps the newest one for later subscribers.
    pub retained: bool,
}

/// A message, or `None` if it is not for this platform. Its outbox row is then struck off unsent.
pub type Made = Result<Option<Message>, Unmade>;

/// Why a message is not made.
#[derive(Debug, thiserror::Error)]
pub enum Unmade {
    /// The gateway lacks something that the platform asks for, in words that name the remedy. A
    /// record stands aside with them until its cause is mended.
    #[error("{0}")]
    Lacks(String),
    /// A value cannot be written as JSON.
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}
