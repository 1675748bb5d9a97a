//! The parts of a monthly sheet: days, rows, sums, notes and flags.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use crate::{
    attendance::{Means, RecordOutcome, crossing::Text, days::At, export::Doubt},
    config::Direction,
};

/// A remark on the hours of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// An exit without its entry.
    MissingIn,
    /// An entry without its exit.
    MissingOut,
    /// A night shift that runs over the day's start.
    Across,
    /// The gate did not confirm that the worker walked through. The hours are summed separately.
    Unconfirmed,
    /// The clock was not synchronised.
    Clock,
    /// The clock was wrong, and a time is corrected.
    Corrected,
    /// A passage was added later. It is not in the day's hours.
    Supplement,
    /// A passage is disputed. Its hours are summed separately.
    Disputed,
    /// A reader identified the worker at a passage: by card, identity card or code in QR.
    Reader,
}

/// A note to the reader of a sheet. Its sentences are in `words`. Times and days are as the sheet
/// shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A database that was set aside cannot be read.
    Illegible { gateway: String, place: String },
    /// A gateway's ledger begins within the month. `set_aside`: the place of the damaged one before.
    LedgerBegins { gateway: String, begins: String, set_aside: Option<String> },
    /// The gateway's records were read before the end of the month.
    ReadEarly { gateway: String, at: String },
    /// An export has only a part of the days that the sheet needs.
    ExportedPart { gateway: String, file: String, has: (Date, Date), needs: (Date, Date) },
    /// An export was made before the end of the month.
    ExportedEarly { gateway: String, file: String, at: String },
    /// The shifts of these workers may still run.
    StillInside { workers: usize },
    /// The records of a gateway, or of an export, are not verified.
    Unverified { gateway: String, file: Option<String>, doubt: Doubt },
    /// Recorded times of a gateway were wrong and are corrected.
    Corrected { gateway: Text, records: usize },
    /// Records of a gateway have no date. They are listed apart, and their hours are in no sum.
    WithoutDate { gateway: Text, records: usize, minutes: u64 },
    /// Entries of a gateway cannot be read or were altered. `entries`: the first of them.
    Unread { gateway: String, records: u64, entries: Vec<u64> },
    /// A gateway's clock was never synchronised.
    Unsynchronised { gateway: Text },
    /// A gateway confirmed no passage.
    Unconfirming { gateway: Text },
}

impl Note {
    /// Returns the flag that the note explains.
    pub fn mark(&self) -> Option<Flag> {
        match self {
            Note::Unsynchronised { .. } => Some(Flag::Clock),
            Note::Corrected { .. } => Some(Flag::Corrected),
            _ => None,
        }
    }

    /// Returns whether the note is a warning, which stands in red.
    pub fn warns(&self) -> bool {
        matches!(self, Note::Unsynchronised { .. } | Note::Unverified { .. })
    }
}

impl Flag {
    pub const ALL: [Flag; 9] = [
        Flag::MissingIn,
        Flag::MissingOut,
        Flag::Across,
        Flag::Unconfirmed,
        Flag::Clock,
        Flag::Corrected,
        Flag::Supplement,
        Flag::Disputed,
        Flag::Reader,
    ];
}

/// An entry and its exit, or one of them without the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stretch {
    #[serde(rename = "in")]
    pub entry: Option<At>,
    #[serde(rename = "out")]
    pub exit: Option<At>,
    /// Minutes between the two times, each cut to the minute, so that a reader of the times
    /// computes the same number; 0 if one is missing.
    pub minutes: u64,
    /// The gate did not confirm one of the two passages.
    pub unconfirmed: bool,
}

/// A worker's working day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    pub date: Date,
    pub first_in: Option<At>,
    pub last_out: Option<At>,
    /// Minutes between confirmed passages.
    pub minutes: u64,
    /// Minutes that rest on a passage that the gate did not confirm.
    pub minutes_unconfirmed: u64,
    /// Minutes that the day has less because of disputes.
    pub minutes_disputed: u64,
    /// Whether the gate confirmed a passage of this day.
    pub confirmed: bool,
    pub stretches: Vec<Stretch>,
    pub flags: Vec<Flag>,
    /// Number of added passages.
    pub supplements: u32,
    /// `minutes` with the added passages; `null` if the worker has none in the month.
    pub minutes_with_supplements: Option<u64>,
}

impl Day {
    /// Whether all passages of the day are disputed.
    pub fn is_only_disputed(&self) -> bool {
        self.stretches.is_empty() && self.supplements == 0 && self.flags.contains(&Flag::Disputed)
    }
}

/// Sums of days, workers or teams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Days with a passage that the gate confirmed.
    pub days_present: u32,
    /// Minutes between confirmed passages.
    pub minutes: u64,
    /// Days on which the gate confirmed no passage, and minutes that rest on such passages.
    pub unconfirmed: Sum,
    /// Days that have only disputed passages, and minutes that the days have less because of
    /// disputes.
    pub disputed: Sum,
    pub missing_in: u32,
    pub missing_out: u32,
    pub supplements: u32,
    /// If there are supplements: `days_present` and `minutes` with the supplements.
    pub with_supplements: Option<Sum>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub days: u32,
    pub minutes: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Totals) {
        let plain = |t: &Totals| Sum { days: t.days_present, minutes: t.minutes };
        let ours = self.with_supplements.unwrap_or_else(|| plain(self));
        let theirs = other.with_supplements.unwrap_or_else(|| plain(other));
        let any = self.with_supplements.is_some() || other.with_supplements.is_some();
        self.with_supplements = any.then_some(Sum {
            days: ours.days + theirs.days,
            minutes: ours.minutes + theirs.minutes,
        });
        self.days_present += other.days_present;
        self.minutes += other.minutes;
        self.unconfirmed.days += other.unconfirmed.days;
        self.unconfirmed.minutes += other.unconfirmed.minutes;
        self.disputed.days += other.disputed.days;
        self.disputed.minutes += other.disputed.minutes;
        self.missing_in += other.missing_in;
        self.missing_out += other.missing_out;
        self.supplements += other.supplements;
    }
}

