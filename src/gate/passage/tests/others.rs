//! Another face before a passage.

use super::*;
use crate::{
    gate::passage::others::OTHER_FACES,
    ledger::{Evidence, OtherFace},
};

const STRANGER: Sighted = Sighted::Stranger { score: 0.1 };

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

/// A lane at whose entry the worker A is granted at 1.1 s, and its arm is open from 1.2 s on.
struct Bench {
    machine: Machine,
    direction: Direction,
}

impl Bench {
    fn granted(direction: Direction) -> Bench {
        let mut bench = Bench { machine: Machine::new(rules(), true, LaneMode::Normal), direction };
        bench.grant(1000, 1);
        bench
    }

    fn grant(&mut self, from: u64, n: u64) {
        self.look(from, n, named("A"), 100.0, false);
        let actions = self.look(from + 100, n, named("A"), 100.0, false);
        let [Action::Commit { passage, .. }] = actions[..] else { panic!("{actions:?}") };
        let at = at(from + 200);
        self.machine.handle(at, Event::Committed { passage, result: Ok(()) });
        self.machine.handle(at, Event::Turnstile(TurnstileEvent::Released { passage, at }));
    }

    /// `unlike`: the vision pool finds that the face is clearly not A's.
    fn look(
        &mut self,
        ms: u64,
        visit: u64,
        sighted: Sighted,
        width_px: f32,
        unlike: bool,
    ) -> Vec<Action> {
        let unlike = unlike.then(|| "A".parse().unwrap());
        let face = FaceSeen { width_px, unlike, ..FaceSeen::default() };
        let direction = self.direction;
        let sighting = Sighting { direction, visit, face, ..sighting(at(ms), sighted) };
        self.machine.handle(at(ms), presented(sighting, passage_id(ms)))
    }

    /// Two frames without a face.
    fn empty(&mut self, ms: u64) {
        for captured in [at(ms - 100), at(ms)] {
            let what = Presented::NoFace { direction: self.direction, captured };
            let presented = Event::Presented { what, fresh: passage_id(ms) };
            assert_eq!(self.machine.handle(captured, presented), []);
        }
    }

    fn strangers(&mut self, from: u64, to: u64) {
        for ms in (from..to).step_by(200) {
            assert_eq!(self.look(ms, 2, STRANGER, 110.0, true), []);
        }
    }

    fn passes(&mut self, ms: u64) -> Vec<Action> {
        let passed = TurnstileEvent::Passed { direction: self.direction, at: at(ms) };
        self.machine.handle(at(ms), Event::Turnstile(passed))
    }

