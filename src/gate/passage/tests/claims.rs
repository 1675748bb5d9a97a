//! Claims of a reader: a card.

use super::*;
use crate::{
    gate::{
        claim::{Claim, FaceBeside},
        policy::Likeness,
    },
    ledger::{CardEvidence, Denial},
    reader::WithFace,
};

pub(super) fn card_of(id: &str, at: u64) -> Claim {
    let card = CardEvidence { reader: "north".into(), commitment: [id.as_bytes()[0]; 32] };
    Claim {
        direction: Direction::Entry,
        who: Ok(worker(id, None)),
        evidence: vec![Evidence::Card(card)],
        flags: Vec::new(),
        visit: None,
        captured: Monotonic::from_millis(at),
        roster_version: 7,
        today: Day::Today(jiff::civil::date(2026, 11, 22)),
        photo: None,
        code: None,
        face: None,
    }
}

fn expired(id: &str, at: u64) -> Claim {
    Claim { who: Ok(worker(id, Some(jiff::civil::date(2026, 11, 21)))), ..card_of(id, at) }
}

fn unknown(card: &str, at: u64) -> Claim {
    Claim { who: Err(Reason::NotYetValid), ..card_of(card, at) }
}

fn lay(machine: &mut Machine, claim: Claim, fresh: u64) -> Vec<Action> {
    let (now, fresh) = (claim.captured, passage_id(fresh));
    machine.handle(now, Event::Presented { what: Presented::Claim(claim), fresh })
}

fn denials(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Deny { .. })).count()
}

/// Runs a passage from its commit to its outcome. `walks`: the person walks through.
fn pass(machine: &mut Machine, passage: PassageId, at: u64, walks: bool) {
    let at = Monotonic::from_millis(at);
    let released = machine.handle(at, Event::Committed { passage, result: Ok(()) });
    assert!(matches!(&released[..], [Action::Release(_)]), "{released:?}");
    machine.handle(at, Event::Turnstile(TurnstileEvent::Released { passage, at }));
    let (closed, event) = match walks {
        true => (at, TurnstileEvent::Passed { direction: Direction::Entry, at }),
        false => (
            at,
            TurnstileEvent::NotReleased {
                passage,
                why: NotReleased::Late,
                may_have_released: false,
            },
        ),
    };
    machine.handle(closed, Event::Turnstile(event));
    machine.handle(closed, Event::Closed { passage, result: Ok(()) });
}

#[test]
fn a_card_is_granted_at_once_and_the_grant_has_its_evidence() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let claim = card_of("A", 1000);
    let evidence = claim.evidence.clone();
    let actions = lay(&mut machine, claim, 1);
    let [Action::Commit { passage, body: Body::Grant(grant), .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((*passage, grant.person.id.as_str()), (passage_id(1), "A"));
    assert_eq!((&grant.evidence, grant.roster, grant.photo), (&evidence, 7, None));
    pass(&mut machine, passage_id(1), 1100, true);
    assert!(!machine.busy());
}

#[test]
fn a_card_of_an_expired_worker_is_denied_entry_and_never_exit() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let actions = lay(&mut machine, expired("A", 1000), 1);
    let [Action::Deny { body: Body::Denial(Denial { reason, person, evidence, .. }) }] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((reason.as_str(), person.as_ref().unwrap().id.as_str()), ("expired", "A"));
    assert_eq!(*evidence, expired("A", 1000).evidence);
    let leaves = Claim { direction: Direction::Exit, ..expired("A", 1500) };
    assert!(matches!(&lay(&mut machine, leaves, 2)[..], [Action::Commit { .. }]));
}