/// A worker's month in one team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub contractor: Text,
    pub team: Text,
    pub worker: Text,
    pub name: Text,
    pub trade: Text,
    /// The last four characters of the ID number, if the worker is on the gateway's roster.
    pub id_tail: Option<String>,
    #[serde(flatten)]
    pub totals: Totals,
    pub days: Vec<Day>,
}

/// A team's or a contractor's month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub contractor: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<Text>,
    /// Number of different workers with a row in this group.
    pub workers: u32,
    #[serde(flatten)]
    pub totals: Totals,
}

/// A record that is listed separately: added later, disputed, or with a corrected time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedSeparately {
    pub contractor: Text,
    pub team: Text,
    pub worker: Text,
    pub name: Text,
    pub date: Date,
    pub direction: Direction,
    pub at: At,
    pub means: Means,
    pub gateway: Text,
    pub ledger: Text,
    pub seq: u64,
    pub lane: Option<Text>,
    /// The reason of a supplement, the user who added it, and the time when it was added.
    pub reason: Option<Text>,
    pub by: Option<Text>,
    pub recorded_at: At,
    /// The recorded time of the passage, if `at` is a corrected one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_showed: Option<At>,
    /// The seq of the entry that disputes it.
    pub disputed: Option<u64>,
    /// Who disputes it, when and why.
    pub dispute: Option<DisputeShown>,
}

/// A record of a gate that no clock dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WithoutDate {
    pub contractor: Text,
    pub team: Text,
    pub worker: Text,
    pub name: Text,
    pub direction: Direction,
    /// The recorded time.
    pub clock_showed: At,
    /// The times between which the passage was, as far as they are known.
    pub after: Option<At>,
    pub before: Option<At>,
    /// Of an exit that directly follows an entry in the same boot: the minutes between them.
    pub minutes: Option<u64>,
    pub outcome: RecordOutcome,
    pub gateway: Text,
    pub ledger: Text,
    pub seq: u64,
    pub lane: Option<Text>,
    /// The seq of the entry that disputes it.
    pub disputed: Option<u64>,
}

/// A dispute, as a sheet shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DisputeShown {
    pub by: Text,
    pub at: At,
    pub reason: Text,
}

impl ListedSeparately {
    /// Returns who disputes it, when and why, as one line; `None` if it is not disputed.
    pub fn disputed_by(&self) -> Option<String> {
        let seq = self.disputed?;
        let who = self
            .dispute
            .as_ref()
            .map(|DisputeShown { by, at, reason }| format!("{} {by}: {reason} ", at.minute()));
        Some(format!("{}(seq {seq})", who.unwrap_or_default()))
    }
}

/// Selects the workers of the sheet.
#[derive(Clone, Debug, Default)]
pub struct SheetFilter {
    pub worker: Option<String>,
    pub team: Option<String>,
    pub contractor: Option<String>,
}

impl SheetFilter {
    pub fn is_all(&self) -> bool {
        self.worker.is_none() && self.team.is_none() && self.contractor.is_none()
    }

    pub(super) fn admits(&self, contractor: &str, team: &str, worker: &str) -> bool {
        let is = |wanted: &Option<String>, there| wanted.as_deref().is_none_or(|w| w == there);
        is(&self.worker, worker) && is(&self.team, team) && is(&self.contractor, contractor)
    }
}

/// The sheet: its rows are in order of contractor, team and worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timesheet {
    pub rows: Vec<Row>,
    pub teams: Vec<Group>,
    pub contractors: Vec<Group>,
    /// Number of different workers.
    pub workers: u32,
    pub total: Totals,
    pub supplements: Vec<ListedSeparately>,
    pub disputed: Vec<ListedSeparately>,
    /// Records whose recorded time was wrong. They are counted at their corrected time.
    pub corrected: Vec<ListedSeparately>,
    /// Records that no clock dates. They are on no day and in no sum.
    pub undated: Vec<WithoutDate>,
    /// Gateways whose clock was never synchronised. Each gets one note, and no day is flagged for
    /// it.
    pub unsynchronised: Vec<Text>,
    /// Gateways that confirmed no passage. Each gets one note.
    pub unconfirming: Vec<Text>,
}

impl Timesheet {
    /// Returns the notes about the sheet's records.
    pub fn notes(&self) -> impl Iterator<Item = Note> {
        let clocks = self.unsynchronised.iter().cloned();
        let clocks = clocks.map(|gateway| Note::Unsynchronised { gateway });
        let mut corrected: BTreeMap<&Text, usize> = BTreeMap::new();
        for record in &self.corrected {
            *corrected.entry(&record.gateway).or_default() += 1;
        }
        let corrected = corrected.into_iter().map(|(gateway, records)| {
            let gateway = gateway.clone();
            Note::Corrected { gateway, records }
        });
        let mut undated: BTreeMap<&Text, (usize, u64)> = BTreeMap::new();
        for record in &self.undated {
            let (records, minutes) = undated.entry(&record.gateway).or_default();
            *records += 1;
            *minutes += record.minutes.unwrap_or_default();
        }
        let undated = undated.into_iter().map(|(gateway, (records, minutes))| {
            let gateway = gateway.clone();
            Note::WithoutDate { gateway, records, minutes }
        });
        let clocks = clocks.chain(corrected).chain(undated);
        let unconfirming = self.unconfirming.iter().cloned();
        clocks.chain(unconfirming.map(|gateway| Note::Unconfirming { gateway }))
    }
}
