use jiff::civil::date;

use super::*;
use crate::services::Code;

#[test]
fn papers_of_tomorrow_are_refused_or_need_confirmation_where_the_clock_is_not_trusted() {
    let today = date(2026, 11, 29);
    let judged = |terms: &Terms, trusted, confirmed| {
        let judged = plausible(terms, today, trusted, confirmed);
        judged.map_err(|f| format!("{} {}", f.code.word(), f.message)).err().unwrap_or_default()
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
    // Papers of today are accepted. Admission may begin and end on any day.
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
fn a_passage_in_the_future_or_long_before_the_ledger_is_not_accepted() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let (now, began) = (at("2026-11-29T08:00:00Z"), Some(at("2026-11-01T00:00:00Z")));
    let judged = |when: &str, trusted| {
        passage(at(when), now, trusted, began, |at| at.to_string()).map_err(|f| f.code)
    };
    assert_eq!(judged("2026-11-29T08:00:00Z", true), Ok(()));
    assert_eq!(judged("2026-11-29T08:00:01Z", true), Err(Code::Invalid));
    assert_eq!(judged("2026-11-29T08:00:01Z", false), Err(Code::Unlikely));
    assert_eq!(judged("2026-10-03T08:00:00Z", true), Ok(()));
    assert_eq!(judged("2025-10-03T08:00:00Z", true), Err(Code::Unlikely));
    assert_eq!(judged("1026-10-03T08:00:00Z", false), Err(Code::Unlikely));
    // A ledger may begin in 1970 on a box without a clock battery. Then its start proves nothing.
    let began = Some(Timestamp::UNIX_EPOCH);
    assert!(passage(at("2020-10-03T08:00:00Z"), now, true, began, |_| String::new()).is_ok());
}
