//! The port to a platform: how it is told what happened here, and what it says.
//!
//! In: records, events and the gateway's status, as structs of this program. Out: messages in the
//! platform's own words, each with the topic (or path) that it goes to. Back the other way come
//! acknowledgements and commands. A profile is pure: it touches nothing, and whoever transports its
//! messages owns delivery.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    attendance::{EventRecord, Record},
    ledger::LaneMode,
};

/// A message ready for the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    /// The newest one is kept for those who come later.
    pub retained: bool,
}

pub type Made = Result<Message, serde_json::Error>;

/// What a platform speaks. Commands and acknowledgements have defaults: there are none.
pub trait Profile: Send + Sync {
    /// A worker's passage, or somebody's correction of the attendance.
    fn record(&self, record: &Record) -> Made;

    /// Everything else that is recorded.
    fn event(&self, event: &EventRecord) -> Made;

    fn status(&self, online: &Online) -> Made;

    /// The last will, and what a clean shutdown says.
    fn offline(&self) -> Made;

    /// Whether the platform can acknowledge, which `ack = "platform"` needs.
    fn acknowledges(&self) -> bool {
        false
    }

    /// The topics that the platform speaks on.
    fn listens_on(&self) -> Vec<String> {
        Vec::new()
    }

    /// What came on a topic. A command is only told from the rest here: it may be large.
    fn read(&self, _topic: &str, _payload: &[u8]) -> Heard {
        Heard::Nothing
    }

    fn command(&self, _payload: &[u8]) -> Result<Envelope, NoCommand> {
        Err(NoCommand::new(None, "not_supported", "this platform gives no commands"))
    }

    /// The reply to a command, as bytes.
    fn answer(&self, _reply: &Value) -> Vec<u8> {
        Vec::new()
    }

    /// The reply to a command that there is no time for, if its id can be seen at a glance.
    fn busy(&self, _payload: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// A reply's bytes on their way.
    fn reply(&self, _answer: Vec<u8>) -> Option<Message> {
        None
    }
}

/// What a platform said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Command,
    /// Or why it is none.
    Acknowledgement(Result<Acknowledgement, String>),
    /// It is of no interest.
    Nothing,
}

/// The consumer has everything of this ledger up to a seq.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    pub ledger: String,
    pub upto: u64,
}

/// Maximum size of a command: five photos of 1 MiB in base64, and what is said beside them.
pub const COMMAND_MAX: usize = 8 << 20;

/// A command whose verb nobody has looked at yet.
#[derive(Debug)]
pub struct Envelope {
    pub id: String,
    pub verb: String,
    pub args: Map<String, Value>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Why a payload is no command: a stable word, a sentence, and the id where it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCommand {
    pub id: Option<String>,
    pub code: &'static str,
    pub message: String,
}

impl NoCommand {
    pub fn new(id: Option<&str>, code: &'static str, message: impl std::fmt::Display) -> NoCommand {
        NoCommand { id: id.map(str::to_owned), code, message: message.to_string() }
    }
}

/// What the status says while connected.
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
