//! Requests and replies.
//!
//! Each frame is a length (4 bytes, big-endian) and that many bytes, at most [`FRAME_MAX`]: one
//! kind byte, then JSON (kind 0) or a piece of a photo (kind 1). A client sends a request and reads
//! items until `done` or `error`; where the daemon says `send`, it sends the photo of that number, of
//! those that its request announced, in pieces of at most [`PIECE`]. Then it may ask again.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};
use tokio_util::{
    bytes::{BufMut, Bytes, BytesMut},
    codec::{Framed, LengthDelimitedCodec},
};

use crate::{
    config::Direction,
    gate::passage::Answered,
    ledger::LaneMode,
    roster::{IdType, Particulars, Person, State, Terms, Worker, WorkerId},
};

/// A frame's bytes, kind included. A record is under 2 KiB, a status under 64 KiB.
pub const FRAME_MAX: usize = 256 * 1024;
/// A photo's piece.
pub const PIECE: usize = 64 * 1024;
/// One photo's bytes.
pub const PHOTO_MAX: usize = 16 * 1024 * 1024;
/// Photos of one worker.
pub const PHOTOS_MAX: usize = 5;

const JSON: u8 = 0;
const BYTES: u8 = 1;

/// Has no `Debug`: an enrolment's ID number belongs in no log.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    Status,
    Enrol(Box<Enrol>),
    Amend(Box<Amend>),
    /// Suspends, bars or (`active`) readmits a worker.
    Hold {
        id: WorkerId,
        state: State,
        reason: String,
    },
    Remove {
        id: WorkerId,
        reason: Option<String>,
    },
    Workers(WorkerQuery),
    Worker {
        id: WorkerId,
    },
    /// Every entry on a worker that is no attendance.
    History {
        id: WorkerId,
    },
    Attendance(AttendanceQuery),
    /// The photo of a passage, in pieces of [`PIECE`] at most as hexadecimal digits.
    PassagePhoto {
        of: PassageAsked,
    },
    /// Who is on site.
    Onsite {
        /// Who came before this day is not looked for; three days ago.
        since: Option<jiff::civil::Date>,
    },
    /// A passage that no gate recorded. `at`: RFC 3339.
    Supplement {
        worker: WorkerId,
        at: jiff::Timestamp,
        direction: Direction,
        reason: String,
        /// Somebody was asked whether a time that looks mistyped is meant.
        #[serde(default)]
        confirmed: bool,
    },
    /// It was not this person: the attendance of this seq does not count.
    Dispute {
        seq: u64,
        reason: String,
    },
    Release {
        lane: String,
        direction: Direction,
        worker: Option<WorkerId>,
        reason: String,
    },
    Mode {
        lane: String,
        mode: LaneMode,
        reason: String,
    },
}

impl Request {
    /// Whether it is for those alone who may change things. The rest only reads, and no pictures of
    /// people.
    pub fn changes(&self) -> bool {
        match self {
            Request::Status
            | Request::Workers(_)
            | Request::Worker { .. }
            | Request::History { .. }
            | Request::Attendance(_)
            | Request::Onsite { .. } => false,
            Request::Enrol(_)
            | Request::Amend(_)
            | Request::Hold { .. }
            | Request::Remove { .. }
            | Request::PassagePhoto { .. }
            | Request::Supplement { .. }
            | Request::Dispute { .. }
            | Request::Release { .. }
            | Request::Mode { .. } => true,
        }
    }
}

/// Somebody comes onto the roster. Without photos and `live` they have no template, and pass only
/// when a guard vouches for them.
#[derive(Clone, Serialize, Deserialize)]
pub struct Enrol {
    #[serde(flatten)]
    pub person: Person,
    #[serde(default)]
    pub id_type: IdType,
    pub id_number: String,
    #[serde(default)]
    pub particulars: Particulars,
    #[serde(default)]
    pub terms: Terms,
    #[serde(default)]
    pub photos: Vec<Photo>,
    pub live: Option<Live>,
    /// Why the face may be that of another worker too: twins.
    pub allow_duplicate_face: Option<String>,
    #[serde(default)]
    pub if_known: IfKnown,
    /// All is examined and nothing is changed.
    #[serde(default)]
    pub dry_run: bool,
    /// Somebody was asked whether dates that look mistyped are meant, or there is no one to ask.
    #[serde(default)]
    pub confirmed: bool,
}

