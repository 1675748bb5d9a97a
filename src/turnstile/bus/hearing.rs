//! Finds the adapter's echo, noise and the answer among the bytes received after a command. It
//! touches no port.
//!
//! **Echo.** Some RS-485 adapters receive what they send. The echo is no answer, but the true answer
//! of some commands has the same bytes (Modbus FC05). The answers of other commands never have, and
//! these commands show whether the adapter echoes. Exactly the sent bytes are left out, once. While
//! the adapter echoes, a command whose answer may have the same bytes needs both: the echo and,
//! after it, the answer.

use super::{Exchange, Find};
use crate::turnstile::scan::Found;

/// Maximum number of bytes read at once, and kept for the codec. A frame is shorter.
pub(super) const CHUNK: usize = 256;

pub(super) struct Hearing<'a> {
    sent: &'a [u8],
    find: &'a Find,
    /// The answer may have the same bytes as the command.
    mirrors: bool,
    /// The echo may still come.
    awaits_echo: bool,
    /// The echo came.
    pub echoed: bool,
    /// Bytes that may still become a frame.
    heard: Vec<u8>,
    /// Number of bytes passed over. The echo does not count.
    noise: usize,
    /// The last bytes passed over, at most [`CHUNK`].
    passed: Vec<u8>,
    answered: bool,
}

impl<'a> Hearing<'a> {
    /// `echoes`: the adapter echoes what is sent, as far as it is known.
    pub fn new(exchange: &'a Exchange, find: &'a Find, echoes: bool) -> Self {
        let sent = &exchange.send;
        let mirrors = matches!(find(sent), Found::Answer { .. });
        Self {
            sent,
            find,
            mirrors,
            awaits_echo: echoes || !mirrors,
            echoed: false,
            heard: Vec::new(),
            noise: 0,
            passed: Vec::new(),
            answered: false,
        }
    }

    /// Returns whether the adapter echoes, if this exchange shows it. After noise it does not: the
    /// noise may be a damaged echo.
    pub fn shows_echo(&self) -> Option<bool> {
        let clean = self.answered && self.noise() == 0;
        (!self.mirrors && (self.echoed || clean)).then_some(self.echoed)
    }

    /// Returns the number of bytes that are neither echo nor answer.
    pub fn noise(&self) -> usize {
        self.noise + self.heard.len()
    }

    /// Returns the last bytes that were passed over.
    pub fn passed(&self) -> &[u8] {
        &self.passed
    }

    /// Returns whether a frame has begun.
    pub fn has_begun(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Discards the frame that has begun: the pause in it was too long.
    pub fn break_off(&mut self) {
        self.pass_over(self.heard.len());
    }

    /// Takes further bytes, and returns the answer when all of it is here.
    pub fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.heard.extend(bytes);
        let frame = self.take();
        self.answered = frame.is_some();
        frame
    }

    /// Leaves out the echo, and takes the answer if it is here.
    fn take(&mut self) -> Option<Vec<u8>> {
        let echo = self.echo();
        let found = match self.mirrors && self.awaits_echo {
            true => Found::Nothing { passed_over: self.heard.len() },
            false => (self.find)(&self.heard),
        };
        match found {
            Found::Nothing { passed_over } => {
                let oldest = self.heard.len().saturating_sub(CHUNK);
                self.pass_over(passed_over.min(echo).max(oldest));
                None
            }
            Found::Answer { passed_over, len } => {
                self.pass_over(passed_over);
                let rest = self.heard.split_off(len.min(self.heard.len()));
                Some(std::mem::replace(&mut self.heard, rest))
            }
        }
    }

    /// Removes the echo if all of it is here. Returns where a part of it begins.
    fn echo(&mut self) -> usize {
        if !self.awaits_echo {
            return self.heard.len();
        }
        let begins = |rest: &[u8]| rest.starts_with(self.sent) || self.sent.starts_with(rest);
        let at = (0..self.heard.len()).find(|at| self.heard.get(*at..).is_some_and(begins));
        match at {
            Some(at) if self.heard.len() - at >= self.sent.len() => {
                self.pass_over(at);
                self.heard.drain(..self.sent.len());
                (self.awaits_echo, self.echoed) = (false, true);
                self.heard.len()
            }
            at => at.unwrap_or(self.heard.len()),
        }
    }

    fn pass_over(&mut self, bytes: usize) {
        let bytes = bytes.min(self.heard.len());
        self.noise += bytes;
        self.passed.extend(self.heard.drain(..bytes));
        self.passed.drain(..self.passed.len().saturating_sub(CHUNK));
    }
}

#[cfg(test)]
mod tests;
