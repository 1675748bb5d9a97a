//! Two people side by side before an entry.

use super::*;
use crate::gate::claim::Beside;

fn shown(at: u64, sighted: Sighted, beside: Beside, direction: Direction) -> Event {
    let seen = sighting(Monotonic::from_millis(at), sighted);
    let face = FaceSeen { beside, ..FaceSeen::default() };
    presented(Sighting { direction, face, ..seen }, passage_id(at))
}

/// Shows looks every 100 ms. Returns the actions, each with its time.
fn looks(
    machine: &mut Machine,
    from: u64,
    (sighted, beside, direction): (Sighted, Beside, Direction),
) -> Vec<(u64, Action)> {
    let at = (0..10).map(|n| from + 100 * n);
    at.flat_map(|at| {
        let event = shown(at, sighted.clone(), beside, direction);
        let actions = machine.handle(Monotonic::from_millis(at), event);
        actions.into_iter().map(move |action| (at, action)).collect::<Vec<_>>()
    })
    .collect()
}

fn reasons(actions: &[(u64, Action)]) -> Vec<(u64, String)> {
    let of = |(at, action): &(u64, Action)| match action {
        Action::Deny { body: Body::Denial(Denial { reason, person: None, .. }) } => {
            (*at, reason.clone())
        }
        other => panic!("{other:?}"),
    };
    actions.iter().map(of).collect()
}

#[test]
fn while_two_stand_side_by_side_no_one_enters_and_one_person_is_asked_for_once() {
    use Direction::Entry;
    for sighted in [named("A"), Sighted::Stranger { score: 0.2 }] {
        let mut machine = Machine::new(rules(), true, LaneMode::Normal);
        let seen = |beside| (sighted.clone(), beside, Entry);
        assert_eq!(looks(&mut machine, 1000, seen(Beside::Briefly)), []);
        let asked = looks(&mut machine, 2000, seen(Beside::Long));
        assert_eq!(reasons(&asked), [(2000, "several_faces".to_owned())]);
        assert_eq!(looks(&mut machine, 3000, seen(Beside::Long)), [], "once a visit");
        assert_eq!(machine.counters.unknown_faces, 0);
        // The other one steps back.
        let alone = looks(&mut machine, 4000, seen(Beside::NoOne));
        match sighted {
            Sighted::Worker(_) => assert!(matches!(&alone[..], [(4000, Action::Commit { .. })])),
            _ => assert_eq!(reasons(&alone), [(4000, "unknown_face".to_owned())]),
        }
    }
}

#[test]
fn i15_two_side_by_side_are_no_obstacle_at_an_exit_nor_in_an_open_lane() {
    for (direction, mode) in
        [(Direction::Exit, LaneMode::Normal), (Direction::Entry, LaneMode::Free)]
    {
        let mut machine = Machine::new(rules(), true, mode);
        let actions = looks(&mut machine, 1000, (named("A"), Beside::Long, direction));
        assert!(matches!(&actions[..], [(1100, Action::Commit { .. })]), "{actions:?}");
    }
}
