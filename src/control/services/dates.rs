//! Which times and dates can only be mistyped: pure, from what is given and what the clock has.
//!
//! A clock that is not trusted says nothing of the future for sure. What lies ahead of it is asked
//! about, and taken where somebody says that it is meant.

use jiff::{Span, Timestamp, civil::Date};

use super::Failure;
use crate::{control::protocol::ASKS, roster::Terms};

/// Years that a date of a worker's papers may have.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2200;
/// Days before the ledger's first entry that a passage may be added for without a question: the
/// month's sheet may be of the month before the gate was built.
const BEFORE_LEDGER_DAYS: i64 = 366;

fn ask(field: &str, problem: &str) -> Failure {
    Failure::of(ASKS, field, format!("{field}: {problem}"))
}

/// Dates of papers that were signed, and days of admission.
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
            return Err(Failure::invalid(field, format!("{date} is no date of our time")));
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

/// The time of a passage that somebody adds. `shown`: a time as the site's clocks have it. `began`: the
/// ledger's first entry.
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
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn papers_of_tomorrow_are_refused_by_a_trusted_clock_and_asked_about_by_another() {
        let today = date(2026, 11, 29);
        let judged = |terms: &Terms, trusted, confirmed| {
            let judged = plausible(terms, today, trusted, confirmed);
            judged.map_err(|f| format!("{} {}", f.code, f.message)).err().unwrap_or_default()
        };
        let tomorrow = Some(date(2026, 11, 30));
        for (terms, field) in [
            (Terms { consent_on: tomorrow, ..Terms::default() }, "consent-on"),
            (Terms { contract_signed: tomorrow, ..Terms::default() }, "contract-signed"),
            (Terms { trained_on: tomorrow, ..Terms::default() }, "trained-on"),
        ] {
            let refused = format!("invalid {field}: 2026-11-30 lies in the future");
            assert_eq!(judged(&terms, true, true), refused);
            let asked = judged(&terms, false, false);
            assert!(asked.starts_with(&format!("unlikely {field}: 2026-11-30 lies")), "{asked}");
            assert_eq!(judged(&terms, false, true), "");
        }
        // Today's are as good as any, and admission may begin and end whenever it will.
        let terms = Terms {
            valid_from: Some(date(2027, 3, 1)),
            valid_until: Some(date(2027, 12, 31)),
            consent_on: Some(today),
            contract_signed: Some(today),
            trained_on: Some(today),
            ..Terms::default()
        };
        assert_eq!(judged(&terms, true, false), "");
        for year in [226, 1026, 2926] {
            let terms = Terms { valid_until: Some(date(year, 1, 1)), ..Terms::default() };
            assert!(judged(&terms, false, true).contains("is no date of our time"), "{year}");
        }
    }

    #[test]
    fn a_passage_is_neither_of_the_future_nor_long_before_the_ledger() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (now, began) = (at("2026-11-29T08:00:00Z"), Some(at("2026-11-01T00:00:00Z")));
        let judged = |when: &str, trusted| {
            passage(at(when), now, trusted, began, |at| at.to_string()).map_err(|f| f.code)
        };
        assert_eq!(judged("2026-11-29T08:00:00Z", true), Ok(()));
        assert_eq!(judged("2026-11-29T08:00:01Z", true), Err("invalid".to_owned()));
        assert_eq!(judged("2026-11-29T08:00:01Z", false), Err("unlikely".to_owned()));
        assert_eq!(judged("2026-10-03T08:00:00Z", true), Ok(()));
        assert_eq!(judged("2025-10-03T08:00:00Z", true), Err("unlikely".to_owned()));
        assert_eq!(judged("1026-10-03T08:00:00Z", false), Err("unlikely".to_owned()));
        // A ledger that began while a box without a battery was in 1970 says nothing.
        let began = Some(Timestamp::UNIX_EPOCH);
        assert!(passage(at("2020-10-03T08:00:00Z"), now, true, began, |_| String::new()).is_ok());
    }
}
