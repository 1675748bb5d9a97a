//! Places where a test makes the daemon die or dawdle.
//!
//! In: the name of a step that the running code has reached. Out: nothing, unless the program was
//! built with the feature `failpoints`, which releases leave out, and its environment names the
//! step: `FAILPOINTS="grant.committed=return"` is a power cut exactly there, `1*off->return` at
//! the second time; `sleep(ms)` and `pause` hold up the thread that came by (the crate `fail`).

/// The running code has reached `step`.
#[cfg(feature = "failpoints")]
pub fn at(step: impl std::fmt::Display) {
    fail::fail_point!(&step.to_string(), |_| die());
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn at(_step: impl std::fmt::Display) {}

/// As a power cut: no destructor runs, nothing is flushed.
#[cfg(feature = "failpoints")]
fn die() -> ! {
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    loop {
        std::thread::park();
    }
}
