//! `7E/7F`, the host's side: 8 bytes go out, 18 come back.
//!
//! The host says `7E 00 machine command d0 d1 d2 check`, where the check is the complement of the
//! sum of the seven bytes before it. The controller answers each command with its whole state:
//! `7F version machine fault gate alarm L L L R R R infrared executed vcc x x check`, of which all
//! bytes and 1 add up to 0. L and R count passages to the left and to the right, 24 bits, the
//! highest first. Every answer looks alike: none says which command it belongs to.

use super::{Found, Here, scan};

const HOST: u8 = 0x7E;
const CONTROLLER: u8 = 0x7F;
/// The length of a controller's frame.
pub const STATE: usize = 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Status,
    /// Lets one person through.
    Left,
    KeepLeftOpen,
    Right,
    KeepRightOpen,
    /// Ends whatever the arm is open for.
    Close,
}

impl Command {
    pub fn frame(self, machine: u8) -> Vec<u8> {
        let (code, passes) = match self {
            Command::Status => (0x10, 0),
            Command::Left => (0x80, 1),
            Command::KeepLeftOpen => (0x81, 0),
            Command::Right => (0x82, 1),
            Command::KeepRightOpen => (0x83, 0),
            Command::Close => (0x84, 0),
        };
        let body = [HOST, 0, machine, code, passes, 0, 0];
        [&body[..], &[!sum(&body)]].concat()
    }
}

/// What a controller says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub fault: u8,
    pub alarm: u8,
    pub left: u32,
    pub right: u32,
}

impl State {
    /// A frame that [`find`] found.
    pub fn read(frame: &[u8]) -> Option<State> {
        match *frame {
            [CONTROLLER, _, _, fault, _, alarm, l2, l1, l0, r2, r1, r0, ..] => Some(State {
                fault,
                alarm,
                left: u32::from_be_bytes([0, l2, l1, l0]),
                right: u32::from_be_bytes([0, r2, r1, r0]),
            }),
            _ => None,
        }
    }
}

/// Looks for a frame of this machine.
pub fn find(machine: u8, heard: &[u8]) -> Found {
    scan(heard, |here| match here.get(..STATE) {
        _ if here.first() != Some(&CONTROLLER) => Here::No,
        None => Here::Part,
        Some(frame) if sum(frame) != u8::MAX => Here::No,
        Some(frame) if frame.get(2) == Some(&machine) => Here::Answer(STATE),
        Some(_) => Here::Other(STATE),
    })
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::hear, *};

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
    fn another_machines_frame_is_passed_over_with_what_is_in_it() {
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
            // Without a beginning in it: eight bits prove a frame, and noise may well have those.
            line in prop::collection::vec(0..CONTROLLER, 0..600),
            half in 0..STATE,
            mut body in any::<[u8; 17]>(),
            pieces in prop::collection::vec(1..64_usize, 1..9),
        ) {
            body[2] = 1;
            let answer = framed(body);
            let broken = &answer[..half];
            let heard = [&line[..], broken, &answer].concat();
            let (found, _) = hear(&heard, &pieces, |heard| find(1, heard));
            // The half and the beginning of the whole may prove each other by chance, and then be
            // another machine's frame.
            if sum(&[broken, &answer[..STATE - half]].concat()) != u8::MAX {
                prop_assert_eq!(found, Some(answer));
            }
        }
    }
}
