//! Operations on a simulated line that only tests use: passages, fire alarms, faults, unplugging.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Board, Heard, Order, SimulatedBus, SimulatedDevice, Speaks};
use crate::turnstile::settings::Direction;

/// A fault of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device neither carries out nor answers a command.
    Deaf,
    /// The device carries out commands and does not answer.
    Mute,
    /// The device carries out commands and answers after this delay.
    Late(Duration),
    /// The answer's checksum is wrong.
    WrongChecksum,
    /// The answer comes from this address.
    FromAddress(u8),
    /// These bytes come before the answer.
    Noise(Vec<u8>),
    /// Only the first half of the answer comes.
    Half,
    /// A Modbus board answers this function with this exception. It carries the command out only if
    /// the exception is 05 (acknowledged).
    Refuses { function: u8, code: u8 },
    /// A Modbus board answers FC05 with this value. With `ignores` it carries nothing out.
    WrittenAs { value: u16, ignores: bool },
}

impl Fault {
    /// Passes a frame to a controller with this fault. Returns its effect and the answer's delay.
    pub(super) fn hear(self, board: &mut dyn Board, frame: &[u8]) -> (Heard, Duration) {
        if self == Fault::Deaf {
            return (Heard::default(), Duration::ZERO);
        }
        match self {
            Fault::Refuses { function, code } => {
                let refused = board.refused(frame, function, code);
                let answer = match refused.is_none() || code == 5 {
                    true => board.hear(frame).answer,
                    false => None,
                };
                let heard = Heard { answer: refused.or(answer), ..Heard::default() };
                return (heard, Duration::ZERO);
            }
            Fault::WrittenAs { value, ignores } => {
                let other = board.written_as(frame, value);
                if other.is_some() && ignores {
                    return (Heard { answer: other, ..Heard::default() }, Duration::ZERO);
                }
                let heard = board.hear(frame);
                return (Heard { answer: other.or(heard.answer.clone()), ..heard }, Duration::ZERO);
            }
            _ => {}
        }
        let late = if let Fault::Late(late) = self { late } else { Duration::ZERO };
        let mut heard = board.hear(frame);
        heard.answer = heard.answer.map(|answer| self.spoil(board, answer));
        (heard, late)
    }

    fn spoil(self, board: &dyn Board, mut answer: Vec<u8>) -> Vec<u8> {
        match self {
            Fault::Deaf | Fault::Mute => answer.clear(),
            Fault::WrongChecksum => answer.iter_mut().rev().take(1).for_each(|b| *b ^= 0x55),
            Fault::FromAddress(address) => return board.readdressed(answer, address),
            Fault::Noise(noise) => return [noise, answer].concat(),
            Fault::Half => answer.truncate(answer.len() / 2),
            Fault::Late(_) | Fault::Refuses { .. } | Fault::WrittenAs { .. } => {}
        }
        answer
    }
}

impl SimulatedBus {
    /// Returns the command in a frame, for the controller of its address.
    pub fn order(&self, frame: &[u8]) -> Option<Order> {
        self.shared.devices.values().find_map(|device| device.state().board.order(frame))
    }

    /// Sets whether the adapter echoes what the driver sends.
    pub fn set_echo(&self, echoes: bool) {
        self.shared.echoes.store(echoes, Ordering::Relaxed);
    }

    /// Unplugs the adapter, and returns when the terminal is closed.
    pub async fn unplug(&self) {
        self.shared.plug.send_replace(false);
        let _ = self.shared.plugged.subscribe().wait_for(|plugged| !plugged).await;
    }

    /// Plugs the adapter in again. Without a link it then has another path.
    pub async fn replug(&self) {
        self.shared.plug.send_replace(true);
        let _ = self.shared.plugged.subscribe().wait_for(|plugged| *plugged).await;
    }
}

impl SimulatedDevice {
    /// Returns the device's line.
    pub fn bus(&self) -> &SimulatedBus {
        &self.bus
    }

    pub fn speaks(&self) -> Speaks {
        self.bus.shared.line.speaks
    }

    /// Returns whether a direction is open: its coil is on, it is released, or it is held open.
    pub fn released(&self, direction: Direction) -> bool {
        self.device.state().board.is_open(direction)
    }

    /// Opens or closes a direction without a command of the driver.
    pub fn set_released(&self, direction: Direction, open: bool) {
        self.device.state().board.set_open(direction, open);
    }

    /// Returns the number of releases received. On a Modbus board each coil that is switched on is
    /// one.
    pub fn releases(&self) -> u64 {
        self.device.state().releases
    }

    /// Returns the number of people who passed, after a release or without.
    pub fn passages(&self) -> u64 {
        self.device.state().passages
    }

    /// Lets a person pass, even without a release. People before this person pass first.
    pub fn walk(&self, direction: Direction) {
        self.bus.shared.walk_through(&self.device, direction, Duration::ZERO);
    }

    /// Sets whether a person is in a Modbus board's passage sensor.
    pub fn set_sensor(&self, direction: Direction, on: bool) {
        self.device.state().board.step(direction, on);
    }

    /// Sets the time from a release to its passage. `None`: no person passes.
    pub fn set_pass_after(&self, after: Option<Duration>) {
        self.device.state().pass_after = after;
    }

    /// Keeps a direction's passage sensor at this level: `false` is a torn wire, `true` a welded
    /// contact. `None` ends the fault, and the passage is empty.
    pub fn set_stuck(&self, direction: Direction, level: Option<bool>) {
        let mut state = self.device.state();
        state.stuck = level;
        if state.board.has_sensor() {
            state.board.step(direction, level.unwrap_or(false));
        }
    }

    /// Sets the fire alarm's input.
    pub fn set_fire(&self, on: bool) {
        if let Some(input) = self.bus.shared.line.fire_input {
            self.device.state().board.set_input(input, on);
        }
    }

    /// Sets a 7E/7F controller's counter of 24 bits.
    pub fn set_counted(&self, direction: Direction, passages: u32) {
        self.device.state().board.set_counted(direction, passages);
    }

    /// Sets what the infrared sensors of a 7E/7F controller see; 0 is no person.
    pub fn set_infrared(&self, infrared: u8) {
        self.device.state().board.set_infrared(infrared);
    }

    /// Sets the fault and alarm that a 7E/7F controller reports.
    pub fn set_trouble(&self, fault: u8, alarm: u8) {
        self.device.state().board.set_trouble(fault, alarm);
    }

    /// Sets the device's fault from the next frame on. `None` ends the fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.device.state().fault = fault;
    }
}
