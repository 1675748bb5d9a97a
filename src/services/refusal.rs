//! Why a request is refused: the code, the field, and the sentence for a person. The rooms above
//! have the sentences of their own errors.

use std::fmt::Display;

use jiff::civil::Date;

use super::{
    asked::Asked,
    failure::{Code, Failure},
};
use crate::{
    config::Direction,
    gate,
    roster::{Standing, Worker, WorkerId},
};

/// Why a request is refused. Times are texts in the site's time zone.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "{user} may read, but not change anything; only members of the group {group} may \
         (roster.admin_group)"
    )]
    NotAdmin { user: String, group: String },

    #[error("there is no lane {name}; there are: {}", .lanes.join(", "))]
    NoSuchLane { name: String, lanes: Vec<String> },
    #[error("{0}")]
    NotInForce(String),
    #[error("lane {lane}: {refusal}")]
    ModeNotChanged { lane: String, refusal: gate::Refusal },
    #[error("lane {lane}: {refusal}")]
    NotReleased { lane: String, refusal: gate::Refusal },
    #[error("the lane has stopped, or restarts after a fault; see `gatehouse status`")]
    LaneStopped,
    #[error(
        "the lane has stopped, or restarts after a fault; it is not known whether it released the \
         turnstile; see `gatehouse status` and the attendance"
    )]
    LaneStoppedInRelease,
    #[error("the lane gave no answer")]
    LaneSilent,

    #[error("lane {lane} has no camera for {direction}")]
    NoCamera { lane: String, direction: Direction },
    #[error("the camera {source_name} is not connected; see `gatehouse status`")]
    CameraDown { source_name: String },
    #[error(
        "the camera {source_name} is in use by another enrolment, or its picture is being taken; try again when that has ended"
    )]
    CameraLent { source_name: String },
    #[error("the camera took no good picture of a face: {hint}")]
    NoGoodLook { hint: String },
    #[error("a command cannot use a lane's camera; give photos")]
    CameraByCommand,
    #[error("give 1 to {most} photos, or the lane whose camera takes them")]
    PhotosOrCamera { most: usize },
    #[error("{name}: {mib} MiB; a photo has at most {most_mib} MiB, scale it down")]
    LargePhoto { name: String, mib: u64, most_mib: usize },
    #[error("the photo {name} was not sent")]
    PhotoNotSent { name: String },
    #[error("give photos, and say whether they are added or replace the present ones")]
    PhotosWithoutChange,
    #[error("worker {id} would have {count} photos, and the maximum is {most}; replace the photos")]
    TooManyPhotos { id: WorkerId, count: u32, most: usize },
    #[error(
        "{photo}: the face is not that of the first photo (score {score:.2}); all photos must show \
         the same worker"
    )]
    SeveralPeople { photo: String, score: f32 },
    #[error(
        "this is not the face that worker {id} was first enrolled with (score {score:.2}, less than \
         {threshold:.2}); if it is the same person, {}",
        .asked.remedy(
            "`worker photo --replace … --reason \"…\"`",
            "replace the photos at the gateway, with `gatehouse worker photo`",
            "replace the photos at the gateway, with `gatehouse worker photo`",
        )
    )]
    AnotherFace { id: WorkerId, score: f32, threshold: f32, asked: Asked },
    #[error(
        "the added photo does not show worker {id} (score {score:.2}): replace the photos, and give a \
         reason"
    )]
    AnotherFaceAdded { id: WorkerId, score: f32 },
    #[error(
        "the photos are little alike (score {score:.2}, less than {threshold:.2}); if they show the \
         same person, {}",
        .asked.remedy(
            "give --reason",
            "enroll this one with `gatehouse worker enroll`, which takes a reason",
            "enroll the worker with one of them, and add the others at the gateway, with a reason",
        )
    )]
    LittleAlike { score: f32, threshold: f32, asked: Asked },
    #[error(
        "the face of {id} is already enrolled, as worker {other} {name} (score {score:.2}); if it \
         is the same person, remove that worker first; if they are two persons, {}",
        .asked.remedy(
            "--allow-duplicate-face --reason",
            "enroll this one with `gatehouse worker enroll`, which takes a reason",
            "give the reason in allow_duplicate_face",
        )
    )]
    DuplicateFace { id: WorkerId, other: WorkerId, name: String, score: f32, asked: Asked },
    #[error(
        "a face may be kept only with the worker's consent: {}, or enroll without photos, and a \
         guard vouches for the worker",
        .asked.remedy(
            "give the number of the signed form with --consent",
            "fill in the number of the signed form",
            "give the number of the signed form",
        )
    )]
    NoConsent { asked: Asked },
    #[error(
        "worker {id} has withdrawn the consent to the face on {on}; {}",
        .asked.remedy(
            "after a new consent, enroll a new id without photos and --consent, record the consent with \
             `gatehouse worker consent ID --purpose face --given DATE --form NUMBER`, and then give the \
             photos with `gatehouse worker photo ID --add FILE`",
            "empty the row's consent and leave out its photos; a new consent is recorded with \
             `gatehouse worker consent`",
            "leave out photos and consent; a new consent is recorded at the gateway, with `gatehouse \
             worker consent`",
        )
    )]
    FaceWithdrawn { id: WorkerId, on: Date, asked: Asked },
    #[error(
        "worker {id} has another form or day, recorded with `gatehouse worker consent`; {}",
        .asked.remedy(
            "record a new form with that command too",
            "correct or empty the row's consent, or record a new form with that command",
            "leave out the consent; a new form is recorded at the gateway",
        )
    )]
    ConsentRecorded { id: WorkerId, asked: Asked },
    #[error("give --given with --form, or --withdrawn")]
    GivenOrWithdrawn,
    #[error("there is no upstream {name}; {}", named(.upstreams))]
    NoSuchUpstream { name: String, upstreams: Vec<String>, argument: Option<&'static str> },
    #[error(
        "{on} is before {withdrawn_on}, when the worker withdrew the consent; a form that was signed \
         later is needed"
    )]
    FormBeforeWithdrawal { on: Date, withdrawn_on: Date },
    #[error("the worker withdrew the consent of this form on {withdrawn_on}; a new form is needed")]
    FormWithdrawn { withdrawn_on: Date },
    #[error("the roster has this form and day already")]
    ConsentKnown,
    #[error("the roster has this withdrawal already")]
    WithdrawalKnown,
    #[error(
        "the form is of {on}, and the recorded one of {given_on} is later; give --yes if the recorded \
         day was mistyped"
    )]
    FormBeforeForm { on: Date, given_on: Date },
    #[error("{on} is before {given_on}, when the consent was given")]
    WithdrawnBeforeGiven { on: Date, given_on: Date },
    #[error(
        "no photo of this passage is kept: photos are kept for some days only \
         (storage.photo_keep_days), and erased with their worker"
    )]
    NoPhoto,

    #[error(
        "the photos of {id} that wait cannot be compared: they are damaged, or another model made \
         their templates; have them sent again, or take photos at the gateway with `gatehouse worker \
         photo`"
    )]
    FacesUnread { id: WorkerId },
    #[error("the roster is not in doubt: no entries were lost since it was confirmed")]
    RosterNotInDoubt,
    #[error("a state cannot be `removed`; use `gatehouse worker remove`")]
    RemovedAsState,
    #[error("worker {id} is {}", if *.exempt { "exempt already" } else { "not exempt" })]
    ExemptionKnown { id: WorkerId, exempt: bool },
    #[error("worker {id} is neither suspended nor barred")]
    NotHeld { id: WorkerId },
    #[error(
        "worker {id} came from afar, and waits until a person at the site confirms: `gatehouse \
         worker confirm {id}`"
    )]
    IsPending { id: WorkerId },
    #[error("a state cannot be `pending`; a worker from afar is pending until it is confirmed")]
    PendingAsState,
    #[error("nothing from afar waits for worker {id}")]
    NothingWaits { id: WorkerId },
    #[error(
        "what waits for worker {id} has changed since you looked at it: make the sheet again, with \
         --sheet"
    )]
    ChangedMeanwhile { id: WorkerId },
    #[error(
        "worker {id} has never been confirmed: to reject a worker, use `gatehouse worker remove {id}`"
    )]
    RejectsWorker { id: WorkerId },
    #[error("it is an ID number, which each record would show; choose another id")]
    IdIsDocument,
    #[error(
        "worker {id} is on the roster with another ID number; if that number was mistyped, correct \
         it with `gatehouse worker update`, else choose another id"
    )]
    AnotherDocument { id: WorkerId },
    #[error("worker {id} is on the roster without a face; --update adds the photos")]
    KnownWithoutFace { id: WorkerId },
    #[error("worker {id} is on the roster with other particulars; --update brings them up to date")]
    KnownOtherwise { id: WorkerId },
    #[error(
        "worker {id}: another name and another ID number make another person, and ids are never \
         used again; if both were mistyped, give --reason"
    )]
    AnotherPerson { id: WorkerId },
    #[error("{until} is before {from}, the first day of admission")]
    EndsBeforeBegin { until: Date, from: Date },
    #[error("give the form's number too")]
    ConsentWithoutForm,

    #[error("to: {to} is before from {from}")]
    RangeReversed { from: Date, to: Date },
    #[error("{at} lies in the future{}", of_which_clock(.synced))]
    SinceFuture { at: String, synced: bool },
    #[error("{date} is no date of our time; check the year")]
    OddYear { field: &'static str, date: Date },
    #[error("{at} lies in the future")]
    Future { field: &'static str, at: String },
    #[error("{at} lies in the future of this gateway's clock ({now}), which is not synchronised")]
    FutureOfClock { field: &'static str, at: String, now: String },
    #[error(
        "an earlier head is no signed tree head; give files that `gatehouse evidence head` wrote"
    )]
    NoHead,
    #[error("the package would have more than {mib} MiB: ask for fewer days")]
    LargePackage { mib: usize },
    #[error("at most {most} earlier heads")]
    TooManyHeads { most: usize },
    #[error("{at} is more than a year before the first entry of this gateway ({began})")]
    BeforeLedger { at: String, began: String },
}

