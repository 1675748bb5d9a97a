//! What a test starts ends with it, also where the test itself is killed.

use std::{io, os::unix::process::CommandExt, process::Command};

/// Has the kernel kill the program when the thread that starts it ends. A gate that outlives a killed
/// test would keep its ports, and would open the next pseudo-terminal of the same number.
pub fn ends_with_test(command: &mut Command) -> &mut Command {
    let test = nix::unistd::getpid();
    let bind = move || {
        // SAFETY: the call takes two numbers and touches no memory.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // A test that has ended before this call sends no signal any more.
        if nix::unistd::getppid() == test { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: between fork and exec there are two system calls, and no memory is allocated.
    unsafe { command.pre_exec(bind) }
}