    /// The outcome of the passage is recorded. Returns the event that follows.
    fn recorded(&mut self, ms: u64, passage: u64) -> Option<OtherFace> {
        let closed = Event::Closed { passage: passage_id(passage), result: Ok(()) };
        match &self.machine.handle(at(ms), closed)[..] {
            [] => None,
            [Action::OtherFace { body: Body::OtherFace(event) }] => Some(event.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn tick(&mut self, ms: u64) -> Vec<Action> {
        self.machine.handle(at(ms), Event::Tick)
    }
}

/// Asserts that the only outcome is `passed`, and returns whether it has the flag.
#[track_caller]
fn flagged(actions: &[Action]) -> bool {
    let [Action::Close { outcome: Outcome::Passed, flags, detail: None, .. }] = actions else {
        panic!("{actions:?}")
    };
    let is = *flags == [Flag::OTHER_FACE];
    assert!(is || flags.is_empty(), "{flags:?}");
    is
}

#[test]
fn a_stranger_who_walks_on_a_workers_grant_is_flagged_and_an_event_says_so() {
    for direction in Direction::BOTH {
        let mut bench = Bench::granted(direction);
        bench.strangers(1800, 5000);
        assert_eq!(bench.passes(5300), [], "is the face still there?");
        assert_eq!(bench.machine.timeout().unwrap().0, at(9300));
        bench.empty(6000);
        assert_eq!(bench.machine.timeout().unwrap().0, at(6800));
        assert_eq!(bench.tick(6799), []);
        let actions = bench.tick(6800);
        assert!(flagged(&actions));
        let event = bench.recorded(6800, 1100).expect("an event");
        let [Evidence::Face(face)] = &event.evidence[..] else { panic!("{event:?}") };
        assert_eq!((event.passage, event.direction), (passage_id(1100), direction));
        assert_eq!((face.frames, face.score, &event.person), (16, Score(1000), &None));
        assert_eq!(bench.machine.counters.other_faces, 1);
        // A second person is still a tailgate.
        let tailgate = TurnstileEvent::Passed { direction, at: at(6900) };
        let actions = bench.machine.handle(at(6900), Event::Turnstile(tailgate));
        assert_eq!(tailgates(&actions), [(direction, Some(passage_id(1100)))]);
    }
}

#[test]
fn a_colleague_who_walks_on_a_workers_grant_is_named() {
    let mut bench = Bench::granted(Direction::Entry);
    for ms in (1800..4000).step_by(500) {
        assert_eq!(bench.look(ms, 2, named("B"), 100.0, true), []);
    }
    bench.passes(4000);
    bench.empty(5000);
    assert!(flagged(&bench.tick(5600)));
    let event = bench.recorded(5600, 1100).expect("an event");
    assert_eq!(event.person.as_ref().unwrap().id.as_str(), "B");
}

#[test]
fn a_face_that_remains_after_the_passage_is_the_next_one_in_the_queue() {
    let mut bench = Bench::granted(Direction::Entry);
    bench.strangers(1800, 3000);
    assert_eq!(bench.passes(3000), []);
    // The camera may still see the face of the person who walks.
    assert_eq!(bench.look(3400, 2, STRANGER, 110.0, true), []);
    assert!(!flagged(&bench.look(3600, 2, STRANGER, 110.0, false)), "a poor look is enough");
    let mut bench = Bench::granted(Direction::Entry);
    for ms in [1800, 2000] {
        bench.look(ms, 2, named("B"), 110.0, true);
    }
    assert_eq!(bench.passes(2200), []);
    assert!(!flagged(&bench.look(3000, 3, named("B"), 40.0, false)), "the same worker");
}

#[test]
fn the_worker_who_turns_to_walk_and_the_queue_behind_need_no_wait() {
    // Poor looks of another visit, good looks of a face that may be the worker's, a face further
    // away, a single look, and a face that was gone long before.
    for (until, unlike, width_px) in
        [(2500, false, 100.0), (2500, true, 70.0), (1801, true, 100.0), (2500, true, f32::NAN)]
    {
        let mut bench = Bench::granted(Direction::Entry);
        for ms in (1800..until).step_by(100) {
            assert_eq!(bench.look(ms, 2, STRANGER, width_px, unlike), []);
        }
        assert!(!flagged(&bench.passes(2600)), "{until} {unlike} {width_px}");
    }
    let mut bench = Bench::granted(Direction::Entry);
    bench.strangers(1800, 3000);
    assert!(!flagged(&bench.passes(6000)), "gone for three seconds");
}

#[test]
fn the_worker_who_comes_back_before_the_camera_walks_unflagged() {
    let mut bench = Bench::granted(Direction::Entry);
    bench.strangers(1800, 3000);
    bench.look(3200, 3, named("A"), 100.0, false);
    assert!(!flagged(&bench.passes(4000)));
}

#[test]
fn on_a_slow_box_the_outcome_waits_for_two_frames() {
    let mut bench = Bench::granted(Direction::Entry);
    for ms in [2000, 3200, 4400] {
        bench.look(ms, 2, STRANGER, 110.0, true);
    }
    bench.passes(5000);
    assert_eq!(bench.tick(7000), []);
    assert!(!flagged(&bench.look(8000, 2, STRANGER, 110.0, true)));
    // Two frames after the passage are enough, and the first was too early.
    let mut bench = Bench::granted(Direction::Entry);
    bench.strangers(1800, 3000);
    bench.passes(3000);
    bench.empty(3500);
    assert_eq!(bench.look(6500, 3, STRANGER, 30.0, false).len(), 1);
    // A camera that sends no frame is no evidence.
    let mut bench = Bench::granted(Direction::Entry);
    bench.strangers(1800, 3000);
    bench.passes(3000);
    assert!(!flagged(&bench.tick(7000)));
}

#[test]
fn a_release_by_hand_and_an_open_lane_have_no_flag() {
    let mut bench = Bench::granted(Direction::Entry);
    bench.strangers(1800, 3000);
    bench.machine.handle(at(3100), Event::Mode(LaneMode::Free));
    assert_eq!(bench.passes(3200), []);
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
    let (person, reason) = (Some(person("A")), "helmet".into());
    let direction = Direction::Entry;
    let request = ManualRelease { direction, person, reason, by, void_after: None };
    let passage = passage_id(1);
    machine.handle(at(1000), Event::Asked { request, fresh: passage });
    machine.handle(at(1100), Event::Committed { passage, result: Ok(()) });
    let released = TurnstileEvent::Released { passage, at: at(1200) };
    machine.handle(at(1200), Event::Turnstile(released));
    let mut bench = Bench { machine, direction };
    bench.strangers(1800, 3000);
    assert!(!flagged(&bench.passes(3200)));
}

#[test]
fn i8_events_of_other_faces_have_a_budget_and_the_flag_has_none() {
    let mut bench = Bench::granted(Direction::Entry);
    let mut events = 0;
    for n in 0..2 * OTHER_FACES as u64 {
        let from = 1000 + 1500 * n;
        if n > 0 {
            // Each time another worker, so that none is in the cool-down.
            bench.machine.cooling = CoolDown::default();
            bench.grant(from, 10 + n);
        }
        for ms in [300, 400] {
            bench.look(from + ms, 1000 + n, STRANGER, 110.0, true);
        }
        bench.passes(from + 500);
        bench.empty(from + 1200);
        let actions = bench.tick(from + 500 + 1500);
        assert!(flagged(&actions));
        events += usize::from(bench.recorded(from + 2000, from + 100).is_some());
    }
    let counters = bench.machine.counters;
    assert_eq!((events, counters.other_faces), (OTHER_FACES, 2 * OTHER_FACES as u64));
    assert_eq!(counters.other_faces_unrecorded, OTHER_FACES as u64);
}
