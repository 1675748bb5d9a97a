//! The workers admitted to the site, and whose face this is.
//!
//! In: enrolments and removals (inside the caller's transaction, beside their ledger entries),
//! templates to be matched. Out: [`Roster`], a snapshot swapped in one step after each commit.
//! Touches: the tables `worker`, `template`, `photo`, and `roster_version` in `meta`. Templates,
//! photos and ID numbers are sealed before they reach the database (I5).

mod carry_over;
mod matcher;
mod rows;

use std::{str::FromStr, sync::Arc};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::store::{SealError, StoreError};
use crate::vision::Template;
pub use carry_over::{CarriedOver, carry_over};
pub use matcher::{Match, Roster};
pub use rows::{enrol, identity, list, load, must_exist, remove};

#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("worker {0} is already enrolled; choose another --id, or remove that worker first")]
    IdTaken(WorkerId),
    #[error(
        "the id {0} belonged to a worker who was removed, and ids are never used again; \
         choose another --id"
    )]
    IdRetired(WorkerId),
    #[error("this ID number is already enrolled, as worker {0}")]
    IdentityTaken(WorkerId),
    #[error("the roster holds {most} workers, and that is the most: remove those who have left")]
    Full { most: usize },
    #[error("there is no worker {0} on the roster; see `gatehouse worker list`")]
    NoSuchWorker(WorkerId),
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId(Arc<str>);

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
            let problem = format!("{text:?} must be 1 to 32 of A-Z a-z 0-9 - _ .");
            return Err(RosterError::Invalid { field: "id", problem });
        }
        Ok(WorkerId(text.into()))
    }
}

impl TryFrom<String> for WorkerId {
    type Error = RosterError;
    fn try_from(text: String) -> Result<Self, RosterError> {
        text.parse()
    }
}

impl From<WorkerId> for String {
    fn from(id: WorkerId) -> String {
        id.as_str().to_owned()
    }
}

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who somebody is on this site, as each record of theirs repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub id: WorkerId,
    pub name: String,
    pub team: String,
    pub contractor: String,
    pub trade: String,
}

/// A worker as the gate needs to know one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    #[serde(flatten)]
    pub person: Person,
    /// First day of admission.
    pub valid_from: Option<Date>,
    /// Last day of admission.
    pub valid_until: Option<Date>,
    /// The number of the consent form.
    pub consent: Option<String>,
    pub state: State,
    /// How many templates there are.
    pub templates: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Active,
    Removed,
}

/// Whether a worker may come in on a given day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    InForce,
    NotYet,
    Expired,
}

impl Worker {
    pub fn standing(&self, today: Date) -> Standing {
        if self.valid_from.is_some_and(|from| today < from) {
            Standing::NotYet
        } else if self.valid_until.is_some_and(|until| today > until) {
            Standing::Expired
        } else {
            Standing::InForce
        }
    }
}

/// An identity document. Never printed whole.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// `resident` for the resident identity card.
    pub id_type: String,
    pub number: Zeroizing<String>,
    /// Opens the commitment in the enrolment's ledger entry.
    pub salt: [u8; 32],
}

impl Identity {
    /// A resident card: letters and digits, 6 to 20 of them.
    pub fn resident(number: &str) -> Result<Self, RosterError> {
        let number = Zeroizing::new(number.trim().to_ascii_uppercase());
        let plausible = (6..=20).contains(&number.len());
        if !plausible || !number.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(RosterError::Invalid {
                field: "id-number",
                problem: "must be 6 to 20 letters and digits".to_owned(),
            });
        }
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(StoreError::from)?;
        Ok(Identity { id_type: "resident".to_owned(), number, salt })
    }

    /// The last four characters, behind stars.
    pub fn masked(&self) -> String {
        let shown = self.number.len().saturating_sub(4);
        let tail = self.number.get(shown..).unwrap_or_default();
        format!("{}{tail}", "*".repeat(shown))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.masked())
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
