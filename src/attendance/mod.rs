//! Views over the ledger's entries: what a record says to people and platforms.
//!
//! In: entries. Out: [`Record`]s of attendance and [`EventRecord`]s, whose JSON the `native`
//! profile sends and `--json` prints; [`timesheet()`](timesheet::timesheet), who is on site, and
//! sheets to print. Pure: nothing is read or written here.

mod days;
pub mod merge;
pub mod onsite;
mod pass;
pub mod print;
pub mod timesheet;

use jiff::{Timestamp, civil::Date, fmt::temporal::DateTimePrinter, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{ClockChange, ClockWhat, Stamp},
    config::Direction,
    ledger::{
        Actor, AlarmWhat, Alike, Attended, Body, FacesWhat, Judgement, LaneMode, Outcome, Stored,
    },
    roster::{Person, Terms},
};

/// Which gateway speaks, and in which zone its times are written.
#[derive(Clone, Debug)]
pub struct Origin {
    pub gateway: String,
    pub project: String,
    pub timezone: TimeZone,
}

impl Origin {
    /// RFC 3339 with the site's offset and milliseconds.
    pub fn time(&self, at: Timestamp) -> String {
        const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        MILLISECONDS.timestamp_with_offset_to_string(&at, self.timezone.to_offset(at))
    }
}

/// What `hex::encode` makes, in one piece.
fn hexadecimal<const N: usize>(bytes: [u8; N]) -> String {
    let mut text = vec![0; 2 * N];
    // Of this length it has no error to give, and what it writes is ASCII.
    let _ = hex::encode_to_slice(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// How somebody was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    Face,
    /// A guard vouched.
    Manual,
    /// No gate recorded it; somebody says so.
    Supplement,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    Passed,
    NotPassed,
    Unconfirmed,
    /// Of a supplement: it is said to have been.
    Claimed,
}

impl From<Outcome> for Result {
    fn from(outcome: Outcome) -> Result {
        match outcome {
            Outcome::Passed => Result::Passed,
            Outcome::NotPassed => Result::NotPassed,
            Outcome::Unconfirmed => Result::Unconfirmed,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockState {
    pub synced: bool,
    pub boot: String,
    pub uptime_ms: u64,
}

impl From<Stamp> for ClockState {
    fn from(stamp: Stamp) -> Self {
        let Stamp { synced, uptime_ms, .. } = stamp;
        ClockState { synced, boot: hexadecimal(stamp.boot.0), uptime_ms }
    }
}

/// The record's own entry in the Merkle tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub index: u64,
    pub hash: String,
}

impl From<&Stored> for Leaf {
    fn from(stored: &Stored) -> Self {
        Leaf { index: stored.entry.index, hash: hexadecimal(stored.leaf) }
    }
}

/// A photo of a passage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoOf {
    /// Of the JPEG, in hexadecimal.
    pub sha256: String,
}

/// One attendance: a grant (or a guard's release) of a worker, with its outcome; or a supplement.
/// Its `seq` and `leaf` are the outcome's, which names the grant's index and leaf hash in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub v: u8,
    pub gateway: String,
    pub project: String,
    pub ledger: String,
    pub seq: u64,
    pub passage: String,
    pub worker: String,
    pub name: String,
    pub team: String,
    pub contractor: String,
    pub trade: String,
    pub direction: Direction,
    /// `null` for a supplement, which no lane saw.
    pub lane: Option<String>,
    /// When the worker was let through, or is said to have gone.
    pub at: String,
    pub means: Means,
    pub score: Option<f64>,
    pub threshold: Option<f64>,
    pub model: Option<String>,
    /// Liveness is not examined: always `null`.
    pub liveness: Option<f64>,
    pub outcome: Result,
    /// When the outcome was recorded.
    pub recorded_at: String,
    /// The clock at `at`; of a supplement, when it was recorded.
    pub clock: ClockState,
    /// Where a photo of the passage is kept, for a while.
    pub photo: Option<PhotoOf>,
    /// Why it was let through by hand, or added.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Who did that: the operating system's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    pub leaf: Leaf,
    /// This record may have reached you before.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub resent: bool,
    /// The seq of the entry that says it was not this person. In listings alone: what goes upstream
    /// says so in that entry's own event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disputed: Option<u64>,
}

impl Record {
    /// As it is listed.
    pub fn listed(origin: &Origin, attended: &Attended) -> Option<Record> {
        let record = Record::of(origin, &attended.entry, attended.cause.clone())?;
        Some(Record { disputed: attended.disputed, ..record })
    }

    /// `None` where it is neither a supplement nor an outcome with the worker's cause that it closes.
    pub fn of(origin: &Origin, entry: &Stored, cause: Option<Stored>) -> Option<Record> {
        let (passage, result, cause) = match (&entry.entry.body, cause) {
            (Body::Outcome { passage, outcome, .. }, Some(cause)) => {
                (passage, Result::from(*outcome), cause.entry)
            }
            (Body::Supplement { passage, .. }, _) => {
                (passage, Result::Claimed, entry.entry.clone())
            }
            _ => return None,
        };
        let mut at = cause.stamp.timestamp();
        let (mut judged, mut photo, mut by_hand) = (None, None, None);
        let (person, direction, lane, means) = match cause.body {
            Body::Grant { person, direction, lane, judgement, photo: sha256, .. } => {
                judged = Some(judgement);
                photo = sha256.map(|sha256| PhotoOf { sha256: hexadecimal(sha256) });
                (person, direction, Some(lane), Means::Face)
            }
            Body::Release { person: Some(person), direction, lane, reason, by, .. } => {
                by_hand = Some((reason, by));
                (person, direction, Some(lane), Means::Manual)
            }
            Body::Supplement { person, direction, at_ms, reason, by, .. } => {
                at = Timestamp::from_millisecond(at_ms).ok()?;
                by_hand = Some((reason, by));
                (person, direction, None, Means::Supplement)
            }
            _ => return None,
        };
        let (score, threshold, model) = match judged {
            Some(Judgement { score, threshold, model }) => {
                (Some(score.value()), Some(threshold.value()), Some(model))
            }
            None => (None, None, None),
        };
        let (reason, by) = by_hand.map(|(reason, by): (_, Actor)| (reason, by.user)).unzip();
        Some(Record {
            v: 1,
            gateway: origin.gateway.clone(),
            project: origin.project.clone(),
            ledger: hexadecimal(entry.entry.ledger.0),
            seq: entry.entry.seq?,
            passage: hexadecimal(passage.0),
            worker: person.id.into(),
            name: person.name,
            team: person.team,
            contractor: person.contractor,
            trade: person.trade,
            direction,
            lane,
            at: origin.time(at),
            means,
            score,
            threshold,
            model,
            liveness: None,
            outcome: result,
            recorded_at: origin.time(entry.entry.stamp.timestamp()),
            clock: cause.stamp.into(),
            photo,
            reason,
            by,
            leaf: entry.into(),
            resent: false,
            disputed: None,
        })
    }
}

/// All else that goes upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRecord {
    pub v: u8,
    pub gateway: String,
    pub project: String,
    pub ledger: String,
    pub seq: u64,
    pub kind: &'static str,
    pub at: String,
    pub clock: ClockState,
    #[serde(flatten)]
    pub what: What,
    pub leaf: Leaf,
    /// This event may have reached you before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resent: bool,
}

