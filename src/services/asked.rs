//! What an enrolment and an amendment ask for, and what they give.

use serde::{Deserialize, Serialize};

use crate::{
    config::Direction,
    ledger::{Actor, Via},
    roster::{IdType, Particulars, Person, RosterError, Terms, Worker, WorkerId, checked_text},
};

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

    pub(super) fn brings_faces(&self) -> bool {
        !self.photos.is_empty() || self.live.is_some()
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

impl Amend {
    /// Nothing changes yet.
    pub fn nothing(id: WorkerId) -> Amend {
        Amend {
            id,
            name: None,
            document: None,
            particulars: Particulars::default(),
            team: None,
            contractor: None,
            trade: None,
            terms: Terms::default(),
            clear: Vec::new(),
            faces: AmendFaces::Keep,
            photos: Vec::new(),
            live: None,
            allow_duplicate_face: None,
            reason: None,
            confirmed: false,
        }
    }
}

/// What may be unsaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clear {
    ValidFrom,
    ValidUntil,
    ContractSigned,
    TrainedOn,
    Phone,
    BankTail,
}

impl Clear {
    /// As the command line calls them.
    pub const WORDS: [(&str, Clear); 6] = [
        ("valid-from", Clear::ValidFrom),
        ("valid-until", Clear::ValidUntil),
        ("contract-signed", Clear::ContractSigned),
        ("trained-on", Clear::TrainedOn),
        ("phone", Clear::Phone),
        ("bank-tail", Clear::BankTail),
    ];
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

/// A photo that follows the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Photo {
    /// As its owner calls it, for messages.
    pub name: String,
    pub bytes: u64,
}

/// How an enrolment or amendment was asked for: a refusal names the remedy that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// By a command about one worker, which has options.
    Alone,
    /// By a row of an import.
    Import,
    /// By a platform.
    Platform,
}

impl Asked {
    pub(super) fn of(enrol: &Enrol, by: &Actor) -> Asked {
        match enrol.if_known {
            _ if by.via == Via::Upstream => Asked::Platform,
            IfKnown::Refuse => Asked::Alone,
            IfKnown::Same | IfKnown::Update => Asked::Import,
        }
    }

    /// Of these remedies the one that there is.
    pub(super) fn remedy(
        self,
        alone: &'static str,
        import: &'static str,
        platform: &'static str,
    ) -> &'static str {
        match self {
            Asked::Alone => alone,
            Asked::Import => import,
            Asked::Platform => platform,
        }
    }
}

/// Why something is done: one line of at most 200 characters.
pub(super) fn checked_reason(reason: &str) -> Result<String, RosterError> {
    checked_text("reason", reason, 200)
}

/// The texts of a person, each within its bound.
pub(super) fn checked_person(person: &Person) -> Result<Person, RosterError> {
    Ok(Person {
        id: person.id.clone(),
        name: checked_text("name", &person.name, 64)?,
        team: checked_text("team", &person.team, 64)?,
        contractor: checked_text("contractor", &person.contractor, 128)?,
        trade: checked_text("trade", &person.trade, 64)?,
    })
}
