//! The drivers there are, each a folder: its settings, its frames, the driver, and a simulated
//! controller that the driver is tested against.
//!
//! A new driver is a folder with a [`Driver`], its `mod`, and its line in the list below. From there
//! come the words of `driver = "…"`, the keys that are known, the lane's task, `gatehouse check`, the
//! simulated lines that the tests of all drivers run on, and what is fuzzed.

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
    settings::{Checked, Keys, OF_THE_LANE, SerialLine, Settings, wrong},
    task::{self, Lane},
};

drivers! {
    ModbusRtu: modbus_rtu::ModbusTurnstile,
    /// It counts passages.
    Counting: d7e7f::CountingTurnstile,
    /// It takes commands and never answers.
    OneWay: eb::OneWayTurnstile,
    Simulated: simulated::Simulated,
}

fn read<D: Driver>(keys: &Keys<'_>) -> Checked<D::Config> {
    if D::SIMULATED && !keys.bench {
        let word = D::WORD;
        return wrong("driver", format!("{word:?} needs mode = \"bench\" at the file's top"));
    }
    let own = |key: &&String| *key == "driver" || D::Config::KEYS.contains(&key.as_str());
    match keys.table.keys().find(|key| !own(key)) {
        Some(key) => no_key(key),
        None => D::Config::read(keys),
    }
}

fn no_driver<T>(word: Option<&str>) -> Checked<T> {
    let Some(word) = word else { return wrong("", "missing field `driver`") };
    // What is long, or an address, may be a secret.
    let plain = word.len() <= 40 && !word.contains(['@', '/']);
    let shown = if plain { format!("{word:?}") } else { "\"***\"".to_owned() };
    let drivers = listed(KINDS.iter().map(|(word, _)| *word), "and");
    wrong("driver", format!("{shown} is no driver; there are {drivers}"))
}

/// A key that this driver does not have: another one's, or unknown, which is said as serde does.
fn no_key<T>(key: &str) -> Checked<T> {
    let owners = KINDS.iter().filter(|(_, keys)| keys.contains(&key)).map(|(word, _)| *word);
    let owners = listed(owners, "or");
    if !owners.is_empty() {
        return wrong(key, format!("belongs to driver = {owners}"));
    }
    wrong(key, unknown(key))
}

/// That no driver has this key, as serde says it.
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

/// The keys of `[lane.turnstile]` for all drivers together.
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
    lane: Lane,
    buses: &Buses,
) -> (TurnstileHandle, JoinHandle<()>) {
    let (config, means) = (config.clone(), Means::new(buses));
    // The line stays open when the driver is made again after a fault.
    let port = config.place().map(|(line, _)| buses.port(line));
    let name = port.as_ref().map_or_else(|| D::WORD.to_owned(), |port| port.name());
    let tap = D::SIMULATED.then(|| means.tap.clone());
    let make = move || {
        let _held = &port;
        D::new(config.clone(), &means)
    };
    task::spawn(make, lane, name, tap)
}

async fn probe<D: Driver>(config: &D::Config, buses: &Buses) -> Result<String, TurnstileError> {
    let Some((line, address)) = config.place() else { return Ok(D::WORD.to_owned()) };
    D::new(config.clone(), &Means::new(buses)).connect().await?;
    Ok(D::found(address, &line.name()))
}

#[cfg(any(test, feature = "failpoints"))]
impl TurnstileDriver {
    /// The driver for a simulated controller, by default settings.
    pub fn of(device: &SimulatedDevice) -> Checked<TurnstileDriver> {
        let word = device.speaks().driver;
        let mut table = toml::Table::new();
        table.insert("driver".to_owned(), word.into());
        table.insert("port".to_owned(), device.line().name().into());
        table.insert("address".to_owned(), i64::from(device.address()).into());
        let known = KINDS.iter().find(|(other, _)| *other == word);
        let fire = known.is_some_and(|(_, keys)| keys.contains(&"fire_input"));
        if let Some(input) = device.fire_input().filter(|_| fire) {
            table.insert("fire_input".to_owned(), i64::from(input).into());
        }
        let (base, pass_within) = (std::path::Path::new("/"), std::time::Duration::MAX);
        TurnstileDriver::read(&Keys { table, base, pass_within, bench: true })
    }
}
