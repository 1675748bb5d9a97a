//! What makes a folder a driver.

#![warn(missing_docs)]

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::{
    clock::Clock,
    turnstile::{bus::Buses, port::Turnstile, settings::Settings, simulation::DeviceFrame},
};

/// What a driver's folder tells the rest of the program.
pub trait Driver {
    /// Its name in the configuration.
    const WORD: &'static str;
    /// It stands for hardware that is not there: refused unless `mode = "bench"`.
    const SIMULATED: bool = false;

    /// Its keys of `[lane.turnstile]`.
    type Config: Settings;
    /// Its end of the port.
    type Turnstile: Turnstile;

    /// The driver, not connected yet.
    fn turnstile(config: &Self::Config, means: &Means) -> Self::Turnstile;

    /// What `gatehouse check` says of a controller after a connection.
    fn found(address: u8, port: &str) -> String {
        format!("address {address} answers on {port}")
    }

    /// A simulated controller, for tests.
    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn crate::turnstile::simulation::Board>;
}

/// What a driver may be made of.
#[derive(Clone)]
pub struct Means {
    /// The serial lines, each of which may carry several controllers.
    pub buses: Buses,
    /// The clock that deadlines are measured by.
    pub clock: Arc<dyn Clock>,
    /// Where a simulated line shows its frames.
    pub tap: broadcast::Sender<DeviceFrame>,
}
