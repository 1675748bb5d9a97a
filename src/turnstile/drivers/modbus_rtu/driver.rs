//! The driver of a Modbus RTU relay board (FC01, FC02, FC05) over RS-485 or RS-232, 8N1.
//!
//! Each direction has a coil and a discrete input. A coil that is on releases its direction; a
//! release switches it on for one pulse. An input is on while a person is in the passage sensor. A
//! further input, if configured, is on while there is a fire alarm, and others are a guard's buttons.
//!
//! **A late answer is never taken for the next request's.** RTU answers carry no number, so a
//! request without a valid answer ends the session (`bus`). The next session waits for a quiet line
//! and begins with FC01. An older answer to FC02 or FC05 has the wrong function code. An older
//! answer to FC01 shows the same coils, because nothing was written in between. The right answer
//! may then come late, but the next request has another function code. A write is done only when
//! its echo names the same coil and value.
//!
//! Coils more than 15 numbers apart need two FC01. They are read twice at a connection and must not
//! have changed: if an older answer were taken for the first, all later answers would be shifted.
//! One case remains: the board answers FC01 after the 360 ms between two attempts, and another hand
//! changed the coils meanwhile.
//!
//! **Dialects.** Some boards answer FC05 with another value than the written one. Then FC01 says
//! whether it was done. An exception 05 or 06 (acknowledged, busy) means "later": the request is
//! repeated for [`BUSY_FOR`], and never after its deadline.
//!
//! **Another hand.** Each [`READ_BACK`] a poll reads the coils after the inputs, so that no look at a
//! passage is delayed. A coil that is on, and that this driver has not switched on, is another
//! hand's. It stays on until the task withdraws it, or opens the arm itself. A release then needs
//! no command: FC01 has just said that the arm is open. Its passage is the sensor's.
//!
//! **Debouncing.** A passage is counted at the first poll that sees its input on. The input counts
//! again only after two polls in a row have seen it off. So a contact that chatters, or a gap
//! between a person and a backpack, is one passage. An input that is on at a connection is no
//! passage, because its beginning is unknown. The input itself is reported too, so that the lane
//! can judge whether the sensor works.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    codec::{Answer, Ask, BITS, whose},
    config::ModbusRtu,
};
#[cfg(any(test, feature = "failpoints"))]
use crate::turnstile::simulation::Board;
use crate::{
    clock::Monotonic,
    turnstile::{
        bus::{Exchange, Session, Turn},
        drivers::kind::{Driver, Means},
        error::TurnstileError,
        port::{ConnectReport, ForeignRelease, Polled, READ_BACK, Turnstile},
        settings::Direction,
    },
};

/// Quiet time of the line before a connection.
const QUIET: Duration = Duration::from_millis(60);
/// Number of polls in a row that must see an input off before it counts again.
const POLLS_TO_REARM: u8 = 2;
/// Time for which a request is repeated while the board is busy.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// Pause before a request is repeated.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Delay of the first read-back for each number of the address, so that boards that share a line do
/// not read back at the same moment.
const STAGGER: Duration = Duration::from_millis(300);
/// The exceptions that mean "later". Source: MODBUS Application Protocol V1.1b3, section 7.
const ACKNOWLEDGE: u8 = 5;
const BUSY: u8 = 6;

/// The driver of one address on a line.
pub struct ModbusTurnstile {
    config: ModbusRtu,
    session: Session,
    /// In the order of [`Direction::BOTH`].
    coils: [Coil; 2],
    /// `None` until the first poll of a connection.
    sensors: Option<[Sensor; 2]>,
    /// The guard's buttons, likewise.
    buttons: Option<[Sensor; 2]>,
    held: bool,
    /// When the coils are read back next.
    read_back_at: Monotonic,
}

