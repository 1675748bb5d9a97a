use proptest::prelude::*;

use super::*;
use crate::turnstile::scan::tests::hear;

fn framed(mut body: [u8; 17]) -> Vec<u8> {
    body[0] = CONTROLLER;
    [&body[..], &[!sum(&body)]].concat()
}

#[test]
fn frames_are_frozen() {
    let frame = |command: Command| hex::encode_upper(command.frame(1));
    assert_eq!(frame(Command::Left), "7E000180010000FF");
    assert_eq!(frame(Command::Right), "7E000182010000FD");
    assert_eq!(frame(Command::Status), "7E00011000000070");
    assert_eq!(frame(Command::KeepLeftOpen), "7E000181000000FF");
    assert_eq!(frame(Command::KeepRightOpen), "7E000183000000FD");
    assert_eq!(frame(Command::Close), "7E000184000000FC");
    let state = hex::decode("7F01010000000001020000030000 0C00006C".replace(' ', "")).unwrap();
    assert_eq!(find(1, &state), Found::Answer { passed_over: 0, len: 18 });
    let read = State { fault: 0, alarm: 0, left: 0x102, right: 3 };
    assert_eq!(State::read(&state), Some(read));
}

#[test]
fn another_machines_frame_is_passed_over_as_a_whole() {
    let mut other = [0; 17];
    other[2] = 2;
    let (other, mut own) = (framed(other), [0; 17]);
    own[2] = 1;
    let own = framed(own);
    assert_eq!(find(1, &other), Found::Nothing { passed_over: 18 });
    let heard = [&other[..], &own].concat();
    assert_eq!(find(1, &heard), Found::Answer { passed_over: 18, len: 18 });
}

#[test]
fn a_wrong_sum_is_no_frame() {
    let mut frame = framed([0; 17]);
    frame[17] ^= 0x55;
    assert_eq!(find(0, &frame), Found::Nothing { passed_over: 18 });
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![any::<u8>(), Just(CONTROLLER)], 0..600)
}

proptest! {
    #[test]
    fn no_bytes_panic_and_little_is_kept(line in noise(), pieces in prop::collection::vec(1..64_usize, 1..9)) {
        State::read(&line);
        let (_, most) = hear(&line, &pieces, |heard| find(1, heard));
        prop_assert!(most < STATE);
    }

    #[test]
    fn an_answer_is_found_after_any_noise(
        // Noise and body hold no first byte of a frame. A check of eight bits may fit noise by chance.
        line in prop::collection::vec(0..CONTROLLER, 0..600),
        half in 0..STATE,
        mut body in prop::array::uniform17(0..CONTROLLER),
        pieces in prop::collection::vec(1..64_usize, 1..9),
    ) {
        body[2] = 1;
        let answer = framed(body);
        let broken = &answer[..half];
        let heard = [&line[..], broken, &answer].concat();
        let (found, _) = hear(&heard, &pieces, |heard| find(1, heard));
        // The half frame and the beginning of the answer may fit the check together by chance.
        // Then they are another machine's frame.
        if sum(&[broken, &answer[..STATE - half]].concat()) != u8::MAX {
            prop_assert_eq!(found, Some(answer));
        }
    }
}
