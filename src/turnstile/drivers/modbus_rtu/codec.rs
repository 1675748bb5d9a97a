//! The frames of Modbus RTU, as the master sees them: FC01, FC02 and FC05.
//!
//! Source: MODBUS Application Protocol V1.1b3, sections 6.1, 6.2, 6.5 and 7; CRC: MODBUS over
//! Serial Line V1.02, appendix B.

use crate::turnstile::scan::{Found, Here, scan};

const READ_COILS: u8 = 1;
const READ_INPUTS: u8 = 2;
const WRITE_COIL: u8 = 5;
const ON: u16 = 0xFF00;
/// Bit that is set in the function code of an exception.
const REFUSED: u8 = 0x80;
/// Maximum number of bits read at once.
pub const BITS: u8 = 16;

/// A request to one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Reads `count` coils from number `first` on, 1 to [`BITS`].
    Coils {
        first: u16,
        count: u8,
    },
    Inputs {
        first: u16,
        count: u8,
    },
    Write {
        coil: u16,
        on: bool,
    },
}

/// The content of a whole frame from the board that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bits that were read, the first one lowest.
    Bits(u16),
    Written,
    /// The coil that was to be written, with this value instead of the written one. Such boards
    /// exist: one answers 0001, also when it switches off. So the value says nothing.
    WrittenAs(u16),
    /// The code of an exception.
    Refused(u8),
    /// A frame with a valid CRC that does not answer the request.
    Unasked,
}

impl Ask {
    fn function(self) -> u8 {
        match self {
            Ask::Coils { .. } => READ_COILS,
            Ask::Inputs { .. } => READ_INPUTS,
            Ask::Write { .. } => WRITE_COIL,
        }
    }

    /// Returns the request in words.
    pub fn words(self) -> String {
        let (what, first, count) = match self {
            Ask::Write { coil, on } => {
                return format!("switch coil {coil} {}", if on { "on" } else { "off" });
            }
            Ask::Coils { first, count } => ("coil", first, count),
            Ask::Inputs { first, count } => ("input", first, count),
        };
        match first.saturating_add(u16::from(count).saturating_sub(1)) {
            last if last == first => format!("read {what} {first}"),
            last => format!("read {what}s {first} to {last}"),
        }
    }

    /// Returns what to do about an exception. Source: section 7 of the protocol.
    pub fn remedy(self, code: u8) -> &'static str {
        match (self, code) {
            (Ask::Inputs { .. }, 1) => {
                "the board has no discrete inputs (FC02): set passage_input = \"none\" and remove \
                 fire_input, or use a board with such inputs"
            }
            (Ask::Coils { .. }, 1) => {
                "the board does not show its relays (FC01), so an open arm would go unnoticed: use \
                 another board"
            }
            (Ask::Write { .. }, 1) => {
                "the board does not switch single relays (FC05): use another board"
            }
            (Ask::Inputs { .. }, 2) => {
                "the board has no such input: change passage_input, fire_input or guard_button (numbers count \
                 from 0, many manuals count from 1)"
            }
            (_, 2) => {
                "the board has no such coil: change release_coil (numbers count from 0, many \
                 manuals count from 1)"
            }
            (Ask::Write { .. }, 3) => "the board wants another value than FF00: use another board",
            (_, 3) => "the board does not read that many at once: use numbers that are closer",
            (_, 4) => "the board itself failed: check its power supply and its relays",
            (_, 5 | 6) => {
                "the board is busy: check that no other program uses it; switch it off and on"
            }
            (_, 10 | 11) => {
                "a Modbus gateway answers, and does not reach the board: check the address, and \
                 the gateway's wiring and baud"
            }
            _ => "see the board's manual",
        }
    }

    pub fn frame(self, address: u8) -> Vec<u8> {
        let (first, second) = match self {
            Ask::Coils { first, count } | Ask::Inputs { first, count } => (first, count.into()),
            Ask::Write { coil, on } => (coil, if on { ON } else { 0 }),
        };
        let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
        let body = [address, self.function(), a, b, c, d];
        [&body[..], &crc(&body).to_le_bytes()].concat()
    }

    /// Looks for a frame of this board with this function code, or its exception.
    pub fn find(self, address: u8, heard: &[u8]) -> Found {
        scan(heard, |here| {
            if here.first() != Some(&address) {
                return Here::No;
            }
            let len = match here.get(1) {
                None => return Here::Part,
                Some(function) if *function == self.function() | REFUSED => 5,
                Some(function) if *function != self.function() => return Here::No,
                Some(_) if matches!(self, Ask::Write { .. }) => 8,
                Some(_) => match here.get(2) {
                    None => return Here::Part,
                    // A request reads at most 16 bits, so the answer has one or two bytes of them.
                    Some(bytes @ 1..=2) => 5 + usize::from(*bytes),
                    Some(_) => return Here::No,
                },
            };
            match here.get(..len) {
                None => Here::Part,
                Some(frame) if is_whole(frame) => Here::Answer(len),
                Some(_) => Here::No,
            }
        })
    }

    /// Returns the content of a frame that [`find`](Self::find) found.
    pub fn read(self, frame: &[u8]) -> Answer {
        let &[_, function, ref data @ .., _, _] = frame else { return Answer::Unasked };
        match (self, data) {
            (_, [code]) if function == self.function() | REFUSED => Answer::Refused(*code),
            (Ask::Write { .. }, data)
                if self.frame(0).get(2..6) == Some(data) && function == WRITE_COIL =>
            {
                Answer::Written
            }
            (Ask::Write { coil, .. }, [high, low, value @ ..])
                if [*high, *low] == coil.to_be_bytes() && function == WRITE_COIL =>
            {
                value
                    .try_into()
                    .map_or(Answer::Unasked, |v| Answer::WrittenAs(u16::from_be_bytes(v)))
            }
            (Ask::Coils { count, .. } | Ask::Inputs { count, .. }, [bytes, bits @ ..])
                if bits.len() == usize::from(*bytes)
                    && *bytes == count.div_ceil(8)
                    && function == self.function() =>
            {
                let bits = bits.iter().rev().fold(0_u16, |all, byte| all << 8 | u16::from(*byte));
                Answer::Bits(bits & (u16::MAX >> (BITS - count.min(BITS))))
            }
            _ => Answer::Unasked,
        }
    }
}

/// Returns the address of a whole answer among these bytes, of any board.
pub fn whose(heard: &[u8]) -> Option<u8> {
    (0..heard.len()).find_map(|at| {
        let rest = heard.get(at..)?;
        let len = match *rest.get(1)? {
            READ_COILS | READ_INPUTS => 5 + usize::from(*rest.get(2)?),
            WRITE_COIL => 8,
            0x81 | 0x82 | 0x85 => 5,
            _ => return None,
        };
        rest.get(..len).filter(|frame| is_whole(frame))?.first().copied()
    })
}

fn is_whole(frame: &[u8]) -> bool {
    frame.split_last_chunk().is_some_and(|(body, sum)| crc(body) == u16::from_le_bytes(*sum))
}

fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc: u16, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 }
        })
    })
}

#[cfg(test)]
mod tests;
