//! The port to a platform: how it is told what happened here, and what it says.
//!
//! In: records, events and the gateway's status, as structs of this program. Out: messages in the
//! platform's own words, each with the topic (or path) that it goes to, or none where the platform takes
//! no such thing. Back the other way come acknowledgements and commands. A profile is pure: it touches
//! nothing, and what transports its messages owns delivery.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    attendance::{EventRecord, Origin, Record},
    config::Upstream,
    ledger::LaneMode,
    turnstile::settings::Checked,
};

/// A message ready for the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic, or path, that it goes to.
    pub topic: String,
    /// The payload in the platform's encoding.
    pub payload: Vec<u8>,
    /// The newest one is kept for those who come later.
    pub retained: bool,
}

/// A message, or `None` where it is not for this platform: a row of the outbox is then struck off unsent.
pub type Made = Result<Option<Message>, serde_json::Error>;

/// What makes a folder a profile: its name, its keys and how it is made of them.
pub trait Dialect: Profile + Sized + 'static {
    /// Its name in the configuration.
    const WORD: &'static str;

    /// The keys of `[[upstream]]` that are its own, read by serde. It must refuse unknown ones
    /// (`deny_unknown_fields`). Its `ack`, its login and its brokers are common to all profiles.
    type Keys: DeserializeOwned;

    /// The profile of one upstream, or which of its keys is wrong and why.
    fn new(keys: Self::Keys, upstream: &Upstream, origin: &Origin) -> Checked<Self>;
}

/// What a platform speaks. Commands and acknowledgements have defaults: there are none.
pub trait Profile: Send + Sync {
    /// What all its topics begin with. No other upstream of the same broker may have topics there.
    fn topics(&self) -> &str;

    /// A worker's passage, or somebody's correction of the attendance.
    fn record(&self, record: &Record) -> Made;

    /// Everything else that is recorded.
    fn event(&self, event: &EventRecord) -> Made;

    /// How the gateway does, each minute and on change.
    fn status(&self, online: &Online) -> Made;

    /// The last will, and what a clean shutdown says.
    fn offline(&self) -> Made;

    /// Whether the platform can acknowledge, which `ack = "platform"` needs.
    fn acknowledges(&self) -> bool {
        false
    }

    /// Whether commands may open a gate.
    fn remote_release(&self) -> bool {
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

    /// Reads a command, bounded before and while it is read.
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
    /// A command, for [`Profile::command`].
    Command,
    /// The consumer's word that it has rows.
    /// Or why it is none.
    Acknowledgement(Result<Acknowledgement, String>),
    /// It is of no interest.
    Nothing,
}

/// The consumer has everything of this ledger up to a seq.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The ledger's id, in hexadecimal digits.
    pub ledger: String,
    /// The seq up to which the consumer has everything.
    pub upto: u64,
}

/// Maximum size of a command: five photos of 1 MiB in base64, and what is said beside them.
pub const COMMAND_MAX: usize = 8 << 20;

/// A command whose verb nobody has looked at yet.
#[derive(Debug)]
pub struct Envelope {
    /// Chosen by the platform, and never used again.
    pub id: String,
    /// What is to be done, such as `roster.digest`.
    pub verb: String,
    /// With what.
    pub args: Map<String, Value>,
    /// When the platform issued it.
    pub issued_at: Timestamp,
    /// After this it is not done; not before `issued_at`.
    pub expires_at: Timestamp,
}

/// Why a payload is no command: a stable word, a sentence, and the id where it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCommand {
    /// The command's id.
    pub id: Option<String>,
    /// The word, such as `malformed`.
    pub code: &'static str,
    /// The sentence, for a person.
    pub message: String,
}

impl NoCommand {
    /// The refusal of a command with this id.
    pub fn new(id: Option<&str>, code: &'static str, message: impl std::fmt::Display) -> NoCommand {
        NoCommand { id: id.map(str::to_owned), code, message: message.to_string() }
    }
}

/// What the status says while connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Online {
    /// `online`.
    pub state: &'static str,
    /// The program's.
    pub version: &'static str,
    /// When the daemon started, in the site's time.
    pub booted_at: String,
    /// Rises with each change of the roster.
    pub roster_version: u64,
    /// Rows that wait for this upstream.
    pub outbox: u64,
    /// Each lane, in the order of the configuration.
    pub lanes: Vec<OnlineLane>,
}

/// A lane in the status.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnlineLane {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it works normally, stands open or is closed.
    pub mode: LaneMode,
    /// Whether its controller answers.
    pub turnstile: bool,
    /// Whether each of its cameras gives frames.
    pub cameras: Vec<bool>,
}
