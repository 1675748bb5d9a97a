//! An arm that is told what to do by commands: the common part of controllers that only tests
//! simulate.

use std::collections::VecDeque;

use super::board::at;
use crate::turnstile::settings::Direction;

/// What an arm was told.
#[derive(Clone, Debug, Default)]
pub struct Arm {
    pub address: u8,
    /// People who may pass, in each direction.
    pub passes: [u32; 2],
    pub open: [bool; 2],
    /// The newest commands.
    pub commands: VecDeque<u8>,
}

/// Maximum number of commands that an arm remembers.
const COMMANDS: usize = 256;

pub enum Order {
    Release(Direction, u8),
    Open(&'static [Direction]),
    Close,
    Nothing,
}

impl Arm {
    /// Carries out a command. Returns the direction that it released.
    pub fn order(&mut self, command: u8, told: Order) -> Vec<Direction> {
        if self.commands.len() == COMMANDS {
            self.commands.pop_front();
        }
        self.commands.push_back(command);
        match told {
            Order::Release(direction, passes) => {
                self.passes[at(direction)] += u32::from(passes);
                return vec![direction];
            }
            Order::Open(directions) => directions.iter().for_each(|d| self.open[at(*d)] = true),
            Order::Close => (self.passes, self.open) = ([0; 2], [false; 2]),
            Order::Nothing => {}
        }
        Vec::new()
    }

    /// Somebody has gone through.
    pub fn pass(&mut self, direction: Direction) {
        let passes = &mut self.passes[at(direction)];
        *passes = passes.saturating_sub(1);
    }

    pub fn is_open(&self, direction: Direction) -> bool {
        self.open[at(direction)] || self.passes[at(direction)] > 0
    }

    pub fn set_open(&mut self, direction: Direction, open: bool) {
        self.open[at(direction)] = open;
    }
}
