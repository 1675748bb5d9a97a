//! The task of one serial line: it picks the next exchange, sends the command and reads the answer.

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
use tracing::{error, info};

use super::{
    Answer, EXCHANGES, Exchange, Job, Turn,
    hearing::{CHUNK, Hearing},
};
use crate::{
    clock::Clock,
    supervision::caught,
    turnstile::{error::TurnstileError, settings::SerialLine},
};

/// Timeout for an answer. It includes the transmission of the command: a 7E/7F command and its
/// answer take 217 ms at 1200 baud, and 27 ms at 9600. A controller needs up to about 50 ms more.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);
/// Timeout for sending a command. After it the port is closed.
const SENT_WITHIN: Duration = Duration::from_millis(300);
/// Interval between attempts to reach silent devices. The other devices have the line meanwhile.
const SPACING: Duration = Duration::from_millis(500);

/// The task's state.
pub(super) struct Master {
    line: SerialLine,
    clock: Arc<dyn Clock>,
    jobs: mpsc::Receiver<Job>,
    strays: watch::Sender<u64>,
    /// Jobs taken from `jobs`, so that urgent ones can go first. At most [`EXCHANGES`].
    waiting: VecDeque<Job>,
    open: Option<SerialStream>,
    /// The current session of each address.
    sessions: HashMap<u8, u64>,
    /// While it runs, devices that have not answered yet wait, if another device has a session.
    spacing: Option<Pin<Box<Sleep>>>,
    /// Whether the last exchange that expects an answer got it.
    answered: bool,
    /// Whether the adapter echoes what is sent, by the last exchange that shows it.
    echoes: bool,
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
            echoes: false,
        }
    }

    pub async fn run(mut self) {
        // After a panic the queues are still consistent, and the port is opened again.
        while let Err(fault) = caught(self.serve()).await {
            error!(port = %self.line.port.display(), %fault, "the serial line's task starts again");
            self.close();
        }
    }

    fn close(&mut self) {
        self.open = None;
        self.sessions.clear();
    }

    /// Serves jobs until no sender is left.
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
                    // The jobs left wait for the spacing, and no driver waits for their answers.
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

    /// Returns the job whose turn it is.
    fn next(&mut self) -> Option<Job> {
        // A job is dropped when its driver no longer waits for the answer.
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
        // A frame begins after a silence of 3.5 characters. Source: MODBUS over Serial Line V1.02.
        sleep(Duration::from_micros(38_500_000 / u64::from(self.line.baud.max(1)))).await;
    }

    fn not_connected(&self) -> TurnstileError {
        TurnstileError::NotConnected { port: self.line.name() }
    }

    fn open(&mut self) -> Result<(), TurnstileError> {
        // The adapter may be stuck. So the port is opened again, unless other sessions use it.
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
        (self.open, self.answered, self.echoes) = (Some(stream), true, false);
        Ok(())
    }

    fn stray(&self) {
        self.strays.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn exchange(&mut self, address: u8, exchange: &Exchange) -> Answer {
        let port = self.line.name();
        let failed = |source: io::Error| TurnstileError::Line { port: port.clone(), source };
        let Some(stream) = &mut self.open else { return Err(self.not_connected()) };
        // Bytes that are already here belong to an older command.
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
        let mut answer = Hearing::new(exchange, find, self.echoes);
        let answered = timeout(ANSWER_WITHIN, listen(stream, &mut answer, exchange.gap)).await;
        let (echoes, noise, echoed) = (answer.shows_echo(), answer.noise(), answer.echoed);
        // A late answer of a controller that another lane uses says nothing about this address.
        let is_unknown = |other: &u8| *other != address && !self.sessions.contains_key(other);
        let other = exchange.whose.and_then(|whose| whose(answer.passed())).filter(is_unknown);
        if let Some(echoes) = echoes.filter(|echoes| *echoes != self.echoes) {
            self.echoes = echoes;
            info!(port, echoes, "whether the adapter echoes what is sent; an echo is no answer");
        }
        if noise > 0 {
            self.stray();
        }
        match (answered, other) {
            (Ok(Ok(frame)), _) => Ok(frame),
            (Ok(Err(source)), _) => Err(failed(source)),
            (Err(_), Some(other)) => Err(TurnstileError::OtherAddress { port, address, other }),
            (Err(_), None) if noise > 0 => {
                let what =
                    format!("{} came, but no whole answer", crate::words::counted(noise, "byte"));
                Err(TurnstileError::Garbled { port, address, what })
            }
            (Err(_), None) => {
                Err(TurnstileError::NoAnswer { port, address, within: ANSWER_WITHIN, echoed })
            }
        }
    }
}

async fn over(spacing: &mut Option<Pin<Box<Sleep>>>) {
    match spacing {
        Some(spacing) => spacing.await,
        None => std::future::pending().await,
    }
}

/// Reads unrequested bytes. Waits forever while the port is closed.
async fn read(open: &mut Option<SerialStream>, bytes: &mut [u8]) -> io::Result<usize> {
    match open {
        Some(stream) => whole(stream.read(bytes).await),
        None => std::future::pending().await,
    }
}

/// Turns the end of the stream into an error: a serial line ends only when its port is lost.
fn whole(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        read => read,
    }
}

/// Reads until the whole answer is here. A pause longer than `gap` ends a frame.
async fn listen(
    stream: &mut SerialStream,
    answer: &mut Hearing<'_>,
    gap: Option<Duration>,
) -> io::Result<Vec<u8>> {
    let mut chunk = [0; CHUNK];
    loop {
        let time_limit = gap.filter(|_| answer.has_begun()).unwrap_or(Duration::MAX);
        let Ok(read) = timeout(time_limit, stream.read(&mut chunk)).await else {
            answer.break_off();
            continue;
        };
        let read = whole(read)?;
        if let Some(frame) = answer.hear(chunk.get(..read).unwrap_or_default()) {
            return Ok(frame);
        }
    }
}

async fn send(stream: &mut SerialStream, exchange: &Exchange) -> io::Result<()> {
    stream.write_all(&exchange.send).await?;
    // An answer shows that the bytes have left the port. Without an answer the output queue is
    // polled, because the system call that drains it (tcdrain) would block this thread.
    while exchange.find.is_none() && stream.bytes_to_write()? > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
