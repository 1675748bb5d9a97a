//! `7e7f`: a controller that answers each command with its state, and counts passages.

pub mod codec;
#[cfg(any(test, feature = "failpoints"))]
mod device;
mod driver;

pub use self::driver::CountingTurnstile;
use super::kind::{Driver, Means};
use crate::turnstile::settings::FramedBoard;

pub struct Kind;

impl Driver for Kind {
    const WORD: &str = "7e7f";
    type Config = FramedBoard;
    type Turnstile = CountingTurnstile;

    fn turnstile(config: &FramedBoard, means: &Means) -> CountingTurnstile {
        CountingTurnstile::new(config.clone(), means.buses.port(&config.line))
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn crate::turnstile::simulation::Board> {
        Box::new(device::Counter::new(address))
    }
}
