//! The requests and results of an enrolment and an update.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Failure, failure::Faults};
use crate::{
    config::Direction,
    ledger::{Actor, Via},
    roster::{
        Advice, IdType, Particulars, Person, RosterError, Terms, Worker, WorkerId, anchor::Voucher,
        checked_name, checked_text,
    },
};

/// A request to enroll a worker. Without photos and `live` the worker has no template, and passes
/// only when a guard vouches.
#[derive(Clone, Serialize, Deserialize)]
pub struct Enroll {
    /// The id and the texts that a lane may show.
    #[serde(flatten)]
    pub person: Person,
    /// The type of the document.
    #[serde(default)]
    pub id_type: IdType,
    /// The document's number, as it was typed.
    pub id_number: String,
    /// Further data that the database seals.
    #[serde(default)]
    pub particulars: Particulars,
    /// The days of admission, and the signed papers.
    #[serde(default)]
    pub terms: Terms,
    /// The photos that follow, at most [`PHOTOS_MAX`](super::PHOTOS_MAX).
    #[serde(default)]
    pub photos: Vec<Photo>,
    /// The camera that takes the photos.
    pub live: Option<Live>,
    /// Reason for which another worker may have the same face: twins.
    pub allow_duplicate_face: Option<String>,
    /// Reason for which photos that are little alike show one person. It counts only at the gateway.
    #[serde(default)]
    pub reason: Option<String>,
    /// What is done if the id is on the roster already.
    #[serde(default)]
    pub if_known: IfKnown,
    /// The request is checked in full, and nothing is changed.
    #[serde(default)]
    pub dry_run: bool,
    /// Dates that look mistyped are accepted: a person has confirmed them, or no person can be
    /// asked.
    #[serde(default)]
    pub confirmed: bool,
}

impl Enroll {
    /// Returns a request without particulars, terms and photos.
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
            reason: None,
            if_known: IfKnown::Refuse,
            dry_run: false,
            confirmed: false,
        }
    }

    pub(super) fn brings_faces(&self) -> bool {
        !self.photos.is_empty() || self.live.is_some()
    }
}

/// What a platform says of a person, as far as its protocol can. Data that is not given stays as it
/// is; the `new_…` fields count for a worker who is new, or has none yet.
pub struct Edit {
    /// The worker's id.
    pub id: WorkerId,
    /// The name.
    pub name: Option<String>,
    /// The document's number.
    pub id_number: Option<String>,
    /// The first and the last day of admission.
    pub terms: Terms,
    /// The team.
    pub new_team: Option<String>,
    /// The labour company.
    pub new_contractor: Option<String>,
    /// The trade.
    pub new_trade: Option<String>,
    /// The paper of the consent to the face.
    pub new_consent: Option<String>,
    /// The photos that follow.
    pub photos: Vec<Photo>,
}

/// The treatment of a person who is already on the roster under this id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfKnown {
    /// Refuse the request.
    #[default]
    Refuse,
    /// Accept where nothing differs, else refuse. So an interrupted import can be repeated.
    Same,
    /// Update the worker. A field that is not given stays as it is; given photos replace the
    /// present ones.
    Update,
}

/// A request to take the photos with a lane's camera.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Live {
    /// Take the photos now with a camera of this lane, in place of the present photos; the lane's
    /// gate waits meanwhile
    #[arg(long, required = false, requires = "direction")]
    pub lane: String,
    /// The camera of the lane: entry or exit
    #[arg(long, required = false, requires = "lane")]
    pub direction: Direction,
}

/// The result of an enrolment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// The worker after the enrolment.
    #[serde(flatten)]
    pub worker: Worker,
    /// Whether the enrolment changed the roster.
    pub result: EnrollResult,
    /// The photos that were turned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turned: Vec<Turned>,
    /// What the new photos lack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

impl Enrolled {
    pub(super) fn new(worker: Worker, result: EnrollResult) -> Enrolled {
        Enrolled { worker, result, turned: Vec::new(), advice: None }
    }
}

/// A photo in which the face was not upright, and which was turned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turned {
    /// The photo's name.
    pub photo: String,
    /// The clockwise turn in degrees: 90, 180 or 270.
    pub degrees: u16,
}

impl std::fmt::Display for Turned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.degrees {
            90 => "to the right by 90 degrees",
            270 => "to the left by 90 degrees",
            _ => "by 180 degrees",
        };
        write!(f, "{}: the photo was turned {how}, because the face was not upright", self.photo)
    }
}

/// The effect of an enrolment or an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrollResult {
    /// The worker is new on the roster.
    Enrolled,
    /// The roster has this data already.
    Unchanged,
    /// The worker's data changed.
    Updated,
}

