//! Gates for a long time, with everything that can fail failing at random, and the books at the end.
//!
//! A program of their own: a soak counts how many of those who came were served, and how the daemon's
//! memory grew. So neither other tests nor the other soak run beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end here")]
#![allow(clippy::disallowed_methods, reason = "tests wait for other programs")]

#[allow(dead_code, unused_imports, reason = "soaks need a part of it")]
#[path = "../common/mod.rs"]
mod common;

mod gate;
mod lanes;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns when no other soak runs.
fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
