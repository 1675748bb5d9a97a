//! Why a command is refused: the code, and the sentence for the platform's operator. No sentence
//! shows the value of an argument, because it may be an ID number.

use std::fmt::Display;

use jiff::Timestamp;

use super::ATTEMPTS;
use crate::{
    config::CommandLevel,
    services::{Code, Failure, PHOTOS_MAX},
    uplink::profiles::native::command::BUSY,
    vision::DecodeError,
};

/// Why a command is not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{BUSY}")]
    Busy,
    #[error("the command is being carried out; send it again later for its reply")]
    UnderWay,
    #[error("the command could not be read: {0}")]
    Unread(tokio::task::JoinError),
    #[error(
        "{0} is none of worker.upsert, worker.suspend, worker.resume, worker.remove, \
         roster.digest, roster.page, lane.release, attendance.resend, status.now"
    )]
    UnknownVerb(String),
    #[error("args.{0}: {1}")]
    Argument(String, Wrong),
    #[error(
        "the gateway fetches no picture from an address that a message gives: send the picture itself"
    )]
    PhotoByAddress,
    #[error("at most {most} records at once: ask for a shorter time")]
    TooLong { most: u64 },
    #[error(
        "at most {most} records at once: ask for {from} to {upto} first, and for the next \
         ones when these have arrived"
    )]
    TooMany { most: u64, from: u64, upto: u64 },
    #[error(
        "this gateway takes no {verb} from this upstream: its configuration says commands = \
         \"{level}\""
    )]
    NotAllowed { verb: String, level: CommandLevel },
    #[error(
        "args.allow_duplicate_face: counts only in a signed command (command_key), because another \
         person could pass as the worker"
    )]
    UnsignedFace,
    #[error(
        "this gateway does not allow releases by command; its configuration may allow them \
         (remote_release, with a command_key)"
    )]
    NoReleases,
    /// To an unsigned asker, in place of every sentence that tells what the roster holds.
    #[error(
        "the roster has this id, document or face already, or has it otherwise; a person at the \
         gateway can look it up, and a signed command gets the details"
    )]
    Duplicate,
    #[error("this release came over another upstream too, and is carried out once")]
    OtherUpstream,
    #[error("another command had this id; give each command its own id")]
    IdReused,
    #[error("the stored reply cannot be read: {0}")]
    StoredReply(serde_json::Error),
    #[error(
        "the command is older than the commands that are remembered, so it may have been carried \
         out; if it was not, issue it again"
    )]
    Forgotten,
    #[error(
        "the daemon ended during the release, which is not repeated; the attendance and the events \
         show whether the gate opened"
    )]
    ReleaseInterrupted,
    #[error("the daemon ended {ATTEMPTS} times during the command, which is not tried again")]
    Interrupted,
    #[error(
        "the gateway's clock is not synchronised, so the age of the command is not known; send it \
         again when it is, and check the gateway's time (NTP). Until then, worker.suspend and \
         worker.remove keep a worker out"
    )]
    Clock,
    #[error(
        "issued_at: is more than {ahead_s} s ahead of the gateway's clock ({now}); check the time \
         on both sides"
    )]
    NotYet { ahead_s: i64, now: Timestamp },
    #[error(
        "the command expired at {until}, and the gateway's time is {now}; issue it again if it is \
         still needed"
    )]
    Expired { until: Timestamp, now: Timestamp },
}

/// What is wrong with an argument.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error("is missing")]
    Missing,
    #[error("is not known to this verb")]
    Unknown,
    #[error("must be a map")]
    NoMap,
    #[error("the gateway cannot keep to this limit; give the first and the last day instead")]
    NotKept,
    #[error("must be a text")]
    NoText,
    #[error("must have at most {most} characters")]
    Long { most: usize },
    #[error("must be a whole number")]
    NoNumber,
    #[error("must be 1 to {most}")]
    Limit { most: u64 },
    #[error("from and to are seqs of records, from 1 on, and to is not below from")]
    Range,
    #[error("it is an ID number; give the worker's id at this site")]
    IdNumber,
    #[error("must be 1 to 32 of A-Z, a-z, 0-9, -, _ and .")]
    NoWorkerId,
    #[error("must be a list of at most {PHOTOS_MAX} photos in base64")]
    NoPhotos,
    #[error("must be a list of at most {most} workers")]
    NoWorkers { most: usize },
    #[error("must be a photo in base64 (RFC 4648, section 4)")]
    NoBase64,
    #[error("a photo has at most 1 MiB, scale it down")]
    LargePhoto,
    #[error("{why}. {}", why.remedy_of_photo())]
    NoPhoto { why: DecodeError },
    /// The type of the argument says what is wrong.
    #[error("{0}")]
    Other(String),
}

impl Refusal {
    /// Returns the refusal of an argument.
    pub(super) fn argument(key: impl Display, wrong: Wrong) -> Refusal {
        Refusal::Argument(key.to_string(), wrong)
    }

    fn code(&self) -> Code {
        match self {
            Refusal::Busy | Refusal::UnderWay => Code::Busy,
            Refusal::Unread(_) => Code::Internal,
            Refusal::UnknownVerb(_) => Code::UnknownVerb,
            Refusal::Argument(_, Wrong::LargePhoto) => Code::PhotoTooLarge,
            Refusal::Argument(_, Wrong::NoPhoto { .. }) => Code::PhotoUnreadable,
            Refusal::Argument(..) => Code::Invalid,
            Refusal::PhotoByAddress => Code::PhotoByAddress,
            Refusal::TooMany { .. } | Refusal::TooLong { .. } => Code::TooMany,
            Refusal::NotAllowed { .. } | Refusal::UnsignedFace | Refusal::NoReleases => {
                Code::NotAllowed
            }
            Refusal::Duplicate => Code::Duplicate,
            Refusal::OtherUpstream | Refusal::IdReused => Code::IdReused,
            Refusal::StoredReply(_) => Code::Damaged,
            Refusal::ReleaseInterrupted | Refusal::Interrupted => Code::Interrupted,
            Refusal::Clock => Code::Clock,
            Refusal::NotYet { .. } => Code::NotYet,
            Refusal::Forgotten | Refusal::Expired { .. } => Code::Expired,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::new(refusal.code(), refusal)
    }
}
