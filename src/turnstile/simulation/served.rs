//! The task of a simulated line: frames in, answers out, and simulated passages.

use std::{
    os::unix::fs::symlink,
    path::PathBuf,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_serial::{SerialPort, SerialStream};

use super::{Device, DeviceFrame, DeviceState, Heard, Shared, lock};
use crate::turnstile::settings::Direction;

/// Silence that ends a frame. The standard's 3.5 characters are 4 ms at 9600 baud. The scheduler of
/// a busy machine needs more.
const GAP: Duration = Duration::from_millis(8);
/// Minimum time that a person is in the sensor.
const IN_SENSOR: Duration = Duration::from_millis(200);
/// Timeout for the polls that see the sensor, after the minimum time.
const IN_SENSOR_AT_MOST: Duration = Duration::from_secs(1);
/// Number of polls that must see a person in the sensor, so that a busy machine misses no person.
const LOOKS: u64 = 2;
/// Number of polls that must see the sensor empty before the next person.
const LOOKS_BETWEEN: u64 = 3;
/// Interval between two checks of the number of polls.
const STEP: Duration = Duration::from_millis(20);
/// Maximum number of late answers that wait.
const LATE_ANSWERS: usize = 64;
/// Maximum length of a frame, in bytes: Modbus RTU's.
const MAX_FRAME: usize = 256;

/// The two ends of a pseudo-terminal.
type Ends = (SerialStream, SerialStream);

impl Shared {
    /// Opens a new pseudo-terminal. Its second end stays open, so that the first end does not hang
    /// up while no driver is connected.
    pub fn plugged_in(&self) -> Result<Ends, tokio_serial::Error> {
        let (master, terminal) = SerialStream::pair()?;
        let path = PathBuf::from(terminal.name().unwrap_or_default());
        if let Some(link) = &self.line.link {
            // The rename replaces an older link in one step.
            let new = link.with_extension("new");
            symlink(&path, &new)?;
            std::fs::rename(new, link)?;
        }
        *lock(&self.path) = path;
        self.plugged.send_replace(true);
        Ok((master, terminal))
    }

    /// Starts a task in which a person passes. The task ends with the bus. There is one task
    /// for each release of the last few seconds.
    pub fn walk_through(&self, device: &Arc<Device>, direction: Direction, after: Duration) {
        let device = device.clone();
        tokio::spawn(self.ended.clone().run_until_cancelled_owned(async move {
            sleep(after).await;
            let _turn = device.ways[direction.index()].lock().await;
            let waits = {
                let mut state = device.state();
                state.passages += 1;
                state.step(direction, true);
                state.board.has_sensor()
            };
            if waits {
                device.looked(LOOKS, IN_SENSOR).await;
                device.state().step(direction, false);
                device.looked(LOOKS_BETWEEN, Duration::ZERO).await;
            }
        }));
    }
}

impl Device {
    pub fn state(&self) -> MutexGuard<'_, DeviceState> {
        lock(&self.state)
    }

    async fn looked(&self, times: u64, at_least: Duration) {
        let before = self.state().looks;
        sleep(at_least).await;
        let enough = async {
            while self.state().looks < before + times {
                sleep(STEP).await;
            }
        };
        let _ = timeout(IN_SENSOR_AT_MOST, enough).await;
    }
}

impl DeviceState {
    /// Passes a frame to the board. Returns its effect and the answer's delay.
    fn hear(&mut self, frame: &[u8]) -> (Heard, Duration) {
        #[cfg(any(test, feature = "failpoints"))]
        let (heard, late) = match self.fault.clone() {
            Some(fault) => fault.hear(&mut *self.board, frame),
            None => (self.board.hear(frame), Duration::ZERO),
        };
        #[cfg(not(any(test, feature = "failpoints")))]
        let (heard, late) = (self.board.hear(frame), Duration::ZERO);
        self.looks += u64::from(heard.looked);
        self.releases += heard.released.len() as u64;
        (heard, late)
    }