#[test]
fn a_card_that_is_too_old_or_comes_while_another_passes_does_nothing() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let now = Monotonic::from_millis(10_000);
    let old = Event::Presented { what: Presented::Claim(card_of("A", 1000)), fresh: passage_id(1) };
    assert_eq!(machine.handle(now, old), []);
    assert_eq!((machine.taken, machine.counters.stale), (Some(Taken::Stale), 1));
    assert_eq!(lay(&mut machine, card_of("A", 10_000), 2).len(), 1);
    assert_eq!(lay(&mut machine, card_of("B", 10_100), 3), []);
    assert_eq!(machine.taken, Some(Taken::Busy));
    assert_eq!(machine.counters.cards_busy, 1, "the worker sees no answer, and status counts it");
    // The card of the passage itself, which stays on the reader, is none of them.
    assert_eq!(lay(&mut machine, card_of("A", 10_200), 4), []);
    assert_eq!(machine.counters.cards_busy, 1);
}

#[test]
fn a_passage_by_card_begins_the_cool_down_for_card_and_face() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    lay(&mut machine, card_of("A", 1000), 1);
    pass(&mut machine, passage_id(1), 1100, true);
    assert_eq!(lay(&mut machine, card_of("A", 2000), 2), []);
    assert_eq!(machine.taken, Some(Taken::CoolingDown));
    for at in [2100, 2200, 2300] {
        assert_eq!(see(&mut machine, at, named("A"), at), []);
        assert_eq!(machine.taken, Some(Taken::CoolingDown));
    }
    assert!(matches!(&lay(&mut machine, card_of("B", 2400), 3)[..], [Action::Commit { .. }]));
    pass(&mut machine, passage_id(3), 2500, true);
    assert!(matches!(&lay(&mut machine, card_of("A", 9000), 4)[..], [Action::Commit { .. }]));
}

#[test]
fn a_repeated_denial_is_recorded_once_for_card_and_face_together() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    // A card that stays on the reader.
    let held = |machine: &mut Machine, from: u64| -> usize {
        (0..20).map(|n| denials(&lay(machine, expired("A", from + n * 500), n))).sum()
    };
    assert_eq!(held(&mut machine, 1000), 1);
    // The same worker looks into the camera.
    let face = || {
        let valid_until = Some(jiff::civil::date(2026, 11, 21));
        Sighted::Worker(Match { worker: worker("A", valid_until), score: 0.8, margin: None })
    };
    for n in 0..5 {
        let now = Monotonic::from_millis(11_000 + n * 100);
        let today = Day::Today(jiff::civil::date(2026, 11, 22));
        let sighting = Sighting { today, ..sighting(now, face()) };
        assert_eq!(machine.handle(now, presented(sighting, passage_id(n))), []);
    }
    assert_eq!(machine.taken, Some(Taken::DeniedBefore(Reason::Expired)));
    assert_eq!(held(&mut machine, 20_000), 0, "within ten minutes");
    assert_eq!(held(&mut machine, 602_000), 1, "later it is a new denial");
    // Without a worker, each card is denied once.
    let cards = ["X", "Y", "X", "Y"].map(|card| unknown(card, 631_000));
    assert_eq!(cards.map(|card| denials(&lay(&mut machine, card, 1))), [1, 1, 0, 0]);
}

/// Shows a stranger in a visit of its own, and returns the recorded denials.
fn stranger(machine: &mut Machine, visit: u64, at: u64) -> usize {
    let looks = (0..4).map(|n| {
        let now = Monotonic::from_millis(at + n * 100);
        let seen = sighting(now, Sighted::Stranger { score: 0.3 });
        denials(&machine.handle(now, presented(Sighting { visit, ..seen }, passage_id(visit))))
    });
    looks.sum()
}

#[test]
fn i8_pictures_shown_in_turn_are_recorded_at_most_twenty_times_a_minute_and_counted_beyond() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    // 95 visits within a minute, and an unknown card after each of them.
    let recorded: usize = (0..95)
        .map(|visit| {
            let at = 100_000 + visit * 630;
            stranger(&mut machine, visit, at)
                + denials(&lay(&mut machine, unknown(&visit.to_string(), at + 500), visit))
        })
        .sum();
    assert_eq!(recorded, STRANGERS);
    assert_eq!(machine.counters.unknown_faces, 95);
    assert!(machine.counters.denials_unrecorded >= 75, "{:?}", machine.counters);
    // A worker's denial is recorded all the same.
    assert_eq!(denials(&lay(&mut machine, expired("A", 159_900), 1)), 1);
    assert_eq!(stranger(&mut machine, 200, 161_000), 1, "a minute after the first one");
}

