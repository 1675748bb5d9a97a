//! The settings of a relay board: its address on the line, its coils and its inputs.

use std::time::Duration;

use crate::turnstile::settings::{Checked, Keys, SerialLine, Settings, wrong};

/// A Modbus RTU relay board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusRtu {
    /// The line that the board is on.
    pub line: SerialLine,
    /// Slave address, 1 to 247.
    pub address: u8,
    /// In the order of [`Direction::BOTH`](crate::turnstile::Direction::BOTH), like the inputs.
    pub release_coil: [u16; 2],
    /// The discrete inputs of the passage sensors, 0 to 65535.
    pub passage_input: [u16; 2],
    /// A discrete input that is on while there is a fire alarm.
    pub fire_input: Option<u16>,
    /// Time for which a release holds its coil on: 50 ms to 10 s, and at most `pass_within`.
    pub pulse: Duration,
}

impl ModbusRtu {
    /// Returns a board with the default settings.
    pub fn usual(line: SerialLine, address: u8) -> ModbusRtu {
        ModbusRtu {
            line,
            address,
            release_coil: [0, 1],
            passage_input: [0, 1],
            fire_input: None,
            pulse: Duration::from_millis(500),
        }
    }
}

impl Settings for ModbusRtu {
    const KEYS: &[&str] =
        &["port", "baud", "address", "release_coil", "passage_input", "pulse_ms", "fire_input"];

    fn read(keys: &Keys<'_>) -> Checked<ModbusRtu> {
        let line = keys.line()?;
        let usual = ModbusRtu::usual(line, keys.whole::<_, 1, 247>("address")?.unwrap_or(1));
        let pulse_ms = keys.whole::<_, 50, 10_000>("pulse_ms")?;
        let board = ModbusRtu {
            release_coil: keys.pair("release_coil")?.unwrap_or(usual.release_coil),
            passage_input: keys.pair("passage_input")?.unwrap_or(usual.passage_input),
            fire_input: keys.whole::<_, 0, 65_535>("fire_input")?,
            pulse: pulse_ms.map_or(usual.pulse, Duration::from_millis),
            ..usual
        };
        if board.pulse > keys.pass_within {
            let message = "is longer than pass_within_s, so the arm would stay open for the next \
                           person; shorten it";
            return wrong("pulse_ms", message);
        }
        match board.fire_input {
            Some(fire) if board.passage_input.contains(&fire) => {
                wrong("fire_input", format!("{fire} is already a passage_input; use another input"))
            }
            _ => Ok(board),
        }
    }

    fn place(&self) -> Option<(&SerialLine, u8)> {
        Some((&self.line, self.address))
    }
}
