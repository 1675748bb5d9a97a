//! Working days and times in the site's time zone.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::{Offset, TimeZone},
};
use serde::{Serialize, Serializer};

/// Number of working days before and after the shown days. A shift may begin or end in them.
const MARGIN: i64 = 2;

/// A range of working days. Each lasts from `day_starts_at` to the same time on the next calendar
/// day, in the site's time zone.
#[derive(Clone, Debug)]
pub struct Days {
    pub first: Date,
    pub last: Date,
    zone: TimeZone,
    /// Start of each day, from [`MARGIN`] days before the first shown day on. The last element is
    /// the end of the margin after the last shown day.
    starts: Vec<(Timestamp, Date)>,
}

impl Days {
    /// Returns the range of days.
    ///
    /// # Errors
    /// The days, with the margin, are outside of the calendar.
    pub fn new(
        first: Date,
        last: Date,
        zone: TimeZone,
        starts_at: Time,
    ) -> Result<Days, jiff::Error> {
        let mut starts = Vec::new();
        let mut day = first.checked_sub(jiff::Span::new().try_days(MARGIN)?)?;
        let end = last.checked_add(jiff::Span::new().try_days(MARGIN + 1)?)?;
        while day <= end {
            starts.push((day.to_datetime(starts_at).to_zoned(zone.clone())?.timestamp(), day));
            day = day.tomorrow()?;
        }
        Ok(Days { first, last, zone, starts })
    }

    /// Returns the times between which records are needed. The second time is exclusive.
    pub fn range(&self) -> (Timestamp, Timestamp) {
        let at = |found: Option<&(Timestamp, Date)>| found.map_or(Timestamp::UNIX_EPOCH, |s| s.0);
        (at(self.starts.first()), at(self.starts.last()))
    }

    /// Returns the end of the last shown day.
    pub fn end(&self) -> Timestamp {
        let end = self.starts.iter().find(|(_, day)| *day > self.last);
        end.map_or(self.range().1, |(start, _)| *start)
    }

    /// Returns the start of the first shown day.
    pub fn begin(&self) -> Timestamp {
        let begin = self.starts.iter().find(|(_, day)| *day == self.first);
        begin.map_or(self.range().0, |(start, _)| *start)
    }

    pub fn need(&self, at: Timestamp) -> bool {
        let (from, to) = self.range();
        from <= at && at < to
    }

    /// Returns the working day of a time within [`range`](Self::range).
    pub(super) fn of(&self, at: Timestamp) -> Option<Date> {
        let after = self.starts.partition_point(|(start, _)| *start <= at);
        (after < self.starts.len()).then_some(self.starts.get(after.checked_sub(1)?)?.1)
    }

    pub(super) fn show(&self, day: Date) -> bool {
        self.first <= day && day <= self.last
    }

    pub fn at(&self, at: Timestamp) -> At {
        At { at, offset: self.zone.to_offset(at) }
    }

    /// Returns the shown days.
    pub fn shown(&self) -> impl Iterator<Item = Date> {
        self.starts.iter().map(|(_, day)| *day).filter(|day| self.show(*day))
    }
}

/// Returns hours and minutes, such as `176:30`.
pub fn hours(minutes: u64) -> String {
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

/// A time with the offset of the site's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub at: Timestamp,
    offset: Offset,
}

impl At {
    /// Returns the time of day, such as `07:58`. A time on the next calendar day is `05:30+1`.
    pub fn on(&self, day: Date) -> String {
        let there = self.offset.to_datetime(self.at);
        let days = day.until(there.date()).map_or(0, |span| span.get_days());
        let more = if days == 0 { String::new() } else { format!("{days:+}") };
        format!("{}{more}", there.strftime("%H:%M"))
    }

    /// Returns date and time, such as `2026-10-03 17:30`.
    pub fn minute(&self) -> String {
        self.offset.to_datetime(self.at).strftime("%Y-%m-%d %H:%M").to_string()
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", self.at.display_with_offset(self.offset))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
