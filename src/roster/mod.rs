//! The workers admitted to the site, and whose face this is.
//!
//! In: enrolments, amendments and removals (inside the caller's transaction, beside their ledger
//! entries), templates to be matched. Out: [`Roster`], a snapshot swapped in one step after each
//! commit. Touches: the tables `worker`, `template`, `photo`, and `roster_version` in `meta`.
//! Templates, photos, ID numbers and other particulars are sealed before they reach the database (I5).

mod carry_over;
mod identity;
pub mod import;
mod matcher;
mod reseal;
mod rows;

use std::{str::FromStr, sync::Arc};

use crate::store::{SealError, StoreError};
use crate::vision::Template;
use crate::words::{day, words};
#[cfg(test)]
pub use carry_over::tests::enrolment as enrolment_of;
pub use carry_over::{CarriedOver, carry_over};
use clap::Args;
pub use identity::{Gender, IdType, Identity, Particulars, is_document, starred};
use jiff::civil::Date;
pub use matcher::{Match, Roster};
pub use reseal::{Resealed, reseal};
pub use rows::{
    Erased, Faces, MOST_WORKERS, Updated, enroll, forget_removed, holder_of, identity, list, load,
    load_one, must_exist, remove, set_state, update, version,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

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
    #[error("the roster holds {most} workers, and that is the most: remove those who have left")]
    Full { most: usize },
    #[error("there is no worker {0} on the roster; see `gatehouse worker list`")]
    NoSuchWorker(WorkerId),
    #[error(
        "what is kept of worker {0} is damaged: remove that worker, and enrol the same person under \
         another id"
    )]
    Damaged(WorkerId),
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
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

/// A worker's id at this site, chosen by its admin: 1 to 32 of A-Z a-z 0-9 - _ . and never used
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(Arc<str>);

impl Serialize for WorkerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WorkerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Reads a text where it stands: entries are read by the thousand.
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

/// Who somebody is on this site, as each record of theirs repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Person {
    /// The worker's id at this site: 1 to 32 of A-Z, a-z, 0-9, -, _ and . Never used again
    #[arg(long)]
    pub id: WorkerId,
    /// The name, as it stands in the document
    #[arg(long)]
    pub name: String,
    /// The team; timesheets are by team
    #[arg(long)]
    pub team: String,
    /// The labour contractor that the team is of
    #[arg(long)]
    pub contractor: String,
    /// What the worker does: steel fixer, carpenter
    #[arg(long)]
    pub trade: String,
}

/// On what terms somebody works here: days, and papers signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "What else is said of the worker")]
#[serde(default)]
pub struct Terms {
    /// First day of admission, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub valid_from: Option<Date>,
    /// Last day of admission
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub valid_until: Option<Date>,
    /// Number of the form by which the worker agrees that their face is kept; without it no photo is
    /// taken in unless the configuration says otherwise
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

/// A worker as the gate needs to know one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    #[serde(flatten)]
    pub person: Person,
    #[serde(flatten)]
    pub terms: Terms,
    pub state: State,
    /// Why somebody is suspended or barred.
    pub state_reason: Option<String>,
    /// How many templates there are.
    pub templates: u32,
}

words! {
    pub enum State {
        Active = "active",
        /// Kept out for the time being.
        Suspended = "suspended",
        /// Kept out for good, and on the roster so that they are known.
        Barred = "barred",
        /// Off the roster. Templates and photos are erased.
        Removed = "removed",
    }
}

/// Whether a worker may come in on a given day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    InForce,
    NotYet,
    Expired,
    Suspended,
    Barred,
    TrainingMissing,
}

impl Worker {
    /// Somebody new, on no terms yet.
    pub fn new(person: Person) -> Worker {
        let (terms, state) = (Terms::default(), State::Active);
        Worker { person, terms, state, state_reason: None, templates: 0 }
    }

    /// `today` is `None` while the clock is not trusted: then no date counts against anybody.
    pub fn standing(&self, today: Option<Date>, require_training: bool) -> Standing {
        let Terms { valid_from, valid_until, trained_on, .. } = self.terms;
        match self.state {
            State::Suspended => return Standing::Suspended,
            State::Barred | State::Removed => return Standing::Barred,
            State::Active => {}
        }
        let before = |day: Option<Date>| today.zip(day).is_some_and(|(today, day)| today < day);
        if before(valid_from) {
            Standing::NotYet
        } else if today.zip(valid_until).is_some_and(|(today, until)| today > until) {
            Standing::Expired
        } else if require_training && (trained_on.is_none() || before(trained_on)) {
            Standing::TrainingMissing
        } else {
            Standing::InForce
        }
    }
}

/// One photo's worth of a face: its template, and a JPEG of it.
#[derive(Clone, Debug)]
pub struct FaceOnFile {
    pub template: Template,
    pub jpeg: Vec<u8>,
}

/// All that comes onto the roster at once.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub worker: Worker,
    pub identity: Identity,
    /// The name of the embedder that made the templates.
    pub model: String,
    pub faces: Vec<FaceOnFile>,
}

/// Text that people typed: trimmed, not empty, of bounded length, one line.
pub fn checked_text(
    field: &'static str,
    text: &str,
    max_chars: usize,
) -> Result<String, RosterError> {
    let text = text.trim();
    let problem = if text.is_empty() {
        "must not be empty".to_owned()
    } else if text.chars().count() > max_chars {
        format!("must have at most {max_chars} characters")
    } else if text.chars().any(char::is_control) {
        "must be one line without control characters".to_owned()
    } else {
        return Ok(text.to_owned());
    };
    Err(RosterError::Invalid { field, problem })
}
