//! A Modbus RTU relay board (FC01, FC02, FC05) over RS-485 or RS-232, 8N1.
//!
//! A coil releases a direction while it is on, for one pulse; a discrete input is on while somebody is in the
//! passage sensor; another one, where there is one, while there is a fire alarm.
//!
//! **No late answer is ever taken for the next request's.** RTU answers carry no number, so a
//! request without a proper answer ends the session (`bus`); the next one waits for quiet and
//! begins with FC01, which no other step sends right after: the answer to an older FC02 or FC05 has
//! the wrong function code, and one to an older FC01 tells of the same coils, since nothing was
//! written in between. A write is done only when its echo names the same coil and value. What
//! remains possible: a board that answers FC01 later than the 360 ms that the next attempt comes
//! after, of which the coils changed meanwhile by another hand.
//!
//! **Debouncing.** A passage is counted at the first poll that sees its input on, and the input
//! counts again only after two polls in a row have seen it off: a contact that chatters, or a
//! backpack's gap, is one passage. What is on when the line comes up is not a passage: nobody
//! knows since when.

use std::{sync::Arc, time::Duration};

use super::{
    codec::{Answer, Ask, BITS},
    config::ModbusRtu,
};
use crate::{
    clock::Monotonic,
    turnstile::{
        bus::{Exchange, Port, Session, Turn},
        error::TurnstileError,
        port::{Met, Seen, Turnstile},
        settings::Direction,
    },
};

/// A line is quiet when nothing came unasked for this long.
const QUIET: Duration = Duration::from_millis(60);
/// Polls in a row without the input until it counts again.
const POLLS_TO_REARM: u8 = 2;

/// The driver; one address on a line.
pub struct ModbusTurnstile {
    config: ModbusRtu,
    port: Arc<Port>,
    /// `None` until connected, and from a failed (or dropped) request on.
    session: Option<Session>,
    coils: [(Direction, Coil); 2],
    /// `None` until the first poll of a connection.
    sensors: Option<[(Direction, Sensor); 2]>,
    held: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Coil {
    /// Set before it is written and cleared when it is known to be off.
    maybe_on: bool,
    /// The end of its pulse.
    off_at: Option<Monotonic>,
}

impl ModbusTurnstile {
    pub fn new(config: ModbusRtu, port: Arc<Port>) -> Self {
        let coils = Direction::BOTH.map(|d| (d, Coil::default()));
        Self { config, port, session: None, coils, sensors: None, held: false }
    }

    /// One request and its answer. The session is taken out and put back only after a proper
    /// answer, so that an error, or this future being dropped, ends it.
    async fn request(
        &mut self,
        ask: Ask,
        turn: Turn,
        deadline: Option<Monotonic>,
    ) -> Result<Answer, TurnstileError> {
        let (port, address) = (self.port.name(), self.config.address);
        let Some(mut session) = self.session.take() else {
            return Err(TurnstileError::NotConnected { port });
        };
        let exchange = Exchange {
            send: ask.frame(address),
            find: Some(Box::new(move |heard| ask.find(address, heard))),
            gap: None,
            turn,
            deadline,
        };
        let frame = match session.exchange(exchange).await {
            Err(error @ TurnstileError::Late { .. }) => {
                self.session = Some(session);
                return Err(error);
            }
            outcome => outcome?,
        };
        match ask.read(&frame) {
            Answer::Unasked => {
                let what = format!("to {} came {}", ask.words(), hex::encode_upper(&frame));
                Err(TurnstileError::Garbled { port, address, what })
            }
            Answer::Refused(code) => {
                Err(TurnstileError::Refused { port, address, request: ask.words(), code })
            }
            answer => {
                self.session = Some(session);
                Ok(answer)
            }
        }
    }

    async fn write(
        &mut self,
        at: usize,
        on: bool,
        deadline: Option<Monotonic>,
    ) -> Result<(), TurnstileError> {
        let Some((direction, coil)) = self.coils.get_mut(at) else { return Ok(()) };
        let number = self.config.release_coil.get(*direction);
        let before = *coil;
        coil.maybe_on = true;
        match self.request(Ask::Write { coil: number, on }, Turn::Urgent, deadline).await {
            Err(error @ TurnstileError::Late { .. }) => {
                self.coils[at].1 = before;
                Err(error)
            }
            outcome => {
                outcome?;
                let coil = &mut self.coils[at].1;
                coil.maybe_on = on;
                coil.off_at = None;
                Ok(())
            }
        }
    }

