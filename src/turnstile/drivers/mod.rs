//! The list of drivers. Each driver is a folder: its settings, its frames, the driver, and a
//! simulated controller for its tests.
//!
//! A new driver needs a folder with a [`Driver`], its `mod` line, and its line in the list below.
//! From the list follow the words of `driver = "…"`, the known keys, the lane's task, the probe of
//! `gatehouse check`, the simulated lines that the tests of all drivers run on, and fuzzing.

#![warn(missing_docs)]

mod kind;
#[macro_use]
mod list;

pub mod d7e7f;
pub mod eb;
pub mod modbus_rtu;
pub mod simulated;

use tokio::task::JoinHandle;

pub use self::kind::{Driver, Means};
#[cfg(any(test, feature = "failpoints"))]
use super::simulation::{SimulatedDevice, Speaks};
use super::{
    bus::Buses,
    error::TurnstileError,
    handle::TurnstileHandle,
    settings::{Checked, Direction, Keys, OF_THE_LANE, SerialLine, Settings, wrong},
    task::{self, TaskLane},
};

drivers! {
    /// A relay board with inputs, over Modbus RTU.
    ModbusRtu: modbus_rtu::ModbusTurnstile,
    /// A controller that counts passages.
    Counting: d7e7f::CountingTurnstile,
    /// A controller that takes commands and never answers.
    OneWay: eb::OneWayTurnstile,
    /// A driver without hardware.
    Simulated: simulated::Simulated,
}

fn read<D: Driver>(keys: &Keys<'_>) -> Checked<D::Config> {
    if D::SIMULATED && !keys.bench {
        let word = D::WORD;
        return wrong("driver", format!("{word:?} needs mode = \"bench\" at the top of the file"));
    }
    let own = |key: &&String| *key == "driver" || D::Config::KEYS.contains(&key.as_str());
    match keys.table.keys().find(|key| !own(key)) {
        Some(key) => no_key(key),
        None => D::Config::read(keys),
    }
}

fn no_driver<T>(word: Option<&str>) -> Checked<T> {
    let Some(word) = word else { return wrong("", "missing field `driver`") };
    // A long word, or an address, may hold a secret, so it is not shown.
    let plain = word.len() <= 40 && !word.contains(['@', '/']);
    let shown = if plain { format!("{word:?}") } else { "\"***\"".to_owned() };
    let drivers = listed(KINDS.iter().map(|(word, _)| *word), "or");
    wrong("driver", format!("{shown} is no driver; choose {drivers}"))
}

/// Returns the error for a key that this driver does not have. It names the drivers that have the
/// key, or is worded as serde's error for an unknown key.
fn no_key<T>(key: &str) -> Checked<T> {
    let owners = KINDS.iter().filter(|(_, keys)| keys.contains(&key)).map(|(word, _)| *word);
    let owners = listed(owners, "or");
    if !owners.is_empty() {
        return wrong(key, format!("belongs to driver = {owners}"));
    }
    wrong(key, unknown(key))
}

/// Returns the message for a key that no driver has, in serde's words.
pub fn unknown(key: &str) -> String {
    let known: Vec<_> = keys().iter().map(|key| format!("`{key}`")).collect();
    format!("unknown field `{key}`, expected one of {}", known.join(", "))
}

fn listed<'a>(words: impl Iterator<Item = &'a str>, and: &str) -> String {
    let words: Vec<_> = words.map(|word| format!("{word:?}")).collect();
    match &words[..] {
        [first @ .., last] if !first.is_empty() => format!("{} {and} {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// Returns the keys of `[lane.turnstile]` of all drivers.
pub fn keys() -> Vec<&'static str> {
    let mut keys = vec!["driver"];
    for key in KINDS.iter().flat_map(|(_, keys)| *keys) {
        if !keys.contains(key) && !OF_THE_LANE.contains(key) {
            keys.push(key);
        }
    }
    keys
}

fn spawn<D: Driver>(
    config: &D::Config,
    lane: TaskLane,
    buses: &Buses,
) -> (TurnstileHandle, JoinHandle<()>) {
    let (config, means) = (config.clone(), Means::new(buses));
    // The task holds the port, so that the line stays open while a driver is created again.
    let port = config.place().map(|(line, _)| buses.port(line));
    let name = port.as_ref().map_or_else(|| D::WORD.to_owned(), |port| port.name());
    let tap = D::SIMULATED.then(|| means.tap.clone());
    let sensors = D::sensors(&config);
    let make = move || {
        let _held = &port;
        D::new(config.clone(), &means)
    };
    task::spawn(make, lane, name, tap, sensors)
}

async fn probe<D: Driver>(config: &D::Config, buses: &Buses) -> Result<String, TurnstileError> {
    let Some((line, address)) = config.place() else { return Ok(D::WORD.to_owned()) };
    D::new(config.clone(), &Means::new(buses)).connect().await?;
    Ok(D::found(address, &line.name()))
}

#[cfg(any(test, feature = "failpoints"))]
impl TurnstileDriver {
    /// Returns the driver for a simulated controller, with default settings. A driver without a
    /// port or an address gets none.
    pub fn of(device: &SimulatedDevice) -> Checked<TurnstileDriver> {
        let word = device.speaks().driver;
        let keys = KINDS.iter().find(|(other, _)| *other == word).map_or(&[][..], |kind| kind.1);
        let fire_input = device.fire_input().map(|input| i64::from(input).into());
        let given: [(&str, Option<toml::Value>); 3] = [
            ("port", Some(device.line().name().into())),
            ("address", Some(i64::from(device.address()).into())),
            ("fire_input", fire_input),
        ];
        let own = given.into_iter().filter(|(key, _)| keys.contains(key));
        let mut table = toml::Table::from_iter([("driver".to_owned(), word.into())]);
        table.extend(own.filter_map(|(key, value)| Some((key.to_owned(), value?))));
        let (base, pass_within) = (std::path::Path::new("/"), std::time::Duration::MAX);
        TurnstileDriver::read(&Keys { table, base, pass_within, bench: true })
    }
}
