//! `simulated`: no controller at all, for the bench and the demo.

mod config;
mod driver;

pub use self::{config::SimulatedTurnstile, driver::Simulated};
use super::kind::{Driver, Means};

pub struct Kind;

impl Driver for Kind {
    const WORD: &str = "simulated";
    const SIMULATED: bool = true;
    type Config = SimulatedTurnstile;
    type Turnstile = Simulated;

    fn turnstile(config: &SimulatedTurnstile, means: &Means) -> Simulated {
        Simulated::new(config.clone(), means.clock.clone(), means.tap.clone())
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn crate::turnstile::simulation::Board> {
        super::modbus_rtu::board(address)
    }
}
