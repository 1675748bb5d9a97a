//! The machine under generated orders of events.

mod beside;
mod claims;
mod guard;
mod late;
mod others;
mod sensors;
mod yielding;

use std::{collections::BTreeMap, sync::Arc};

use jiff::civil::Date;

use proptest::prelude::*;

use super::*;
use crate::{
    config::MatchThreshold,
    gate::{
        claim::{FaceSeen, Presented, Sighting},
        pace::Pace,
        policy::{self, Sighted},
        visit::FaceRules,
    },
    ledger::{Actor, Body, Denial, Evidence, Flag, Grant, GuardRelease, Score, Tailgate, Via},
    roster::{Day, Match, Person, Worker},
    turnstile::{NotReleased, TurnstileEvent},
};

const FRAMES_TO_AGREE: u32 = 2;
const COOL_DOWN: Duration = Duration::from_secs(5);

fn rules() -> Rules {
    Rules {
        guard: None,
        lane: "north".into(),
        cool_down: COOL_DOWN,
        pass_within: Duration::from_secs(8),
        require_training: false,
        faces: FaceRules {
            frames_to_agree: FRAMES_TO_AGREE,
            model: "sface".into(),
            cameras: ["v4l2"; 2],
        },
    }
}

fn person(id: &str) -> Person {
    let text = || "x".to_owned();
    Person {
        id: id.parse().unwrap(),
        name: text(),
        team: text(),
        contractor: text(),
        trade: text(),
    }
}

fn worker(id: &str, valid_until: Option<Date>) -> Arc<Worker> {
    let mut worker = Worker::new(person(id));
    worker.terms.valid_until = valid_until;
    Arc::new(worker)
}

fn named(id: &str) -> Sighted {
    Sighted::Worker(Match { worker: worker(id, None), score: 0.7, margin: None })
}

fn sighting(captured: Monotonic, sighted: Sighted) -> Sighting {
    let direction = Direction::Entry;
    let (visit, roster_version, today, photo) = (0, 1, Day::NotBefore(None), None);
    let threshold = MatchThreshold::new(0.5).unwrap();
    Sighting {
        direction,
        visit,
        captured,
        pace: Pace::default(),
        sighted,
        threshold,
        roster_version,
        today,
        photo,
        face: FaceSeen::default(),
    }
}

fn presented(sighting: Sighting, fresh: PassageId) -> Event {
    Event::Presented { what: Presented::Look(sighting), fresh }
}

fn passage_id(n: u64) -> PassageId {
    PassageId(u128::from(n).to_be_bytes())
}

#[derive(Clone, Debug)]
enum Step {
    See { who: u8, visit: u64, exit: bool, age_ms: u64 },
    Ask { exit: bool },
    Committed { which: Which, ok: bool },
    Closed { which: Which, ok: bool },
    Released { which: Which },
    NotReleased { which: Which, maybe: bool },
    Passed { exit: bool },
    Sensor { exit: bool, on: bool },
    Restarted,
    Down,
    Mode(LaneMode),
    Wait { ms: u64 },
}

/// An answer may be for the passage under way, or a late or forged one for another.
#[derive(Clone, Copy, Debug)]
enum Which {
    Current,
    Earlier,
    NeverHeardOf,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = prop_oneof![
        8 => Just(Which::Current), 1 => Just(Which::Earlier), 1 => Just(Which::NeverHeardOf)
    ];
    let step = prop_oneof![
        10 => (0..4_u8, prop::bool::weighted(0.1), prop::bool::weighted(0.2), 0..4000_u64)
            .prop_map(|(who, visit, exit, age_ms)| Step::See { who, visit: visit.into(), exit, age_ms: age_ms / 8 * (age_ms % 8) / 7 }),
        1 => any::<bool>().prop_map(|exit| Step::Ask { exit }),
        6 => (which.clone(), prop::bool::weighted(0.8)).prop_map(|(which, ok)| Step::Committed { which, ok }),
        4 => (which.clone(), prop::bool::weighted(0.8)).prop_map(|(which, ok)| Step::Closed { which, ok }),
        4 => which.clone().prop_map(|which| Step::Released { which }),
        1 => (which, any::<bool>()).prop_map(|(which, maybe)| Step::NotReleased { which, maybe }),
        3 => prop::bool::weighted(0.2).prop_map(|exit| Step::Passed { exit }),
        2 => (prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(exit, on)| Step::Sensor { exit, on }),
        1 => Just(Step::Restarted),
        1 => Just(Step::Down),
        1 => prop_oneof![Just(LaneMode::Normal), Just(LaneMode::Free), Just(LaneMode::Closed)].prop_map(Step::Mode),
        4 => (1..6000_u64).prop_map(|ms| Step::Wait { ms: ms / 4 }),
    ];
    proptest::collection::vec(step, 0..120)
}

