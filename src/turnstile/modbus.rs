//! A Modbus RTU relay board (FC01, FC02, FC05) over RS-485 or RS-232, 8N1.
//!
//! A coil releases a direction while it is on; a discrete input is on while somebody is in the
//! passage sensor. Source: MODBUS Application Protocol V1.1b3 and MODBUS over Serial Line V1.02.
//!
//! **No late answer is ever taken for the next request's.** RTU answers carry no number, so after
//! any request without a proper answer the port is closed; connecting anew drains it, waits for
//! silence and begins with FC01, which no other step sends: the answer to an older FC02 or FC05
//! has the wrong function code, and one to an older FC01 tells of the same coils, since nothing
//! was written in between. A write is done only when its echo names the same coil and value.
//!
//! **Debouncing.** A passage is counted at the first poll that sees its input on, and the input
//! counts again only after two polls in a row have seen it off: a contact that chatters, or a
//! backpack's gap, is one passage. What is on when the line comes up is not a passage: nobody
//! knows since when.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio_modbus::{
    Error as ModbusError, Request, Response, Slave,
    client::{Client, Context, rtu},
};
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};

use super::{Turnstile, TurnstileError, named};
use crate::{
    clock::Monotonic,
    config::{Direction, ModbusRtu, PerDirection},
};

/// From a request to its answer. Eight bytes there and back take 17 ms at 9600 baud, and 140 ms
/// at 1200; a board takes up to some 50 ms more.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);
/// A line is silent when nothing came for this long.
const SILENCE: Duration = Duration::from_millis(60);
/// A line that is not silent within this is not usable.
const SILENT_WITHIN: Duration = Duration::from_millis(600);
/// Two coils this near to each other are read with one request.
const ONE_REQUEST: u16 = 16;
/// Polls in a row without the input until it counts again.
const POLLS_TO_REARM: u8 = 2;

/// The driver; one serial port, held exclusively while it is connected.
pub struct ModbusTurnstile {
    config: ModbusRtu,
    /// `None` until connected, and from a failed (or dropped) request on.
    line: Option<Context>,
    /// Until when each direction's coil is to be on. Set before the coil is written and cleared
    /// when it is known to be off: a direction that is set here may be released.
    pulses: [(Direction, Option<Monotonic>); 2],
    sensors: [(Direction, Sensor); 2],
}

impl ModbusTurnstile {
    pub fn new(config: ModbusRtu) -> Self {
        Self {
            config,
            line: None,
            pulses: Direction::BOTH.map(|d| (d, None)),
            sensors: Direction::BOTH.map(|d| (d, Sensor::default())),
        }
    }

    async fn open(&mut self) -> Result<(), TurnstileError> {
        self.line = None;
        let port = named(&self.config.line.port);
        // 8 data bits, no parity, one stop bit and exclusive use are the builder's defaults.
        let builder = tokio_serial::new(port.clone(), self.config.line.baud);
        let mut stream = SerialStream::open(&builder).map_err(|source| match source.kind {
            tokio_serial::ErrorKind::NoDevice => TurnstileError::Busy { port: port.clone() },
            _ => TurnstileError::Open { port: port.clone(), source },
        })?;
        stream
            .clear(ClearBuffer::All)
            .map_err(|source| TurnstileError::Open { port: port.clone(), source })?;
        match tokio::time::timeout(SILENT_WITHIN, until_silent(&mut stream)).await {
            Ok(Ok(())) => {}
            Ok(Err(source)) => return Err(TurnstileError::Line { port, source }),
            Err(_) => return Err(TurnstileError::NeverSilent { port }),
        }
        self.line = Some(rtu::attach_slave(stream, Slave(self.config.address)));
        Ok(())
    }

    /// One request and its answer. The line is taken out and put back only after a proper answer,
    /// so that an error, or this future being dropped, closes it.
    async fn request(
        &mut self,
        request: Request<'static>,
        what: &'static str,
    ) -> Result<Response, TurnstileError> {
        let (port, address) = (named(&self.config.line.port), self.config.address);
        let Some(mut line) = self.line.take() else {
            return Err(TurnstileError::NotConnected { port });
        };
        let Ok(answer) = tokio::time::timeout(ANSWER_WITHIN, line.call(request)).await else {
            return Err(TurnstileError::NoAnswer { port, address, within: ANSWER_WITHIN });
        };
        match answer {
            Ok(Ok(response)) => {
                self.line = Some(line);
                Ok(response)
            }
            Ok(Err(exception)) => {
                let code = exception.into();
                Err(TurnstileError::Refused { port, address, request: what, code })
            }
            Err(ModbusError::Transport(source))
                if source.kind() != std::io::ErrorKind::InvalidData =>
            {
                Err(TurnstileError::Line { port, source })
            }
            Err(error) => Err(TurnstileError::Garbled { port, address, what: error.to_string() }),
        }
    }

    /// Closes the line: what came cannot be this request's answer.
    fn garbled(&mut self, what: String) -> TurnstileError {
        self.line = None;
        let port = named(&self.config.line.port);
        TurnstileError::Garbled { port, address: self.config.address, what }
    }

    async fn write_coil(&mut self, direction: Direction, on: bool) -> Result<(), TurnstileError> {
        let coil = self.config.release_coil.get(direction);
        match self.request(Request::WriteSingleCoil(coil, on), "write a coil").await? {
            Response::WriteSingleCoil(c, o) if (c, o) == (coil, on) => Ok(()),
            other => Err(self.garbled(format!("coil {coil} {on} answered by {other:?}"))),
        }
    }