impl Enrol {
    /// With no particulars, terms or photos yet.
    pub fn new(person: Person, id_type: IdType, id_number: String) -> Enrol {
        Enrol {
            person,
            id_type,
            id_number,
            particulars: Particulars::default(),
            terms: Terms::default(),
            photos: Vec::new(),
            live: None,
            allow_duplicate_face: None,
            if_known: IfKnown::Refuse,
            dry_run: false,
            confirmed: false,
        }
    }
}

/// What to do where the same person is on the roster already under this id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfKnown {
    #[default]
    Refuse,
    /// Where nothing is different, well; else refuse. So an import that broke off can be run again.
    Same,
    /// Bring up to date. What is not given stays as it is; photos given replace those there are.
    Update,
}

/// From a lane's camera.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Live {
    pub lane: String,
    pub direction: Direction,
}

/// What an enrolment gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    #[serde(flatten)]
    pub worker: Worker,
    pub result: EnrolResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolResult {
    Enrolled,
    Unchanged,
    Updated,
}

/// What is said of a worker changes: what is given, and no more.
#[derive(Clone, Serialize, Deserialize)]
pub struct Amend {
    pub id: WorkerId,
    pub name: Option<String>,
    /// Its number, and its type where that is another one.
    pub document: Option<(Option<IdType>, String)>,
    pub particulars: Particulars,
    pub team: Option<String>,
    pub contractor: Option<String>,
    pub trade: Option<String>,
    pub terms: Terms,
    /// What is no longer said of the worker.
    #[serde(default)]
    pub clear: Vec<Clear>,
    pub faces: AmendFaces,
    pub photos: Vec<Photo>,
    pub live: Option<Live>,
    pub allow_duplicate_face: Option<String>,
    pub reason: Option<String>,
    /// As of an enrolment.
    #[serde(default)]
    pub confirmed: bool,
}

/// What may be unsaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Clear {
    ValidFrom,
    ValidUntil,
    ContractSigned,
    TrainedOn,
    Phone,
    BankTail,
}

/// What becomes of the templates and photos there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmendFaces {
    #[default]
    Keep,
    Add,
    Replace,
    Erase,
}

/// What somebody who stands before the camera for an enrolment is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Good looks so far, and how many are wanted.
    pub good: usize,
    pub wanted: usize,
    /// What is wrong with the latest look; empty where it is good.
    pub hint: String,
}

/// A photo that follows the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Photo {
    /// As its owner calls it, for messages.
    pub name: String,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerQuery {
    pub team: Option<String>,
    pub contractor: Option<String>,
    /// `None`: all who are on the roster.
    pub state: Option<crate::roster::State>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AttendanceQuery {
    pub worker: Option<WorkerId>,
    pub lane: Option<String>,
    pub team: Option<String>,
    pub contractor: Option<String>,
    /// First day, in the site's zone.
    pub from: Option<jiff::civil::Date>,
    /// Last day, in the site's zone.
    pub to: Option<jiff::civil::Date>,
    /// From this instant on, and until before that one; instead of days.
    pub from_at: Option<jiff::Timestamp>,
    pub to_at: Option<jiff::Timestamp>,
}

/// What a look for those on site ends with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OnsiteDone {
    pub count: u64,
    /// Since when it looked.
    pub since: String,
    pub at: String,
}

/// A passage, as people name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassageAsked {
    /// By its record's number.
    Seq(u64),
    /// Its 32 digits.
    Passage(String),
}

/// A piece of a passage's photo.
#[derive(Clone, Serialize, Deserialize)]
pub struct PhotoPiece {
    pub hex: String,
}

/// What a passage's photo is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhotoShown {
    pub passage: String,
    pub bytes: usize,
    pub sha256: String,
}

