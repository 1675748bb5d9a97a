//! The task of one session over TCP: connects, carries the bytes of a [`Dialogue`], and connects
//! again.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, lookup_host},
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{Came, login_refused};
use crate::{
    clock::{Clock, Monotonic},
    config::PlatformUrl,
    supervision::{Backoff, Refusals},
    uplink::{
        mqtt::jittered,
        profiles::{Dialogue, Moment, Parcel, Said, Verdict},
        wire::WireError,
    },
};

/// Timeout of a connection.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);
/// Maximum time of one answer, however slowly its bytes come.
const WHOLE_ANSWER: Duration = Duration::from_secs(600);
/// Interval between looks at what is due.
const TICK: Duration = Duration::from_secs(1);
/// Size of one read.
const READ: usize = 16 * 1024;

/// A row on its way, and where its verdict goes.
pub(super) struct Ask {
    pub row: Parcel,
    pub answer: oneshot::Sender<Verdict>,
    /// Told when the row goes. If nobody waits for that, it does not go.
    pub begins: oneshot::Sender<()>,
}

/// The state of a session.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Its first attempt is under way.
    Begins,
    Up,
    Down(WireError),
}

pub(super) struct Line {
    pub topic: String,
    pub url: PlatformUrl,
    pub dialogue: Box<dyn Dialogue>,
    pub answers_within: Duration,
    pub clock: Arc<dyn Clock>,
    pub asked: mpsc::Receiver<Ask>,
    pub state: watch::Sender<State>,
    pub came: Arc<Came>,
    pub awaited: Option<Awaited>,
}

/// What the session waits for.
pub(super) struct Awaited {
    since: Monotonic,
    /// When bytes last came, or were sent.
    heard: Monotonic,
    /// For a row: where the verdict goes.
    answer: Option<oneshot::Sender<Verdict>>,
}

impl Line {
    /// Keeps the session up until the link drops it.
    pub(super) async fn run(mut self) {
        let (mut backoff, mut logins) = (Backoff::default(), Refusals::default());
        loop {
            let began = self.clock.monotonic();
            let error = self.session().await;
            if matches!(&*self.state.borrow(), State::Up) {
                logins.over();
            }
            tracing::warn!(url = %self.url, session = self.topic, %error, "a session is down");
            let pause = match error.cause.is_login() {
                true => logins.refused(),
                false => jittered(backoff.after(self.clock.monotonic().since(began))),
            };
            self.state.send_replace(State::Down(error));
            // The link learns that its row has no verdict after it can see that the session is down.
            self.awaited = None;
            let rest = sleep(pause);
            tokio::pin!(rest);
            loop {
                tokio::select! {
                    () = &mut rest => break,
                    // A row that came too late is not taken: its answer is dropped.
                    late = self.asked.recv() => if late.is_none() { return },
                }
            }
        }
    }

    /// Runs one connection. Returns why it ended.
    async fn session(&mut self) -> WireError {
        match self.connected().await {
            Ok(mut stream) => match self.exchange(&mut stream).await {
                Ok(()) => WireError::new("the link ends"),
                Err(error) => error,
            },
            Err(error) => error,
        }
    }

    async fn connected(&self) -> Result<TcpStream, WireError> {
        let (host, port) = (self.url.host(), self.url.port());
        let connect = async {
            let mut last = None;
            for address in lookup_host((host.as_str(), port)).await? {
                let socket = match address.is_ipv4() {
                    true => TcpSocket::new_v4()?,
                    false => TcpSocket::new_v6()?,
                };
                socket.set_keepalive(true)?;
                match socket.connect(address).await {
                    Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| std::io::Error::other("the host has no address")))
        };
        match timeout(CONNECTS_WITHIN, connect).await {
            Ok(connected) => connected.map_err(WireError::new),
            Err(_) => Err(WireError::new(format!("no connection within {CONNECTS_WITHIN:?}"))),
        }
    }

