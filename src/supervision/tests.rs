use super::*;
use crate::clock::ManualClock;

#[test]
fn a_part_without_a_heartbeat_is_late_until_its_next_one() {
    let clock = Arc::new(ManualClock::new(0, true));
    let beats = Heartbeats::new(clock.clone(), Duration::from_secs(15));
    let (store, vision) = (beats.part("store"), beats.part("vision 0"));
    let begun = clock.monotonic();
    clock.advance(Duration::from_secs(15));
    assert_eq!(beats.late(), []);
    vision.beat();
    clock.advance(Duration::from_millis(1));
    assert_eq!(beats.late(), [Late { part: "store".to_owned(), since: begun }]);
    store.beat();
    assert_eq!(beats.late(), []);
    clock.advance(Duration::from_secs(16));
    assert_eq!(beats.late().len(), 2);
}

#[test]
fn the_pause_doubles_up_to_its_cap_and_is_short_again_after_a_long_run() {
    let mut backoff = Backoff::default();
    let pauses: Vec<_> =
        (0..10).map(|_| backoff.after(Duration::from_secs(59)).as_millis()).collect();
    assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    assert_eq!(backoff.after(HELD).as_millis(), 200);
    assert_eq!(backoff.after(Duration::ZERO).as_millis(), 400);
}

#[tokio::test]
async fn a_panic_is_caught_with_its_message() {
    assert_eq!(caught(async { 5 }).await, Ok(5));
    let fault = caught(async { panic!("no {}", "way") }).await;
    let fault: Panicked = fault.map(|(): ()| ()).unwrap_err();
    assert_eq!(fault.to_string(), "a fault in this program: no way; please report this");
}

#[test]
fn the_pauses_of_a_refused_login_grow_to_ten_minutes() {
    let mut refusals = Refusals::default();
    let minutes: Vec<u64> = (0..6).map(|_| refusals.refused().as_secs() / 60).collect();
    assert_eq!(minutes, [1, 2, 4, 8, 10, 10]);
    refusals.over();
    assert_eq!(refusals.refused(), *LOGIN_PAUSES.start());
}
