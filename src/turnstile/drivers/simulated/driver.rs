//! The driver `simulated`: the Modbus driver, connected to a simulated board.
//!
//! In and out: as for any [`Turnstile`]. It touches one pseudo-terminal.

use super::{
    super::{
        kind::{Driver, Means},
        modbus_rtu::{ModbusRtu, ModbusTurnstile},
    },
    config::SimulatedTurnstile,
};
#[cfg(any(test, feature = "failpoints"))]
use crate::turnstile::simulation::Board;
use crate::{
    clock::Monotonic,
    turnstile::{
        error::TurnstileError,
        port::{ConnectReport, Polled, Turnstile},
        settings::Direction,
        simulation::SimulatedDevice,
    },
};

/// A [`SimulatedDevice`], created at the first connection, and its [`ModbusTurnstile`]. The
/// configuration refuses this driver unless `mode = "bench"`.
pub struct Simulated {
    config: SimulatedTurnstile,
    means: Means,
    made: Option<(SimulatedDevice, ModbusTurnstile)>,
}

impl Simulated {
    fn driver(&mut self) -> Result<&mut ModbusTurnstile, TurnstileError> {
        match &mut self.made {
            Some((_, driver)) => Ok(driver),
            None => Err(TurnstileError::NotConnected { port: Self::WORD.to_owned() }),
        }
    }
}

impl Driver for Simulated {
    const WORD: &str = "simulated";
    const SIMULATED: bool = true;
    type Config = SimulatedTurnstile;

    fn new(config: SimulatedTurnstile, means: &Means) -> Self {
        Self { config, means: means.clone(), made: None }
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn Board> {
        ModbusTurnstile::board(address)
    }
}

impl Turnstile for Simulated {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        if self.made.is_none() {
            let device = self.config.device(self.means.buses.clock(), self.means.tap.clone())?;
            let config = ModbusRtu {
                fire_input: self.config.fire_input,
                ..ModbusRtu::usual(device.line(), device.address())
            };
            self.made = Some((device, ModbusTurnstile::new(config, &self.means)));
        }
        self.driver()?.connect().await
    }

    async fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> Result<(), TurnstileError> {
        self.driver()?.release(direction, deadline).await
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        self.driver()?.poll().await
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        self.driver()?.hold(open).await
    }

    async fn withdraw(&mut self, direction: Direction) -> Result<(), TurnstileError> {
        self.driver()?.withdraw(direction).await
    }
}