/// The expected state outside the machine.
#[derive(Default)]
struct World {
    /// Passages in the order of their commits, and the state of each.
    order: Vec<PassageId>,
    asked: BTreeMap<PassageId, Known>,
    seen: Vec<(Direction, u64, Option<String>)>,
    mode: LaneMode,
    closed_at: BTreeMap<(String, Direction), Monotonic>,
}

#[derive(Default)]
struct Known {
    worker: Option<String>,
    direction: Option<Direction>,
    committed: bool,
    refused: bool,
    released: bool,
    closes: u32,
    finished: bool,
}

impl World {
    fn id(&self, which: Which) -> PassageId {
        match which {
            Which::Current => self.order.last().copied().unwrap_or(passage_id(1 << 40)),
            Which::Earlier => {
                self.order.iter().rev().nth(1).copied().unwrap_or(passage_id(1 << 41))
            }
            Which::NeverHeardOf => passage_id(1 << 42),
        }
    }

    fn check(
        &mut self,
        now: Monotonic,
        cause: &str,
        actions: Vec<Action>,
    ) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Commit { passage, body, .. } => {
                    let under_way: Vec<_> = (self.asked.values())
                        .filter(|k| !k.finished && !k.refused)
                        .map(|k| k.direction)
                        .collect();
                    let known = match &body {
                        Body::Grant(Grant { person, direction, .. }) => {
                            let id = person.id.to_string();
                            let before = self.seen.iter().rev().filter(|(d, ..)| d == direction);
                            let visit = before.clone().next().map_or(0, |(_, visit, _)| *visit);
                            let agreeing = before
                                .take(FRAMES_TO_AGREE as usize)
                                .filter(|(_, v, who)| *v == visit && who.as_ref() == Some(&id))
                                .count();
                            prop_assert_eq!(
                                agreeing,
                                FRAMES_TO_AGREE as usize,
                                "frames did not agree"
                            );
                            if let Some(at) = self.closed_at.get(&(id.clone(), *direction)) {
                                prop_assert!(
                                    now.since(*at) >= COOL_DOWN,
                                    "one visit became two passages"
                                );
                            }
                            let closed =
                                self.mode == LaneMode::Closed && *direction == Direction::Entry;
                            prop_assert!(!closed, "a grant in a closed lane");
                            Known {
                                worker: Some(id),
                                direction: Some(*direction),
                                ..Known::default()
                            }
                        }
                        Body::GuardRelease(GuardRelease { direction, .. }) => {
                            let closed =
                                self.mode == LaneMode::Closed && *direction == Direction::Entry;
                            prop_assert!(!closed, "a manual release in a closed lane");
                            Known { direction: Some(*direction), ..Known::default() }
                        }
                        other => return Err(TestCaseError::fail(format!("{other:?} is no cause"))),
                    };
                    prop_assert!(
                        matches!(under_way[..], [])
                            || matches!(under_way[..], [d] if d != known.direction),
                        "two passages in one direction, or three at once"
                    );
                    self.order.push(passage);
                    prop_assert!(self.asked.insert(passage, known).is_none());
                }
                Action::Release(release) => {
                    let known = self.asked.get_mut(&release.passage);
                    let known =
                        known.ok_or_else(|| TestCaseError::fail("I1: released without a cause"))?;
                    prop_assert!(known.committed, "I1: released before the commit");
                    prop_assert_eq!(cause, "committed", "I1: released without its commit's answer");
                    prop_assert!(!known.released, "I4: released twice");
                    prop_assert!(self.mode != LaneMode::Free, "a release in free mode");
                    prop_assert!(now <= release.deadline, "I4: released late");
                    prop_assert!(release.deadline.since(now) <= DECISION_LIFE);
                    prop_assert_eq!(Some(release.direction), known.direction);
                    known.released = true;
                }
                Action::Close { passage, outcome, flags, .. } => {
                    let known = self.asked.get_mut(&passage);
                    let known =
                        known.ok_or_else(|| TestCaseError::fail("closed without a cause"))?;
                    prop_assert!(known.committed && !known.finished);
                    prop_assert!(known.released || outcome != Outcome::Passed);
                    let doubted = flags.contains(&Flag::SENSOR_SUSPECT);
                    prop_assert!(!doubted || outcome == Outcome::Unconfirmed);
                    known.closes += 1;
                    if known.closes == 1
                        && outcome != Outcome::NotPassed
                        && let (Some(worker), Some(direction)) =
                            (known.worker.clone(), known.direction)
                    {
                        // The cool-down may have begun with the grace, up to one step late.
                        let ahead = (GRACE + Duration::from_millis(1500)).as_millis() as u64;
                        let begun = match outcome {
                            Outcome::NotPassed => now.as_millis().saturating_sub(ahead),
                            _ => now.as_millis(),
                        };
                        let begun = Monotonic::from_millis(begun);
                        self.closed_at.insert((worker, direction), begun);
                    }
                }
                Action::OtherFace { .. } | Action::SeveralCards { .. } => {}
                Action::Tailgate { .. } => {
                    prop_assert!(self.mode != LaneMode::Free, "a tailgate in free mode");
                }
                Action::Answer { .. } | Action::Deny { .. } => {}
                Action::AskGuard { .. } => {
                    return Err(TestCaseError::fail("no guard is asked here"));
                }
            }
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let mut world = World::default();
    let mut now = Monotonic::from_millis(10_000);
    let mut fresh = 0;
    let settle = (0..10).flat_map(|_| {
        [
            Step::Committed { which: Which::Current, ok: true },
            Step::Wait { ms: 20_000 },
            Step::Closed { which: Which::Current, ok: true },
        ]
    });
    for step in steps.into_iter().chain(settle) {
        fresh += 1;
        let fresh = passage_id(fresh);
        let direction = |exit| if exit { Direction::Exit } else { Direction::Entry };
        let (cause, event) = match step {
            Step::See { who, visit, exit, age_ms } => {
                let ids = ["A", "B"];
                let sighted = match ids.get(usize::from(who)) {
                    Some(id) => named(id),
                    None => Sighted::Stranger { score: 0.2 },
                };
                let captured = Monotonic::from_millis(now.as_millis() - age_ms);
                let unlike = (who >= 2).then(|| "A".parse().unwrap());
                let face = FaceSeen { width_px: 100.0, unlike, ..FaceSeen::default() };
                let sighting = Sighting {
                    direction: direction(exit),
                    visit,
                    face,
                    ..sighting(captured, sighted)
                };
                if now.since(captured) <= DECISION_LIFE {
                    let who = ids.get(usize::from(who)).map(ToString::to_string);
                    world.seen.push((direction(exit), visit, who));
                }
                ("seen", presented(sighting, fresh))
            }
            Step::Ask { exit } => {
                let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
                let (person, reason) = (None, "fire drill".to_owned());
                let direction = direction(exit);
                let request = ManualRelease { direction, person, reason, by, void_after: None };
                ("asked", Event::Asked { request, fresh })
            }
            Step::Committed { which, ok } => {
                let passage = world.id(which);
                if let Some(known) =
                    world.asked.get_mut(&passage).filter(|k| !k.committed && !k.refused)
                {
                    known.committed = ok;
                    known.refused = !ok;
                }
                let result = if ok { Ok(()) } else { Err("disk full".to_owned()) };
                ("committed", Event::Committed { passage, result })
            }
            Step::Closed { which, ok } => {
                let closing = |p: &&PassageId| {
                    world.asked.get(*p).is_some_and(|k| k.closes > 0 && !k.finished)
                };
                let passage = match which {
                    Which::Current => world.order.iter().find(closing).copied(),
                    _ => None,
                };
                let passage = passage.unwrap_or_else(|| world.id(which));
                if let Some(known) = world.asked.get_mut(&passage).filter(|k| k.closes > 0) {
                    known.finished |= ok;
                }
                let result = if ok { Ok(()) } else { Err("disk full".to_owned()) };
                ("closed", Event::Closed { passage, result })
            }
            Step::Released { which } => {
                let passage = world.id(which);
                ("turnstile", Event::Turnstile(TurnstileEvent::Released { passage, at: now }))
            }
            Step::NotReleased { which, maybe } => {
                let (passage, why) = (world.id(which), NotReleased::Failed("no answer".into()));
                let event = TurnstileEvent::NotReleased { passage, why, may_have_released: maybe };
                ("turnstile", Event::Turnstile(event))
            }
            Step::Passed { exit } => {
                let event = TurnstileEvent::Passed { direction: direction(exit), at: now };
                ("turnstile", Event::Turnstile(event))
            }
            Step::Sensor { exit, on } => {
                let event = TurnstileEvent::Sensor { direction: direction(exit), on, at: now };
                ("turnstile", Event::Turnstile(event))
            }
            Step::Restarted => {
                ("turnstile", Event::Turnstile(TurnstileEvent::CountersRestarted { at: now }))
            }
            Step::Down => {
                ("turnstile", Event::Turnstile(TurnstileEvent::Down { error: "gone".into() }))
            }
            Step::Mode(mode) => {
                world.mode = mode;
                ("mode", Event::Mode(mode))
            }
            Step::Wait { ms } => {
                now = now + Duration::from_millis(ms);
                ("tick", Event::Tick)
            }
        };
        let actions = machine.handle(now, event);
        world.check(now, cause, actions)?;
    }
    prop_assert!(!machine.busy(), "the lane is stuck");
    for known in world.asked.values() {
        prop_assert!(known.refused || known.finished, "a committed cause has no outcome");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// I1, I4, one passage for each visit, agreement of frames, and an outcome for every cause.
    #[test]
    fn no_order_of_events_releases_without_a_committed_cause(steps in steps()) {
        run(steps)?;
    }
}

