//! The simulated turnstile's device: a relay board on a pseudo-terminal.
//!
//! In: true Modbus RTU bytes on the terminal's master, and a test's or the demo's hands (inputs
//! pressed, faults). Out: true answers, and a [`DeviceFrame`] for each frame at the tap. It
//! touches one pseudo-terminal. After a release somebody walks through, if the config says so.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::broadcast,
    time::{sleep, timeout},
};
use tokio_serial::{SerialPort, SerialStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{TurnstileError, slave};
use crate::{
    clock::{Clock, Monotonic},
    config::{Direction, ModbusRtu, PerDirection, SerialLine, SimulatedTurnstile},
};

/// Where the board is and what is wired to it: the defaults of `modbus-rtu`.
const ADDRESS: u8 = 1;
const COILS: PerDirection = PerDirection { entry: 0, exit: 1 };
const INPUTS: PerDirection = PerDirection { entry: 0, exit: 1 };
const PULSE: Duration = Duration::from_millis(500);
const BAUD: u32 = 9600;

/// A frame ends with a silence. The standard's 3.5 characters are 4 ms at 9600 baud; a busy
/// machine's scheduler needs more.
const GAP: Duration = Duration::from_millis(8);
/// How long a person is in the sensor.
const IN_SENSOR: Duration = Duration::from_millis(200);

/// One exchange as the device saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    pub at: Monotonic,
    pub received: Vec<u8>,
    /// Empty where the device kept silent.
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
    /// The answer's CRC is wrong.
    WrongCrc,
    /// The answer comes from this address.
    FromAddress(u8),
    /// These bytes come before the answer.
    Noise(Vec<u8>),
}

/// The board at the far end of a pseudo-terminal. It lives until it is dropped.
#[derive(Debug)]
pub struct SimulatedDevice {
    path: PathBuf,
    board: Arc<Mutex<Board>>,
    tap: broadcast::Sender<DeviceFrame>,
    _alive: DropGuard,
}

#[derive(Debug)]
struct Board {
    slave: slave::Slave,
    fault: Option<Fault>,
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl SimulatedDevice {
    /// Opens a pseudo-terminal and serves it. Must be called within a tokio runtime.
    pub fn spawn(
        config: &SimulatedTurnstile,
        clock: Arc<dyn Clock>,
        tap: broadcast::Sender<DeviceFrame>,
    ) -> Result<Self, TurnstileError> {
        let no_simulation = |source| TurnstileError::NoSimulation { source };
        let (master, terminal) = SerialStream::pair().map_err(no_simulation)?;
        let path = terminal.name().map(PathBuf::from).ok_or_else(|| {
            let kind = tokio_serial::ErrorKind::NoDevice;
            no_simulation(tokio_serial::Error::new(kind, "a terminal without a name"))
        })?;
        let board = Board { slave: slave::Slave::new(ADDRESS), fault: None };
        let board = Arc::new(Mutex::new(board));
        let ended = CancellationToken::new();
        let device = Device {
            master,
            _terminal: terminal,
            board: board.clone(),
            pass_after: config.pass_after,
            clock,
            tap: tap.clone(),
            ended: ended.clone(),
        };
        tokio::spawn(device.serve());
        Ok(Self { path, board, tap, _alive: ended.drop_guard() })
    }

    /// The terminal that a driver opens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The config of a driver for this device.
    pub fn modbus_config(&self) -> ModbusRtu {
        ModbusRtu {
            line: SerialLine { port: self.path.clone(), baud: BAUD },
            address: ADDRESS,
            release_coil: COILS,
            passage_input: INPUTS,
            fire_input: None,
            pulse: PULSE,
        }
    }

    /// Each frame from now on. Lossy: a slow reader misses the oldest.
    pub fn frames(&self) -> broadcast::Receiver<DeviceFrame> {
        self.tap.subscribe()
    }

    /// Whether a direction's coil is on.
    pub fn released(&self, direction: Direction) -> bool {
        let coil = usize::from(COILS.get(direction));
        lock(&self.board).slave.coils.get(coil).copied().unwrap_or(false)
    }

    /// Sets a direction's coil behind the driver's back.
    pub fn set_released(&self, direction: Direction, on: bool) {
        let coil = usize::from(COILS.get(direction));
        if let Some(bit) = lock(&self.board).slave.coils.get_mut(coil) {
            *bit = on;
        }
    }

    /// Puts somebody into a direction's passage sensor, or out of it.
    pub fn set_sensor(&self, direction: Direction, on: bool) {
        set_sensor(&self.board, direction, on);
    }

    /// Misbehaves from the next frame on; `None` makes it well.
    pub fn set_fault(&self, fault: Option<Fault>) {
        lock(&self.board).fault = fault;
    }
}

fn set_sensor(board: &Mutex<Board>, direction: Direction, on: bool) {
    let input = usize::from(INPUTS.get(direction));
    if let Some(bit) = lock(board).slave.inputs.get_mut(input) {
        *bit = on;
    }
}

/// The board's task.
struct Device {
    master: SerialStream,
    /// Held open, so that the master does not hang up while no driver is connected.
    _terminal: SerialStream,
    board: Arc<Mutex<Board>>,
    pass_after: Option<Duration>,
    clock: Arc<dyn Clock>,
    tap: broadcast::Sender<DeviceFrame>,
    ended: CancellationToken,
}

impl Device {
    async fn serve(mut self) {
        let ended = self.ended.clone();
        if let Some(Err(error)) = ended.run_until_cancelled(self.listen()).await {
            tracing::error!(%error, "the simulated turnstile's line failed");
        }
    }

