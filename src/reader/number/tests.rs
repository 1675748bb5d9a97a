use proptest::prelude::*;

use super::*;

#[test]
fn the_four_spellings_of_one_card_are_one_number() {
    // Source: a card of the 26-bit Wiegand format with the bits 10000101000011011001011001.
    let wiegand = 0b10000101000011011001011001_u64 >> 1 & 0xFF_FFFF;
    for (text, format) in [
        ("0A1B2C", CardFormat::Hex),
        ("0a1b2c", CardFormat::Hex),
        ("2C1B0A", CardFormat::HexReversed),
        ("0000662316", CardFormat::Dec10),
        ("010,06956", CardFormat::FacNum),
        ("10,6956", CardFormat::FacNum),
        ("01006956", CardFormat::FacNum),
    ] {
        assert_eq!(CardNumber::parse(text, format).unwrap().0, wiegand, "{text}");
    }
}

#[test]
fn what_a_person_types_is_taken_as_it_is_printed() {
    for (text, format) in [
        ("0000662316", CardFormat::Dec10),
        ("662316", CardFormat::Dec10),
        ("010,06956", CardFormat::FacNum),
        ("010，06956", CardFormat::FacNum),
        ("0A1B2C", CardFormat::Hex),
        ("0x0A1B2C", CardFormat::Hex),
        (" 0A:1B:2C ", CardFormat::Hex),
    ] {
        let (number, taken) = CardNumber::typed(text).unwrap();
        assert_eq!((number.0, taken), (662_316, format), "{text}");
    }
    let number = CardNumber::typed("662316").unwrap().0;
    assert_eq!(number.shown(), "0000662316 (hex 0A1B2C, printed 010,06956)");
    assert_eq!(
        (number.masked().as_str(), format!("{number:?}").as_str()),
        ("******2316", "CardNumber(…)")
    );
}

#[test]
fn the_version_byte_of_a_125_khz_card_is_no_part_of_its_number() {
    let printed = CardNumber::typed("0006102437").unwrap().0;
    for spelling in ["13005D1DA5", "005D1DA5", "5D1DA5", "93,7589"] {
        assert_eq!(CardNumber::typed(spelling).unwrap().0, printed, "{spelling}");
    }
    assert!(CardNumber::typed("1300000000").is_ok() && CardNumber::typed("0x1300000000").is_err());
    // The serial number of a 13.56 MHz card keeps its seven bytes.
    let (long, short) = ("04A1B2C3D4E5F6", "C3D4E5F6");
    assert_ne!(CardNumber::typed(long).unwrap().0, CardNumber::typed(short).unwrap().0);
}

#[test]
fn a_text_that_is_no_number_is_refused() {
    for text in [
        "",
        "0",
        "000",
        "card",
        "256,1",
        "1,65536",
        "0x",
        "99999999999999999999",
        "6222021234567890123",
        "12345678901234567A",
    ] {
        let problem = CardNumber::typed(text).unwrap_err();
        assert!(problem.contains("0000662316"), "{text}: {problem}");
    }
    for (text, format) in [
        ("0A1B2", CardFormat::HexReversed),
        ("12A4567890", CardFormat::Dec10),
        ("0000", CardFormat::Hex),
    ] {
        assert!(CardNumber::parse(text, format).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_number_or_an_error(text in ".{0,40}") {
        for format in CardFormat::ALL {
            let _ = CardNumber::parse(&text, format);
        }
        if let Ok((number, _)) = CardNumber::typed(&text) {
            prop_assert_eq!(CardNumber::from_canonical(&number.canonical()), Some(number));
        }
    }

    #[test]
    fn every_number_survives_each_of_its_spellings(number in 0x10_00_u64..=0xFF_FFFF) {
        let bytes = number.to_be_bytes();
        let hex: String = bytes[5..].iter().map(|b| format!("{b:02X}")).collect();
        let reversed: String = bytes[5..].iter().rev().map(|b| format!("{b:02X}")).collect();
        let fac = format!("{:03},{:05}", number >> 16, number & 0xFFFF);
        for (text, format) in [
            (hex, CardFormat::Hex), (reversed, CardFormat::HexReversed),
            (format!("{number:010}"), CardFormat::Dec10), (fac, CardFormat::FacNum),
        ] {
            prop_assert_eq!(CardNumber::parse(&text, format), Ok(CardNumber(number)));
        }
    }
}
