//! The workers admitted to the site, and the match of a face to its worker.
//!
//! In: enrolments, updates and removals, in the caller's transaction beside their ledger entries;
//! templates to match. Out: [`Roster`], a snapshot that is replaced in one step after each commit.
//! Touches: the tables `worker`, `consent`, `template`, `photo`, and `roster_version` in `meta`.
//! Templates, photos, ID numbers and other particulars are sealed before they reach the database (I5).

mod advice;
pub mod anchor;
mod cards;
mod carry_over;
mod codes;
mod consent;
mod consenting;
mod day;
mod erasing;
mod faces;
mod identity;
pub mod import;
mod matcher;
mod numbers;
mod reseal;
mod rows;
mod stale;
mod tokens;
mod waiting;

use std::{str::FromStr, sync::Arc};

use crate::store::{SealError, StoreError};
use crate::vision::Template;
use crate::words::{self, day, words};
pub use advice::{Advice, Lack};
pub use cards::{
    CARDS_MAX, CardChange, CardShown, LOST_MAX, OwnCard, cards, change_card, check_new_card,
};
#[cfg(test)]
pub use carry_over::tests::enrolment as enrolment_of;
pub use carry_over::{CarriedOver, carry_over};
use clap::Args;
pub use codes::{CodeRefused, USED_MAX, UsedCode, use_code, was_used};
pub use consent::{Consent, Purpose};
pub use consenting::{give, keep_withdrawal, withdraw, withdrawn_by};
pub use day::Day;
pub use erasing::{
    FaceRule, absent, erase_faces, erase_set_aside, forget_removed, no_passage_since, without_faces,
};
pub use faces::{Erased, Faces};
pub use identity::{Gender, IdType, Identity, Particulars, is_document, starred};
use jiff::civil::Date;
pub use matcher::{Match, Roster, SHARE_OF_MEAN};
pub use numbers::{note_number, number_at};
pub use reseal::{Resealed, reseal};
pub use rows::{
    MOST_PENDING, MOST_WORKERS, Updated, count_templates, enroll, exempt, find, holder_of,
    identity, is_exempt, list, load, load_one, must_exist, remove, set_state, update, version,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
pub use stale::{confirmed, doubt, stale_since};
pub use tokens::{Token, TokenKind, card_lookup, id_card_lookup};
pub use waiting::{OnFile, confirm, digest, on_file, photos, reject, waiting};

#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("worker {0} is already enrolled; choose another id, or remove that worker first")]
    IdTaken(WorkerId),
    #[error(
        "the id {0} belonged to a worker who was removed, and ids are never used again; \
         choose another id"
    )]
    IdRetired(WorkerId),
    #[error("this ID number is already enrolled, as worker {0}")]
    IdentityTaken(WorkerId),
    #[error(
        "the roster is full: it holds {most} workers, the maximum; remove workers who have left"
    )]
    Full { most: usize },
    #[error(
        "{most} workers from afar wait for a confirmation, the maximum: a person at the site confirms \
         or removes them with `gatehouse worker confirm` and `gatehouse worker remove`"
    )]
    ManyPending { most: usize },
    #[error("there is no worker {0} on the roster; see `gatehouse worker list`")]
    NoSuchWorker(WorkerId),
    #[error(
        "there is no worker {0} on the roster any longer: the worker was removed; enroll the same \
         person under another id"
    )]
    Removed(WorkerId),
    #[error(
        "the stored data of worker {0} is damaged; remove this worker, and enroll the same person \
         under another id"
    )]
    Damaged(WorkerId),
    #[error(
        "this card belongs to worker {other}{}; take it back first, with `gatehouse worker card \
         {other} --remove NUMBER`",
        if *.lost { ", who lost it" } else { "" }
    )]
    CardTaken { other: WorkerId, lost: bool },
    #[error("this card of worker {id} is {change} already")]
    CardUnchanged { id: WorkerId, change: CardChange },
    #[error("worker {0} has no such card; see `gatehouse worker card {0}`")]
    NoSuchCard(WorkerId),
    #[error("worker {id} has {most} of these cards, the maximum; take one back first")]
    TooManyCards { id: WorkerId, most: usize },
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    /// All faults of one person's data.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<RosterError>),
}