fn see(machine: &mut Machine, at: u64, sighted: Sighted, fresh: u64) -> Vec<Action> {
    let now = Monotonic::from_millis(at);
    let sighting = sighting(now, sighted);
    machine.handle(now, presented(sighting, passage_id(fresh)))
}

fn tailgates(actions: &[Action]) -> Vec<(Direction, Option<PassageId>)> {
    let of = |action: &Action| match action {
        Action::Tailgate { body: Body::Tailgate(Tailgate { direction, after, .. }) } => {
            (*direction, *after)
        }
        other => panic!("{other:?}"),
    };
    actions.iter().map(of).collect()
}

fn passes(machine: &mut Machine, at: u64) -> Vec<Action> {
    let at = Monotonic::from_millis(at);
    let passed = TurnstileEvent::Passed { direction: Direction::Entry, at };
    machine.handle(at, Event::Turnstile(passed))
}

#[test]
fn a_second_person_on_one_release_is_a_tailgate_that_names_the_passage() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let closed = one_passage(&mut machine, true);
    let after = Some(passage_id(2));
    assert_eq!(tailgates(&passes(&mut machine, closed + 300)), [(Direction::Entry, after)]);
    assert_eq!(tailgates(&passes(&mut machine, closed + 20_000)), [(Direction::Entry, None)]);
    assert_eq!((machine.counters.tailgates, machine.counters.tailgates_unrecorded), (2, 0));
}

