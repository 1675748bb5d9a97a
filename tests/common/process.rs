//! Processes that end with the test, even where the test is killed.

use std::{io, os::unix::process::CommandExt, process::Command};

/// Has the kernel kill the program when the thread that started it ends. A gate that outlives a
/// killed test would keep its ports, and would open the next pseudo-terminal with the same number.
pub fn ends_with_test(command: &mut Command) -> &mut Command {
    let test = nix::unistd::getpid();
    let bind = move || {
        // SAFETY: the call takes two numbers and touches no memory.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // No signal comes from a test that ended before the call above.
        if nix::unistd::getppid() == test { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: between fork and exec there are two system calls, and no memory is allocated.
    unsafe { command.pre_exec(bind) }
}
