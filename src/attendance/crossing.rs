//! The fields of records that a timesheet needs. Each text is kept once, so that a month of a large
//! site fits in memory.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{DisputeOf, Means, Record, RecordOutcome};
use crate::config::Direction;

/// A record reduced to the fields of the sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    pub worker: Text,
    pub name: Text,
    pub team: Text,
    pub contractor: Text,
    pub trade: Text,
    pub direction: Direction,
    pub at: Timestamp,
    pub recorded_at: Timestamp,
    pub means: Means,
    pub outcome: RecordOutcome,
    /// Whether the clock was synchronised.
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
        Ok(Crossing {
            worker: self.text(&record.worker),
            name: self.text(&record.name),
            team: self.text(&record.team),
            contractor: self.text(&record.contractor),
            trade: self.text(&record.trade),
            direction: record.direction,
            at: record.at.parse()?,
            recorded_at: record.recorded_at.parse()?,
            means: record.means,
            outcome: record.outcome,
            synced: record.clock.synced,
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
}

impl Crossing {
    pub(super) fn is_capture(&self) -> bool {
        use RecordOutcome::{Other, Passed, Unconfirmed};
        !self.is_supplement() && matches!(self.outcome, Passed | Unconfirmed | Other)
    }

    /// Whether a gate confirmed that the worker walked through.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is_capture() && self.outcome == RecordOutcome::Passed
    }

    pub(super) fn is_supplement(&self) -> bool {
        self.means == Means::Supplement
    }
}
