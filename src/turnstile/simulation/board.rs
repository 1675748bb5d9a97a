//! A simulated controller's mind: what it makes of a frame, and how it shows who walks.
//!
//! Each driver's folder has one, with a codec of its own: the driver and the controller that it is
//! tested against do not share their mistakes. Entry is coil and input 0, the left side; exit is 1,
//! the right.

use std::fmt;

#[cfg(any(test, feature = "failpoints"))]
use super::arm::{Arm, Order};
use crate::turnstile::settings::Direction;

/// One controller, without its line.
pub trait Board: fmt::Debug + Send + Hands {
    /// The length of the whole frame that these bytes begin with, whichever address it is for.
    fn whole(&self, heard: &[u8]) -> Option<usize>;

    fn hear(&mut self, frame: &[u8]) -> Heard;

    /// Somebody is in the way, and was counted; or has left it.
    fn step(&mut self, direction: Direction, inside: bool);

    /// It shows who is in the way only while somebody is: they wait there until it was looked at.
    fn has_sensor(&self) -> bool {
        false
    }
}

/// What became of a frame.
#[derive(Debug, Default)]
pub struct Heard {
    pub answer: Option<Vec<u8>>,
    /// Directions that this frame released.
    pub released: Vec<Direction>,
    /// It asked for what shows a passage.
    pub looked: bool,
}

/// What only tests do to a controller.
#[cfg(any(test, feature = "failpoints"))]
pub trait Hands {
    /// What a frame tells this controller; `None` where it is for another one.
    fn order(&self, frame: &[u8]) -> Option<Order>;

    /// The arm of a controller that has one.
    fn arm(&mut self) -> Option<&mut Arm> {
        None
    }

    fn is_open(&mut self, direction: Direction) -> bool {
        let at = direction.index();
        self.arm().is_some_and(|arm| arm.open[at] || arm.passes[at] > 0)
    }

    fn set_open(&mut self, direction: Direction, open: bool) {
        if let Some(arm) = self.arm() {
            arm.open[direction.index()] = open;
        }
    }

    /// An answer of its own as the controller at `address` would give it.
    fn readdressed(&self, answer: Vec<u8>, _address: u8) -> Vec<u8> {
        answer
    }

    fn set_input(&mut self, _number: u16, _on: bool) {}

    fn set_counted(&mut self, _direction: Direction, _passages: u32) {}

    fn set_trouble(&mut self, _fault: u8, _alarm: u8) {}
}

/// What only tests do to a controller: nothing, in the shipped program.
#[cfg(not(any(test, feature = "failpoints")))]
pub trait Hands {}

#[cfg(not(any(test, feature = "failpoints")))]
impl<T> Hands for T {}
