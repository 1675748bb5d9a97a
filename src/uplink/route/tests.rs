use super::*;
use MqttVersion::{V4, V5};

#[test]
fn a_broker_that_refuses_5_gets_3_1_1_until_it_is_unreachable() {
    let mut route = Route::new(1, None);
    assert_eq!(route.next(), (0, V5));
    assert_eq!(route.went(ConnectOutcome::VersionRefused), Duration::ZERO);
    assert_eq!(route.next(), (0, V4));
    route.went(ConnectOutcome::Well);
    assert_eq!(route.next(), (0, V4));
    // It is unreachable, and may come back with another version.
    route.went(ConnectOutcome::Nowhere);
    assert_eq!(route.next(), (0, V5));
    // It refuses both, so the version is not the reason. Both are tried each time.
    assert_eq!(route.went(ConnectOutcome::VersionRefused), Duration::ZERO);
    assert!(route.went(ConnectOutcome::VersionRefused) >= *PAUSES.start());
    assert_eq!(route.next(), (0, V5));
}

#[test]
fn a_configured_version_is_the_only_one_tried() {
    let mut route = Route::new(1, Some(V5));
    assert!(route.went(ConnectOutcome::VersionRefused) > Duration::ZERO);
    assert_eq!(route.next(), (0, V5));
    assert_eq!(Route::new(1, Some(V4)).next(), (0, V4));
}

#[test]
fn the_brokers_of_a_list_are_tried_in_turn_with_a_pause_after_the_last() {
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
    // The pause also grows for a broker that accepts a connection and ends it at once.
    assert_eq!([ConnectOutcome::Up; 3].map(|how| route.went(how))[2], *PAUSES.end());
    route.went(ConnectOutcome::Well);
    assert_eq!([ConnectOutcome::Nowhere; 3].map(|how| route.went(how))[2], *PAUSES.start());
}
