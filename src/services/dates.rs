//! Refuses times and dates that are probably mistyped. Pure: the clock's time is an argument.
//!
//! While the clock is not trusted, a time ahead of it may be right. Such a time is accepted when
//! the admin confirms it.

use jiff::{Span, Timestamp, civil::Date};

use super::{Code, Failure};
use crate::roster::Terms;

/// Years that a date of a worker's terms may have.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2200;
/// Maximum number of days before the ledger's first entry for which a passage is added without
/// confirmation. A timesheet may be for the month before the gate was built.
const BEFORE_LEDGER_DAYS: i64 = 366;

fn ask(field: &str, problem: &str) -> Failure {
    Failure::of(Code::Unlikely, field, format!("{field}: {problem}"))
}

/// Checks the dates of signed papers, and the days of admission.
pub(super) fn plausible(
    given: &Terms,
    today: Date,
    trusted: bool,
    confirmed: bool,
) -> Result<(), Failure> {
    let Terms { valid_from, valid_until, consent_on, contract_signed, trained_on, .. } = given;
    let signed = [
        ("consent-on", consent_on),
        ("contract-signed", contract_signed),
        ("trained-on", trained_on),
    ];
    for (field, date) in
        signed.into_iter().chain([("valid-from", valid_from), ("valid-until", valid_until)])
    {
        if let Some(date) = date.filter(|date| !YEARS.contains(&date.year())) {
            let problem = format!("{date} is no date of our time; check the year");
            return Err(Failure::invalid(field, problem));
        }
    }
    for (field, date) in signed {
        let Some(date) = date.filter(|date| *date > today) else { continue };
        if trusted {
            return Err(Failure::invalid(field, format!("{date} lies in the future")));
        }
        if !confirmed {
            let problem = format!(
                "{date} lies in the future of this gateway's clock ({today}), which is not synchronised"
            );
            return Err(ask(field, &problem));
        }
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
        return Err(Failure::invalid("at", format!("{} lies in the future", shown(at))));
    }
    if at > now {
        let problem = format!(
            "{} lies in the future of this gateway's clock ({}), which is not synchronised",
            shown(at),
            shown(now)
        );
        return Err(ask("at", &problem));
    }
    let early = Span::new().hours(24 * BEFORE_LEDGER_DAYS);
    match began.filter(|began| began.checked_sub(early).is_ok_and(|early| at < early)) {
        Some(began) => {
            let problem = format!(
                "{} is more than a year before the first entry of this gateway ({})",
                shown(at),
                shown(began)
            );
            Err(ask("at", &problem))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