    /// Carries bytes until the connection fails, or the link drops this session.
    async fn exchange(&mut self, stream: &mut TcpStream) -> Result<(), WireError> {
        let moment = self.moment()?;
        let login = self.dialogue.begin(&moment);
        let mut sent = self.send(stream, &login).await?;
        self.awaited = Some(Awaited { since: sent, heard: sent, answer: None });
        let mut up = false;
        let mut buffer = vec![0; READ];
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let idle = up && self.awaited.is_none();
            tokio::select! {
                read = stream.read(&mut buffer) => {
                    let bytes = match read {
                        Ok(0) => return Err(WireError::new("the platform hung up")),
                        Ok(count) => buffer.get(..count).unwrap_or_default(),
                        Err(error) => return Err(WireError::new(error)),
                    };
                    if let Some(awaited) = &mut self.awaited {
                        awaited.heard = self.clock.monotonic();
                    }
                    for said in self.dialogue.heard(bytes).map_err(WireError::new)? {
                        up |= self.take_in(said)?;
                    }
                }
                ask = self.asked.recv(), if idle => {
                    let Some(Ask { row, answer, begins }) = ask else { return Ok(()) };
                    if begins.send(()).is_err() {
                        continue;
                    }
                    let bytes = self.dialogue.deliver(&row);
                    sent = self.send(stream, &bytes).await?;
                    self.awaited =
                        Some(Awaited { since: sent, heard: sent, answer: Some(answer) });
                }
                _ = tick.tick() => {
                    let now = self.clock.monotonic();
                    if let Some(Awaited { since, heard, .. }) = &self.awaited {
                        let silent = now.since(*heard) >= self.answers_within;
                        if silent || now.since(*since) >= WHOLE_ANSWER {
                            let within = now.since(*since).as_secs();
                            let problem = format!("the platform has not answered within {within} s");
                            return Err(WireError::new(problem));
                        }
                    }
                    if idle {
                        let moment = self.moment()?;
                        if let Some(bytes) = self.dialogue.due(now.since(sent).as_secs(), &moment) {
                            sent = self.send(stream, &bytes).await?;
                            self.awaited =
                                Some(Awaited { since: sent, heard: sent, answer: None });
                        }
                    }
                }
            }
        }
    }

    /// Returns whether the platform accepted the login.
    fn take_in(&mut self, said: Said) -> Result<bool, WireError> {
        match said {
            Said::Ready => {
                self.awaited = None;
                // Rows that were meant for the session before are not sent over this one.
                while self.asked.try_recv().is_ok() {}
                tracing::info!(url = %self.url, session = self.topic, "a session is up");
                let before = self.state.send_replace(State::Up);
                if matches!(before, State::Down(_)) {
                    self.came.change(|kept| kept.came_back = true);
                }
                return Ok(true);
            }
            Said::LoginRefused(words) => return Err(login_refused(&words)),
            Said::Verdict(verdict) => {
                if let Some(answer) = self.awaited.take().and_then(|awaited| awaited.answer) {
                    // The link may have ended meanwhile. The row is sent again then.
                    let _ = answer.send(verdict);
                }
            }
            Said::Answer => self.awaited = None,
            Said::Command(payload) => self.came.command(payload),
            Said::Unreadable(entries) => self.came.change(|kept| kept.unreadable += entries),
            Said::Note(note) => self.came.change(|kept| kept.note = Some(note)),
            Said::Over(words) => {
                return Err(WireError::new(format!("the platform wants a new login: {words}")));
            }
        }
        Ok(false)
    }

    /// Sends bytes. Returns the time.
    async fn send(&self, stream: &mut TcpStream, bytes: &[u8]) -> Result<Monotonic, WireError> {
        let within = self.answers_within;
        match timeout(within, stream.write_all(bytes)).await {
            Ok(written) => written.map_err(WireError::new)?,
            Err(_) => {
                let problem = format!("the platform has not read a record within {within:?}");
                return Err(WireError::new(problem));
            }
        }
        Ok(self.clock.monotonic())
    }

    fn moment(&self) -> Result<Moment, WireError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(WireError::new)?;
        let at: Timestamp = self.clock.stamp().timestamp();
        Ok(Moment { at, nonce })
    }
}
