//! Simulated controllers: one pseudo-terminal with one or more devices of one protocol.
//!
//! In: the driver's bytes from the pseudo-terminal, and operations of a test or the demo (passages,
//! a fire alarm, faults, unplugging). Out: the devices' answers, and a [`DeviceFrame`] for each
//! frame. It touches one pseudo-terminal, and a symbolic link to it if the caller wants one. If the
//! configuration says so, a simulated person passes after each release.

#[cfg(any(test, feature = "failpoints"))]
mod arm;
mod board;
#[cfg(any(test, feature = "failpoints"))]
mod hands;
mod served;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::board::{Board, Heard};
#[cfg(any(test, feature = "failpoints"))]
pub use self::{
    arm::{Arm, Order},
    board::Hands,
    hands::Fault,
};
use super::{error::TurnstileError, settings::SerialLine};
use crate::clock::{Clock, Monotonic};

/// The baud rate that a driver is configured with. A pseudo-terminal has none.
const BAUD: u32 = 9600;

/// One exchange on the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    pub at: Monotonic,
    pub received: Vec<u8>,
    /// Empty if no device answered.
    pub answered: Vec<u8>,
}

/// The protocol of a line.
#[derive(Clone, Copy, Debug)]
pub struct Speaks {
    /// The driver's name in the configuration.
    pub driver: &'static str,
    /// Creates a controller with this address.
    pub board: fn(u8) -> Box<dyn Board>,
}

/// The settings of a simulated line.
#[derive(Clone, Debug)]
pub struct SimulatedLine {
    pub speaks: Speaks,
    /// One device for each address.
    pub addresses: Vec<u8>,
    /// Time from a release to its passage. `None`: no person passes.
    pub pass_after: Option<Duration>,
    /// The fire alarm's input of each Modbus board.
    pub fire_input: Option<u16>,
    /// A symbolic link to the terminal. It leads to the new terminal after the adapter was
    /// unplugged and plugged in again.
    pub link: Option<PathBuf>,
}

/// A line with its devices. Its task ends when it and each of its [`SimulatedDevice`]s are dropped.
#[derive(Clone)]
pub struct SimulatedBus {
    shared: Arc<Shared>,
    _alive: Arc<DropGuard>,
}

/// One device on a line.
#[derive(Clone)]
pub struct SimulatedDevice {
    bus: SimulatedBus,
    device: Arc<Device>,
}

struct Shared {
    line: SimulatedLine,
    path: Mutex<PathBuf>,
    devices: BTreeMap<u8, Arc<Device>>,
    tap: broadcast::Sender<DeviceFrame>,
    /// Whether the adapter is to be plugged in.
    plug: watch::Sender<bool>,
    /// Whether the adapter is plugged in.
    plugged: watch::Sender<bool>,
    /// Whether the adapter echoes what the driver sends.
    #[cfg(any(test, feature = "failpoints"))]
    echoes: std::sync::atomic::AtomicBool,
    ended: CancellationToken,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Device {
    address: u8,
    state: Mutex<DeviceState>,
    /// Held while a person passes, so that people of one direction pass one after the other.
    ways: [tokio::sync::Mutex<()>; 2],
}

#[derive(Debug)]
struct DeviceState {
    board: Box<dyn Board>,
    #[cfg(any(test, feature = "failpoints"))]
    fault: Option<Fault>,
    /// The level at which the passage sensors stay although people walk. `None`: they work.
    #[cfg(any(test, feature = "failpoints"))]
    stuck: Option<bool>,
    pass_after: Option<Duration>,
    releases: u64,
    passages: u64,
    /// Number of frames that asked for the state that shows a passage.
    looks: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl SimulatedBus {
    /// Opens a pseudo-terminal and serves it. Must be called within a tokio runtime.
    pub fn spawn(
        line: SimulatedLine,
        clock: Arc<dyn Clock>,
        tap: broadcast::Sender<DeviceFrame>,
    ) -> Result<Self, TurnstileError> {
        let device = |address: &u8| {
            let state = DeviceState {
                board: (line.speaks.board)(*address),
                #[cfg(any(test, feature = "failpoints"))]
                fault: None,
                #[cfg(any(test, feature = "failpoints"))]
                stuck: None,
                pass_after: line.pass_after,
                releases: 0,
                passages: 0,
                looks: 0,
            };
            let (address, state) = (*address, Mutex::new(state));
            (address, Arc::new(Device { address, state, ways: Default::default() }))
        };
        let shared = Arc::new(Shared {
            devices: line.addresses.iter().map(device).collect(),
            line,
            path: Mutex::default(),
            tap,
            plug: watch::Sender::new(true),
            plugged: watch::Sender::new(false),
            #[cfg(any(test, feature = "failpoints"))]
            echoes: Default::default(),
            ended: CancellationToken::new(),
            clock,
        });
        let ends = shared.plugged_in().map_err(|source| TurnstileError::NoSimulation { source })?;
        tokio::spawn(shared.clone().serve(ends));
        let alive = Arc::new(shared.ended.clone().drop_guard());
        Ok(Self { shared, _alive: alive })
    }

    /// Returns the path of the terminal that a driver opens, or of the link to it.
    pub fn path(&self) -> PathBuf {
        let link = self.shared.line.link.clone();
        link.unwrap_or_else(|| lock(&self.shared.path).clone())
    }

    pub fn device(&self, address: u8) -> Option<SimulatedDevice> {
        let device = self.shared.devices.get(&address)?.clone();
        Some(SimulatedDevice { bus: self.clone(), device })
    }

    /// Returns a receiver of each frame from now on. A slow reader loses the oldest frames.
    pub fn frames(&self) -> broadcast::Receiver<DeviceFrame> {
        self.shared.tap.subscribe()
    }
}

impl SimulatedDevice {
    /// Returns the device's line: the terminal that a driver opens.
    pub fn line(&self) -> SerialLine {
        SerialLine { port: self.path(), baud: BAUD }
    }

    pub fn path(&self) -> PathBuf {
        self.bus.path()
    }

    pub fn address(&self) -> u8 {
        self.device.address
    }

    pub fn fire_input(&self) -> Option<u16> {
        self.bus.shared.line.fire_input
    }

    /// Returns a receiver of each frame of the device's line from now on. A slow reader loses the
    /// oldest frames.
    pub fn frames(&self) -> broadcast::Receiver<DeviceFrame> {
        self.bus.frames()
    }
}
