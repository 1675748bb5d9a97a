//! The driver `simulated`: an ordinary Modbus driver with a device of its own at the other end.
//!
//! In and out as any [`Turnstile`]; it touches one pseudo-terminal.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{
    super::modbus_rtu::{ModbusRtu, ModbusTurnstile},
    config::SimulatedTurnstile,
};
use crate::{
    clock::{Clock, Monotonic},
    turnstile::{
        bus::Buses,
        error::TurnstileError,
        port::{Met, Seen, Turnstile},
        settings::Direction,
        simulation::{DeviceFrame, SimulatedDevice},
    },
};

/// A [`SimulatedDevice`], made at the first connection, and a [`ModbusTurnstile`] for it. Refused by
/// the config unless `mode = "bench"`.
pub struct Simulated {
    config: SimulatedTurnstile,
    clock: Arc<dyn Clock>,
    tap: broadcast::Sender<DeviceFrame>,
    made: Option<(SimulatedDevice, ModbusTurnstile)>,
}

impl Simulated {
    pub fn new(
        config: SimulatedTurnstile,
        clock: Arc<dyn Clock>,
        tap: broadcast::Sender<DeviceFrame>,
    ) -> Self {
        Self { config, clock, tap, made: None }
    }

    fn driver(&mut self) -> Result<&mut ModbusTurnstile, TurnstileError> {
        match &mut self.made {
            Some((_, driver)) => Ok(driver),
            None => Err(TurnstileError::NotConnected { port: "simulated".to_owned() }),
        }
    }
}

impl Turnstile for Simulated {
    fn port(&self) -> String {
        "simulated".to_owned()
    }

    fn confirms_passage(&self) -> bool {
        true
    }

    async fn connect(&mut self) -> Result<Met, TurnstileError> {
        if self.made.is_none() {
            let device = self.config.device(self.clock.clone(), self.tap.clone())?;
            let config = ModbusRtu {
                fire_input: self.config.fire_input,
                ..ModbusRtu::usual(device.line(), device.address())
            };
            let port = Buses::new(self.clock.clone()).port(&config.line);
            self.made = Some((device, ModbusTurnstile::new(config, port)));
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

    async fn poll(&mut self) -> Result<Seen, TurnstileError> {
        self.driver()?.poll().await
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        self.driver()?.hold(open).await
    }

    async fn withdraw(&mut self) -> Result<(), TurnstileError> {
        match &mut self.made {
            Some((_, driver)) => driver.withdraw().await,
            None => Ok(()),
        }
    }
}
