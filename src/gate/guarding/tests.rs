use proptest::prelude::*;

use super::*;
use crate::{
    config::Direction,
    ledger::{FaceEvidence, Presentation},
    roster::{Day, Person},
};

fn worker(id: &str, exempt: bool) -> Arc<Worker> {
    let text = || "x".to_owned();
    let id = id.parse().unwrap();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    let liveness_exempt = exempt.then(text);
    Arc::new(Worker { liveness_exempt, ..Worker::new(person) })
}

/// A visit with this number of looks, and its judgement.
fn visit(worker: &Arc<Worker>, at: Monotonic, looks: u32, score: Option<f32>) -> Claim {
    let presentation = score.map(|score| Presentation {
        score: Score::of(score),
        cue: "model".into(),
        rides: None,
    });
    let face = FaceEvidence {
        score: Score::of(0.7),
        threshold: Score::of(0.5),
        margin: None,
        model: "sface".into(),
        frames: looks,
        camera: "v4l2".into(),
        presentation,
    };
    Claim {
        direction: Direction::Entry,
        who: Ok(worker.clone()),
        evidence: vec![Evidence::Face(face)],
        flags: Vec::new(),
        visit: Some(1),
        captured: at,
        roster_version: 1,
        today: Day::NotBefore(None),
        photo: None,
        code: None,
        face: None,
    }
}

struct Entry {
    guarding: Guarding,
    now: Monotonic,
}

impl Entry {
    fn new() -> Entry {
        let guarding = Guarding::new(Some(Score::of(0.5)));
        Entry { guarding, now: Monotonic::from_millis(1000) }
    }

    fn look(&mut self, id: &str, looks: u32, score: Option<f32>) -> Guarded {
        let worker = worker(id, false);
        let claim = visit(&worker, self.now, looks, score);
        let guarded = self.guarding.judge(self.now, &claim, &worker);
        if guarded == Guarded::Passes {
            self.guarding.granted(self.now, &claim);
        }
        guarded
    }

    fn after(&mut self, seconds: u64) -> &mut Entry {
        self.now = self.now + Duration::from_secs(seconds);
        self.guarding.tick(self.now);
        self
    }
}

const FIRST: Guarded = Guarded::Asks { first: true };
const STAYS: Guarded = Guarded::Asks { first: false };

#[test]
fn a_low_visit_waits_for_a_better_look_and_then_goes_to_the_guard_and_stays_there() {
    let mut entry = Entry::new();
    assert_eq!(entry.look("W1", 2, Some(0.5)), Guarded::Passes);
    assert_eq!(entry.look("W1", 2, Some(0.49)), Guarded::Waits);
    assert_eq!(entry.look("W1", 3, Some(0.6)), Guarded::Passes, "a better look came");
    assert_eq!(entry.look("W1", LOOKS, Some(0.49)), FIRST);
    // One face with alternating scores: the next attempt is not the next look.
    assert_eq!(entry.after(1).look("W1", LOOKS + 1, Some(0.9)), STAYS);
    assert_eq!(entry.after(29).look("W1", 2, Some(0.9)), STAYS, "a new visit");
    assert_eq!(entry.after(31).look("W1", 2, Some(0.9)), Guarded::Passes);
    assert!(entry.guarding.asked(entry.now).is_none());
}

#[test]
fn a_visit_without_a_judgement_goes_to_the_guard_and_a_card_or_an_exempt_worker_does_not() {
    let mut entry = Entry::new();
    assert_eq!(entry.look("W1", 2, None), Guarded::Waits);
    assert_eq!(entry.look("W1", LOOKS, None), FIRST);
    let exempt = worker("W2", true);
    let low = visit(&exempt, entry.now, LOOKS, Some(0.0));
    assert_eq!(entry.guarding.judge(entry.now, &low, &exempt), Guarded::Passes);
    let worker = worker("W3", false);
    let card = Claim { visit: None, ..visit(&worker, entry.now, LOOKS, None) };
    assert_eq!(entry.guarding.judge(entry.now, &card, &worker), Guarded::Passes);
    let face = visit(&worker, entry.now, LOOKS, Some(0.0));
    let mut watch = Guarding::new(None);
    assert_eq!(watch.judge(entry.now, &face, &worker), Guarded::Passes);
}

#[test]
fn the_guard_is_asked_for_no_one_after_another_person_or_a_passage() {
    let mut entry = Entry::new();
    let asked = |entry: &Entry| {
        entry.guarding.asked(entry.now).map(|(worker, evidence)| {
            assert_eq!(evidence.len(), 1);
            worker.person.id.to_string()
        })
    };
    assert_eq!(entry.look("W1", LOOKS, None), FIRST);
    entry.guarding.another(Some(&"W1".parse().unwrap()));
    assert_eq!(asked(&entry).as_deref(), Some("W1"));
    entry.guarding.another(Some(&"W2".parse().unwrap()));
    assert_eq!(asked(&entry), None);
    for forget in [Guarding::went, |guarding: &mut Guarding| guarding.another(None)] {
        assert_eq!(entry.look("W1", LOOKS, None), FIRST);
        forget(&mut entry.guarding);
        assert_eq!(asked(&entry), None);
    }
    assert_eq!(entry.look("W1", LOOKS, None), FIRST);
    assert_eq!(entry.look("W2", 2, Some(0.9)), Guarded::Passes);
    assert_eq!(asked(&entry), None, "another worker was granted");
}

