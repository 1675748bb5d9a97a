//! The trait that each driver implements, and what a driver is created from.

use tokio::sync::broadcast;

#[cfg(any(test, feature = "failpoints"))]
use crate::turnstile::simulation::Board;
use crate::turnstile::{
    bus::{Buses, Session},
    port::Turnstile,
    settings::{SerialLine, Settings},
    simulation::DeviceFrame,
};

/// Maximum number of frames kept for a slow subscriber of the tap, which loses the oldest.
const TAPPED_FRAMES: usize = 64;

/// A driver's name, configuration and constructors.
pub trait Driver: Turnstile + Sized {
    /// The driver's name in the configuration.
    const WORD: &'static str;
    /// Whether the driver simulates its hardware. Refused unless `mode = "bench"`.
    const SIMULATED: bool = false;

    /// The driver's keys of `[lane.turnstile]`.
    type Config: Settings;

    /// Creates a driver that is not connected.
    fn new(config: Self::Config, means: &Means) -> Self;

    /// Returns what `gatehouse check` shows after a connection.
    fn found(address: u8, port: &str) -> String {
        format!("address {address} answers on {port}")
    }

    /// Creates a simulated controller for tests.
    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn Board>;

    /// Looks for answers among any bytes and reads them. Panics if an assertion fails.
    #[cfg(any(test, fuzzing))]
    fn fuzz(_heard: &[u8]) {}
}

/// The resources that a driver is created with.
#[derive(Clone)]
pub struct Means {
    /// The serial lines. Several controllers may share a line.
    pub buses: Buses,
    /// Receives the frames of a simulated line.
    pub tap: broadcast::Sender<DeviceFrame>,
}

impl Means {
    /// Creates the resources for these lines.
    pub fn new(buses: &Buses) -> Means {
        Means { buses: buses.clone(), tap: broadcast::channel(TAPPED_FRAMES).0 }
    }

    /// Returns a session for an address on a line. Sessions of the same port share its task.
    pub fn session(&self, line: &SerialLine, address: u8) -> Session {
        Session::new(self.buses.port(line), address)
    }
}