    /// Shows a person to the passage sensor, or an empty passage, if the sensor works.
    fn step(&mut self, direction: Direction, inside: bool) {
        #[cfg(any(test, feature = "failpoints"))]
        if self.stuck.is_some() {
            return;
        }
        self.board.step(direction, inside);
    }
}

/// The line's task.
impl Shared {
    pub async fn serve(self: Arc<Self>, ends: Ends) {
        let ended = self.ended.clone();
        if let Some(Err(error)) = ended.run_until_cancelled(self.stay(ends)).await {
            tracing::error!(%error, "the simulated turnstile's line failed");
        }
        if let Some(link) = &self.line.link {
            let _ = std::fs::remove_file(link);
        }
    }

    async fn stay(&self, mut ends: Ends) -> std::io::Result<()> {
        loop {
            let mut plug = self.plug.subscribe();
            tokio::select! {
                failed = self.listen(&mut ends.0) => return failed,
                _ = plug.wait_for(|plug| !plug) => drop(ends),
            }
            if let Some(link) = &self.line.link {
                std::fs::remove_file(link)?;
            }
            self.plugged.send_replace(false);
            let _ = plug.wait_for(|plug| *plug).await;
            ends = self.plugged_in()?;
        }
    }

    async fn listen(&self, master: &mut SerialStream) -> std::io::Result<()> {
        let (late, mut due) = mpsc::channel::<Vec<u8>>(LATE_ANSWERS);
        let mut heard = Vec::new();
        let mut bytes = [0; MAX_FRAME];
        loop {
            // A whole frame is answered at once. Bytes that are no whole frame are handled at the
            // next silence and discarded, so noise costs one frame.
            let time_limit = if heard.is_empty() { Duration::MAX } else { GAP };
            let read = tokio::select! {
                Some(answer) = due.recv() => {
                    master.write_all(&answer).await?;
                    continue;
                }
                read = timeout(time_limit, master.read(&mut bytes)) => read.ok().transpose()?,
            };
            match read {
                Some(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Some(n) => {
                    #[cfg(any(test, feature = "failpoints"))]
                    if self.echoes.load(std::sync::atomic::Ordering::Relaxed) {
                        master.write_all(bytes.get(..n).unwrap_or_default()).await?;
                    }
                    heard.extend(bytes.iter().take(n));
                }
                None => {
                    self.hear(&heard, master, &late).await?;
                    heard.clear();
                }
            }
            while let Some(len) = self.whole(&heard) {
                let frame: Vec<u8> = heard.drain(..len).collect();
                self.hear(&frame, master, &late).await?;
            }
            // More bytes than any frame are noise.
            if heard.len() > MAX_FRAME {
                heard.clear();
            }
        }
    }

    /// Returns the length of the whole frame that these bytes begin with.
    fn whole(&self, heard: &[u8]) -> Option<usize> {
        let device = self.devices.values().next()?;
        device.state().board.whole(heard)
    }

    async fn hear(
        &self,
        received: &[u8],
        master: &mut SerialStream,
        late: &mpsc::Sender<Vec<u8>>,
    ) -> std::io::Result<()> {
        let (mut answered, mut delay) = (Vec::new(), Duration::ZERO);
        for device in self.devices.values() {
            let (heard, late, pass_after) = {
                let mut state = device.state();
                let (heard, late) = state.hear(received);
                (heard, late, state.pass_after)
            };
            if let Some(after) = pass_after {
                for direction in heard.released {
                    self.walk_through(device, direction, after);
                }
            }
            if let Some(answer) = heard.answer {
                (answered, delay) = (answer, late);
            }
        }
        // A tap without a subscriber is no error.
        let _ = self.tap.send(DeviceFrame {
            at: self.clock.monotonic(),
            received: received.to_vec(),
            answered: answered.clone(),
        });
        if delay.is_zero() {
            return master.write_all(&answered).await;
        }
        let late = late.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            let _ = late.send(answered).await;
        });
        Ok(())
    }
}
