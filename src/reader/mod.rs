//! Readers of cards at a lane: their frames, and the serial line or the input device that each is on.
//!
//! In: bytes of a serial line or of evdev, and time. Out: [`Heard`]: the number of a card, a code, the data of a
//! resident identity card, or why something could not be read. [`spawn`] touches one port;
//! the codecs touch nothing.
//!
//! | file | what it reads |
//! |---|---|
//! | `line` | lines of text, as Wiegand converters and 13.56 MHz readers send them |
//! | `code` | signed codes in QR |
//! | `keyboard` | readers that type, through evdev |
//! | `text` | what a line of text means: a card, or a code |
//! | `rdm6300` | frames of the 125 kHz reader RDM6300 |
//! | `id_card` | resident identity cards, through the SAM of a 二代证 reader |
//!
//! A real and a simulated reader send the same bytes.

#![warn(missing_docs)]

pub mod code;
pub mod id_card;
mod keyboard;
pub mod line;
pub mod number;
mod rdm6300;
mod settings;
mod task;
mod text;

pub use self::{
    code::{Code, CodeKey},
    id_card::IdCard,
    number::{CardFormat, CardNumber},
    settings::{Given, Reader, ReaderDriver, WithFace},
    task::{ReaderState, Reading, spawn},
};
use crate::clock::Monotonic;

/// What a reader reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A card.
    Card(CardNumber),
    /// A signed code, in QR.
    Code(Box<Code>),
    /// A number in QR that does not change.
    QrNumber(CardNumber),
    /// A resident identity card.
    IdCard(Box<IdCard>),
    /// The device answered, and there is no card.
    Present,
    /// The device does not answer, for a person.
    Silent(String),
    /// Bytes that are no valid frame, for a person: what is wrong and what may help.
    Unreadable(String),
}

/// A reader's protocol.
trait Codec: Send {
    /// Takes bytes that came from the reader.
    fn hear(&mut self, bytes: &[u8], now: Monotonic) -> Vec<Heard>;

    /// Returns the time at which [`Codec::tick`] is due.
    fn due(&self) -> Option<Monotonic> {
        None
    }

    /// Returns what the passed time means, and the bytes to send.
    fn tick(&mut self, _now: Monotonic) -> (Vec<Heard>, Vec<u8>) {
        (Vec::new(), Vec::new())
    }
}

/// Reads the bytes of a reader with each driver: whole, and in pieces of a length that the first byte
/// gives. Both are read alike.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let text = text::Text { format: CardFormat::Hex, number: true, in_qr: false };
    let codecs: [fn(text::Text) -> Box<dyn Codec>; 4] = [
        |text| Box::new(line::Line::new(text)),
        |text| Box::new(keyboard::Keyboard::new(text)),
        |_| Box::new(rdm6300::Rdm6300::default()),
        |_| Box::new(id_card::Sam::default()),
    ];
    for codec in codecs {
        let heard = |piece: usize| {
            let mut codec = codec(text);
            let now = Monotonic::default();
            // A reader that is asked gets its question first.
            codec.tick(now);
            let heard = stream.chunks(piece).flat_map(|some| codec.hear(some, now));
            // What cannot be read is told for each piece.
            heard.filter(|heard| !matches!(heard, Heard::Unreadable(_))).collect::<Vec<_>>()
        };
        assert_eq!(heard(stream.len().max(1)), heard((*piece).max(1).into()));
    }
}

impl Reader {
    fn text(&self) -> text::Text {
        let (card, number) = (self.accepts(Given::Card), self.accepts(Given::QrStatic));
        text::Text { format: self.card_format, number: card || number, in_qr: number && !card }
    }

    fn codec(&self) -> Box<dyn Codec> {
        match self.driver {
            ReaderDriver::Line => Box::new(line::Line::new(self.text())),
            ReaderDriver::Rdm6300 => Box::new(rdm6300::Rdm6300::default()),
            ReaderDriver::Keyboard => Box::new(keyboard::Keyboard::new(self.text())),
            ReaderDriver::IdCard => Box::new(id_card::Sam::default()),
        }
    }
}
