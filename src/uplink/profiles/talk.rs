//! What a profile says to a platform that answers each call, over HTTPS or TCP. Pure.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::message::{Message, Unmade};

/// The transport of a platform's messages.
#[derive(Clone)]
pub enum Talk {
    /// Publishes to a broker (`broker`).
    Mqtt,
    /// Calls over HTTPS (`url`).
    Https(Arc<dyn Calls>),
    /// Sessions over TCP (`url`).
    Tcp(Arc<dyn Sessions>),
}

/// A row on its way to such a platform.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The row's seq.
    pub seq: u64,
    /// The row's message.
    pub message: Message,
    /// Whether the platform may have it already.
    pub resent: bool,
}

/// What the platform says of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the row.
    Taken,
    /// It will never take the row as it is, in its words.
    Refused(String),
    /// It judges later; the number under which it is asked.
    Later(String),
    /// Not now. The row is offered again after a pause.
    NotNow(String),
}

/// What a call depends on besides.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall time.
    pub at: Timestamp,
    /// Random bytes, different for each call.
    pub nonce: [u8; 16],
}

/// A request by POST.
#[derive(Clone, Debug)]
pub struct Request {
    /// Added to the path of the `url`; may be empty.
    pub path: String,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The body, zeroised when it is dropped.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why an answer says nothing of the rows of its call. The connection is then given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The reason, in words that name the remedy.
    pub words: String,
    /// The platform refuses the account. The next attempt waits for minutes.
    pub is_login: bool,
}

impl<W: Into<String>> From<W> for Unusable {
    fn from(words: W) -> Unusable {
        Unusable { words: words.into(), is_login: false }
    }
}

/// The calls of a platform over HTTPS. Each answer is the body of an answer with status 200.
pub trait Calls: Send + Sync {
    /// Maximum number of rows of a call. They have their topic in common.
    fn at_once(&self) -> usize;

    /// Makes the request that delivers rows.
    fn deliver(&self, rows: &[Parcel], moment: &Moment) -> Result<Request, Unmade>;

    /// Reads the answer: the verdict on each row, in their order.
    fn delivered(&self, rows: &[Parcel], answer: &[u8]) -> Result<Vec<Verdict>, Unusable>;

    /// Makes the request that asks for a verdict, and `None` if the platform decides at once.
    fn inquire(&self, serial: &str, moment: &Moment) -> Option<Request>;

    /// Reads the answer: the verdict on all rows of the call, or `None` while there is none;
    /// [`Verdict::Later`] says in words why there is none. After [`Verdict::NotNow`] the rows are
    /// sent again, each by itself.
    fn inquired(&self, serial: &str, answer: &[u8]) -> Result<Option<Verdict>, Unusable>;
}

/// The sessions of a platform over TCP: one for each topic.
pub trait Sessions: Send + Sync {
    /// Returns the topics of the sessions that stand while the link is up.
    fn topics(&self) -> Vec<String>;

    /// Begins the session of a topic.
    fn session(&self, topic: &str) -> Box<dyn Dialogue>;

    /// Returns the timeout for an answer.
    fn answers_within(&self) -> Duration;
}

/// What comes of the bytes of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The platform accepted the login. Rows may go.
    Ready,
    /// The platform refused the login, in its words.
    LoginRefused(String),
    /// The verdict on the row that was sent last.
    Verdict(Verdict),
    /// The platform answered something else, such as a heartbeat.
    Answer,
    /// A command, for [`Profile::command`](super::Profile::command).
    Command(Vec<u8>),
    /// Number of illegible entries of a list, which were passed over.
    Unreadable(u64),
    /// What the platform did not do, in words for a person.
    Note(String),
    /// The platform wants a new session, in its words.
    Over(String),
}

/// One session over TCP, without its socket.
pub trait Dialogue: Send + Sync {
    /// Returns the bytes that open the session.
    fn begin(&mut self, moment: &Moment) -> Vec<u8>;

    /// Returns the bytes of a row. The session is ready and no other row is on its way.
    fn deliver(&mut self, row: &Parcel) -> Vec<u8>;

    /// Takes in bytes of the platform. The error ends the session.
    fn heard(&mut self, bytes: &[u8]) -> Result<Vec<Said>, String>;

    /// Returns what is due without a row, `idle_s` seconds after the last bytes were sent: a
    /// heartbeat, a question for the whitelist. Called each second while no answer is awaited.
    fn due(&mut self, idle_s: u64, moment: &Moment) -> Option<Vec<u8>>;
}