#[test]
fn i8_a_chattering_sensor_is_counted_and_recorded_at_most_twenty_times_a_minute() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let recorded = |machine: &mut Machine, from: u64| -> usize {
        (0..500).map(|n| passes(machine, from + n * 100).len()).sum()
    };
    assert_eq!(recorded(&mut machine, 100_000), TAILGATES);
    assert_eq!(machine.counters.tailgates, 500);
    assert_eq!(machine.counters.tailgates_unrecorded, 500 - TAILGATES as u64);
    assert_eq!(recorded(&mut machine, 200_000), TAILGATES);
}

#[test]
fn a_lane_that_stands_open_releases_nothing_and_still_records_workers() {
    let mut machine = Machine::new(rules(), true, LaneMode::Free);
    see(&mut machine, 1000, named("A"), 1);
    let actions = see(&mut machine, 1100, named("A"), 2);
    assert!(matches!(&actions[..], [Action::Commit { .. }]), "{actions:?}");
    let (passage, at) = (passage_id(2), Monotonic::from_millis(1200));
    let closed = machine.handle(at, Event::Committed { passage, result: Ok(()) });
    assert!(
        matches!(&closed[..], [Action::Close { outcome: Outcome::Unconfirmed, .. }]),
        "{closed:?}"
    );
    assert_eq!(passes(&mut machine, 1300), [], "no tailgate in free mode");
    machine.handle(at, Event::Closed { passage, result: Ok(()) });
    for i in 0..20 {
        let actions = see(&mut machine, 5000 + i * 100, Sighted::Stranger { score: 0.3 }, i);
        assert_eq!(actions, [], "no denial in free mode");
    }
}

#[test]
fn in_an_open_lane_a_worker_who_comes_during_a_recording_is_recorded_next() {
    let mut machine = Machine::new(rules(), true, LaneMode::Free);
    see(&mut machine, 1000, named("A"), 1);
    assert_eq!(see(&mut machine, 1100, named("A"), 2).len(), 1);
    see(&mut machine, 1200, named("B"), 3);
    assert_eq!(see(&mut machine, 1300, named("B"), 4), []);
    let at = Monotonic::from_millis(1400);
    machine.handle(at, Event::Committed { passage: passage_id(2), result: Ok(()) });
    let next = machine.handle(at, Event::Closed { passage: passage_id(2), result: Ok(()) });
    let [Action::Commit { passage, body: Body::Grant(Grant { person, .. }), .. }] = &next[..]
    else {
        panic!("{next:?}")
    };
    assert_eq!((person.id.as_str(), *passage), ("B", passage_id(4)));
}

#[test]
fn a_passage_under_way_is_closed_when_the_lane_opens() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    see(&mut machine, 1000, named("A"), 1);
    see(&mut machine, 1100, named("A"), 2);
    let (passage, at) = (passage_id(2), Monotonic::from_millis(1200));
    machine.handle(at, Event::Committed { passage, result: Ok(()) });
    machine.handle(at, Event::Turnstile(TurnstileEvent::Released { passage, at }));
    let closed = machine.handle(at, Event::Mode(LaneMode::Free));
    assert!(
        matches!(&closed[..], [Action::Close { outcome: Outcome::Unconfirmed, .. }]),
        "{closed:?}"
    );
}

