//! Simulated controllers: one pseudo-terminal, and at it one or several devices of one protocol.
//!
//! In: true bytes on the terminal's master, and a test's or the demo's hands (people who walk, a
//! fire alarm, faults, a pulled plug). Out: true answers, and a [`DeviceFrame`] for each frame at
//! the tap. It touches one pseudo-terminal, and the link to it where there is to be one. After a
//! release somebody walks through, if the config says so.

mod boards;
mod served;
mod slave;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{broadcast, watch};
use tokio_serial::{SerialPort, SerialStream};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::boards::Protocol;
use self::{boards::Board, served::Served};
use super::TurnstileError;
use crate::{
    clock::{Clock, Monotonic},
    config::{
        Direction, FramedBoard, ModbusRtu, PerDirection, SerialLine, Side, SimulatedTurnstile,
        TurnstileDriver,
    },
};

/// Where a board is when nobody says, and what is wired to it: the defaults of `modbus-rtu`.
const ADDRESS: u8 = 1;
const COILS: PerDirection = PerDirection { entry: 0, exit: 1 };
const INPUTS: PerDirection = PerDirection { entry: 0, exit: 1 };
const PULSE: Duration = Duration::from_millis(500);
const BAUD: u32 = 9600;

/// One exchange as the line saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    pub at: Monotonic,
    pub received: Vec<u8>,
    /// Empty where all devices kept silent.
    pub answered: Vec<u8>,
}

/// How a device can misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Does not hear: nothing is carried out, nothing answered.
    Deaf,
    /// Carries out and does not answer.
    Mute,
    /// Carries out and answers this much later.
    Late(Duration),
    /// The answer's checksum is wrong.
    WrongChecksum,
    /// The answer comes from this address.
    FromAddress(u8),
    /// These bytes come before the answer.
    Noise(Vec<u8>),
    /// Half an answer comes.
    Half,
}

