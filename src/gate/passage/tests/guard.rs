//! An entry that sends low visits to the guard.

use super::*;
use crate::{
    gate::guarding::{ASKED_FOR, HOUR, LOOKS},
    ledger::Presentation,
};

fn machine() -> Machine {
    let rules = Rules { guard: Some(Score::of(0.5)), ..rules() };
    Machine::new(rules, true, LaneMode::Normal)
}

/// Shows a worker in this number of looks, 500 ms apart, up to `at`. Returns the actions.
fn looks(machine: &mut Machine, id: &str, at: u64, exit: bool, score: Option<f32>) -> Vec<Action> {
    let mut actions = Vec::new();
    for n in (0..u64::from(LOOKS)).rev() {
        let now = Monotonic::from_millis(at - 500 * n);
        let mut look = sighting(now, named(id));
        look.visit = at;
        look.direction = if exit { Direction::Exit } else { Direction::Entry };
        let cue = "model".to_owned();
        let judged = |score| Presentation { score: Score::of(score), cue, rides: None };
        look.face.presentation = score.map(judged);
        actions.extend(machine.handle(now, presented(look, passage_id(at - n))));
    }
    actions
}

fn denied(actions: &[Action]) -> Vec<(String, Option<String>)> {
    let of = |action: &Action| match action {
        Action::Deny { body: Body::Denial(Denial { reason, person, .. }) } => {
            Some((reason.clone(), person.as_ref().map(|person| person.id.to_string())))
        }
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

fn told(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::AskGuard { .. })).count()
}

fn causes(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Commit { .. })).count()
}

