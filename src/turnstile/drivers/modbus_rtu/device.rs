//! A simulated Modbus RTU slave without a line: request frames in, answer frames out.
//!
//! It has a codec of its own, so that the driver and its simulated device do not share a mistake.
//! It carries out FC01, FC02 and FC05 like a relay board, and answers all other functions with an
//! exception. Source: MODBUS Application Protocol V1.1b3, sections 6.1, 6.2, 6.5 and 7; CRC: MODBUS
//! over Serial Line V1.02, appendix B.

#[cfg(any(test, feature = "failpoints"))]
use crate::turnstile::simulation::{Hands, Order};
use crate::turnstile::{
    settings::Direction,
    simulation::{Board, Heard},
};

/// Number of coils, and of inputs, of the board.
pub const BITS: usize = 16;

const READ_COILS: u8 = 1;
const READ_INPUTS: u8 = 2;
const WRITE_COIL: u8 = 5;
const BROADCAST: u8 = 0;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

/// Returns the CRC of a frame's bytes. On the line its low byte comes first.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 }
        })
    })
}

/// Returns `body` with its CRC, a frame for the line.
pub fn framed(mut body: Vec<u8>) -> Vec<u8> {
    let crc = crc16(&body).to_le_bytes();
    body.extend(crc);
    body
}

/// Returns the address, function and data of a frame whose CRC is right.
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

    /// Carries out one frame and returns the answer. Returns `None` where a slave does not answer:
    /// a wrong CRC, another address, a broadcast.
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

/// Returns the byte count, then the bits, the first one lowest.
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

impl Board for Slave {
    fn whole(&self, heard: &[u8]) -> Option<usize> {
        let fixed = heard.get(..8).is_some_and(|frame| unframed(frame).is_some());
        if fixed { Some(8) } else { unframed(heard).map(|_| heard.len()) }
    }

    fn hear(&mut self, frame: &[u8]) -> Heard {
        let before = self.coils;
        let answer = self.answer(frame);
        let on = |d: &Direction| self.coils[d.index()] && !before[d.index()];
        let released = Direction::BOTH.into_iter().filter(on).collect();
        let looked = answer.as_ref().is_some_and(|a| a.get(1) == Some(&READ_INPUTS));
        Heard { answer, released, looked }
    }

    fn step(&mut self, direction: Direction, inside: bool) {
        self.inputs[direction.index()] = inside;
    }

    fn has_sensor(&self) -> bool {
        true
    }
}

#[cfg(any(test, feature = "failpoints"))]
impl Hands for Slave {
    fn order(&self, frame: &[u8]) -> Option<Order> {
        match *unframed(frame)? {
            [address, ..] if address != self.address => None,
            [_, WRITE_COIL, _, _, 0, _] => Some(Order::Close),
            [_, WRITE_COIL, ..] => Some(Order::Open(&[])),
            _ => Some(Order::Look),
        }
    }

    fn is_open(&mut self, direction: Direction) -> bool {
        self.coils[direction.index()]
    }

    fn set_open(&mut self, direction: Direction, open: bool) {
        self.coils[direction.index()] = open;
    }

    fn readdressed(&self, mut answer: Vec<u8>, address: u8) -> Vec<u8> {
        answer.truncate(answer.len().saturating_sub(2));
        answer.iter_mut().take(1).for_each(|byte| *byte = address);
        framed(answer)
    }

    fn refused(&self, frame: &[u8], function: u8, code: u8) -> Option<Vec<u8>> {
        let &[address, asked, ..] = unframed(frame)? else { return None };
        let is_asked = (address, asked) == (self.address, function);
        is_asked.then(|| framed(vec![address, asked | 0x80, code]))
    }

    fn written_as(&self, frame: &[u8], value: u16) -> Option<Vec<u8>> {
        let &[address, WRITE_COIL, high, low, ..] = unframed(frame)? else { return None };
        let [first, second] = value.to_be_bytes();
        let answer = vec![address, WRITE_COIL, high, low, first, second];
        (address == self.address).then(|| framed(answer))
    }

    fn set_input(&mut self, number: u16, on: bool) {
        if let Some(input) = self.inputs.get_mut(usize::from(number)) {
            *input = on;
        }
    }
}

#[cfg(test)]
mod tests;
