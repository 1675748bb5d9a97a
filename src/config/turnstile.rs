//! Turnstiles: their drivers and serial lines.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Mode,
    address::quoted,
    value::{Checked, wrong},
};

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

    pub fn word(self) -> &'static str {
        match self {
            Direction::Entry => "entry",
            Direction::Exit => "exit",
        }
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
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
    pub line: SerialLine,
    /// Slave address, 1 to 247.
    pub address: u8,
    pub release_coil: PerDirection,
    pub passage_input: PerDirection,
    /// A discrete input that is on while there is a fire alarm.
    pub fire_input: Option<u16>,
    pub pulse: Duration,
}

/// A controller that speaks `7E/7F` or `EB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedBoard {
    pub line: SerialLine,
    /// Its machine number or address, 0 to 255.
    pub address: u8,
    /// Which side of the arm `entry` is.
    pub entry_side: Side,
}

impl FramedBoard {
    pub fn side(&self, direction: Direction) -> Side {
        match (direction, self.entry_side) {
            (Direction::Entry, side) => side,
            (Direction::Exit, Side::Left) => Side::Right,
            (Direction::Exit, Side::Right) => Side::Left,
        }
    }
}

/// A serial port, 8N1. Lanes that name the same one share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SerialLine {
    pub port: PathBuf,
    pub baud: u32,
}

/// A side of the arm, as the controller's manual has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    #[default]
    Left,
    Right,
}

/// How the simulated controller behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedTurnstile {
    /// After a release somebody walks through this much later; `None`: nobody ever does.
    pub pass_after: Option<Duration>,
    /// As [`ModbusRtu::fire_input`].
    pub fire_input: Option<u16>,
}

/// The controller of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnstileDriver {
    ModbusRtu(ModbusRtu),
    /// `7e7f`: counts passages.
    Counting(FramedBoard),
    /// `eb`: takes commands and never answers.
    OneWay(FramedBoard),
    Simulated(SimulatedTurnstile),
}

impl TurnstileDriver {
    /// Its name in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            TurnstileDriver::ModbusRtu(_) => "modbus-rtu",
            TurnstileDriver::Counting(_) => "7e7f",
            TurnstileDriver::OneWay(_) => "eb",
            TurnstileDriver::Simulated(_) => "simulated",
        }
    }

    /// Its serial line and its address there.
    pub fn place(&self) -> Option<(&SerialLine, u8)> {
        match self {
            TurnstileDriver::ModbusRtu(board) => Some((&board.line, board.address)),
            TurnstileDriver::Counting(board) | TurnstileDriver::OneWay(board) => {
                Some((&board.line, board.address))
            }
            TurnstileDriver::Simulated(_) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTurnstile {
    driver: String,
    port: Option<PathBuf>,
    baud: Option<i64>,
    address: Option<i64>,
    release_coil: Option<RawPair>,
    passage_input: Option<RawPair>,
    pulse_ms: Option<i64>,
    pass_after_ms: Option<i64>,
    passes: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    entry: i64,
    exit: i64,
}

/// Keys, and whether each was given: those that belong to others are refused by name.
type Given<'a> = [(&'a str, bool)];

fn belongs(at: &str, given: &Given<'_>, to: &str) -> Checked<()> {
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => wrong(format!("{at}.{key}"), format!("belongs to {to}")),
        None => Ok(()),
    }
}

/// What a lane says of its turnstile outside of `[lane.turnstile]`.
pub(super) struct Wiring {
    pub(super) entry_side: Option<Side>,
    pub(super) fire_input: Option<i64>,
}

