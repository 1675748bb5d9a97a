//! Modbus RTU, the side that asks: FC01, FC02 and FC05.
//!
//! Source: MODBUS Application Protocol V1.1b3, sections 6.1, 6.2, 6.5 and 7; CRC: MODBUS over
//! Serial Line V1.02, appendix B.

use super::{Found, Here, scan};

const READ_COILS: u8 = 1;
const READ_INPUTS: u8 = 2;
const WRITE_COIL: u8 = 5;
const ON: u16 = 0xFF00;
/// Added to the function of an answer that refuses.
const REFUSED: u8 = 0x80;
/// The most bits read at once.
pub const BITS: u8 = 16;

/// What is asked of one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// From `first`, 1 to [`BITS`] of them.
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

/// What a whole frame of the board asked says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first bit lowest.
    Bits(u16),
    Written,
    /// An exception's code.
    Refused(u8),
    /// Its CRC is right, and it answers something else.
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

    /// What is asked, in words.
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

    /// Looks for a frame of this board that answers this function, whatever it says.
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
                    // Two bytes hold all that is ever asked for.
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

    /// What a frame that was found says.
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
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::hear, *};

    const INPUTS: Ask = Ask::Inputs { first: 0, count: 2 };
    const ON: Ask = Ask::Write { coil: 0, on: true };

    #[test]
    fn frames_are_frozen() {
        let coils = Ask::Coils { first: 0, count: 2 };
        assert_eq!(coils.frame(1), [0x01, 0x01, 0x00, 0x00, 0x00, 0x02, 0xBD, 0xCB]);
        assert_eq!(INPUTS.frame(1), [0x01, 0x02, 0x00, 0x00, 0x00, 0x02, 0xF9, 0xCB]);
        assert_eq!(ON.frame(1), [0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3A]);
        let off = Ask::Write { coil: 0, on: false };
        assert_eq!(off.frame(1), [0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0xCD, 0xCA]);
        assert_eq!(coils.read(&[0x01, 0x01, 0x01, 0x01, 0x90, 0x48]), Answer::Bits(1));
        assert_eq!(INPUTS.read(&[0x01, 0x02, 0x01, 0x00, 0xA1, 0x88]), Answer::Bits(0));
        assert_eq!(ON.read(&ON.frame(1)), Answer::Written);
        assert_eq!(ON.read(&off.frame(1)), Answer::Unasked);
        let refused = [0x01, 0x85, 0x02, 0xC3, 0x51];
        assert_eq!(ON.find(1, &refused), Found::Answer { passed_over: 0, len: 5 });
        assert_eq!(ON.read(&refused), Answer::Refused(2));
    }

    #[test]
    fn an_answer_of_the_wrong_length_is_none() {
        let nine = Ask::Inputs { first: 0, count: 9 };
        let short = [0x01, 0x02, 0x01, 0x00, 0xA1, 0x88];
        assert_eq!(nine.read(&short), Answer::Unasked);
        assert_eq!(nine.read(&[]), Answer::Unasked);
        let body = [0x01, 0x02, 0x02, 0x01, 0xFF];
        let frame = [&body[..], &crc(&body).to_le_bytes()].concat();
        assert_eq!(nine.read(&frame), Answer::Bits(0x101), "what pads the last byte is no input");
    }

    #[test]
    fn another_boards_answer_and_another_functions_are_passed_over() {
        let other = [0x02, 0x02, 0x01, 0x03, 0xE0, 0x49];
        let coils = [0x01, 0x01, 0x01, 0x01, 0x90, 0x48];
        let own = [0x01, 0x02, 0x01, 0x00, 0xA1, 0x88];
        let heard = [&other[..], &coils, &own].concat();
        assert_eq!(INPUTS.find(1, &heard), Found::Answer { passed_over: 12, len: 6 });
        assert_eq!(INPUTS.find(1, &heard[..12]), Found::Nothing { passed_over: 12 });
    }

    fn noise() -> impl Strategy<Value = Vec<u8>> {
        // The bytes that frames begin with come often.
        prop::collection::vec(prop_oneof![any::<u8>(), Just(1), Just(2), Just(5)], 0..600)
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_little_is_kept(line in noise(), pieces in prop::collection::vec(1..64_usize, 1..9)) {
            for ask in [INPUTS, ON, Ask::Coils { first: 7, count: 16 }] {
                let (found, most) = hear(&line, &pieces, |heard| ask.find(1, heard));
                if let Some(frame) = found {
                    ask.read(&frame);
                }
                ask.read(&line);
                prop_assert!(most < 8);
            }
        }

        #[test]
        fn an_answer_is_found_after_any_noise(
            line in noise(),
            half in 0..6_usize,
            bits in 0..4_u8,
            pieces in prop::collection::vec(1..64_usize, 1..9),
        ) {
            let body = [0x01, 0x02, 0x01, bits];
            let answer = [&body[..], &crc(&body).to_le_bytes()].concat();
            // A frame hidden in the noise would be another answer: 40 bits against it.
            let heard = [&line[..], &answer[..half], &answer].concat();
            let (found, _) = hear(&heard, &pieces, |heard| INPUTS.find(1, heard));
            prop_assert_eq!(found, Some(answer.clone()));
            prop_assert_eq!(INPUTS.read(&answer), Answer::Bits(bits.into()));
        }
    }
}
