//! The reason for which a request is not carried out: a stable code, and a sentence with the
//! remedy. The socket, the platforms' commands and the daemon's own parts use the same codes.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::{
    ledger::LedgerError,
    roster::RosterError,
    store::{StoreError, photo_store::PhotoStoreError},
    vision::{Flaw, PhotoError},
    words::words,
};

words! {
    /// The stable code of a failure. `docs/integrate/commands.md` describes the codes that a
    /// platform gets.
    #[allow(missing_docs, reason = "a variant is its word")]
    pub enum Code {
        AlreadyAdded = "already_added",
        AlreadyDisputed = "already_disputed",
        AnotherFace = "another_face",
        Blurred = "blurred",
        Busy = "busy",
        CameraLent = "camera_lent",
        Clock = "clock",
        ConsentWithdrawn = "consent_withdrawn",
        Covered = "covered",
        Damaged = "damaged",
        Duplicate = "duplicate",
        DuplicateFace = "duplicate_face",
        Expired = "expired",
        FaceTooSmall = "face_too_small",
        Full = "full",
        IdReused = "id_reused",
        Internal = "internal",
        Interrupted = "interrupted",
        Invalid = "invalid",
        Malformed = "malformed",
        NoAttendance = "no_attendance",
        NoCamera = "no_camera",
        NoConsent = "no_consent",
        NoFace = "no_face",
        NoGoodLook = "no_good_look",
        NoPhoto = "no_photo",
        NoSuchLane = "no_such_lane",
        NoSuchWorker = "no_such_worker",
        NotAllowed = "not_allowed",
        NotChanged = "not_changed",
        NotDisputed = "not_disputed",
        NotInForce = "not_in_force",
        NotReleased = "not_released",
        NotUpright = "not_upright",
        NotYet = "not_yet",
        Pending = "pending",
        PhotoByAddress = "photo_by_address",
        PhotoTooLarge = "photo_too_large",
        PhotoUnreadable = "photo_unreadable",
        SeveralFaces = "several_faces",
        SeveralPeople = "several_people",
        Stopping = "stopping",
        Storage = "storage",
        Timeout = "timeout",
        TooBright = "too_bright",
        TooDark = "too_dark",
        TooMany = "too_many",
        TurnedAway = "turned_away",
        Unchanged = "unchanged",
        UnknownVerb = "unknown_verb",
        // The request needs a confirmation; nothing is changed until then.
        Unlikely = "unlikely",
        Vision = "vision",
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", joined(self, |one| one.message.clone()))]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// The field of the request, with its name on the command line. A message may begin with this
    /// name and a colon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What happened and what to do, for a person.
    pub message: String,
    /// Further faults of the same request. They have no further faults themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Failure>,
}

/// Returns the texts of a failure and of its further faults.
fn joined(failure: &Failure, text: impl Fn(&Failure) -> String) -> String {
    let all: Vec<_> = std::iter::once(failure).chain(&failure.also).map(text).collect();
    all.join("; ")
}

/// The faults of a request. All of them are reported at once.
#[derive(Default)]
pub(super) struct Faults(Vec<Failure>);

impl Faults {
    /// Returns the value, or adds the reason for which there is none.
    pub(super) fn note<T>(&mut self, checked: Result<T, impl Into<Failure>>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault.into())).ok()
    }

    /// Fails if there are faults.
    pub(super) fn none(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into()) }
    }
}

impl From<Faults> for Failure {
    fn from(Faults(faults): Faults) -> Failure {
        let mut all = faults.into_iter().flat_map(|mut fault| {
            let also = std::mem::take(&mut fault.also);
            std::iter::once(fault).chain(also)
        });
        match all.next() {
            Some(first) => Failure { also: all.collect(), ..first },
            None => Failure::internal("a request is refused without a fault"),
        }
    }
}

impl Failure {
    /// Returns a failure that belongs to no field.
    pub fn new(code: Code, message: impl Display) -> Failure {
        Failure { code, field: None, message: message.to_string(), also: Vec::new() }
    }

