//! Tests of the gap that a start finds, in a real database.

use rusqlite::Connection;

use super::*;
use crate::{
    clock::BootId,
    ledger::{Boot, Fire, GapWhy, Ledger, Shutdown, ShutdownWhy},
    store::{SCHEMA, set_meta},
};

fn stamp(boot: u8, second: u64, synced: bool) -> Stamp {
    let wall_ms = 1_793_577_600_000 + i64::try_from(second).unwrap() * 1000;
    Stamp { wall_ms, synced, boot: BootId([boot; 16]), uptime_ms: second * 1000 }
}

/// Returns the gap at a start, after a boot at second 0 and these entries.
fn gap(entries: &[(Stamp, bool)], now: Stamp) -> Option<Gap> {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    set_meta(&tx, "ledger", &[7; 16]).unwrap();
    let ledger = Ledger::open(&tx, Vec::new()).unwrap();
    assert_eq!(gap_at_start(&tx, stamp(1, 0, true)).unwrap(), None, "an empty ledger has no gap");
    ledger.append(&tx, stamp(1, 0, true), Boot { version: "1".into() }).unwrap();
    for (at, shutdown) in entries {
        if *shutdown {
            let end = Shutdown { why: ShutdownWhy::Asked, problem: None };
            ledger.append(&tx, *at, end).unwrap();
        } else {
            ledger.append(&tx, *at, Fire { lane: "north".into(), on: true }).unwrap();
        }
    }
    gap_at_start(&tx, now).unwrap()
}

#[test]
fn a_start_says_since_when_nothing_was_recorded_and_why() {
    let worked = (stamp(1, 500, true), false);
    let ended = (stamp(1, 600, true), true);
    let why = |gap: Option<Gap>| gap.map(|gap| (gap.why, gap.lasted_ms));
    let later = stamp(1, 700, true);
    assert_eq!(why(gap(&[worked], later)), Some((GapWhy::Killed, Some(200_000))));
    assert_eq!(why(gap(&[worked, ended], later)), Some((GapWhy::Shutdown, Some(100_000))));
    // The daemon is started again at once.
    assert_eq!(gap(&[worked], stamp(1, 559, true)), None);
    let cut = gap(&[worked], stamp(2, 3600, true)).unwrap();
    assert_eq!((cut.why, cut.lasted_ms), (GapWhy::PowerCut, Some(3_100_000)));
    assert_eq!(cut.last_at_ms, worked.0.wall_ms);
    // A box whose clock goes on where it stopped cannot tell the length, and the gap is there.
    assert_eq!(why(gap(&[worked], stamp(2, 501, false))), Some((GapWhy::PowerCut, None)));
    assert_eq!(why(gap(&[(stamp(1, 500, false), false)], later)).unwrap().1, Some(200_000));
}

#[test]
fn the_journal_is_read_from_an_index_without_other_entries() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let sql = journal!("idx, leaf, bytes", "AND idx >= 0 ORDER BY idx LIMIT 9");
    let plan: String =
        connection.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)).unwrap();
    assert!(plan.contains("entry_health"), "{plan}");
}
