//! `simulated`: no controller at all, for the bench and the demo.

mod config;
mod driver;

pub use self::{config::SimulatedTurnstile, driver::Simulated};
use super::{
    kind::{Driver, Means},
    modbus_rtu,
};
use crate::turnstile::{
    settings::{Checked, Keys, SerialLine},
    simulation::Board,
};

pub struct Kind;

impl Driver for Kind {
    const WORD: &str = "simulated";
    const KEYS: &[&str] = &["pass_after_ms", "passes", "fire_input"];
    const SIMULATED: bool = true;
    type Config = SimulatedTurnstile;
    type Turnstile = Simulated;

    fn read(keys: &Keys<'_>) -> Checked<SimulatedTurnstile> {
        SimulatedTurnstile::read(keys)
    }

    fn place(_: &SimulatedTurnstile) -> Option<(&SerialLine, u8)> {
        None
    }

    fn turnstile(config: &SimulatedTurnstile, means: &Means) -> Simulated {
        Simulated::new(config.clone(), means.clock.clone(), means.tap.clone())
    }

    fn board(address: u8) -> Box<dyn Board> {
        modbus_rtu::Kind::board(address)
    }
}
