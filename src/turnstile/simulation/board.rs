//! The trait of a simulated controller: how it answers a frame and how it shows a passage.
//!
//! Each driver's folder has a simulated controller with a codec of its own, so that the driver and
//! the controller do not share a mistake. Entry is coil and input 0, or the left side. Exit is coil
//! and input 1, or the right side.

use std::fmt;

#[cfg(any(test, feature = "failpoints"))]
use super::arm::{Arm, Order};
use crate::turnstile::settings::Direction;

/// One controller, without its line.
pub trait Board: fmt::Debug + Send + Hands {
    /// Returns the length of the whole frame that these bytes begin with, for any address.
    fn whole(&self, heard: &[u8]) -> Option<usize>;

    fn hear(&mut self, frame: &[u8]) -> Heard;

    /// Shows a person in the passage and counts the person, or shows an empty passage.
    fn step(&mut self, direction: Direction, inside: bool);

    /// Returns whether the board shows a person only while the person is in its passage sensor. The
    /// simulated person then stays there until the sensor was read.
    fn has_sensor(&self) -> bool {
        false
    }
}

/// The effect of a frame.
#[derive(Debug, Default)]
pub struct Heard {
    pub answer: Option<Vec<u8>>,
    /// Directions that this frame released.
    pub released: Vec<Direction>,
    /// The frame asked for the state that shows a passage.
    pub looked: bool,
}

/// Operations on a controller that only tests use.
#[cfg(any(test, feature = "failpoints"))]
pub trait Hands {
    /// Returns the command in a frame, or `None` if the frame is for another controller.
    fn order(&self, frame: &[u8]) -> Option<Order>;

    /// Returns the arm, if the controller has one.
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

    /// Returns this controller's answer with another controller's `address`.
    fn readdressed(&self, answer: Vec<u8>, _address: u8) -> Vec<u8> {
        answer
    }

    /// Returns this exception for a frame with this Modbus function, if it is for this board.
    fn refused(&self, _frame: &[u8], _function: u8, _code: u8) -> Option<Vec<u8>> {
        None
    }

    /// Returns the answer with this value to a frame that writes a coil of this board.
    fn written_as(&self, _frame: &[u8], _value: u16) -> Option<Vec<u8>> {
        None
    }

    fn set_input(&mut self, _number: u16, _on: bool) {}

    fn set_counted(&mut self, _direction: Direction, _passages: u32) {}

    fn set_trouble(&mut self, _fault: u8, _alarm: u8) {}
}

/// Operations on a controller that only tests use. The shipped program has none of them.
#[cfg(not(any(test, feature = "failpoints")))]
pub trait Hands {}

#[cfg(not(any(test, feature = "failpoints")))]
impl<T> Hands for T {}
