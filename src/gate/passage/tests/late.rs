//! Workers who walk after the time of their release is over.

use super::*;

/// Time at which the release of [`released`] is over.
const OVER: u64 = 1200 + 8000;

/// Grants A a release at 1.2 s, through which no one walks in time.
fn over() -> Machine {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    show_sensors_work(&mut machine);
    see(&mut machine, 1000, named("A"), 1);
    see(&mut machine, 1100, named("A"), 2);
    release(&mut machine, 2, 1200);
    assert_eq!(tick(&mut machine, OVER), [], "the outcome is not written yet");
    assert!(machine.busy());
    machine
}

pub(super) fn release(machine: &mut Machine, passage: u64, at: u64) {
    let (passage, at) = (passage_id(passage), Monotonic::from_millis(at));
    let released = machine.handle(at, Event::Committed { passage, result: Ok(()) });
    assert!(matches!(&released[..], [Action::Release(_)]), "{released:?}");
    let event = TurnstileEvent::Released { passage, at };
    assert_eq!(machine.handle(at, Event::Turnstile(event)), []);
}

pub(super) fn tick(machine: &mut Machine, at: u64) -> Vec<Action> {
    machine.handle(Monotonic::from_millis(at), Event::Tick)
}

/// Returns the outcome, the code of the detail, and the flags of the only action.
pub(super) fn ended(actions: &[Action]) -> (PassageId, Outcome, String, Vec<Flag>) {
    let [Action::Close { passage, outcome, detail, flags }] = actions else {
        panic!("{actions:?}")
    };
    let code = detail.as_ref().map(|detail| detail.code.to_string());
    (*passage, *outcome, code.unwrap_or_default(), flags.clone())
}

fn closed(machine: &mut Machine, passage: u64, at: u64) -> Vec<Action> {
    let event = Event::Closed { passage: passage_id(passage), result: Ok(()) };
    machine.handle(Monotonic::from_millis(at), event)
}

#[test]
fn a_worker_who_walks_late_has_passed_and_is_no_tailgate() {
    let mut machine = over();
    let walked = passes(&mut machine, OVER + 600);
    let expected = (passage_id(2), Outcome::Passed, String::new(), vec![Flag::LATE]);
    assert_eq!(ended(&walked), expected);
    assert_eq!(closed(&mut machine, 2, OVER + 700), []);
    assert_eq!(machine.counters.tailgates, 0);
    // A second person is one.
    assert_eq!(
        tailgates(&passes(&mut machine, OVER + 900)),
        [(Direction::Entry, Some(passage_id(2)))]
    );
}

#[test]
fn after_the_grace_the_outcome_is_written_once_and_a_passage_is_a_tailgate() {
    let mut machine = over();
    let at = OVER + GRACE.as_millis() as u64;
    assert_eq!(tick(&mut machine, at - 1), []);
    let (_, outcome, code, flags) = ended(&tick(&mut machine, at));
    assert_eq!((outcome, &*code, flags), (Outcome::NotPassed, "nothing_passed", vec![]));
    assert_eq!(
        tailgates(&passes(&mut machine, at + 10)),
        [(Direction::Entry, Some(passage_id(2)))]
    );
    assert_eq!(closed(&mut machine, 2, at + 20), []);
    assert!(!machine.busy());
}

#[test]
fn the_next_grant_ends_the_grace_and_a_passage_after_it_is_that_grants() {
    let mut machine = over();
    see(&mut machine, OVER + 100, named("B"), 11);
    let (passage, outcome, code, flags) = ended(&see(&mut machine, OVER + 200, named("B"), 12));
    assert_eq!((passage, outcome), (passage_id(2), Outcome::Unconfirmed));
    assert_eq!((&*code, flags), ("next_came", vec![]));
    let granted = closed(&mut machine, 2, OVER + 210);
    let [Action::Commit { passage, body: Body::Grant(Grant { person, .. }), .. }] = &granted[..]
    else {
        panic!("{granted:?}")
    };
    assert_eq!((*passage, person.id.as_str()), (passage_id(12), "B"));
    release(&mut machine, 12, OVER + 220);
    let (passage, outcome, _, flags) = ended(&passes(&mut machine, OVER + 600));
    assert_eq!((passage, outcome, flags), (passage_id(12), Outcome::Passed, vec![]));
}

#[test]
fn a_manual_release_ends_the_grace_and_a_denial_or_the_same_worker_does_not() {
    let mut machine = over();
    for n in 0..4 {
        see(&mut machine, OVER + 100 + n, Sighted::Stranger { score: 0.1 }, 20 + n);
        see(&mut machine, OVER + 200 + n, named("A"), 30 + n);
    }
    assert!(matches!(machine.state, State::Open(Open { late: true, .. })));
    let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
    let (direction, person, reason) = (Direction::Entry, None, "guest".to_owned());
    let request = ManualRelease { direction, person, reason, by, void_after: None };
    let at = Monotonic::from_millis(OVER + 300);
    let asked = Event::Asked { request: request.clone(), fresh: passage_id(40) };
    assert_eq!(ended(&machine.handle(at, asked)).1, Outcome::Unconfirmed);
    // A second one gets the usual answer.
    let refused = machine.handle(at, Event::Asked { request, fresh: passage_id(41) });
    assert!(matches!(&refused[..], [Action::Answer { answer: Err(_), .. }]), "{refused:?}");
    let committed = closed(&mut machine, 2, OVER + 310);
    assert!(
        matches!(&committed[..], [Action::Commit { passage, .. }] if *passage == passage_id(40)),
        "{committed:?}"
    );
}

#[test]
fn a_manual_release_in_the_grace_has_an_answer_if_the_outcome_cannot_be_recorded() {
    let mut machine = over();
    let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
    let (direction, person, reason) = (Direction::Exit, None, "guest".to_owned());
    let request = ManualRelease { direction, person, reason, by, void_after: None };
    let at = Monotonic::from_millis(OVER + 300);
    machine.handle(at, Event::Asked { request, fresh: passage_id(40) });
    let result = Err("disk full".to_owned());
    let answered = machine.handle(at, Event::Closed { passage: passage_id(2), result });
    let [Action::Answer { passage, answer: Err(_) }] = &answered[..] else {
        panic!("{answered:?}")
    };
    assert_eq!(*passage, passage_id(40));
    assert_eq!(ended(&tick(&mut machine, OVER + 2000)).1, Outcome::Unconfirmed, "tried again");
}

#[test]
fn a_lane_that_opens_ends_the_grace() {
    let mut machine = over();
    let at = Monotonic::from_millis(OVER + 100);
    let (_, outcome, code, _) = ended(&machine.handle(at, Event::Mode(LaneMode::Free)));
    assert_eq!((outcome, &*code), (Outcome::Unconfirmed, "lane_stands_open"));
}
