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
    pub fn words(self) -> &'static str {
        match self {
            Ask::Coils { .. } => "read coils",
            Ask::Inputs { .. } => "read inputs",
            Ask::Write { .. } => "write a coil",
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
