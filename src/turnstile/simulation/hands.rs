//! What only tests do at a simulated line: people who walk, a fire alarm, faults, a pulled plug.

use std::time::Duration;

use super::{Board, Heard, Order, SimulatedBus, SimulatedDevice, Speaks};
use crate::turnstile::settings::Direction;

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

impl Fault {
    /// What a controller with it makes of a frame, and how late its answer is.
    pub(super) fn hear(self, board: &mut dyn Board, frame: &[u8]) -> (Heard, Duration) {
        if self == Fault::Deaf {
            return (Heard::default(), Duration::ZERO);
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
            Fault::Late(_) => {}
        }
        answer
    }
}

impl SimulatedBus {
    /// What a frame tells the controller that it is for.
    pub fn order(&self, frame: &[u8]) -> Option<Order> {
        self.shared.devices.values().find_map(|device| device.mind().board.order(frame))
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
    pub fn speaks(&self) -> Speaks {
        self.bus.shared.line.speaks
    }

    /// Whether a direction is open: its coil is on, passes are left, or it is kept open.
    pub fn released(&self, direction: Direction) -> bool {
        self.device.mind().board.is_open(direction)
    }

    /// Opens or closes a direction behind the driver's back.
    pub fn set_released(&self, direction: Direction, open: bool) {
        self.device.mind().board.set_open(direction, open);
    }

    /// Releases received, by command; each coil of a Modbus board that is switched on is one.
    pub fn releases(&self) -> u64 {
        self.device.mind().releases
    }

    /// People who walked through, after a release or without.
    pub fn passages(&self) -> u64 {
        self.device.mind().passages
    }

    /// Somebody walks through, released or not, when those before have.
    pub fn walk(&self, direction: Direction) {
        self.bus.shared.somebody_walks(&self.device, direction, Duration::ZERO);
    }

    /// Puts somebody into a Modbus board's passage sensor, or out of it.
    pub fn set_sensor(&self, direction: Direction, on: bool) {
        self.device.mind().board.step(direction, on);
    }

    /// The fire alarm goes on or off.
    pub fn set_fire(&self, on: bool) {
        if let Some(input) = self.bus.shared.line.fire_input {
            self.device.mind().board.set_input(input, on);
        }
    }

    /// Sets a 7E/7F controller's counter: 24 bits.
    pub fn set_counted(&self, direction: Direction, passages: u32) {
        self.device.mind().board.set_counted(direction, passages);
    }

    /// A 7E/7F controller reports these.
    pub fn set_trouble(&self, fault: u8, alarm: u8) {
        self.device.mind().board.set_trouble(fault, alarm);
    }

    /// Misbehaves from the next frame on; `None` makes it well.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.device.mind().fault = fault;
    }
}
