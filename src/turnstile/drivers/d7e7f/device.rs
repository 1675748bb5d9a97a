//! A simulated `7E/7F` controller: it answers each command with its state.

use crate::turnstile::{
    settings::Direction,
    simulation::{Arm, Board, Hands, Heard, Order},
};

#[derive(Debug, Default)]
pub struct Counter {
    arm: Arm,
    /// Passages to the left and to the right, 24 bits each.
    counted: [u32; 2],
    fault: u8,
    alarm: u8,
    infrared: u8,
}

impl Counter {
    pub fn new(address: u8) -> Self {
        Self { arm: Arm { address, ..Arm::default() }, ..Self::default() }
    }

    fn state(&self) -> Vec<u8> {
        let [left, right] = self.counted.map(u32::to_be_bytes);
        let head = [0x7F, 1, self.arm.address, self.fault, 0, self.alarm];
        summed([&head[..], &left[1..], &right[1..], &[self.infrared, 0, 12, 0, 0]].concat())
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
        let Some(order) = self.order(frame) else { return Heard::default() };
        let released = self.arm.carry_out(order).into_iter().collect();
        Heard { answer: Some(self.state()), released, looked: true }
    }

    fn step(&mut self, direction: Direction, inside: bool) {
        if inside {
            let counted = &mut self.counted[direction.index()];
            *counted = (*counted + 1) & 0xFF_FFFF;
            self.arm.pass(direction);
        }
    }
}

impl Hands for Counter {
    fn order(&self, frame: &[u8]) -> Option<Order> {
        let [0x7E, 0, machine, command, passes, _, _, _] = *frame else { return None };
        (machine == self.arm.address).then_some(match command {
            0x80 => Order::Release(Direction::Entry, passes),
            0x82 => Order::Release(Direction::Exit, passes),
            0x81 => Order::Open(&[Direction::Entry]),
            0x83 => Order::Open(&[Direction::Exit]),
            0x84 => Order::Close,
            _ => Order::Look,
        })
    }

    fn arm(&mut self) -> Option<&mut Arm> {
        Some(&mut self.arm)
    }

    fn readdressed(&self, mut answer: Vec<u8>, address: u8) -> Vec<u8> {
        answer.pop();
        answer.iter_mut().skip(2).take(1).for_each(|byte| *byte = address);
        summed(answer)
    }

    fn set_counted(&mut self, direction: Direction, passages: u32) {
        self.counted[direction.index()] = passages & 0xFF_FFFF;
    }

    fn set_infrared(&mut self, infrared: u8) {
        self.infrared = infrared;
    }

    fn set_trouble(&mut self, fault: u8, alarm: u8) {
        (self.fault, self.alarm) = (fault, alarm);
    }
}

#[cfg(test)]
mod tests;