/// What `worker show` gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerShown {
    #[serde(flatten)]
    pub worker: Worker,
    pub id_type: IdType,
    /// All but the last four characters are stars.
    pub id_number: String,
    #[serde(flatten)]
    pub particulars: Particulars,
}

/// What `lane release` gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Released {
    pub lane: String,
    pub direction: Direction,
    #[serde(flatten)]
    pub answered: Answered,
}

/// What `lane mode` gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModeSet {
    pub lane: String,
    pub mode: LaneMode,
    pub reason: String,
}

/// The code of what is asked back. Nothing is changed until it is confirmed.
pub(super) const ASKS: &str = "unlikely";

/// Why a request was not carried out: a stable word, and a sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: String,
    /// What of the request it is about, as the command line calls it. Where the message begins with
    /// it, a colon follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl std::fmt::Display) -> Failure {
        Failure { code: code.to_owned(), field: None, message: message.to_string() }
    }

    /// About a field of the request.
    pub fn of(code: &str, field: &str, message: impl std::fmt::Display) -> Failure {
        Failure { field: Some(field.to_owned()), ..Failure::new(code, message) }
    }

    /// Whether it asks back: what looks mistyped may be meant, and is taken when it is confirmed.
    pub fn asks(&self) -> bool {
        self.code == ASKS
    }

    /// What is given cannot be taken.
    pub fn invalid(field: &str, problem: impl std::fmt::Display) -> Failure {
        Failure::of("invalid", field, format!("{field}: {problem}"))
    }

    /// The message with the field as who asked calls it.
    pub fn in_words_of(&self, called: impl FnOnce(&str) -> String) -> String {
        let Some(field) = &self.field else { return self.message.clone() };
        let rest = self.message.strip_prefix(field.as_str()).and_then(|r| r.strip_prefix(": "));
        format!("{}: {}", called(field), rest.unwrap_or(&self.message))
    }
}

/// A reply's frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Item(serde_json::Value),
    /// The photo of this number, from 0, is to be sent now.
    Send(usize),
    Done(serde_json::Value),
    Error(Failure),
}

/// What is wrong with the connection itself.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("the other side hung up")]
    HungUp,
    #[error("a frame that is not of this protocol: {0}")]
    Malformed(String),
}

/// A client that sends nothing, or takes nothing, for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(30);

/// An exchange with a client, for as long as one is waited for.
pub(super) async fn patient<T>(
    exchange: impl Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(WireError::HungUp))
}

/// A connection in frames.
pub struct Wire<T = UnixStream>(Framed<T, LengthDelimitedCodec>);

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub fn new(stream: T) -> Wire<T> {
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_MAX).new_codec();
        Wire(Framed::new(stream, codec))
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), WireError> {
        use futures_util::SinkExt;
        let mut frame = BytesMut::with_capacity(body.len() + 1);
        frame.put_u8(kind);
        frame.put_slice(body);
        Ok(self.0.send(frame.freeze()).await?)
    }

    pub async fn send_json(&mut self, value: &impl Serialize) -> Result<(), WireError> {
        let body = serde_json::to_vec(value).map_err(|e| WireError::Malformed(e.to_string()))?;
        self.send(JSON, &body).await
    }

    pub async fn send_piece(&mut self, piece: &[u8]) -> Result<(), WireError> {
        self.send(BYTES, piece).await
    }

    async fn receive(&mut self, expected: u8) -> Result<Bytes, WireError> {
        use futures_util::StreamExt;
        let frame = self.0.next().await.ok_or(WireError::HungUp)??.freeze();
        match frame.first() {
            Some(kind) if *kind == expected => Ok(frame.slice(1..)),
            _ => Err(WireError::Malformed(format!("not of kind {expected}"))),
        }
    }

    pub async fn receive_json<V: DeserializeOwned>(&mut self) -> Result<V, WireError> {
        let body = self.receive(JSON).await?;
        serde_json::from_slice(&body).map_err(|e| WireError::Malformed(e.to_string()))
    }

    pub async fn receive_piece(&mut self) -> Result<Bytes, WireError> {
        self.receive(BYTES).await
    }
}
