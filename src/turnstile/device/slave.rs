//! A Modbus RTU slave without a line: request frames in, answer frames out.
//!
//! The simulated turnstile's own codec, so that the driver and the device that it is tested
//! against do not share their mistakes. FC01, FC02 and FC05 as relay boards have them; everything
//! else is answered by an exception. Source: MODBUS Application Protocol V1.1b3, sections 6.1,
//! 6.2, 6.5 and 7; CRC: MODBUS over Serial Line V1.02, appendix B.

/// Coils, and inputs, of the board: numbers 0 to 15.
pub const BITS: usize = 16;
/// The longest frame on the line, in bytes.
pub const LONGEST: usize = 256;

const READ_COILS: u8 = 1;
const READ_INPUTS: u8 = 2;
const WRITE_COIL: u8 = 5;
const BROADCAST: u8 = 0;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

/// The CRC of a frame's bytes; it travels low byte first.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 }
        })
    })
}

/// `body` with its CRC: a frame for the line.
pub fn framed(mut body: Vec<u8>) -> Vec<u8> {
    let crc = crc16(&body).to_le_bytes();
    body.extend(crc);
    body
}

/// Address, function and data of a frame whose CRC is right.
pub fn unframed(frame: &[u8]) -> Option<&[u8]> {
    let (body, crc) = frame.split_last_chunk::<2>()?;
    (body.len() >= 2 && crc16(body) == u16::from_le_bytes(*crc)).then_some(body)
}

/// The board's memory.
#[derive(Clone, Debug)]
pub struct Slave {
    /// 1 to 247.
    pub address: u8,
    pub coils: [bool; BITS],
    pub inputs: [bool; BITS],
}

impl Slave {
    pub fn new(address: u8) -> Self {
        Self { address, coils: [false; BITS], inputs: [false; BITS] }
    }

    /// Carries out one frame. Returns what goes back on the line; `None` where a slave keeps
    /// silent: a wrong CRC, another's address, a broadcast.
    pub fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let &[address, function, ref data @ ..] = unframed(frame)? else { return None };
        if address != self.address && address != BROADCAST {
            return None;
        }
        let body = match self.carry_out(function, data) {
            Ok(answer) => [&[self.address, function], answer.as_slice()].concat(),
            Err(exception) => vec![self.address, function | 0x80, exception],
        };
        (address != BROADCAST).then(|| framed(body))
    }

    fn carry_out(&mut self, function: u8, data: &[u8]) -> Result<Vec<u8>, u8> {
        let (first, second) = match *data {
            [a, b, c, d] => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            _ if matches!(function, READ_COILS | READ_INPUTS | WRITE_COIL) => {
                return Err(ILLEGAL_VALUE);
            }
            _ => return Err(ILLEGAL_FUNCTION),
        };
        let at = usize::from(first);
        match function {
            READ_COILS => packed(&self.coils, at, usize::from(second)),
            READ_INPUTS => packed(&self.inputs, at, usize::from(second)),
            WRITE_COIL => {
                let on = match second {
                    0xFF00 => true,
                    0x0000 => false,
                    _ => return Err(ILLEGAL_VALUE),
                };
                *self.coils.get_mut(at).ok_or(ILLEGAL_ADDRESS)? = on;
                Ok(data.to_vec())
            }
            _ => Err(ILLEGAL_FUNCTION),
        }
    }
}