#[test]
fn a_workers_denial_is_recorded_once_in_ten_minutes_behind_any_number_of_strangers() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    // The certificates of 300 workers have expired, and strangers come between them.
    let mut morning = |from: u64| -> usize {
        (0..300)
            .map(|n| {
                let at = from + n * 1_500;
                stranger(&mut machine, from + n, at);
                denials(&lay(&mut machine, expired(&format!("W{n}"), at + 500), n))
            })
            .sum()
    };
    assert_eq!(morning(1_000_000), 300);
    assert_eq!(morning(1_000_500), 0);
    assert_eq!(morning(1_602_000), 300, "ten minutes later");
    // Another reason is a denial of its own.
    let mut machine = Machine::new(rules(), true, LaneMode::Closed);
    assert_eq!(denials(&lay(&mut machine, card_of("A", 1_000), 1)), 1);
    machine.handle(Monotonic::from_millis(1_500), Event::Mode(LaneMode::Normal));
    assert_eq!(denials(&lay(&mut machine, expired("A", 2_000), 2)), 1);
    assert_eq!(denials(&lay(&mut machine, expired("A", 3_000), 3)), 0);
    // A grant between two denials makes the second one news.
    assert!(matches!(&lay(&mut machine, card_of("A", 4_000), 4)[..], [Action::Commit { .. }]));
    pass(&mut machine, passage_id(4), 4_100, true);
    assert_eq!(denials(&lay(&mut machine, expired("A", 20_000), 5)), 1);
}

#[test]
fn a_workers_denial_that_was_not_recorded_is_tried_again_after_ten_seconds() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    assert_eq!(denials(&lay(&mut machine, expired("A", 1_000), 1)), 1);
    let (worker, direction) = ("A".parse().unwrap(), Direction::Entry);
    let lost = Event::DenialLost { worker, direction };
    assert_eq!(machine.handle(Monotonic::from_millis(2_000), lost), []);
    assert_eq!(denials(&lay(&mut machine, expired("A", 11_000), 2)), 0);
    assert_eq!(denials(&lay(&mut machine, expired("A", 12_001), 3)), 1);
    assert_eq!(denials(&lay(&mut machine, expired("A", 30_000), 4)), 0);
}

#[test]
fn a_card_that_is_granted_leaves_the_denial_of_another_card_a_repetition() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    assert_eq!(denials(&lay(&mut machine, unknown("X", 1_000), 1)), 1);
    let granted = lay(&mut machine, card_of("W001", 2_000), 2);
    assert!(matches!(&granted[..], [Action::Commit { .. }]), "{granted:?}");
    pass(&mut machine, passage_id(2), 2_500, true);
    assert_eq!(denials(&lay(&mut machine, unknown("X", 4_000), 3)), 0);
}

#[test]
fn a_card_is_decided_on_while_a_face_is_before_the_camera_and_its_looks_still_count() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    // A stranger stands there and was denied.
    let stranger = || Sighted::Stranger { score: 0.3 };
    let denied: usize =
        (0..6).map(|n| denials(&see(&mut machine, 1000 + n * 100, stranger(), n))).sum();
    assert_eq!(denied, 1);
    assert!(matches!(&lay(&mut machine, card_of("B", 1600), 10)[..], [Action::Commit { .. }]));
    assert_eq!(see(&mut machine, 1650, stranger(), 11), []);
    assert_eq!(machine.taken, Some(Taken::Busy));
    pass(&mut machine, passage_id(10), 1700, true);
    for n in 0..6 {
        assert_eq!(see(&mut machine, 1800 + n * 100, stranger(), 20 + n), []);
    }
    assert_eq!(machine.taken, Some(Taken::DeniedBefore(Reason::UnknownFace)), "the same visit");

    // A worker's first look, a card, and the second look.
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    assert_eq!(see(&mut machine, 1000, named("A"), 1), []);
    assert_eq!(denials(&lay(&mut machine, expired("B", 1050), 2)), 1);
    assert!(matches!(&see(&mut machine, 1100, named("A"), 3)[..], [Action::Commit { .. }]));
}