/// What an event's kind adds. Absent values are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct What {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contractor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trade: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent_on: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_signed: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<Date>,
    /// The names of what else of a worker changed and is not told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub particulars: Vec<String>,
    /// What became of a worker's templates and photos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faces: Option<FacesWhat>,
    /// Photos that were erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos: Option<u32>,
    /// The worker whose face is like this one's, and how like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alike: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alike_score: Option<f64>,
    /// Why both are enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alike_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_commitment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<String>,
    /// The operating system's name of who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Of a clock: what happened to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<ClockWhat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_ms: Option<i64>,
    /// When this boot began, by a clock that is synchronised: with a record's `uptime_ms` it dates
    /// what was recorded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<String>,
    /// Of the disk: `ample`, `low`, `scarce`, `full` or `failing`; of a worker: `active`, `suspended`
    /// or `barred`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Events that could not be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unrecorded: Option<u64>,
    /// The damaged ledger that this one takes the place of, where its id could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<String>,
    /// Where the damaged database lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// Workers carried over from it, and lost with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers_lost: Option<u32>,
    /// How the lane works from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<LaneMode>,
    /// Of a fire alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Of an alarm: what it is about, which one, and whether it is raised or over.
    #[serde(rename = "what", skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmWhat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raised: Option<bool>,
    /// Of a tailgate: the passage just before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Of a dispute: the leaf of the attendance that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disputes: Option<Leaf>,
    /// Values sealed anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resealed: Option<u64>,
    /// Entries whose bytes were deleted, and the index before which they lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_before: Option<u64>,
}

impl What {
    fn terms(self, terms: &Terms) -> What {
        let Terms { valid_from, valid_until, consent, consent_on, contract_signed, trained_on } =
            terms.clone();
        What { valid_from, valid_until, consent, consent_on, contract_signed, trained_on, ..self }
    }

    fn alike(self, alike: &Alike) -> What {
        What {
            alike: Some(alike.worker.to_string()),
            alike_score: Some(alike.score.value()),
            alike_reason: Some(alike.reason.clone()),
            ..self
        }
    }

    fn person(self, person: &Person) -> What {
        What {
            worker: Some(person.id.to_string()),
            name: Some(person.name.clone()),
            team: Some(person.team.clone()),
            contractor: Some(person.contractor.clone()),
            trade: Some(person.trade.clone()),
            ..self
        }
    }