fn named(upstreams: &[String]) -> String {
    match upstreams {
        [] => "the configuration has none".to_owned(),
        names => format!("the configuration has: {}", names.join(", ")),
    }
}

fn of_which_clock(synced: &bool) -> &'static str {
    if *synced { "" } else { " of this gateway's clock, which is not synchronised" }
}

impl Refusal {
    /// Returns the refusal of a worker that a guard may not vouch for; `None` for a worker in
    /// force.
    pub(super) fn of_standing(worker: &Worker, standing: Standing) -> Option<Refusal> {
        let said = Refusal::standing_in_words(worker, standing)?;
        let rest = "Without --worker the gate opens, but no attendance is recorded";
        Some(Refusal::NotInForce(format!("{said}. {rest}")))
    }

    /// Returns why a worker may not enter, and the remedy; `None` for a worker in force.
    pub(super) fn standing_in_words(worker: &Worker, standing: Standing) -> Option<String> {
        let reason = worker.state_reason.as_deref().unwrap_or("no reason given");
        let day = |day: Option<Date>| day.map_or_else(String::new, |d| d.to_string());
        let (what, (verb, options)) = match standing {
            Standing::InForce => return None,
            Standing::NotYet => (
                format!("admitted only from {} on", day(worker.terms.valid_from)),
                ("update", " --valid-from DATE"),
            ),
            Standing::Expired => (
                format!("admitted only until {}", day(worker.terms.valid_until)),
                ("update", " --valid-until DATE"),
            ),
            Standing::Pending => {
                ("not confirmed by a person at the site".to_owned(), ("confirm", ""))
            }
            Standing::Suspended => (format!("suspended ({reason})"), ("resume", "")),
            Standing::Barred => (format!("barred ({reason})"), ("resume", "")),
            Standing::TrainingMissing => {
                ("not trained in safety".to_owned(), ("update", " --trained-on DATE"))
            }
        };
        Some(format!(
            "worker {id} is {what}; `gatehouse worker {verb} {id}{options}` changes that",
            id = worker.person.id
        ))
    }

