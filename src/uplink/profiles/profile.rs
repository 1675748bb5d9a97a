//! The port to a platform: makes its messages, and reads what it sends.
//!
//! In: records, events and the gateway's status, as structs of this program. Out: messages in the
//! platform's own format, each with its topic (or path), or none if the platform does not take
//! them. In the other direction come acknowledgements and commands. A profile is pure: it touches
//! nothing, and the transport of its messages owns delivery.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use super::message::{Made, Message, Unmade};
use super::talk::Talk;
use crate::{
    attendance::{EventRecord, Leaf, Origin, Reckoned, Record},
    config::Upstream,
    ledger::{LaneMode, LedgerId, SignedHead, WithheldFor, tree::Hash},
    roster::IdType,
    turnstile::settings::Checked,
    uplink::{
        authority::{Authority, NotAuthorised},
        photos::Photo,
    },
};

/// What the records of a platform carry besides, as far as its profile [needs](Profile::needs) it.
/// It is opened in memory for the send alone.
#[derive(Clone, Default)]
pub struct Attached {
    /// The worker's ID document and its number. `None`: it is erased or damaged, or not needed.
    pub identity: Option<(IdType, Zeroizing<String>)>,
    /// The worker's number at the platform, if it has told one.
    pub code: Option<String>,
    /// How its time is known, if the clock was not synchronised.
    pub reckoned: Option<Reckoned>,
    /// A JPEG of the passage, or why there is none.
    pub photo: Option<Result<Arc<[u8]>, String>>,
    /// Time at which the message is made, by the wall clock.
    pub made_at: Timestamp,
}

/// What a profile asks for besides a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The worker's ID number.
    pub id_number: bool,
    /// The worker's number at the platform.
    pub code: bool,
    /// The true time, because the platform cannot reckon it.
    pub time: bool,
    /// A photo of the passage. The upstream must have `photos = "record"`.
    pub photo: bool,
}

/// A profile's name, its keys and its construction.
pub trait Dialect: Profile + Sized + 'static {
    /// Its name in the configuration.
    const WORD: &'static str;

    /// The keys of `[[upstream]]` that are its own, read by serde. The type must refuse unknown
    /// keys (`deny_unknown_fields`). `ack`, the login and the brokers are common to all profiles.
    type Keys: DeserializeOwned;

    /// Makes the profile of one upstream. The error names the wrong key and the reason.
    fn new(keys: Self::Keys, upstream: &Upstream, origin: &Origin) -> Checked<Self>;
}

/// The topics and payloads of a platform. By default there are no commands and no acknowledgements.
pub trait Profile: Send + Sync {
    /// Returns the prefix of all its topics. No other upstream of the same broker may use it.
    fn topics(&self) -> &str;

    /// Returns what its records carry besides.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Returns what in its configuration makes records stand aside, for `gatehouse check`.
    fn doubts(&self) -> Option<String> {
        None
    }

    /// Returns the transport of its messages.
    fn talk(&self) -> Talk {
        Talk::Mqtt
    }

    /// Makes the message of a worker's passage, or of a correction of the attendance.
    fn record(&self, record: &Record, attached: &Attached) -> Made;

    /// Makes the message of any other entry.
    fn event(&self, event: &EventRecord) -> Made;

    /// Makes the message of the gateway's status, which goes out each minute and on change.
    fn status(&self, online: &Online) -> Made;

    /// Returns the interval between statuses of a platform that takes them as heartbeats. They then
    /// do not go on change.
    fn heartbeat(&self) -> Option<Duration> {
        None
    }

    /// Makes the message that the gateway has come online. It goes at the begin of a connection, and
    /// with each heartbeat until the platform answers it ([`Heard::Welcome`]).
    fn greeting(&self, _online: &Online) -> Made {
        Ok(None)
    }

    /// Makes the message that the gateway is offline: the last will, also sent at a clean shutdown.
    fn offline(&self) -> Made;

    /// Makes the message of a signed tree head.
    fn head(&self, _head: &HeadNotice) -> Made {
        Ok(None)
    }

    /// Returns the topic of photos that go after their records. `None`: this platform gets none so.
    fn photos_on(&self) -> Option<String> {
        None
    }

    /// Makes the message of a photo, on the topic of photos.
    fn photo(&self, _photo: &PhotoNotice) -> Made {
        Ok(None)
    }

    /// Returns the topic of records, on which stubs go too. `None`: this platform knows no stubs.
    fn stubs_on(&self) -> Option<String> {
        None
    }

    /// Makes the message of a stub, on the topic of records.
    fn stub(&self, _stub: &Stub) -> Made {
        Ok(None)
    }

    /// Makes the message with which `gatehouse check` tries the topic of a `record` or of an event.
    /// It has no seq, so a consumer steps over it.
    fn trial(&self, _record: bool) -> Made {
        Ok(None)
    }

    /// Whether the platform can acknowledge, which `ack = "platform"` requires.
    fn acknowledges(&self) -> bool {
        false
    }

    /// Returns the row that a platform acknowledges by this number in [`Heard::Taken`], in the ledger
    /// with this id. `None`: this platform acknowledges all rows up to a seq.
    fn acknowledges_each(&self) -> Option<fn(ledger: LedgerId, number: u64) -> u64> {
        None
    }

    /// Whether commands may open a gate.
    fn remote_release(&self) -> bool {
        false
    }

    /// Returns the topics to subscribe to.
    fn listens_on(&self, _authority: &Authority) -> Vec<String> {
        Vec::new()
    }

