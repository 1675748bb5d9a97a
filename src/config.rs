//! Strict TOML in, domain types out.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Which way a person goes through a lane.
///
/// Platforms code it in many ways (0/1, 1/2, "01"/"02"): inside it is this enum, outside a
/// profile's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Entry,
    Exit,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Entry, Direction::Exit];
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Direction::Entry => "entry",
            Direction::Exit => "exit",
        })
    }
}

/// One number for each direction: a coil, an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerDirection {
    pub entry: u16,
    pub exit: u16,
}

impl PerDirection {
    pub fn get(&self, direction: Direction) -> u16 {
        match direction {
            Direction::Entry => self.entry,
            Direction::Exit => self.exit,
        }
    }
}

/// A Modbus RTU relay board: how to reach it and which coils and inputs mean what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusRtu {
    pub port: PathBuf,
    pub baud: u32,
    /// Slave address, 1 to 247.
    pub address: u8,
    pub release_coil: PerDirection,
    pub passage_input: PerDirection,
    pub pulse: Duration,
}

/// How the simulated controller behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedTurnstile {
    /// After a release somebody walks through this much later; `None`: nobody ever does.
    pub pass_after: Option<Duration>,
}

/// The controller of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnstileDriver {
    ModbusRtu(ModbusRtu),
    Simulated(SimulatedTurnstile),
}
