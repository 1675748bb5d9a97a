//! Times in which the gate was down or blind. In: entries of the health journal, in two passes. Out:
//! [`Outage`]s. Pure. "No record" then differs from "the gate was down".

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    attendance::Origin,
    clock::BootId,
    ledger::{Alarm, AlarmWhat, Body, ClockChange, Detail, DiskState, Gap, Param, Stored},
    words::words,
};

words! {
    /// The part that was lost for a time.
    #[derive(PartialOrd, Ord)]
    pub enum Lost {
        /// The whole gate recorded nothing.
        Gate = "gate",
        Camera = "camera",
        Turnstile = "turnstile",
        /// Nothing could be stored.
        Disk = "disk",
    }
}

/// A time in which the gate was down or blind; wall time in ms since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Outage {
    pub what: Lost,
    /// The lane, or the lane and the direction.
    pub subject: Option<String>,
    /// The gap's reason, the alarm's code or the disk's state.
    pub why: String,
    pub from_ms: i64,
    /// Absent if it had not ended.
    pub until_ms: Option<i64>,
    /// Whether good clocks tell both times.
    pub certain: bool,
    /// The indices of the entries that say so.
    pub entries: Vec<u64>,
}

/// An outage, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutageShown {
    /// `gate`, `camera`, `turnstile` or `disk`.
    pub what: Lost,
    /// The lane, or the lane and the direction.
    pub subject: Option<String>,
    /// `shutdown`, `killed`, `power_cut` or `standstill` of the gate; the alarm's code of a device;
    /// the state of the disk.
    pub why: String,
    /// Begin, RFC 3339 with the site's offset.
    pub from: String,
    /// End; null if it had not ended.
    pub until: Option<String>,
    /// Its length in seconds.
    pub lasted_s: Option<u64>,
    /// Whether good clocks tell both times. If not, the true length is not known.
    pub certain: bool,
}

impl Outage {
    /// Returns whether it may touch the time from a start to an end, end exclusive.
    fn is_within(&self, (start, end): (i64, i64)) -> bool {
        self.from_ms < end && (!self.certain || self.until_ms.is_none_or(|until| until > start))
    }

    /// Returns it with times of the site's time zone.
    pub fn shown(&self, origin: &Origin) -> OutageShown {
        let time = |ms| origin.time(Timestamp::from_millisecond(ms).unwrap_or_default());
        let length = self.until_ms.map(|until| until.saturating_sub(self.from_ms) / 1000);
        OutageShown {
            what: self.what,
            subject: self.subject.clone(),
            why: self.why.clone(),
            from: time(self.from_ms),
            until: self.until_ms.map(time),
            lasted_s: length.and_then(|s| u64::try_from(s).ok()),
            certain: self.certain,
        }
    }
}

/// Collects outages from the journal.
#[derive(Default)]
pub struct Journal {
    /// The time at which a boot of the machine began, and the entry that says so.
    booted: HashMap<BootId, (i64, u64)>,
    open: BTreeMap<(Lost, Option<String>), Outage>,
    found: Vec<Outage>,
    span_ms: Option<(i64, i64)>,
}

impl Journal {
    /// Returns a journal that keeps the outages of this time, or all.
    pub fn new(span_ms: Option<(i64, i64)>) -> Journal {
        Journal { span_ms, ..Journal::default() }
    }

    /// First pass: takes in what the entry says about a boot's clock.
    pub fn learn(&mut self, stored: &Stored) {
        let entry = &stored.entry;
        if let Body::ClockChange(ClockChange { booted_at_ms: Some(at), .. }) = entry.body {
            self.booted.insert(entry.stamp.boot, (at, entry.index));
        }
    }