    /// Tells what a message is, and reads an acknowledgement. A command is not read here, because
    /// it may be large.
    fn read(&self, _topic: &str, _payload: &[u8], _authority: &Authority) -> Heard {
        Heard::Nothing
    }

    /// Reads a command. Its signature is checked before its contents are read, and its bounds
    /// before and during reading.
    fn command(&self, _payload: &[u8], _authority: &Authority) -> Result<Envelope, NoCommand> {
        Err(NoCommand::new(None, "not_supported", "this platform gives no commands"))
    }

    /// Whether its commands may be lists of workers with their numbers at the platform. The gateway
    /// asked for them itself.
    fn lists_workers(&self) -> bool {
        false
    }

    /// Takes in that the roster has changed. A profile that asks for a list of workers may ask again.
    fn roster_changed(&self) {}

    /// Returns the payload of the reply to a command. To a platform that answers each call nothing is
    /// sent: a payload that is not empty says that records may go which lacked something.
    fn answer(&self, _reply: &Value) -> Vec<u8> {
        Vec::new()
    }

    /// Returns the payload of the reply `busy` to a command. `None` if the command is too large to
    /// look for its id.
    fn busy(&self, _payload: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Makes the message of a reply.
    fn reply(&self, _answer: Vec<u8>) -> Option<Message> {
        None
    }
}

/// What the platform gets in place of a record that the broker does not take.
#[derive(Clone, Debug)]
pub struct Stub {
    /// The ledger's id, in hexadecimal digits.
    pub ledger: String,
    /// The record's seq.
    pub seq: u64,
    /// Why the record is withheld.
    pub withheld: WithheldFor,
    /// The place and the hash of the record's entry.
    pub leaf: Leaf,
    /// Whether the record, or its stub, may have reached the platform before.
    pub resent: bool,
}

/// The meaning of a platform's message.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A command, for [`Profile::command`].
    Command,
    /// A command without the times that would show its age. A retained one is not carried out.
    Undated,
    /// An acknowledgement of the consumer, or why it is malformed.
    Acknowledgement(Result<Acknowledgement, String>),
    /// The consumer has one row, by its number in the messages of the platform.
    Taken(Result<u64, String>),
    /// The platform has seen that the gateway is online.
    Welcome,
    /// A message without a meaning here.
    Nothing,
}

/// An acknowledgement: the consumer has everything of this ledger up to a seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The ledger's id, in hexadecimal digits.
    pub ledger: String,
    /// The seq up to which the consumer has everything.
    pub upto: u64,
    /// Time at which the platform signed it; `None` for an unsigned one.
    pub signed_at: Option<Timestamp>,
}

/// Maximum size of a command: five photos of 1 MiB in base64, with room for the other arguments.
pub const COMMAND_MAX: usize = 8 << 20;

/// A command whose verb and arguments are not checked yet.
#[derive(Debug)]
pub struct Envelope {
    /// The id, which the platform chooses and uses once.
    pub id: String,
    /// The verb, such as `roster.digest`.
    pub verb: String,
    /// The arguments of the verb.
    pub args: Map<String, Value>,
    /// When the platform issued it, and when it expires, which is not before. `None`: the platform
    /// gives no times, and the command counts as issued when it was received.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Whether the platform's key has signed it.
    pub signed: bool,
}

/// Why a payload is not a command: a code, a sentence, and the id if it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCommand {
    /// The command's id, if it could be read.
    pub id: Option<String>,
    /// The code, which never changes, such as `malformed`.
    pub code: &'static str,
    /// The sentence, for a person.
    pub message: String,
}

impl NoCommand {
    /// Returns the refusal of a command with this id.
    pub fn new(id: Option<&str>, code: &'static str, message: impl std::fmt::Display) -> NoCommand {
        NoCommand { id: id.map(str::to_owned), code, message: message.to_string() }
    }
}

impl From<NotAuthorised> for NoCommand {
    fn from(refused: NotAuthorised) -> NoCommand {
        NoCommand::new(None, refused.code(), refused)
    }
}

/// A signed tree head, with the proof that the ledger only grew since the head sent before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadNotice {
    /// The head.
    pub signed: Arc<SignedHead>,
    /// The tree size of the head that was sent to this upstream before; `None` for the first one.
    pub from: Option<u64>,
    /// The consistency proof from that size (RFC 9162, 2.1.4.1), nearest hash first.
    pub consistency: Vec<Hash>,
}

/// A photo that goes after its record.
#[derive(Clone, Debug)]
pub struct PhotoNotice {
    /// The record of the passage.
    pub record: Record,
    /// The photo.
    pub photo: Photo,
}

/// The content of the status while connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Online {
    /// The word `online`.
    pub state: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// Time at which the daemon started, in the site's time zone.
    pub booted_at: String,
    /// Number that rises with each change of the roster.
    pub roster_version: u64,
    /// Number of rows that wait for this upstream.
    pub outbox: u64,
    /// The lanes, in the order of the configuration.
    pub lanes: Vec<OnlineLane>,
    /// Time of this status, by the wall clock.
    #[serde(skip)]
    pub at: Timestamp,
}

/// A lane in the status.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnlineLane {
    /// Its name in the configuration.
    pub name: String,
    /// Its mode: normal, free or closed.
    pub mode: LaneMode,
    /// Whether its controller answers.
    pub turnstile: bool,
    /// Whether each of its cameras gives frames.
    pub cameras: Vec<bool>,
}