    fn code(&self) -> Code {
        match self {
            Refusal::NotAdmin { .. } => Code::NotAllowed,
            Refusal::NoSuchLane { .. } => Code::NoSuchLane,
            Refusal::NotInForce(_) => Code::NotInForce,
            Refusal::ModeNotChanged { .. } => Code::NotChanged,
            Refusal::NotReleased { .. } => Code::NotReleased,
            Refusal::LaneStopped | Refusal::LaneStoppedInRelease => Code::Stopping,
            Refusal::LaneSilent => Code::Timeout,
            Refusal::NoCamera { .. } | Refusal::CameraDown { .. } => Code::NoCamera,
            Refusal::CameraLent { .. } => Code::CameraLent,
            Refusal::NoGoodLook { .. } => Code::NoGoodLook,
            Refusal::LargePhoto { .. } => Code::PhotoTooLarge,
            Refusal::PhotoNotSent { .. } => Code::Internal,
            Refusal::SeveralPeople { .. } => Code::SeveralPeople,
            Refusal::AnotherFace { .. } | Refusal::AnotherFaceAdded { .. } => Code::AnotherFace,
            Refusal::LittleAlike { .. } => Code::SeveralPeople,
            Refusal::IsPending { .. } => Code::Pending,
            Refusal::ChangedMeanwhile { .. } | Refusal::FacesUnread { .. } => Code::NotChanged,
            Refusal::PendingAsState | Refusal::RejectsWorker { .. } => Code::Invalid,
            Refusal::DuplicateFace { .. } => Code::DuplicateFace,
            Refusal::NoConsent { .. } => Code::NoConsent,
            Refusal::FaceWithdrawn { .. } => Code::ConsentWithdrawn,
            Refusal::NoPhoto => Code::NoPhoto,
            Refusal::NotHeld { .. }
            | Refusal::ExemptionKnown { .. }
            | Refusal::NothingWaits { .. }
            | Refusal::RosterNotInDoubt
            | Refusal::ConsentKnown
            | Refusal::WithdrawalKnown => Code::Unchanged,
            Refusal::AnotherDocument { .. }
            | Refusal::KnownWithoutFace { .. }
            | Refusal::KnownOtherwise { .. }
            | Refusal::ConsentRecorded { .. } => Code::Duplicate,
            Refusal::FutureOfClock { .. }
            | Refusal::BeforeLedger { .. }
            | Refusal::WithdrawnBeforeGiven { .. }
            | Refusal::FormBeforeForm { .. } => Code::Unlikely,
            Refusal::CameraByCommand
            | Refusal::PhotosOrCamera { .. }
            | Refusal::PhotosWithoutChange
            | Refusal::TooManyPhotos { .. }
            | Refusal::RemovedAsState
            | Refusal::IdIsDocument
            | Refusal::AnotherPerson { .. }
            | Refusal::EndsBeforeBegin { .. }
            | Refusal::ConsentWithoutForm
            | Refusal::GivenOrWithdrawn
            | Refusal::NoSuchUpstream { .. }
            | Refusal::FormBeforeWithdrawal { .. }
            | Refusal::FormWithdrawn { .. }
            | Refusal::NoHead
            | Refusal::LargePackage { .. }
            | Refusal::TooManyHeads { .. }
            | Refusal::RangeReversed { .. }
            | Refusal::SinceFuture { .. }
            | Refusal::OddYear { .. }
            | Refusal::Future { .. } => Code::Invalid,
        }
    }