    /// Second pass: takes in the entry, by rising index.
    pub fn add(&mut self, stored: &Stored) {
        match &stored.entry.body {
            Body::Gap(gap) => self.gap(stored, gap),
            Body::Alarm(alarm) => {
                let what = match alarm.what {
                    AlarmWhat::Camera => Lost::Camera,
                    AlarmWhat::Turnstile => Lost::Turnstile,
                    _ => return,
                };
                let Alarm { subject, raised, detail, .. } = alarm;
                let key = (what, Some(subject.clone()));
                if *raised {
                    self.begin(stored, key, &detail.code);
                } else {
                    self.end(stored, key, lasted_ms(detail));
                }
            }
            Body::DiskState(DiskState { state, .. }) => {
                let key = (Lost::Disk, None);
                if matches!(state.as_str(), "failing" | "full") {
                    self.begin(stored, key, state);
                } else {
                    self.end(stored, key, None);
                }
            }
            _ => {}
        }
    }

    /// Returns the outages by their begin.
    pub fn finish(mut self) -> Vec<Outage> {
        for outage in std::mem::take(&mut self.open).into_values() {
            self.keep(outage);
        }
        self.found.sort_by_key(|outage| (outage.from_ms, outage.entries.clone()));
        self.found
    }

    fn keep(&mut self, mut outage: Outage) {
        outage.entries.sort_unstable();
        outage.entries.dedup();
        if self.span_ms.is_none_or(|span| outage.is_within(span)) {
            self.found.push(outage);
        }
    }

    /// Returns the entry's true time, whether it is certain, and the entries that say so.
    fn time(&self, stored: &Stored) -> (i64, bool, Vec<u64>) {
        let (stamp, index) = (stored.entry.stamp, stored.entry.index);
        match self.booted.get(&stamp.boot) {
            _ if stamp.synced => (stamp.wall_ms, true, vec![index]),
            Some((at, said)) => {
                (at.saturating_add_unsigned(stamp.uptime_ms), true, vec![index, *said])
            }
            None => (stamp.wall_ms, false, vec![index]),
        }
    }

    fn gap(&mut self, stored: &Stored, gap: &Gap) {
        let (until_ms, sure, entries) = self.time(stored);
        let from_ms = match gap.lasted_ms {
            Some(lasted) => until_ms.saturating_sub_unsigned(lasted),
            None => gap.last_at_ms,
        };
        let certain = sure && (gap.lasted_ms.is_some() || gap.last_synced) && from_ms <= until_ms;
        let (what, why, until_ms) = (Lost::Gate, gap.why.word().to_owned(), Some(until_ms));
        self.keep(Outage { what, subject: None, why, from_ms, until_ms, certain, entries });
    }

    fn begin(&mut self, stored: &Stored, key: (Lost, Option<String>), why: &str) {
        let (from_ms, certain, entries) = self.time(stored);
        let ((what, subject), why, until_ms) = (key.clone(), why.to_owned(), None);
        let outage = Outage { what, subject, why, from_ms, until_ms, certain, entries };
        self.open.entry(key).or_insert(outage);
    }

    /// `lasted_ms`: the length of an outage whose begin was not seen.
    fn end(&mut self, stored: &Stored, key: (Lost, Option<String>), lasted_ms: Option<u64>) {
        let (until_ms, sure, entries) = self.time(stored);
        let begun = self.open.remove(&key);
        let Some(mut outage) = begun.or_else(|| {
            let from_ms = until_ms.saturating_sub_unsigned(lasted_ms?);
            let ((what, subject), why) = (key, "over".to_owned());
            let (until_ms, entries, certain) = (None, Vec::new(), true);
            Some(Outage { what, subject, why, from_ms, until_ms, certain, entries })
        }) else {
            return;
        };
        outage.certain &= sure && outage.from_ms <= until_ms;
        outage.until_ms = Some(until_ms);
        outage.entries.extend(entries);
        self.keep(outage);
    }
}

fn lasted_ms(detail: &Detail) -> Option<u64> {
    match detail.params.get("lasted_s") {
        Some(Param::Number(s)) => u64::try_from(*s).ok()?.checked_mul(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
