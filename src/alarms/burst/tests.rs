use super::*;

fn at(second: u64) -> Monotonic {
    Monotonic::from_millis(second * 1000)
}

#[test]
fn enough_faces_within_the_time_are_a_burst_until_none_comes() {
    let mut burst = Burst::new(3, Duration::from_secs(60));
    assert_eq!(burst.look(at(1), 1), None);
    assert_eq!(burst.look(at(30), 2), None);
    assert_eq!(burst.look(at(60), 3), Some((at(1), 3)));
    assert_eq!(burst.look(at(70), 5), Some((at(1), 5)));
    assert_eq!(burst.look(at(129), 5), Some((at(1), 5)));
    assert_eq!(burst.look(at(130), 5), None);
    // Faces of the earlier burst do not count again.
    assert_eq!(burst.look(at(131), 7), None);
    assert_eq!(burst.look(at(132), 8), Some((at(131), 3)));
}

#[test]
fn single_faces_now_and_then_are_no_burst_and_many_at_once_are_all_counted() {
    let mut burst = Burst::new(3, Duration::from_secs(60));
    let found = (0..100).find_map(|n| burst.look(at(n * 31), n));
    assert_eq!(found, None);
    assert_eq!(burst.look(at(10_000), 1_000_099), Some((at(10_000), 1_000_000)));
    assert_eq!(burst.latest.len(), 3);
}
