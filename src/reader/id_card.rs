//! Resident identity cards (二代证), through the SAM of a reader at 115200 8N1.
//!
//! A frame is `AA AA AA 96 69`, a length of two bytes (it counts all bytes after it), the bytes,
//! and the XOR of length and bytes. The host polls: find a card, select it, read it. After a
//! reading the same card answers "none" until it is lifted. Sources: GA 450-2003, and the frames
//! that several reader vendors publish.
//!
//! The photo on the card is in a proprietary code and is passed over.

pub mod device;

use std::time::Duration;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Codec, Heard};
use crate::clock::Monotonic;

const HEAD: [u8; 5] = [0xAA, 0xAA, 0xAA, 0x96, 0x69];
/// Maximum value of a frame's length field: the data of a card with its photo and fingerprints.
const LENGTH_MAX: usize = 3 + 8 + 256 + 1024 + 1024 + 1;
/// Interval between two searches for a card.
const POLL: Duration = Duration::from_millis(300);
/// Timeout for an answer. The data of a card takes about a second.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);

const FOUND: u8 = 0x9F;
const NONE: u8 = 0x80;
const DONE: u8 = 0x90;
/// Bytes of text on a card.
const TEXT: usize = 256;

/// What a resident identity card holds of a person.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct IdCard {
    /// The name.
    pub name: String,
    /// `1` male, `2` female. Source: GB/T 2261.1.
    pub sex: String,
    /// The birth date, `19900307`.
    pub birth: String,
    /// The citizen's number, 18 characters.
    pub number: String,
    /// The last day of validity, `20360101`, or `长期`.
    pub until: String,
}

/// A card's data is personal, so it is not in logs.
impl std::fmt::Debug for IdCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdCard(…)")
    }
}

/// The host's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Looks for a card.
    Find,
    /// Selects the card that was found.
    Select,
    /// Reads text and photo.
    Read,
}

impl Request {
    fn code(self) -> [u8; 2] {
        match self {
            Request::Find => [0x20, 0x01],
            Request::Select => [0x20, 0x02],
            Request::Read => [0x30, 0x01],
        }
    }

    fn frame(self) -> Vec<u8> {
        frame(&self.code())
    }
}

/// Returns the frame of these bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len() + 1).unwrap_or(u16::MAX).to_be_bytes();
    let check = length.iter().chain(bytes).fold(0, |sum, byte| sum ^ byte);
    [&HEAD[..], &length, bytes, &[check]].concat()
}

/// Takes the first whole frame, without head, length and check, from the front of what was
/// received. Bytes before a frame are dropped. `None`: more bytes are needed.
fn take_frame(held: &mut Vec<u8>) -> Option<Result<Vec<u8>, &'static str>> {
    let head = memchr::memmem::find(held, &HEAD);
    // The end may be the beginning of a head.
    let noise = head.unwrap_or_else(|| held.len().saturating_sub(HEAD.len() - 1));
    held.drain(..noise);
    head?;
    let length = held.get(5..7)?.try_into().map(u16::from_be_bytes).ok()?;
    let length = usize::from(length);
    if !(1..=LENGTH_MAX).contains(&length) {
        held.drain(..HEAD.len());
        return Some(Err("a frame of an impossible length"));
    }
    let whole = 7 + length;
    let checked = held.get(HEAD.len()..whole)?;
    if checked.iter().fold(0, |sum, byte| sum ^ byte) != 0 {
        // A whole frame may begin within the damaged one.
        held.drain(..HEAD.len());
        return Some(Err("a frame with a wrong checksum"));
    }
    let frame: Vec<u8> = held.drain(..whole).collect();
    Some(Ok(frame.get(7..whole - 1).unwrap_or_default().to_vec()))
}

/// The host's side of the protocol.
pub(super) struct Sam {
    held: Vec<u8>,
    /// The request that waits for its answer, and its deadline.
    asked: Option<(Request, Monotonic)>,
    next: Option<(Request, Monotonic)>,
    /// Number of requests without an answer, one after another.
    silent: u32,
}

impl Default for Sam {
    fn default() -> Sam {
        let next = Some((Request::Find, Monotonic::default()));
        Sam { held: Vec::new(), asked: None, next, silent: 0 }
    }
}