#[test]
fn a_second_short_low_visit_goes_to_the_guard_at_once() {
    let mut entry = Entry::new();
    let (worker, other) = (worker("W1", false), worker("W2", false));
    let short = |entry: &mut Entry, worker: &Arc<Worker>, number, score| {
        let claim = Claim { visit: Some(number), ..visit(worker, entry.now, 2, Some(score)) };
        entry.guarding.judge(entry.now, &claim, worker)
    };
    assert_eq!(short(&mut entry, &worker, 1, 0.1), Guarded::Waits);
    assert_eq!(short(entry.after(1), &other, 2, 0.1), Guarded::Waits);
    assert_eq!(short(entry.after(1), &worker, 3, 0.1), Guarded::Waits, "another worker between");
    assert_eq!(short(entry.after(1), &worker, 3, 0.1), Guarded::Waits, "the same visit");
    assert_eq!(short(entry.after(29), &worker, 4, 0.1), FIRST);
    let mut entry = Entry::new();
    assert_eq!(short(&mut entry, &worker, 1, 0.1), Guarded::Waits);
    assert_eq!(short(entry.after(31), &worker, 2, 0.1), Guarded::Waits, "half a minute later");
    assert_eq!(short(entry.after(1), &worker, 3, 0.9), Guarded::Passes);
}

#[test]
fn one_in_three_at_night_and_one_worker_with_many_attempts_bring_no_fallback_about() {
    let mut entry = Entry::new();
    for _ in 0..100 {
        assert_eq!(entry.after(31).look("W1", LOOKS, Some(0.1)), FIRST);
    }
    entry.look("W2", 2, Some(0.9));
    entry.look("W3", 2, Some(0.9));
    assert_eq!(entry.guarding.fallback(), None);
}

#[test]
fn above_5_percent_the_entry_falls_back_until_an_hour_was_better() {
    let mut entry = Entry::new();
    for id in ["W1", "W2", "W3"] {
        assert_eq!(entry.after(10).look(id, LOOKS, None), FIRST);
    }
    // The fourth of 60 is more than 5 %. It goes to the guard itself: the next visit passes.
    assert_eq!(entry.after(10).look("W4", LOOKS, None), FIRST);
    let fallback = entry.guarding.fallback().unwrap();
    assert_eq!((fallback.low, fallback.visits), (4, 4));
    assert_eq!(entry.after(1).look("W4", LOOKS, Some(0.9)), STAYS);
    assert_eq!(entry.look("W5", 2, Some(0.1)), Guarded::Passes);
    // Low visits go on, so the fallback does, too.
    for _ in 0..4 {
        entry.after(1800);
        for id in ["W1", "W2", "W3", "W4"] {
            assert_eq!(entry.look(id, 2, Some(0.1)), Guarded::Passes);
        }
    }
    assert!(entry.guarding.fallback().is_some());
    let due = entry.guarding.due().unwrap();
    assert_eq!(due, entry.now + HOUR);
    entry.after(3599);
    assert!(entry.guarding.fallback().is_some());
    entry.after(1);
    assert_eq!((entry.guarding.fallback(), entry.guarding.due()), (None, None));
    assert_eq!(entry.look("W1", LOOKS, None), FIRST);
}

#[test]
fn a_lane_that_restarts_goes_on_with_its_fallback() {
    let mut entry = Entry::new();
    entry.guarding.resume(Some(Fallback { since: entry.now, low: 4, visits: 4 }));
    assert_eq!(entry.look("W1", LOOKS, None), Guarded::Passes);
    assert_eq!(entry.after(3600).look("W1", LOOKS, None), FIRST);
}

proptest! {
    /// A plain count over all visits is the model: above 5 % of an hour, and only then, it falls
    /// back. What is kept is bounded.
    #[test]
    fn the_fallback_follows_the_share_of_an_hours_visits(
        visits in prop::collection::vec((0_u64..240, 0_u32..12, 0_u8..10), 1..400)
    ) {
        let mut rate = Rate::default();
        let mut now = Monotonic::from_millis(0);
        let mut all: Vec<(Monotonic, Option<WorkerId>)> = Vec::new();
        for (seconds, who, luck) in visits {
            now = now + Duration::from_secs(seconds / 60 * 60);
            let worker: WorkerId = format!("W{who}").parse().unwrap();
            if luck == 0 {
                all.push((now, Some(worker.clone())));
                rate.low(now, &worker);
            } else {
                all.push((now, None));
                rate.passed(now);
            }
            let hour = || all.iter().filter(|(at, _)| now.since(*at) < HOUR);
            let low: std::collections::BTreeSet<_> = hour().filter_map(|(_, low)| low.clone()).collect();
            let visits = hour().filter(|(_, low)| low.is_none()).count() + low.len();
            let over = low.len() * 20 > visits.max(60);
            prop_assert!(!over || rate.fallback.is_some());
            if let Some(fallback) = rate.fallback {
                prop_assert!(over || now.since(fallback.since) < HOUR);
                prop_assert!(fallback.low * SHARE > fallback.visits.max(VISITS_LEAST));
                prop_assert!(rate.due().unwrap() > now, "a timer that is due at once");
            }
            prop_assert!(rate.passed.len() <= 60 && rate.low.len() <= LOW_MOST);
        }
    }
}
