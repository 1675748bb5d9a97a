//! Passage sensors that fail.

use super::{
    late::{ended, release, tick},
    *,
};

/// A lane whose guard lets people enter.
struct Lane {
    machine: Machine,
    now: u64,
    passages: u64,
}

const SUSPECT: [Flag; 1] = [Flag::SENSOR_SUSPECT];

impl Lane {
    fn new() -> Lane {
        Lane::of(Machine::new(rules(), true, LaneMode::Normal))
    }

    fn of(machine: Machine) -> Lane {
        Lane { machine, now: 100_000, passages: 0 }
    }

    fn later(&mut self, ms: u64) -> Vec<Action> {
        self.now += ms;
        tick(&mut self.machine, self.now)
    }

    fn event(&mut self, event: TurnstileEvent) -> Vec<Action> {
        self.machine.handle(Monotonic::from_millis(self.now), Event::Turnstile(event))
    }

    fn level(&mut self, on: bool) {
        let (direction, at) = (Direction::Entry, Monotonic::from_millis(self.now));
        assert_eq!(self.event(TurnstileEvent::Sensor { direction, on, at }), []);
    }

    /// The input goes on and a passage is reported.
    fn enters(&mut self) -> Vec<Action> {
        self.level(true);
        passes(&mut self.machine, self.now)
    }

    fn release(&mut self) {
        self.passages += 1;
        let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
        let (direction, person, reason) = (Direction::Entry, None, "guest".to_owned());
        let request = ManualRelease { direction, person, reason, by, void_after: None };
        let asked = Event::Asked { request, fresh: passage_id(self.passages) };
        let committed = self.machine.handle(Monotonic::from_millis(self.now), asked);
        assert!(matches!(&committed[..], [Action::Commit { .. }]), "{committed:?}");
        release(&mut self.machine, self.passages, self.now);
    }

    fn records(&mut self, actions: &[Action]) -> (Outcome, String, Vec<Flag>) {
        let (passage, outcome, code, flags) = ended(actions);
        let closed = Event::Closed { passage, result: Ok(()) };
        self.machine.handle(Monotonic::from_millis(self.now), closed);
        assert!(!self.machine.busy());
        (outcome, code, flags)
    }

    /// Releases the arm, and lets the time pass.
    fn silent(&mut self) -> (Outcome, String, Vec<Flag>) {
        self.release();
        assert_eq!(self.later(8_000), []);
        let actions = self.later(2_000);
        self.records(&actions)
    }

    /// Releases the arm. A person walks, who is in the sensor for this time.
    fn walks(&mut self, ms: u64) -> (Outcome, String, Vec<Flag>) {
        self.release();
        self.now += 500;
        let actions = self.enters();
        let records = self.records(&actions);
        self.later(ms);
        self.level(false);
        records
    }

    fn suspect(&self) -> Option<Suspicion> {
        self.machine.suspects()[0].map(|(why, _)| why)
    }

    fn health(&self) -> Health {
        self.machine.health().unwrap()[0]
    }
}

fn passed() -> (Outcome, String, Vec<Flag>) {
    (Outcome::Passed, String::new(), vec![])
}

fn not_passed() -> (Outcome, String, Vec<Flag>) {
    (Outcome::NotPassed, "nothing_passed".to_owned(), vec![])
}

fn unconfirmed(code: &str) -> (Outcome, String, Vec<Flag>) {
    (Outcome::Unconfirmed, code.to_owned(), SUSPECT.to_vec())
}

#[test]
fn i12_not_passed_is_claimed_only_by_a_sensor_that_has_lately_shown_itself_alive() {
    let mut lane = Lane::new();
    assert_eq!(lane.silent(), unconfirmed("sensor_unproven"));
    assert_eq!(lane.suspect(), None, "one silent release is no alarm");
    assert_eq!(lane.walks(700), passed());
    assert_eq!(lane.silent(), not_passed());
    lane.now += 24 * 3600 * 1000;
    assert_eq!(lane.silent(), unconfirmed("sensor_unproven"));
    assert_eq!(lane.health().silent, 2);
    // The other direction has a sensor of its own.
    assert_eq!(lane.machine.health().unwrap()[1], Health::default());
}