pub(super) fn turnstile(
    raw: RawTurnstile,
    wiring: Wiring,
    mode: Mode,
    base: &Path,
    lane: usize,
) -> Checked<TurnstileDriver> {
    let at = &format!("lane[{lane}].turnstile");
    let simulated: &Given<'_> =
        &[("pass_after_ms", raw.pass_after_ms.is_some()), ("passes", raw.passes.is_some())];
    let modbus: &Given<'_> = &[
        ("release_coil", raw.release_coil.is_some()),
        ("passage_input", raw.passage_input.is_some()),
        ("pulse_ms", raw.pulse_ms.is_some()),
    ];
    let serial: &Given<'_> = &[
        ("port", raw.port.is_some()),
        ("baud", raw.baud.is_some()),
        ("address", raw.address.is_some()),
    ];
    let fire: &Given<'_> = &[("fire_input", wiring.fire_input.is_some())];
    let side: &Given<'_> = &[("entry_side", wiring.entry_side.is_some())];
    let of_lane = &format!("lane[{lane}]");
    let driver = raw.driver.as_str();
    match driver {
        "modbus-rtu" => {
            belongs(at, simulated, "driver = \"simulated\"")?;
            belongs(of_lane, side, "driver = \"7e7f\" and \"eb\"; here the coils say it")?;
            let (line, address) = serial_place(&raw, base, at, 1..=247)?;
            let pulse_ms = whole(format!("{at}.pulse_ms"), raw.pulse_ms, 500, 50..=10_000)?;
            let release_coil = pair(at, "release_coil", raw.release_coil)?;
            let passage_input = pair(at, "passage_input", raw.passage_input)?;
            let fire_input = fire_input(of_lane, wiring.fire_input)?;
            if let Some(fire) = fire_input
                && (fire == passage_input.entry || fire == passage_input.exit)
            {
                let message = format!("{fire} is a passage_input already");
                return wrong(format!("{of_lane}.fire_input"), message);
            }
            Ok(TurnstileDriver::ModbusRtu(ModbusRtu {
                line,
                address,
                release_coil,
                passage_input,
                fire_input,
                pulse: Duration::from_millis(pulse_ms),
            }))
        }
        "7e7f" | "eb" => {
            belongs(at, simulated, "driver = \"simulated\"")?;
            belongs(at, modbus, "driver = \"modbus-rtu\"")?;
            belongs(of_lane, fire, "driver = \"modbus-rtu\": this controller has no such input")?;
            let (line, address) = serial_place(&raw, base, at, 0..=255)?;
            let entry_side = wiring.entry_side.unwrap_or_default();
            let board = FramedBoard { line, address, entry_side };
            Ok(match driver {
                "eb" => TurnstileDriver::OneWay(board),
                _ => TurnstileDriver::Counting(board),
            })
        }
        "simulated" if mode != Mode::Bench => {
            wrong(format!("{at}.driver"), "\"simulated\" needs mode = \"bench\" at the file's top")
        }
        "simulated" => {
            belongs(at, serial, "the drivers with a serial port")?;
            belongs(at, modbus, "driver = \"modbus-rtu\"")?;
            belongs(of_lane, side, "driver = \"7e7f\" and \"eb\"")?;
            let after = whole(format!("{at}.pass_after_ms"), raw.pass_after_ms, 700, 0..=600_000)?;
            let after = Duration::from_millis(after);
            let pass_after = raw.passes.unwrap_or(true).then_some(after);
            let fire_input = fire_input(of_lane, wiring.fire_input)?;
            Ok(TurnstileDriver::Simulated(SimulatedTurnstile { pass_after, fire_input }))
        }
        other => {
            let drivers = "\"modbus-rtu\", \"7e7f\", \"eb\" and \"simulated\"";
            let other = quoted(other);
            wrong(format!("{at}.driver"), format!("{other} is no driver; there are {drivers}"))
        }
    }
}

/// Coils and inputs are counted from 0, as on the wire.
const ON_THE_WIRE: RangeInclusive<i64> = 0..=65_535;

fn pair(at: &str, key: &str, given: Option<RawPair>) -> Checked<PerDirection> {
    let given = given.unwrap_or(RawPair { entry: 0, exit: 1 });
    let one =
        |which: &str, number| whole(format!("{at}.{key}.{which}"), Some(number), 0, ON_THE_WIRE);
    let pair = PerDirection { entry: one("entry", given.entry)?, exit: one("exit", given.exit)? };
    if pair.entry == pair.exit {
        return wrong(format!("{at}.{key}"), "entry and exit must differ");
    }
    Ok(pair)
}

fn fire_input(of_lane: &str, given: Option<i64>) -> Checked<Option<u16>> {
    let checked = |n| whole(format!("{of_lane}.fire_input"), Some(n), 0, ON_THE_WIRE);
    given.map(checked).transpose()
}

fn serial_place(
    raw: &RawTurnstile,
    base: &Path,
    at: &str,
    addresses: RangeInclusive<i64>,
) -> Checked<(SerialLine, u8)> {
    let Some(port) = &raw.port else {
        let message = format!("{} needs one, such as \"/dev/ttyUSB0\"", raw.driver);
        return wrong(format!("{at}.port"), message);
    };
    let address = whole(format!("{at}.address"), raw.address, 1, addresses)?;
    let baud = whole(format!("{at}.baud"), raw.baud, 9600, 1200..=921_600)?;
    Ok((SerialLine { port: base.join(port), baud }, address))
}

/// A whole number within its bounds, which are within those of its type.
fn whole<T: TryFrom<i64>>(
    key: impl Into<String>,
    given: Option<i64>,
    usual: T,
    bounds: RangeInclusive<i64>,
) -> Checked<T> {
    let Some(value) = given else { return Ok(usual) };
    match T::try_from(value) {
        Ok(number) if bounds.contains(&value) => Ok(number),
        _ => {
            let (least, most) = bounds.into_inner();
            wrong(key, format!("{value} must be from {least} to {most}"))
        }
    }
}
