//! No link loses a record: records travel to a platform while brokers and the daemon are killed at
//! random and started again. The brokers are mosquitto, which forgets what it has not saved, and a
//! cluster of three nats-servers (`tests/peers/nats.txt` explains the version). The platform is
//! paho-mqtt with SQLite. At the end the test compares the platform's disk with the ledger, leaf
//! hash by leaf hash.
//!
//! With `ack = "broker"` the platform notices which records a broker lost and asks for them. With
//! `ack = "platform"` it never asks. Each run prints its counts.
//!
//! GATEHOUSE_DELIVERY_RECORDS sets the number of records in each run. The default is 100,000 with
//! mosquitto, and less with the cluster, whose nodes must agree on every message.
//! GATEHOUSE_DELIVERY_SEED repeats the random troubles of a run that printed this seed.

#[allow(dead_code, reason = "a program of its own")]
#[path = "../benches/delivery.rs"]
mod bench;
mod brokers;
mod course;

use std::collections::BTreeMap;

use crate::common::Site;
use brokers::Kind;
use course::run;

#[test]
fn i3_mosquitto_loses_records_and_the_platform_asks_for_them() {
    let end = run(Kind::Mosquitto, "broker", 100_000);
    assert!(end.lost > 0, "mosquitto lost nothing, so the run proves nothing");
}

#[test]
fn i3_mosquitto_loses_records_and_the_gateway_resends_unacknowledged_ones() {
    let end = run(Kind::Mosquitto, "platform", 100_000);
    assert!(end.report.sessions_lost > 0, "mosquitto lost nothing, so the run proves nothing");
}

#[test]
fn i3_a_cluster_loses_nodes_and_the_platform_asks_for_missing_records() {
    run(Kind::Cluster, "broker", 20_000);
}

#[test]
fn i3_a_cluster_loses_nodes_and_the_gateway_resends_unacknowledged_records() {
    run(Kind::Cluster, "platform", 5_000);
}

#[test]
fn a_backlog_is_measured_and_arrives() {
    const RECORDS: usize = 300;
    let mut site = Site::without_lanes();
    site.broker.start();
    let mut platform = site.broker.subscriber();
    let broker = format!("mqtt://127.0.0.1:{}", site.broker.port);
    let mqtt = "3.1.1".to_owned();
    let arguments = bench::Arguments { broker, records: RECORDS, mqtt, bench: false };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = runtime.block_on(bench::measure(arguments)).unwrap();
    let (ours, bare) = (&report.ours_per_s, &report.bare_per_s);
    assert!(ours.iter().chain(bare).all(|rate| *rate > 0.0), "{report:?}");
    // Both deliver the same records in each of their turns.
    let turns = ours.len() + bare.len();
    while platform.records.len() < RECORDS * turns {
        platform.next();
    }
    let mut copies = BTreeMap::<String, usize>::new();
    for record in &platform.records {
        *copies.entry(record.json.to_string()).or_default() += 1;
    }
    assert_eq!(copies.len(), RECORDS);
    assert!(copies.values().all(|n| *n == turns), "{copies:?}");
}
