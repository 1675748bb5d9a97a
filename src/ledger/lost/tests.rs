//! A ledger that has lost its end, in a real database.

use rusqlite::Connection;

use super::*;
use crate::{
    clock::BootId,
    ledger::{
        Body, Boot, LedgerId,
        audit::{Audit, part},
        queue_again, strike_off_upto, waiting,
    },
    store::{SCHEMA, set_meta},
};

const LEDGER: LedgerId = LedgerId([7; 16]);

fn stamp() -> Stamp {
    let wall_ms = 1_793_577_600_000;
    Stamp { wall_ms, synced: true, boot: BootId([3; 16]), uptime_ms: 60_000 }
}

#[test]
fn i3_a_ledger_that_lost_its_end_goes_on_after_every_seq_that_may_have_been_given() {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    set_meta(&tx, "ledger", &LEDGER.0).unwrap();
    let ledger = Ledger::open(&tx, vec!["platform".into()]).unwrap();
    let boot = || Boot { version: "1".into() };
    for _ in 0..3 {
        ledger.append(&tx, stamp(), boot()).unwrap();
    }
    let mark = Mark { starts: 1, seq: 9, entries: 12 };
    let lost = ledger.lose(&tx, stamp(), mark).unwrap().entry;
    let Body::Lost(Lost { first, last, entries, .. }) = &lost.body else { panic!("{lost:?}") };
    assert_eq!((*first, *last, *entries), (4, 10_009, 9));
    assert_eq!((lost.index, lost.seq), (3, Some(10_010)));
    assert_eq!(ledger.append(&tx, stamp(), boot()).unwrap().entry.seq, Some(10_011));

    // Audits know the gap: of the whole ledger, and of a part that begins after it.
    let (found, _) = Audit::new(LEDGER, Vec::new()).page(&tx, 10).unwrap();
    assert_eq!(found, []);
    assert_eq!(part(&tx, LEDGER, 3, 10).unwrap().0, []);
    assert_eq!(part(&tx, LEDGER, 4, 10).unwrap().0, []);

    // The outbox steps over the gap, and so does an acknowledgement.
    let seqs = |tx: &Transaction<'_>| {
        waiting(tx, "platform", 0, u64::MAX, 9, |stored, _| stored.entry.seq.unwrap()).unwrap().rows
    };
    assert_eq!(seqs(&tx), [1, 2, 3, 10_010, 10_011]);
    assert_eq!(strike_off_upto(&tx, "platform", 10_010).unwrap(), 4);
    assert_eq!(seqs(&tx), [10_011]);
    // A consumer that asks for lost records gets the answer that they are gone.
    let again = queue_again(&tx, "platform", 9, 12).unwrap();
    assert_eq!((again.rows, again.gone), (0, vec![9, 10, 11, 12]));
}

#[test]
fn a_gap_without_an_entry_that_names_it_is_a_fault() {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    set_meta(&tx, "ledger", &LEDGER.0).unwrap();
    let ledger = Ledger::open(&tx, Vec::new()).unwrap();
    ledger.append(&tx, stamp(), Boot { version: "1".into() }).unwrap();
    // It names only a part of the gap.
    let detail = Detail::new("database_shortened");
    ledger.append(&tx, stamp(), Lost { first: 3, last: 9, entries: 7, detail }).unwrap();
    let (found, _) = Audit::new(LEDGER, Vec::new()).page(&tx, 10).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
}
