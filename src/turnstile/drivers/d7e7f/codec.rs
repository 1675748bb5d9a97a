//! The frames of `7E/7F`, as the host sees them: commands of 8 bytes, answers of 18 bytes.
//!
//! A command is `7E 00 machine command d0 d1 d2 check`. The check is the complement of the sum of
//! the seven bytes before it. The controller answers each command with its whole state:
//! `7F version machine fault gate alarm L L L R R R infrared executed vcc x x check`. The sum of
//! all 18 bytes is FF. L and R count passages to the left and to the right, in 24 bits with the
//! highest byte first. An answer does not say which command it belongs to.

use crate::turnstile::scan::{Found, Here, scan};

const HOST: u8 = 0x7E;
const CONTROLLER: u8 = 0x7F;
/// Length of a controller's frame, in bytes.
pub const STATE: usize = 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Status,
    /// Lets one person through.
    Left,
    KeepLeftOpen,
    Right,
    KeepRightOpen,
    /// Closes the arm. Ends all releases and the hold.
    Close,
}

impl Command {
    pub fn frame(self, machine: u8) -> Vec<u8> {
        let (code, passes) = match self {
            Command::Status => (0x10, 0),
            Command::Left => (0x80, 1),
            Command::KeepLeftOpen => (0x81, 0),
            Command::Right => (0x82, 1),
            Command::KeepRightOpen => (0x83, 0),
            Command::Close => (0x84, 0),
        };
        let body = [HOST, 0, machine, code, passes, 0, 0];
        [&body[..], &[!sum(&body)]].concat()
    }
}

/// A controller's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub fault: u8,
    pub alarm: u8,
    pub left: u32,
    pub right: u32,
}

impl State {
    /// Reads a frame that [`find`] found.
    pub fn read(frame: &[u8]) -> Option<State> {
        match *frame {
            [CONTROLLER, _, _, fault, _, alarm, l2, l1, l0, r2, r1, r0, ..] => Some(State {
                fault,
                alarm,
                left: u32::from_be_bytes([0, l2, l1, l0]),
                right: u32::from_be_bytes([0, r2, r1, r0]),
            }),
            _ => None,
        }
    }
}

/// Looks for a frame of this machine.
pub fn find(machine: u8, heard: &[u8]) -> Found {
    scan(heard, |here| match here.get(..STATE) {
        _ if here.first() != Some(&CONTROLLER) => Here::No,
        None => Here::Part,
        Some(frame) if sum(frame) != u8::MAX => Here::No,
        Some(frame) if frame.get(2) == Some(&machine) => Here::Answer(STATE),
        Some(_) => Here::Other(STATE),
    })
}

/// Returns the number of the machine whose whole frame is among these bytes.
pub fn whose(heard: &[u8]) -> Option<u8> {
    let is_frame = |frame: &&[u8]| frame.first() == Some(&CONTROLLER) && sum(frame) == u8::MAX;
    heard.windows(STATE).find(is_frame)?.get(2).copied()
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests;
