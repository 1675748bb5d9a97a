//! Tests of workers who came from afar and wait for a confirmation.

use super::*;
use crate::{
    roster::{Waits, WaitsWhat, enrolment_of as enrolment},
    vision::TEMPLATE_LEN,
};

/// Returns a face between those of two persons; its scores with them.
fn between(first: f32, second: f32) -> Template {
    let mut numbers = [0.0; TEMPLATE_LEN];
    (numbers[0], numbers[1]) = (first, second);
    numbers[2] = (1.0 - first * first - second * second).sqrt();
    Template::from_slice(&numbers).unwrap()
}

fn from_afar(n: usize) -> Worker {
    let waits = Some(Waits { what: WaitsWhat::Worker, from: "platform".into() });
    let worker = enrolment(n).worker;
    Worker { state: crate::roster::State::Pending, waits, ..worker }
}

/// The confirmed worker W000 and the pending worker W001.
fn roster() -> Roster {
    let face = |n: usize| vec![enrolment(n).faces.remove(0).template];
    Roster::new(1, vec![(enrolment(0).worker, face(0)), (from_afar(1), face(1))])
}

#[test]
fn a_worker_from_afar_makes_no_confirmed_worker_ambiguous() {
    let threshold = MatchThreshold::new(0.5).unwrap();
    for (confirmed, pending, expected) in [
        (0.65, 0.7, Some("W000")),
        (0.7, 0.69, Some("W000")),
        (0.4, 0.8, Some("W001")),
        (0.4, 0.45, None),
    ] {
        let sighted = found(&roster(), &between(confirmed, pending), threshold, 0.05);
        assert_eq!(sighted.named().map(WorkerId::as_str), expected, "{sighted:?}");
    }
}

#[test]
fn i15_a_pending_worker_may_leave_and_may_not_enter() {
    let worker = from_afar(1);
    let day = Day::NotBefore(None);
    let decided = |direction, mode| decide(&worker, direction, mode, day, false);
    assert_eq!(decided(Direction::Entry, LaneMode::Normal), Err(Reason::Pending));
    for mode in [LaneMode::Normal, LaneMode::Closed, LaneMode::Free] {
        assert_eq!(decided(Direction::Exit, mode), Ok(()));
    }
}

#[test]
fn i15_a_face_beside_a_card_denies_only_an_entry_that_requires_it() {
    use LaneMode::{Closed, Free, Normal};
    use Likeness::{Like, Unclear, Unlike};
    let flag = || Ok(Some(Flag::CARD_FACE_DIFFERS));
    for direction in Direction::BOTH {
        for mode in [Normal, Free, Closed] {
            for seen in [None, Some(Like), Some(Unclear), Some(Unlike)] {
                let at = |rule| beside(rule, (direction, mode), seen);
                let noted = if seen == Some(Unlike) { flag() } else { Ok(None) };
                assert_eq!(at(WithFace::Off), Ok(None));
                assert_eq!(at(WithFace::Check), noted);
                let denied = match seen {
                    _ if direction == Direction::Exit || mode == Free => noted,
                    Some(Like) => Ok(None),
                    None => Err(Reason::FaceMissing),
                    Some(Unclear | Unlike) => Err(Reason::CardFaceDiffers),
                };
                assert_eq!(at(WithFace::Require), denied, "{direction} {mode:?} {seen:?}");
            }
        }
    }
}
