//! Keeps foreign processes away from the pseudo-terminals of a test.
//!
//! The kernel reuses the number of a closed pseudo-terminal. A gate left over elsewhere on the
//! machine may still try to open `/dev/pts/3`. It then opens the test's new terminal, and the gate
//! under test finds it in use. The [`Watch`] notices that, has another pseudo-terminal made, and
//! reports it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use super::slave::python;

/// Interval between two checks.
const LOOK: Duration = Duration::from_millis(50);

/// Returns the foreign process that holds the lock on the terminal, as every gate does. Foreign
/// means that the test did not start it.
fn holder(port: &Path) -> Option<u32> {
    let port = std::fs::metadata(port).ok()?;
    let (major, minor) = (libc::major(port.dev()), libc::minor(port.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", port.ino());
    // Such as `3: FLOCK  ADVISORY  WRITE 4711 00:18:6 0 EOF`; see proc(5).
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let holders = locks.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid) = (words.next()?, words.nth(2)?);
        (kind == "FLOCK" && words.next()? == place).then(|| pid.parse().ok())?
    });
    holders.into_iter().find(|pid| is_a_stranger(*pid))
}

/// Returns whether the process is neither this test nor a descendant. A process that ends meanwhile
/// counts as the test's own.
fn is_a_stranger(mut pid: u32) -> bool {
    while pid > 1 {
        if pid == std::process::id() {
            return false;
        }
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let Some(parent) = after_name.split_whitespace().nth(1) else { return false };
        pid = parent.parse().unwrap_or_default();
    }
    true
}

/// Checks a link to a pseudo-terminal until this value is dropped.
pub struct Watch {
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the checks. `another` makes another pseudo-terminal and returns when the link points
    /// to it.
    pub fn over(link: &Path, another: impl Fn() + Send + 'static) -> Watch {
        let (over, is_over) = mpsc::channel::<()>();
        let link: PathBuf = link.into();
        let thread = std::thread::spawn(move || {
            while is_over.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let Some(pid) = holder(&link) else { continue };
                let lost = std::fs::read_link(&link).unwrap_or_default();
                // The test harness does not capture this stream.
                let _ = writeln!(
                    std::io::stderr(),
                    "{} was taken by process {pid}, a gate left over elsewhere; the test makes \
                     another pseudo-terminal",
                    lost.display()
                );
                another();
            }
        });
        Watch { over: Some(over), thread: Some(thread) }
    }
}

/// A gate left over elsewhere: it has opened a terminal and locked it. The test is not its parent.
/// Dropping this value ends it.
pub struct Stranger {
    _lives: Child,
}

impl Stranger {
    pub fn takes(port: &Path) -> Stranger {
        const GATE: &str = "import fcntl, os, sys\n\
            port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)\n\
            fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)\n\
            print('taken', flush=True)\n\
            sys.stdin.read()";
        // The shell ends at once, so that init adopts the process. The process ends when its input
        // closes.
        let mut shell = Command::new("sh")
            .args(["-c", r#"exec 3<&0; "$0" -c "$1" "$2" <&3 3<&- &"#])
            .arg(python())
            .args([OsStr::new(GATE), port.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "taken\n");
        let (input, ended) = (shell.stdin.take(), shell.wait().unwrap());
        assert!(ended.success());
        shell.stdin = input;
        Stranger { _lives: shell }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
