//! The settings of the simulated controller, and the controller: one Modbus board on a line.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::super::{
    kind::Driver,
    modbus_rtu::{self, ModbusTurnstile},
};
use crate::{
    clock::Clock,
    turnstile::{
        error::TurnstileError,
        settings::{Checked, Keys, Settings},
        simulation::{DeviceFrame, SimulatedBus, SimulatedDevice, SimulatedLine, Speaks},
    },
};

const ADDRESS: u8 = 1;

/// The settings of the simulated controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedTurnstile {
    /// Time from a release to its passage. `None`: no person passes.
    pub pass_after: Option<Duration>,
    /// The input that is on while there is a fire alarm.
    pub fire_input: Option<u16>,
}

impl Settings for SimulatedTurnstile {
    const KEYS: &[&str] = &["pass_after_ms", "passes", "fire_input"];

    fn read(keys: &Keys<'_>) -> Checked<SimulatedTurnstile> {
        let after = keys.whole::<_, 0, 600_000>("pass_after_ms")?.unwrap_or(700);
        let passes = keys.given("passes")?.unwrap_or(true);
        Ok(SimulatedTurnstile {
            pass_after: passes.then_some(Duration::from_millis(after)),
            fire_input: keys.whole::<_, 0, 65_535>("fire_input")?,
        })
    }
}

impl SimulatedTurnstile {
    /// Opens a simulated line and returns its controller. Must be called within a tokio runtime.
    pub fn device(
        &self,
        clock: Arc<dyn Clock>,
        tap: broadcast::Sender<DeviceFrame>,
    ) -> Result<SimulatedDevice, TurnstileError> {
        let line = SimulatedLine {
            speaks: Speaks { driver: ModbusTurnstile::WORD, board: modbus_rtu::board },
            addresses: vec![ADDRESS],
            pass_after: self.pass_after,
            fire_input: self.fire_input,
            link: None,
        };
        let bus = SimulatedBus::spawn(line, clock, tap)?;
        bus.device(ADDRESS).ok_or_else(|| {
            let kind = tokio_serial::ErrorKind::NoDevice;
            let source = tokio_serial::Error::new(kind, "a line without its device");
            TurnstileError::NoSimulation { source }
        })
    }
}