impl From<rusqlite::Error> for RosterError {
    fn from(e: rusqlite::Error) -> Self {
        RosterError::Store(e.into())
    }
}

impl From<SealError> for RosterError {
    fn from(e: SealError) -> Self {
        RosterError::Store(e.into())
    }
}

/// A worker's id at this site, chosen by its admin: 1 to 32 characters of A-Z a-z 0-9 - _ and `.`
/// An id is never used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(Arc<str>);

impl Serialize for WorkerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WorkerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Reads a text without a copy of it, because thousands of entries are read.
        struct Id;
        impl Visitor<'_> for Id {
            type Value = WorkerId;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WorkerId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Id)
    }
}

impl WorkerId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerId {
    type Err = RosterError;
    fn from_str(text: &str) -> Result<Self, RosterError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > 32 || !text.chars().all(allowed) {
            let problem = format!("{text:?} must be 1 to 32 of A-Z, a-z, 0-9, -, _ and .");
            return Err(RosterError::Invalid { field: "id", problem });
        }
        Ok(WorkerId(text.into()))
    }
}

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A worker's id, name and work on this site. Each record of the worker repeats them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The worker's id at this site: 1 to 32 characters of A-Z, a-z, 0-9, -, _ and . An id is never
    /// used again
    pub id: WorkerId,
    /// The name, as it is in the ID document
    pub name: String,
    /// The team; timesheets are grouped by team
    pub team: String,
    /// The labour contractor of the team
    pub contractor: String,
    /// The worker's trade: steel fixer, carpenter
    pub trade: String,
}

impl Person {
    /// Returns whether both are the same data, where spellings that people read as the same are.
    pub fn reads_as(&self, other: &Person) -> bool {
        let texts = |p: &Person| {
            [&p.name, &p.team, &p.contractor, &p.trade].map(|text| words::folded_name(text))
        };
        self.id == other.id && texts(self) == texts(other)
    }
}

/// A worker's terms on this site: days of admission, and signed papers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Terms and particulars of the worker")]
#[serde(default)]
pub struct Terms {
    /// First day of admission, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub valid_from: Option<Date>,
    /// Last day of admission
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub valid_until: Option<Date>,
    /// Number of the form on which the worker agrees that the face is stored; without it no photo
    /// is accepted, unless the configuration says otherwise
    #[arg(long, value_name = "FORM-NUMBER")]
    pub consent: Option<String>,
    /// When that form was signed
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub consent_on: Option<Date>,
    /// When the labour contract was signed
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub contract_signed: Option<Date>,
    /// When the worker was trained in safety
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub trained_on: Option<Date>,
}

/// A worker, as the gate and the lists of workers have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    #[serde(flatten)]
    pub person: Person,
    #[serde(flatten)]
    pub terms: Terms,
    pub state: State,
    /// Reason for the suspension or the bar.
    pub state_reason: Option<String>,
    /// Number of templates that the gate matches.
    pub templates: u32,
    /// What came from afar and waits for a person at the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// What a reader may read of the worker; only in the gates' snapshot.
    #[serde(skip)]
    pub tokens: Vec<Token>,
    /// The consents by purpose, in the order of their words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consent>,
    /// The reason for which the judgement on a living face sends this worker to no guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_exempt: Option<String>,
}

/// What came from afar and waits for a person at the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    pub what: WaitsWhat,
    /// The upstream that it came from.
    pub from: String,
}

words! {
    pub enum WaitsWhat {
        /// The worker, with the templates. The gate recognises the face and denies the entry.
        Worker = "worker",
        /// New faces of a confirmed worker. The gate does not match them.
        Faces = "faces",
    }
}

words! {
    pub enum State {
        Active = "active",
        /// Came from afar, and may not enter until a person at the site confirms the worker.
        Pending = "pending",
        /// May not enter for now.
        Suspended = "suspended",
        /// May not enter again. The worker stays on the roster, so that the gate recognises the
        /// face.
        Barred = "barred",
        /// Off the roster. Templates and photos are erased.
        Removed = "removed",
    }
}

