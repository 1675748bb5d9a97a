//! Requests and replies.
//!
//! Each frame is a length (4 bytes, big-endian) and that many bytes, at most [`FRAME_MAX`]: one
//! kind byte, then JSON (kind 0) or a piece of a photo (kind 1). A client sends one request, the
//! photos it announces in pieces of at most [`PIECE`], and reads items until `done` or `error`.

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
    roster::{Worker, WorkerId},
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
    Workers(WorkerQuery),
    Worker { id: WorkerId },
    Remove { id: WorkerId },
    Attendance(AttendanceQuery),
    Release { lane: String, direction: Direction, worker: Option<WorkerId>, reason: String },
    Mode { lane: String, mode: LaneMode, reason: String },
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Enrol {
    pub id: WorkerId,
    pub name: String,
    pub id_number: String,
    pub team: String,
    pub contractor: String,
    pub trade: String,
    pub valid_from: Option<jiff::civil::Date>,
    pub valid_until: Option<jiff::civil::Date>,
    pub consent: Option<String>,
    pub photos: Vec<Photo>,
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
    /// `None`: the active ones.
    pub state: Option<crate::roster::State>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AttendanceQuery {
    pub worker: Option<WorkerId>,
    pub lane: Option<String>,
    /// First day, in the site's zone.
    pub from: Option<jiff::civil::Date>,
    /// Last day, in the site's zone.
    pub to: Option<jiff::civil::Date>,
}

/// What `worker show` gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerShown {
    #[serde(flatten)]
    pub worker: Worker,
    pub id_type: String,
    /// All but the last four characters are stars.
    pub id_number: String,
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

/// Why a request was not carried out: a stable word, and a sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: String,
    pub message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl std::fmt::Display) -> Failure {
        Failure { code: code.to_owned(), message: message.to_string() }
    }
}

/// A reply's frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Item(serde_json::Value),
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
