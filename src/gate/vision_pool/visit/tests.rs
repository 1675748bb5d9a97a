use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::{
    camera::{Layout, Picture, Yuv},
    vision::{Flaw, TEMPLATE_LEN, View},
};

fn ms(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn face(x: f32, w: f32) -> Face {
    let bbox = Rect { x, y: 100.0, w, h: 1.3 * w };
    Face {
        score: 0.9,
        bbox,
        landmarks: [[1.0, 1.0], [5.0, 1.0], [3.0, 3.0], [1.0, 5.0], [5.0, 5.0]],
    }
}

fn look(at: u64, score: f32, flaw: Option<Flaw>) -> Look {
    static FACE: OnceLock<Aligned> = OnceLock::new();
    let cut_out = || {
        let data = vec![128; 16 * 16 * 2];
        let yuv = Yuv { width: 16, height: 16, layout: Layout::Yuyv, data };
        let picture = Picture::Raw(yuv.into());
        let view = View::new(&picture).unwrap();
        view.for_detection(320).unwrap().cut_out(&face(0.0, 8.0)).unwrap()
    };
    let face = FACE.get_or_init(cut_out).clone();
    Look { at: ms(at), quality: Quality { score, flaw }, face }
}

fn good(at: u64) -> Look {
    look(at, 0.5, None)
}

fn blurred(at: u64, score: f32) -> Look {
    look(at, score, Some(Flaw::Blurred))
}

/// Returns a template that is unlike the templates of other numbers.
fn template(n: usize) -> Template {
    let mut values = [0.0; TEMPLATE_LEN];
    values[n] = 1.0;
    Template::from_slice(&values).unwrap()
}

fn id(id: &str) -> WorkerId {
    id.parse().unwrap()
}

/// Follows a lone face.
fn follows(visits: &mut Visits, at: u64, x: f32, w: f32) -> u64 {
    assert!(visits.follow(ms(at), vec![face(x, w)]).is_some());
    visits.number
}

#[test]
fn a_face_that_comes_nearer_and_walks_by_is_one_visit_and_one_that_jumps_another() {
    let mut visits = Visits::default();
    assert!(visits.follow(ms(0), vec![]).is_none());
    for n in 0..10 {
        let n = n as f32;
        assert_eq!(follows(&mut visits, 67 * n as u64, 400.0 - 20.0 * n, 50.0 + 8.0 * n), 1);
    }
    // No face for a second, then a face somewhat aside.
    assert!(visits.follow(ms(1000), vec![]).is_none());
    assert_eq!(follows(&mut visits, 1600, 300.0, 130.0), 1);
    assert_eq!(follows(&mut visits, 1667, 900.0, 130.0), 2, "too far");
    assert_eq!(follows(&mut visits, 1734, 950.0, 50.0), 3, "too small");
    assert!(visits.follow(ms(1800), vec![]).is_none());
    assert_eq!(follows(&mut visits, 3300, 950.0, 50.0), 4, "too late");
    assert_eq!(follows(&mut visits, 7300, 950.0, 50.0), 4, "no frame was searched in between");
    assert_eq!(follows(&mut visits, 11_301, 950.0, 50.0), 5, "the gap is too long");
}

#[test]
fn a_face_that_comes_near_within_a_second_is_the_same_visit() {
    let mut visits = Visits::default();
    // The photos of config/bench.toml, one a second: a person walks up and steps back.
    for (n, wide) in [204.0, 722.0, 204.0, 722.0].into_iter().enumerate() {
        assert_eq!(follows(&mut visits, 1000 * n as u64, 300.0, wide), 1);
    }
    assert_eq!(follows(&mut visits, 3067, 300.0, 204.0), 2, "too fast for one frame's time");
    assert_eq!(follows(&mut visits, 5067, 300.0, 30.0), 3, "too large a change");
}

#[test]
fn a_visit_ends_with_a_pause_of_the_camera_but_not_for_a_slow_one() {
    let mut visits = Visits::default();
    let mut sees = |at: u64, pause: u64| {
        visits.sent(Duration::from_millis(pause));
        follows(&mut visits, at, 300.0, 100.0)
    };
    assert_eq!((sees(0, 100), sees(100, 100)), (1, 1));
    assert_eq!(sees(1500, 1400), 1, "a hitch");
    assert_eq!(sees(4100, 2600), 1, "shorter than twice the pause before");
    assert_eq!(sees(4200, 100), 1);
    assert_eq!(sees(6800, 2600), 2);
    // A frame each two seconds.
    assert_eq!((sees(8800, 2000), sees(10_800, 2000)), (2, 2));
    // The box had no time to search, and the camera sent frames.
    assert_eq!(sees(14_000, 100), 2);
    // The camera paused, and the first frame after it was not searched.
    visits.sent(Duration::from_secs(2));
    visits.sent(Duration::from_millis(100));
    assert_eq!(follows(&mut visits, 16_200, 300.0, 100.0), 3);
}

/// The pace of a box with one worker and two cameras, with 2.1 s a look.
const SLOW: Pace =
    Pace { look: Duration::from_millis(2100), others: Duration::from_millis(4 * 2100) };

#[test]
fn on_a_slow_box_a_visit_lasts_for_two_looks_and_for_the_turns_of_other_cameras() {
    let mut visits = Visits::default();
    visits.paced(SLOW);
    assert_eq!(follows(&mut visits, 0, 100.0, 100.0), 1);
    assert_eq!(follows(&mut visits, 10_500, 100.0, 100.0), 1, "the other camera had its turn");
    assert!(visits.follow(ms(12_600), vec![]).is_none());
    assert_eq!(follows(&mut visits, 14_700, 100.0, 100.0), 1, "one look missed the face");
    assert!(visits.follow(ms(16_800), vec![]).is_none());
    assert_eq!(follows(&mut visits, 18_901, 100.0, 100.0), 2, "the person was away");
    assert_eq!(follows(&mut visits, 31_502, 100.0, 100.0), 3, "longer than the other turns");
}

#[test]
fn on_a_slow_box_a_poor_look_is_not_used_when_it_is_too_old_for_a_decision() {
    let mut visits = Visits::default();
    visits.paced(SLOW);
    follows(&mut visits, 0, 100.0, 100.0);
    assert!(matches!(visits.offer(blurred(0, 0.9)), Use::SetAside));
    let Use::Embed(used) = visits.offer(blurred(1000, 0.1)) else { panic!() };
    assert_eq!(used.at, ms(1000));
}

#[test]
fn a_face_is_followed_until_another_person_stands_in_front() {
    let mut visits = Visits::default();
    let mut followed = |at, faces: &[(f32, f32)]| {
        let faces = faces.iter().map(|(x, w)| face(*x, *w)).collect();
        visits.follow(ms(at), faces).unwrap().bbox.x
    };
    assert_eq!(followed(0, &[(100.0, 90.0), (600.0, 100.0)]), 600.0, "the wider one");
    assert_eq!(followed(67, &[(100.0, 110.0), (600.0, 100.0)]), 600.0);
    assert_eq!(followed(134, &[(100.0, 120.0), (605.0, 100.0)]), 605.0);
    assert_eq!(followed(201, &[(100.0, 140.0), (605.0, 100.0)]), 100.0);
    assert_eq!(visits.number, 2);
}

#[test]
fn a_good_look_is_embedded_at_once_until_enough_agree() {
    let mut visits = Visits::default();
    let worker = id("W001");
    let mut embedded = Vec::new();
    for at in (0..2000).step_by(67) {
        follows(&mut visits, at, 100.0, 100.0);
        if visits.wants(ms(at), 3) && matches!(visits.offer(good(at)), Use::Embed(_)) {
            assert_eq!(visits.embedded(ms(at), true, template(0), Some(&worker)), 1);
            embedded.push(at);
        }
    }
    assert_eq!(embedded, [0, 67, 134, 670, 1206, 1742]);
    assert!(visits.settled(3) && !visits.settled(7));
}

#[test]
fn a_stranger_is_settled_only_when_the_lane_can_deny() {
    for (frames_to_agree, enough) in [(1, 3), (2, 4), (3, 6)] {
        let mut visits = Visits::default();
        follows(&mut visits, 0, 100.0, 100.0);
        let seen = (1..20).find(|n| {
            visits.embedded(ms(67 * n), true, template(0), None);
            visits.settled(frames_to_agree)
        });
        assert_eq!(seen, Some(enough));
        // Then the next look comes sooner than a recognised worker's.
        let last = 67 * enough;
        assert!(!visits.wants(ms(last + 199), frames_to_agree));
        assert!(visits.wants(ms(last + 200), frames_to_agree));
        // A worker who is recognised after that is not settled at once.
        visits.embedded(ms(last + 200), true, template(0), Some(&id("W001")));
        assert_eq!(visits.settled(frames_to_agree), frames_to_agree == 1);
    }
}

#[test]
fn the_best_poor_look_is_used_when_no_good_one_comes_in_time() {
    let mut visits = Visits::default();
    follows(&mut visits, 0, 100.0, 100.0);
    let mut used = Vec::new();
    for (at, score) in
        [(0, 0.1), (67, 0.3), (134, 0.2), (268, 0.1), (335, 0.2), (402, 0.4), (700, 0.3)]
    {
        if let Use::Embed(look) = visits.offer(blurred(at, score)) {
            used.push((at, look.at));
        }
    }
    assert_eq!(used, [(335, ms(67)), (700, ms(402))]);
}

#[test]
fn a_good_look_replaces_the_looks_that_wait() {
    let mut visits = Visits::default();
    follows(&mut visits, 0, 100.0, 100.0);
    assert!(matches!(visits.offer(blurred(0, 0.9)), Use::SetAside));
    let Use::Embed(used) = visits.offer(good(67)) else { panic!() };
    assert_eq!(used.at, ms(67));
    assert!(matches!(visits.offer(blurred(300, 0.1)), Use::SetAside), "it waits again");
    let Use::Embed(used) = visits.offer(blurred(367, 0.05)) else { panic!() };
    assert_eq!(used.at, ms(300));
}

#[test]
fn a_face_of_another_person_in_the_same_place_begins_another_visit() {
    let (a, b) = (id("W001"), id("W002"));
    let mut visits = Visits::default();
    follows(&mut visits, 0, 100.0, 100.0);
    let mut embedded = |at, good, n, named| visits.embedded(ms(at), good, template(n), named);
    assert_eq!(embedded(0, true, 0, Some(&a)), 1);
    assert_eq!(embedded(67, false, 1, None), 1, "a poor look is unlike all others");
    assert_eq!(embedded(134, true, 0, None), 1);
    assert_eq!(embedded(201, true, 2, None), 2, "a good look that is unlike is another person");
    assert_eq!(embedded(268, true, 2, Some(&a)), 2);
    assert_eq!(embedded(335, true, 2, Some(&b)), 3, "another name, although alike");
    assert_eq!(embedded(402, true, 2, Some(&b)), 3);
    assert!(visits.settled(2));
}

#[test]
fn i8_a_long_visit_keeps_a_few_templates() {
    let mut visits = Visits::default();
    for n in 0..100 {
        follows(&mut visits, 67 * n, 100.0, 100.0);
        visits.embedded(ms(67 * n), true, template(0), None);
    }
    assert_eq!(visits.current.as_ref().unwrap().kept.len(), KEPT);
    visits.follow(ms(67 * 300), vec![]);
    assert!(visits.current.is_none(), "gone with the visit");
}

proptest! {
    /// For all inputs, the numbers of visits only rise, and a good look is always embedded.
    #[test]
    fn visits_only_rise(steps in prop::collection::vec(
        (0_u64..2000, prop::collection::vec((-1e9_f32..1e9, 1e-3_f32..1e6), 0..4), 0..4_usize, any::<bool>()),
        0..60,
    )) {
        let mut visits = Visits::default();
        let (mut now, mut before) = (0, 0);
        for (step, faces, person, is_good) in steps {
            now += step;
            let any = !faces.is_empty();
            let faces = faces.into_iter().map(|(x, w)| face(x, w)).collect();
            prop_assert_eq!(visits.follow(ms(now), faces).is_some(), any);
            if any && visits.wants(ms(now), 2) {
                let flaw = (!is_good).then_some(Flaw::TurnedAway);
                let name = (person > 1).then(|| id(&format!("W{person}")));
                if let Use::Embed(look) = visits.offer(look(now, 0.1, flaw)) {
                    prop_assert!(look.at <= ms(now));
                    visits.embedded(look.at, is_good, template(person), name.as_ref());
                } else {
                    prop_assert!(!is_good);
                }
            }
            prop_assert!(visits.number >= before);
            before = visits.number;
        }
    }
}

#[test]
fn the_mean_of_a_visit_is_of_good_looks_that_are_alike_and_of_no_other_person() {
    /// A look at a person, turned away from the person's photo by chance.
    fn look(person: usize, chance: usize, turned: f32) -> Template {
        let mut values = [0.0; TEMPLATE_LEN];
        (values[chance], values[person]) = turned.to_radians().sin_cos();
        Template::from_slice(&values).unwrap()
    }
    let same = MatchThreshold::new(0.45).unwrap();
    let (photo, mut visits) = (template(0), Visits::default());
    follows(&mut visits, 0, 100.0, 80.0);
    assert_eq!(visits.mean(&look(0, 10, 45.0), same), None, "no look before");
    visits.embedded(ms(0), true, look(0, 10, 45.0), None);
    let second = look(0, 11, 45.0);
    let mean = visits.mean(&second, same).unwrap();
    assert!(mean.cosine(&photo) > second.cosine(&photo) + 0.05, "{}", mean.cosine(&photo));
    // A poor look is kept by no visit, and the next person is averaged with no one.
    visits.embedded(ms(67), false, look(0, 12, 80.0), None);
    assert_eq!(visits.mean(&second, same), Some(mean));
    assert_eq!(visits.mean(&look(1, 10, 45.0), MatchThreshold::new(0.51).unwrap()), None);
    // A face that jumps begins another visit.
    follows(&mut visits, 134, 900.0, 80.0);
    assert_eq!(visits.mean(&second, same), None);
}

#[test]
fn a_visit_is_judged_by_the_looks_that_name_the_worker() {
    let mut visits = Visits::default();
    let mut look = |at, named: Option<&WorkerId>, score| {
        follows(&mut visits, at, 100.0, 100.0);
        visits.embedded(ms(at), false, template(1), named);
        visits.judge(Some(score), None).unwrap().score.value()
    };
    // A living face that is covered, and then a photo before it.
    for n in 0..10 {
        look(1000 + 67 * n, None, 0.99);
    }
    let worker = id("W001");
    assert_eq!(look(1700, Some(&worker), 0.01), 0.01);
    assert_eq!(look(1767, Some(&worker), 0.03), 0.01);
    assert_eq!(look(1834, Some(&worker), 0.5), 0.03);
}
