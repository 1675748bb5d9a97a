use super::*;
use crate::gate::passage::DECISION_LIFE;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Returns a box on which a look takes this time.
fn capacity(workers: usize, cameras: usize, frames_to_agree: u32, look: u64) -> Capacity {
    let capacity = Capacity::new(workers, cameras, frames_to_agree);
    capacity.observe(Monotonic::from_millis(1000), ms(look));
    capacity
}

#[test]
fn a_box_carries_as_many_cameras_as_it_has_time_for_at_the_start_of_a_shift() {
    for (workers, frames_to_agree, look, carries) in [
        (1, 2, 2100, 1),
        (1, 2, 2500, 1),
        (4, 2, 2501, 0),
        (2, 2, 2100, 2),
        (1, 3, 2100, 0),
        (1, 1, 2100, 2),
        (4, 2, 300, 33),
        (2, 2, 100, 50),
    ] {
        let capacity = capacity(workers, 1, frames_to_agree, look);
        assert_eq!(capacity.carries(ms(look)), carries, "{workers} {frames_to_agree} {look}");
    }
    assert!(capacity(4, 1, 2, 0).carries(Duration::ZERO) > 1000);
    assert!(LOOK_LIMIT < DECISION_LIFE);
}

#[test]
fn i6_a_slow_box_gives_its_problem_with_the_remedy() {
    let problem = |cameras, look| capacity(1, cameras, 2, look).too_slow();
    assert_eq!(problem(1, 2100), None);
    assert_eq!(
        problem(2, 2100).unwrap(),
        "too slow for 2 cameras: 2.1 s a face, so workers wait long: connect at most 1 camera, use a \
         faster board, or lower recognition.frames_to_agree"
    );
    let never = problem(1, 2700).unwrap();
    assert!(never.starts_with("too slow for 1 camera: 2.7 s a face."), "{never}");
    assert!(never.ends_with("use a faster board"), "{never}");
    assert_eq!(problem(0, 2700), None, "no camera");
    assert_eq!(Capacity::new(1, 8, 2).too_slow(), None, "no look was measured");
}

#[test]
fn a_slow_box_is_one_whose_usual_look_is_slow() {
    let capacity = Capacity::new(1, 1, 2);
    let mut observe = {
        let mut now = 0;
        let capacity = &capacity;
        move |look| {
            now += 1000;
            capacity.observe(Monotonic::from_millis(now), ms(look));
            (capacity.misses_decisions(), capacity.slow_since().map(Monotonic::as_millis))
        }
    };
    assert_eq!(observe(200), (false, None));
    assert_eq!(observe(200), (false, None));
    assert_eq!(observe(9000), (false, None), "one delayed look");
    assert_eq!(observe(200), (false, None));
    for _ in 0..2 {
        assert!(!observe(3000).0 || capacity.look() == Some(ms(3000)));
    }
    let (missed, since) = observe(3000);
    assert!(missed);
    assert_eq!(observe(3000), (true, since), "since the first time");
    let after = |ms: u64| capacity.is_due(Monotonic::from_millis(8000 + ms));
    assert_eq!((after(59_999), after(60_000)), (false, true), "it is measured again");
    for _ in 0..3 {
        observe(200);
    }
    assert_eq!(observe(200), (false, None), "well again");
    assert!(!capacity.is_due(Monotonic::from_millis(1_000_000)));
}

#[test]
fn timeouts_are_in_seconds_on_a_fast_box_and_in_looks_on_a_slow_one() {
    let fast = capacity(2, 8, 2, 100).pace(4);
    assert_eq!((fast.gap(), fast.gap_unsearched()), (GAP, GAP_UNSEARCHED));
    assert_eq!(Pace::default().next_sighting(), GAP);
    let alone = capacity(1, 1, 2, 2100).pace(4);
    assert_eq!((alone.gap(), alone.gap_unsearched()), (ms(4200), ms(4200)));
    // The other camera may have a turn of four looks.
    let shared = capacity(1, 2, 2, 2100).pace(4);
    assert_eq!((shared.gap(), shared.gap_unsearched()), (ms(4200), ms(12_600)));
    assert!(shared.next_sighting() > shared.gap_unsearched());
    assert!(alone.in_time(ms(400)) && !alone.in_time(ms(401)));
}
