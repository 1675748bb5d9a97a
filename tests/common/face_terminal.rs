//! Runs `tests/peers/face_terminal.py`: a platform that knows face terminals.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::{Site, process::ends_with_test, slave::python};

/// Timeout after which a test without the awaited message fails.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The key that signs a terminal's messages in tests.
pub const SIGN_KEY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/src/uplink/profiles/face_terminal/test-key.pem");

/// The platform's process. Dropping this value ends it.
pub struct FacePlatform {
    child: Child,
    commands: ChildStdin,
    lines: mpsc::Receiver<String>,
    database: PathBuf,
}

/// Which dialect the platform and the gateway speak.
#[derive(Clone, Copy)]
pub struct Dialect {
    pub topic: &'static str,
    pub sn: &'static str,
    pub online: &'static str,
    pub heartbeat: &'static str,
    pub signed: bool,
    /// The platform never answers `Online`.
    pub silent: bool,
}

/// As the terminals have it by default.
pub const USUAL: Dialect = Dialect {
    topic: "mqtt/face/1306612",
    sn: "1306612",
    online: "mqtt/face/basic",
    heartbeat: "mqtt/face/heartbeat",
    signed: false,
    silent: false,
};

impl FacePlatform {
    /// Starts the platform and returns when it is subscribed. Its records stay in the site's folder.
    pub fn start(site: &Site, dialect: &Dialect) -> FacePlatform {
        let (python, database) = (python(), site.path("face-platform.db"));
        let mut command = Command::new(&python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/face_terminal.py"));
        command.args(["--broker", &format!("127.0.0.1:{}", site.broker.port)]);
        command.args(["--topic", dialect.topic, "--sn", dialect.sn, "--online", dialect.online]);
        command.args(["--heartbeat", dialect.heartbeat, "--database"]).arg(&database);
        if dialect.signed {
            command.args(["--key", SIGN_KEY]);
        }
        if dialect.silent {
            command.arg("--silent");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ends_with_test(&mut command)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {python:?}: {e}; run tests/run"));
        let commands = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut platform = FacePlatform { child, commands, lines, database };
        platform.says("ready");
        platform
    }

    /// Returns its next message, if it comes within this time.
    pub fn next_within(&mut self, timeout: Duration) -> Option<Value> {
        let line = match self.lines.recv_timeout(timeout) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => return None,
            Err(e) => panic!("the platform has ended ({e}; {:?})", self.child.try_wait()),
        };
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(said.get("wrong").is_none(), "a message is against the dialect: {line}");
        Some(said)
    }

    /// Returns the value of this key in its next message that has it.
    pub fn says(&mut self, name: &str) -> Value {
        let begun = Instant::now();
        while let Some(left) = TIMEOUT.checked_sub(begun.elapsed()) {
            if let Some(said) = self.next_within(left)
                && let Some(value) = said.get(name)
            {
                return value.clone();
            }
        }
        panic!("the platform does not say {name:?}")
    }

    /// Waits until it has this number of records.
    pub fn stored(&mut self, records: u64) {
        while self.report() < records {
            self.next_within(Duration::from_millis(200));
        }
    }

    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// Sends a command and returns the terminal's answer.
    pub fn asks(&mut self, command: &Value) -> Value {
        self.tell(&format!("send {command}"));
        self.answered(command)
    }

    /// Returns the terminal's answer to a command that was sent.
    pub fn answered(&mut self, command: &Value) -> Value {
        loop {
            let answer = self.says("answer");
            if answer["messageId"] == command["messageId"] {
                return answer;
            }
        }
    }

    /// Returns the number of its records.
    pub fn report(&mut self) -> u64 {
        self.tell("report");
        self.says("report").as_u64().unwrap()
    }

    /// Returns `person time direction live` of each record, and the number of its copies.
    pub fn records(&self) -> Vec<(String, u64)> {
        let database =
            Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut rows = database
            .prepare(
                "SELECT person || ' ' || time || ' ' || direction || ' ' || live,
                     (SELECT count(*) FROM copy c WHERE c.number = r.number)
                 FROM record r ORDER BY number",
            )
            .unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Kills the platform, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for FacePlatform {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
