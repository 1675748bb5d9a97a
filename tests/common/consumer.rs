//! Runs `tests/peers/consumer.py`: a platform behind a broker, made with paho-mqtt and SQLite.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;
use serde_json::Value;

use super::slave::python;

/// Timeout after which a test without progress fails. Meanwhile a cluster of brokers may elect a
/// leader.
pub const TIMEOUT: Duration = Duration::from_secs(300);

/// The platform's report about itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    #[serde(rename = "report")]
    pub records: u64,
    pub highest: u64,
    /// Seqs below the highest that have not come.
    pub missing: u64,
    pub repeats: u64,
    /// Seqs of repeats without the mark `repeat`, where the first copy had no mark either.
    pub unmarked: Vec<u64>,
    /// Repeats whose content differs from the first copy.
    pub differing: u64,
    /// First copies that came after a record with a higher seq.
    pub late: u64,
    /// Messages that it published and its broker has not acknowledged.
    #[allow(dead_code, reason = "printed")]
    pub untaken: u64,
    pub connects: u64,
    /// Connections on which the broker had lost the session.
    pub sessions_lost: u64,
}

/// The platform's process. Dropping this value ends it.
pub struct Consumer {
    child: Child,
    commands: ChildStdin,
    lines: mpsc::Receiver<String>,
    database: PathBuf,
    /// Number of stored records in its latest message.
    pub stored: u64,
}

impl Consumer {
    /// Starts the platform and returns when it is subscribed. `ack` is `broker` or `platform`.
    pub fn start(dir: &Path, ports: &[u16], root: &str, ack: &str) -> Consumer {
        let (python, database) = (python(), dir.join("platform.db"));
        let mut command = Command::new(&python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/consumer.py"));
        for port in ports {
            command.args(["--broker", &format!("127.0.0.1:{port}")]);
        }
        command.args(["--root", root, "--ack", ack, "--database"]).arg(&database);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            child.unwrap_or_else(|e| panic!("cannot run {python:?}: {e}; run tests/run"));
        let commands = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut consumer = Consumer { child, commands, lines, database, stored: 0 };
        consumer.says("ready");
        consumer
    }

    /// Returns its next message, if it comes within this time.
    pub fn next_within(&mut self, timeout: Duration) -> Option<Value> {
        let line = match self.lines.recv_timeout(timeout) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => return None,
            Err(e) => panic!("the platform has ended ({e}; {:?})", self.child.try_wait()),
        };
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(said.get("refused").is_none(), "a command was refused: {line}");
        if let Some(stored) = said["stored"].as_u64() {
            self.stored = stored;
        }
        Some(said)
    }

    /// Returns its next message that has this key.
    pub fn says(&mut self, name: &str) -> Value {
        let begun = Instant::now();
        while let Some(left) = TIMEOUT.checked_sub(begun.elapsed()) {
            if let Some(said) = self.next_within(left)
                && said.get(name).is_some()
            {
                return said;
            }
        }
        panic!("the platform does not say {name:?}; it has {} records", self.stored)
    }

    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    pub fn report(&mut self) -> Report {
        self.tell("report");
        let report: Report = serde_json::from_value(self.says("report")).unwrap();
        self.stored = report.records;
        report
    }

    /// Returns the seq and the leaf hash of each stored record, in the order of arrival.
    pub fn arrivals(&self) -> Vec<(u64, String)> {
        let database =
            Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut rows = database.prepare("SELECT seq, leaf FROM record ORDER BY arrival").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
