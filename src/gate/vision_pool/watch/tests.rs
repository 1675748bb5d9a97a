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
