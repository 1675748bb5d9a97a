//! An arm that commands move: the common part of the simulated controllers that only tests use.

use crate::turnstile::settings::Direction;

/// The state of an arm.
#[derive(Clone, Debug, Default)]
pub struct Arm {
    pub address: u8,
    /// Number of people who may pass, in each direction.
    pub passes: [u32; 2],
    pub open: [bool; 2],
}

/// The command in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Releases the arm for this number of people.
    Release(Direction, u8),
    Open(&'static [Direction]),
    Close,
    /// A command that does not move the arm.
    Look,
}

impl Arm {
    /// Carries out a command, and returns the direction that it released.
    pub fn carry_out(&mut self, order: Order) -> Option<Direction> {
        match order {
            Order::Release(direction, passes) => {
                self.passes[direction.index()] += u32::from(passes);
                return Some(direction);
            }
            Order::Open(directions) => directions.iter().for_each(|d| self.open[d.index()] = true),
            Order::Close => (self.passes, self.open) = ([0; 2], [false; 2]),
            Order::Look => {}
        }
        None
    }

    /// Counts a person who passed.
    pub fn pass(&mut self, direction: Direction) {
        let passes = &mut self.passes[direction.index()];
        *passes = passes.saturating_sub(1);
    }
}