    async fn listen(&mut self) -> std::io::Result<()> {
        let mut heard = Vec::new();
        let mut bytes = [0; slave::LONGEST];
        loop {
            // A whole frame is answered at once; what is none yet is judged, and forgotten, at
            // the next silence: so noise costs one frame.
            let read = if heard.is_empty() {
                Some(self.master.read(&mut bytes).await?)
            } else {
                timeout(GAP, self.master.read(&mut bytes)).await.ok().transpose()?
            };
            match read {
                Some(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Some(n) => heard.extend(bytes.iter().take(n)),
                None => {
                    self.hear(&heard).await?;
                    heard.clear();
                }
            }
            if slave::unframed(&heard).is_some() {
                self.hear(&heard).await?;
                heard.clear();
            }
            // Longer than any frame: noise. Its rest is another piece of noise.
            if heard.len() > slave::LONGEST {
                heard.clear();
            }
        }
    }

    async fn hear(&mut self, received: &[u8]) -> std::io::Result<()> {
        let (answer, delay, newly_released) = {
            let mut board = lock(&self.board);
            let fault = board.fault.clone();
            let before = board.slave.coils;
            let answer = match &fault {
                Some(Fault::Deaf) => None,
                _ => board.slave.answer(received),
            };
            let newly_released = Direction::BOTH.map(|direction| {
                let coil = usize::from(COILS.get(direction));
                let on = board.slave.coils.get(coil) == Some(&true);
                (direction, on && before.get(coil) == Some(&false))
            });
            let delay = match &fault {
                Some(Fault::Late(delay)) => Some(*delay),
                _ => None,
            };
            (answer.and_then(|a| spoilt(a, fault)), delay, newly_released)
        };
        for (direction, released) in newly_released {
            if let (true, Some(after)) = (released, self.pass_after) {
                self.somebody_passes(direction, after);
            }
        }
        let answered = answer.unwrap_or_default();
        // No listener is no error: the tap is there for whoever is curious.
        let _ = self.tap.send(DeviceFrame {
            at: self.clock.monotonic(),
            received: received.to_vec(),
            answered: answered.clone(),
        });
        if let Some(delay) = delay {
            sleep(delay).await;
        }
        self.master.write_all(&answered).await
    }

    /// Ends with the device. There are as many such tasks as releases within their few seconds.
    fn somebody_passes(&self, direction: Direction, after: Duration) {
        let (board, ended) = (self.board.clone(), self.ended.clone());
        tokio::spawn(ended.run_until_cancelled_owned(async move {
            sleep(after).await;
            set_sensor(&board, direction, true);
            sleep(IN_SENSOR).await;
            set_sensor(&board, direction, false);
        }));
    }
}

/// The answer as the fault lets it out.
fn spoilt(mut answer: Vec<u8>, fault: Option<Fault>) -> Option<Vec<u8>> {
    match fault {
        Some(Fault::Deaf | Fault::Mute) => return None,
        Some(Fault::WrongCrc) => answer.iter_mut().rev().take(1).for_each(|b| *b ^= 0x55),
        Some(Fault::FromAddress(address)) => {
            answer.truncate(answer.len().saturating_sub(2));
            answer.iter_mut().take(1).for_each(|b| *b = address);
            answer = slave::framed(answer);
        }
        Some(Fault::Noise(noise)) => answer = [noise, answer].concat(),
        Some(Fault::Late(_)) | None => {}
    }
    Some(answer)
}