impl Codec for Sam {
    fn hear(&mut self, bytes: &[u8], now: Monotonic) -> Vec<Heard> {
        self.held.extend_from_slice(bytes);
        let mut heard = Vec::new();
        while let Some(taken) = take_frame(&mut self.held) {
            heard.extend(match taken {
                Ok(answer) => self.answered(&answer, now),
                Err(what) => Some(unreadable(what)),
            });
        }
        heard
    }

    fn due(&self) -> Option<Monotonic> {
        self.asked.or(self.next).map(|(_, at)| at)
    }

    fn tick(&mut self, now: Monotonic) -> (Vec<Heard>, Vec<u8>) {
        let mut heard = Vec::new();
        if self.asked.is_some_and(|(_, until)| now >= until) {
            self.held.clear();
            self.silent = self.silent.saturating_add(1);
            if self.silent == SILENT {
                heard.push(Heard::Silent(see("the reader does not answer")));
            }
            self.then(Request::Find, now);
        }
        match self.next {
            Some((request, at)) if self.asked.is_none() && now >= at => {
                (self.asked, self.next) = (Some((request, now + ANSWER_WITHIN)), None);
                (heard, request.frame())
            }
            _ => (heard, Vec::new()),
        }
    }
}

/// Number of requests without an answer after which the reader counts as silent.
const SILENT: u32 = 3;

fn see(what: &str) -> String {
    format!("{what}: see whether baud is 115200, the port, and the wires")
}

fn unreadable(what: &str) -> Heard {
    Heard::Unreadable(see(what))
}

impl Sam {
    fn then(&mut self, request: Request, at: Monotonic) {
        (self.asked, self.next) = (None, Some((request, at)));
    }

    /// Takes the answer to the request that waits. An answer that nothing asked for is passed over.
    fn answered(&mut self, answer: &[u8], now: Monotonic) -> Option<Heard> {
        let (request, _) = self.asked?;
        self.silent = 0;
        let status = answer.get(2).copied();
        match (request, status) {
            (Request::Find, Some(FOUND)) => self.then(Request::Select, now),
            (Request::Select, Some(DONE)) => self.then(Request::Read, now),
            (Request::Read, Some(DONE)) => {
                self.then(Request::Find, now + POLL);
                return Some(match text(answer) {
                    Ok(card) => Heard::IdCard(Box::new(card)),
                    Err(what) => Heard::Unreadable(what.to_owned()),
                });
            }
            (Request::Find, Some(NONE)) => {
                self.then(Request::Find, now + POLL);
                return Some(Heard::Present);
            }
            // The card was lifted too early.
            (Request::Select | Request::Read, _) => {
                self.then(Request::Find, now + POLL);
                let what = "an identity card was lifted before it was read: hold it for a second";
                return Some(Heard::Unreadable(what.to_owned()));
            }
            (Request::Find, _) => {
                self.then(Request::Find, now + POLL);
                return Some(unreadable("an answer of another kind"));
            }
        }
        None
    }
}

/// Reads the text in the answer to [`Request::Read`]: status, two lengths, UTF-16LE.
fn text(answer: &[u8]) -> Result<IdCard, &'static str> {
    const SHORT: &str = "an answer without the data of a card";
    let length = answer.get(3..5).and_then(|two| two.try_into().ok()).map(u16::from_be_bytes);
    if length.map(usize::from) != Some(TEXT) {
        return Err(SHORT);
    }
    let text = answer.get(7..7 + TEXT).ok_or(SHORT)?;
    let field = |from: usize, bytes: usize| {
        let field = text.get(from..from + bytes).unwrap_or_default();
        let units: Vec<u16> = field
            .chunks_exact(2)
            .filter_map(|two| two.try_into().ok().map(u16::from_le_bytes))
            .collect();
        String::from_utf16(&units).map(|text| text.trim_matches(['\0', ' ']).to_owned())
    };
    let of = |from, bytes| field(from, bytes).map_err(|_| "a card whose text is damaged");
    // A permanent residence card of a foreigner has the letter I, and another layout.
    if of(248, 2)? == "I" {
        return Err("a foreigner's permanent residence card: a guard must release the turnstile");
    }
    Ok(IdCard {
        name: of(0, 30)?,
        sex: of(30, 2)?,
        birth: of(36, 16)?,
        number: of(122, 36)?,
        until: of(204, 16)?,
    })
}

#[cfg(test)]
mod tests;
