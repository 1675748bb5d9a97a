//! Refuses times and dates that are probably mistyped. Pure: the clock's time is an argument.
//!
//! While the clock is not trusted, a time ahead of it may be right. Such a time is accepted when
//! the admin confirms it.

use jiff::{Span, Timestamp, civil::Date};

use super::{Failure, refusal::Refusal};
use crate::roster::Terms;

/// Years that a date of a worker's terms may have.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2200;
/// Maximum number of days before the ledger's first entry for which a passage is added without
/// confirmation. A timesheet may be for the month before the gate was built.
const BEFORE_LEDGER_DAYS: i64 = 366;

/// Checks the dates of signed papers, and the days of admission.
pub(super) fn plausible(
    given: &Terms,
    today: Date,
    trusted: bool,
    confirmed: bool,
) -> Result<(), Failure> {
    let Terms { valid_from, valid_until, consent_on, contract_signed, trained_on, .. } = *given;
    let signed = [
        ("consent-on", consent_on),
        ("contract-signed", contract_signed),
        ("trained-on", trained_on),
    ];
    for (field, date) in
        signed.into_iter().chain([("valid-from", valid_from), ("valid-until", valid_until)])
    {
        date.map_or(Ok(()), |date| of_our_time(field, date))?;
    }
    for (field, date) in signed {
        let Some(date) = date else { continue };
        past(field, date, today, trusted, confirmed)?;
    }
    Ok(())
}

fn of_our_time(field: &'static str, date: Date) -> Result<(), Failure> {
    if YEARS.contains(&date.year()) { Ok(()) } else { Err(Refusal::OddYear { field, date }.into()) }
}

/// Checks the day on which a worker signed a paper, or said something.
pub(super) fn past(
    field: &'static str,
    date: Date,
    today: Date,
    trusted: bool,
    confirmed: bool,
) -> Result<(), Failure> {
    of_our_time(field, date)?;
    if date > today && trusted {
        return Err(Refusal::Future { field, at: date.to_string() }.into());
    }
    if date > today && !confirmed {
        let (at, now) = (date.to_string(), today.to_string());
        return Err(Refusal::FutureOfClock { field, at, now }.into());
    }
    Ok(())
}

/// Checks the time of a passage that is added by hand. `began`: the time of the ledger's first
/// entry. `shown`: formats a time in the site's time zone.
pub(super) fn passage(
    at: Timestamp,
    now: Timestamp,
    trusted: bool,
    began: Option<Timestamp>,
    shown: impl Fn(Timestamp) -> String,
) -> Result<(), Failure> {
    if at > now && trusted {
        return Err(Refusal::Future { field: "at", at: shown(at) }.into());
    }
    if at > now {
        return Err(Refusal::FutureOfClock { field: "at", at: shown(at), now: shown(now) }.into());
    }
    let early = Span::new().hours(24 * BEFORE_LEDGER_DAYS);
    match began.filter(|began| began.checked_sub(early).is_ok_and(|early| at < early)) {
        Some(began) => Err(Refusal::BeforeLedger { at: shown(at), began: shown(began) }.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