    fn of(origin: &Origin, body: &Body) -> What {
        let what = What::default();
        match body {
            Body::Boot { version } => What { version: Some(version.clone()), ..what },
            Body::Config { sha256 } => What { config_sha256: Some(hex::encode(sha256)), ..what },
            Body::Enrolment { person, commitment, terms, model, templates, alike, by, .. } => {
                let what = What {
                    id_commitment: Some(hex::encode(commitment)),
                    model: Some(model.clone()),
                    templates: Some(*templates),
                    by: Some(by.user.clone()),
                    ..what
                };
                alike.iter().fold(what.person(person).terms(terms), What::alike)
            }
            Body::Removal { worker, reason, erased, by } => What {
                worker: Some(worker.to_string()),
                reason: reason.clone(),
                templates: erased.map(|e| e.templates),
                photos: erased.map(|e| e.photos),
                by: Some(by.user.clone()),
                ..what
            },
            Body::Amendment {
                person,
                terms,
                commitment,
                particulars,
                faces,
                alike,
                reason,
                by,
            } => {
                let what = What {
                    particulars: particulars.clone(),
                    id_commitment: commitment.map(hex::encode),
                    faces: faces.as_ref().map(|f| f.what),
                    model: faces.as_ref().map(|f| f.model.clone()),
                    templates: faces.as_ref().map(|f| f.templates),
                    reason: reason.clone(),
                    by: Some(by.user.clone()),
                    ..what
                };
                alike.iter().fold(what.person(person).terms(terms), What::alike)
            }
            Body::State { worker, state, reason, by } => What {
                worker: Some(worker.to_string()),
                state: Some(state.word().to_owned()),
                reason: Some(reason.clone()),
                by: Some(by.user.clone()),
                ..what
            },
            Body::Dispute { cause, leaf, reason, by } => What {
                disputes: Some(Leaf { index: *cause, hash: hex::encode(leaf) }),
                reason: Some(reason.clone()),
                by: Some(by.user.clone()),
                ..what
            },
            Body::Key { resealed, by } => {
                What { resealed: Some(*resealed), by: Some(by.user.clone()), ..what }
            }
            Body::Pruning { before, entries, .. } => {
                What { pruned: Some(*entries), pruned_before: Some(*before), ..what }
            }
            Body::Denial { lane, direction, reason, person, judgement } => {
                let what = What {
                    lane: Some(lane.clone()),
                    direction: Some(*direction),
                    reason: Some(reason.clone()),
                    score: Some(judgement.score.value()),
                    threshold: Some(judgement.threshold.value()),
                    model: Some(judgement.model.clone()),
                    ..what
                };
                person.iter().fold(what, What::person)
            }
            Body::Release { passage, lane, direction, person, reason, by } => {
                let what = What {
                    passage: Some(passage.to_string()),
                    lane: Some(lane.clone()),
                    direction: Some(*direction),
                    reason: Some(reason.clone()),
                    by: Some(by.user.clone()),
                    ..what
                };
                person.iter().fold(what, What::person)
            }
            Body::Outcome { passage, outcome, detail, .. } => What {
                passage: Some(passage.to_string()),
                outcome: Some(*outcome),
                detail: Some(detail.clone()),
                ..what
            },
            Body::Clock(ClockChange { what: change, moved_ms, booted_at_ms }) => What {
                change: Some(*change),
                moved_ms: Some(*moved_ms),
                booted_at: booted_at_ms
                    .and_then(|ms| Timestamp::from_millisecond(ms).ok())
                    .map(|at| origin.time(at)),
                ..what
            },
            Body::Storage { state, detail, unrecorded } => What {
                state: Some(state.clone()),
                detail: Some(detail.clone()),
                unrecorded: Some(*unrecorded),
                ..what
            },
            Body::Successor { of, set_aside, found, workers, workers_lost } => What {
                predecessor: of.map(|id| id.to_string()),
                set_aside: Some(set_aside.clone()),
                detail: Some(found.clone()),
                workers: Some(*workers),
                workers_lost: Some(*workers_lost),
                ..what
            },
            Body::Mode { lane, mode, reason, by } => What {
                lane: Some(lane.clone()),
                mode: Some(*mode),
                reason: Some(reason.clone()),
                by: by.as_ref().map(|by| by.user.clone()),
                ..what
            },
            Body::Fire { lane, on } => What { lane: Some(lane.clone()), on: Some(*on), ..what },
            Body::Tailgate { lane, direction, after } => What {
                lane: Some(lane.clone()),
                direction: Some(*direction),
                after: after.map(|passage| passage.to_string()),
                ..what
            },
            Body::Alarm(alarm) => What {
                alarm: Some(alarm.what),
                subject: Some(alarm.subject.clone()),
                raised: Some(alarm.raised),
                detail: Some(alarm.detail.clone()),
                ..what
            },
            Body::Grant { .. } | Body::Supplement { .. } => what,
        }
    }
}

impl EventRecord {
    /// `None` for an entry that does not go upstream by itself.
    pub fn of(origin: &Origin, stored: &Stored) -> Option<EventRecord> {
        let entry = &stored.entry;
        Some(EventRecord {
            v: 1,
            gateway: origin.gateway.clone(),
            project: origin.project.clone(),
            ledger: entry.ledger.to_string(),
            seq: entry.seq?,
            kind: entry.body.kind(),
            at: origin.time(entry.stamp.timestamp()),
            clock: entry.stamp.into(),
            what: What::of(origin, &entry.body),
            leaf: stored.into(),
            resent: false,
        })
    }
}
