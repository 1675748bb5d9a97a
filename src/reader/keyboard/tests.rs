use proptest::prelude::*;

use super::*;
use crate::reader::{CardFormat, CardNumber, Code, CodeKey, code::Says};

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn keyboard(format: CardFormat) -> Keyboard {
    Keyboard::new(Text { format, number: true, in_qr: false })
}

/// Returns the bytes of an event, as the kernel writes them.
fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
    let mut bytes = vec![0x5A; EVENT - 8];
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(code.to_ne_bytes());
    bytes.extend(value.to_ne_bytes());
    bytes
}

/// Returns the events of a key: scan code, press, report, release, report.
fn key(code: u16) -> Vec<u8> {
    let report = || event(0, 0, 0);
    [event(4, 4, 0x7_0000), event(1, code, 1), report(), event(1, code, 0), report()].concat()
}

/// Returns the events of a line that a reader types.
pub(in crate::reader) fn typed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for c in text.bytes() {
        let code = (2..100).find(|code| character(*code, false) == Some(c));
        bytes.extend(match code {
            Some(code) => key(code),
            None => {
                let code = (2..100).find(|code| character(*code, true) == Some(c)).unwrap();
                [event(1, 42, 1), key(code), event(1, 42, 0)].concat()
            }
        });
    }
    [bytes, key(ENTER)].concat()
}

#[test]
fn the_keys_of_a_reader_are_its_line() {
    // Codes of linux/input-event-codes.h: KEY_0 is 11, KEY_A 30, KEY_1 2, KEY_B 48, KEY_2 3,
    // KEY_C 46, KEY_ENTER 28.
    let shift = |code| [event(1, 42, 1), key(code), event(1, 42, 0)].concat();
    let bytes = [key(11), shift(30), key(2), shift(48), key(3), shift(46), key(28)].concat();
    assert_eq!(bytes, typed("0A1B2C"));
    let heard = [Heard::Card(CardNumber::of(662_316))];
    for split in 0..bytes.len() {
        let mut keyboard = keyboard(CardFormat::Hex);
        let (before, after) = bytes.split_at(split);
        let mut all = keyboard.hear(before, at(0));
        all.extend(keyboard.hear(after, at(150)));
        assert_eq!(all, heard, "split at {split}");
    }
    let keypad = [79, 80, 81, 75, 96].map(key).concat();
    let number = keyboard(CardFormat::Dec10).hear(&keypad, at(0));
    assert_eq!(number, [Heard::Card(CardNumber::of(1234))]);
}

#[test]
fn every_character_of_codes_and_numbers_has_its_key() {
    for text in
        ["0123456789,", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "-_./:+"]
    {
        let mut keyboard = keyboard(CardFormat::Hex);
        let bytes = typed(text);
        keyboard.hear(&bytes[..bytes.len() - key(ENTER).len()], at(0));
        assert_eq!(str::from_utf8(&keyboard.line).unwrap(), text);
    }
    let text = |text: &str| text.to_owned();
    let (project, gateway, worker) = (text("P-1"), text("gate-1"), text("W001"));
    let says = Says { project, gateway, worker, issued: 1, expires: 2 };
    let code = Code::make(says, [1; 8], &CodeKey::new([7; 32]));
    let heard = keyboard(CardFormat::Hex).hear(&typed(&code.text()), at(0));
    assert_eq!(heard, [Heard::Code(Box::new(code))]);
}

#[test]
fn a_pause_clears_a_line_and_is_told_and_a_held_key_counts_once() {
    let mut keyboard = keyboard(CardFormat::Dec10);
    assert_eq!(keyboard.hear(&[key(2), key(3)].concat(), at(0)), []);
    assert_eq!(keyboard.due(), Some(at(200)));
    let told = keyboard.tick(at(200)).0;
    assert!(
        matches!(&told[..], [Heard::Unreadable(what)] if what.starts_with("2 keys without Enter")),
        "{told:?}"
    );
    let held = [event(1, 2, 1), event(1, 2, 2), event(1, 2, 2), event(1, 2, 0)].concat();
    let bytes = [held, key(3), key(4), key(ENTER)].concat();
    assert_eq!(keyboard.hear(&bytes, at(1000)), [Heard::Card(CardNumber::of(123))]);
    // The task was late: the first key of the next line clears what was left.
    keyboard.hear(&key(9), at(2000));
    let heard = keyboard.hear(&typed("456"), at(2300));
    assert_eq!(heard.last(), Some(&Heard::Card(CardNumber::of(456))));
}

#[test]
fn a_line_without_an_end_is_bounded() {
    let mut keyboard = keyboard(CardFormat::Dec10);
    for _ in 0..4_000 {
        assert_eq!(keyboard.hear(&key(8), at(0)), []);
    }
    assert!(keyboard.line.len() <= LINE_MAX);
    let heard = keyboard.hear(&[key(ENTER), typed("456")].concat(), at(1));
    assert!(
        matches!(&heard[..], [Heard::Unreadable(_), Heard::Card(card)] if *card == CardNumber::of(456)),
        "{heard:?}"
    );
}

#[test]
fn what_is_no_keyboard_is_not_opened_and_the_remedy_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = open(&dir.path().join("none")).unwrap_err();
    assert!(missing.contains("plug the reader in"), "{missing}");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let other = open(&file).unwrap_err();
    assert!(other.contains("is no keyboard") && other.contains("event-kbd"), "{other}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        keyboard(CardFormat::Hex).hear(&bytes, at(0));
    }
}