/// Byte count, then the bits, the first in the lowest place.
fn packed(bits: &[bool], at: usize, count: usize) -> Result<Vec<u8>, u8> {
    if !(1..=2000).contains(&count) {
        return Err(ILLEGAL_VALUE);
    }
    let bits = bits.get(at..at + count).ok_or(ILLEGAL_ADDRESS)?;
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | u8::from(*bit)))
        .collect();
    Ok([&[u8::try_from(bytes.len()).unwrap_or(u8::MAX)], bytes.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_on_the_line_are_frozen() {
        let mut slave = Slave::new(1);
        // CRCs from the standard's table, not from `crc16`.
        let on = [0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3A];
        let off = [0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0xCD, 0xCA];
        assert_eq!(slave.answer(&on).unwrap(), on);
        assert!(slave.coils[0]);
        let coils = [0x01, 0x01, 0x00, 0x00, 0x00, 0x02, 0xBD, 0xCB];
        assert_eq!(slave.answer(&coils).unwrap(), [0x01, 0x01, 0x01, 0x01, 0x90, 0x48]);
        assert_eq!(slave.answer(&off).unwrap(), off);
        assert!(!slave.coils[0]);
        let inputs = [0x01, 0x02, 0x00, 0x00, 0x00, 0x02, 0xF9, 0xCB];
        assert_eq!(slave.answer(&inputs).unwrap(), [0x01, 0x02, 0x01, 0x00, 0xA1, 0x88]);
    }

    #[test]
    fn what_a_board_does_not_have_is_answered_by_an_exception() {
        let mut slave = Slave::new(1);
        let mut ask = |body: &[u8]| {
            let answer = slave.answer(&framed(body.to_vec())).unwrap();
            unframed(&answer).unwrap()[1..].to_vec()
        };
        assert_eq!(ask(&[1, 3, 0, 0, 0, 1]), [0x83, ILLEGAL_FUNCTION]);
        assert_eq!(ask(&[1, 16, 0, 0, 0, 1, 2, 0, 0]), [0x90, ILLEGAL_FUNCTION]);
        assert_eq!(ask(&[1, 5, 0, 16, 0xFF, 0]), [0x85, ILLEGAL_ADDRESS]);
        assert_eq!(ask(&[1, 5, 0, 0, 0xFF, 1]), [0x85, ILLEGAL_VALUE]);
        assert_eq!(ask(&[1, 2, 0, 15, 0, 2]), [0x82, ILLEGAL_ADDRESS]);
        assert_eq!(ask(&[1, 1, 0, 0, 0, 0]), [0x81, ILLEGAL_VALUE]);
        assert_eq!(ask(&[1, 1, 0]), [0x81, ILLEGAL_VALUE]);
    }

    #[test]
    fn a_slave_keeps_silent_where_it_is_not_asked() {
        let mut slave = Slave::new(1);
        assert_eq!(slave.answer(&[0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3B]), None);
        assert_eq!(slave.answer(&framed(vec![2, 5, 0, 0, 0xFF, 0])), None);
        assert!(!slave.coils[0]);
        assert_eq!(slave.answer(&framed(vec![0, 5, 0, 0, 0xFF, 0])), None, "broadcast");
        assert!(slave.coils[0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_slave_panic(
            noise in prop::collection::vec(any::<u8>(), 0..300),
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut slave = Slave::new(1);
            slave.answer(&noise);
            let mut addressed = body;
            addressed.insert(0, 1);
            if let Some(answer) = slave.answer(&framed(addressed)) {
                prop_assert!(answer.len() <= LONGEST);
                prop_assert!(unframed(&answer).is_some());
            }
        }

        #[test]
        fn bits_come_back_as_they_were_set(bits in any::<[bool; BITS]>(), at in 0..16_u8, count in 1..16_u8) {
            let mut slave = Slave { coils: bits, ..Slave::new(9) };
            let answer = slave.answer(&framed(vec![9, 1, 0, at, 0, count])).unwrap();
            let body = unframed(&answer).unwrap();
            let (at, count) = (usize::from(at), usize::from(count));
            if at + count > BITS {
                prop_assert_eq!(body, &[9, 0x81, ILLEGAL_ADDRESS][..]);
            } else {
                let read: Vec<bool> = (0..count).map(|n| body[3 + n / 8] >> (n % 8) & 1 == 1).collect();
                prop_assert_eq!(&read, &bits[at..at + count]);
            }
        }
    }
}
