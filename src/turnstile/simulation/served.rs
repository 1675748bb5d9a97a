//! The task of a simulated line: frames in, answers out, and the people who walk.

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

use super::{Device, DeviceFrame, Heard, Mind, Shared, lock};
use crate::turnstile::settings::Direction;

/// A frame ends with a silence. The standard's 3.5 characters are 4 ms at 9600 baud; a busy
/// machine's scheduler needs more.
const GAP: Duration = Duration::from_millis(8);
/// How long a person is in the sensor at least, and at most if nobody looks.
const IN_SENSOR: Duration = Duration::from_millis(200);
const IN_SENSOR_AT_MOST: Duration = Duration::from_secs(1);
/// Looks at the sensor while somebody is in it, and before the next one steps in: so a busy machine
/// misses nobody.
const LOOKS: u64 = 2;
const LOOKS_BETWEEN: u64 = 3;
/// Between two looks at the looks.
const STEP: Duration = Duration::from_millis(20);
/// Answers on their way that are late.
const LATE_ANSWERS: usize = 64;
/// The longest of all frames, in bytes: Modbus RTU's.
const LONGEST: usize = 256;

/// The two ends of a pseudo-terminal.
type Ends = (SerialStream, SerialStream);

impl Shared {
    /// Plugs in a new pseudo-terminal. Of its two ends the second stays open, so that the first does not
    /// hang up where no driver is connected.
    pub fn plugged_in(&self) -> Result<Ends, tokio_serial::Error> {
        let (master, terminal) = SerialStream::pair()?;
        let path = PathBuf::from(terminal.name().unwrap_or_default());
        if let Some(link) = &self.line.link {
            // In its place at once.
            let new = link.with_extension("new");
            symlink(&path, &new)?;
            std::fs::rename(new, link)?;
        }
        *lock(&self.path) = path;
        self.plugged.send_replace(true);
        Ok((master, terminal))
    }

    /// Ends with the bus. There are as many such tasks as releases within their few seconds.
    pub fn somebody_walks(&self, device: &Arc<Device>, direction: Direction, after: Duration) {
        let device = device.clone();
        tokio::spawn(self.ended.clone().run_until_cancelled_owned(async move {
            sleep(after).await;
            let _turn = device.ways[direction.index()].lock().await;
            let waits = {
                let mut mind = device.mind();
                mind.passages += 1;
                mind.board.step(direction, true);
                mind.board.has_sensor()
            };
            if waits {
                device.looked(LOOKS, IN_SENSOR).await;
                device.mind().board.step(direction, false);
                device.looked(LOOKS_BETWEEN, Duration::ZERO).await;
            }
        }));
    }
}

impl Device {
    pub fn mind(&self) -> MutexGuard<'_, Mind> {
        lock(&self.mind)
    }

    async fn looked(&self, times: u64, at_least: Duration) {
        let before = self.mind().looks;
        sleep(at_least).await;
        let enough = async {
            while self.mind().looks < before + times {
                sleep(STEP).await;
            }
        };
        let _ = timeout(IN_SENSOR_AT_MOST, enough).await;
    }
}

impl Mind {
    /// What it makes of a frame, and how late its answer is.
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
        let mut bytes = [0; LONGEST];
        loop {
            // A whole frame is answered at once; what is none yet is judged, and forgotten, at
            // the next silence: so noise costs one frame.
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
                Some(n) => heard.extend(bytes.iter().take(n)),
                None => {
                    self.hear(&heard, master, &late).await?;
                    heard.clear();
                }
            }
            while let Some(len) = self.whole(&heard) {
                let frame: Vec<u8> = heard.drain(..len).collect();
                self.hear(&frame, master, &late).await?;
            }
            // Longer than any frame: noise. Its rest is another piece of noise.
            if heard.len() > LONGEST {
                heard.clear();
            }
        }
    }

    /// The length of the whole frame that these bytes begin with.
    fn whole(&self, heard: &[u8]) -> Option<usize> {
        let device = self.devices.values().next()?;
        device.mind().board.whole(heard)
    }

    async fn hear(
        &self,
        received: &[u8],
        master: &mut SerialStream,
        late: &mpsc::Sender<Vec<u8>>,
    ) -> std::io::Result<()> {
        let (mut answered, mut delay) = (Vec::new(), Duration::ZERO);
        for device in self.devices.values() {
            let (heard, late) = device.mind().hear(received);
            if let Some(after) = self.line.pass_after {
                for direction in heard.released {
                    self.somebody_walks(device, direction, after);
                }
            }
            if let Some(answer) = heard.answer {
                (answered, delay) = (answer, late);
            }
        }
        // No listener is no error: the tap is there for whoever is curious.
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
