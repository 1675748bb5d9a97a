use super::*;

#[test]
fn the_slowest_commit_is_forgotten_after_a_minute_or_two() {
    let at = |s: u64| Monotonic::from_millis(s * 1000);
    let ms = Duration::from_millis;
    let mut slowest = Slowest::default();
    slowest.add(at(100), ms(900));
    slowest.add(at(110), ms(5));
    assert_eq!(slowest.get(at(159)), ms(900));
    slowest.add(at(165), ms(7));
    assert_eq!(slowest.get(at(170)), ms(900));
    slowest.add(at(230), ms(6));
    assert_eq!(slowest.get(at(231)), ms(7));
    assert_eq!(slowest.get(at(400)), Duration::ZERO);
}
