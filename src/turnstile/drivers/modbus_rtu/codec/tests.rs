use proptest::prelude::*;

use super::*;
use crate::turnstile::scan::tests::hear;

const INPUTS: Ask = Ask::Inputs { first: 0, count: 2 };
const ON: Ask = Ask::Write { coil: 0, on: true };

#[test]
fn frames_are_frozen() {
    let coils = Ask::Coils { first: 0, count: 2 };
    assert_eq!(coils.frame(1), [0x01, 0x01, 0x00, 0x00, 0x00, 0x02, 0xBD, 0xCB]);
    assert_eq!(INPUTS.frame(1), [0x01, 0x02, 0x00, 0x00, 0x00, 0x02, 0xF9, 0xCB]);
    assert_eq!(ON.frame(1), [0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3A]);
    let off = Ask::Write { coil: 0, on: false };
    assert_eq!(off.frame(1), [0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0xCD, 0xCA]);
    assert_eq!(coils.read(&[0x01, 0x01, 0x01, 0x01, 0x90, 0x48]), Answer::Bits(1));
    assert_eq!(INPUTS.read(&[0x01, 0x02, 0x01, 0x00, 0xA1, 0x88]), Answer::Bits(0));
    assert_eq!(ON.read(&ON.frame(1)), Answer::Written);
    assert_eq!(ON.read(&off.frame(1)), Answer::WrittenAs(0));
    let refused = [0x01, 0x85, 0x02, 0xC3, 0x51];
    assert_eq!(ON.find(1, &refused), Found::Answer { passed_over: 0, len: 5 });
    assert_eq!(ON.read(&refused), Answer::Refused(2));
}

#[test]
fn an_answer_of_the_wrong_length_is_refused() {
    let nine = Ask::Inputs { first: 0, count: 9 };
    let short = [0x01, 0x02, 0x01, 0x00, 0xA1, 0x88];
    assert_eq!(nine.read(&short), Answer::Unasked);
    assert_eq!(nine.read(&[]), Answer::Unasked);
    let body = [0x01, 0x02, 0x02, 0x01, 0xFF];
    let frame = [&body[..], &crc(&body).to_le_bytes()].concat();
    assert_eq!(nine.read(&frame), Answer::Bits(0x101), "the padding of the last byte is left out");
}

#[test]
fn another_boards_answer_and_another_functions_are_passed_over() {
    let other = [0x02, 0x02, 0x01, 0x03, 0xE0, 0x49];
    let coils = [0x01, 0x01, 0x01, 0x01, 0x90, 0x48];
    let own = [0x01, 0x02, 0x01, 0x00, 0xA1, 0x88];
    let heard = [&other[..], &coils, &own].concat();
    assert_eq!(INPUTS.find(1, &heard), Found::Answer { passed_over: 12, len: 6 });
    assert_eq!(INPUTS.find(1, &heard[..12]), Found::Nothing { passed_over: 12 });
}

#[test]
fn a_write_that_is_answered_with_another_value_is_not_known_to_be_done() {
    let answer = |coil: u8, value: [u8; 2]| {
        let body = [0x01, 0x05, 0x00, coil, value[0], value[1]];
        [&body[..], &crc(&body).to_le_bytes()].concat()
    };
    for ask in [ON, Ask::Write { coil: 0, on: false }] {
        for value in [0x0001, 0x0100, 0xFFFF, 0x1234] {
            let frame = answer(0, u16::to_be_bytes(value));
            assert_eq!(hear(&frame, &[1], |heard| ask.find(1, heard)).0, Some(frame.clone()));
            assert_eq!(ask.read(&frame), Answer::WrittenAs(value));
        }
        assert_eq!(ask.read(&answer(1, [0xFF, 0x00])), Answer::Unasked, "another coil");
    }
}

#[test]
fn a_frame_of_another_board_names_its_address() {
    for frame in [
        vec![0x02, 0x02, 0x01, 0x03, 0xE0, 0x49],
        vec![0x07, 0x85, 0x02, 0xC3, 0x51],
        Ask::Write { coil: 3, on: true }.frame(9),
    ] {
        let mut frame = frame;
        let len = frame.len() - 2;
        let sum = crc(&frame[..len]).to_le_bytes();
        frame[len..].copy_from_slice(&sum);
        assert_eq!(whose(&[&[0x00, 0xFF], &frame[..]].concat()), Some(frame[0]));
        assert_eq!(whose(&frame[..len]), None);
    }
    assert_eq!(whose(&[0x01; 300]), None);
}

#[test]
fn a_refusal_says_what_to_change() {
    let said = |ask: Ask, code| format!("{}: {}", ask.words(), ask.remedy(code));
    let coils = Ask::Coils { first: 3, count: 3 };
    let off = Ask::Write { coil: 3, on: false };
    assert!(
        said(INPUTS, 1).contains("read inputs 0 to 1: the board has no discrete inputs (FC02)")
    );
    assert!(said(INPUTS, 1).contains("passage_input = \"none\""));
    assert!(said(INPUTS, 2).contains("change passage_input, fire_input or guard_button"));
    assert!(said(coils, 2).contains("read coils 3 to 5: the board has no such coil"));
    assert!(said(off, 2).contains("switch coil 3 off: the board has no such coil"));
    assert!(said(Ask::Inputs { first: 7, count: 1 }, 4).contains("read input 7: the board itself"));
    for code in 0..=255 {
        for ask in [INPUTS, coils, off] {
            assert!(!ask.remedy(code).is_empty());
        }
    }
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    // The first bytes of frames are frequent.
    prop::collection::vec(prop_oneof![any::<u8>(), Just(1), Just(2), Just(5)], 0..600)
}

proptest! {
    #[test]
    fn no_bytes_panic_and_little_is_kept(line in noise(), pieces in prop::collection::vec(1..64_usize, 1..9)) {
        for ask in [INPUTS, ON, Ask::Coils { first: 7, count: 16 }] {
            let (found, most) = hear(&line, &pieces, |heard| ask.find(1, heard));
            if let Some(frame) = found {
                ask.read(&frame);
            }
            ask.read(&line);
            prop_assert!(most < 8);
        }
    }

    #[test]
    fn an_answer_is_found_after_any_noise(
        line in noise(),
        half in 0..6_usize,
        bits in 0..4_u8,
        pieces in prop::collection::vec(1..64_usize, 1..9),
    ) {
        let body = [0x01, 0x02, 0x01, bits];
        let answer = [&body[..], &crc(&body).to_le_bytes()].concat();
        // The noise could hold a valid answer, but only with a chance of 1 in 2^40.
        let heard = [&line[..], &answer[..half], &answer].concat();
        let (found, _) = hear(&heard, &pieces, |heard| INPUTS.find(1, heard));
        prop_assert_eq!(found, Some(answer.clone()));
        prop_assert_eq!(INPUTS.read(&answer), Answer::Bits(bits.into()));
    }
}