    /// Returns a failure about a field of the request.
    pub fn of(code: Code, field: &str, message: impl Display) -> Failure {
        Failure { field: Some(field.to_owned()), ..Failure::new(code, message) }
    }

    /// Returns a failure for a fault of this program or its system.
    pub fn internal(problem: impl Display) -> Failure {
        Failure::new(Code::Internal, problem)
    }

    /// Returns whether the failure asks for a confirmation: the value looks mistyped, and is
    /// accepted when it is confirmed.
    pub fn asks(&self) -> bool {
        self.code == Code::Unlikely
    }

    /// Returns the messages, with the names of the fields as the client has them.
    pub fn in_words_of(&self, called: impl Fn(&str) -> String) -> String {
        joined(self, |one| {
            let Some(field) = &one.field else { return one.message.clone() };
            let rest = one.message.strip_prefix(field.as_str()).and_then(|r| r.strip_prefix(": "));
            format!("{}: {}", called(field), rest.unwrap_or(&one.message))
        })
    }

    /// Returns a failure about a photo, with the file's name.
    pub(super) fn of_photo(name: &str, error: &PhotoError) -> Failure {
        let code = match error {
            PhotoError::Unreadable { .. } => Code::PhotoUnreadable,
            PhotoError::NoFace => Code::NoFace,
            PhotoError::SeveralFaces { .. } => Code::SeveralFaces,
            PhotoError::NotUpright => Code::NotUpright,
            PhotoError::FaceTooSmall { .. } => Code::FaceTooSmall,
            PhotoError::Poor { flaw: Flaw::Blurred } => Code::Blurred,
            PhotoError::Poor { flaw: Flaw::TurnedAway } => Code::TurnedAway,
            PhotoError::Poor { flaw: Flaw::TooDark } => Code::TooDark,
            PhotoError::Poor { flaw: Flaw::TooBright } => Code::TooBright,
            PhotoError::Poor { flaw: Flaw::Covered } => Code::Covered,
            PhotoError::Vision(_) => Code::Vision,
        };
        Failure::new(code, format!("{name}: {error}"))
    }
}

impl From<RosterError> for Failure {
    fn from(e: RosterError) -> Self {
        let (code, field) = match &e {
            RosterError::Several(_) => (Code::Invalid, None),
            RosterError::Store(_) => (Code::Storage, None),
            RosterError::NoSuchWorker(_) | RosterError::Removed(_) => (Code::NoSuchWorker, None),
            RosterError::IdTaken(_) | RosterError::IdRetired(_) => (Code::Duplicate, Some("id")),
            RosterError::IdentityTaken(_) => (Code::Duplicate, Some("id-number")),
            RosterError::Full { .. } | RosterError::ManyPending { .. } => (Code::Full, None),
            RosterError::CardTaken { .. } => (Code::Duplicate, Some("number")),
            RosterError::CardUnchanged { .. } => (Code::Unchanged, Some("number")),
            RosterError::NoSuchCard(_) => (Code::Invalid, Some("number")),
            RosterError::TooManyCards { .. } => (Code::TooMany, Some("number")),
            RosterError::Damaged(_) => (Code::Damaged, None),
            RosterError::Invalid { field, .. } => (Code::Invalid, Some(*field)),
        };
        if let RosterError::Several(faults) = e {
            return Faults(faults.into_iter().map(Failure::from).collect()).into();
        }
        Failure { field: field.map(str::to_owned), ..Failure::new(code, e) }
    }
}

impl From<LedgerError> for Failure {
    fn from(e: LedgerError) -> Self {
        let code = match &e {
            LedgerError::NoAttendance { .. } => Code::NoAttendance,
            LedgerError::AlreadyAdded { .. } => Code::AlreadyAdded,
            LedgerError::AlreadyDisputed { .. } => Code::AlreadyDisputed,
            LedgerError::NotDisputed { .. } => Code::NotDisputed,
            _ => Code::Storage,
        };
        Failure::new(code, e)
    }
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        Failure::new(Code::Storage, e)
    }
}

impl From<PhotoStoreError> for Failure {
    fn from(e: PhotoStoreError) -> Self {
        Failure::new(Code::Storage, e)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Self {
        StoreError::from(e).into()
    }
}