    /// Returns the field that the refusal is about.
    fn field(&self) -> Option<&'static str> {
        match self {
            Refusal::NoConsent { .. } | Refusal::ConsentRecorded { .. } => Some("consent"),
            Refusal::NoSuchUpstream { argument, .. } => *argument,
            Refusal::FormBeforeWithdrawal { .. } | Refusal::FormBeforeForm { .. } => Some("given"),
            Refusal::FormWithdrawn { .. } => Some("form"),
            Refusal::WithdrawnBeforeGiven { .. } => Some("withdrawn"),
            Refusal::IdIsDocument => Some("id"),
            Refusal::AnotherDocument { .. } => Some("id-number"),
            Refusal::EndsBeforeBegin { .. } => Some("valid-until"),
            Refusal::ConsentWithoutForm => Some("consent-on"),
            Refusal::NoHead | Refusal::TooManyHeads { .. } => Some("head"),
            Refusal::SinceFuture { .. } => Some("since"),
            Refusal::BeforeLedger { .. } => Some("at"),
            Refusal::OddYear { field, .. }
            | Refusal::Future { field, .. }
            | Refusal::FutureOfClock { field, .. } => Some(field),
            _ => None,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let whole: &dyn Display = &refusal;
        match (refusal.field(), &refusal) {
            // These sentences name the field themselves.
            (Some(field), Refusal::NoConsent { .. } | Refusal::AnotherDocument { .. }) => {
                Failure::of(refusal.code(), field, whole)
            }
            (Some(field), _) => Failure::of(refusal.code(), field, format!("{field}: {whole}")),
            (None, _) => Failure::new(refusal.code(), whole),
        }
    }
}