    /// These bits, each request for as many as are near to each other.
    async fn read<const N: usize>(
        &mut self,
        wanted: [u16; N],
        ask: fn(u16, u8) -> Ask,
    ) -> Result<[bool; N], TurnstileError> {
        let mut sorted = wanted;
        sorted.sort_unstable();
        let mut bits = [false; N];
        let mut rest = sorted.as_slice();
        while let Some(first) = rest.first().copied() {
            let near = rest.iter().take_while(|number| **number - first < BITS.into());
            let (group, later) = rest.split_at(near.count());
            let span = group.last().map_or(0, |last| last - first) + 1;
            let ask = ask(first, u8::try_from(span).unwrap_or(BITS));
            let Answer::Bits(word) = self.request(ask, Turn::Routine, None).await? else {
                return Err(TurnstileError::NotConnected { port: self.port.name() });
            };
            for (bit, number) in bits.iter_mut().zip(wanted) {
                if group.contains(&number) {
                    *bit = word >> (number - first) & 1 == 1;
                }
            }
            rest = later;
        }
        Ok(bits)
    }

    async fn read_coils(&mut self) -> Result<[bool; 2], TurnstileError> {
        let coils = Direction::BOTH.map(|d| self.config.release_coil.get(d));
        self.read(coils, |first, count| Ask::Coils { first, count }).await
    }

    /// The passage inputs, and the fire alarm's.
    async fn read_inputs(&mut self) -> Result<([bool; 2], Option<bool>), TurnstileError> {
        let ask = |first, count| Ask::Inputs { first, count };
        let passage = Direction::BOTH.map(|d| self.config.passage_input.get(d));
        let [entry, exit] = passage;
        match self.config.fire_input {
            None => Ok((self.read(passage, ask).await?, None)),
            Some(fire) => {
                let [entry, exit, fire] = self.read([entry, exit, fire], ask).await?;
                Ok(([entry, exit], Some(fire)))
            }
        }
    }

    /// Switches off what `due` picks among the coils that may be on.
    async fn switch_off(&mut self, due: impl Fn(&Coil) -> bool) -> Result<(), TurnstileError> {
        for at in 0..self.coils.len() {
            if self.coils[at].1.maybe_on && due(&self.coils[at].1) {
                self.write(at, false, None).await?;
            }
        }
        Ok(())
    }
}

impl Turnstile for ModbusTurnstile {
    fn port(&self) -> String {
        self.port.name()
    }

    fn confirms_passage(&self) -> bool {
        true
    }

    async fn connect(&mut self) -> Result<Met, TurnstileError> {
        self.session = None;
        self.session = Some(self.port.connect(self.config.address, QUIET).await?);
        self.sensors = None;
        self.held = false;
        let on = self.read_coils().await?;
        for ((_, coil), on) in self.coils.iter_mut().zip(on) {
            *coil = Coil { maybe_on: on, off_at: None };
        }
        let released = Direction::BOTH.into_iter().zip(on).filter(|(_, on)| *on);
        let released = released.map(|(direction, _)| direction).collect();
        let fire = match self.config.fire_input {
            None => None,
            Some(_) => self.read_inputs().await?.1,
        };
        Ok(Met { released, fire })
    }

    async fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> Result<(), TurnstileError> {
        let at = usize::from(self.coils[0].0 != direction);
        // A board that is still within a pulse would not see another one begin.
        if self.coils[at].1.maybe_on {
            self.write(at, false, Some(deadline)).await?;
        }
        self.write(at, true, Some(deadline)).await?;
        self.coils[at].1.off_at = Some(self.port.now() + self.config.pulse);
        Ok(())
    }

    async fn poll(&mut self) -> Result<Seen, TurnstileError> {
        let now = self.port.now();
        self.switch_off(|coil| coil.off_at.is_some_and(|off_at| now >= off_at)).await?;
        if self.held {
            // A board that has started again has forgotten it.
            for (at, on) in self.read_coils().await?.into_iter().enumerate() {
                if !on {
                    self.write(at, true, None).await?;
                }
            }
        }
        let (levels, fire) = self.read_inputs().await?;
        let mut passed = Vec::new();
        match &mut self.sensors {
            None => {
                let both = [0, 1].map(|at| (Direction::BOTH[at], Sensor::starting(levels[at])));
                self.sensors = Some(both);
            }
            Some(sensors) => {
                let sensors = sensors.iter_mut().zip(levels);
                passed.extend(sensors.filter_map(|((d, s), on)| s.passed(on).then_some(*d)));
            }
        }
        Ok(Seen { passed, fire, remark: None })
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        self.held = open;
        if !open {
            return self.switch_off(|_| true).await;
        }
        for at in 0..self.coils.len() {
            self.write(at, true, None).await?;
        }
        Ok(())
    }

    async fn withdraw(&mut self) -> Result<(), TurnstileError> {
        if self.coils.iter().all(|(_, coil)| !coil.maybe_on) {
            return Ok(());
        }
        if self.session.is_none() {
            self.connect().await?;
        }
        self.hold(false).await
    }
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
mod tests;
