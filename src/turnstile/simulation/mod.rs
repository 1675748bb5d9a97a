//! Simulated controllers: one pseudo-terminal, and at it one or several devices of one protocol.
//!
//! In: true bytes on the terminal's master, and a test's or the demo's hands (people who walk, a
//! fire alarm, faults, a pulled plug). Out: true answers, and a [`DeviceFrame`] for each frame at
//! the tap. It touches one pseudo-terminal, and the link to it where there is to be one. After a
//! release somebody walks through, if the config says so.

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

/// The speed that a driver is told; a pseudo-terminal has none.
const BAUD: u32 = 9600;

/// One exchange as the line saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    pub at: Monotonic,
    pub received: Vec<u8>,
    /// Empty where all devices kept silent.
    pub answered: Vec<u8>,
}

/// The language of a line, by its driver's name in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Speaks {
    pub driver: &'static str,
    /// Makes a controller of this address.
    pub board: fn(u8) -> Box<dyn Board>,
}

/// What stands at a line.
#[derive(Clone, Debug)]
pub struct SimulatedLine {
    pub speaks: Speaks,
    /// A device each.
    pub addresses: Vec<u8>,
    /// After a release somebody walks through this much later; `None`: nobody ever does.
    pub pass_after: Option<Duration>,
    /// Of Modbus boards.
    pub fire_input: Option<u16>,
    /// A path that leads to the terminal, also after it was pulled out and plugged in again.
    pub link: Option<PathBuf>,
}

/// A line with its devices. It lives until it, and each [`SimulatedDevice`] of it, is dropped.
#[derive(Clone)]
pub struct SimulatedBus {
    shared: Arc<Shared>,
    _alive: Arc<DropGuard>,
}

/// One device at a line.
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
    /// What is wanted, and what is.
    plug: watch::Sender<bool>,
    plugged: watch::Sender<bool>,
    ended: CancellationToken,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Device {
    address: u8,
    mind: Mutex<Mind>,
    /// One after the other.
    ways: [tokio::sync::Mutex<()>; 2],
}

#[derive(Debug)]
struct Mind {
    board: Box<dyn Board>,
    #[cfg(any(test, feature = "failpoints"))]
    fault: Option<Fault>,
    releases: u64,
    passages: u64,
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
            let mind = Mind {
                board: (line.speaks.board)(*address),
                #[cfg(any(test, feature = "failpoints"))]
                fault: None,
                releases: 0,
                passages: 0,
                looks: 0,
            };
            let (address, mind) = (*address, Mutex::new(mind));
            (address, Arc::new(Device { address, mind, ways: Default::default() }))
        };
        let shared = Arc::new(Shared {
            devices: line.addresses.iter().map(device).collect(),
            line,
            path: Mutex::default(),
            tap,
            plug: watch::Sender::new(true),
            plugged: watch::Sender::new(false),
            ended: CancellationToken::new(),
            clock,
        });
        let ends = shared.plugged_in().map_err(|source| TurnstileError::NoSimulation { source })?;
        tokio::spawn(shared.clone().serve(ends));
        let alive = Arc::new(shared.ended.clone().drop_guard());
        Ok(Self { shared, _alive: alive })
    }

    /// The terminal that a driver opens, or the link to it.
    pub fn path(&self) -> PathBuf {
        let link = self.shared.line.link.clone();
        link.unwrap_or_else(|| lock(&self.shared.path).clone())
    }

    pub fn device(&self, address: u8) -> Option<SimulatedDevice> {
        let device = self.shared.devices.get(&address)?.clone();
        Some(SimulatedDevice { bus: self.clone(), device })
    }

    /// Each frame from now on. Lossy: a slow reader misses the oldest.
    pub fn frames(&self) -> broadcast::Receiver<DeviceFrame> {
        self.shared.tap.subscribe()
    }
}

impl SimulatedDevice {
    /// Its line: the terminal that a driver opens.
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

    /// Each frame of its line from now on. Lossy: a slow reader misses the oldest.
    pub fn frames(&self) -> broadcast::Receiver<DeviceFrame> {
        self.bus.frames()
    }
}
