//! The configuration of a turnstile, and how a driver reads its keys.
//!
//! In: one lane's table `[lane.turnstile]`, and the keys [`OF_THE_LANE`] of its `[[lane]]`. Out:
//! values within their bounds, or the first wrong key with the reason. It touches nothing.

#![warn(missing_docs)]

use std::{
    fmt::{self, Display},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};

use crate::words::words;

words! {
    /// A person's direction through a lane.
    ///
    /// Platforms code it in many ways (0/1, 1/2, "01"/"02"). A profile's table translates between
    /// this enum and the platform's code.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Direction {
        /// Onto the site.
        Entry = "entry",
        /// Off the site.
        Exit = "exit",
    }
}

impl Direction {
    /// Entry, then exit.
    pub const BOTH: [Direction; 2] = Direction::ALL;

    /// Returns the direction's index in [`BOTH`](Self::BOTH).
    pub fn index(self) -> usize {
        self as usize
    }
}

words! {
    /// How a fire panel speaks at the alarm's input.
    #[derive(Default)]
    pub enum FireSignal {
        /// The input is on while there is an alarm. A sign that is too short is a glitch.
        #[default]
        Level = "level",
        /// A short pulse is an alarm.
        Pulse = "pulse",
    }
}

/// A serial port, 8N1. Lanes that name the same port share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SerialLine {
    /// The port's device file.
    pub port: PathBuf,
    /// Bits a second, 1200 to 921600.
    pub baud: u32,
}

impl SerialLine {
    /// Returns the port's name for messages.
    pub fn name(&self) -> String {
        self.port.display().to_string()
    }
}

/// A side of the arm, by the controller's manual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Left, in the manual's drawing.
    #[default]
    Left,
    /// Right, in the manual's drawing.
    Right,
}

/// A controller with an address on a line and commands for each side of its arm: `7e7f`, `eb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedBoard {
    /// The line that the controller is on.
    pub line: SerialLine,
    /// Machine number or address, 0 to 255.
    pub address: u8,
    /// The side of the arm that `entry` leads to.
    pub entry_side: Side,
    /// Maximum time between a release and its passage.
    pub pass_within: Duration,
}

impl Settings for FramedBoard {
    const KEYS: &[&str] = &["port", "baud", "address", "entry_side"];

    fn read(keys: &Keys<'_>) -> Checked<FramedBoard> {
        Ok(FramedBoard {
            line: keys.line()?,
            address: keys.whole::<_, 0, 255>("address")?.unwrap_or(1),
            entry_side: keys.given("entry_side")?.unwrap_or_default(),
            pass_within: keys.pass_within,
        })
    }

    fn place(&self) -> Option<(&SerialLine, u8)> {
        Some((&self.line, self.address))
    }
}

impl FramedBoard {
    /// Returns whether this direction leads to the arm's left side.
    pub fn is_left(&self, direction: Direction) -> bool {
        (direction == Direction::Entry) == (self.entry_side == Side::Left)
    }
}

/// A driver's configuration.
pub trait Settings: Clone + fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The keys that the driver reads, including keys of `[[lane]]`. A key of another driver is
    /// refused, and the message names the drivers that have it.
    const KEYS: &'static [&'static str];

    /// Reads the driver's keys. An absent key has its default. Returns the first wrong key.
    fn read(keys: &Keys<'_>) -> Checked<Self>;

    /// Returns the controller's serial line and its address there.
    fn place(&self) -> Option<(&SerialLine, u8)> {
        None
    }

    /// Returns whether a guard's button releases the arm in this direction.
    fn has_button(&self, _direction: Direction) -> bool {
        false
    }
}

/// Keys of turnstiles that stand in `[[lane]]` itself.
pub const OF_THE_LANE: [&str; 2] = ["entry_side", "fire_input"];

/// An error in one key. An empty key means the table itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Wrong {
    /// The key below `[lane.turnstile]`; dots separate the parts of a nested key.
    pub key: String,
    /// What is wrong with the key, for a person.
    pub message: String,
}

