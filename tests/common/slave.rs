//! `tests/peers/modbus_slave.py` as a process: a relay board by others behind a pseudo-terminal.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

const SOON: Duration = Duration::from_secs(30);

/// The Python that has what the peers need.
pub fn python() -> OsString {
    std::env::var_os("GATEHOUSE_TEST_PYTHON").unwrap_or_else(|| {
        panic!("run tests/run: it makes the Python with pymodbus and sets GATEHOUSE_TEST_PYTHON")
    })
}

/// The slave's process; it ends with this value.
pub struct Slave {
    child: Child,
    commands: ChildStdin,
    lines: mpsc::Receiver<String>,
    /// The terminal to open.
    pub port: String,
}

impl Slave {
    pub fn start(arguments: &[&str]) -> Self {
        let python = python();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/modbus_slave.py");
        let mut child = Command::new(&python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {python:?}: {e}; run tests/run"));
        let commands = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut slave = Self { child, commands, lines, port: String::new() };
        let ready = slave.line();
        slave.port = ready.strip_prefix("ready ").unwrap_or_else(|| panic!("{ready}")).to_owned();
        slave
    }

    /// What it says next.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(SOON).unwrap_or_else(|e| {
            panic!("pymodbus says nothing ({e}; {:?}); run tests/run", self.child.try_wait())
        })
    }

    /// What it says next, if it says anything within this time.
    pub fn line_within(&mut self, patience: Duration) -> Option<String> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(e) => panic!("pymodbus has ended ({e}; {:?})", self.child.try_wait()),
        }
    }

    /// Sends a command and returns what was said before it was done.
    pub fn command(&mut self, command: &str) -> Vec<String> {
        writeln!(self.commands, "{command}").unwrap();
        let mut said = Vec::new();
        loop {
            let line = self.line();
            if line == format!("ok {command}") {
                return said;
            }
            said.push(line);
        }
    }
}

impl Drop for Slave {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
