//! One session of TCP 843: login, rows, heartbeats and the list of workers. Pure.
//!
//! The session asks one thing at a time, because an answer to a row says nothing but its command.
//! An answer that was not asked for ends the session. Nothing is taken for a verdict then.

use std::sync::{Arc, Mutex, PoisonError};

use encoding_rs::GBK;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{
    frame::{Bcc, Frame, Reader, SessionId, encode},
    list::{self, Form, Listed, Parts},
};
use crate::{
    uplink::profiles::{Dialogue, Moment, Parcel, Said, Verdict},
    words::words,
};

/// The commands.
pub const LOGIN: u16 = 843;
pub const ATTENDANCE: u16 = 848;
pub const LIST: u16 = 849;
pub const HEARTBEAT: u16 = 65_535;

/// Number of workers of a list in one command to the gateway.
const AT_ONCE: usize = 100;
/// Minimum interval between two questions for the list, if it did not come, or if the roster has
/// changed.
const LIST_AGAIN: SignedDuration = SignedDuration::from_secs(300);

words! {
    /// Which workers are asked for.
    #[derive(Default)]
    pub enum Whitelist {
        Off = "off",
        /// All of them, each time.
        #[default]
        All = "all",
        /// All of them at first, then those that have changed since.
        Changes = "changes",
    }
}

/// Whose session number a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    /// The platform's: zeros at the login, then the number in its answer.
    Platform,
    /// A random one.
    Random,
    /// The number that the platform's operator gave.
    Given(SessionId),
}

/// What the sessions of one upstream have in common.
#[derive(Debug)]
pub struct Terms {
    pub version: u8,
    pub form: Form,
    pub numbered: Numbered,
    pub heartbeat_s: u64,
    pub whitelist: Whitelist,
    pub list_every: SignedDuration,
    /// Words that say that the platform has a row already.
    pub repeat_words: Vec<String>,
    /// Words that say that the platform takes the row in a new session.
    pub later_words: Vec<String>,
    pub timezone: TimeZone,
    /// When the list is due. It outlives a session, so that a list that ends each session is asked
    /// for seldom.
    pub list: Mutex<ListTimes>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ListTimes {
    next: Option<Timestamp>,
    /// When the list that came last was asked for.
    last: Option<Timestamp>,
    /// When it was asked for, whether it came or not.
    asked: Option<Timestamp>,
    /// Number of changes of the roster, and of those that the list has followed.
    changes: u64,
    followed: u64,
}

impl ListTimes {
    /// Returns whether the list may name a worker who was not on the roster before.
    fn is_behind(&self) -> bool {
        self.changes != self.followed
    }

    fn is_due(&self, now: Timestamp, every: SignedDuration) -> bool {
        let again = LIST_AGAIN.min(every);
        // A clock that was set back must not put the list off for long.
        let rested = |asked: Timestamp| now < asked || now.duration_since(asked) >= again;
        let over =
            |next: Timestamp| now >= next || next.duration_since(now) > every.max(LIST_AGAIN);
        self.next.is_none_or(over) || self.is_behind() && self.asked.is_none_or(rested)
    }
}

impl Terms {
    /// Takes in that the roster has changed.
    pub fn roster_changed(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).changes += 1;
    }
}

/// The 32 bytes of a vendor's or device's code.
pub type Code = [u8; 32];

/// Returns a code with zeros behind it; `None` if it is not 1 to 32 visible characters of ASCII.
pub fn padded(code: &str) -> Option<Code> {
    let visible = code.bytes().all(|byte| byte.is_ascii_graphic());
    let mut padded = [0; 32];
    padded
        .get_mut(..code.len())
        .filter(|_| visible && !code.is_empty())?
        .copy_from_slice(code.as_bytes());
    Some(padded)
}

/// Returns a time of the site as BCD: two bytes for the year, one each for month, day, hour, minute
/// and second.
pub fn bcd(at: Timestamp, timezone: &TimeZone) -> [u8; 7] {
    let at = at.to_zoned(timezone.clone()).datetime();
    let two = |n: i16| u8::try_from(n / 10 % 10 * 16 + n % 10).unwrap_or_default();
    let small = |n: i8| two(n.into());
    [
        two(at.year() / 100),
        two(at.year() % 100),
        small(at.month()),
        small(at.day()),
        small(at.hour()),
        small(at.minute()),
        small(at.second()),
    ]
}

