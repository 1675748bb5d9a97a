//! What makes a folder a driver.

#![warn(missing_docs)]

use tokio::sync::broadcast;

#[cfg(any(test, feature = "failpoints"))]
use crate::turnstile::simulation::Board;
use crate::turnstile::{
    bus::{Buses, Session},
    port::Turnstile,
    settings::{SerialLine, Settings},
    simulation::DeviceFrame,
};

/// Frames kept for a slow listener at the tap; it loses the oldest.
const TAPPED_FRAMES: usize = 64;

/// What a driver's folder tells the rest of the program.
pub trait Driver: Turnstile + Sized {
    /// Its name in the configuration.
    const WORD: &'static str;
    /// It stands for hardware that is not there: refused unless `mode = "bench"`.
    const SIMULATED: bool = false;

    /// Its keys of `[lane.turnstile]`.
    type Config: Settings;

    /// The driver, not connected yet.
    fn new(config: Self::Config, means: &Means) -> Self;

    /// What `gatehouse check` says of a controller after a connection.
    fn found(address: u8, port: &str) -> String {
        format!("address {address} answers on {port}")
    }

    /// A simulated controller, for tests.
    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn Board>;

    /// Looks for answers among any bytes, and reads them. It panics where something does not hold.
    #[cfg(any(test, fuzzing))]
    fn fuzz(_heard: &[u8]) {}
}

/// What a driver may be made of.
#[derive(Clone)]
pub struct Means {
    /// The serial lines, each of which may carry several controllers.
    pub buses: Buses,
    /// Where a simulated line shows its frames.
    pub tap: broadcast::Sender<DeviceFrame>,
}

impl Means {
    /// Returns the means on these lines.
    pub fn new(buses: &Buses) -> Means {
        Means { buses: buses.clone(), tap: broadcast::channel(TAPPED_FRAMES).0 }
    }

    /// A place at a line, which is the same for all that name its port.
    pub fn session(&self, line: &SerialLine, address: u8) -> Session {
        Session::new(self.buses.port(line), address)
    }
}