#[test]
fn a_worker_who_stays_and_looks_away_is_still_the_same_visit() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let closed = one_passage(&mut machine, true);
    let mut at = closed;
    // The face is seen from the side for a long time: an unknown face, but the same visit.
    for _ in 0..20 {
        at += 1_000;
        see(&mut machine, at, Sighted::Stranger { score: 0.3 }, at);
    }
    assert_eq!(granted_at(&mut machine, at + 400, at + 3_000), None);
}

#[test]
fn a_closed_lane_denies_every_entry_and_no_exit() {
    let mut machine = Machine::new(rules(), true, LaneMode::Closed);
    see(&mut machine, 1000, named("A"), 1);
    let actions = see(&mut machine, 1100, named("A"), 2);
    let [Action::Deny { body: Body::Denial(Denial { reason, person: Some(_), .. }) }] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(reason, "lane_closed");
    let mut by_hand = |direction, n| {
        let by = Actor { uid: 0, user: "root".into(), via: Via::Socket };
        let (person, reason) = (None, "guest".into());
        let request = ManualRelease { direction, person, reason, by, void_after: None };
        let now = Monotonic::from_millis(1200);
        machine.handle(now, Event::Asked { request, fresh: passage_id(n) })
    };
    let refused = by_hand(Direction::Entry, 3);
    assert!(matches!(&refused[..], [Action::Answer { answer: Err(_), .. }]), "{refused:?}");
    let committed = by_hand(Direction::Exit, 4);
    assert!(matches!(&committed[..], [Action::Commit { .. }]), "{committed:?}");
}

#[test]
fn i4_a_manual_release_is_void_if_the_lane_or_the_disk_was_too_slow() {
    let at = Monotonic::from_millis;
    let asked = |now, void_after| {
        let mut machine = Machine::new(rules(), true, LaneMode::Normal);
        let by = Actor { uid: 9, user: "platform".into(), via: Via::Upstream };
        let (person, reason) = (None, "guest".to_owned());
        let void_after = Some(at(void_after));
        let request = ManualRelease { direction: Direction::Entry, person, reason, by, void_after };
        let actions = machine.handle(at(now), Event::Asked { request, fresh: passage_id(1) });
        (machine, actions)
    };
    let (machine, late) = asked(2001, 2000);
    assert!(matches!(&late[..], [Action::Answer { answer: Err(_), .. }]), "{late:?}");
    assert!(!machine.busy() && machine.counters.void == 1);
    let committed = || Event::Committed { passage: passage_id(1), result: Ok(()) };
    let (mut machine, _) = asked(1000, 2000);
    let released = machine.handle(at(1999), committed());
    let [Action::Release(release)] = &released[..] else { panic!("{released:?}") };
    assert_eq!(release.deadline, at(2000));
    let (mut machine, _) = asked(1000, 2000);
    let late = machine.handle(at(2001), committed());
    assert!(matches!(&late[..], [Action::Close { outcome: Outcome::NotPassed, .. }]), "{late:?}");
    // A platform's later deadline does not extend the gate's own.
    let (mut machine, _) = asked(1000, 9000);
    let released = machine.handle(at(1001), committed());
    let [Action::Release(release)] = &released[..] else { panic!("{released:?}") };
    assert_eq!(release.deadline, at(1000) + DECISION_LIFE);
}

#[test]
fn frames_of_two_visits_do_not_agree() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let mut see = |at: u64, visit: u64| {
        let now = Monotonic::from_millis(at);
        let sighting = Sighting { visit, ..sighting(now, named("A")) };
        machine.handle(now, presented(sighting, passage_id(at)))
    };
    assert_eq!(see(1000, 1), []);
    assert_eq!(see(1100, 2), []);
    let actions = see(1200, 2);
    assert!(matches!(&actions[..], [Action::Commit { .. }]), "{actions:?}");
}

#[test]
fn a_worker_passes_and_the_actions_come_in_order() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    assert_eq!(see(&mut machine, 1000, named("A"), 1), []);
    let actions = see(&mut machine, 1100, named("A"), 2);
    let [Action::Commit { passage, body: Body::Grant(Grant { person, .. }), .. }] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(person.id.as_str(), "A");
    let (passage, at) = (*passage, Monotonic::from_millis(1110));
    let released = machine.handle(at, Event::Committed { passage, result: Ok(()) });
    let deadline = Monotonic::from_millis(4100);
    assert_eq!(
        released,
        [Action::Release(Release { passage, direction: Direction::Entry, deadline })]
    );
    let ok = TurnstileEvent::Released { passage, at };
    assert_eq!(machine.handle(at, Event::Turnstile(ok)), []);
    let other_way = TurnstileEvent::Passed { direction: Direction::Exit, at };
    let actions = machine.handle(at, Event::Turnstile(other_way));
    assert_eq!(tailgates(&actions), [(Direction::Exit, None)]);
    let through = TurnstileEvent::Passed { direction: Direction::Entry, at };
    let closed = machine.handle(at, Event::Turnstile(through));
    let (outcome, flags) = (Outcome::Passed, vec![]);
    let expected = Action::Close { passage, outcome, detail: None, flags };
    assert_eq!(closed, [expected]);
    machine.handle(at, Event::Closed { passage, result: Ok(()) });
    assert!(!machine.busy());
}

