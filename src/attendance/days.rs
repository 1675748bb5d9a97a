//! A site's working days, and its clocks.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::{Offset, TimeZone},
};
use serde::{Serialize, Serializer};

/// Working days around those that are shown, which are looked at for pairs over their ends.
const MARGIN: i64 = 2;

/// Some working days, as the site keeps them: each lasts from `day_starts_at` to the same time on
/// the next calendar day, in the site's zone.
#[derive(Clone, Debug)]
pub struct Days {
    pub first: Date,
    pub last: Date,
    zone: TimeZone,
    /// When the days from [`MARGIN`] before the first on begin, and when the last one of the margin
    /// after ends.
    starts: Vec<(Timestamp, Date)>,
}

impl Days {
    /// # Errors
    /// Days that no calendar has.
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

    /// From when, and until before when, records are needed.
    pub fn range(&self) -> (Timestamp, Timestamp) {
        let at = |found: Option<&(Timestamp, Date)>| found.map_or(Timestamp::UNIX_EPOCH, |s| s.0);
        (at(self.starts.first()), at(self.starts.last()))
    }

    /// When the last day that is shown is over.
    pub fn end(&self) -> Timestamp {
        let end = self.starts.iter().find(|(_, day)| *day > self.last);
        end.map_or(self.range().1, |(start, _)| *start)
    }

    pub fn need(&self, at: Timestamp) -> bool {
        let (from, to) = self.range();
        from <= at && at < to
    }

    /// The working day of an instant that is needed.
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

    /// The days that are shown.
    pub fn shown(&self) -> impl Iterator<Item = Date> {
        self.starts.iter().map(|(_, day)| *day).filter(|day| self.show(*day))
    }
}

/// An instant as the site's clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub at: Timestamp,
    offset: Offset,
}

impl At {
    /// `07:58`; of the next calendar day `05:30+1`.
    pub fn on(&self, day: Date) -> String {
        let there = self.offset.to_datetime(self.at);
        let days = day.until(there.date()).map_or(0, |span| span.get_days());
        let more = if days == 0 { String::new() } else { format!("{days:+}") };
        format!("{}{more}", there.strftime("%H:%M"))
    }

    /// `2026-10-03 17:30`.
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
