//! `eb`: a tripod controller that takes commands and never answers.

pub mod codec;
#[cfg(any(test, feature = "failpoints"))]
mod device;
mod driver;

pub use self::driver::OneWayTurnstile;
use super::kind::{Driver, Means};
use crate::turnstile::settings::FramedBoard;

pub struct Kind;

impl Driver for Kind {
    const WORD: &str = "eb";
    type Config = FramedBoard;
    type Turnstile = OneWayTurnstile;

    fn turnstile(config: &FramedBoard, means: &Means) -> OneWayTurnstile {
        OneWayTurnstile::new(config.clone(), means.buses.port(&config.line))
    }

    fn found(_: u8, port: &str) -> String {
        format!("{port} opens; \"eb\" never answers: try `gatehouse lane release`")
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn crate::turnstile::simulation::Board> {
        Box::new(device::Tripod::new(address))
    }
}
