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

/// A driver's way to its line.
pub struct Port {
    line: SerialLine,
    clock: Arc<dyn Clock>,
    jobs: mpsc::Sender<Job>,
    /// Counts what came unasked.
    strays: watch::Receiver<u64>,
}

/// When an exchange may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Urgent,
    Routine,
}

/// Knows the answer among the bytes heard since the command.
pub type Find = Box<dyn Fn(&[u8]) -> Found + Send + Sync>;

/// Bytes to be sent, and what for.
pub struct Exchange {
    pub send: Vec<u8>,
    /// `None`: no answer comes; it is done when the bytes have left.
    pub find: Option<Find>,
    /// A longer pause between two bytes of an answer parts them.
    pub gap: Option<Duration>,
    pub turn: Turn,
    /// After this it is void, and not sent.
    pub deadline: Option<Monotonic>,
}

struct Job {
    address: u8,
    session: u64,
    first: bool,
    what: What,
}

enum What {
    /// Begins a session.
    Open(oneshot::Sender<Result<(), TurnstileError>>),
    Exchange(Exchange, oneshot::Sender<Result<Vec<u8>, TurnstileError>>),
    /// Whether the port is still open.
    Look(oneshot::Sender<Result<(), TurnstileError>>),
}

/// A driver's connection. The first error ends it.
pub struct Session {
    port: Arc<Port>,
    address: u8,
    id: u64,
    answered: bool,
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
        self.line.port.display().to_string()
    }

    pub fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Opens the port if it must, and waits until nothing came unasked for `quiet`.
    pub async fn connect(
        self: &Arc<Self>,
        address: u8,
        quiet: Duration,
    ) -> Result<Session, TurnstileError> {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        let id = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let (reply, opened) = oneshot::channel();
        self.ask(Job { address, session: id, first: false, what: What::Open(reply) }).await?;
        opened.await.map_err(|_| self.lost())??;
        let session = Session { port: self.clone(), address, id, answered: false };
        session.quiet(quiet).await?;
        Ok(session)
    }

    async fn ask(&self, job: Job) -> Result<(), TurnstileError> {
        self.jobs.send(job).await.map_err(|_| self.lost())
    }

    /// The task has met a fault, and the answer with it.
    fn lost(&self) -> TurnstileError {
        let source = io::Error::other("a fault in this program, logged as such");
        TurnstileError::Line { port: self.name(), source }
    }
}

impl Session {
    /// Waits until nothing came unasked for so long.
    pub async fn quiet(&self, quiet: Duration) -> Result<(), TurnstileError> {
        let mut strays = self.port.strays.clone();
        strays.mark_unchanged();
        let silent = async { while let Ok(Ok(())) = timeout(quiet, strays.changed()).await {} };
        let never = |_| TurnstileError::NeverSilent { port: self.port.name() };
        timeout(quiet + QUIET_WITHIN, silent).await.map_err(never)
    }

    /// One exchange; its answer, empty where none is looked for.
    pub async fn exchange(&mut self, exchange: Exchange) -> Result<Vec<u8>, TurnstileError> {
        let (reply, answer) = oneshot::channel();
        let first = !self.answered && exchange.find.is_some();
        let what = What::Exchange(exchange, reply);
        self.port.ask(Job { address: self.address, session: self.id, first, what }).await?;
        let answer = answer.await.map_err(|_| self.port.lost())??;
        self.answered = true;
        Ok(answer)
    }

    /// Whether nothing comes unasked for so long.
    pub async fn stays_quiet(&self, quiet: Duration) -> bool {
        let mut strays = self.port.strays.clone();
        strays.mark_unchanged();
        timeout(quiet, strays.changed()).await.is_err()
    }

    /// Whether the port is open still; costs no bytes.
    pub async fn look(&self) -> Result<(), TurnstileError> {
        let (reply, seen) = oneshot::channel();
        let (address, session, what) = (self.address, self.id, What::Look(reply));
        self.port.ask(Job { address, session, first: false, what }).await?;
        seen.await.map_err(|_| self.port.lost())?
    }
}

#[cfg(test)]
mod tests;
