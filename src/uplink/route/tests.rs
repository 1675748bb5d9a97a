use super::*;
use MqttVersion::{V4, V5};

#[test]
fn a_broker_that_refuses_5_is_spoken_to_in_3_1_1_from_then_on() {
    let mut route = Route::new(1, None);
    assert_eq!(route.next(), (0, V5));
    assert_eq!(route.went(ConnectOutcome::VersionInDoubt), Duration::ZERO);
    assert_eq!(route.next(), (0, V4));
    route.went(ConnectOutcome::Well);
    assert_eq!(route.next(), (0, V4));
    // It is gone, and who knows what comes back.
    route.went(ConnectOutcome::Nowhere);
    assert_eq!(route.next(), (0, V5));
    // It refuses both: another reason than the version, so both are tried each time.
    assert_eq!(route.went(ConnectOutcome::VersionInDoubt), Duration::ZERO);
    assert!(route.went(ConnectOutcome::VersionInDoubt) >= *PAUSES.start());
    assert_eq!(route.next(), (0, V5));
}

#[test]
fn a_version_that_is_configured_is_the_one() {
    let mut route = Route::new(1, Some(V5));
    assert!(route.went(ConnectOutcome::VersionInDoubt) > Duration::ZERO);
    assert_eq!(route.next(), (0, V5));
    assert_eq!(Route::new(1, Some(V4)).next(), (0, V4));
}

#[test]
fn the_brokers_of_a_list_are_tried_in_turn_and_the_pause_comes_after_the_last() {
    let mut route = Route::new(3, Some(V4));
    let mut rounds = Vec::new();
    for round in 0..9 {
        for (broker, is_last) in [(0, false), (1, false), (2, true)] {
            assert_eq!(route.next().0, broker);
            let pause = route.went(ConnectOutcome::Nowhere);
            assert!(is_last || pause == BETWEEN, "{round}");
            rounds.extend(is_last.then_some(pause));
        }
    }
    assert!(rounds.windows(2).all(|w| w[1] == (w[0] * 2).min(*PAUSES.end())), "{rounds:?}");
    assert_eq!(rounds[8], *PAUSES.end());
    // One that lets in and throws out again is left alone for longer and longer too.
    assert_eq!([ConnectOutcome::Up; 3].map(|how| route.went(how))[2], *PAUSES.end());
    route.went(ConnectOutcome::Well);
    assert_eq!([ConnectOutcome::Nowhere; 3].map(|how| route.went(how))[2], *PAUSES.start());
}
