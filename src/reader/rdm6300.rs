//! Frames of the 125 kHz reader RDM6300, 9600 8N1.
//!
//! `02`, 10 hex digits, 2 hex digits that are the XOR of the five bytes, `03`. The reader repeats
//! the frame while the card lies there. Source: RDM6300 specifications, Seeed Studio.

use super::{CardNumber, Codec, Heard};
use crate::clock::Monotonic;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
/// Bytes between STX and ETX.
const DIGITS: usize = 12;

/// Bytes outside a frame that are one report of noise.
const NOISE: usize = 64;

#[derive(Default)]
pub(super) struct Rdm6300 {
    /// The bytes since STX; `None` outside a frame.
    frame: Option<Vec<u8>>,
    noise: usize,
}

impl Codec for Rdm6300 {
    fn hear(&mut self, bytes: &[u8], _: Monotonic) -> Vec<Heard> {
        let mut heard = Vec::new();
        for byte in bytes {
            match (*byte, &mut self.frame) {
                // A frame that was cut off is followed by a whole one.
                (STX, frame) => *frame = Some(Vec::with_capacity(DIGITS)),
                (ETX, Some(digits)) => {
                    heard.push(read(digits));
                    (self.frame, self.noise) = (None, 0);
                }
                (digit, Some(digits)) if digits.len() < DIGITS => digits.push(digit),
                _ => {
                    self.frame = None;
                    self.noise += 1;
                }
            }
        }
        if self.noise >= NOISE {
            self.noise = 0;
            heard.push(unreadable("bytes outside a frame"));
        }
        heard
    }
}

fn unreadable(what: &str) -> Heard {
    Heard::Unreadable(format!("{what}: see whether baud is 9600, and the wires"))
}

/// Reads the digits of a frame. Cards have five bytes; the last four are the number in print.
fn read(digits: &[u8]) -> Heard {
    let mut bytes = [0; 6];
    if digits.len() != DIGITS || hex::decode_to_slice(digits, &mut bytes).is_err() {
        return unreadable("a frame without 12 hex digits");
    }
    let [number @ .., check] = bytes;
    if number.iter().fold(0, |sum, byte| sum ^ byte) != check {
        return unreadable("a frame with a wrong checksum");
    }
    let number = CardNumber::of(number.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)));
    match number == CardNumber::of(0) {
        true => unreadable("a card of number zero"),
        false => Heard::Card(number),
    }
}

#[cfg(test)]
mod tests;
