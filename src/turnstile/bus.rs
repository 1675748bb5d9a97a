//! The task of a serial line. Lanes whose controllers share the line take turns.
//!
//! In: exchanges from the lanes' drivers, each with the bytes to send and a function that finds the
//! answer. Out: the answers. The task touches one serial port, and holds it exclusively while any
//! driver is connected.
//!
//! **Sessions.** A driver that connects begins a session for its address. The session ends with the
//! first exchange that has no valid answer, even if the driver no longer waits for it, and when the
//! port fails. Nothing more is sent for a session that has ended. The driver must connect again,
//! and waits for a quiet line first. So a late answer is never taken for the next exchange's.
//! Unrequested bytes and noise make the line not quiet.
//!
//! **Echo.** Some adapters receive what they send. The echo is found by itself and is never taken for
//! an answer (`hearing`).
//!
//! **Turns.** Urgent exchanges (releases, their withdrawals, opening the arm) go first. An exchange
//! with a device that has not answered yet in its session comes after them. After a silent device,
//! the next one of these exchanges waits until the others have had the line for half a second. So a
//! release waits behind one silent device at most. Its deadline is checked right before its bytes
//! are sent (I4).
//!
//! **Faults.** A panic ends the current exchange and all sessions. The port is opened again.

mod hearing;
mod master;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use self::master::Master;
use super::{error::TurnstileError, scan::Found, settings::SerialLine};
use crate::clock::{Clock, Monotonic};

/// Timeout for a quiet line, in addition to the quiet time itself.
const QUIET_WITHIN: Duration = Duration::from_millis(600);
/// Maximum number of exchanges in the line's queue, and in its task. A lane has one at a time.
const EXCHANGES: usize = 32;

/// The serial lines of a gateway. Lanes that name the same port share its task.
#[derive(Clone)]
pub struct Buses {
    clock: Arc<dyn Clock>,
    ports: Arc<Mutex<HashMap<PathBuf, Weak<Port>>>>,
}

impl Buses {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ports: Arc::default() }
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// Returns the port of this line, and starts its task if none runs. The task lives as long as
    /// the returned value. Must be called within a tokio runtime.
    pub fn port(&self, line: &SerialLine) -> Arc<Port> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.retain(|_, port| port.strong_count() > 0);
        if let Some(port) = ports.get(&line.port).and_then(Weak::upgrade) {
            return port;
        }
        let port = Arc::new(Port::spawn(line.clone(), self.clock.clone()));
        ports.insert(line.port.clone(), Arc::downgrade(&port));
        port
    }
}

/// The lanes' handle of a serial line.
pub struct Port {
    line: SerialLine,
    clock: Arc<dyn Clock>,
    jobs: mpsc::Sender<Job>,
    /// Number of times that unrequested bytes came.
    strays: watch::Receiver<u64>,
}

/// The priority of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    #[default]
    Urgent,
    Routine,
}

/// Finds the answer among the bytes received since the command.
pub type Find = Box<dyn Fn(&[u8]) -> Found + Send + Sync>;

/// Returns the address in a whole frame among bytes that hold no answer.
pub type Whose = fn(&[u8]) -> Option<u8>;

/// A command and how to find its answer. An exchange of no bytes checks that the port is still
/// open.
#[derive(Default)]
pub struct Exchange {
    pub send: Vec<u8>,
    /// `None`: no answer is expected. The exchange is done when the bytes have left the port.
    pub find: Option<Find>,
    /// Names the device that answered instead of this one.
    pub whose: Option<Whose>,
    /// Maximum pause between two bytes of an answer. A longer pause ends the frame.
    pub gap: Option<Duration>,
    pub turn: Turn,
    /// The time that the line must be quiet before the command.
    pub after_quiet: Duration,
    /// After this moment the command is void and is not sent.
    pub deadline: Option<Monotonic>,
}

type Answer = Result<Vec<u8>, TurnstileError>;

struct Job {
    address: u8,
    session: u64,
    /// The device has not answered yet in this session.
    first: bool,
    /// `None`: the job begins a session.
    exchange: Option<Exchange>,
    reply: oneshot::Sender<Answer>,
}