/// Shows a sign of life of each sensor.
fn show_sensors_work(machine: &mut Machine) {
    for sensor in &mut machine.sensors {
        assert_eq!(sensor.passed(Monotonic::from_millis(900)), None);
    }
}

/// Grants A a passage at 1 s and returns the time of its outcome. `walks`: the turnstile reports
/// the passage.
fn one_passage(machine: &mut Machine, walks: bool) -> u64 {
    show_sensors_work(machine);
    see(machine, 1000, named("A"), 1);
    see(machine, 1100, named("A"), 2);
    let passage = passage_id(2);
    let at = Monotonic::from_millis(1200);
    machine.handle(at, Event::Committed { passage, result: Ok(()) });
    machine.handle(at, Event::Turnstile(TurnstileEvent::Released { passage, at }));
    let closed = if walks { at } else { at + Duration::from_secs(8) + GRACE };
    if !walks {
        assert_eq!(machine.handle(at + Duration::from_secs(8), Event::Tick), []);
    }
    let event = match walks {
        true => Event::Turnstile(TurnstileEvent::Passed { direction: Direction::Entry, at }),
        false => Event::Tick,
    };
    assert_eq!(machine.handle(closed, event).len(), 1);
    machine.handle(closed, Event::Closed { passage, result: Ok(()) });
    closed.as_millis()
}

fn granted_at(machine: &mut Machine, from: u64, to: u64) -> Option<u64> {
    (from..to).step_by(200).find(|at| {
        let actions = see(machine, *at, named("A"), *at);
        matches!(&actions[..], [Action::Commit { .. }])
    })
}

#[test]
fn a_worker_who_stays_after_passing_is_still_the_same_visit() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let closed = one_passage(&mut machine, true);
    assert_eq!(granted_at(&mut machine, closed + 100, closed + 60_000), None);
    let back = closed + 70_000;
    assert!(granted_at(&mut machine, back, back + 1000).is_some());
}

#[test]
fn a_worker_who_did_not_walk_through_is_granted_again_after_the_cool_down() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let closed = one_passage(&mut machine, false);
    let again = granted_at(&mut machine, closed + 100, closed + 60_000).unwrap();
    // The cool-down begins when the time of the release is over.
    assert!((3000..4000).contains(&(again - closed)), "{}", again - closed);
}

#[test]
fn i8_the_cool_down_drops_the_oldest_worker_when_it_is_full() {
    let cool_down = Duration::from_secs(3600);
    let mut machine = Machine::new(Rules { cool_down, ..rules() }, false, LaneMode::Normal);
    let is_let_through = |machine: &mut Machine, who: usize, at: u64| {
        see(machine, at, named(&format!("W{who}")), 1);
        match &see(machine, at + 100, named(&format!("W{who}")), at)[..] {
            [] => false,
            [Action::Commit { passage, .. }] => {
                let (passage, at) = (*passage, Monotonic::from_millis(at + 200));
                machine.handle(at, Event::Committed { passage, result: Ok(()) });
                machine.handle(at, Event::Turnstile(TurnstileEvent::Released { passage, at }));
                machine.handle(at, Event::Closed { passage, result: Ok(()) });
                true
            }
            other => panic!("{other:?}"),
        }
    };
    for who in 0..cooling::MOST {
        assert!(is_let_through(&mut machine, who, 10_000 + who as u64 * 2_000));
    }
    assert!(!is_let_through(&mut machine, 0, 200_000), "remembered");
    assert!(is_let_through(&mut machine, cooling::MOST, 210_000));
    assert!(!is_let_through(&mut machine, 1, 220_000), "remembered");
    assert!(is_let_through(&mut machine, 0, 230_000), "forgotten");
    assert_eq!(machine.cooling.len(), cooling::MOST);
}

#[test]
fn a_cause_that_reaches_the_disk_too_late_opens_nothing() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    see(&mut machine, 1000, named("A"), 1);
    see(&mut machine, 1100, named("A"), 2);
    let event = Event::Committed { passage: passage_id(2), result: Ok(()) };
    let actions = machine.handle(Monotonic::from_millis(4101), event);
    assert!(
        matches!(&actions[..], [Action::Close { outcome: Outcome::NotPassed, .. }]),
        "{actions:?}"
    );
    assert_eq!(machine.counters.void, 1);
}