/// Presses the guard's button. Returns the release.
fn pressed(machine: &mut Machine, at: u64, via: Via) -> GuardRelease {
    let by = Actor { uid: 0, user: "guard_button".into(), via };
    let (direction, reason) = (Direction::Entry, "guard_button".to_owned());
    let request = ManualRelease { direction, person: None, reason, by, void_after: None };
    let asked = Event::Asked { request, fresh: passage_id(at) };
    match &machine.handle(Monotonic::from_millis(at), asked)[..] {
        [Action::Commit { body: Body::GuardRelease(release), .. }] => release.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_low_visit_opens_nothing_tells_the_guard_and_the_guards_button_opens_for_this_worker() {
    for score in [Some(0.1), None] {
        let mut machine = machine();
        let actions = looks(&mut machine, "W001", 10_000, false, score);
        assert_eq!((causes(&actions), told(&actions)), (0, 1), "{actions:?}");
        assert_eq!(denied(&actions), [("not_judged".to_owned(), Some("W001".to_owned()))]);
        assert_eq!(machine.taken, Some(Taken::AsksGuard));
        let release = pressed(&mut machine, 12_000, Via::Button);
        assert_eq!(release.person.unwrap().id.as_str(), "W001", "the day counts");
        assert!(matches!(&release.evidence[..], [Evidence::Guard(_), Evidence::Face(_)]));
        // The passage ends it: the next press is for the next person.
        let (at, passage) = (Monotonic::from_millis(12_100), passage_id(12_000));
        machine.handle(at, Event::Committed { passage, result: Ok(()) });
        machine.handle(at, Event::Turnstile(TurnstileEvent::Released { passage, at }));
        let passed = TurnstileEvent::Passed { direction: Direction::Entry, at };
        machine.handle(at, Event::Turnstile(passed));
        machine.handle(at, Event::Closed { passage, result: Ok(()) });
        assert_eq!(pressed(&mut machine, 13_000, Via::Button).person, None);
    }
}

#[test]
fn a_release_by_command_or_after_half_a_minute_names_no_worker_by_itself() {
    let mut machine = machine();
    looks(&mut machine, "W001", 10_000, false, Some(0.1));
    assert_eq!(pressed(&mut machine, 11_000, Via::Socket).person, None);
    let mut machine = self::machine();
    looks(&mut machine, "W001", 10_000, false, Some(0.1));
    let late = 10_001 + u64::try_from(ASKED_FOR.as_millis()).unwrap();
    assert_eq!(pressed(&mut machine, late, Via::Button).person, None);
}

#[test]
fn i15_an_exit_a_card_and_a_lane_that_stands_open_ask_no_guard() {
    let actions = looks(&mut machine(), "W001", 10_000, true, Some(0.1));
    assert_eq!((causes(&actions), told(&actions), denied(&actions).len()), (1, 0, 0));
    let mut free = machine();
    free.handle(Monotonic::from_millis(1), Event::Mode(LaneMode::Free));
    assert_eq!(causes(&looks(&mut free, "W001", 10_000, false, Some(0.1))), 1);
    // A card is the second means, also while the guard is asked.
    let mut machine = machine();
    looks(&mut machine, "W001", 10_000, false, Some(0.1));
    let card = super::claims::card_of("W001", 10_500);
    let what = Presented::Claim(card);
    let at = Monotonic::from_millis(10_500);
    let actions = machine.handle(at, Event::Presented { what, fresh: passage_id(1) });
    assert_eq!(causes(&actions), 1, "{actions:?}");
}

#[test]
fn a_denied_card_of_another_person_ends_the_question_and_a_passage_of_another_worker_does_not() {
    let mut machine = machine();
    looks(&mut machine, "W001", 10_000, false, Some(0.1));
    let card = Claim { who: Err(Reason::CardUnknown), ..super::claims::card_of("W002", 10_500) };
    let what = Presented::Claim(card);
    let at = Monotonic::from_millis(10_500);
    machine.handle(at, Event::Presented { what, fresh: passage_id(1) });
    assert_eq!(pressed(&mut machine, 11_000, Via::Button).person, None, "another person's card");

    // The passage of the worker before is in its grace when the guard is asked for the next one.
    let mut machine = self::machine();
    let granted = looks(&mut machine, "W002", 10_000, false, Some(0.9));
    assert_eq!(causes(&granted), 1, "{granted:?}");
    let worker = Some("W002".parse().unwrap());
    let before = Passage {
        id: passage_id(1),
        direction: Direction::Entry,
        worker,
        visit: Some(1),
        manual: false,
        released: true,
        others: None,
    };
    let mut asked = self::machine();
    looks(&mut asked, "W001", 10_000, false, Some(0.1));
    asked.cool(Monotonic::from_millis(10_100), &before, true);
    assert_eq!(pressed(&mut asked, 11_000, Via::Button).person.unwrap().id.as_str(), "W001");
}

#[test]
fn a_second_visit_tells_the_guard_again_and_the_denial_is_recorded_once() {
    let mut machine = machine();
    let first = looks(&mut machine, "W001", 10_000, false, Some(0.1));
    let stays = looks(&mut machine, "W001", 12_000, false, Some(0.9));
    let again = looks(&mut machine, "W001", 60_000, false, Some(0.1));
    let numbers = [first, stays, again].map(|actions| (told(&actions), denied(&actions).len()));
    assert_eq!(numbers, [(1, 1), (0, 0), (1, 0)]);
    assert_eq!(causes(&looks(&mut machine, "W001", 120_000, false, Some(0.9))), 1);
}

#[test]
fn a_stranger_and_a_suspended_worker_are_denied_as_before() {
    let mut machine = machine();
    let now = Monotonic::from_millis(10_000);
    let mut held = Worker::new(person("W001"));
    held.state = crate::roster::State::Suspended;
    let found = Match { worker: Arc::new(held), score: 0.7, margin: None };
    let mut actions = Vec::new();
    for n in 0..u64::from(LOOKS) {
        let look = sighting(now, Sighted::Worker(found.clone()));
        actions.extend(machine.handle(now, presented(look, passage_id(n))));
    }
    assert_eq!(denied(&actions), [("suspended".to_owned(), Some("W001".to_owned()))]);
    assert_eq!(told(&actions), 0);
}

#[test]
fn the_fallback_ends_with_a_tick_also_where_no_one_comes() {
    let mut machine = machine();
    for (n, id) in ["W001", "W002", "W003"].into_iter().enumerate() {
        looks(&mut machine, id, 10_000 + 10_000 * n as u64, false, None);
        assert_eq!(machine.fallback(), None);
    }
    let fourth = looks(&mut machine, "W004", 50_000, false, None);
    assert_eq!((causes(&fourth), told(&fourth)), (0, 1), "it goes to the guard itself");
    let since = machine.fallback().unwrap().since;
    let mut due = since;
    while machine.fallback().is_some() {
        let (at, why) = machine.timeout().unwrap();
        assert!(at > due, "{why}");
        due = at;
        machine.handle(due, Event::Tick);
    }
    assert!(due.since(since) >= HOUR && due.since(since) < 2 * HOUR);
}
