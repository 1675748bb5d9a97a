//! A simulated `EB` tripod: it hears its own address, and answers nothing.

use crate::turnstile::{
    settings::Direction,
    simulation::{Arm, Board, Hands, Heard, Order},
};

#[derive(Debug)]
pub struct Tripod(Arm);

impl Tripod {
    pub fn new(address: u8) -> Self {
        Self(Arm { address, ..Arm::default() })
    }
}

impl Board for Tripod {
    fn whole(&self, heard: &[u8]) -> Option<usize> {
        match *heard {
            [0xEB, address, command, 0, check, ..] if 0xEB ^ address ^ command == check => Some(5),
            _ => None,
        }
    }

    fn hear(&mut self, frame: &[u8]) -> Heard {
        let [0xEB, address, command, _, _] = *frame else { return Heard::default() };
        if address != self.0.address {
            return Heard::default();
        }
        let told = match command {
            0x40 => Order::Release(Direction::Entry, 1),
            0x41 => Order::Release(Direction::Exit, 1),
            0x42 => Order::Open(&Direction::BOTH),
            0x43 => Order::Close,
            _ => Order::Nothing,
        };
        Heard { released: self.0.order(command, told), ..Heard::default() }
    }

    fn step(&mut self, direction: Direction, inside: bool) {
        if inside {
            self.0.pass(direction);
        }
    }
}

impl Hands for Tripod {
    fn is_open(&self, direction: Direction) -> bool {
        self.0.is_open(direction)
    }

    fn set_open(&mut self, direction: Direction, open: bool) {
        self.0.set_open(direction, open);
    }

    fn commands(&self) -> Vec<u8> {
        self.0.commands.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests;
