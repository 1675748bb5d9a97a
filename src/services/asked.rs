//! What an enrolment and an amendment ask for, and what they give.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::{
    config::Direction,
    ledger::{Actor, Via},
    roster::{IdType, Particulars, Person, RosterError, Terms, Worker, WorkerId, checked_text},
};

/// Somebody comes onto the roster. Without photos and `live` they have no template, and pass only
/// when a guard vouches for them.
#[derive(Clone, Serialize, Deserialize)]
pub struct Enroll {
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

impl Enroll {
    /// With no particulars, terms or photos yet.
    pub fn new(person: Person, id_type: IdType, id_number: String) -> Enroll {
        Enroll {
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
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Live {
    /// Take the photos now, with the camera of this lane, in place of those there are; the gate there
    /// waits meanwhile
    #[arg(long, required = false, requires = "direction")]
    pub lane: String,
    /// Which of its cameras: entry or exit
    #[arg(long, required = false, requires = "lane")]
    pub direction: Direction,
}

/// What an enrolment gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    #[serde(flatten)]
    pub worker: Worker,
    pub result: EnrollResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrollResult {
    Enrolled,
    Unchanged,
    Updated,
}

/// What is said of a worker changes: what is given, and no more.
#[derive(Clone, Args, Serialize, Deserialize)]
pub struct Update {
    /// The worker's id
    pub id: WorkerId,
    /// Another team
    #[arg(long)]
    pub team: Option<String>,
    /// Another contractor
    #[arg(long)]
    pub contractor: Option<String>,
    /// Another trade
    #[arg(long)]
    pub trade: Option<String>,
    /// Another name, where the one there is was wrong
    #[arg(long)]
    pub name: Option<String>,
    /// Another number, where the one there is was wrong
    #[arg(long, value_name = "NUMBER")]
    pub id_number: Option<String>,
    /// With --id-number, where it is of another type: resident, passport, hk_macao_permit or
    /// taiwan_permit
    #[arg(long, value_name = "TYPE", requires = "id_number")]
    pub id_type: Option<IdType>,
    /// What is no longer so; several times for several
    #[arg(long, value_name = "FIELD")]
    #[serde(default)]
    pub clear: Vec<Clear>,
    #[arg(skip)]
    pub faces: UpdateFaces,
    #[arg(skip)]
    pub photos: Vec<Photo>,
    #[arg(skip)]
    pub live: Option<Live>,
    #[arg(skip)]
    pub allow_duplicate_face: Option<String>,
    /// Why, in words; recorded
    #[arg(long)]
    pub reason: Option<String>,
    /// A date that lies ahead of a clock that is not synchronised is meant
    #[arg(long = "yes")]
    #[serde(default)]
    pub confirmed: bool,
    // Last, because its heading goes on for what follows.
    #[command(flatten)]
    pub terms: Terms,
    #[command(flatten)]
    pub particulars: Particulars,
}

impl Update {
    /// Nothing changes yet.
    pub fn nothing(id: WorkerId) -> Update {
        Update {
            id,
            team: None,
            contractor: None,
            trade: None,
            name: None,
            id_number: None,
            id_type: None,
            clear: Vec::new(),
            faces: UpdateFaces::Keep,
            photos: Vec::new(),
            live: None,
            allow_duplicate_face: None,
            reason: None,
            confirmed: false,
            terms: Terms::default(),
            particulars: Particulars::default(),
        }
    }
}

/// What may be unsaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
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
pub enum UpdateFaces {
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
    pub(super) fn of(enroll: &Enroll, by: &Actor) -> Asked {
        match enroll.if_known {
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
