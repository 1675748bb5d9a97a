use proptest::prelude::*;

use super::*;

/// Source: a frame that a user published, card 13005D1DA5.
const FRAME: &[u8] = b"\x0213005D1DA5F6\x03";

fn at_once(bytes: &[u8]) -> Vec<Heard> {
    Rdm6300::default().hear(bytes, Monotonic::from_millis(0))
}

fn card() -> Heard {
    Heard::Card(CardNumber::parse("0006102437", crate::reader::CardFormat::Dec10).unwrap())
}

#[test]
fn a_frame_is_a_card_at_each_split_and_between_noise() {
    assert_eq!(
        FRAME,
        [2, 0x31, 0x33, 0x30, 0x30, 0x35, 0x44, 0x31, 0x44, 0x41, 0x35, 0x46, 0x36, 3]
    );
    for split in 0..=FRAME.len() {
        let mut reader = Rdm6300::default();
        let (before, after) = FRAME.split_at(split);
        let mut heard = reader.hear(b"\xff\x00", Monotonic::from_millis(0));
        heard.extend(reader.hear(before, Monotonic::from_millis(0)));
        heard.extend(reader.hear(after, Monotonic::from_millis(1)));
        heard.extend(reader.hear(b"\x7f\x03", Monotonic::from_millis(2)));
        assert_eq!(heard, [card()], "split at {split}");
    }
}

#[test]
fn a_held_card_repeats_and_a_frame_cut_off_leaves_the_next_whole() {
    assert_eq!(at_once(&[FRAME, FRAME].concat()), [card(), card()]);
    for cut in 1..FRAME.len() {
        let heard = at_once(&[&FRAME[..cut], FRAME].concat());
        assert_eq!(heard.last(), Some(&card()), "cut at {cut}");
    }
}

#[test]
fn a_wrong_checksum_is_no_card() {
    for at in 1..13 {
        let mut frame = FRAME.to_vec();
        frame[at] = if frame[at] == b'0' { b'1' } else { b'0' };
        assert!(!at_once(&frame).contains(&card()), "digit {at}");
        assert!(matches!(at_once(&frame)[..], [Heard::Unreadable(_)]), "digit {at}");
    }
    assert!(matches!(at_once(b"\x02000000000000\x03")[..], [Heard::Unreadable(_)]));
}

#[test]
fn a_reader_of_another_speed_is_reported() {
    assert!(matches!(at_once(&[0xE5; 64])[..], [Heard::Unreadable(_)]));
}

proptest! {
    #[test]
    fn any_bytes_leave_the_next_frame_whole(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Rdm6300::default();
        reader.hear(&noise, Monotonic::from_millis(0));
        let heard = reader.hear(FRAME, Monotonic::from_millis(0));
        prop_assert_eq!(heard.last(), Some(&card()));
    }
}
