//! What the configuration says of a turnstile, and how a driver reads its keys.
//!
//! In: `[lane.turnstile]` of one lane as a table, with the keys [`OF_THE_LANE`] that stand in
//! `[[lane]]` itself. Out: numbers within their bounds, or the one key that is wrong, and why. It
//! touches nothing.

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
    /// Which way a person goes through a lane.
    ///
    /// Platforms code it in many ways (0/1, 1/2, "01"/"02"): inside it is this enum, outside a
    /// profile's table.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Direction {
        Entry = "entry",
        Exit = "exit",
    }
}

impl Direction {
    pub const BOTH: [Direction; 2] = Direction::ALL;

    /// Its place in [`BOTH`](Self::BOTH).
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A serial port, 8N1. Lanes that name the same one share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SerialLine {
    pub port: PathBuf,
    pub baud: u32,
}

impl SerialLine {
    /// The port's name in messages.
    pub fn name(&self) -> String {
        self.port.display().to_string()
    }
}

/// A side of the arm, as the controller's manual has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    #[default]
    Left,
    Right,
}

/// A controller with an address on a line, that tells the sides of its arm apart: `7e7f`, `eb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedBoard {
    pub line: SerialLine,
    /// Its machine number or address, 0 to 255.
    pub address: u8,
    /// Which side of the arm `entry` is.
    pub entry_side: Side,
}

impl Settings for FramedBoard {
    const KEYS: &[&str] = &["port", "baud", "address", "entry_side"];

    fn read(keys: &Keys<'_>) -> Checked<FramedBoard> {
        Ok(FramedBoard {
            line: keys.line()?,
            address: keys.whole::<_, 0, 255>("address")?.unwrap_or(1),
            entry_side: keys.given("entry_side")?.unwrap_or_default(),
        })
    }

    fn place(&self) -> Option<(&SerialLine, u8)> {
        Some((&self.line, self.address))
    }
}

impl FramedBoard {
    /// Whether this direction leads to the arm's left side.
    pub fn is_left(&self, direction: Direction) -> bool {
        (direction == Direction::Entry) == (self.entry_side == Side::Left)
    }
}

/// What a driver reads of the configuration.
pub trait Settings: Clone + fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The keys that it reads, those of the lane included. A key of another driver is refused with
    /// the names of those that have it.
    const KEYS: &'static [&'static str];

    fn read(keys: &Keys<'_>) -> Checked<Self>;

    /// Its serial line and its address there.
    fn place(&self) -> Option<(&SerialLine, u8)> {
        None
    }
}

/// Keys of turnstiles that stand in `[[lane]]` itself.
pub const OF_THE_LANE: [&str; 2] = ["entry_side", "fire_input"];

/// A complaint about one key; an empty key is the table itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Wrong {
    pub key: String,
    pub message: String,
}

pub type Checked<T> = Result<T, Wrong>;

pub fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Checked<T> {
    Err(Wrong { key: key.into(), message: message.into() })
}

/// Checks a number; where it is refused, the message gives the bounds.
pub fn within<N: Display + PartialOrd>(value: N, bounds: RangeInclusive<N>) -> Result<N, String> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!("{value} must be from {} to {}", bounds.start(), bounds.end()))
}

/// Reads a whole number within bounds, which are within those of its type. It is read as TOML has it,
/// so that one that its type cannot hold is refused with the bounds too.
pub fn whole<'de, D, N, const LEAST: i64, const MOST: i64>(from: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<i64>,
{
    let value = within(i64::deserialize(from)?, LEAST..=MOST).map_err(D::Error::custom)?;
    N::try_from(value).map_err(|_| D::Error::custom(format!("{value} is too large")))
}

/// The keys of one lane's turnstile, as they are written.
pub struct Keys<'a> {
    pub table: toml::Table,
    /// Relative paths begin here.
    pub base: &'a Path,
    /// How long after a release somebody may walk through.
    pub pass_within: Duration,
    /// The configuration admits simulated devices.
    pub bench: bool,
}

impl Keys<'_> {
    /// A value of any type that serde reads.
    pub fn given<T: DeserializeOwned>(&self, key: &str) -> Checked<Option<T>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        serde_path_to_error::deserialize(value.clone()).map(Some).or_else(|error| {
            let path = error.path().to_string();
            let below = if path == "." { String::new() } else { format!(".{path}") };
            wrong(format!("{key}{below}"), error.inner().message())
        })
    }

    /// A whole number within bounds.
    pub fn whole<N: TryFrom<i64>, const LEAST: i64, const MOST: i64>(
        &self,
        key: &str,
    ) -> Checked<Option<N>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let read = whole::<_, N, LEAST, MOST>(value.clone());
        read.map(Some).or_else(|error| wrong(key, error.message()))
    }

    /// Two different numbers of coils or inputs, as of [`Direction::BOTH`].
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

    /// `port` and `baud`.
    pub fn line(&self) -> Checked<SerialLine> {
        let Some(port) = self.given::<PathBuf>("port")? else {
            let driver: String = self.given("driver")?.unwrap_or_default();
            return wrong("port", format!("{driver} needs one, such as \"/dev/ttyUSB0\""));
        };
        let baud = self.whole::<_, 1200, 921_600>("baud")?.unwrap_or(9600);
        Ok(SerialLine { port: self.base.join(port), baud })
    }
}
