//! The task of one serial line: whose turn it is, the bytes out, the answers in.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, watch},
    time::{Sleep, sleep, timeout},
};
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};
use tracing::error;

use super::{Answer, EXCHANGES, Exchange, Find, Job, Turn};
use crate::{
    clock::Clock,
    supervision::caught,
    turnstile::{error::TurnstileError, scan::Found, settings::SerialLine},
};

/// From a request to its answer. A 7E/7F command and its answer take 217 ms at 1200 baud, and 27 ms
/// at 9600; a controller takes up to some 50 ms more.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);
/// Within this all bytes of a command have left, or the port is given up.
const SENT_WITHIN: Duration = Duration::from_millis(300);
/// After a silent device, the others have the line to themselves for so long.
const SPACING: Duration = Duration::from_millis(500);
/// Bytes of the line looked at together; what a codec keeps is shorter than a frame.
pub(super) const CHUNK: usize = 256;

/// The task's state.
pub(super) struct Master {
    line: SerialLine,
    clock: Arc<dyn Clock>,
    jobs: mpsc::Receiver<Job>,
    strays: watch::Sender<u64>,
    /// Taken from `jobs`, so that the urgent can go first; within [`EXCHANGES`].
    waiting: VecDeque<Job>,
    open: Option<SerialStream>,
    /// The live session of each address.
    sessions: HashMap<u8, u64>,
    /// Until it is over no device goes that has not answered yet, while others do.
    spacing: Option<Pin<Box<Sleep>>>,
    /// The last exchange that wanted an answer had one.
    answered: bool,
}

impl Master {
    pub fn new(
        line: SerialLine,
        clock: Arc<dyn Clock>,
        jobs: mpsc::Receiver<Job>,
        strays: watch::Sender<u64>,
    ) -> Self {
        Self {
            line,
            clock,
            jobs,
            strays,
            waiting: VecDeque::new(),
            open: None,
            sessions: HashMap::new(),
            spacing: None,
            answered: true,
        }
    }

    pub async fn run(mut self) {
        // What outlives a panic are queues, whole after each step; the port is opened anew.
        while let Err(fault) = caught(self.serve()).await {
            error!(port = %self.line.port.display(), %fault, "the serial line's task is begun anew");
            self.close();
        }
    }

    fn close(&mut self) {
        self.open = None;
        self.sessions.clear();
    }

