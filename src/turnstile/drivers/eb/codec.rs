//! The frames of `EB`: commands of five bytes, without answers.
//!
//! A frame is `EB address command 00 check`. The check is the exclusive or of EB, the address and
//! the command. For the commands 42 and 43 at address 1 the manual prints the check AB. Its own
//! rule gives A8 and A9, and these are sent.

const BEGIN: u8 = 0xEB;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Left,
    Right,
    /// The arm falls, and any person may pass.
    DropArm,
    RaiseArm,
}

impl Command {
    pub fn frame(self, address: u8) -> Vec<u8> {
        let code = match self {
            Command::Left => 0x40,
            Command::Right => 0x41,
            Command::DropArm => 0x42,
            Command::RaiseArm => 0x43,
        };
        vec![BEGIN, address, code, 0, BEGIN ^ address ^ code]
    }
}

#[cfg(test)]
mod tests;
