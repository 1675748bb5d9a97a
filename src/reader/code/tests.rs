use proptest::prelude::*;

use super::*;

fn key() -> CodeKey {
    CodeKey::new(std::array::from_fn(|n| n as u8))
}

fn says() -> Says {
    let text = |text: &str| text.to_owned();
    Says {
        project: text("P-1"),
        gateway: text("gate-1"),
        worker: text("W001"),
        issued: 1_795_996_800,
        expires: 1_795_997_400,
    }
}

fn code() -> Code {
    Code::make(says(), [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77], &key())
}

#[test]
fn the_codes_text_is_frozen() {
    let text = code().text();
    let page = include_str!("../../../docs/integrate/qr.md");
    assert!(page.contains(&text), "docs/integrate/qr.md lacks {text}");
    let read = Code::read(&text).unwrap();
    assert_eq!((read.says(), read.is_signed_with(&key())), (&says(), true));
    assert_eq!(read.id(), code().id());
    // Readers that send small letters.
    assert_eq!(Code::read(&text.to_lowercase()).unwrap(), read);
}

#[test]
fn another_key_and_each_altered_character_do_not_count() {
    let text = code().text();
    assert!(!code().is_signed_with(&CodeKey::new([9; 32])));
    for at in PREFIX.len()..text.len() {
        let mut altered = text.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = Code::read(str::from_utf8(&altered).unwrap());
        assert!(altered.is_none_or(|code| !code.is_signed_with(&key())), "character {at}");
    }
}

#[test]
fn a_damaged_text_is_no_code() {
    let text = code().text();
    for wrong in ["", "GH1", "GH1AAAA", "0A1B2C", "https://example.org", "GH1!!!!", "ＧＨ１"] {
        assert!(Code::read(wrong).is_none(), "{wrong}");
    }
    for end in 0..text.len() {
        let cut = Code::read(&text[..end]);
        assert!(cut.is_none_or(|code| !code.is_signed_with(&key())), "{end} characters");
    }
}

#[test]
fn the_longest_body_fits_a_readers_line() {
    let longest = Says {
        project: "p".repeat(64),
        gateway: "g".repeat(64),
        worker: "w".repeat(32),
        issued: i64::from(u32::MAX),
        expires: i64::from(u32::MAX),
    };
    let text = Code::make(longest, [0xFF; 8], &key()).text();
    assert!(text.len() <= crate::reader::line::LINE_MAX, "{} characters", text.len());
    assert!(Code::read(&text).unwrap().is_signed_with(&key()));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_of_codes_fail(text in "(?i:gh1)?[ -~]{0,300}") {
        let _ = Code::read(&text);
    }
}