/// A value, or the key that is wrong.
pub type Checked<T> = Result<T, Wrong>;

/// Returns the error for this key.
pub fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Checked<T> {
    Err(Wrong { key: key.into(), message: message.into() })
}

/// Returns a number that is within its bounds. The error of any other number names the bounds.
pub fn within<N: Display + PartialOrd>(value: N, bounds: RangeInclusive<N>) -> Result<N, String> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!("{value} must be from {} to {}", bounds.start(), bounds.end()))
}

/// Reads a whole number within bounds. The bounds are within those of its type. The number is read
/// as TOML's 64 bits, so that a number too large for its type is refused with the bounds too.
pub fn whole<'de, D, N, const LEAST: i64, const MOST: i64>(from: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<i64>,
{
    let value = within(i64::deserialize(from)?, LEAST..=MOST).map_err(D::Error::custom)?;
    N::try_from(value).map_err(|_| D::Error::custom(format!("{value} is too large")))
}

/// The keys of one lane's turnstile, as the file has them.
pub struct Keys<'a> {
    /// The keys and their values, with `driver` and the keys of the lane.
    pub table: toml::Table,
    /// The folder that relative paths begin at.
    pub base: &'a Path,
    /// Maximum time between a release and its passage.
    pub pass_within: Duration,
    /// Whether the configuration allows simulated devices.
    pub bench: bool,
}

impl Keys<'_> {
    /// Returns the key's value, of any type that serde reads.
    pub fn given<T: DeserializeOwned>(&self, key: &str) -> Checked<Option<T>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        serde_path_to_error::deserialize(value.clone()).map(Some).or_else(|error| {
            let path = error.path().to_string();
            let below = if path == "." { String::new() } else { format!(".{path}") };
            wrong(format!("{key}{below}"), error.inner().message())
        })
    }

    /// Returns the key's value, a whole number within bounds.
    pub fn whole<N: TryFrom<i64>, const LEAST: i64, const MOST: i64>(
        &self,
        key: &str,
    ) -> Checked<Option<N>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let read = whole::<_, N, LEAST, MOST>(value.clone());
        read.map(Some).or_else(|error| wrong(key, error.message()))
    }

    /// Returns two different numbers of coils or inputs, in the order of [`Direction::BOTH`].
    pub fn pair(&self, key: &str) -> Checked<Option<[u16; 2]>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Pair {
            #[serde(deserialize_with = "whole::<_, _, 0, 65_535>")]
            entry: u16,
            #[serde(deserialize_with = "whole::<_, _, 0, 65_535>")]
            exit: u16,
        }
        match self.given(key)? {
            Some(Pair { entry, exit }) if entry == exit => wrong(key, "entry and exit must differ"),
            pair => Ok(pair.map(|Pair { entry, exit }| [entry, exit])),
        }
    }

    /// Returns two inputs as [`pair`](Self::pair), or `None` if the value is `"none"`: there are no
    /// such inputs.
    pub fn pair_or_none(&self, key: &str) -> Checked<Option<Option<[u16; 2]>>> {
        match self.table.get(key).and_then(toml::Value::as_str) {
            Some("none") => Ok(Some(None)),
            Some(_) => wrong(key, "must be { entry = 0, exit = 1 }, or \"none\" without sensors"),
            None => Ok(self.pair(key)?.map(Some)),
        }
    }

    /// Returns the serial line that `port` and `baud` describe.
    pub fn line(&self) -> Checked<SerialLine> {
        let Some(port) = self.given::<PathBuf>("port")? else {
            let driver: String = self.given("driver")?.unwrap_or_default();
            return wrong("port", format!("{driver} needs a port, such as \"/dev/ttyUSB0\""));
        };
        let baud = self.whole::<_, 1200, 921_600>("baud")?.unwrap_or(9600);
        Ok(SerialLine { port: self.base.join(port), baud })
    }
}
