use proptest::prelude::*;

use super::*;
use crate::reader::{CardFormat, CardNumber, Code, CodeKey, code};

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn codec(format: CardFormat) -> Line {
    Line::new(Text { format, number: true, in_qr: false })
}

fn card(number: u64) -> Heard {
    Heard::Card(CardNumber::of(number))
}

#[test]
fn lines_of_converters_and_readers_are_card_numbers() {
    for (format, bytes) in [
        (CardFormat::Hex, &b"0A1B2C\r"[..]),
        (CardFormat::Dec10, b"0000662316\r\n"),
        (CardFormat::FacNum, b"010,06956\r"),
        (CardFormat::HexReversed, b"\x022C1B0A\x03"),
    ] {
        for split in 0..bytes.len() {
            let mut line = codec(format);
            let (before, after) = bytes.split_at(split);
            let mut heard = line.hear(before, at(0));
            heard.extend(line.hear(after, at(100)));
            assert_eq!(heard, [card(662_316)], "split at {split}");
        }
    }
}

#[test]
fn silence_ends_a_line_and_a_pause_parts_two_cards() {
    let mut line = codec(CardFormat::Hex);
    assert_eq!(line.hear(b"0A1B2C", at(0)), []);
    assert_eq!(line.due(), Some(at(150)));
    assert_eq!(line.tick(at(149)).0, []);
    assert_eq!(line.tick(at(150)).0, [card(662_316)]);
    assert_eq!(line.due(), None);
    // The task was late: the bytes of the next card end the first one.
    line.hear(b"0A1B2C", at(1000));
    assert_eq!(line.hear(b"0A1B2D", at(2000)), [card(662_316)]);
}

#[test]
fn a_line_without_an_end_is_bounded_and_the_next_one_is_whole() {
    let mut line = codec(CardFormat::Hex);
    for _ in 0..40 {
        assert_eq!(line.hear(&[b'7'; 100], at(0)), []);
        assert!(line.held.len() <= LINE_MAX);
    }
    let heard = line.hear(b"\r0A1B2C\r", at(1));
    assert!(
        matches!(&heard[..], [Heard::Unreadable(_), card_] if *card_ == card(662_316)),
        "{heard:?}"
    );
}

#[test]
fn what_cannot_be_read_names_a_remedy_and_not_the_number() {
    let mut line = codec(CardFormat::Dec10);
    let heard = line.hear(b"0A1B2C\r\xff\xfe\x80\r", at(0));
    let [Heard::Unreadable(format), Heard::Unreadable(noise)] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert!(format.contains("card_format") && !format.contains("0A1B2C"), "{format}");
    assert!(noise.contains("baud"), "{noise}");
}

/// What is heard of a line by a reader that accepts these.
fn heard(number: bool, in_qr: bool, text: &str) -> Heard {
    let mut line = Line::new(Text { format: CardFormat::Dec10, number, in_qr });
    let heard = line.hear(format!("{text}\r").as_bytes(), at(0));
    let [heard] = &heard[..] else { panic!("{heard:?}") };
    heard.clone()
}

#[test]
fn a_code_is_told_from_a_card_and_a_static_number_counts_only_where_it_is_accepted() {
    let says = code::Says {
        project: "P-1".into(),
        gateway: "gate-1".into(),
        worker: "W001".into(),
        issued: 1,
        expires: 2,
    };
    let made = Code::make(says, [1; 8], &CodeKey::new([7; 32]));
    let is_code = Heard::Code(Box::new(made.clone()));
    for (number, in_qr) in [(true, false), (true, true), (false, false)] {
        assert_eq!(heard(number, in_qr, &made.text()), is_code);
    }
    assert_eq!(heard(true, false, "0000662316"), card(662_316));
    assert_eq!(heard(true, true, "0000662316"), Heard::QrNumber(CardNumber::of(662_316)));
    let Heard::Unreadable(what) = heard(false, false, "0000662316") else { panic!() };
    assert!(what.contains("accept") && !what.contains("662316"), "{what}");
    let Heard::Unreadable(what) = heard(true, false, &made.text()[..40]) else { panic!() };
    assert!(what.contains("damaged"), "{what}");
    let Heard::Unreadable(what) = heard(true, false, &"7".repeat(4_000)) else { panic!() };
    assert!(what.contains("more than"), "{what}");
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_read_alike(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        cut in 0usize..600,
    ) {
        let (mut whole, mut parts) = (codec(CardFormat::Hex), codec(CardFormat::Hex));
        let (before, after) = bytes.split_at(cut.min(bytes.len()));
        let one = whole.hear(&bytes, at(0));
        let mut two = parts.hear(before, at(0));
        two.extend(parts.hear(after, at(0)));
        prop_assert_eq!(one, two);
    }
}
