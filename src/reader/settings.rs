//! The configuration of a reader: `[[lane.reader]]`.

use std::path::PathBuf;

use serde::Deserialize;

use super::CardFormat;
use crate::{
    turnstile::{
        Direction,
        settings::{SerialLine, whole},
    },
    words::words,
};

words! {
    /// The protocol of a reader.
    pub enum ReaderDriver {
        /// Lines of text: Wiegand converters, 13.56 MHz readers.
        Line = "line",
        /// The 125 kHz reader RDM6300.
        Rdm6300 = "rdm6300",
        /// The SAM of a reader of resident identity cards.
        IdCard = "id-card",
    }
}

/// A reader at one side of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// Its name, in entries and in `status`.
    pub name: String,
    /// The direction of the people who use it.
    pub direction: Direction,
    /// Its protocol.
    pub driver: ReaderDriver,
    /// Its serial port.
    pub port: PathBuf,
    /// Bits a second; by default the driver's usual speed.
    #[serde(default, deserialize_with = "baud")]
    pub baud: Option<u32>,
    /// How it spells the number of a card; only for `line`.
    #[serde(default)]
    pub card_format: CardFormat,
}

fn baud<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    whole::<_, _, 1200, 921_600>(from).map(Some)
}

impl Reader {
    /// Returns its serial line.
    pub fn line(&self) -> SerialLine {
        let usual = if self.driver == ReaderDriver::IdCard { 115_200 } else { 9600 };
        SerialLine { port: self.port.clone(), baud: self.baud.unwrap_or(usual) }
    }
}
