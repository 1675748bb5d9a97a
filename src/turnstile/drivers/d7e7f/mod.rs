//! `7e7f`: a controller that answers each command with its state, and counts passages.

pub mod codec;
mod device;
mod driver;

pub use self::driver::CountingTurnstile;
use super::kind::{Driver, Means};
use crate::turnstile::{
    settings::{Checked, FramedBoard, Keys, SerialLine},
    simulation::Board,
};

pub struct Kind;

impl Driver for Kind {
    const WORD: &str = "7e7f";
    const KEYS: &[&str] = FramedBoard::KEYS;
    type Config = FramedBoard;
    type Turnstile = CountingTurnstile;

    fn read(keys: &Keys<'_>) -> Checked<FramedBoard> {
        FramedBoard::read(keys)
    }

    fn place(config: &FramedBoard) -> Option<(&SerialLine, u8)> {
        Some((&config.line, config.address))
    }

    fn turnstile(config: &FramedBoard, means: &Means) -> CountingTurnstile {
        CountingTurnstile::new(config.clone(), means.buses.port(&config.line))
    }

    fn board(address: u8) -> Box<dyn Board> {
        Box::new(device::Counter::new(address))
    }
}
