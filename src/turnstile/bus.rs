//! One task a serial line: lanes whose controllers share it take turns there.
//!
//! In: exchanges from the lanes' drivers, each a few bytes and how to know their answer. Out: the
//! answers. It touches one serial port, which it holds exclusively while anybody is connected.
//!
//! **Sessions.** A driver that connects begins a session for its address. The first exchange that
//! goes without an answer ends it, whether or not the driver still waits, and so does the port
//! failing; nothing more is sent for a session that has ended. So an answer that comes late is
//! never the next exchange's: the driver must connect anew, and hears before that how long the line
//! has been quiet. What comes unasked, or is passed over as noise, makes the line not quiet.
//!
//! **Turns.** Urgent exchanges (releases, what withdraws them, an arm to be opened) go first. A
//! device that has not answered yet in its session comes last: after one of those was silent, the
//! next waits until the others have had half a second to themselves. A release so waits behind one
//! silent device at most; it is judged against its deadline right before its bytes go out (I4).
//!
//! **Faults.** A panic costs the exchange under way and the port, which is opened again.

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

/// Beyond the quiet that is wanted, how long it may take to begin.
const QUIET_WITHIN: Duration = Duration::from_millis(600);
/// Exchanges under way to the line, and waiting there. A lane has one at a time.
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

    /// The task of this line, which lives as long as somebody holds what is returned. Must be
    /// called within a tokio runtime.
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

/// The lanes' way to a line.
pub struct Port {
    line: SerialLine,
    clock: Arc<dyn Clock>,
    jobs: mpsc::Sender<Job>,
    /// Counts what came unasked.
    strays: watch::Receiver<u64>,
}

/// When an exchange may wait for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    #[default]
    Urgent,
    Routine,
}

/// Knows the answer among the bytes heard since the command.
pub type Find = Box<dyn Fn(&[u8]) -> Found + Send + Sync>;

/// Bytes to be sent, and what for. One of no bytes says whether the port is still open.
#[derive(Default)]
pub struct Exchange {
    pub send: Vec<u8>,
    /// `None`: no answer comes; it is done when the bytes have left.
    pub find: Option<Find>,
    /// A longer pause between two bytes of an answer parts them.
    pub gap: Option<Duration>,
    pub turn: Turn,
    /// Before it, nothing may have come unasked for so long.
    pub after_quiet: Duration,
    /// After this it is void, and not sent.
    pub deadline: Option<Monotonic>,
}

type Answer = Result<Vec<u8>, TurnstileError>;

struct Job {
    address: u8,
    session: u64,
    /// Its device has not answered yet in this session.
    first: bool,
    /// `None`: a session begins.
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

/// A driver's place at a line: the port, its controller's address there, and whether it is connected.
/// It is so from [`connect`](Self::connect) until the first error but [`TurnstileError::Late`], or
/// until a call is dropped before its end.
pub struct Session {
    port: Arc<Port>,
    address: u8,
    /// `None`: not connected.
    id: Option<u64>,
    answered: bool,
}

impl Session {
    /// Not connected yet.
    pub fn new(port: Arc<Port>, address: u8) -> Self {
        Self { port, address, id: None, answered: false }
    }

    pub fn port(&self) -> String {
        self.port.name()
    }

    pub fn now(&self) -> Monotonic {
        self.port.clock.monotonic()
    }

    /// Opens the port if it must, and waits until nothing came unasked for `quiet`.
    pub async fn connect(&mut self, quiet: Duration) -> Result<(), TurnstileError> {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        self.end();
        let id = SESSIONS.fetch_add(1, Ordering::Relaxed);
        self.ask(id, None).await?;
        self.quiet(quiet).await?;
        (self.id, self.answered) = (Some(id), false);
        Ok(())
    }

    /// One exchange; its answer, empty where none is looked for.
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

    /// Listens for so long, whether anything comes unasked.
    pub async fn stays_quiet(&mut self, quiet: Duration) -> Result<(), TurnstileError> {
        let id = self.taken()?;
        if timeout(quiet, self.strays().changed()).await.is_ok() {
            return Err(self.garbled("an older answer, or noise after it".to_owned()));
        }
        self.id = Some(id);
        Ok(())
    }

    /// An answer that cannot be believed: it ends the session.
    pub fn garbled(&mut self, what: String) -> TurnstileError {
        self.end();
        TurnstileError::Garbled { port: self.port(), address: self.address, what }
    }

    pub fn end(&mut self) {
        self.id = None;
    }

    /// The live session, to be put back when all went well.
    fn taken(&mut self) -> Result<u64, TurnstileError> {
        self.id.take().ok_or_else(|| TurnstileError::NotConnected { port: self.port() })
    }

    /// What comes unasked from now on.
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
        // The task has met a fault, and the answer with it.
        let lost = || {
            let source = io::Error::other("a fault in this program, logged as such");
            TurnstileError::Line { port: self.port(), source }
        };
        self.port.jobs.send(job).await.map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?
    }
}

#[cfg(test)]
mod tests;
