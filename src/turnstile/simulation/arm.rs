//! An arm that is told what to do by commands: the common part of controllers that only tests
//! simulate.

use crate::turnstile::settings::Direction;

/// What an arm was told.
#[derive(Clone, Debug, Default)]
pub struct Arm {
    pub address: u8,
    /// People who may pass, in each direction.
    pub passes: [u32; 2],
    pub open: [bool; 2],
}

/// What a frame tells a controller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Lets so many people through.
    Release(Direction, u8),
    Open(&'static [Direction]),
    Close,
    /// It moves nothing.
    Look,
}

impl Arm {
    /// Returns the direction that was released.
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

    /// Somebody has gone through.
    pub fn pass(&mut self, direction: Direction) {
        let passes = &mut self.passes[direction.index()];
        *passes = passes.saturating_sub(1);
    }
}
