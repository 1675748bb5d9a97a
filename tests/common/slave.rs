//! Runs `tests/peers/modbus_slave.py`: a relay board by another project behind a pseudo-terminal.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use super::port::Watch;

const SOON: Duration = Duration::from_secs(120);

/// Returns the Python that has the packages of the peers.
pub fn python() -> OsString {
    std::env::var_os("GATEHOUSE_TEST_PYTHON").unwrap_or_else(|| {
        panic!("run tests/run: it makes the Python with pymodbus and sets GATEHOUSE_TEST_PYTHON")
    })
}

/// The slave's process. Dropping this value ends it.
pub struct Slave {
    plugged: Option<(PathBuf, Watch)>,
    child: Child,
    commands: Arc<Mutex<ChildStdin>>,
    lines: mpsc::Receiver<String>,
    terminal: Arc<Mutex<String>>,
    terminals: Arc<Mutex<mpsc::Receiver<String>>>,
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
        let commands = Arc::new(Mutex::new(child.stdin.take().unwrap()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let (made, terminals) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| {
                match line.strip_prefix("terminal ") {
                    Some(terminal) => made.send(terminal.to_owned()),
                    None => sender.send(line),
                }
            })
        });
        let (terminal, terminals) = (Arc::default(), Arc::new(Mutex::new(terminals)));
        let slave = Self { plugged: None, child, commands, lines, terminal, terminals };
        let ready = slave.terminals.lock().unwrap().recv_timeout(SOON);
        *slave.terminal.lock().unwrap() =
            ready.unwrap_or_else(|e| panic!("pymodbus does not start ({e}); run tests/run"));
        slave
    }

    /// Returns the path of the terminal to open.
    pub fn port(&self) -> String {
        self.terminal.lock().unwrap().clone()
    }

    /// Makes `link` point to the terminal. Where a foreign process takes the terminal, `link`
    /// changes to another one.
    pub fn plug_in(&mut self, link: &Path) {
        symlink(self.port(), link).unwrap();
        let (commands, terminals) = (self.commands.clone(), self.terminals.clone());
        let (terminal, path) = (self.terminal.clone(), link.to_owned());
        let watch = Watch::over(link, move || {
            let asked = writeln!(commands.lock().unwrap(), "another");
            let Ok(another) = asked.map(|()| terminals.lock().unwrap().recv_timeout(SOON)) else {
                return;
            };
            let Ok(another) = another else { return };
            // Replaces the link atomically.
            let new = path.with_extension("new");
            symlink(&another, &new).unwrap();
            std::fs::rename(new, &path).unwrap();
            *terminal.lock().unwrap() = another;
        });
        self.plugged = Some((link.to_owned(), watch));
    }

    /// Removes the link. A dangling link would lead a gate to the next terminal with that number.
    pub fn unplug(&mut self) {
        if let Some((link, watch)) = self.plugged.take() {
            drop(watch);
            let _ = std::fs::remove_file(link);
        }
    }

    /// Returns its next line.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(SOON).unwrap_or_else(|e| {
            panic!("pymodbus says nothing ({e}; {:?}); run tests/run", self.child.try_wait())
        })
    }

    /// Returns its next line, if it comes within this time.
    pub fn line_within(&mut self, timeout: Duration) -> Option<String> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(e) => panic!("pymodbus has ended ({e}; {:?})", self.child.try_wait()),
        }
    }

    /// Sends a command and returns the lines that come before its confirmation.
    pub fn command(&mut self, command: &str) -> Vec<String> {
        writeln!(self.commands.lock().unwrap(), "{command}").unwrap();
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
        self.unplug();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
