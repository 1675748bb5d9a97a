//! Tests of the program from outside. Most run the real daemon at their own site, with cameras,
//! relay boards and brokers of other projects. `tests/run` installs what this needs.
//!
//! All are in one program, because each test program links the whole library. The soak tests are a
//! program of their own, `tests/soak`, because they need the whole machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end here")]
#![allow(clippy::disallowed_methods, reason = "tests wait for other programs")]
#![allow(
    clippy::duplicate_mod,
    reason = "the benches are programs of their own, with helpers in common"
)]

#[path = "../common/mod.rs"]
mod common;

mod alarms;
mod at_rest;
mod authority;
mod bounds;
mod brokers;
mod camera;
mod camera_dialects;
mod chain;
mod clock;
mod codes;
mod commands;
mod config;
mod consent;
#[cfg(feature = "failpoints")]
mod crash;
mod deletion;
mod delivery;
#[cfg(feature = "demo")]
mod demo;
mod device;
mod disk;
mod docs;
mod doors;
mod evaluate;
mod evidence;
#[cfg(feature = "failpoints")]
mod evidence_cuts;
mod face_terminal;
mod gate;
mod guard;
mod guard_button;
mod hostile_camera;
mod import;
mod lanes;
mod liveness;
mod logins;
mod man;
mod messages;
mod metrics;
mod modbus_peer;
mod national;
mod network_camera;
mod others;
mod pending;
mod photos;
mod platform_photos;
mod platforms;
mod program;
mod queue;
mod readers;
mod roster;
mod sensors;
mod set_aside;
mod shipped;
#[cfg(feature = "failpoints")]
mod slow_box;
mod structure;
mod supervision;
mod tcp843;
mod timesheet;
mod tls;
mod turnstile;
mod watch;
mod with_face;

/// Fails where a feature is missing; otherwise the run would pass without the tests of that
/// feature.
#[cfg(not(all(feature = "failpoints", feature = "demo")))]
#[test]
fn all_features_are_tested() {
    panic!(
        "tests are left out: crash, slow_box and supervision::faults need the feature `failpoints`, demo \
         needs `demo`. Use tests/run, or `cargo test --release --features failpoints,demo`"
    );
}