#[test]
fn a_torn_input_is_suspect_after_three_silent_releases_and_heals_by_itself() {
    let mut lane = Lane::new();
    lane.walks(700);
    assert_eq!(lane.silent(), not_passed());
    assert_eq!(lane.silent(), not_passed());
    assert_eq!(lane.health().corrects, None);
    assert_eq!(lane.silent(), unconfirmed("sensor_silent"));
    assert_eq!(lane.health().corrects, Some(Suspicion::Silent), "the two before are corrected");
    assert_eq!(lane.silent(), unconfirmed("sensor_silent"));
    assert_eq!(lane.suspect(), Some(Suspicion::Silent));
    assert_eq!(lane.walks(700), passed(), "the wire is mended");
    assert_eq!((lane.suspect(), lane.health().silent), (None, 0));
    assert_eq!(lane.silent(), not_passed());
}

#[test]
fn the_number_of_silent_releases_and_a_suspicion_survive_a_restart() {
    let mut lane = Lane::new();
    lane.silent();
    lane.silent();
    for silent in 3..5 {
        let mut machine = Machine::new(rules(), true, LaneMode::Normal);
        machine.resume(Monotonic::from_millis(1), [lane.health(), Health::default()], None);
        lane = Lane::of(machine);
        assert_eq!(lane.silent(), unconfirmed("sensor_silent"));
        assert_eq!((lane.suspect(), lane.health().silent), (Some(Suspicion::Silent), silent));
    }
    let text = serde_json::to_string(&lane.health()).unwrap();
    assert_eq!(text, r#"{"silent":4,"suspect":"silent","corrects":"silent"}"#);
    assert_eq!(serde_json::from_str::<Health>("{}").unwrap(), Health::default());
}

#[test]
fn an_input_that_stays_on_is_suspect_and_its_outcomes_are_unconfirmed() {
    let mut lane = Lane::new();
    lane.walks(700);
    assert_eq!(lane.silent(), not_passed());
    lane.level(true);
    // On as the arm opens, and until its time is over.
    assert_eq!(lane.silent(), unconfirmed("sensor_on"));
    assert_eq!(lane.suspect(), Some(Suspicion::On));
    assert_eq!(lane.health().corrects, Some(Suspicion::On));
    assert_eq!(lane.health().silent, 1, "an input that is on is not silent");
    lane.level(false);
    assert_eq!(lane.silent(), unconfirmed("sensor_on"), "off alone is no sign of life");
    assert_eq!(lane.walks(700), unconfirmed("sensor_on"), "a suspect sensor reports it");
    assert_eq!(lane.suspect(), None);
    assert_eq!(lane.walks(700), passed());
}

#[test]
fn an_input_that_is_on_for_longer_than_a_person_takes_is_suspect_without_a_release() {
    let mut lane = Lane::new();
    lane.walks(700);
    lane.level(true);
    let due = lane.machine.timeout().unwrap().0;
    assert_eq!(due.since(Monotonic::from_millis(lane.now)), sensor::PERSON);
    lane.later(9_999);
    assert_eq!(lane.suspect(), None);
    lane.later(1);
    assert_eq!(lane.suspect(), Some(Suspicion::On));
    assert_eq!(lane.machine.timeout(), None);
    // In a lane that stands open people may come without a gap.
    let mut lane = Lane::of(Machine::new(rules(), true, LaneMode::Free));
    lane.level(true);
    assert_eq!(lane.machine.timeout(), None);
    lane.later(60_000);
    lane.machine.handle(Monotonic::from_millis(lane.now), Event::Mode(LaneMode::Normal));
    lane.later(9_999);
    assert_eq!(lane.suspect(), None);
}

#[test]
fn a_person_who_is_still_in_the_sensor_at_the_next_release_makes_it_not_suspect() {
    let mut lane = Lane::new();
    lane.release();
    let actions = lane.enters();
    lane.records(&actions);
    lane.later(300);
    lane.release();
    lane.later(400);
    lane.level(false);
    lane.later(200);
    let actions = lane.enters();
    assert_eq!(lane.records(&actions), passed());
    assert_eq!(lane.suspect(), None);
}

#[test]
fn a_chattering_input_makes_no_passage_of_a_grant() {
    let mut lane = Lane::new();
    for _ in 0..sensor::STRAYS {
        lane.later(2_000);
        lane.enters();
        lane.later(100);
        lane.level(false);
    }
    assert_eq!(lane.suspect(), Some(Suspicion::Chatters));
    lane.later(2_000);
    assert_eq!(lane.walks(100), unconfirmed("sensor_chatters"));
    assert_eq!(lane.suspect(), Some(Suspicion::Chatters), "on and off is what it does");
    lane.later(31_000);
    assert_eq!(lane.walks(700), unconfirmed("sensor_chatters"));
    assert_eq!(lane.suspect(), None);
    assert_eq!(lane.walks(700), passed());
}

#[test]
fn an_input_that_chatters_too_fast_to_count_passages_is_suspect_too() {
    let mut lane = Lane::new();
    lane.walks(700);
    for _ in 0..sensor::EDGES {
        lane.later(80);
        lane.level(true);
        lane.later(40);
        lane.level(false);
    }
    assert_eq!(lane.suspect(), Some(Suspicion::Chatters));
    assert_eq!(lane.silent(), unconfirmed("sensor_chatters"));
}

#[test]
fn counters_that_start_again_while_the_arm_is_open_leave_the_outcome_unconfirmed() {
    let restart = |lane: &mut Lane| {
        let at = Monotonic::from_millis(lane.now);
        lane.event(TurnstileEvent::CountersRestarted { at })
    };
    let mut lane = Lane::new();
    assert_eq!(restart(&mut lane), []);
    assert_eq!(lane.suspect(), None, "no one was let through");
    for walks in [false, true] {
        lane.release();
        restart(&mut lane);
        let actions = if walks {
            passes(&mut lane.machine, lane.now)
        } else {
            lane.later(8_000);
            lane.later(2_000)
        };
        assert_eq!(lane.records(&actions), unconfirmed("counters_restarted"));
        // A counter that rises after a release is alive.
        assert_eq!(lane.suspect().is_none(), walks);
        assert_eq!(lane.health().silent, 0);
    }
    lane.release();
    let actions = passes(&mut lane.machine, lane.now);
    assert_eq!(lane.records(&actions), passed());
    assert_eq!(lane.silent(), not_passed());
}

#[test]
fn a_release_during_which_the_controller_was_away_is_not_silent() {
    let mut lane = Lane::new();
    lane.walks(700);
    for _ in 0..4 {
        lane.release();
        lane.event(TurnstileEvent::Down { error: "gone".into() });
        lane.later(8_000);
        let actions = lane.later(2_000);
        let (outcome, code, flags) = lane.records(&actions);
        assert_eq!((outcome, &*code, flags), (Outcome::Unconfirmed, "controller_away", vec![]));
    }
    assert_eq!((lane.suspect(), lane.health().silent), (None, 0));
}

#[test]
fn corrections_are_asked_for_until_they_are_recorded_and_not_during_an_outcome() {
    let mut lane = Lane::new();
    (0..2).for_each(|_| drop(lane.silent()));
    lane.release();
    lane.later(8_000);
    let actions = lane.later(2_000);
    assert_eq!(lane.machine.health(), None, "the outcome comes first");
    lane.records(&actions);
    let asked = lane.machine.health().unwrap();
    assert_eq!(asked[0].corrects, Some(Suspicion::Silent));
    lane.machine.corrected(asked, asked);
    assert_eq!(lane.machine.health(), Some(asked), "some are left");
    let recorded = asked.map(|health| Health { corrects: None, ..health });
    lane.machine.corrected(asked, recorded);
    assert_eq!(lane.machine.health(), Some(recorded));
}

#[test]
fn i12_a_worker_who_stays_before_the_camera_makes_no_sensor_suspect() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    show_sensors_work(&mut machine);
    let mut silent = Vec::new();
    for ms in (1000..108_000).step_by(500) {
        let at = Monotonic::from_millis(ms);
        let mut events = vec![presented(sighting(at, named("A")), passage_id(ms)), Event::Tick];
        while let Some(event) = events.pop() {
            for action in machine.handle(at, event) {
                match action {
                    Action::Commit { passage, .. } => {
                        events.push(Event::Committed { passage, result: Ok(()) });
                    }
                    Action::Release(Release { passage, .. }) => {
                        events.push(Event::Turnstile(TurnstileEvent::Released { passage, at }));
                    }
                    Action::Close { passage, outcome, .. } => {
                        silent.push(outcome);
                        events.push(Event::Closed { passage, result: Ok(()) });
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(silent.len() > 3, "{silent:?}");
    assert!(silent.iter().all(|outcome| *outcome == Outcome::NotPassed), "{silent:?}");
    assert_eq!(machine.suspects(), [None, None]);
}
