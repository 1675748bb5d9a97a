//! The wall clock was set, or its synchronisation came or went.

use super::Kind;
pub use crate::clock::ClockChange;

impl Kind for ClockChange {
    const NAME: &str = "clock";
}
