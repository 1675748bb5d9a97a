//! A simulated `EB` tripod. It obeys frames for its own address and never answers.

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
        let released = self.order(frame).and_then(|order| self.0.carry_out(order));
        Heard { released: released.into_iter().collect(), ..Heard::default() }
    }

    fn step(&mut self, direction: Direction, inside: bool) {
        if inside {
            self.0.pass(direction);
        }
    }
}

impl Hands for Tripod {
    fn order(&self, frame: &[u8]) -> Option<Order> {
        let [0xEB, address, command, _, _] = *frame else { return None };
        (address == self.0.address).then_some(match command {
            0x40 => Order::Release(Direction::Entry, 1),
            0x41 => Order::Release(Direction::Exit, 1),
            0x42 => Order::Open(&Direction::BOTH),
            0x43 => Order::Close,
            _ => Order::Look,
        })
    }

    fn arm(&mut self) -> Option<&mut Arm> {
        Some(&mut self.0)
    }
}

#[cfg(test)]
mod tests;
