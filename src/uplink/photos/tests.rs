use super::*;

const MIB: usize = 1 << 20;

#[test]
fn photos_keep_to_the_amount_of_a_minute() {
    let begun = Monotonic::default();
    let (mut pace, mut now, mut sent) = (Pace::default(), begun, 0);
    // 100 KiB each, at 1 MiB a minute.
    while now.since(begun) < 10 * MINUTE {
        if pace.is_due(now) {
            pace.sent(100 << 10, 1024, now);
            sent += 100 << 10;
        }
        now = now + Duration::from_millis(100);
    }
    assert!((9 * MIB..=10 * MIB + (100 << 10)).contains(&sent), "{sent}");
    // A photo larger than the amount goes, and the next one waits for longer.
    pace.sent(3 * MIB, 1024, now);
    assert!(!pace.is_due(now + 2 * MINUTE) && pace.is_due(now + 3 * MINUTE));
}

#[test]
fn i14_a_photo_over_which_connections_end_waits_for_longer_each_time_and_is_left_out() {
    let mut now = Monotonic::default();
    let mut pace = Pace::default();
    let mut pauses = Vec::new();
    for seq in [4, 4, 4, 9, 9, 9, 9, 9] {
        pace.lost(seq, now);
        let begun = now;
        while !pace.is_due(now) {
            now = now + Duration::from_secs(30);
        }
        pauses.push(now.since(begun).as_secs() / 60);
        let given_up = pace.gives_up();
        assert_eq!(given_up.is_some(), pauses.len() == 3 || pauses.len() > 5, "{pauses:?}");
        assert!(given_up.is_none_or(|photo| photo == seq));
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    pace.acknowledged();
    assert_eq!(pace.gives_up(), None);
    pace.lost(4, now);
    assert!(pace.is_due(now + MINUTE));
}
