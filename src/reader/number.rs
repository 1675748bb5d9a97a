//! Card numbers and their spellings.
//!
//! One card has many spellings. A card of the 26-bit Wiegand format with facility 10 and number
//! 6956 is `0A1B2C` in hex, `0000662316` in decimal, and `010,06956` in print. Readers differ in
//! the order of the bytes too, and a 125 kHz card has five bytes of which only the last four are in
//! print. All spellings become one number.

use std::fmt;

use crate::words::words;

words! {
    /// How a reader spells a card's number.
    #[derive(Default)]
    pub enum CardFormat {
        /// Hex digits, the most significant byte first: `0A1B2C`.
        #[default]
        Hex = "hex",
        /// Hex digits, the least significant byte first: `2C1B0A`.
        HexReversed = "hex_reversed",
        /// A decimal number: `0000662316`.
        Dec10 = "dec10",
        /// Facility and number of the 26-bit Wiegand format: `010,06956` or `01006956`.
        FacNum = "fac_num",
    }
}

/// Maximum number of hex digits of a card's number: 8 bytes.
const HEX_DIGITS: usize = 16;

/// A card's number, without the order of bytes or the base in which a reader spells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CardNumber(u64);

/// A number opens the gate, so it is not in logs.
impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardNumber(…)")
    }
}

impl CardNumber {
    /// Returns the number that a reader spells in this format. Zero is no card: idle readers send
    /// it.
    ///
    /// # Errors
    /// A text in another format, for a person.
    pub fn parse(text: &str, format: CardFormat) -> Result<CardNumber, String> {
        let number = match format {
            CardFormat::Hex => hex(text),
            CardFormat::HexReversed => reversed(text),
            CardFormat::Dec10 => decimal(text),
            CardFormat::FacNum => facility(text),
        };
        match number.map(CardNumber::of) {
            Some(CardNumber(0)) => Err("is zero, which no card has".to_owned()),
            Some(number) => Ok(number),
            None => {
                Err(format!("is no number in the format {format}, such as {}", format.example()))
            }
        }
    }

    /// Returns the number that a person typed, and the format in which it was taken. A comma means
    /// facility and number, a letter means hex, and only digits mean a decimal number: that is how
    /// they are printed on cards.
    ///
    /// # Errors
    /// A text that is no card's number, for a person.
    pub fn typed(text: &str) -> Result<(CardNumber, CardFormat), String> {
        let text = text.trim();
        let format = if text.contains([',', '，']) {
            CardFormat::FacNum
        } else if text.chars().all(|c| c.is_ascii_digit()) {
            CardFormat::Dec10
        } else {
            CardFormat::Hex
        };
        let bare = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let cleaned: String = bare.unwrap_or(text).replace('，', ",").replace([':', ' ', '-'], "");
        CardNumber::parse(&cleaned, format).map(|number| (number, format)).map_err(|_| {
            "must be a card's number as it is printed: 0000662316, 010,06956, or hex such as \
             0A1B2C"
                .to_owned()
        })
    }

    /// Returns the card's number. Of five bytes the first is the version of a 125 kHz card, and is in
    /// no print.
    pub(super) fn of(number: u64) -> CardNumber {
        let five_bytes = number < 1 << 40;
        CardNumber(if five_bytes { number & 0xFFFF_FFFF } else { number })
    }

    /// Returns the text from which the roster makes the keyed hash, and which it seals: hex digits
    /// without leading zeros.
    pub fn canonical(self) -> String {
        format!("{:X}", self.0)
    }

    /// Returns the number of a canonical text.
    pub fn from_canonical(text: &str) -> Option<CardNumber> {
        hex_of_any_length(text).map(CardNumber)
    }

    /// Returns the number as a person compares it with a card: decimal, hex, and print.
    pub fn shown(self) -> String {
        let (decimal, hex) = (format!("{:010}", self.0), format!("{:06X}", self.0));
        let (facility, number) = ((self.0 >> 16) & 0xFF, self.0 & 0xFFFF);
        format!("{decimal} (hex {hex}, printed {facility:03},{number:05})")
    }

    /// Returns the number with all but its last four digits as stars.
    pub fn masked(self) -> String {
        format!("******{:04}", self.0 % 10_000)
    }
}

impl CardFormat {
    fn example(self) -> &'static str {
        match self {
            CardFormat::Hex => "0A1B2C",
            CardFormat::HexReversed => "2C1B0A",
            CardFormat::Dec10 => "0000662316",
            CardFormat::FacNum => "010,06956",
        }
    }
}

fn hex_of_any_length(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit());
    let fits = digits && text.len() <= HEX_DIGITS;
    fits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn hex(text: &str) -> Option<u64> {
    hex_of_any_length(text).filter(|_| text.len() >= 4)
}

fn reversed(text: &str) -> Option<u64> {
    hex(text)?;
    let pairs = text.as_bytes().chunks_exact(2);
    let whole = pairs.remainder().is_empty();
    let text: String = pairs.rev().flatten().map(|byte| char::from(*byte)).collect();
    whole.then(|| hex(&text)).flatten()
}

/// Maximum number of decimal digits: five bytes. A longer number may be that of a bank card.
const DECIMAL_DIGITS: usize = 13;

fn decimal(text: &str) -> Option<u64> {
    let digits =
        (3..=DECIMAL_DIGITS).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn facility(text: &str) -> Option<u64> {
    let (facility, number) = match text.split_once(',') {
        Some((facility, number)) => (facility, number),
        None if text.len() == 8 => text.split_at_checked(3)?,
        None => return None,
    };
    let digits = |part: &str, most: usize| {
        let right = (1..=most).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
        right.then(|| part.parse::<u64>().ok()).flatten()
    };
    let (facility, number) = (digits(facility, 3)?, digits(number, 5)?);
    (facility <= 0xFF && number <= 0xFFFF).then_some((facility << 16) | number)
}

#[cfg(test)]
mod tests;