/// Whether a worker may enter on a given day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    InForce,
    Pending,
    NotYet,
    Expired,
    Suspended,
    Barred,
    TrainingMissing,
}

impl Worker {
    /// Returns a new worker without terms.
    pub fn new(person: Person) -> Worker {
        let (terms, state) = (Terms::default(), State::Active);
        let (state_reason, waits, consents, tokens) = (None, None, Vec::new(), Vec::new());
        let (templates, liveness_exempt) = (0, None);
        Worker {
            person,
            terms,
            state,
            state_reason,
            templates,
            waits,
            consents,
            tokens,
            liveness_exempt,
        }
    }

    /// Returns the consent to a purpose, in force or withdrawn. Returns `None` for a consent to the
    /// face that came with other data of the worker; it is in the terms.
    pub fn consent(&self, purpose: &Purpose) -> Option<&Consent> {
        self.consents.iter().find(|consent| consent.purpose == *purpose)
    }

    /// Returns whether a photo of this worker may go to an upstream on a day. It may not if the
    /// worker has withdrawn the consent to the face, or was removed. In doubt about the day, a
    /// consent counts that was given before the last trusted day.
    pub fn photo_may_go_to(&self, upstream: &str, on: Day) -> bool {
        let face = self.consent(&Purpose::Face).is_some_and(|face| !face.is_in_force());
        let to = self.consent(&Purpose::Photo(upstream.to_owned()));
        let given = to.filter(|to| to.is_in_force()).and_then(|to| to.given_on);
        let is_given = given.zip(on.earliest()).is_some_and(|(given, on)| given <= on);
        is_given && !face && self.state != State::Removed
    }

    /// Returns whether the worker came from afar and waits for a person at the site.
    pub fn is_pending(&self) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.what == WaitsWhat::Worker)
    }

    /// Returns the worker's standing. While the clock is not trusted, only an admission that had
    /// ended on the last trusted day denies a worker the entry.
    pub fn standing(&self, day: Day, require_training: bool) -> Standing {
        let today = day.today();
        let Terms { valid_from, valid_until, trained_on, .. } = self.terms;
        match self.state {
            State::Suspended => return Standing::Suspended,
            State::Barred | State::Removed => return Standing::Barred,
            State::Pending => return Standing::Pending,
            State::Active => {}
        }
        let before = |day: Option<Date>| today.zip(day).is_some_and(|(today, day)| today < day);
        if before(valid_from) {
            Standing::NotYet
        } else if day.earliest().zip(valid_until).is_some_and(|(day, until)| day > until) {
            Standing::Expired
        } else if require_training && (trained_on.is_none() || before(trained_on)) {
            Standing::TrainingMissing
        } else {
            Standing::InForce
        }
    }
}

/// The face on one photo: its template, and a JPEG of it.
#[derive(Clone, Debug)]
pub struct FaceOnFile {
    pub template: Template,
    pub jpeg: Vec<u8>,
}

/// All that an enrolment stores on the roster.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub worker: Worker,
    pub identity: Identity,
    /// The name of the embedder that made the templates.
    pub model: String,
    pub faces: Vec<FaceOnFile>,
}

/// Returns a worker's name in its one form, without the blanks that pad it.
pub fn checked_name(name: &str) -> Result<String, RosterError> {
    checked_text("name", name, 64).map(|name| words::unpadded(&name))
}

/// Returns a typed text in its one form. Refuses a text that is empty, too long, or not one line of
/// visible characters.
pub fn checked_text(
    field: &'static str,
    text: &str,
    max_chars: usize,
) -> Result<String, RosterError> {
    let problem = match words::one_line(text) {
        Ok(text) if text.is_empty() => "must not be empty".to_owned(),
        Ok(text) if text.chars().count() > max_chars => {
            format!("must have at most {max_chars} characters")
        }
        Ok(text) => return Ok(text),
        Err(problem) => problem,
    };
    Err(RosterError::Invalid { field, problem })
}
