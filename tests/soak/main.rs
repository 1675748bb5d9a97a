//! Soak tests: gates that run for a long time with random faults, and a comparison of all counts.
//!
//! They are a separate program, because a soak needs the whole machine. It measures the share of
//! served visits and the growth of the daemon's memory. Neither other tests nor another soak may
//! run beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end here")]
#![allow(clippy::disallowed_methods, reason = "tests wait for other programs")]

#[allow(dead_code, unused_imports, reason = "soaks need a part of it")]
#[path = "../common/mod.rs"]
mod common;

mod brokers;
mod cards;
mod gate;
mod lanes;
mod memory;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns when no other soak runs.
fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