/// Some workers of a list, as a command to the gateway.
#[derive(Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub id: String,
    pub at: Timestamp,
    pub workers: Vec<Listed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Login,
    Row { resent: bool },
    List,
    Heartbeat,
}

impl Awaited {
    fn command(self) -> u16 {
        match self {
            Awaited::Login => LOGIN,
            Awaited::Row { .. } => ATTENDANCE,
            Awaited::List => LIST,
            Awaited::Heartbeat => HEARTBEAT,
        }
    }
}

/// The session of one device.
pub struct Session {
    terms: Arc<Terms>,
    login: Vec<u8>,
    device: Code,
    /// Whether this session asks for the list.
    lists: bool,
    number: SessionId,
    reader: Reader,
    ready: bool,
    awaited: Option<Awaited>,
    parts: Parts,
    /// When the list was asked for, and the changes of the roster before.
    asked: Option<(Moment, u64)>,
}

impl Session {
    pub fn new(terms: Arc<Terms>, vendor: &Code, device: Code, lists: bool) -> Session {
        let login = terms.form.bcc.sealed([*vendor, device].concat());
        Session {
            lists: lists && terms.whitelist != Whitelist::Off,
            terms,
            login,
            device,
            number: SessionId::default(),
            reader: Reader::default(),
            ready: false,
            awaited: None,
            parts: Parts::default(),
            asked: None,
        }
    }

    fn asks(&mut self, awaited: Awaited, content: &[u8]) -> Vec<u8> {
        self.awaited = Some(awaited);
        encode(self.terms.version, awaited.command(), &self.number, content)
    }

    fn times(&self) -> std::sync::MutexGuard<'_, ListTimes> {
        self.terms.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_is_due(&self, now: Timestamp) -> bool {
        self.lists && self.times().is_due(now, self.terms.list_every)
    }

    fn frame(&mut self, frame: Frame) -> Result<Vec<Said>, String> {
        let command = frame.command;
        if !matches!(command, LOGIN | ATTENDANCE | LIST | HEARTBEAT) {
            return Ok(Vec::new());
        }
        let awaited = self.awaited.filter(|awaited| awaited.command() == command);
        let adopts = awaited == Some(Awaited::Login) && self.terms.numbered == Numbered::Platform;
        if adopts && !frame.failed {
            self.number = frame.session;
        } else if !adopts && frame.session != self.number {
            return Err(format!("it answers {command} with the number of another session"));
        }
        let Some(awaited) = awaited else {
            // A platform may send heartbeats itself.
            return match command {
                HEARTBEAT => Ok(Vec::new()),
                _ => Err(format!("it answers {command}, which was not asked")),
            };
        };
        self.awaited = None;
        match awaited {
            Awaited::Login if frame.failed => Ok(vec![Said::LoginRefused(self.text(&frame))]),
            Awaited::Login => {
                self.ready = true;
                Ok(vec![Said::Ready])
            }
            Awaited::Heartbeat if frame.failed => Ok(vec![Said::Over(self.text(&frame))]),
            Awaited::Heartbeat => Ok(vec![Said::Answer]),
            Awaited::Row { resent } => self.judged(&frame, resent),
            Awaited::List if frame.failed => {
                let note = format!("the platform gave no list of workers: {}", self.text(&frame));
                Ok(vec![Said::Answer, Said::Note(note)])
            }
            Awaited::List => Ok(self.listed(&frame)),
        }
    }

    fn judged(&self, frame: &Frame, resent: bool) -> Result<Vec<Said>, String> {
        if !frame.failed {
            let intact = frame.content.is_empty() || self.bcc().opened(&frame.content).is_some();
            return match intact {
                true => Ok(vec![Said::Verdict(Verdict::Taken)]),
                false => Err("its answer to a record has a wrong check byte".to_owned()),
            };
        }
        let words = self.text(frame);
        let has = |some: &[String]| some.iter().any(|word| words.contains(word.as_str()));
        Ok(if resent && has(&self.terms.repeat_words) {
            vec![Said::Verdict(Verdict::Taken)]
        } else if has(&self.terms.later_words) {
            vec![Said::Verdict(Verdict::NotNow(words.clone())), Said::Over(words)]
        } else {
            vec![Said::Verdict(Verdict::Refused(words))]
        })
    }

