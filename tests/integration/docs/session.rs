//! Runs the blocks of one session, in order, in one bash.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jiff::{Timestamp, civil::date, tz::TimeZone};
use serde_json::Value;

use super::page::Block;
use crate::common::{self, WallClock};

/// Timeout of a session: several times the longest one on a machine with all cores busy.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Text in a block, and the text that runs in its place.
const SUBSTITUTED: [(&str, &str); 6] = [
    // A device's folders are the session's own.
    ("/etc/gatehouse", "$DEVICE/etc/gatehouse"),
    ("/var/lib/gatehouse", "$DEVICE/var/lib/gatehouse"),
    // A comment names a line of a file to edit; a function of the preamble edits it.
    ("# in gatehouse.toml:", "in_gatehouse_toml"),
    // The number stands for a record that this gate has.
    ("attendance dispute 4711", "attendance dispute $(a_record)"),
    ("attendance withdraw 4711", "attendance withdraw $(a_record)"),
    // The digits stand for those that the other gateway has shown.
    ("--fingerprint 3f2a…", "--fingerprint $(cat gate-2.fingerprint)"),
];

/// A folder, an environment, and a synchronised clock. The date is 20 October 2026, because the documents'
/// examples are of that month.
pub struct Session {
    folder: PathBuf,
    environment: Vec<(String, OsString)>,
    clock: WallClock,
    /// What the shell does before the first block.
    pub begins: &'static str,
}

impl Session {
    pub fn new(folder: &Path) -> Session {
        let (bin, home) = (folder.join("bin"), folder.join("home"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir_all(home.join("tmp")).unwrap();
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/docs/gatehouse");
        symlink(program, bin.join("gatehouse")).unwrap();
        let clock = WallClock::new(&home);
        clock.synchronised(true);
        let october = date(2026, 10, 20).to_zoned(TimeZone::UTC).unwrap().timestamp();
        clock.ahead(october.as_second() - Timestamp::now().as_second());
        let path = format!("{}:{}:/usr/sbin", bin.display(), std::env::var("PATH").unwrap());
        let (folder, environment) = (folder.to_owned(), Vec::new());
        let mut session = Session { folder, environment, clock, begins: "" };
        session.set("GATEHOUSE_PROGRAM", common::program());
        session.set("PATH", path);
        session.set("TMPDIR", home.join("tmp"));
        session.set("XDG_CONFIG_HOME", &home);
        session.set("HOME", &home);
        session
    }

    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Makes this port the default of mosquitto's clients, in place of 1883.
    pub fn broker_at(&self, port: u16) {
        for client in ["mosquitto_pub", "mosquitto_sub"] {
            fs::write(self.folder.join("home").join(client), format!("-p {port}\n")).unwrap();
        }
    }

    pub fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// Runs the blocks and checks their output. Beside a block stands the JSON block with its
    /// output, if there is one.
    pub fn run(&self, blocks: &[(&Block, Option<&Block>)]) {
        let (blocks, shown): (Vec<&Block>, Vec<_>) = blocks.iter().copied().unzip();
        assert!(!blocks.is_empty(), "the documents have no block for this session");
        let preamble =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/docs/preamble.sh");
        let quoted = |text| shlex::try_quote(text).unwrap();
        let mut script = format!(". {}\n{}\n", preamble.display(), self.begins);
        for (n, block) in blocks.iter().enumerate() {
            let text =
                SUBSTITUTED.iter().fold(block.text.clone(), |t, (from, to)| t.replace(from, to));
            script += &format!("begun={n}\n");
            block.values("wait").for_each(|t| script += &format!("await {}\n", quoted(t)));
            script += &match block.value("stays") {
                Some(ready) => {
                    let ready = quoted(ready);
                    // The file must exist before the block starts.
                    let start =
                        format!(": >out.{n}\nset -m\n(\n{text}) >>out.{n} 2>&1 &\nset +m\n");
                    format!("{start}stays {n} {ready}\n")
                }
                None => format!("{{\n{text}}} >out.{n} 2>&1\n"),
            };
        }
        fs::write(self.folder.join("script"), &script).unwrap();
        let code = self.bash();
        let said =
            |n: usize| fs::read_to_string(self.folder.join(format!("out.{n}"))).unwrap_or_default();
        let heard = fs::read_to_string(self.folder.join("said")).unwrap();
        let ended = heard.lines().find_map(|line| line.strip_prefix("ended within ")?.parse().ok());
        let until: usize = ended.unwrap_or(blocks.len() - 1);
        for (n, Block { place, text, .. }) in blocks.iter().enumerate().take(until + 1) {
            println!("{place}\n{text}\n{}", said(n));
        }
        assert_eq!(code, Some(0), "{} failed: {heard}", blocks[until].place);
        for (n, block) in blocks.iter().enumerate() {
            let (printed, place) = (said(n), &block.place);
            let mut rest = printed.as_str();
            for expected in block.values("expect") {
                let found = rest.split_once(expected);
                rest = found.unwrap_or_else(|| panic!("{place}: no {expected:?} in\n{printed}")).1;
            }
            if let Some(Block { place, text, .. }) = shown[n] {
                let json = |text: &str| -> Vec<Value> {
                    let line =
                        |line| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
                    text.lines().map(line).collect()
                };
                assert_eq!(json(&printed), json(text), "{place}");
            }
        }
    }

    /// Runs the script, and ends each process that it leaves behind.
    fn bash(&self) -> Option<i32> {
        let said = File::create(self.folder.join("said")).unwrap();
        let mut bash = Command::new("bash")
            .args(["-euo", "pipefail", "script"])
            .current_dir(&self.folder)
            .env_remove("GATEHOUSE_CONFIG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(self.clock.environment())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .process_group(0)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let id = bash.id();
        // SAFETY: no memory is involved; the group is that of our own child, which is not yet waited for.
        let end = |signal| unsafe { libc::kill(-(id as i32), signal) };
        while !has_ended(id) {
            let late = begun.elapsed();
            if late > TIMEOUT {
                let harder = late > TIMEOUT + Duration::from_secs(10);
                end(if harder { libc::SIGKILL } else { libc::SIGTERM });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        end(libc::SIGKILL);
        bash.wait().unwrap().code()
    }
}

/// Returns whether this child has ended, and does not reap it: its id stays its own.
fn has_ended(id: u32) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeros is a valid siginfo_t, and the call writes into this one alone.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        assert_eq!(libc::waitid(libc::P_PID, id, &mut info, options), 0);
        info.si_pid() != 0
    }
}