    /// Until nobody is left who could ask.
    async fn serve(&mut self) {
        let mut unasked = [0; CHUNK];
        loop {
            while self.waiting.len() < EXCHANGES
                && let Ok(job) = self.jobs.try_recv()
            {
                self.waiting.push_back(job);
            }
            if let Some(job) = self.next() {
                self.carry_out(job).await;
                continue;
            }
            let heard = tokio::select! {
                biased;
                job = self.jobs.recv(), if self.waiting.len() < EXCHANGES => match job {
                    Some(job) => {
                        self.waiting.push_back(job);
                        continue;
                    }
                    None if self.waiting.is_empty() => return,
                    // Only what waits for its spacing is left, and nobody for its answer.
                    None => {
                        self.waiting.clear();
                        continue;
                    }
                },
                () = over(&mut self.spacing) => {
                    self.spacing = None;
                    continue;
                }
                heard = read(&mut self.open, &mut unasked) => heard,
            };
            match heard {
                Ok(_) => self.stray(),
                Err(source) => {
                    error!(port = %self.line.port.display(), %source, "the serial line failed");
                    self.close();
                }
            }
        }
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<Job> {
        // Those that nobody waits for any more are given up.
        self.waiting.retain(|job| !job.reply.is_closed());
        let sessions = &self.sessions;
        let others = |job: &Job| sessions.keys().any(|address| *address != job.address);
        let spacing = self.spacing.is_some();
        let urgent =
            |job: &Job| !job.first && job.exchange.as_ref().is_none_or(|e| e.turn == Turn::Urgent);
        let first = |job: &Job| job.first && !(spacing && others(job));
        let turns: [&dyn Fn(&Job) -> bool; 3] = [&urgent, &first, &|job| !job.first];
        let at = turns.iter().find_map(|turn| self.waiting.iter().position(turn))?;
        self.waiting.remove(at)
    }

    async fn carry_out(&mut self, job: Job) {
        let Job { address, session, first, exchange, reply } = job;
        let Some(exchange) = exchange else {
            let opened = self.open();
            if opened.is_ok() {
                self.sessions.insert(address, session);
            }
            let _ = reply.send(opened.map(|()| Vec::new()));
            return;
        };
        let answer = match self.sessions.get(&address) {
            Some(live) if *live == session => self.exchange(address, &exchange).await,
            _ => Err(self.not_connected()),
        };
        match &answer {
            Ok(_) => self.answered |= exchange.find.is_some(),
            // Nothing was sent.
            Err(TurnstileError::Late { .. } | TurnstileError::NotConnected { .. }) => {}
            Err(TurnstileError::Line { .. }) => self.close(),
            Err(_) => {
                self.sessions.remove(&address);
                self.answered = false;
                if first {
                    self.spacing = Some(Box::pin(sleep(SPACING)));
                }
            }
        }
        let _ = reply.send(answer);
        // A frame begins after a silence of 3.5 characters.
        sleep(Duration::from_micros(38_500_000 / u64::from(self.line.baud.max(1)))).await;
    }

    fn not_connected(&self) -> TurnstileError {
        TurnstileError::NotConnected { port: self.line.name() }
    }

    fn open(&mut self) -> Result<(), TurnstileError> {
        // An adapter may be stuck: where nobody else is served by it, it is opened anew.
        if self.open.is_some() && (self.answered || !self.sessions.is_empty()) {
            return Ok(());
        }
        self.close();
        let port = self.line.name();
        // 8 data bits, no parity, one stop bit and exclusive use are the builder's defaults.
        let opened = SerialStream::open(&tokio_serial::new(port.clone(), self.line.baud));
        let cleared = opened.and_then(|stream| stream.clear(ClearBuffer::All).map(|()| stream));
        let stream = cleared.map_err(|source| match source.kind {
            tokio_serial::ErrorKind::NoDevice => TurnstileError::Busy { port },
            _ => TurnstileError::Open { port, source },
        })?;
        (self.open, self.answered) = (Some(stream), true);
        Ok(())
    }

    fn stray(&self) {
        self.strays.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn exchange(&mut self, address: u8, exchange: &Exchange) -> Answer {
        let port = self.line.name();
        let failed = |source: io::Error| TurnstileError::Line { port: port.clone(), source };
        let Some(stream) = &mut self.open else { return Err(self.not_connected()) };
        // What is there already answers something older.
        if stream.bytes_to_read().map_err(|e| failed(e.into()))? > 0 {
            stream.clear(ClearBuffer::Input).map_err(|e| failed(e.into()))?;
            self.strays.send_modify(|count| *count = count.wrapping_add(1));
        }
        if exchange.deadline.is_some_and(|deadline| self.clock.monotonic() > deadline) {
            return Err(TurnstileError::Late { port });
        }
        let sent = timeout(SENT_WITHIN, send(stream, exchange)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?;
        let Some(find) = &exchange.find else { return Ok(Vec::new()) };
        let mut answer = Hearing { stream, heard: Vec::new(), noise: 0 };
        let answered = timeout(ANSWER_WITHIN, answer.listen(find, exchange.gap)).await;
        let noise = answer.noise + answer.heard.len();
        if noise > 0 {
            self.stray();
        }
        match answered {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(source)) => Err(failed(source)),
            Err(_) if noise > 0 => {
                let what =
                    format!("{} came, and no whole answer", crate::timing::counted(noise, "byte"));
                Err(TurnstileError::Garbled { port, address, what })
            }
            Err(_) => Err(TurnstileError::NoAnswer { port, address, within: ANSWER_WITHIN }),
        }
    }
}

async fn over(spacing: &mut Option<Pin<Box<Sleep>>>) {
    match spacing {
        Some(spacing) => spacing.await,
        None => std::future::pending().await,
    }
}

/// Something that comes unasked, while the port is open.
async fn read(open: &mut Option<SerialStream>, bytes: &mut [u8]) -> io::Result<usize> {
    match open {
        Some(stream) => whole(stream.read(bytes).await),
        None => std::future::pending().await,
    }
}

/// The end of a serial line is its loss.
fn whole(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        read => read,
    }
}

async fn send(stream: &mut SerialStream, exchange: &Exchange) -> io::Result<()> {
    stream.write_all(&exchange.send).await?;
    // An answer says that the bytes have left. Without one they are watched; draining the port by
    // the system call for it would block this thread.
    while exchange.find.is_none() && stream.bytes_to_write()? > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// What came after a command.
struct Hearing<'a> {
    stream: &'a mut SerialStream,
    /// Of which the codec may make a frame yet.
    heard: Vec<u8>,
    /// Bytes passed over.
    noise: usize,
}

impl Hearing<'_> {
    async fn listen(&mut self, find: &Find, gap: Option<Duration>) -> io::Result<Vec<u8>> {
        let mut chunk = [0; CHUNK];
        loop {
            let time_limit = gap.filter(|_| !self.heard.is_empty()).unwrap_or(Duration::MAX);
            let Ok(read) = timeout(time_limit, self.stream.read(&mut chunk)).await else {
                self.noise += std::mem::take(&mut self.heard).len();
                continue;
            };
            let read = whole(read)?;
            self.heard.extend(chunk.iter().take(read));
            match find(&self.heard) {
                Found::Nothing { passed_over } => {
                    self.pass_over(passed_over.max(self.heard.len().saturating_sub(CHUNK)));
                }
                Found::Answer { passed_over, len } => {
                    self.pass_over(passed_over);
                    let rest = self.heard.split_off(len.min(self.heard.len()));
                    return Ok(std::mem::replace(&mut self.heard, rest));
                }
            }
        }
    }

    fn pass_over(&mut self, bytes: usize) {
        self.noise += self.heard.drain(..bytes.min(self.heard.len())).len();
    }
}
