//! 100,000 records through a broker that forbids something, one habit after the other. No record is
//! lost, and none is struck off that the platform lacks: of each it has the record, or a stub while
//! the record stands aside.
//!
//! GATEHOUSE_BROKER_RECORDS sets another number of records for each habit.

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
const DROPS_EACH: usize = 4_999;

#[test]
fn i3_no_record_is_lost_or_struck_off_early_at_brokers_that_forbid_something() {
    let _machine = machine();
    let records = std::env::var("GATEHOUSE_BROKER_RECORDS");
    let records: u64 = records.map_or(100_000, |text| text.parse().expect("a number"));
    let drops = Habits { drops_each: Some(DROPS_EACH), ..Habits::default() };
    let forbids = |leaf, way| Habits { forbids: vec![(leaf, way)], ..drops.clone() };
    let all = [
        (
            "no retained messages",
            "5",
            "broker",
            Habits { no_retain: Some(Way::Code(RETAIN_NOT_SUPPORTED)), ..drops.clone() },
        ),
        (
            "a hang-up over retained messages",
            "3.1.1",
            "broker",
            Habits { no_retain: Some(Way::HangUp), ..drops.clone() },
        ),
        ("no will", "5", "broker", Habits { no_will: Some(Way::HangUp), ..drops.clone() }),
        ("no status", "5", "broker", forbids("status", Way::Disconnect(NOT_AUTHORISED))),
        ("no events", "5", "broker", forbids("event", Way::Code(NOT_AUTHORISED))),
        ("a hang-up over events", "3.1.1", "broker", forbids("event", Way::HangUp)),
        ("no subscriptions", "5", "broker", forbids(SUBSCRIBE, Way::HangUp)),
        ("small packets", "5", "broker", Habits { max_packet: Some(500), ..drops.clone() }),
        (
            "small packets",
            "5",
            "platform",
            Habits { max_packet: Some(500), acks: true, ..drops.clone() },
        ),
        ("QoS 0", "5", "platform", Habits { max_qos_0: true, acks: true, ..drops.clone() }),
        ("one at once", "5", "broker", Habits { receive_max: Some(1), ..drops.clone() }),
    ];
    for (name, version, ack, habits) in all {
        let begun = Instant::now();
        let stubs = run(records, version, ack, habits);
        eprintln!("{name}, MQTT {version}, ack = {ack:?}: {stubs} stubs, {:.0?}", begun.elapsed());
    }
}

/// Returns the number of stubs.
fn run(records: u64, version: &str, ack: &str, habits: Habits) -> u64 {
    let broker = Strict::start(habits);
    let site = Site::with(|c| c.its("broker", broker.address()).its("ack", ack));
    site.configure(|c| c.its("version", version));
    let people = [person("W001", "刘峰", "钢筋一班")];
    let first = went(&people[0], Direction::Entry, "2026-10-01T08:00:00+08:00");
    let passage = |n: u64| Went { at_ms: first.at_ms + n as i64 * 1000, ..first.clone() };
    write(&site, &people, (0..records).map(passage));
    let daemon = site.start();
    site.status_when("all to be delivered", |s| Site::outbox(s) == 0);
    let aside = site.status()["upstreams"][0]["withheld"].as_u64().unwrap();
    daemon.stop();
    let database = site.path("data/gatehouse.db");
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = database
        .prepare("SELECT seq, lower(hex(leaf)) FROM entry WHERE seq IS NOT NULL ORDER BY seq")
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let recorded: BTreeMap<u64, String> = rows.map(Result::unwrap).collect();
    assert!(recorded.len() as u64 > records);
    // The daemon may have recorded its stop, which nothing sends any more.
    broker.with(|p| {
        assert!(p.faults.is_empty(), "{:?}", p.faults);
        for (seq, record) in &p.records {
            assert_eq!(recorded.get(seq), Some(&record.leaf), "{seq}");
        }
        let waiting = "SELECT count(*) FROM outbox WHERE upstream = 'platform' AND seq = ?1";
        for seq in recorded.keys().filter(|seq| !p.records.contains_key(seq)) {
            let waits: u64 = database.query_row(waiting, [seq], |row| row.get(0)).unwrap();
            assert_eq!(waits, 1, "{seq} was struck off, and the platform lacks it");
        }
        // Each stub's record stands aside, until it can be sent.
        let stands = "SELECT count(*) FROM outbox WHERE upstream LIKE 'platform/%' AND seq = ?1";
        let stubs = p.stubs();
        for seq in &stubs {
            let aside: u64 = database.query_row(stands, [seq], |row| row.get(0)).unwrap();
            assert_eq!(aside, 1, "{seq} is lost");
        }
        assert!(aside >= stubs.len() as u64);
        stubs.len() as u64
    })
}
