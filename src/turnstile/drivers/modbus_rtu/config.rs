//! The settings of a relay board: its address on the line, its coils and its inputs.

use std::time::Duration;

use crate::turnstile::settings::{Checked, Direction, Keys, SerialLine, Settings, wrong};

/// A Modbus RTU relay board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusRtu {
    /// The line that the board is on.
    pub line: SerialLine,
    /// Slave address, 1 to 247.
    pub address: u8,
    /// In the order of [`Direction::BOTH`](crate::turnstile::Direction::BOTH), like the inputs.
    pub release_coil: [u16; 2],
    /// The discrete inputs of the passage sensors, 0 to 65535; `None` without sensors.
    pub passage_input: Option<[u16; 2]>,
    /// A discrete input that is on while there is a fire alarm.
    pub fire_input: Option<u16>,
    /// The discrete inputs of a guard's buttons, in the order of the coils.
    pub guard_button: [Option<u16>; 2],
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
            passage_input: Some([0, 1]),
            fire_input: None,
            guard_button: [None; 2],
            pulse: Duration::from_millis(500),
        }
    }
}

/// The keys of the guard's buttons.
const BUTTONS: [&str; 2] = ["guard_button_entry", "guard_button_exit"];

impl Settings for ModbusRtu {
    const KEYS: &[&str] = &[
        "port",
        "baud",
        "address",
        "release_coil",
        "passage_input",
        "pulse_ms",
        "fire_input",
        "guard_button_entry",
        "guard_button_exit",
    ];

    fn read(keys: &Keys<'_>) -> Checked<ModbusRtu> {
        let line = keys.line()?;
        let usual = ModbusRtu::usual(line, keys.whole::<_, 1, 247>("address")?.unwrap_or(1));
        let pulse_ms = keys.whole::<_, 50, 10_000>("pulse_ms")?;
        let board = ModbusRtu {
            release_coil: keys.pair("release_coil")?.unwrap_or(usual.release_coil),
            passage_input: keys.pair_or_none("passage_input")?.unwrap_or(usual.passage_input),
            fire_input: keys.whole::<_, 0, 65_535>("fire_input")?,
            guard_button: [
                keys.whole::<_, 0, 65_535>(BUTTONS[0])?,
                keys.whole::<_, 0, 65_535>(BUTTONS[1])?,
            ],
            pulse: pulse_ms.map_or(usual.pulse, Duration::from_millis),
            ..usual
        };
        if board.pulse > keys.pass_within {
            let message = "is longer than pass_within_s, so the arm would stay open for the next \
                           person; shorten it";
            return wrong("pulse_ms", message);
        }
        let mut taken: Vec<u16> = board.passage_input.into_iter().flatten().collect();
        taken.extend(board.fire_input);
        for (key, button) in BUTTONS.into_iter().zip(board.guard_button) {
            let Some(button) = button else { continue };
            if taken.contains(&button) {
                let message =
                    format!("{button} is already another input's number; use a spare input");
                return wrong(key, message);
            }
            taken.push(button);
        }
        match board.fire_input {
            Some(fire) if board.passage_input.is_some_and(|inputs| inputs.contains(&fire)) => {
                wrong("fire_input", format!("{fire} is already a passage_input; use another input"))
            }
            _ => Ok(board),
        }
    }

    fn place(&self) -> Option<(&SerialLine, u8)> {
        Some((&self.line, self.address))
    }

    fn has_button(&self, direction: Direction) -> bool {
        self.guard_button[direction.index()].is_some()
    }
}
