use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;
use serde::Deserialize;

use super::*;
use crate::{
    clock::{ClockChange, ClockWatch, ClockWhat},
    config::Direction,
    ledger::{
        AttendanceFilter, Evidence, Grant, Ledger, Outcome, Score, Search, latest_of_each, read,
    },
    roster::Person,
    store::{SCHEMA, set_meta},
    turnstile::PassageId,
};

/// 2026-10-09 17:32 in Shanghai, a Friday.
const FRIDAY: i64 = 1_791_538_320_000;
const HOUR: i64 = 3_600_000;
/// The Monday after it, at 06:50.
const MONDAY: i64 = FRIDAY + 61 * HOUR + 18 * 60_000;

/// A ledger in memory, and a machine whose clock a test sets.
struct Gate {
    connection: Connection,
    ledger: Ledger,
    stamp: Stamp,
    passages: u64,
}

impl Gate {
    fn new() -> Gate {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let tx = connection.transaction().unwrap();
        set_meta(&tx, "ledger", &[5; 16]).unwrap();
        let ledger = Ledger::open(&tx, vec![]).unwrap();
        tx.commit().unwrap();
        let stamp = Stamp { wall_ms: 0, synced: false, boot: BootId([0; 16]), uptime_ms: 0 };
        Gate { connection, ledger, stamp, passages: 0 }
    }

    fn append(&mut self, body: impl Into<Body>) -> u64 {
        let tx = self.connection.transaction().unwrap();
        let stored = self.ledger.append(&tx, self.stamp, body).unwrap();
        tx.commit().unwrap();
        stored.entry.index
    }

    /// The machine starts with this time on its clock.
    fn boot(&mut self, wall_ms: i64, synced: bool) {
        let boot = BootId([self.stamp.boot.0[0] + 1; 16]);
        self.stamp = Stamp { wall_ms, synced, boot, uptime_ms: 0 };
        self.append(crate::ledger::Boot { version: "1".into() });
    }

    fn wait(&mut self, ms: i64) {
        self.stamp.wall_ms += ms;
        self.stamp.uptime_ms = self.stamp.uptime_ms.strict_add_signed(ms);
    }

    /// Sets the clock, and records that.
    fn set(&mut self, wall_ms: i64, synced: bool) {
        let moved_ms = wall_ms - self.stamp.wall_ms;
        let what = match (self.stamp.synced, synced) {
            (false, true) => ClockWhat::Synchronised,
            (true, false) => ClockWhat::Unsynchronised,
            _ => ClockWhat::Stepped,
        };
        (self.stamp.wall_ms, self.stamp.synced) = (wall_ms, synced);
        let booted_at_ms = synced.then(|| wall_ms.strict_sub_unsigned(self.stamp.uptime_ms));
        self.append(ClockChange { what, moved_ms, booted_at_ms });
    }

    /// Lets a worker pass. Returns the index of the grant.
    fn pass(&mut self, worker: &str, direction: Direction) -> u64 {
        self.passages += 1;
        let passage = PassageId(u128::from(self.passages).to_be_bytes());
        let text = || "x".to_owned();
        let id = worker.parse().unwrap();
        let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
        let face = Evidence::of_face(Score::of(0.7), Score::of(0.5), "m");
        let index = self.append(Grant::new(passage, "north", direction, person, face));
        let tx = self.connection.transaction().unwrap();
        self.ledger.close(&tx, self.stamp, passage, Outcome::Passed, None).unwrap();
        tx.commit().unwrap();
        index
    }

    fn enters(&mut self) -> u64 {
        self.pass("W1", Direction::Entry)
    }

