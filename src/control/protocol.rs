//! Requests and replies.
//!
//! A client sends a request and reads items until `done` or `error`. Then it may send the next
//! request. On `send` the client sends the announced photo of that number, in pieces of at most
//! [`PIECE`](super::wire::PIECE) bytes.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{
    roster::WorkerId,
    services::{
        Addition, AttendanceQuery, ChangeCard, Confirm, ConfirmRoster, DismissQuery, Dispute,
        Enroll, EvidenceQuery, Exempt, ExportQuery, Failure, HealthQuery, MakeCode, ModeChange,
        PassageAsked, PictureQuery, Release, Remove, SetConsent, SetState, Update, UpstreamQuery,
        WaitingQuery, Watch, Withdraw, WorkerQuery,
    },
};

/// A request. It has no `Debug`, because a log must not contain the ID number of an enrolment.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    Status,
    /// The site's time zone and working day.
    Site,
    Enroll(Box<Enroll>),
    Update(Box<Update>),
    SetState(SetState),
    Remove(Remove),
    Exempt(Exempt),
    Consent(SetConsent),
    Workers(WorkerQuery),
    Worker {
        id: WorkerId,
    },
    ChangeCard(ChangeCard),
    /// A code in QR for a worker.
    MakeCode(MakeCode),
    /// A worker's cards, with their numbers.
    Cards {
        id: WorkerId,
    },
    /// The latest entries on a worker that are no attendance.
    History {
        id: WorkerId,
    },
    ConfirmRoster(ConfirmRoster),
    /// What came from afar and waits, with its photos if they are asked for.
    Waiting(WaitingQuery),
    Confirm(Confirm),
    Attendance(AttendanceQuery),
    /// Records with their proofs, as the lines of a file; in pieces, as hexadecimal digits.
    Export(ExportQuery),
    /// The photo of a passage, in pieces, as hexadecimal digits.
    PassagePhoto {
        of: PassageAsked,
    },
    /// The workers on site.
    Onsite {
        /// First day that is searched; by default the last 72 hours are.
        since: Option<Date>,
    },
    Supplement(Addition),
    Dispute(Dispute),
    Withdraw(Withdraw),
    Release(Release),
    Mode(ModeChange),
    /// The public half of the signing key.
    SigningKey,
    /// A signed tree head of the whole ledger.
    Head,
    /// A worker's evidence package, in pieces, as hexadecimal digits.
    Evidence(EvidenceQuery),
    /// The times in which the gate was down or blind.
    Health(HealthQuery),
    /// An audit of the whole ledger: items say how far it is.
    Audit,
    /// What happens at a lane, until the client disconnects.
    Watch(Watch),
    /// What a lane's camera sees, without faces; in pieces, as hexadecimal digits.
    Picture(PictureQuery),
    /// The records that a platform refused.
    Refused(UpstreamQuery),
    /// Offers them again.
    RetryRefused(UpstreamQuery),
    /// Notes that some of them need nothing more.
    DismissRefused(DismissQuery),
}

impl Request {
    /// Returns whether the request needs the right to change things. The other requests only read,
    /// and return no pictures of people. Watching a lane is for the person who sets it up.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Request::Status
                | Request::Site
                | Request::Workers(_)
                | Request::Worker { .. }
                | Request::History { .. }
                | Request::Attendance(_)
                | Request::Export(_)
                | Request::Onsite { .. }
                | Request::SigningKey
                | Request::Head
                | Request::Health(_)
                | Request::Audit
                | Request::Refused(_)
        )
    }
}

/// A piece of a passage's photo, of an evidence package or of an export.
#[derive(Clone, Serialize, Deserialize)]
pub struct Piece {
    pub hex: String,
}

/// The last reply to a request for a passage's photo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhotoShown {
    pub passage: String,
    pub bytes: usize,
    pub sha256: String,
}

/// The last reply to a request for an evidence package.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PackageSent {
    pub bytes: usize,
    pub sha256: String,
}

/// How far an audit is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditProgress {
    pub audited: u64,
}

/// A reply's frame, with contents of the type `T`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<T> {
    Item(T),
    /// The client must now send the photo of this number, counted from 0.
    Send(usize),
    Done(T),
    Error(Failure),
}
