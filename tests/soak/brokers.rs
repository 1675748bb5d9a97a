//! 100,000 records through a broker that forbids something, each time something else. No record is
//! lost, and none is struck off that the platform lacks: of each it has the record, or a stub while
//! the record stands aside. In the end the broker forbids nothing, and the platform has all records.
//!
//! GATEHOUSE_BROKER_RECORDS sets another number of records.

use std::{collections::BTreeMap, time::Instant};

use gatehouse::config::Direction;
use rusqlite::{Connection, OpenFlags};

use crate::{
    common::{
        Site,
        past::{Went, person, went, write},
        strict::{Habits, NOT_AUTHORISED, RETAIN_NOT_SUPPORTED, SUBSCRIBE, Strict, Way},
    },
    machine,
};

/// Number of publishes after which the broker drops a connection without an acknowledgement.
const DROPS_EACH: usize = 1_999;
/// Number of passages of which one was released by a guard. That release is an event.
const VOUCHED_EACH: u64 = 10;

#[test]
fn i3_no_record_is_lost_or_struck_off_early_at_brokers_that_forbid_something() {
    let _machine = machine();
    let drops = Habits { drops_each: Some(DROPS_EACH), ..Habits::default() };
    let forbids = |leaf, way| Habits { forbids: vec![(leaf, way)], ..drops.clone() };
    let old = |habits: Habits| Habits { only_3_1_1: true, ..habits };
    let code = Way::Code(NOT_AUTHORISED);
    let no_retain = Some(Way::Code(RETAIN_NOT_SUPPORTED));
    let habits = [
        ("no retained messages", Habits { no_retain, ..drops.clone() }),
        ("no will", Habits { no_will: Some(Way::HangUp), ..drops.clone() }),
        ("no events", forbids("event", code)),
        ("small packets", Habits { max_packet: Some(500), ..drops.clone() }),
        ("one at once", Habits { receive_max: Some(1), ..drops.clone() }),
        ("no status", forbids("status", Way::Disconnect(NOT_AUTHORISED))),
        ("3.1.1, a hang-up over events", old(forbids("event", Way::HangUp))),
        (
            "3.1.1, a hang-up over retained messages",
            old(Habits { no_retain: Some(Way::HangUp), ..drops.clone() }),
        ),
        ("no subscriptions", forbids(SUBSCRIBE, Way::HangUp)),
    ];
    run("broker", habits.to_vec());
    let platform = habits.into_iter().filter(|(_, habits)| habits.forbids.is_empty());
    let qos_0 = [("QoS 0", Habits { max_qos_0: true, ..drops.clone() })];
    let acks = |(name, habits)| (name, Habits { acks: true, ..habits });
    run("platform", platform.chain(qos_0).map(acks).collect());
}

fn run(ack: &str, habits: Vec<(&'static str, Habits)>) {
    let records = std::env::var("GATEHOUSE_BROKER_RECORDS");
    let records: u64 = records.map_or(100_000, |text| text.parse().expect("a number"));
    let broker = Strict::start(habits[0].1.clone());
    let site = Site::with(|c| c.its("broker", broker.address()).its("ack", ack));
    let people = [person("W001", "刘峰", "钢筋一班")];
    let first = went(&people[0], Direction::Entry, "2026-10-01T08:00:00+08:00");
    let passage = |n: u64| Went {
        at_ms: first.at_ms + n as i64 * 1000,
        vouched: n.is_multiple_of(VOUCHED_EACH),
        ..first.clone()
    };
    write(&site, &people, (0..records).map(passage));
    let daemon = site.start();
    let turn = records as usize / habits.len();
    for ((name, now), n) in habits.iter().zip(1..) {
        let begun = Instant::now();
        if n > 1 {
            broker.change(now.clone());
        }
        let goal = turn * n;
        broker.when("records of this turn", |p| (p.records.len() >= goal).then_some(()));
        let stubs = broker.with(|p| p.stubs().len());
        eprintln!("ack = {ack:?}, {name}: {stubs} stubs so far, {:.0?}", begun.elapsed());
        is_safe(&site, &broker);
    }
    site.status_when("all to be delivered", |s| Site::outbox(s) == 0);
    is_safe(&site, &broker);
    daemon.stop();
    // The broker's operator forbids nothing any more.
    let acks = ack == "platform";
    broker.change(Habits { acks, ..Habits::default() });
    let daemon = site.start();
    site.status_when("none to stand aside", |s| {
        Site::outbox(s) == 0 && s["upstreams"][0]["withheld"] == 0
    });
    let recorded = is_safe(&site, &broker);
    broker.with(|p| {
        assert_eq!((p.upto, p.stubs().len()), (recorded, 0));
    });
    daemon.stop();
}

/// Asserts that each record that was struck off is the platform's, or stands aside. Returns the
/// number of records.
fn is_safe(site: &Site, broker: &Strict) -> u64 {
    let file = site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let rows = "SELECT seq, lower(hex(leaf)), seq IN (SELECT seq FROM outbox)
                FROM entry WHERE seq IS NOT NULL ORDER BY seq";
    let mut rows = database.prepare(rows).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
    // The database is read before the platform, which may have got more meanwhile.
    let recorded: BTreeMap<u64, (String, bool)> = rows.map(Result::unwrap).collect();
    broker.with(|p| {
        assert!(p.faults.is_empty(), "{:?}", p.faults);
        for (seq, (leaf, waits)) in &recorded {
            match p.records.get(seq) {
                Some(record) => {
                    assert_eq!(&record.leaf, leaf, "{seq}");
                    assert!(*waits || !record.withheld, "{seq} is a stub, and its record is lost");
                }
                None => assert!(waits, "{seq} was struck off, and the platform lacks it"),
            }
        }
    });
    recorded.len() as u64
}
