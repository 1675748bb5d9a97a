//! Views of the ledger's entries for people and platforms.
//!
//! In: entries. Out: [`Record`]s of attendance and [`EventRecord`]s, whose JSON the `native`
//! profile sends and `--json` prints; [`timesheet()`](timesheet::timesheet), the workers on site,
//! and sheets to print. Pure: nothing is read or written here.

mod crossing;
mod days;
mod event;
pub mod export;
pub mod merge;
pub mod onsite;
pub mod print;
pub mod proven;
pub mod timesheet;

use ciborium::Value;
use jiff::{Timestamp, fmt::temporal::DateTimePrinter, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{
    clock::Stamp,
    config::Direction,
    ledger::{Actor, Attended, Body, Dated, Disputed, Evidence, Flag, Outcome, Said, Stored, Word},
    words::words,
};
pub use event::EventRecord;

/// The gateway that a record comes from, and the time zone of its times.
#[derive(Clone, Debug)]
pub struct Origin {
    pub gateway: String,
    pub project: String,
    pub timezone: TimeZone,
}

impl Origin {
    /// Returns the time as RFC 3339 with the site's offset and milliseconds.
    pub fn time(&self, at: Timestamp) -> String {
        const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        MILLISECONDS.timestamp_with_offset_to_string(&at, self.timezone.to_offset(at))
    }

    fn time_ms(&self, ms: i64) -> Option<String> {
        Some(self.time(Timestamp::from_millisecond(ms).ok()?))
    }

    /// Returns how the time of an entry is known, for a view.
    pub fn reckoned(&self, dated: Dated) -> Reckoned {
        match dated {
            Dated::Recorded => Reckoned::default(),
            Dated::Corrected(ms) => Reckoned { corrected_at: self.time_ms(ms), undated: None },
            Dated::Undated(bounds) => {
                let after = bounds.after_ms.and_then(|ms| self.time_ms(ms));
                let before = bounds.before_ms.and_then(|ms| self.time_ms(ms));
                Reckoned { corrected_at: None, undated: Some(Undated { after, before }) }
            }
        }
    }
}

/// How the time of an entry is known; empty if its recorded time counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reckoned {
    /// The effective time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected_at: Option<String>,
    /// The entry has no date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undated: Option<Undated>,
}

/// The times between which an entry without a date was made, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undated {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
}

