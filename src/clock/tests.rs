use super::*;

#[test]
fn the_system_clock_moves_forward_and_knows_its_boot() {
    let clock = SystemClock::new().unwrap();
    let (a, b) = (clock.monotonic(), clock.monotonic());
    assert!(b >= a && a.as_millis() > 0);
    let stamp = clock.stamp();
    assert_ne!(stamp.boot.0, [0; 16]);
    assert!(stamp.timestamp().to_string().starts_with("20"), "{stamp:?}");
}

#[test]
fn an_earlier_instant_is_never_in_the_future() {
    let (a, b) = (Monotonic::from_millis(5), Monotonic::from_millis(9));
    assert_eq!(b - a, Duration::from_millis(4));
    assert_eq!(a - b, Duration::ZERO);
}

#[test]
fn i9_a_step_and_the_coming_and_going_of_trust_are_told_once_each() {
    let clock = ManualClock::new(1_000_000, false);
    let mut watch = ClockWatch::new(clock.stamp(), false);
    let look = |watch: &mut ClockWatch, after_s: u64| {
        clock.advance(Duration::from_secs(after_s));
        watch.look(clock.stamp()).map(|c| (c.what, c.moved_ms, c.booted_at_ms))
    };
    assert_eq!(look(&mut watch, 1), None);
    // Set an hour ahead, and still not trusted.
    clock.set(clock.stamp().wall_ms + 3_600_000, false);
    assert_eq!(look(&mut watch, 1), Some((ClockWhat::Stepped, 3_600_000, None)));
    assert_eq!(look(&mut watch, 61), None);
    // Chrony steps it and calls it good: one entry, which dates the whole boot.
    clock.set(clock.stamp().wall_ms - 600_000, true);
    let booted_at = clock.stamp().wall_ms - clock.stamp().uptime_ms as i64;
    let good = Some((ClockWhat::Synchronised, -600_000, Some(booted_at)));
    assert_eq!(look(&mut watch, 1), good);
    assert_eq!(look(&mut watch, 1), None);
    clock.set(clock.stamp().wall_ms, false);
    // Told once the minute since the last one is over.
    assert_eq!(look(&mut watch, 1), None);
    assert_eq!(look(&mut watch, 60), Some((ClockWhat::Unsynchronised, 0, None)));
}

#[test]
fn a_restart_goes_on_where_this_boots_clock_was_told_of() {
    let clock = ManualClock::new(1_000_000, true);
    let mut watch = ClockWatch::new(clock.stamp(), false);
    assert_eq!(watch.look(clock.stamp()).unwrap().what, ClockWhat::Synchronised);
    let told = watch.told(clock.stamp());
    // It is set while the daemon is away.
    clock.set(1_005_000, true);
    let mut again = ClockWatch::resumed(clock.stamp(), Some(&told));
    let change = again.look(clock.stamp()).unwrap();
    assert_eq!((change.what, change.moved_ms), (ClockWhat::Stepped, 5_000));
    let other_boot = Stamp { boot: BootId([8; 16]), ..clock.stamp() };
    for told in [Some(&told[..]), Some(b"?"), None] {
        let change = ClockWatch::resumed(other_boot, told).look(other_boot).unwrap();
        assert_eq!((change.what, change.moved_ms), (ClockWhat::Synchronised, 0));
    }
}

#[test]
fn a_clock_that_flaps_is_told_once_a_minute() {
    let clock = ManualClock::new(1_000_000, true);
    let mut watch = ClockWatch::new(clock.stamp(), true);
    let mut told = 0;
    for second in 0..600 {
        clock.advance(Duration::from_secs(1));
        clock.set(clock.stamp().wall_ms, second % 2 == 0);
        told += usize::from(watch.look(clock.stamp()).is_some());
    }
    assert!((5..=10).contains(&told), "{told}");
}
