//! The fields of records that a timesheet needs. Each text is kept once, so that a month of a large
//! site fits in memory.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::{DisputeOf, Means, Record, RecordOutcome, Undated};
use crate::config::Direction;

/// Minimum correction of a time that a sheet marks. Sheets reckon in minutes.
const MARKED_FROM: SignedDuration = SignedDuration::from_mins(1);

/// A record reduced to the fields of the sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    pub worker: Text,
    pub name: Text,
    pub team: Text,
    pub contractor: Text,
    pub trade: Text,
    pub direction: Direction,
    /// The effective time. For a record without a date, the time within its bounds that is nearest
    /// to the recorded one.
    pub at: Timestamp,
    /// The recorded time, where `at` is another one.
    pub clock_showed: Option<Timestamp>,
    /// No clock dates the record.
    pub undated: Option<Box<Between>>,
    pub recorded_at: Timestamp,
    pub means: Means,
    pub outcome: RecordOutcome,
    /// Whether a synchronised clock dates the record.
    pub synced: bool,
    pub gateway: Text,
    pub ledger: Text,
    pub seq: u64,
    pub lane: Option<Text>,
    pub reason: Option<Text>,
    pub by: Option<Text>,
    pub disputed: Option<u64>,
    pub dispute: Option<Dispute>,
}

/// Who disputes a record, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    pub by: Text,
    pub at: Timestamp,
    pub reason: Text,
}

/// The times between which a record without a date was made, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Between {
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
    /// The boot, and the time since it: times of one boot can be compared.
    pub boot: Text,
    pub uptime_ms: u64,
}

impl Between {
    fn nearest(&self, at: Timestamp) -> Timestamp {
        let late = at.max(self.after.unwrap_or(Timestamp::MIN));
        late.min(self.before.unwrap_or(Timestamp::MAX))
    }

    /// Returns whether the record may have been made in this range, end exclusive.
    pub(super) fn meets(&self, (from, to): (Timestamp, Timestamp)) -> bool {
        self.after.is_none_or(|after| after < to) && self.before.is_none_or(|before| before >= from)
    }
}

/// A text that many records share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.into())
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// Makes [`Crossing`]es, and keeps each text once.
#[derive(Default)]
pub struct Passes(BTreeSet<Text>);

impl Passes {
    fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new = Text::from(text);
        self.0.insert(new.clone());
        new
    }

    /// Returns the crossing of a record.
    ///
    /// # Errors
    /// A time of the record is not valid.
    pub fn of(&mut self, record: &Record) -> Result<Crossing, jiff::Error> {
        let dispute = match &record.dispute {
            Some(DisputeOf { by, at, reason }) => {
                Some(Dispute { by: self.text(by), at: at.parse()?, reason: self.text(reason) })
            }
            None => None,
        };
        let recorded: Timestamp = record.at.parse()?;
        let undated = record.undated.as_ref().map(|of| self.between(of, record)).transpose()?;
        let at = match (&undated, &record.corrected_at) {
            (Some(between), _) => between.nearest(recorded),
            (None, Some(corrected)) => corrected.parse()?,
            (None, None) => recorded,
        };
        Ok(Crossing {
            worker: self.text(&record.worker),
            name: self.text(&record.name),
            team: self.text(&record.team),
            contractor: self.text(&record.contractor),
            trade: self.text(&record.trade),
            direction: record.direction,
            at,
            clock_showed: (at != recorded).then_some(recorded),
            undated,
            recorded_at: record.recorded_at.parse()?,
            means: record.means,
            outcome: record.outcome,
            synced: record.corrected_at.is_some()
                || record.clock.synced && record.undated.is_none(),
            gateway: self.text(&record.gateway),
            ledger: self.text(&record.ledger),
            seq: record.seq,
            lane: record.lane.as_deref().map(|text| self.text(text)),
            reason: record.reason.as_deref().map(|text| self.text(text)),
            by: record.by.as_deref().map(|text| self.text(text)),
            disputed: record.disputed,
            dispute,
        })
    }

    fn between(&mut self, of: &Undated, record: &Record) -> Result<Box<Between>, jiff::Error> {
        let at = |text: &Option<String>| text.as_deref().map(str::parse).transpose();
        Ok(Box::new(Between {
            after: at(&of.after)?,
            before: at(&of.before)?,
            boot: self.text(&record.clock.boot),
            uptime_ms: record.clock.uptime_ms,
        }))
    }
}

impl Crossing {
    /// Returns the recorded time.
    pub fn recorded(&self) -> Timestamp {
        self.clock_showed.unwrap_or(self.at)
    }

    /// Takes the effective time of another reading of the record.
    pub(super) fn date_as(&mut self, other: &Crossing) {
        (self.at, self.clock_showed, self.synced) = (other.at, other.clock_showed, other.synced);
        self.undated.clone_from(&other.undated);
    }

    pub(super) fn is_capture(&self) -> bool {
        use RecordOutcome::{Other, Passed, Unconfirmed};
        !self.is_supplement() && matches!(self.outcome, Passed | Unconfirmed | Other)
    }

    /// Whether a gate confirmed that the worker walked through.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is_capture() && self.outcome == RecordOutcome::Passed
    }

    /// Whether a sheet marks that the recorded time was wrong.
    pub(super) fn is_corrected(&self) -> bool {
        let off_by = self.at.duration_since(self.recorded()).abs();
        self.undated.is_none() && off_by >= MARKED_FROM
    }

    pub(super) fn is_supplement(&self) -> bool {
        self.means == Means::Supplement
    }
}
