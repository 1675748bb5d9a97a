//! An open arm that yields to the other side, and the pauses of a worker who stays.

use super::*;

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

/// A lane that carries out all actions at once. Workers stand before its cameras.
struct Bench {
    machine: Machine,
    /// The releases: time, worker and direction.
    released: Vec<(u64, Direction)>,
    closed: Vec<(PassageId, Outcome, String)>,
    tailgates: usize,
}

impl Bench {
    fn new() -> Bench {
        let mut machine = Machine::new(rules(), true, LaneMode::Normal);
        show_sensors_work(&mut machine);
        Bench { machine, released: Vec::new(), closed: Vec::new(), tailgates: 0 }
    }

    fn handle(&mut self, ms: u64, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.machine.handle(at(ms), event) {
                match action {
                    Action::Commit { passage, .. } => {
                        events.push(Event::Committed { passage, result: Ok(()) });
                    }
                    Action::Release(Release { passage, direction, .. }) => {
                        self.released.push((ms, direction));
                        let released = TurnstileEvent::Released { passage, at: at(ms) };
                        events.push(Event::Turnstile(released));
                    }
                    Action::Close { passage, outcome, detail, .. } => {
                        let code = detail.map(|detail| detail.code.into_owned());
                        self.closed.push((passage, outcome, code.unwrap_or_default()));
                        events.push(Event::Closed { passage, result: Ok(()) });
                    }
                    Action::Tailgate { .. } => self.tailgates += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn look(&mut self, ms: u64, direction: Direction, visit: u64, sighted: Sighted) -> Taken {
        let sighting = Sighting { direction, visit, ..sighting(at(ms), sighted) };
        self.handle(ms, presented(sighting, passage_id(ms)));
        self.machine.taken.unwrap()
    }

    /// Two looks that agree, the second at this time.
    fn looks(&mut self, ms: u64, direction: Direction, id: &str) -> Taken {
        self.look(ms - 100, direction, 1, named(id));
        self.look(ms, direction, 1, named(id))
    }

    fn passes(&mut self, ms: u64, direction: Direction) {
        self.handle(ms, Event::Turnstile(TurnstileEvent::Passed { direction, at: at(ms) }));
    }

    /// Returns the outcome of the passage that began at this time.
    fn outcome(&self, of: u64) -> (Outcome, &str) {
        let is = |(passage, ..): &&(PassageId, Outcome, String)| *passage == passage_id(of);
        let (_, outcome, code) = self.closed.iter().find(is).expect("closed");
        (*outcome, code)
    }
}

use Direction::{Entry, Exit};

#[test]
fn an_open_arm_through_which_no_one_walks_yields_to_the_other_side() {
    let mut bench = Bench::new();
    assert_eq!(bench.looks(1000, Exit, "A"), Taken::Granted);
    assert_eq!(bench.looks(3300, Entry, "B"), Taken::Busy, "two people meet");
    assert_eq!(bench.look(3499, Entry, 1, named("B")), Taken::Busy);
    assert_eq!(bench.look(3600, Entry, 1, named("B")), Taken::Granted);
    assert_eq!(bench.released, [(1000, Exit), (3600, Entry)]);
    // Neither A nor another worker of that side gets a second release now.
    assert_eq!(bench.looks(4000, Exit, "A"), Taken::Busy);
    assert_eq!(bench.looks(4200, Exit, "C"), Taken::Busy);
    bench.passes(5000, Entry);
    assert_eq!(bench.outcome(3600), (Outcome::Passed, ""));
    assert_eq!(bench.looks(5200, Exit, "C"), Taken::Busy);
    bench.handle(10_999, Event::Tick);
    assert_eq!(bench.closed.len(), 1);
    bench.handle(11_000, Event::Tick);
    assert_eq!(bench.outcome(1000), (Outcome::NotPassed, "yielded"));
    assert!(!bench.machine.busy());
    assert_eq!(bench.looks(11_200, Exit, "C"), Taken::Granted);
    assert_eq!(bench.tailgates, 0);
}

#[test]
fn a_worker_who_walks_after_yielding_has_the_passage_and_no_tailgate() {
    let mut bench = Bench::new();
    bench.looks(1000, Entry, "A");
    bench.looks(3600, Exit, "B");
    bench.passes(4000, Entry);
    assert_eq!((bench.tailgates, bench.closed.len()), (0, 0), "recorded when the lane is idle");
    bench.passes(4500, Exit);
    bench.handle(4500, Event::Tick);
    assert_eq!(bench.outcome(1000), (Outcome::Passed, ""));
    assert_eq!(bench.outcome(3600), (Outcome::Passed, ""));
    // One person on one grant: the next one is a tailgate.
    bench.passes(4600, Entry);
    assert_eq!(bench.tailgates, 1);
}

#[test]
fn an_outcome_after_yielding_says_no_more_than_the_controller_could_see() {
    for (event, outcome, code) in [
        (
            Event::Turnstile(TurnstileEvent::Down { error: "x".into() }),
            Outcome::Unconfirmed,
            "controller_away",
        ),
        (Event::Mode(LaneMode::Free), Outcome::Unconfirmed, "lane_stands_open"),
        (Event::Tick, Outcome::NotPassed, "yielded"),
    ] {
        let mut bench = Bench::new();
        bench.looks(1000, Exit, "A");
        bench.looks(3600, Entry, "B");
        bench.handle(4000, event);
        bench.passes(5000, Entry);
        bench.handle(11_000, Event::Tick);
        assert_eq!(bench.outcome(1000), (outcome, code));
        assert!(!bench.machine.busy());
    }
}

#[test]
fn an_arm_yields_only_to_a_grant_and_a_guards_release_does_not_yield() {
    let expired = || {
        let worker = worker("B", Some(jiff::civil::date(2026, 11, 21)));
        Sighted::Worker(Match { worker, score: 0.8, margin: None })
    };
    let mut bench = Bench::new();
    bench.looks(1000, Exit, "A");
    for ms in [3800, 3900] {
        let today = Day::Today(jiff::civil::date(2026, 11, 22));
        let sighting = Sighting { today, ..sighting(at(ms), expired()) };
        bench.handle(ms, presented(sighting, passage_id(ms)));
    }
    assert_eq!(bench.machine.taken, Some(Taken::Busy));
    let mut bench = Bench::new();
    let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
    let (person, reason) = (None, "wheelbarrow".into());
    let request = ManualRelease { direction: Exit, person, reason, by, void_after: None };
    bench.handle(1000, Event::Asked { request, fresh: passage_id(1) });
    assert_eq!(bench.looks(5000, Entry, "B"), Taken::Busy);
    // The arm of a worker of the same side does not yield.
    let mut bench = Bench::new();
    bench.looks(1000, Exit, "A");
    assert_eq!(bench.looks(5000, Exit, "B"), Taken::Busy);
}

#[test]
fn a_guard_releases_nothing_in_the_direction_of_a_passage_that_yielded() {
    let mut bench = Bench::new();
    bench.looks(1000, Exit, "A");
    bench.looks(3600, Entry, "B");
    bench.passes(4000, Entry);
    for (direction, n, refused) in [(Exit, 7, true), (Entry, 8, false)] {
        let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
        let (person, reason) = (None, "guest".into());
        let request = ManualRelease { direction, person, reason, by, void_after: None };
        let asked = Event::Asked { request, fresh: passage_id(n) };
        let actions = bench.machine.handle(at(4100), asked);
        let is_refused = matches!(&actions[..], [Action::Answer { answer: Err(_), .. }]);
        assert_eq!(is_refused, refused, "{actions:?}");
    }
}

#[test]
fn a_worker_who_stays_frees_the_arm_ever_more_seldom_and_the_other_side_passes() {
    let mut bench = Bench::new();
    for ms in (1000..108_000).step_by(500) {
        bench.look(ms, Exit, 1, named("A"));
        bench.handle(ms, Event::Tick);
    }
    let times: Vec<u64> = bench.released.iter().map(|(ms, _)| ms / 500 * 500).collect();
    // 8 s open, then a pause of 5 s, and of 10 s from then on.
    assert_eq!(times, [1500, 14_500, 32_500, 50_500, 68_500, 86_500, 104_500]);
    // A worker comes in while the arm has been open for no one.
    let come = 105_000;
    let waited = (come..come + 60_000).step_by(100).find(|ms| {
        bench.look(*ms, Exit, 1, named("A"));
        bench.look(*ms, Entry, 2, named("B")) == Taken::Granted
    });
    assert!(waited.unwrap() - come < 3000, "{waited:?}");
    assert_eq!(bench.tailgates, 0);
}

#[test]
fn the_pause_is_over_when_the_worker_has_stepped_away() {
    let mut bench = Bench::new();
    bench.looks(1000, Exit, "A");
    bench.handle(9000, Event::Tick);
    bench.handle(11_000, Event::Tick);
    assert_eq!(bench.outcome(1000).0, Outcome::NotPassed);
    assert_eq!(bench.looks(11_500, Exit, "A"), Taken::CoolingDown);
    // The same visit, with a gap because the box is slow.
    assert_eq!(bench.looks(12_000, Exit, "A"), Taken::CoolingDown);
    // Another visit, after a gap.
    bench.look(13_600, Exit, 2, named("A"));
    assert_eq!(bench.look(13_700, Exit, 2, named("A")), Taken::Granted);
    // The next pause is the first one again.
    bench.handle(21_700, Event::Tick);
    let again = (21_800..40_000).step_by(100).find(|ms| {
        bench.handle(*ms, Event::Tick);
        bench.look(*ms, Exit, 2, named("A")) == Taken::Granted
    });
    assert!((26_700..27_000).contains(&again.unwrap()), "{again:?}");
}

#[test]
fn a_face_that_is_not_recognised_for_a_while_is_still_the_worker_who_stays() {
    let mut bench = Bench::new();
    bench.looks(1000, Exit, "A");
    for ms in (1500..9500).step_by(500) {
        bench.look(ms, Exit, 1, Sighted::Stranger { score: 0.2 });
        bench.handle(ms, Event::Tick);
    }
    assert_eq!(bench.looks(10_000, Exit, "A"), Taken::CoolingDown);
}

#[test]
fn a_pause_without_a_cool_down_grows_too() {
    let mut bench = Bench::new();
    bench.machine.rules.cool_down = Duration::ZERO;
    for ms in (1000..120_000).step_by(500) {
        bench.look(ms, Exit, 1, named("A"));
        bench.handle(ms, Event::Tick);
    }
    let times: Vec<u64> = bench.released.iter().map(|(ms, _)| *ms).collect();
    let between: Vec<u64> = times.windows(2).map(|two| (two[1] - two[0]) / 1000).collect();
    assert_eq!(between[..6], [10, 10, 10, 12, 16, 18], "{times:?}");
}
