//! The task of one reader: it holds the port, and feeds the codec.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::unix::pipe,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};
use tokio_util::sync::CancellationToken;

use super::{Given, Heard, Reader, ReaderDriver, keyboard};
use crate::{
    clock::{Clock, Monotonic},
    supervision::{Backoff, caught},
};

/// Maximum number of readings that wait for the lane. When the lane does not take them, the newest
/// is dropped and counted.
pub const READINGS: usize = 8;
/// Bytes that are read at once.
const CHUNK: usize = 512;
/// Timeout for sending a request.
const SENT_WITHIN: Duration = Duration::from_millis(300);
/// Longest wait without a deadline of the codec.
const IDLE: Duration = Duration::from_secs(5);

/// A card that a reader read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The card.
    pub heard: Heard,
    /// When it was read.
    pub at: Monotonic,
}

/// A reader's state in `status`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReaderState {
    /// The port is open, and a reader that answers requests has answered.
    pub connected: bool,
    /// Since when it is connected, or is not.
    pub since: Monotonic,
    /// The fault, while it is not connected.
    pub error: Option<String>,
    /// Number of cards read; a card that stays on the reader may count several times.
    pub read: u64,
    /// Number of lines and frames that could not be read.
    pub unreadable: u64,
    /// The latest of them, for a person, and its time.
    pub last_unreadable: Option<(String, Monotonic)>,
    /// Number of cards that the lane did not take in time.
    pub dropped: u64,
}

/// Starts the task of a reader. It runs until it is cancelled.
pub fn spawn(
    reader: &Reader,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) -> (mpsc::Receiver<Reading>, watch::Receiver<ReaderState>) {
    let (readings, taken) = mpsc::channel(READINGS);
    let since = clock.monotonic();
    let (state, shown) = watch::channel(ReaderState { since, ..ReaderState::default() });
    let task = Task { reader: reader.clone(), clock, readings, state };
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = task.run() => {}
        }
    });
    (taken, shown)
}

struct Task {
    reader: Reader,
    clock: Arc<dyn Clock>,
    readings: mpsc::Sender<Reading>,
    state: watch::Sender<ReaderState>,
}

impl Task {
    /// Opens the port again after each fault.
    async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let begun = self.clock.monotonic();
            let fault = match caught(self.serve()).await {
                Ok(fault) => fault,
                Err(panic) => panic.to_string(),
            };
            let now = self.clock.monotonic();
            let repeated = self.state.borrow().error.as_ref() == Some(&fault);
            if !repeated {
                tracing::warn!(reader = %self.reader.name, %fault, "a reader does not work");
            }
            self.state.send_modify(|state| {
                if state.connected || state.error.is_none() {
                    (state.connected, state.since) = (false, now);
                }
                state.error = Some(fault);
            });
            tokio::time::sleep(backoff.after(now.since(begun))).await;
        }
    }

    /// Reads from the port until it fails, and returns the fault.
    async fn serve(&self) -> String {
        if self.reader.driver == ReaderDriver::Keyboard {
            let port = &self.reader.port;
            let opened = keyboard::open(port).and_then(|file| {
                let failed = |error| format!("{} failed: {error}", port.display());
                Ok((pipe::Receiver::from_file_unchecked(file).map_err(failed)?, tokio::io::sink()))
            });
            return match opened {
                Ok((events, sink)) => {
                    self.serve_on(tokio::io::join(events, sink), &port.display().to_string()).await
                }
                Err(fault) => fault,
            };
        }
        let line = self.reader.line();
        let port = line.name();
        let opened = SerialStream::open(&tokio_serial::new(port.clone(), line.baud))
            .and_then(|stream| stream.clear(ClearBuffer::All).map(|()| stream));
        match opened {
            Ok(stream) => self.serve_on(stream, &port).await,
            Err(error) if error.kind == tokio_serial::ErrorKind::NoDevice => {
                format!(
                    "{port} is in use by another program; stop that program or configure another \
                     port"
                )
            }
            Err(error) => {
                format!(
                    "cannot open {port}: {error}; check that the reader is plugged in, that the \
                     configuration names its port, and that this user may use it (group dialout)"
                )
            }
        }
    }

    async fn serve_on(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        port: &str,
    ) -> String {
        let mut codec = self.reader.codec();
        // A reader that answers requests counts as connected at its first answer.
        if codec.due().is_none() {
            self.works();
        }
        let mut chunk = [0; CHUNK];
        loop {
            let now = self.clock.monotonic();
            let wait = codec.due().map_or(IDLE, |due| due.since(now)).min(IDLE);
            match timeout(wait, stream.read(&mut chunk)).await {
                Ok(Ok(0)) => return format!("{port} was closed; check that it is plugged in"),
                Ok(Ok(read)) => {
                    let now = self.clock.monotonic();
                    let bytes = chunk.get(..read).unwrap_or_default();
                    for heard in codec.hear(bytes, now) {
                        self.hears(heard, now);
                    }
                }
                Ok(Err(error)) => {
                    return format!("{port} failed: {error}; check that it is still plugged in");
                }
                Err(_) => {}
            }
            let now = self.clock.monotonic();
            if codec.due().is_none_or(|due| due > now) {
                continue;
            }
            let (heard, request) = codec.tick(now);
            heard.into_iter().for_each(|heard| self.hears(heard, now));
            if request.is_empty() {
                continue;
            }
            match timeout(SENT_WITHIN, stream.write_all(&request)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    return format!("{port} failed: {error}; check that it is still plugged in");
                }
                Err(_) => return format!("{port} takes no bytes; check the adapter"),
            }
        }
    }

    fn works(&self) {
        let now = self.clock.monotonic();
        self.state.send_if_modified(|state| {
            let changes = !state.connected;
            if changes {
                (state.connected, state.since, state.error) = (true, now, None);
            }
            changes
        });
    }

    fn hears(&self, heard: Heard, at: Monotonic) {
        match heard {
            Heard::Present => self.works(),
            Heard::Silent(what) => self.state.send_modify(|state| {
                if state.connected || state.error.is_none() {
                    (state.connected, state.since) = (false, at);
                }
                state.error = Some(what);
            }),
            Heard::Unreadable(what) => {
                tracing::debug!(reader = %self.reader.name, what, "unreadable");
                self.state.send_modify(|state| {
                    state.unreadable += 1;
                    state.last_unreadable = Some((what, at));
                });
            }
            heard if Given::of(&heard).is_some_and(|given| !self.reader.accepts(given)) => {
                self.works();
                let given = Given::of(&heard).map_or("", Given::word);
                let what = format!("{given}, which accept does not list: it opens nothing here");
                self.hears(Heard::Unreadable(what), at);
            }
            heard @ (Heard::Card(_) | Heard::Code(_) | Heard::QrNumber(_) | Heard::IdCard(_)) => {
                self.works();
                let dropped = self.readings.try_send(Reading { heard, at }).is_err();
                self.state.send_modify(|state| {
                    state.read += 1;
                    state.dropped += u64::from(dropped);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
