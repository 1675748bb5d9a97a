//! The configuration of a reader: `[[lane.reader]]`.

use std::path::PathBuf;

use serde::Deserialize;

use super::{CardFormat, Heard};
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
        /// A USB reader that types, as a keyboard does.
        Keyboard = "keyboard",
        /// The SAM of a reader of resident identity cards.
        IdCard = "id-card",
    }
}

words! {
    /// What a reader may give.
    pub enum Given {
        /// The number of a card.
        Card = "card",
        /// A signed code, in QR.
        Qr = "qr",
        /// A number in QR that does not change, as on a printed badge.
        QrStatic = "qr_static",
        /// A resident identity card.
        IdCard = "id_card",
    }
}

words! {
    /// What the face at the lane's camera counts beside a card.
    #[derive(Default)]
    pub enum WithFace {
        /// It is compared and recorded, and decides nothing.
        #[default]
        Check = "check",
        /// It must be the worker's. An exit is never denied.
        Require = "require",
        /// It is not compared.
        Off = "off",
    }
}

impl Given {
    /// Returns the kind of what was read; `None` if nothing was presented.
    pub fn of(heard: &Heard) -> Option<Given> {
        match heard {
            Heard::Card(_) => Some(Given::Card),
            Heard::Code(_) => Some(Given::Qr),
            Heard::QrNumber(_) => Some(Given::QrStatic),
            Heard::IdCard(_) => Some(Given::IdCard),
            Heard::Present | Heard::Silent(_) | Heard::Unreadable(_) => None,
        }
    }
}

impl ReaderDriver {
    /// Returns what a reader with this driver can give.
    pub fn gives(self) -> &'static [Given] {
        match self {
            ReaderDriver::Line | ReaderDriver::Keyboard => {
                &[Given::Card, Given::Qr, Given::QrStatic]
            }
            ReaderDriver::Rdm6300 => &[Given::Card],
            ReaderDriver::IdCard => &[Given::IdCard],
        }
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
    /// Its serial port, or its input device.
    pub port: PathBuf,
    /// Bits a second; by default the driver's usual speed.
    #[serde(default, deserialize_with = "baud")]
    pub baud: Option<u32>,
    /// How it spells the number of a card; only for `line` and `keyboard`.
    #[serde(default)]
    pub card_format: CardFormat,
    /// What it may give; by default all that its driver can, but no static number in QR.
    #[serde(default)]
    pub accept: Option<Vec<Given>>,
    /// What the face at the lane's camera counts.
    #[serde(default)]
    pub with_face: WithFace,
}

fn baud<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    whole::<_, _, 1200, 921_600>(from).map(Some)
}

impl Reader {
    /// Returns whether it may give this.
    pub fn accepts(&self, given: Given) -> bool {
        match &self.accept {
            Some(accept) => accept.contains(&given),
            None => given != Given::QrStatic && self.driver.gives().contains(&given),
        }
    }

    /// Returns its serial line.
    pub fn line(&self) -> SerialLine {
        let usual = if self.driver == ReaderDriver::IdCard { 115_200 } else { 9600 };
        SerialLine { port: self.port.clone(), baud: self.baud.unwrap_or(usual) }
    }
}