    fn read<T>(&mut self, f: impl FnOnce(&Transaction<'_>, &Dates) -> T) -> T {
        let tx = self.connection.transaction().unwrap();
        let dates = Dates::read(&tx).unwrap();
        f(&tx, &dates)
    }

    fn dated(&mut self, index: u64) -> Dated {
        self.read(|tx, dates| dates.of(&read(tx, index).unwrap().entry))
    }

    /// Returns the causes that a search finds page by page, with their effective times.
    fn found(&mut self, range: (i64, i64), limit: usize) -> Vec<(i64, u64)> {
        let tx = self.connection.transaction().unwrap();
        let (from_ms, to_ms) = (Some(range.0), Some(range.1));
        let filter = AttendanceFilter { from_ms, to_ms, limit, ..Default::default() };
        let mut search = Search::begin(&tx, filter).unwrap();
        let mut found = Vec::new();
        while search.has_more() {
            let page = search.page(&tx).unwrap();
            assert!(page.unread.is_empty());
            assert!(page.rows.len() <= 2 * limit, "{}", page.rows.len());
            found.extend(page.rows.into_iter().map(|row| {
                let cause = row.cause.unwrap().entry;
                (row.dated.ms(cause.stamp.wall_ms), cause.index)
            }));
        }
        found
    }
}

#[test]
fn mondays_records_are_mondays_once_the_clock_is_synchronised() {
    let mut gate = Gate::new();
    gate.boot(FRIDAY - 10 * HOUR, true);
    gate.wait(9 * HOUR);
    let friday = gate.enters();
    // The clock has no battery: it goes on where the power was cut.
    gate.boot(FRIDAY, false);
    gate.wait(10 * 60_000);
    let entry = gate.enters();
    let bounds = |after_ms: i64| Bounds { after_ms: Some(after_ms), before_ms: None };
    let earliest = FRIDAY - HOUR + 10 * 60_000;
    assert_eq!(gate.dated(entry), Dated::Undated(bounds(earliest)));
    gate.wait(HOUR);
    gate.set(MONDAY + 70 * 60_000, true);
    let exit = gate.pass("W1", Direction::Exit);
    assert_eq!(gate.dated(entry), Dated::Corrected(MONDAY + 10 * 60_000));
    assert_eq!((gate.dated(friday), gate.dated(exit)), (Dated::Recorded, Dated::Recorded));
    let monday = (MONDAY, MONDAY + 24 * HOUR);
    let times = [(MONDAY + 10 * 60_000, entry), (MONDAY + 70 * 60_000, exit)];
    assert_eq!(gate.found(monday, 10), times);
    assert_eq!(gate.found((FRIDAY, FRIDAY + 24 * HOUR), 10), []);
    let latest = gate.read(|tx, dates| {
        latest_of_each(tx, dates, monday, &crate::ledger::Altered::default()).unwrap().0
    });
    assert_eq!(latest[0].cause.as_ref().unwrap().entry.index, exit);
    // Entries themselves never change.
    let recorded = gate.read(|tx, _| read(tx, entry).unwrap().entry.stamp);
    assert_eq!((recorded.wall_ms, recorded.synced), (FRIDAY + 10 * 60_000, false));
}

#[test]
fn a_record_of_1970_is_found_by_its_bounds_and_keeps_them_on_both_sides() {
    let mut gate = Gate::new();
    gate.boot(FRIDAY - HOUR, true);
    gate.wait(HOUR);
    gate.enters();
    gate.boot(0, false);
    gate.wait(HOUR);
    let lost = gate.enters();
    gate.wait(2 * HOUR);
    gate.pass("W1", Direction::Exit);
    gate.boot(MONDAY, true);
    gate.wait(HOUR);
    gate.enters();
    let bounds = Bounds { after_ms: Some(FRIDAY + HOUR), before_ms: Some(MONDAY - 2 * HOUR) };
    assert_eq!(gate.dated(lost), Dated::Undated(bounds));
    let saturday = (FRIDAY + 12 * HOUR, FRIDAY + 36 * HOUR);
    assert_eq!(gate.found(saturday, 10)[0], (FRIDAY + HOUR, lost));
    assert_eq!(gate.found((FRIDAY - 48 * HOUR, FRIDAY - 24 * HOUR), 10), []);
    assert_eq!(gate.found((0, 0), 10), []);
    assert_eq!(gate.found((-HOUR, 24 * HOUR), 10), []);
    let present = gate.stamp.boot;
    let undated =
        |gate: &mut Gate, since| gate.read(|tx, dates| dates.undated(tx, present, since).unwrap());
    assert_eq!(undated(&mut gate, FRIDAY), 2);
    assert_eq!(undated(&mut gate, MONDAY + HOUR), 0);
}

#[test]
fn twenty_seconds_of_a_wrong_year_move_no_record_and_no_record_of_them_is_lost() {
    const YEARS: i64 = 4 * 365 * 24 * HOUR;
    let mut gate = Gate::new();
    gate.boot(FRIDAY, true);
    gate.wait(5 * HOUR);
    let before = gate.enters();
    gate.set(gate.stamp.wall_ms + YEARS, true);
    gate.wait(10_000);
    let within = gate.enters();
    gate.wait(10_000);
    gate.set(gate.stamp.wall_ms - YEARS, true);
    let after = gate.enters();
    for _ in 0..2 {
        assert_eq!((gate.dated(before), gate.dated(after)), (Dated::Recorded, Dated::Recorded));
        assert_eq!(gate.dated(within), Dated::Corrected(FRIDAY + 5 * HOUR + 10_000));
        let found = gate.found((FRIDAY, FRIDAY + 24 * HOUR), 1);
        assert_eq!(found.iter().map(|found| found.1).collect::<Vec<_>>(), [before, within, after]);
        // A wrong time just before the end of the boot does not count either.
        gate.set(gate.stamp.wall_ms + YEARS, true);
        gate.boot(FRIDAY + 48 * HOUR, true);
    }
}

#[test]
fn before_the_first_synchronised_clock_recorded_times_stand_but_no_time_of_1970() {
    let mut gate = Gate::new();
    gate.boot(0, false);
    let early = gate.enters();
    gate.boot(FRIDAY, false);
    let plain = gate.enters();
    assert_eq!(gate.dated(early), Dated::Undated(Bounds::default()));
    assert_eq!(gate.dated(plain), Dated::Recorded);
    assert_eq!(gate.found((FRIDAY, FRIDAY + HOUR), 10), [(0, early), (FRIDAY, plain)]);
    gate.boot(MONDAY, true);
    assert_eq!(gate.dated(plain), Dated::Recorded);
    let bounds = Bounds { after_ms: None, before_ms: Some(MONDAY) };
    assert_eq!(gate.dated(early), Dated::Undated(bounds));
}

#[test]
fn the_times_of_a_ledger_are_read_by_its_boots_and_not_by_its_entries() {
    let mut gate = Gate::new();
    let tx = gate.connection.transaction().unwrap();
    let plan = |sql: &str, values: usize| -> Vec<String> {
        let mut statement = tx.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = rusqlite::params_from_iter(vec![None::<i64>; values]);
        statement.query_map(values, |row| row.get(3)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(plan(READINGS, 0), ["SCAN entry USING INDEX entry_clock"]);
    let by_place = "SEARCH entry USING INTEGER PRIMARY KEY";
    assert_eq!(plan(BACK, 1), [format!("{by_place} (rowid<?)")]);
    assert_eq!(plan(ON, 1), [format!("{by_place} (rowid>?)")]);
    assert_eq!(plan(MOVED, 4), [format!("{by_place} (rowid>? AND rowid<?)")]);
}

/// A case of docs/integrate/times.md.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// No earlier boot of this ledger had a synchronised clock.
    #[serde(default)]
    first: bool,
    clock: Vec<Told>,
    last_uptime_ms: u64,
    records: Vec<Recorded>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    change: ClockWhat,
    uptime_ms: u64,
    booted_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    at: Timestamp,
    synced: bool,
    uptime_ms: u64,
    /// The effective time; `null`: the record has no date.
    time: Option<Timestamp>,
}

#[test]
fn the_cases_for_consumers_are_what_the_gateway_reckons() {
    let page = include_str!("../../../docs/integrate/times.md");
    let cases = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let cases = cases.flat_map(|block| serde_json::Deserializer::from_str(block).into_iter());
    let cases: Vec<Case> = cases.collect::<Result<_, _>>().unwrap();
    assert!(cases.len() >= 5, "{}", cases.len());
    for Case { case, first, clock, last_uptime_ms, records } in cases {
        let mut gate = Gate::new();
        gate.boot(FRIDAY - 1000 * HOUR, !first);
        let boot = BootId([7; 16]);
        let at = |uptime_ms, wall_ms, synced| Stamp { wall_ms, synced, boot, uptime_ms };
        let mut all: Vec<(Stamp, Body)> = Vec::new();
        let first_at = records[0].at.as_millisecond() - records[0].uptime_ms as i64;
        all.push((at(0, first_at, false), crate::ledger::Boot { version: "1".into() }.into()));
        for Told { change, uptime_ms, booted_at } in clock {
            let booted_at_ms = booted_at.map(Timestamp::as_millisecond);
            let wall_ms = booted_at_ms.unwrap_or(first_at) + uptime_ms as i64;
            let change = ClockChange { what: change, moved_ms: 0, booted_at_ms };
            all.push((at(uptime_ms, wall_ms, booted_at_ms.is_some()), change.into()));
        }
        let end = crate::ledger::Fire { lane: "north".into(), on: false };
        all.push((at(last_uptime_ms, first_at, false), end.into()));
        all.sort_by_key(|(stamp, _)| stamp.uptime_ms);
        for (stamp, body) in all {
            gate.stamp = stamp;
            gate.append(body);
        }
        for Recorded { at: shown, synced, uptime_ms, time } in records {
            let stamp = at(uptime_ms, shown.as_millisecond(), synced);
            let dated = gate.read(|_, dates| dates.of_stamp(stamp));
            let reckoned = match dated {
                Dated::Undated(_) => None,
                dated => Timestamp::from_millisecond(dated.ms(stamp.wall_ms)).ok(),
            };
            assert_eq!(reckoned, time, "{case}, {shown}");
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Pass,
    Clock { off_by_ms: i64, synced: bool },
    Boot { off_by_ms: i64, synced: bool },
}

fn acts() -> impl Strategy<Value = Vec<(u16, Act)>> {
    let off =
        prop_oneof![Just(0), Just(300), Just(-3 * HOUR), Just(4 * 365 * 24 * HOUR), Just(-FRIDAY),];
    let clock = (off, any::<bool>());
    let act = prop_oneof![
        4 => Just(Act::Pass),
        2 => clock.clone().prop_map(|(off_by_ms, synced)| Act::Clock { off_by_ms, synced }),
        1 => clock.prop_map(|(off_by_ms, synced)| Act::Boot { off_by_ms, synced }),
    ];
    proptest::collection::vec((0..200u16, act), 1..60)
}

/// Compares a search with a reading of every entry.
fn search_agrees(acts: Vec<(u16, Act)>, limit: usize) -> Result<(), TestCaseError> {
    let mut gate = Gate::new();
    gate.boot(FRIDAY, true);
    let mut watch = ClockWatch::new(gate.stamp, false);
    let mut now_ms = FRIDAY;
    for (seconds, act) in acts {
        for _ in 0..seconds {
            gate.wait(1000);
            now_ms += 1000;
            if let Some(change) = watch.look(gate.stamp) {
                gate.append(change);
            }
        }
        match act {
            Act::Pass => drop(gate.enters()),
            Act::Clock { off_by_ms, synced } => {
                (gate.stamp.wall_ms, gate.stamp.synced) = (now_ms + off_by_ms, synced);
            }
            Act::Boot { off_by_ms, synced } => {
                now_ms += HOUR;
                gate.boot(now_ms + off_by_ms, synced);
                watch = ClockWatch::new(gate.stamp, false);
            }
        }
    }
    for range in [(i64::MIN, i64::MAX), (FRIDAY, FRIDAY + HOUR), (FRIDAY + HOUR, FRIDAY + 3 * HOUR)]
    {
        let (all, moved) = gate.read(|tx, dates| {
            let size = size(tx).unwrap();
            let grants = (0..size).map(|index| read(tx, index).unwrap().entry);
            let grants = grants.filter(|entry| matches!(entry.body, Body::Grant(_)));
            let mut all = Vec::new();
            for entry in grants {
                let dated = dates.of(&entry);
                let ms = dated.ms(entry.stamp.wall_ms);
                // Each entry whose time moves is among those that are read apart.
                assert!(ms == entry.stamp.wall_ms || dates.may_move(entry.index), "{entry:?}");
                let is_in = match dated {
                    Dated::Undated(bounds) => bounds.meets(range),
                    _ => range.0 <= ms && ms < range.1,
                };
                if is_in {
                    all.push((ms, entry.index));
                }
            }
            all.sort_unstable();
            (all, dates.moved(tx, (None, None), range).unwrap())
        });
        prop_assert!(moved.iter().all(|one| all.contains(one)));
        prop_assert_eq!(gate.found(range, limit), all);
    }
    Ok(())
}

#[test]
fn a_passage_before_the_watch_sees_that_the_clock_went_back_is_found() {
    let back = Act::Clock { off_by_ms: -3 * HOUR, synced: false };
    search_agrees(vec![(122, back), (0, Act::Pass)], 1).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// The clock's changes are recorded as the daemon records them: late, and several as one.
    #[test]
    fn a_search_finds_what_reading_every_entry_finds(acts in acts(), limit in 1..5usize) {
        search_agrees(acts, limit)?;
    }
}
