//! Lines of text, 9600 8N1: a Wiegand converter sends `0A1B2C` CR, a 13.56 MHz reader sends ten
//! decimal digits CR LF, a QR engine the text of a code CR.
//!
//! A line ends at CR, LF, ETX, or after 150 ms of silence. STX before it is passed over.

use std::time::Duration;

use super::{Codec, Heard, text::Text};
use crate::clock::Monotonic;

/// The silence that ends a line.
const SILENCE: Duration = Duration::from_millis(150);
/// Maximum length of a line in bytes. The rest of a longer line is passed over.
pub const LINE_MAX: usize = 512;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;

pub(super) struct Line {
    text: Text,
    held: Vec<u8>,
    /// The line is longer than [`LINE_MAX`], and is passed over up to its end.
    too_long: bool,
    ends_at: Option<Monotonic>,
}

impl Line {
    pub(super) fn new(text: Text) -> Line {
        Line { text, held: Vec::new(), too_long: false, ends_at: None }
    }

    /// Returns what the line that ends now means.
    fn ended(&mut self) -> Option<Heard> {
        self.ends_at = None;
        let (line, too_long) = (std::mem::take(&mut self.held), std::mem::take(&mut self.too_long));
        if too_long {
            return Some(Heard::Unreadable(format!(
                "a line of more than {LINE_MAX} bytes: is this reader's driver line?"
            )));
        }
        let text = match std::str::from_utf8(&line) {
            Ok(text) => text.trim(),
            Err(_) => {
                let what = "bytes that are no text: see whether baud is the reader's speed, and the \
                            wires";
                return Some(Heard::Unreadable(what.to_owned()));
            }
        };
        if text.is_empty() {
            return None;
        }
        Some(self.text.means(text))
    }
}

impl Codec for Line {
    fn hear(&mut self, bytes: &[u8], now: Monotonic) -> Vec<Heard> {
        let mut heard: Vec<_> = self.tick(now).0;
        for byte in bytes {
            match *byte {
                b'\r' | b'\n' | STX | ETX => heard.extend(self.ended()),
                _ if self.held.len() >= LINE_MAX => self.too_long = true,
                byte => self.held.push(byte),
            }
        }
        self.ends_at = (!self.held.is_empty()).then(|| now + SILENCE);
        heard
    }

    fn due(&self) -> Option<Monotonic> {
        self.ends_at
    }

    fn tick(&mut self, now: Monotonic) -> (Vec<Heard>, Vec<u8>) {
        let over = self.ends_at.is_some_and(|at| now >= at);
        let heard = if over { self.ended() } else { None };
        (heard.into_iter().collect(), Vec::new())
    }
}

#[cfg(test)]
mod tests;