/// Returns the bytes in hexadecimal, with one allocation.
fn hexadecimal<const N: usize>(bytes: [u8; N]) -> String {
    let mut text = vec![0; 2 * N];
    // The length is right and the output is ASCII, so both steps cannot fail.
    let _ = hex::encode_to_slice(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

words! {
    /// Means by which a worker was identified.
    pub enum Means {
        Face = "face",
        Card = "card",
        IdCard = "id_card",
        Qr = "qr",
        /// A guard vouched for the worker.
        Manual = "manual",
        /// No gate recorded the passage; a user added it later.
        Supplement = "supplement",
        /// A means of a later version.
        #[serde(other)]
        Other = "other",
    }
}

impl Means {
    /// Returns whether a reader identified the worker.
    fn is_read(self) -> bool {
        matches!(self, Means::Card | Means::IdCard | Means::Qr)
    }

    /// Returns the means of the first piece of evidence.
    fn of(evidence: &[Evidence]) -> Means {
        match evidence.first() {
            Some(Evidence::Face(_)) => Means::Face,
            Some(Evidence::Card(_)) => Means::Card,
            Some(Evidence::IdCard(_)) => Means::IdCard,
            Some(Evidence::Qr(_)) => Means::Qr,
            Some(Evidence::Other(_)) => Means::Other,
            Some(Evidence::Guard(_)) | None => Means::Manual,
        }
    }
}

words! {
    /// The outcome of a passage.
    pub enum RecordOutcome {
        Passed = "passed",
        NotPassed = "not_passed",
        Unconfirmed = "unconfirmed",
        /// A supplement: a user states that the passage happened.
        Claimed = "claimed",
        /// An outcome of a later version. `unknown` has its word.
        #[serde(other)]
        Other = "other",
    }
}

impl From<Outcome> for RecordOutcome {
    fn from(outcome: Outcome) -> RecordOutcome {
        match outcome {
            Outcome::Passed => RecordOutcome::Passed,
            Outcome::NotPassed => RecordOutcome::NotPassed,
            Outcome::Unconfirmed => RecordOutcome::Unconfirmed,
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
    /// SHA-256 of the JPEG, in hexadecimal.
    pub sha256: String,
}

/// One attendance: a grant (or a guard's release) of a worker, with its outcome; or a supplement.
/// Its `seq` and `leaf` are the outcome's, which names the grant's index and leaf hash in turn. A
/// correction is a record too, with its own `seq` and `leaf`.
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
    /// `null` for a supplement, which no lane recorded.
    pub lane: Option<String>,
    /// Recorded time of the grant or release; of a supplement, the time that the user stated.
    pub at: String,
    /// The effective time, if the clock was not synchronised or was wrong at `at`, and this boot's
    /// clock was synchronised at another time. Only in lists, as `undated`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub corrected_at: Option<String>,
    /// No clock dates the record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undated: Option<Undated>,
    pub means: Means,
    pub score: Option<f64>,
    pub threshold: Option<f64>,
    pub model: Option<String>,
    /// The kind of the camera that saw the face: the word before the colon of its source.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub camera: Option<String>,
    /// Score for a living person, 0 to 1; `null` where it was not judged. It changed no decision.
    pub liveness: Option<f64>,
    pub outcome: RecordOutcome,
    /// The seq of the record that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub corrects: Option<u64>,
    /// Time when the outcome was recorded.
    pub recorded_at: String,
    /// State of the clock at `at`; of a supplement, at the time of its entry.
    pub clock: ClockState,
    /// The photo of the passage, if one was taken. It is kept only for a time.
    pub photo: Option<PhotoOf>,
    /// Reason of a release by hand or of a supplement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The user who did that, by the name in the operating system.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    pub leaf: Leaf,
    /// Flags of the outcome and of its cause.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flags: Vec<Flag>,
    /// The evidence, if the fields above do not hold all of it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub evidence: Vec<Json>,
    /// Fields of a later version, from the outcome's entry or from the grant's.
    #[serde(skip_serializing_if = "Map::is_empty", default)]
    pub unknown: Map<String, Json>,
    /// This record may have reached you before.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub resent: bool,
    /// The seq of the entry that disputes this record. Only in lists: a platform receives that
    /// entry as an event of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disputed: Option<u64>,
    /// The contents of that entry. Only in lists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dispute: Option<DisputeOf>,
}

/// Who disputes a record, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeOf {
    /// The user's name in the operating system.
    pub by: String,
    pub at: String,
    pub reason: String,
}

impl Record {
    /// Returns the record as lists show it, with its effective time and its dispute.
    pub fn listed(origin: &Origin, attended: &Attended) -> Option<Record> {
        let record = Record::of(origin, &attended.entry, attended.cause.clone())?;
        let Reckoned { corrected_at, undated } = origin.reckoned(attended.dated);
        let record = record.disputed_by(origin, attended.disputed.as_ref());
        Some(Record { corrected_at, undated, ..record })
    }

    /// Returns the record with the dispute that stands.
    pub fn disputed_by(self, origin: &Origin, disputed: Option<&Disputed>) -> Record {
        let dispute = disputed.map(|disputed| DisputeOf {
            by: disputed.by.user.clone(),
            at: origin.time(disputed.stamp.timestamp()),
            reason: disputed.reason.clone(),
        });
        Record { disputed: disputed.map(|disputed| disputed.seq), dispute, ..self }
    }

    /// Returns the effective time; the recorded one if the record has no date.
    pub fn effective(&self) -> &str {
        self.corrected_at.as_deref().unwrap_or(&self.at)
    }

    /// Returns whether the effective time differs from the recorded one.
    pub fn is_corrected(&self) -> bool {
        self.corrected_at.as_ref().is_some_and(|corrected| *corrected != self.at)
    }

    /// Returns `None` if the entry is neither a supplement nor, with its cause, the outcome of a
    /// worker's passage or a correction of it.
    pub fn of(origin: &Origin, entry: &Stored, cause: Option<Stored>) -> Option<Record> {
        let (mut corrects, mut later_word) = (None, None);
        let (passage, result, mut flags, cause) = match (&entry.entry.body, cause) {
            (Body::Supplement(claimed), _) => {
                (claimed.passage, RecordOutcome::Claimed, Vec::new(), entry.entry.clone())
            }
            (body, Some(cause)) => {
                let Said { passage, outcome, flags, corrects_seq } = body.said()?;
                let result = match outcome {
                    Word::Known(outcome) => outcome.into(),
                    Word::Later(word) => {
                        later_word = Some(("outcome".to_owned(), word.into()));
                        RecordOutcome::Other
                    }
                };
                corrects = corrects_seq;
                (passage, result, flags, cause.entry)
            }
            _ => return None,
        };
        let unknown = event::unknown(&cause).chain(event::unknown(&entry.entry));
        let unknown = unknown.chain(later_word).collect();
        let mut at = cause.stamp.timestamp();
        let (mut evidence, mut photo, mut by_hand) = (Vec::new(), None, None);
        let (person, direction, lane, means) = match cause.body {
            Body::Grant(grant) => {
                let means = Means::of(&grant.evidence);
                evidence = grant.evidence;
                flags.extend(grant.flags);
                photo = grant.photo.map(|sha256| PhotoOf { sha256: hexadecimal(sha256) });
                (grant.person, grant.direction, Some(grant.lane), means)
            }
            Body::GuardRelease(release) => {
                by_hand = Some((release.reason.clone(), release.by().cloned()));
                evidence = release.evidence;
                flags.extend(release.flags);
                (release.person?, release.direction, Some(release.lane), Means::Manual)
            }
            Body::Supplement(claimed) => {
                at = Timestamp::from_millisecond(claimed.at_ms).ok()?;
                by_hand = Some((claimed.reason, Some(claimed.by)));
                (claimed.person, claimed.direction, None, Means::Supplement)
            }
            _ => return None,
        };
        let more_evidence = match &evidence[..] {
            [Evidence::Face(_) | Evidence::Guard(_)] => Vec::new(),
            list => {
                let values = list.iter().filter_map(|one| Value::serialized(one).ok());
                values.map(|one| event::plain("", &one)).collect()
            }
        };
        let face = evidence.iter().find_map(Evidence::face);
        let presentation = face.and_then(|face| face.presentation.as_ref());
        let (reason, by) = by_hand.unzip();
        let by = by.flatten().map(|by: Actor| by.user);
        Some(Record {
            v: 1,
            gateway: origin.gateway.clone(),
            project: origin.project.clone(),
            ledger: hexadecimal(entry.entry.ledger.0),
            seq: entry.entry.seq?,
            passage: hexadecimal(passage.0),
            worker: person.id.to_string(),
            name: person.name,
            team: person.team,
            contractor: person.contractor,
            trade: person.trade,
            direction,
            lane,
            at: origin.time(at),
            corrected_at: None,
            undated: None,
            means,
            score: face.map(|face| face.score.value()),
            threshold: face.map(|face| face.threshold.value()),
            model: face.map(|face| face.model.clone()),
            camera: face.map(|face| face.camera.clone()).filter(|kind| !kind.is_empty()),
            liveness: presentation.map(|judged| judged.score.value()),
            outcome: result,
            corrects,
            recorded_at: origin.time(entry.entry.stamp.timestamp()),
            clock: cause.stamp.into(),
            photo,
            reason,
            by,
            leaf: entry.into(),
            flags,
            evidence: more_evidence,
            unknown,
            resent: false,
            disputed: None,
            dispute: None,
        })
    }
}

#[cfg(test)]
mod tests;
