//! Splits a stream of concatenated JPEGs into frames.
//!
//! In: a stream's bytes in pieces of any size. Out: whole JPEGs, SOI to EOI. It touches nothing. It
//! walks the marker segments by their lengths (ITU-T T.81, annex B), because the bytes FF D8 and
//! FF D9 also occur within a segment: an EXIF thumbnail is a JPEG in a JPEG. In entropy-coded data
//! FF is followed by a stuffed 00 or by RSTn; anything else is the next marker.
//!
//! Bytes between frames (multipart headers, a torn frame) are passed over and counted. Memory is
//! bounded, because a frame that grows beyond the limit is discarded.

use memchr::memmem;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const TEM: u8 = 0x01;
const RST: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;

/// The position of the walk. The current frame, if any, begins at the buffer's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Between frames, looking for SOI.
    #[default]
    Outside,
    /// Before a marker.
    Marker,
    /// Within entropy-coded data.
    Scan,
}

/// Splits one stream. Call [`push`](Self::push), then [`next_frame`](Self::next_frame) until it
/// returns `None`.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    at: At,
    /// Position of the next byte to read. It may lie beyond the bytes received.
    next: usize,
    /// Whether the current frame has had a scan. A frame without a scan is no picture.
    scanned: bool,
    /// Number of bytes still to come that are discarded already.
    skip: usize,
    max_frame: usize,
    garbage: u64,
    torn: u64,
}

impl Splitter {
    /// Creates a splitter for frames of at most `max_frame` bytes.
    pub fn new(max_frame: usize) -> Self {
        Self { max_frame, ..Self::default() }
    }

    /// Returns the number of bytes that belonged to no whole frame.
    pub fn garbage(&self) -> u64 {
        self.garbage
    }

    /// Returns the number of frames that began and were discarded: malformed, cut short, too long.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// Takes more bytes of the stream. The splitter holds at most one frame and these bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let given_up = self.skip.min(bytes.len());
        self.skip -= given_up;
        self.garbage += given_up as u64;
        self.buffer.extend_from_slice(bytes.get(given_up..).unwrap_or_default());
    }

    /// Discards an unfinished frame, because the stream has ended or another stream begins.
    pub fn end(&mut self) {
        if self.at == At::Outside {
            self.forget(self.buffer.len());
        } else {
            self.give_up(self.buffer.len());
        }
        self.skip = 0;
    }

    /// Returns the next whole frame among the pushed bytes.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if self.at != At::Outside && self.next > self.max_frame {
                self.give_up(self.next);
            }
            match self.at {
                At::Outside => self.find_start()?,
                At::Scan => self.pass_scan()?,
                At::Marker => {
                    if let Some(frame) = self.pass_marker()? {
                        return Some(frame);
                    }
                }
            }
        }
    }

    /// Goes to the next FF D8 FF. Returns `None` if more bytes are needed, like the next functions.
    fn find_start(&mut self) -> Option<()> {
        let start = memmem::find(&self.buffer, &[0xFF, SOI, 0xFF]);
        // The last two bytes may be the first bytes of a start.
        self.forget(start.unwrap_or(self.buffer.len().saturating_sub(2)));
        start?;
        (self.at, self.next, self.scanned) = (At::Marker, 2, false);
        Some(())
    }

    fn pass_scan(&mut self) -> Option<()> {
        let rest = self.buffer.get(self.next..)?;
        // Fill bytes (FF FF) are passed: RSTn may follow them, and then the scan goes on.
        let ends = |code: &u8| *code != 0 && *code != 0xFF && !RST.contains(code);
        let marker = memchr::memchr_iter(0xFF, rest).find(|at| rest.get(at + 1).is_some_and(ends));
        match marker {
            Some(ahead) => {
                self.next += ahead;
                self.at = At::Marker;
                Some(())
            }
            None => {
                // The last byte may be a marker's FF.
                self.next += rest.len().saturating_sub(1);
                (self.next > self.max_frame).then_some(())
            }
        }
    }

    /// Passes one marker with its segment. Returns `Some(Some(_))` if the marker ended the frame.
    fn pass_marker(&mut self) -> Option<Option<Vec<u8>>> {
        let (ff, code) = (*self.buffer.get(self.next)?, *self.buffer.get(self.next + 1)?);
        if ff != 0xFF {
            self.give_up(self.next);
            return Some(None);
        }
        match code {
            // Any number of FF may come before a marker's code.
            0xFF => self.next += 1,
            EOI if self.scanned => {
                let rest = self.buffer.split_off(self.next + 2);
                (self.at, self.next) = (At::Outside, 0);
                return Some(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            TEM => self.next += 2,
            // 00 is no marker, and the codes up to BF are reserved: after a frame that was cut
            // short the text of a header follows. SOI here begins the next frame.
            0x00..=0xBF | SOI | EOI => self.give_up(self.next),
            code if RST.contains(&code) => self.next += 2,
            code => {
                let (high, low) =
                    (*self.buffer.get(self.next + 2)?, *self.buffer.get(self.next + 3)?);
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    self.give_up(self.next);
                    return Some(None);
                }
                self.next += 2 + length;
                if code == SOS {
                    (self.at, self.scanned) = (At::Scan, true);
                }
            }
        }
        Some(None)
    }

    /// Discards the current frame. The search goes on at `from`.
    fn give_up(&mut self, from: usize) {
        self.torn += 1;
        self.forget(from);
    }

    fn forget(&mut self, count: usize) {
        let here = count.min(self.buffer.len());
        self.skip += count - here;
        self.garbage += here as u64;
        self.buffer.drain(..here);
        (self.at, self.next) = (At::Outside, 0);
    }
}

#[cfg(test)]
mod tests;
