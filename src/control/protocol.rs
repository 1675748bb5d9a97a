//! Requests and replies.
//!
//! A client sends a request and reads items until `done` or `error`; where the daemon says `send`, it
//! sends the photo of that number, of those that its request announced, in pieces of at most
//! [`PIECE`](super::wire::PIECE) bytes. Then it may ask again.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{
    roster::WorkerId,
    services::{
        Addition, AttendanceQuery, Dispute, Enroll, Failure, ModeChange, PassageAsked, Release,
        Remove, SetState, Update, WorkerQuery,
    },
};

/// Has no `Debug`: an enrolment's ID number belongs in no log.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    Status,
    Enroll(Box<Enroll>),
    Update(Box<Update>),
    SetState(SetState),
    Remove(Remove),
    Workers(WorkerQuery),
    Worker {
        id: WorkerId,
    },
    /// Every entry on a worker that is no attendance.
    History {
        id: WorkerId,
    },
    Attendance(AttendanceQuery),
    /// The photo of a passage, in pieces, as hexadecimal digits.
    PassagePhoto {
        of: PassageAsked,
    },
    /// Who is on site.
    Onsite {
        /// Who came before this day is not looked for; three days ago.
        since: Option<Date>,
    },
    Supplement(Addition),
    Dispute(Dispute),
    Release(Release),
    Mode(ModeChange),
}

impl Request {
    /// Whether it is for those alone who may change things. The rest only reads, and no pictures of
    /// people.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Request::Status
                | Request::Workers(_)
                | Request::Worker { .. }
                | Request::History { .. }
                | Request::Attendance(_)
                | Request::Onsite { .. }
        )
    }
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

/// A reply's frame; `T` is what it holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    Item(T),
    /// The photo of this number, from 0, is to be sent now.
    Send(usize),
    Done(T),
    Error(Failure),
}