#[test]
fn a_stranger_is_denied_once_per_visit_and_a_worker_behind_strangers_still_passes() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let mut denials = 0;
    for i in 0..20 {
        let actions = see(&mut machine, 1000 + i * 100, Sighted::Stranger { score: 0.3 }, i);
        denials += actions.iter().filter(|a| matches!(a, Action::Deny { .. })).count();
    }
    assert_eq!(denials, 1);
    see(&mut machine, 3100, named("A"), 50);
    let actions = see(&mut machine, 3200, named("A"), 51);
    assert!(matches!(&actions[..], [Action::Commit { .. }]), "{actions:?}");
}

#[test]
fn a_face_between_two_workers_is_denied_as_ambiguous() {
    let threshold = MatchThreshold::new(0.5).unwrap();
    let judged = |score, margin| {
        let found = Match { worker: worker("A", None), score, margin };
        policy::judge(Some(found), threshold, 0.05)
    };
    assert!(matches!(judged(0.6, Some(0.06)), Sighted::Worker(_)));
    assert!(matches!(judged(0.6, None), Sighted::Worker(_)));
    assert!(matches!(judged(0.4, Some(0.3)), Sighted::Stranger { .. }));
    let mut machine = Machine::new(super::tests::rules(), true, LaneMode::Normal);
    let actions: Vec<_> = (0..5)
        .flat_map(|i| see(&mut machine, 1000 + i * 100, judged(0.6, Some(0.04)), i))
        .collect();
    let [Action::Deny { body: Body::Denial(Denial { reason, person: None, .. }) }] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(reason, "ambiguous_face");
}

