use super::*;

fn at(s: u64) -> Monotonic {
    Monotonic::from_millis(s * 1000)
}

/// A sign of a lane that ends at this second.
fn sign(alarms: &mut FireAlarms, lane: &str, s: u64, lasted_ms: Option<u64>) {
    assert!(alarms.ring(lane));
    assert!(alarms.end(lane, at(s), lasted_ms.map(Duration::from_millis)));
}

#[test]
fn the_first_short_sign_in_ten_minutes_is_a_glitch_and_a_second_one_is_not() {
    let mut alarms = FireAlarms::default();
    sign(&mut alarms, "north", 1000, Some(60));
    assert_eq!(alarms.glitch(), None, "not before it is over for good");
    assert!(alarms.quiet("north"));
    let (glitch, lane) = alarms.glitch().unwrap();
    assert_eq!((glitch.times, glitch.healed, lane), (1, true, "north"));
    assert!(!alarms.quiet("north"), "once");
    sign(&mut alarms, "north", 1599, Some(60));
    assert!(!alarms.quiet("north"));
    assert_eq!(alarms.glitch(), None);
    assert_eq!(alarms.short_sign("north").unwrap().times, 2);
    // Ten minutes begin with the latest short sign.
    sign(&mut alarms, "north", 2198, Some(60));
    assert!(!alarms.quiet("north"));
    sign(&mut alarms, "north", 2798, Some(60));
    assert!(alarms.quiet("north"));
    assert_eq!(alarms.short_sign("north").unwrap().times, 1);
}

#[test]
fn a_long_sign_or_one_of_unknown_length_is_no_glitch_and_not_counted_as_short() {
    let mut alarms = FireAlarms::default();
    for lasted in [Some(200), Some(300), None] {
        sign(&mut alarms, "north", 100, lasted);
        assert!(!alarms.quiet("north"), "{lasted:?}");
        assert_eq!(alarms.short_sign("north"), None);
    }
    sign(&mut alarms, "north", 101, Some(199));
    assert!(alarms.quiet("north"));
}

#[test]
fn a_short_sign_beside_a_sign_at_another_lane_is_no_glitch() {
    // The other input is still on.
    let mut alarms = FireAlarms::default();
    alarms.ring("south");
    sign(&mut alarms, "north", 100, Some(60));
    assert!(!alarms.quiet("north"));
    // The other input went on after the end of the sign.
    let mut alarms = FireAlarms::default();
    sign(&mut alarms, "north", 100, Some(60));
    sign(&mut alarms, "south", 102, Some(1_000));
    assert!(!alarms.quiet("north"));
    // A panel that speaks at two inputs at once.
    let mut alarms = FireAlarms::default();
    alarms.ring("north");
    alarms.ring("south");
    alarms.end("north", at(100), Some(Duration::from_millis(60)));
    alarms.end("south", at(100), Some(Duration::from_millis(60)));
    assert!(!alarms.quiet("north") && !alarms.quiet("south"));
    assert_eq!(alarms.glitch(), None);
}

#[test]
fn a_short_sign_before_a_restart_counts() {
    let mut alarms = FireAlarms::default();
    alarms.recall("north", at(10));
    assert!(!alarms.quiet("north"));
    sign(&mut alarms, "north", 300, Some(60));
    assert!(!alarms.quiet("north"));
    assert_eq!(alarms.short_sign("north").unwrap().times, 2);
}
