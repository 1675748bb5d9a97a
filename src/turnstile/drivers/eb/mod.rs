//! `eb`: a tripod controller that takes commands and never answers.

pub mod codec;
mod device;
mod driver;

pub use self::driver::OneWayTurnstile;
use super::kind::{Driver, Means};
use crate::turnstile::{settings::FramedBoard, simulation::Board};

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

    fn board(address: u8) -> Box<dyn Board> {
        Box::new(device::Tripod::new(address))
    }
}