/// What stands at a line.
#[derive(Clone, Debug)]
pub struct SimulatedLine {
    pub protocol: Protocol,
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
#[derive(Clone, Debug)]
pub struct SimulatedBus {
    shared: Arc<Shared>,
    _alive: Arc<DropGuard>,
}

/// One device at a line.
#[derive(Clone, Debug)]
pub struct SimulatedDevice {
    bus: SimulatedBus,
    device: Arc<Device>,
}

#[derive(Debug)]
struct Shared {
    line: SimulatedLine,
    path: Mutex<PathBuf>,
    devices: BTreeMap<u8, Arc<Device>>,
    tap: broadcast::Sender<DeviceFrame>,
    /// What is wanted, and what is.
    plug: watch::Sender<bool>,
    plugged: watch::Sender<bool>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Device {
    address: u8,
    board: Mutex<(Board, Option<Fault>)>,
    releases: AtomicU64,
    passages: AtomicU64,
    looks: AtomicU64,
    /// One after the other.
    ways: [tokio::sync::Mutex<()>; 2],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The two ends of a new pseudo-terminal, and the path of the second.
fn terminal() -> Result<(SerialStream, SerialStream, PathBuf), TurnstileError> {
    let no_simulation = |source| TurnstileError::NoSimulation { source };
    let (master, terminal) = SerialStream::pair().map_err(no_simulation)?;
    let path = terminal.name().map(PathBuf::from).ok_or_else(|| {
        let kind = tokio_serial::ErrorKind::NoDevice;
        no_simulation(tokio_serial::Error::new(kind, "a terminal without a name"))
    })?;
    Ok((master, terminal, path))
}

impl SimulatedBus {
    /// Opens a pseudo-terminal and serves it. Must be called within a tokio runtime.
    pub fn spawn(
        line: SimulatedLine,
        clock: Arc<dyn Clock>,
        tap: broadcast::Sender<DeviceFrame>,
    ) -> Result<Self, TurnstileError> {
        let (master, held, path) = terminal()?;
        let device = |address: &u8| {
            let board = Mutex::new((Board::new(line.protocol, *address), None));
            let device = Device {
                address: *address,
                board,
                releases: AtomicU64::new(0),
                passages: AtomicU64::new(0),
                looks: AtomicU64::new(0),
                ways: Default::default(),
            };
            (*address, Arc::new(device))
        };
        let shared = Arc::new(Shared {
            devices: line.addresses.iter().map(device).collect(),
            line,
            path: Mutex::default(),
            tap,
            plug: watch::Sender::new(true),
            plugged: watch::Sender::new(true),
            ended: CancellationToken::new(),
        });
        shared.plugged_in(path).map_err(|e| TurnstileError::NoSimulation { source: e.into() })?;
        let served = Served { shared: shared.clone(), clock };
        tokio::spawn(served.serve(master, held));
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

    /// Pulls the adapter out; returns when it is gone.
    pub async fn unplug(&self) {
        self.shared.plug.send_replace(false);
        let _ = self.shared.plugged.subscribe().wait_for(|plugged| !plugged).await;
    }

    /// Plugs it in again. Without a link it has another path then.
    pub async fn replug(&self) {
        self.shared.plug.send_replace(true);
        let _ = self.shared.plugged.subscribe().wait_for(|plugged| *plugged).await;
    }
}

impl SimulatedDevice {
    /// A Modbus board alone at a line. Must be called within a tokio runtime.
    pub fn spawn(
        config: &SimulatedTurnstile,
        clock: Arc<dyn Clock>,
        tap: broadcast::Sender<DeviceFrame>,
    ) -> Result<Self, TurnstileError> {
        let line = SimulatedLine {
            protocol: Protocol::Modbus,
            addresses: vec![ADDRESS],
            pass_after: config.pass_after,
            fire_input: config.fire_input,
            link: None,
        };
        let bus = SimulatedBus::spawn(line, clock, tap)?;
        bus.device(ADDRESS).ok_or_else(|| {
            let kind = tokio_serial::ErrorKind::NoDevice;
            let source = tokio_serial::Error::new(kind, "a line without its device");
            TurnstileError::NoSimulation { source }
        })
    }

    /// The terminal that a driver opens.
    pub fn path(&self) -> PathBuf {
        self.bus.path()
    }

    /// The config of a driver for this device.
    pub fn driver(&self) -> TurnstileDriver {
        let framed = || FramedBoard {
            line: self.line(),
            address: self.device.address,
            entry_side: Side::Left,
        };
        match self.bus.shared.line.protocol {
            Protocol::Modbus => TurnstileDriver::ModbusRtu(self.modbus_config()),
            Protocol::Counting => TurnstileDriver::Counting(framed()),
            Protocol::OneWay => TurnstileDriver::OneWay(framed()),
        }
    }

    pub fn modbus_config(&self) -> ModbusRtu {
        ModbusRtu {
            line: self.line(),
            address: self.device.address,
            release_coil: COILS,
            passage_input: INPUTS,
            fire_input: self.bus.shared.line.fire_input,
            pulse: PULSE,
        }
    }

    fn line(&self) -> SerialLine {
        SerialLine { port: self.path(), baud: BAUD }
    }

    /// Each frame of its line from now on. Lossy: a slow reader misses the oldest.
    pub fn frames(&self) -> broadcast::Receiver<DeviceFrame> {
        self.bus.frames()
    }

    /// Whether a direction is open: its coil is on, passes are left, or it is kept open.
    pub fn released(&self, direction: Direction) -> bool {
        self.device.board().0.is_open(direction)
    }

    /// Opens or closes a direction behind the driver's back.
    pub fn set_released(&self, direction: Direction, open: bool) {
        self.device.board().0.set_open(direction, open);
    }

    /// Releases received, by command; each coil of a Modbus board that is switched on is one.
    pub fn releases(&self) -> u64 {
        self.device.releases.load(Ordering::Relaxed)
    }

    /// People who walked through, after a release or without.
    pub fn passages(&self) -> u64 {
        self.device.passages.load(Ordering::Relaxed)
    }

    /// The newest commands of a 7E/7F or EB controller.
    pub fn commands(&self) -> Vec<u8> {
        self.device.board().0.commands()
    }

    /// Somebody walks through, released or not, when those before have.
    pub fn walk(&self, direction: Direction) {
        self.bus.shared.somebody_walks(&self.device, direction, Duration::ZERO);
    }

    /// Puts somebody into a Modbus board's passage sensor, or out of it.
    pub fn set_sensor(&self, direction: Direction, on: bool) {
        self.device.board().0.set_input(INPUTS.get(direction), on);
    }

    /// The fire alarm goes on or off.
    pub fn set_fire(&self, on: bool) {
        if let Some(input) = self.bus.shared.line.fire_input {
            self.device.board().0.set_input(input, on);
        }
    }

    /// Sets a 7E/7F controller's counter: 24 bits.
    pub fn set_counted(&self, direction: Direction, passages: u32) {
        self.device.board().0.set_counted(direction, passages);
    }

    /// A 7E/7F controller reports these.
    pub fn set_trouble(&self, fault: u8, alarm: u8) {
        if let Board::Counter(counter) = &mut self.device.board().0 {
            (counter.fault, counter.alarm) = (fault, alarm);
        }
    }

    /// Misbehaves from the next frame on; `None` makes it well.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.device.board().1 = fault;
    }
}