#[test]
fn an_expired_worker_is_denied_entry_but_never_exit_and_without_a_clock_by_the_last_trusted_day() {
    let today = Day::Today(jiff::civil::date(2026, 11, 22));
    let expired = Sighted::Worker(Match {
        worker: worker("A", Some(jiff::civil::date(2026, 11, 21))),
        score: 0.8,
        margin: None,
    });
    for (direction, today, granted) in [
        (Direction::Entry, today, false),
        (Direction::Exit, today, true),
        (Direction::Entry, Day::NotBefore(None), true),
        // The admission ended on the 21st. A clock that was trusted on the 22nd has seen that.
        (Direction::Entry, Day::NotBefore(Some(jiff::civil::date(2026, 11, 21))), true),
        (Direction::Entry, Day::NotBefore(Some(jiff::civil::date(2026, 11, 22))), false),
        (Direction::Exit, Day::NotBefore(Some(jiff::civil::date(2026, 11, 22))), true),
    ] {
        let mut machine = Machine::new(rules(), true, LaneMode::Normal);
        let mut actions = Vec::new();
        for i in 0..2 {
            let now = Monotonic::from_millis(1000 + 100 * i);
            let sighting = Sighting { direction, today, ..sighting(now, expired.clone()) };
            actions = machine.handle(now, presented(sighting, passage_id(i)));
        }
        match &actions[..] {
            [Action::Commit { .. }] => assert!(granted),
            [Action::Deny { body: Body::Denial(Denial { reason, .. }) }] => {
                assert!(!granted);
                assert_eq!(reason, "expired");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the denials of sightings 400 ms apart, each of another visit, with these faces in turn.
fn wavering(machine: &mut Machine, looks: u64, turns: &[Sighted]) -> Vec<(u64, Reason)> {
    let mut denied = Vec::new();
    for n in 0..looks {
        let sighted = turns[n as usize % turns.len()].clone();
        let at = Monotonic::from_millis(1000 + 400 * n);
        let sighting = Sighting { visit: n, ..sighting(at, sighted) };
        let actions = machine.handle(at, presented(sighting, passage_id(n)));
        match machine.taken {
            Some(Taken::Wavers(reason)) => {
                assert!(matches!(&actions[..], [Action::Deny { .. }]), "{actions:?}");
                denied.push((400 * n, reason));
            }
            taken => assert!(actions.is_empty(), "{taken:?}: {actions:?}"),
        }
    }
    denied
}

#[test]
fn a_face_whose_looks_never_agree_is_denied_after_five_seconds_and_then_every_half_minute() {
    let stranger = || Sighted::Stranger { score: 0.4 };
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let denied = wavering(&mut machine, 100, &[named("A"), stranger()]);
    // For a second after a look that names the worker, the stranger's looks are not counted: they
    // are taken as turning away.
    let [(first, _), (second, _)] = denied[..] else { panic!("{denied:?}") };
    assert!((5_000..=8_000).contains(&first), "{denied:?}");
    assert!((30_000..=31_000).contains(&(second - first)), "{denied:?}");

    // Two workers in turn, as with two photos before the camera.
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let denied = wavering(&mut machine, 20, &[named("A"), named("B")]);
    assert_eq!(denied, [(5_200, Reason::AmbiguousFace)]);
}

/// The pace of a box with one worker and two cameras, with 2.1 s a look.
const SLOW: Pace =
    Pace { look: Duration::from_millis(2100), others: Duration::from_millis(4 * 2100) };

/// Presents a look that was captured one look's time ago.
fn slow_look(machine: &mut Machine, at: u64, visit: u64, sighted: Sighted) -> Vec<Action> {
    let captured = Monotonic::from_millis(at);
    let sighting = Sighting { visit, pace: SLOW, ..sighting(captured, sighted) };
    machine.handle(captured + SLOW.look, presented(sighting, passage_id(at)))
}

#[test]
fn on_a_slow_box_looks_agree_and_a_worker_who_stays_gets_one_release() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    assert_eq!(slow_look(&mut machine, 1000, 1, named("A")), []);
    let actions = slow_look(&mut machine, 9400, 1, named("A"));
    let [Action::Commit { passage, .. }] = actions[..] else { panic!("{actions:?}") };
    let at = Monotonic::from_millis;
    let committed = machine.handle(at(11_600), Event::Committed { passage, result: Ok(()) });
    assert!(matches!(&committed[..], [Action::Release(_)]), "{committed:?}");
    let released = TurnstileEvent::Released { passage, at: at(11_700) };
    machine.handle(at(11_700), Event::Turnstile(released));
    let passed = TurnstileEvent::Passed { direction: Direction::Entry, at: at(12_500) };
    machine.handle(at(12_500), Event::Turnstile(passed));
    machine.handle(at(12_600), Event::Closed { passage, result: Ok(()) });
    // The cool-down is over at 17.5 s, and the worker is seen each 8.4 s until then and after it.
    for n in 1..6 {
        let captured = 9400 + 8400 * n;
        assert_eq!(slow_look(&mut machine, captured, 1, named("A")), [], "{captured}");
        assert_eq!(machine.taken, Some(Taken::CoolingDown), "{captured}");
    }
    // The worker comes back later.
    assert_eq!(slow_look(&mut machine, 90_000, 2, named("A")), []);
    assert_eq!(slow_look(&mut machine, 92_100, 2, named("A")).len(), 1);
}

#[test]
fn on_a_slow_box_a_face_that_stays_is_denied_once() {
    let stranger = || Sighted::Stranger { score: 0.1 };
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let denials: Vec<_> = (0..12_u64)
        .filter(|n| !slow_look(&mut machine, 1000 + 8400 * n, 1, stranger()).is_empty())
        .collect();
    assert_eq!(denials, [3], "with the fourth look");
    // Looks that never agree are denied as well.
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let denials: Vec<_> = (0..12_u64)
        .filter(|n| {
            let worker = if n % 2 == 0 { named("A") } else { named("B") };
            !slow_look(&mut machine, 1000 + 8400 * n, *n, worker).is_empty()
        })
        .collect();
    assert_eq!(denials.first(), Some(&7), "{denials:?}: eight looks");
}

#[test]
fn a_workers_first_look_behind_undecided_strangers_is_not_denied() {
    // A slow box: each person has one or two looks, and no four looks in a row agree.
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let stranger = || Sighted::Stranger { score: 0.1 };
    let mut look = |n: u64, sighted| {
        let at = Monotonic::from_millis(1000 + 690 * n);
        let sighting = Sighting { visit: n, ..sighting(at, sighted) };
        machine.handle(at, presented(sighting, passage_id(n)))
    };
    for n in 0..8 {
        assert_eq!(look(n, stranger()), []);
    }
    assert_eq!(look(8, named("A")), [], "eight looks within 5.5 s");
    let denied = look(9, stranger());
    assert_eq!(denied, [], "a worker was recognised within the last second");
    assert!(matches!(&look(12, stranger())[..], [Action::Deny { .. }]));
}

#[test]
fn the_result_for_a_sighting_gives_the_reason_why_nothing_follows() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let mut taken = |at, sighted| {
        see(&mut machine, at, sighted, at);
        machine.taken.unwrap()
    };
    assert_eq!(taken(1000, named("A")), Taken::Agreeing { looks: 1, of: 2 });
    assert_eq!(taken(1100, named("A")), Taken::Granted);
    assert_eq!(taken(1200, named("A")), Taken::Busy);
    let stranger = || Sighted::Stranger { score: 0.4 };
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let mut taken = |at, sighted| {
        see(&mut machine, at, sighted, at);
        machine.taken.unwrap()
    };
    for looks in 1..4 {
        assert_eq!(taken(1000 + looks, stranger()), Taken::Agreeing { looks: looks as u32, of: 4 });
    }
    assert_eq!(taken(1100, stranger()), Taken::Denied(Reason::UnknownFace));
    assert_eq!(taken(1200, stranger()), Taken::DeniedBefore(Reason::UnknownFace));
    assert_eq!(taken(1300, named("A")), Taken::Agreeing { looks: 1, of: 2 });
    assert_eq!(taken(1400, stranger()), Taken::TurningAway);
}
