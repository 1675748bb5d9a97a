//! The site's date, as far as it is known.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::clock::{LastTrusted, Stamp};

/// The site's date, as far as the clock can be trusted (I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// The clock is trusted.
    Today(Date),
    /// The clock is not trusted. It was last trusted on this day; `None`: never.
    NotBefore(Option<Date>),
}

impl Day {
    /// Returns the date at a moment.
    pub fn at(stamp: Stamp, last: &LastTrusted, zone: &TimeZone) -> Day {
        let date = |time: Timestamp| time.to_zoned(zone.clone()).date();
        if stamp.synced {
            return Day::Today(date(stamp.timestamp()));
        }
        let last = last.ms().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Day::NotBefore(last.map(date))
    }

    /// Returns the date; `None` while the clock is not trusted.
    pub fn today(self) -> Option<Date> {
        match self {
            Day::Today(today) => Some(today),
            Day::NotBefore(_) => None,
        }
    }

    /// Returns the earliest date that it can be.
    pub fn earliest(self) -> Option<Date> {
        match self {
            Day::Today(today) => Some(today),
            Day::NotBefore(day) => day,
        }
    }
}
