use super::*;
use crate::roster::{Person, Terms};

/// Returns a worker with texts of the maximum length, of the characters with the most bytes.
fn longest(n: usize) -> Worker {
    let text = |most: usize| "\u{10FFFF}".repeat(most);
    let day = Some(jiff::civil::date(2026, 10, 1));
    let id = format!("{n:032}").parse().unwrap();
    let (name, team, contractor, trade) = (text(64), text(64), text(128), text(64));
    let mut worker = Worker::new(Person { id, name, team, contractor, trade });
    worker.terms = Terms {
        valid_from: day,
        valid_until: day,
        consent: Some(text(64)),
        consent_on: day,
        contract_signed: day,
        trained_on: day,
    };
    (worker.state, worker.state_reason) = (State::Suspended, Some(text(200)));
    worker
}

#[test]
fn i8_the_largest_page_fits_into_a_message() {
    let workers: Vec<_> = (0..super::super::parse::PAGE_MAX as usize).map(longest).collect();
    let page = json!({ "version": u64::MAX, "workers": workers, "next": "x".repeat(32) });
    let reply = crate::uplink::profiles::native::command::done(&"x".repeat(64), page);
    assert!(reply.to_string().len() < 1_000_000, "{}", reply.to_string().len());
}

#[test]
fn a_digest_line_is_as_documented_and_the_number_of_ranges_is_limited() {
    let mut worker = longest(1);
    worker.person.id = "W001".parse().unwrap();
    worker.person.name = "刘峰".into();
    (worker.person.team, worker.person.contractor) = ("t".into(), "c".into());
    worker.person.trade = "s".into();
    (worker.terms.consent, worker.terms.valid_from) = (Some("C-1".into()), None);
    worker.templates = 2;
    let expected = "W001|刘峰|t|c|s|suspended||2026-10-01|C-1|2026-10-01|2026-10-01|2026-10-01|2\n";
    assert_eq!(digest_line(&worker), expected.replace('|', "\u{1F}"));
    assert_eq!(ranges(&[1, 2, 3, 5, 9, 10]), [[1, 3], [5, 5], [9, 10]]);
    let odd: Vec<u64> = (0..300).map(|n| 2 * n + 1).collect();
    assert_eq!(ranges(&odd).len(), GONE_NAMED);
}