    async fn read_coils(&mut self) -> Result<[bool; 2], TurnstileError> {
        let coils = self.config.release_coil;
        self.read(coils, Request::ReadCoils, "read coils").await
    }

    async fn read_inputs(&mut self) -> Result<[bool; 2], TurnstileError> {
        let inputs = self.config.passage_input;
        self.read(inputs, Request::ReadDiscreteInputs, "read inputs").await
    }

    /// The two bits at `at`, in the order of [`Direction::BOTH`].
    async fn read(
        &mut self,
        at: PerDirection,
        request: fn(u16, u16) -> Request<'static>,
        what: &'static str,
    ) -> Result<[bool; 2], TurnstileError> {
        let first = at.entry.min(at.exit);
        let span = at.entry.abs_diff(at.exit);
        if span < ONE_REQUEST {
            let bits =
                self.read_bits(request(first, span + 1), usize::from(span) + 1, what).await?;
            let bit = |n: u16| bits.get(usize::from(n - first)).copied().unwrap_or(false);
            return Ok([bit(at.entry), bit(at.exit)]);
        }
        let entry = self.read_bits(request(at.entry, 1), 1, what).await?;
        let exit = self.read_bits(request(at.exit, 1), 1, what).await?;
        Ok([entry.contains(&true), exit.contains(&true)])
    }

    /// Exactly `count` bits: an answer holds whole bytes, padded with zeros.
    async fn read_bits(
        &mut self,
        request: Request<'static>,
        count: usize,
        what: &'static str,
    ) -> Result<Vec<bool>, TurnstileError> {
        // `call` and not `read_coils`, which asserts where an answer is too short.
        match self.request(request, what).await? {
            Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits)
                if bits.len() == count.next_multiple_of(8) =>
            {
                bits.truncate(count);
                Ok(bits)
            }
            other => Err(self.garbled(format!("{count} bits wanted, {other:?} came"))),
        }
    }

    async fn write_off(&mut self, overdue_at: Option<Monotonic>) -> Result<(), TurnstileError> {
        for at in 0..self.pulses.len() {
            if let (direction, Some(until)) = self.pulses[at]
                && overdue_at.is_none_or(|now| now >= until)
            {
                self.write_coil(direction, false).await?;
                self.pulses[at].1 = None;
            }
        }
        Ok(())
    }
}

impl Turnstile for ModbusTurnstile {
    fn port(&self) -> String {
        named(&self.config.line.port)
    }

    fn confirms_passage(&self) -> bool {
        true
    }

    async fn connect(&mut self) -> Result<Vec<Direction>, TurnstileError> {
        self.open().await?;
        let mut withdrawn = Vec::new();
        for (direction, on) in Direction::BOTH.into_iter().zip(self.read_coils().await?) {
            if on {
                self.write_coil(direction, false).await?;
                withdrawn.push(direction);
            }
        }
        self.pulses.iter_mut().for_each(|(_, until)| *until = None);
        let levels = self.read_inputs().await?;
        for ((_, sensor), on) in self.sensors.iter_mut().zip(levels) {
            *sensor = Sensor::starting(on);
        }
        Ok(withdrawn)
    }

    async fn release(
        &mut self,
        direction: Direction,
        now: Monotonic,
    ) -> Result<(), TurnstileError> {
        let until = now + self.config.pulse;
        for pulse in self.pulses.iter_mut().filter(|(d, _)| *d == direction) {
            pulse.1 = Some(until);
        }
        self.write_coil(direction, true).await
    }

    async fn poll(&mut self, now: Monotonic) -> Result<Vec<Direction>, TurnstileError> {
        self.write_off(Some(now)).await?;
        let levels = self.read_inputs().await?;
        let sensors = self.sensors.iter_mut().zip(levels);
        Ok(sensors.filter_map(|((d, sensor), on)| sensor.passed(on).then_some(*d)).collect())
    }

    async fn withdraw(&mut self) -> Result<(), TurnstileError> {
        if self.pulses.iter().all(|(_, until)| until.is_none()) {
            return Ok(());
        }
        if self.line.is_none() {
            return self.connect().await.map(drop);
        }
        self.write_off(None).await
    }
}

/// Reads and forgets what comes until nothing does.
async fn until_silent(stream: &mut SerialStream) -> std::io::Result<()> {
    let mut forgotten = [0; 256];
    while let Ok(read) = tokio::time::timeout(SILENCE, stream.read(&mut forgotten)).await {
        if read? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// One passage input, debounced.
#[derive(Clone, Copy, Debug, Default)]
struct Sensor {
    /// Polls without the input that are still wanted until it counts again.
    rearm: u8,
}

impl Sensor {
    fn starting(on: bool) -> Self {
        Self { rearm: if on { POLLS_TO_REARM } else { 0 } }
    }

    /// Whether this poll's level begins a passage.
    fn passed(&mut self, on: bool) -> bool {
        let armed = self.rearm == 0;
        self.rearm = if on { POLLS_TO_REARM } else { self.rearm.saturating_sub(1) };
        on && armed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages(starting: bool, levels: &[u8]) -> usize {
        let mut sensor = Sensor::starting(starting);
        levels.iter().filter(|level| sensor.passed(**level == 1)).count()
    }

    #[test]
    fn a_sensor_counts_a_passage_once() {
        assert_eq!(passages(false, &[0, 1, 1, 1, 0, 0, 0, 1, 0]), 2);
        assert_eq!(passages(false, &[1, 0, 1, 0, 1, 0, 0]), 1, "chatter");
        assert_eq!(passages(true, &[1, 1, 0, 1, 0, 0, 1]), 1, "on from the start");
        assert_eq!(passages(false, &[0, 0, 0]), 0);
    }
}
