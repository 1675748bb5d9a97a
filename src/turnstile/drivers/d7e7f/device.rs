//! A simulated `7E/7F` controller: it answers each command with its state.

use crate::turnstile::{
    settings::Direction,
    simulation::{Arm, Board, Hands, Heard, Order, at},
};

#[derive(Debug, Default)]
pub struct Counter {
    arm: Arm,
    /// 24 bits, left and right.
    counted: [u32; 2],
    fault: u8,
    alarm: u8,
}

impl Counter {
    pub fn new(address: u8) -> Self {
        Self { arm: Arm { address, ..Arm::default() }, ..Self::default() }
    }

    fn state(&self) -> Vec<u8> {
        let [left, right] = self.counted.map(u32::to_be_bytes);
        let head = [0x7F, 1, self.arm.address, self.fault, 0, self.alarm];
        summed([&head[..], &left[1..], &right[1..], &[0, 0, 12, 0, 0]].concat())
    }
}

fn total(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn summed(mut body: Vec<u8>) -> Vec<u8> {
    body.push(!total(&body));
    body
}

impl Board for Counter {
    fn whole(&self, heard: &[u8]) -> Option<usize> {
        let frame = heard.get(..8)?;
        (frame.first() == Some(&0x7E) && total(frame) == 0xFF).then_some(8)
    }

    fn hear(&mut self, frame: &[u8]) -> Heard {
        let [0x7E, 0, machine, command, passes, _, _, _] = *frame else {
            return Heard::default();
        };
        if machine != self.arm.address {
            return Heard::default();
        }
        let told = match command {
            0x80 => Order::Release(Direction::Entry, passes),
            0x82 => Order::Release(Direction::Exit, passes),
            0x81 => Order::Open(&[Direction::Entry]),
            0x83 => Order::Open(&[Direction::Exit]),
            0x84 => Order::Close,
            _ => Order::Nothing,
        };
        let released = self.arm.order(command, told);
        Heard { answer: Some(self.state()), released, looked: true }
    }

    fn step(&mut self, direction: Direction, inside: bool) {
        if inside {
            let counted = &mut self.counted[at(direction)];
            *counted = (*counted + 1) & 0xFF_FFFF;
            self.arm.pass(direction);
        }
    }
}

impl Hands for Counter {
    fn is_open(&self, direction: Direction) -> bool {
        self.arm.is_open(direction)
    }

    fn set_open(&mut self, direction: Direction, open: bool) {
        self.arm.set_open(direction, open);
    }

    fn readdressed(&self, mut answer: Vec<u8>, address: u8) -> Vec<u8> {
        answer.pop();
        answer.iter_mut().skip(2).take(1).for_each(|byte| *byte = address);
        summed(answer)
    }

    fn set_counted(&mut self, direction: Direction, passages: u32) {
        self.counted[at(direction)] = passages & 0xFF_FFFF;
    }

    fn set_trouble(&mut self, fault: u8, alarm: u8) {
        (self.fault, self.alarm) = (fault, alarm);
    }

    fn commands(&self) -> Vec<u8> {
        self.arm.commands.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests;