    fn listed(&mut self, frame: &Frame) -> Vec<Said> {
        let whole = match self.parts.add(self.bcc(), frame) {
            Ok(Some(whole)) => whole,
            Ok(None) => {
                self.awaited = Some(Awaited::List);
                return Vec::new();
            }
            Err(error) => {
                self.parts = Parts::default();
                return vec![
                    Said::Answer,
                    Said::Note(format!("the platform gave no list of workers: {error}")),
                ];
            }
        };
        let Some((asked, changes)) = self.asked.take() else { return vec![Said::Answer] };
        let next = asked.at.checked_add(self.terms.list_every).ok();
        {
            let mut times = self.times();
            (times.next, times.last, times.followed) = (next, Some(asked.at), changes);
        }
        let (workers, unreadable) = list::workers(&whole, self.terms.form);
        let command = |(n, some): (usize, &[Listed])| {
            let id = format!("{LIST}-{}-{n}", hex::encode(asked.nonce));
            let some = Batch { id, at: asked.at, workers: some.to_vec() };
            serde_json::to_vec(&some).ok().map(Said::Command)
        };
        let commands = workers.chunks(AT_ONCE).enumerate().filter_map(command);
        let unreadable = (unreadable > 0).then_some(Said::Unreadable(unreadable));
        std::iter::once(Said::Answer).chain(commands).chain(unreadable).collect()
    }

    fn bcc(&self) -> Bcc {
        self.terms.form.bcc
    }

    /// Returns the reason in a refusal. Some platforms put a check byte after it.
    fn text(&self, frame: &Frame) -> String {
        let bytes = self.bcc().opened(&frame.content).unwrap_or(&frame.content);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => GBK.decode(bytes).0.into_owned(),
        };
        match text.trim_matches(|c: char| c == '\0' || c.is_whitespace()) {
            "" => "the platform gave no reason".to_owned(),
            text => text.to_owned(),
        }
    }
}

impl Dialogue for Session {
    fn begin(&mut self, moment: &Moment) -> Vec<u8> {
        self.number = match self.terms.numbered {
            Numbered::Platform => SessionId::default(),
            Numbered::Random => moment.nonce,
            Numbered::Given(number) => number,
        };
        (self.reader, self.parts) = Default::default();
        (self.ready, self.asked) = (false, None);
        let login = self.login.clone();
        self.asks(Awaited::Login, &login)
    }

    fn deliver(&mut self, row: &Parcel) -> Vec<u8> {
        self.asks(Awaited::Row { resent: row.resent }, &row.message.payload)
    }

    fn heard(&mut self, bytes: &[u8]) -> Result<Vec<Said>, String> {
        self.reader.push(bytes);
        let mut all = Vec::new();
        while let Some(frame) = self.reader.next().map_err(|error| error.to_string())? {
            all.extend(self.frame(frame)?);
        }
        Ok(all)
    }

    fn due(&mut self, idle_s: u64, moment: &Moment) -> Option<Vec<u8>> {
        if !self.ready || self.awaited.is_some() {
            return None;
        }
        if self.list_is_due(moment.at) {
            let (since, changes) = {
                let mut times = self.times();
                times.next = moment.at.checked_add(LIST_AGAIN.min(self.terms.list_every)).ok();
                times.asked = Some(moment.at);
                // A worker who is new at the gate may have been on the list for long.
                let only_changes = self.terms.whitelist == Whitelist::Changes && !times.is_behind();
                (times.last.filter(|_| only_changes), times.changes)
            };
            let since = since.map_or([0xff; 7], |since| bcd(since, &self.terms.timezone));
            self.asked = Some((*moment, changes));
            let content = self.bcc().sealed([&self.device[..], &since].concat());
            return Some(self.asks(Awaited::List, &content));
        }
        (idle_s >= self.terms.heartbeat_s).then(|| self.asks(Awaited::Heartbeat, &[]))
    }
}

#[cfg(test)]
mod tests;