/// The levels of the inputs at a poll.
#[derive(Debug, Default)]
struct Inputs {
    passages: Option<[bool; 2]>,
    fire: Option<bool>,
    buttons: [bool; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Coil {
    /// Set before the coil is written. Cleared when the coil is known to be off.
    maybe_on: bool,
    /// The end of the pulse.
    off_at: Option<Monotonic>,
    /// Another hand has switched the coil on.
    foreign: bool,
}

impl ModbusTurnstile {
    /// Sends a request, again and again while the board is busy.
    async fn request(
        &mut self,
        ask: Ask,
        turn: Turn,
        deadline: Option<Monotonic>,
    ) -> Result<Answer, TurnstileError> {
        let busy_until = self.session.now() + BUSY_FOR;
        let until = deadline.map_or(busy_until, |deadline| deadline.min(busy_until));
        let mut later = None;
        loop {
            let code = match self.ask(ask, turn, deadline).await {
                Ok(Answer::Refused(code)) => code,
                // The deadline ends the repeats. The board's answers before it count.
                Err(TurnstileError::Late { .. }) if later.is_some() => BUSY,
                answered => return answered,
            };
            // Once acknowledged, a request may be carried out at any time.
            let code = if later == Some(ACKNOWLEDGE) { ACKNOWLEDGE } else { code };
            let patient = matches!(code, ACKNOWLEDGE | BUSY);
            if !patient || self.session.now() + BUSY_PAUSE >= until {
                self.session.end();
                let (port, request) = (self.session.port(), ask.words());
                let (address, remedy) = (self.config.address, ask.remedy(code));
                return Err(TurnstileError::Refused { port, address, request, code, remedy });
            }
            later = Some(code);
            sleep(BUSY_PAUSE).await;
        }
    }

    async fn ask(
        &mut self,
        ask: Ask,
        turn: Turn,
        deadline: Option<Monotonic>,
    ) -> Result<Answer, TurnstileError> {
        let address = self.config.address;
        let exchange = Exchange {
            send: ask.frame(address),
            find: Some(Box::new(move |heard| ask.find(address, heard))),
            whose: Some(whose),
            turn,
            deadline,
            ..Exchange::default()
        };
        let frame = self.session.exchange(exchange).await?;
        match ask.read(&frame) {
            Answer::Unasked => {
                let frame = hex::encode_upper(&frame);
                let what = format!("{frame} is no answer to \"{}\"", ask.words());
                Err(self.session.garbled(what))
            }
            answer => Ok(answer),
        }
    }

    async fn write(
        &mut self,
        direction: Direction,
        on: bool,
        deadline: Option<Monotonic>,
    ) -> Result<(), TurnstileError> {
        let at = direction.index();
        let coil = self.config.release_coil[at];
        let before = self.coils[at];
        self.coils[at].maybe_on = true;
        let written = match self.request(Ask::Write { coil, on }, Turn::Urgent, deadline).await {
            Ok(Answer::WrittenAs(value)) => self.confirm(coil, on, value).await,
            written => written.map(drop),
        };
        match &written {
            Ok(()) => self.coils[at] = Coil { maybe_on: on, ..Coil::default() },
            Err(TurnstileError::Late { .. }) => self.coils[at] = before,
            Err(_) => {}
        }
        written
    }

    /// Reads a coil whose write was answered with another value.
    async fn confirm(&mut self, coil: u16, on: bool, value: u16) -> Result<(), TurnstileError> {
        let is = match self.is_on(coil, None).await {
            Ok(is) if is == on => return Ok(()),
            Ok(true) => "it is on",
            Ok(false) => "it is off",
            // The board refuses to read, but it may have carried out the write.
            Err(TurnstileError::Refused { .. }) => "FC01 is refused",
            Err(error) => return Err(error),
        };
        let asked = Ask::Write { coil, on }.words();
        Err(self.session.garbled(format!("{value:04X} to \"{asked}\", and {is}")))
    }

    async fn is_on(
        &mut self,
        coil: u16,
        deadline: Option<Monotonic>,
    ) -> Result<bool, TurnstileError> {
        let ask = Ask::Coils { first: coil, count: 1 };
        Ok(self.request(ask, Turn::Urgent, deadline).await? == Answer::Bits(1))
    }

    /// Reads these bits. One request reads all bits within [`BITS`] of its first one.
    async fn read(
        &mut self,
        wanted: &[u16],
        ask: fn(u16, u8) -> Ask,
    ) -> Result<Vec<bool>, TurnstileError> {
        let mut sorted = wanted.to_vec();
        sorted.sort_unstable();
        let mut bits = vec![false; wanted.len()];
        let mut rest = sorted.as_slice();
        while let Some(first) = rest.first().copied() {
            let near = rest.iter().take_while(|number| **number - first < BITS.into());
            let (group, later) = rest.split_at(near.count());
            let span = group.last().map_or(0, |last| last - first) + 1;
            let ask = ask(first, u8::try_from(span).unwrap_or(BITS));
            let Answer::Bits(word) = self.request(ask, Turn::Routine, None).await? else {
                return Err(self.session.garbled("no bits".to_owned()));
            };
            for (bit, number) in bits.iter_mut().zip(wanted) {
                if group.contains(number) {
                    *bit = word >> (*number - first) & 1 == 1;
                }
            }
            rest = later;
        }
        Ok(bits)
    }

    async fn read_coils(&mut self) -> Result<[bool; 2], TurnstileError> {
        let coils = self.config.release_coil;
        let on = self.read(&coils, |first, count| Ask::Coils { first, count }).await?;
        Ok(Direction::BOTH.map(|d| on.get(d.index()).copied().unwrap_or_default()))
    }

    /// Reads the coils at a connection.
    async fn find_coils(&mut self) -> Result<[bool; 2], TurnstileError> {
        let on = self.read_coils().await?;
        let [entry, exit] = self.config.release_coil;
        if entry.abs_diff(exit) >= BITS.into() && self.read_coils().await? != on {
            return Err(self.session.garbled("the coils changed while they were read".to_owned()));
        }
        Ok(on)
    }

    /// Reads the coils back, and returns those that another hand has switched on.
    async fn read_back(&mut self) -> Result<Vec<ForeignRelease>, TurnstileError> {
        let on = self.read_coils().await?;
        self.read_back_at = self.session.now() + READ_BACK;
        for (coil, on) in self.coils.iter_mut().zip(on) {
            coil.foreign = on && !coil.maybe_on;
        }
        let foreign = Direction::BOTH.into_iter().filter(|d| self.coils[d.index()].foreign);
        let (address, port) = (self.config.address, self.session.port());
        let output = |coil| format!("coil {coil} of address {address} on {port}");
        let release = |direction: Direction| ForeignRelease {
            direction,
            output: output(self.config.release_coil[direction.index()]),
        };
        Ok(foreign.map(release).collect())
    }

    /// Reads the inputs that there are.
    async fn read_inputs(&mut self) -> Result<Inputs, TurnstileError> {
        let config = &self.config;
        let (passages, fire, buttons) =
            (config.passage_input, config.fire_input, config.guard_button);
        let wanted: Vec<u16> = passages
            .into_iter()
            .flatten()
            .chain(fire)
            .chain(buttons.into_iter().flatten())
            .collect();
        if wanted.is_empty() {
            // A board without inputs is still asked whether it is there.
            return self.read_coils().await.map(|_| Inputs::default());
        }
        let on = self.read(&wanted, |first, count| Ask::Inputs { first, count }).await?;
        let level = |input: u16| wanted.iter().zip(&on).any(|(number, on)| *number == input && *on);
        Ok(Inputs {
            passages: passages.map(|inputs| inputs.map(level)),
            fire: fire.map(level),
            buttons: buttons.map(|button| button.is_some_and(level)),
        })
    }

    /// Switches off the coils that may be on and for which `due` returns true.
    async fn switch_off(&mut self, due: impl Fn(&Coil) -> bool) -> Result<(), TurnstileError> {
        for direction in Direction::BOTH {
            let coil = &self.coils[direction.index()];
            if coil.maybe_on && due(coil) {
                self.write(direction, false, None).await?;
            }
        }
        Ok(())
    }
}

impl Driver for ModbusTurnstile {
    const WORD: &str = "modbus-rtu";
    type Config = ModbusRtu;

    fn new(config: ModbusRtu, means: &Means) -> Self {
        let session = means.session(&config.line, config.address);
        Self {
            config,
            session,
            coils: Default::default(),
            sensors: None,
            buttons: None,
            held: false,
            read_back_at: Monotonic::default(),
        }
    }

    fn sensors(config: &ModbusRtu) -> Option<[String; 2]> {
        let (address, port) = (config.address, config.line.name());
        let name = |input| format!("input {input} of address {address} on {port}");
        config.passage_input.map(|inputs| inputs.map(name))
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn Board> {
        super::board(address)
    }

    #[cfg(any(test, fuzzing))]
    fn fuzz(heard: &[u8]) {
        for ask in [
            Ask::Coils { first: 0, count: 8 },
            Ask::Inputs { first: 3, count: 16 },
            Ask::Write { coil: 5, on: true },
        ] {
            if let Some(frame) = ask.find(1, heard).frame(heard) {
                ask.read(frame);
            }
        }
        whose(heard);
    }
}

impl Turnstile for ModbusTurnstile {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        self.session.connect(QUIET).await?;
        (self.sensors, self.buttons, self.held) = (None, None, false);
        let stagger = STAGGER * u32::from(self.config.address % 16);
        self.read_back_at = self.session.now() + READ_BACK + stagger;
        let on = self.find_coils().await?;
        for (coil, on) in self.coils.iter_mut().zip(on) {
            let foreign = coil.foreign && on;
            *coil = Coil { maybe_on: on && !foreign, off_at: None, foreign };
        }
        let coils = self.coils;
        let released = Direction::BOTH.into_iter().filter(|d| coils[d.index()].maybe_on);
        let fire = match self.config.fire_input {
            None => None,
            Some(_) => self.read_inputs().await?.fire,
        };
        Ok(ConnectReport { released: released.collect(), fire })
    }

    async fn release(
        &mut self,
        direction: Direction,
        deadline: Monotonic,
    ) -> Result<(), TurnstileError> {
        let coil = self.config.release_coil[direction.index()];
        if self.coils[direction.index()].foreign {
            if self.is_on(coil, Some(deadline)).await? {
                return Ok(());
            }
            self.coils[direction.index()].foreign = false;
        }
        // While a pulse is on, the board would not see the next pulse begin. Both coils on would hold
        // the arm open.
        for on in Direction::BOTH {
            if self.coils[on.index()].maybe_on {
                self.write(on, false, Some(deadline)).await?;
            }
        }
        self.write(direction, true, Some(deadline)).await?;
        self.coils[direction.index()].off_at = Some(self.session.now() + self.config.pulse);
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        let now = self.session.now();
        self.switch_off(|coil| coil.off_at.is_some_and(|off_at| now >= off_at)).await?;
        if self.held {
            // A board that has restarted has switched its coils off.
            let on = self.read_coils().await?;
            for direction in Direction::BOTH.into_iter().filter(|d| !on[d.index()]) {
                self.write(direction, true, None).await?;
            }
        }
        let Inputs { passages: inputs, fire, buttons } = self.read_inputs().await?;
        let passed = begun(&mut self.sensors, inputs);
        let pressed = begun(&mut self.buttons, Some(buttons));
        let due = !self.held && self.session.now() >= self.read_back_at;
        let foreign = if due { Some(self.read_back().await?) } else { None };
        Ok(Polled { passed, pressed, inputs, fire, foreign, ..Polled::default() })
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        self.held = open;
        if !open {
            return self.switch_off(|_| true).await;
        }
        for direction in Direction::BOTH {
            self.write(direction, true, None).await?;
        }
        Ok(())
    }

    async fn withdraw(&mut self, direction: Direction) -> Result<(), TurnstileError> {
        self.write(direction, false, None).await
    }
}

/// Returns the directions whose input went on. An input that is on at the first poll of a connection
/// has not.
fn begun(sensors: &mut Option<[Sensor; 2]>, levels: Option<[bool; 2]>) -> Vec<Direction> {
    match (sensors, levels) {
        (Some(sensors), Some(levels)) => {
            let begun = |d: &Direction| sensors[d.index()].passed(levels[d.index()]);
            Direction::BOTH.into_iter().filter(begun).collect()
        }
        (sensors, levels) => {
            *sensors = levels.map(|levels| levels.map(Sensor::starting));
            Vec::new()
        }
    }
}

/// One input of a passage sensor or of a button, debounced.
#[derive(Clone, Copy, Debug, Default)]
struct Sensor {
    /// Number of further polls that must see the input off before it counts again.
    rearm: u8,
}

impl Sensor {
    fn starting(on: bool) -> Self {
        Self { rearm: if on { POLLS_TO_REARM } else { 0 } }
    }

    /// Takes this poll's level, and returns whether it begins a passage.
    fn passed(&mut self, on: bool) -> bool {
        let armed = self.rearm == 0;
        self.rearm = if on { POLLS_TO_REARM } else { self.rearm.saturating_sub(1) };
        on && armed
    }
}

#[cfg(test)]
mod tests;