#[test]
fn in_an_open_lane_a_waiting_card_is_recorded_next_and_an_unknown_card_is_not_denied() {
    let mut machine = Machine::new(rules(), true, LaneMode::Free);
    lay(&mut machine, card_of("A", 1000), 1);
    assert_eq!(lay(&mut machine, card_of("B", 1010), 2), []);
    assert_eq!(see(&mut machine, 1020, Sighted::Stranger { score: 0.3 }, 3), []);
    let at = Monotonic::from_millis(1100);
    machine.handle(at, Event::Committed { passage: passage_id(1), result: Ok(()) });
    let next = machine.handle(at, Event::Closed { passage: passage_id(1), result: Ok(()) });
    assert!(matches!(&next[..], [Action::Commit { passage, .. }] if *passage == passage_id(2)));
    machine.handle(at, Event::Committed { passage: passage_id(2), result: Ok(()) });
    machine.handle(at, Event::Closed { passage: passage_id(2), result: Ok(()) });
    assert_eq!(lay(&mut machine, unknown("X", 1200), 4), []);
    assert_eq!(machine.taken, Some(Taken::Free));
}

#[test]
fn a_card_held_for_a_minute_is_one_grant_also_without_a_cool_down() {
    let rules = Rules { cool_down: Duration::ZERO, ..rules() };
    let mut machine = Machine::new(rules, true, LaneMode::Normal);
    lay(&mut machine, card_of("A", 1000), 1);
    pass(&mut machine, passage_id(1), 1100, true);
    for at in (1500..61_000).step_by(500) {
        assert_eq!(lay(&mut machine, card_of("A", at), at), [], "{at}");
    }
    // It was lifted.
    assert!(matches!(&lay(&mut machine, card_of("A", 64_001), 2)[..], [Action::Commit { .. }]));
}

#[test]
fn a_card_shown_too_early_is_granted_when_the_lane_is_free() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    lay(&mut machine, card_of("A", 1000), 1);
    assert_eq!(lay(&mut machine, card_of("B", 1100), 2), []);
    assert_eq!(machine.taken, Some(Taken::Busy));
    pass(&mut machine, passage_id(1), 1200, true);
    assert!(matches!(&lay(&mut machine, card_of("B", 1600), 3)[..], [Action::Commit { .. }]));
}

#[test]
fn three_cards_within_ten_seconds_are_one_event() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    let events = |machine: &mut Machine, id: &str, at: u64| {
        let actions = lay(machine, unknown(id, at), at);
        actions.iter().filter(|a| matches!(a, Action::SeveralCards { .. })).count()
    };
    let shown =
        [("A", 1000), ("A", 2000), ("B", 3000), ("C", 12_000), ("D", 12_500), ("E", 13_000)];
    let found = shown.map(|(id, at)| events(&mut machine, id, at));
    assert_eq!(found, [0, 0, 0, 0, 1, 0], "A at 1 s is too long ago at 12 s");
    let later = [("A", 80_000), ("B", 80_100), ("C", 80_200)];
    assert_eq!(later.map(|(id, at)| events(&mut machine, id, at)), [0, 0, 1]);
    // Cards at the other side are another reader's.
    let exit = |id, at| Claim { direction: Direction::Exit, ..unknown(id, at) };
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    lay(&mut machine, unknown("A", 1000), 1);
    lay(&mut machine, exit("B", 1100), 2);
    assert_eq!(denials(&lay(&mut machine, unknown("C", 1200), 3)), 1);
}

