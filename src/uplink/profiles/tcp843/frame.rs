//! The frames of TCP 843. Numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | `01` |
//! | 4 | length of the content; 0 for a heartbeat |
//! | 4, 4 | part and number of parts; both 0 for a frame in one piece |
//! | 1 | version |
//! | 2 | command |
//! | 16 | session |
//! | length | content; its last byte is the check byte ([`Bcc`]) |
//! | 1 | flag: `00` is a success, `01` a failure with its reason as text in the content |
//! | 1 | `01` |
//!
//! TCP carries no noise. Bytes that are no frame end the session, because a search for the next
//! `01` could find a verdict within a photo.

use crate::words::words;

/// Number of bytes before the content.
pub const HEAD: usize = 32;
/// Maximum length of the content of an answer. A list of 10,000 workers takes 410 KB, and 810 KB in
/// version 5.
pub const CONTENT_MAX: usize = 1 << 20;
/// The first and the last byte of a frame.
const MARK: u8 = 0x01;
/// Number of bytes after the content.
const TAIL: usize = 2;

/// The name of a connection, which each of its frames repeats.
pub type SessionId = [u8; 16];

words! {
    /// How the check byte of a content is computed.
    #[derive(Default)]
    pub enum Bcc {
        /// Exclusive or of the bytes.
        #[default]
        Bytes = "bytes",
        /// Exclusive or of the ASCII characters of the bytes in upper-case hexadecimal digits, as
        /// some clients compute it.
        Hex = "hex",
    }
}

impl Bcc {
    /// Returns the check byte of a content.
    pub fn of(self, content: &[u8]) -> u8 {
        const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
        let digit = |n: u8| DIGITS.get(usize::from(n & 0x0f)).copied().unwrap_or_default();
        content.iter().fold(0, |sum, byte| match self {
            Bcc::Bytes => sum ^ byte,
            Bcc::Hex => sum ^ digit(byte >> 4) ^ digit(*byte),
        })
    }

    /// Returns the content with its check byte.
    pub fn sealed(self, mut content: Vec<u8>) -> Vec<u8> {
        content.push(self.of(&content));
        content
    }

    /// Returns the content without its check byte; `None` if the byte is wrong.
    pub fn opened(self, content: &[u8]) -> Option<&[u8]> {
        let (bcc, content) = content.split_last()?;
        (self.of(content) == *bcc).then_some(content)
    }
}

/// A frame of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub part: u32,
    pub parts: u32,
    pub command: u16,
    pub session: SessionId,
    /// With its check byte, if there is any.
    pub content: Vec<u8>,
    /// The platform refuses.
    pub failed: bool,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFrame {
    #[error("its bytes are no frame of this protocol: one begins with {0:02x} in place of 01")]
    Begin(u8),
    #[error("it announces a frame of {0} bytes, and the maximum is {CONTENT_MAX}")]
    Long(u32),
    #[error("its bytes are no frame of this protocol: one has the flag {0:02x}")]
    Flag(u8),
    #[error("its bytes are no frame of this protocol: one ends with {0:02x} in place of 01")]
    End(u8),
}

/// Returns the bytes of a frame in one piece. The content has its check byte.
pub fn encode(version: u8, command: u16, session: &SessionId, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEAD + content.len() + TAIL);
    frame.push(MARK);
    frame.extend(length.to_le_bytes());
    frame.extend([0; 8]);
    frame.push(version);
    frame.extend(command.to_le_bytes());
    frame.extend(session);
    frame.extend(content);
    frame.extend([0x00, MARK]);
    frame
}

/// Puts the bytes of a connection together to frames.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next whole frame. The head is checked as soon as it is there, so at most one
    /// frame waits for its end.
    pub fn next(&mut self) -> Result<Option<Frame>, NoFrame> {
        match self.bytes.first() {
            Some(&MARK) => {}
            Some(&other) => return Err(NoFrame::Begin(other)),
            None => return Ok(None),
        }
        let Some(announced) = number(&self.bytes, 1) else { return Ok(None) };
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > CONTENT_MAX {
            return Err(NoFrame::Long(announced));
        }
        let whole = HEAD + length + TAIL;
        if self.bytes.len() < whole {
            return Ok(None);
        }
        let frame: Vec<u8> = self.bytes.drain(..whole).collect();
        let byte = |at: usize| frame.get(at).copied().unwrap_or_default();
        if byte(whole - 1) != MARK {
            return Err(NoFrame::End(byte(whole - 1)));
        }
        let failed = match byte(whole - TAIL) {
            0 => false,
            1 => true,
            flag => return Err(NoFrame::Flag(flag)),
        };
        let session = frame.get(16..HEAD).and_then(|bytes| bytes.try_into().ok());
        Ok(Some(Frame {
            part: number(&frame, 5).unwrap_or_default(),
            parts: number(&frame, 9).unwrap_or_default(),
            command: u16::from_le_bytes([byte(14), byte(15)]),
            session: session.unwrap_or_default(),
            content: frame.get(HEAD..HEAD + length).unwrap_or_default().to_vec(),
            failed,
        }))
    }
}

/// Returns the number of four bytes at a place.
pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
