//! Tests of outages, from entries as the gate writes them.

use super::*;
use crate::{
    clock::{ClockWhat, Stamp},
    ledger::{Entry, GapWhy, LedgerId},
};

const START_MS: i64 = 1_793_577_600_000;
const MINUTE_MS: i64 = 60_000;

/// Returns entries of these bodies, one a minute of the boot. `wrong_ms`: how far their clock is off.
fn entries(boot: u8, first: u64, wrong_ms: Option<i64>, bodies: Vec<Body>) -> Vec<Stored> {
    let entry = |(n, body): (u64, Body)| {
        let uptime_ms = (n + 1) * 60_000;
        let wall_ms = START_MS + (n as i64 + 1) * MINUTE_MS + wrong_ms.unwrap_or(0);
        // The clock is right once an entry says so.
        let synced = wrong_ms.is_none() || matches!(body, Body::ClockChange(_));
        let stamp = Stamp { wall_ms, synced, boot: BootId([boot; 16]), uptime_ms };
        let (ledger, index) = (LedgerId([1; 16]), first + n);
        let (salt, unknown) = ([0; 16], Vec::new());
        let entry = Entry { salt, ledger, index, seq: None, stamp, ran_s: 0, body, unknown };
        Stored { entry, leaf: [0; 32] }
    };
    (0..).zip(bodies).map(entry).collect()
}

fn journal(entries: &[Stored], span_ms: Option<(i64, i64)>) -> Vec<Outage> {
    let mut journal = Journal::new(span_ms);
    entries.iter().for_each(|stored| journal.learn(stored));
    entries.iter().for_each(|stored| journal.add(stored));
    journal.finish()
}

fn alarm(what: AlarmWhat, raised: bool) -> Body {
    let code = if raised { "camera_silent" } else { "over" };
    let detail = Detail::new(code).with("lasted_s", 120);
    Alarm { what, subject: "north/entry".into(), raised, detail }.into()
}

fn disk(state: &str) -> Body {
    let detail = Detail::new("disk_free").with("mib", 3);
    DiskState { state: state.into(), detail, unrecorded: 0 }.into()
}

fn gap(lasted_ms: Option<u64>) -> Body {
    let last_at_ms = START_MS - 60 * MINUTE_MS;
    Gap { why: GapWhy::PowerCut, last_at_ms, last_synced: true, lasted_ms }.into()
}

fn minutes(outage: &Outage) -> (Lost, i64, Option<i64>, bool) {
    let minute = |ms: i64| (ms - START_MS) / MINUTE_MS;
    (outage.what, minute(outage.from_ms), outage.until_ms.map(minute), outage.certain)
}

#[test]
fn lost_parts_are_lost_from_the_alarm_to_its_end() {
    let all = entries(
        1,
        0,
        None,
        vec![
            alarm(AlarmWhat::Camera, true),
            disk("full"),
            disk("failing"),
            alarm(AlarmWhat::Link, true),
            disk("ample"),
            alarm(AlarmWhat::Camera, false),
            // An alarm whose begin is not known lasted as long as its end says.
            alarm(AlarmWhat::Turnstile, false),
            alarm(AlarmWhat::Camera, true),
        ],
    );
    let found = journal(&all, None);
    let lost: Vec<_> = found.iter().map(minutes).collect();
    let expected = [
        (Lost::Camera, 1, Some(6), true),
        (Lost::Disk, 2, Some(5), true),
        (Lost::Turnstile, 5, Some(7), true),
        (Lost::Camera, 8, None, true),
    ];
    assert_eq!(lost, expected);
    assert_eq!((&*found[0].why, &found[0].entries), ("camera_silent", &vec![0, 5]));
    let later = journal(&all, Some((START_MS + 6 * MINUTE_MS, START_MS + 8 * MINUTE_MS)));
    assert_eq!(later.iter().map(minutes).collect::<Vec<_>>(), [expected[2]]);
}

#[test]
fn a_gap_after_a_power_cut_is_dated_by_the_clock_that_came_later() {
    let booted_at_ms = Some(START_MS);
    let clock = ClockChange { what: ClockWhat::Synchronised, moved_ms: 0, booted_at_ms }.into();
    // The clock goes on where it stopped, an hour before.
    let wrong = Some(-60 * MINUTE_MS);
    let found = journal(&entries(2, 7, wrong, vec![gap(None), clock]), None);
    assert_eq!(found.iter().map(minutes).collect::<Vec<_>>(), [(Lost::Gate, -60, Some(1), true)]);
    assert_eq!(found[0].entries, [7, 8]);
    // Without such a clock the length is unknown, and the gap is in each later period.
    let far = (START_MS + 600 * MINUTE_MS, START_MS + 700 * MINUTE_MS);
    let found = journal(&entries(2, 7, wrong, vec![gap(None)]), Some(far));
    assert_eq!(
        found.iter().map(minutes).collect::<Vec<_>>(),
        [(Lost::Gate, -60, Some(-59), false)]
    );
    let found = journal(&entries(1, 7, None, vec![gap(Some(30 * 60_000))]), None);
    assert_eq!(found.iter().map(minutes).collect::<Vec<_>>(), [(Lost::Gate, -29, Some(1), true)]);
}
