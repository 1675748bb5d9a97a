use super::*;

fn at(s: u64) -> Monotonic {
    Monotonic::from_millis(s * 1000)
}

fn coil(direction: Direction) -> ForeignRelease {
    ForeignRelease { direction, output: format!("coil {}", direction.index()) }
}

#[test]
fn a_release_by_another_hand_is_withdrawn_once_and_then_left_until_it_ends() {
    for direction in Direction::BOTH {
        let (mut foreign, on) = (Foreign::default(), [coil(direction)]);
        assert_eq!(foreign.handle(at(0), &[], true), []);
        assert_eq!(foreign.handle(at(5), &on, true), [Action::Withdraw(coil(direction))]);
        assert_eq!(foreign.left(), []);
        assert_eq!(foreign.handle(at(10), &[], true), [], "withdrawn");
        assert_eq!(foreign.handle(at(15), &on, true), [Action::Leave(coil(direction))]);
        let left = ForeignHold { direction, output: coil(direction).output, since: at(15) };
        assert_eq!(foreign.handle(at(1000), &on, true), [], "said once");
        assert_eq!(foreign.left(), [left]);
        assert_eq!(foreign.handle(at(1005), &[], true), [Action::Ended(direction)]);
        assert_eq!(foreign.left(), []);
        // It is remembered for ten minutes from the last time on.
        assert_eq!(foreign.handle(at(1599), &on, true), [Action::Leave(coil(direction))]);
        assert_eq!(foreign.handle(at(1600), &[], true), [Action::Ended(direction)]);
        assert_eq!(foreign.handle(at(2199), &on, true), [Action::Withdraw(coil(direction))]);
    }
}

#[test]
fn nothing_is_closed_while_there_is_a_sign_of_fire() {
    let (mut foreign, on) = (Foreign::default(), [coil(Direction::Exit)]);
    assert_eq!(foreign.handle(at(5), &on, false), []);
    assert_eq!(foreign.left(), [], "the lane itself opens the arm");
    assert_eq!(foreign.handle(at(10), &on, true), [Action::Withdraw(coil(Direction::Exit))]);
    // It came back, so it is left with and without a sign.
    assert_eq!(foreign.handle(at(15), &on, false), [Action::Leave(coil(Direction::Exit))]);
    assert_eq!(foreign.handle(at(20), &on, true), []);
}

#[test]
fn each_direction_counts_for_itself() {
    let mut foreign = Foreign::default();
    let both = Direction::BOTH.map(coil);
    assert_eq!(foreign.handle(at(0), &both[..1], true), [Action::Withdraw(coil(Direction::Entry))]);
    assert_eq!(
        foreign.handle(at(5), &both, true),
        [Action::Leave(coil(Direction::Entry)), Action::Withdraw(coil(Direction::Exit))]
    );
    assert_eq!(foreign.left().len(), 1);
    foreign.forget();
    assert_eq!(foreign.left(), []);
}
