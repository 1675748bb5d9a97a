//! Steps at which a test kills or delays the daemon.
//!
//! In: the name of a step that the running code has reached. Out: nothing. A program that is built
//! with the feature `failpoints` reads the environment; releases leave the feature out.
//! `FAILPOINTS="grant.committed=return"` is a power cut at that step, `1*off->return` at the second
//! time. `sleep(ms)` and `pause` delay the thread that reached the step (the crate `fail`).

/// Reports that the running code has reached `step`.
#[cfg(feature = "failpoints")]
pub fn at(step: impl std::fmt::Display) {
    fail::fail_point!(&step.to_string(), |_| die());
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn at(_step: impl std::fmt::Display) {}

/// Ends the process like a power cut: no destructor runs, nothing is flushed.
#[cfg(feature = "failpoints")]
fn die() -> ! {
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    loop {
        std::thread::park();
    }
}