impl Port {
    fn spawn(line: SerialLine, clock: Arc<dyn Clock>) -> Self {
        let (jobs, taken) = mpsc::channel(EXCHANGES);
        let (strays, heard) = watch::channel(0);
        let master = Master::new(line.clone(), clock.clone(), taken, strays);
        tokio::spawn(master.run());
        Self { line, clock, jobs, strays: heard }
    }

    pub fn name(&self) -> String {
        self.line.name()
    }
}

/// A driver's connection: the port, its controller's address there, and whether it is connected.
///
/// The session is connected from [`connect`](Self::connect) until the first error but
/// [`TurnstileError::Late`]. A call that is dropped before its end also ends the connection.
pub struct Session {
    port: Arc<Port>,
    address: u8,
    /// `None`: not connected.
    id: Option<u64>,
    answered: bool,
}

impl Session {
    /// Creates a session that is not connected.
    pub fn new(port: Arc<Port>, address: u8) -> Self {
        Self { port, address, id: None, answered: false }
    }

    pub fn port(&self) -> String {
        self.port.name()
    }

    pub fn now(&self) -> Monotonic {
        self.port.clock.monotonic()
    }

    /// Opens the port if it is closed, and waits until the line was quiet for `quiet`.
    pub async fn connect(&mut self, quiet: Duration) -> Result<(), TurnstileError> {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        self.end();
        let id = SESSIONS.fetch_add(1, Ordering::Relaxed);
        self.ask(id, None).await?;
        self.quiet(quiet).await?;
        (self.id, self.answered) = (Some(id), false);
        Ok(())
    }

    /// Sends a command and returns its answer. The answer is empty if none is expected.
    pub async fn exchange(&mut self, exchange: Exchange) -> Answer {
        let id = self.taken()?;
        if !exchange.after_quiet.is_zero() {
            self.quiet(exchange.after_quiet).await?;
        }
        let answer = self.ask(id, Some(exchange)).await;
        self.answered |= answer.is_ok();
        if matches!(answer, Ok(_) | Err(TurnstileError::Late { .. })) {
            self.id = Some(id);
        }
        answer
    }

    /// Listens for `quiet`, and returns an error if unrequested bytes come.
    pub async fn stays_quiet(&mut self, quiet: Duration) -> Result<(), TurnstileError> {
        let id = self.taken()?;
        if timeout(quiet, self.strays().changed()).await.is_ok() {
            return Err(self.garbled("more bytes followed the answer".to_owned()));
        }
        self.id = Some(id);
        Ok(())
    }

    /// Ends the session after an invalid answer, and returns the error.
    pub fn garbled(&mut self, what: String) -> TurnstileError {
        self.end();
        TurnstileError::Garbled { port: self.port(), address: self.address, what }
    }

    pub fn end(&mut self) {
        self.id = None;
    }

    /// Takes the current session's number. The caller puts it back after a success.
    fn taken(&mut self) -> Result<u64, TurnstileError> {
        self.id.take().ok_or_else(|| TurnstileError::NotConnected { port: self.port() })
    }

    /// Returns a counter of unrequested bytes that changes from now on.
    fn strays(&self) -> watch::Receiver<u64> {
        let mut strays = self.port.strays.clone();
        strays.mark_unchanged();
        strays
    }

    async fn quiet(&self, quiet: Duration) -> Result<(), TurnstileError> {
        let mut strays = self.strays();
        let silent = async { while let Ok(Ok(())) = timeout(quiet, strays.changed()).await {} };
        let never = |_| TurnstileError::NeverSilent { port: self.port() };
        timeout(quiet + QUIET_WITHIN, silent).await.map_err(never)
    }

    async fn ask(&self, session: u64, exchange: Option<Exchange>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let first = !self.answered && exchange.as_ref().is_some_and(|e| e.find.is_some());
        let job = Job { address: self.address, session, first, exchange, reply };
        // The task panicked, and the answer is lost.
        let lost = || {
            let source = io::Error::other("a fault in this program; see the log");
            TurnstileError::Line { port: self.port(), source }
        };
        self.port.jobs.send(job).await.map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?
    }
}

#[cfg(test)]
mod tests;
