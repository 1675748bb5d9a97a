//! Which frames are looked at, and which are searched.

use super::*;

fn luma() -> Luma {
    Luma { width: 80, height: 60, values: vec![90; 80 * 60] }
}

/// Returns the number of glances in 12 s. The camera sends a frame every `every` milliseconds, each
/// a bit before or after its time.
fn looks(every: u64) -> usize {
    let mut watch = Watch::default();
    let sent = (0..12_000 / every).map(|n| n * every + 100 + n * 7 % 11);
    sent.filter(|ms| {
        let now = Monotonic::from_millis(*ms);
        let due = watch.due_in(now).is_zero();
        if due {
            watch.looked(now);
        }
        due
    })
    .count()
}

#[test]
fn a_slow_camera_loses_no_frame_and_a_fast_one_is_looked_at_fifteen_times_a_second() {
    assert_eq!((looks(200), looks(100), looks(68)), (60, 120, 12_000 / 68));
    for every in [10, 17, 33, 40, 50, 60] {
        assert!((170..=184).contains(&looks(every)), "{every}: {}", looks(every));
    }
}

#[test]
fn after_a_pause_there_are_no_extra_looks() {
    let mut watch = Watch::default();
    for ms in [0, 60_000, 60_050, 60_090] {
        let now = Monotonic::from_millis(ms);
        assert_eq!(watch.due_in(now).is_zero(), ms < 60_090, "{ms}");
        watch.looked(now);
    }
}

#[test]
fn after_a_face_each_frame_is_searched_for_two_seconds() {
    let mut watch = Watch::default();
    let glance = |watch: &mut Watch, ms| {
        let at = Monotonic::from_millis(ms);
        let glance = watch.glance(at, &luma(), 2);
        if glance == Glance::Search {
            watch.searched(at, ms == 1000);
        }
        glance
    };
    assert_eq!(glance(&mut watch, 1000), Glance::Search, "the first frame");
    for ms in (1067..3000).step_by(67) {
        assert_eq!(glance(&mut watch, ms), Glance::Search, "{ms}");
    }
    for ms in (3010..4900).step_by(67) {
        assert_eq!(glance(&mut watch, ms), Glance::Unchanged, "{ms}");
    }
    assert_eq!(glance(&mut watch, 5010), Glance::Search);
}

#[test]
fn a_picture_of_one_grey_is_plain_also_with_a_clock_in_it_and_is_searched() {
    let mut watch = Watch::default();
    let mut blind = |ms, change: &dyn Fn(&mut Luma)| {
        let mut luma = luma();
        change(&mut luma);
        let glance = watch.glance(Monotonic::from_millis(ms), &luma, 2);
        (watch.blind, glance == Glance::Blind)
    };
    assert_eq!(blind(0, &|_| {}), (Some(Blind::Plain), false));
    let clock = |luma: &mut Luma| luma.values[100..300].fill(255);
    assert_eq!(blind(100, &clock), (Some(Blind::Plain), false));
    let noise = |luma: &mut Luma| luma.values.iter_mut().step_by(3).for_each(|value| *value += 9);
    assert_eq!(blind(200, &noise), (Some(Blind::Plain), false));
    let scene = |luma: &mut Luma| luma.values[..1000].fill(140);
    assert_eq!(blind(300, &scene), (None, false));
    assert_eq!(blind(400, &|luma| luma.values.fill(20)), (Some(Blind::Black), true));
    assert_eq!(blind(500, &|luma| luma.values.clear()), (Some(Blind::Black), true));
}