/// A request to change a worker. A field that is not given stays as it is.
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
    /// Another name, where the present one is wrong
    #[arg(long)]
    pub name: Option<String>,
    /// Another number, where the present one is wrong
    #[arg(long, value_name = "NUMBER")]
    pub id_number: Option<String>,
    /// The type of the new number, where it is another type: resident, passport, hk_macao_permit or
    /// taiwan_permit
    #[arg(long, value_name = "TYPE", requires = "id_number")]
    pub id_type: Option<IdType>,
    /// A field to clear; repeat the option for further fields
    #[arg(long, value_name = "FIELD")]
    #[serde(default)]
    pub clear: Vec<Clear>,
    /// The change of the templates and photos.
    #[arg(skip)]
    pub faces: UpdateFaces,
    /// The photos that follow, for `Add` and `Replace`.
    #[arg(skip)]
    pub photos: Vec<Photo>,
    /// The camera that takes the photos.
    #[arg(skip)]
    pub live: Option<Live>,
    /// Reason for which another worker may have the same face: twins.
    #[arg(skip)]
    pub allow_duplicate_face: Option<String>,
    /// Why, in words; recorded
    #[arg(long)]
    pub reason: Option<String>,
    /// A date that lies ahead of a clock that is not synchronised is meant
    #[arg(long = "yes")]
    #[serde(default)]
    pub confirmed: bool,
    // These fields come last, because the help heading of the terms applies to all later fields.
    /// The terms that change.
    #[command(flatten)]
    pub terms: Terms,
    /// The particulars that change.
    #[command(flatten)]
    pub particulars: Particulars,
}

impl Update {
    /// Returns a request that changes nothing.
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

/// A field that can be cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clear {
    /// The first day of admission.
    ValidFrom,
    /// The last day of admission.
    ValidUntil,
    /// The day of the labour contract's signature.
    ContractSigned,
    /// The day of the safety training.
    TrainedOn,
    /// The phone number.
    Phone,
    /// The last digits of the wage account.
    BankTail,
}

/// The change of the present templates and photos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateFaces {
    /// The present templates and photos stay.
    #[default]
    Keep,
    /// The given photos are added.
    Add,
    /// The given photos replace the present ones.
    Replace,
    /// The present ones are erased, and the consent with them.
    Erase,
}

/// A photo that follows the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Photo {
    /// The file's name, for messages.
    pub name: String,
    /// The file's size in bytes.
    pub bytes: u64,
}

/// The origin of an enrolment or update. A refusal names the remedy that this origin has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A command about one worker, which has options.
    Alone,
    /// A row of an import.
    Import,
    /// A platform, or another message from afar. `trusted`: it is signed, and the configuration
    /// trusts its upstream for faces.
    Platform { trusted: bool },
}

impl Asked {
    /// Returns the origin. `afar`: the request came from afar, and whether its upstream is trusted
    /// for faces.
    pub(super) fn of(enroll: &Enroll, afar: Option<bool>, by: &Actor) -> Asked {
        match (enroll.if_known, afar) {
            (_, Some(trusted)) => Asked::Platform { trusted },
            _ if by.via == Via::Upstream => Asked::Platform { trusted: false },
            (IfKnown::Refuse, _) => Asked::Alone,
            (IfKnown::Same | IfKnown::Update, _) => Asked::Import,
        }
    }

    /// Returns whether a worker of this origin waits for a person at the site.
    pub(super) fn waits(self) -> bool {
        self.voucher(false) == Voucher::Afar
    }

    /// Returns the authority of this origin over faces. Every message from afar has it from here.
    pub(super) fn voucher(self, reason: bool) -> Voucher {
        match self {
            Asked::Alone | Asked::Import => Voucher::Person { reason },
            Asked::Platform { trusted: true } => Voucher::TrustedPlatform,
            Asked::Platform { trusted: false } => Voucher::Afar,
        }
    }

    /// Returns the remedy for this origin.
    pub(super) fn remedy(
        self,
        alone: &'static str,
        import: &'static str,
        platform: &'static str,
    ) -> &'static str {
        match self {
            Asked::Alone => alone,
            Asked::Import => import,
            Asked::Platform { .. } => platform,
        }
    }
}

/// Checks a reason: one line of at most 200 characters.
pub(super) fn checked_reason(reason: &str) -> Result<String, RosterError> {
    checked_text("reason", reason, 200)
}

/// Checks the texts of a person against their bounds.
pub(super) fn checked_person(person: &Person) -> Result<Person, Failure> {
    let mut faults = Faults::default();
    let name = faults.note(checked_name(&person.name));
    let team = faults.note(checked_text("team", &person.team, 64));
    let contractor = faults.note(checked_text("contractor", &person.contractor, 128));
    let trade = faults.note(checked_text("trade", &person.trade, 64));
    match (name, team, contractor, trade) {
        (Some(name), Some(team), Some(contractor), Some(trade)) => {
            Ok(Person { id: person.id.clone(), name, team, contractor, trade })
        }
        _ => Err(faults.into()),
    }
}
