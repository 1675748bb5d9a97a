//! Nothing is lost on any link: 100,000 records on their way to a platform while brokers and the daemon
//! are killed at random and started again. The brokers are mosquitto, which forgets what it has not
//! saved, and a cluster of three nats-servers; the platform is paho-mqtt with SQLite. At the end the
//! platform's own disk is compared with the ledger, leaf hash by leaf hash.
//!
//! With `ack = "broker"` the platform finds what a broker lost and asks for it; with
//! `ack = "platform"` it never asks. Each run prints its counts.
//!
//! GATEHOUSE_DELIVERY_RECORDS: how many records (100,000). GATEHOUSE_DELIVERY_SEED: repeats the
//! choice of troubles that a run has printed.

#[path = "delivery/brokers.rs"]
mod brokers;
mod common;
#[path = "delivery/course.rs"]
mod course;

use brokers::Kind;
use course::run;

#[test]
fn i3_mosquitto_loses_records_and_the_platform_asks_for_them() {
    let end = run(Kind::Mosquitto, "broker");
    assert!(end.lost > 0, "mosquitto forgot nothing, so this shows nothing");
}

#[test]
fn i3_mosquitto_loses_records_and_what_the_platform_has_not_acknowledged_comes_again() {
    let end = run(Kind::Mosquitto, "platform");
    assert!(end.report.sessions_lost > 0, "mosquitto forgot nothing, so this shows nothing");
}

#[test]
fn i3_a_cluster_loses_nodes_and_the_platform_asks_for_what_is_missing() {
    run(Kind::Cluster, "broker");
}

#[test]
fn i3_a_cluster_loses_nodes_and_what_the_platform_has_not_acknowledged_comes_again() {
    run(Kind::Cluster, "platform");
}