#[test]
fn i15_a_card_that_led_to_no_passage_is_granted_again_while_it_stays_there() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    lay(&mut machine, card_of("A", 1000), 1);
    let now = Monotonic::from_millis(1100);
    let failed = Event::Committed { passage: passage_id(1), result: Err("disk".into()) };
    assert_eq!(machine.handle(now, failed), []);
    assert!(matches!(&lay(&mut machine, card_of("A", 1500), 2)[..], [Action::Commit { .. }]));
    let now = Monotonic::from_millis(1600);
    let released = machine.handle(now, Event::Committed { passage: passage_id(2), result: Ok(()) });
    assert!(matches!(&released[..], [Action::Release(_)]), "{released:?}");
    let failed = TurnstileEvent::NotReleased {
        passage: passage_id(2),
        why: NotReleased::Failed("no answer".into()),
        may_have_released: false,
    };
    let closes = machine.handle(now, Event::Turnstile(failed));
    assert!(matches!(&closes[..], [Action::Close { .. }]), "{closes:?}");
    machine.handle(now, Event::Closed { passage: passage_id(2), result: Ok(()) });
    // After the pause the card that lies there is a new claim.
    let grants = (2000..20_000).step_by(500).filter(|at| {
        matches!(&lay(&mut machine, card_of("A", *at), *at)[..], [Action::Commit { .. }])
    });
    assert_eq!(grants.count(), 1);
}

/// The card of a worker, beside a face that is not the worker's.
fn beside_another(rule: WithFace, direction: Direction, score: f32, at: u64) -> Claim {
    let face = Evidence::of_face(Score::of(score), Score::of(0.5), "sface");
    let seen = face.face().cloned().map(|face| (face, Likeness::Unlike));
    Claim { direction, face: Some(FaceBeside { rule, seen }), ..card_of("A", at) }
}

#[test]
fn a_face_that_differs_is_recorded_beside_the_card_and_decides_nothing() {
    for (rule, direction) in [
        (WithFace::Check, Direction::Entry),
        (WithFace::Check, Direction::Exit),
        (WithFace::Require, Direction::Exit),
    ] {
        let mut machine = Machine::new(rules(), true, LaneMode::Normal);
        let actions = lay(&mut machine, beside_another(rule, direction, 0.1234, 0), 1);
        let [Action::Commit { body: Body::Grant(grant), .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(grant.flags, [Flag::CARD_FACE_DIFFERS]);
        let [Evidence::Card(_), Evidence::Face(face)] = &grant.evidence[..] else {
            panic!("{:?}", grant.evidence)
        };
        assert_eq!(face.score, Score::of(0.1234));
        // The scores differ from one reading to the next, and the card is the same one.
        let again = lay(&mut machine, beside_another(rule, direction, 0.2, 500), 2);
        assert_eq!(again, []);
        assert_eq!(machine.taken, Some(Taken::CoolingDown));
    }
}

#[test]
fn a_card_that_needs_the_face_is_denied_once_beside_another_and_opens_beside_the_workers() {
    let mut machine = Machine::new(rules(), true, LaneMode::Normal);
    for (score, at) in [(0.1, 0), (0.2, 600)] {
        let claim = beside_another(WithFace::Require, Direction::Entry, score, at);
        let actions = lay(&mut machine, claim, at + 1);
        if at > 0 {
            assert_eq!(actions, []);
            continue;
        }
        let [Action::Deny { body: Body::Denial(Denial { reason, person, evidence, .. }) }] =
            &actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!((&reason[..], person.is_some()), ("card_face_differs", true));
        assert!(matches!(evidence[..], [Evidence::Card(_), Evidence::Face(_)]), "{evidence:?}");
    }
    let mut claim = beside_another(WithFace::Require, Direction::Entry, 0.8, 1200);
    let seen = claim.face.as_mut().and_then(|face| face.seen.as_mut());
    seen.unwrap().1 = Likeness::Like;
    let actions = lay(&mut machine, claim, 9);
    assert!(
        matches!(&actions[..], [Action::Commit { body: Body::Grant(grant), .. }] if grant.flags.is_empty()),
        "{actions:?}"
    );
}
