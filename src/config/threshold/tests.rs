use super::*;

/// Measured on held-out people: templates, share in percent at 0.45 and at 0.50, cosine for 0.3 %.
const MEASURED: [(usize, f64, f64, f64); 4] = [
    (250, 0.53, 0.05, 0.461),
    (750, 1.43, 0.13, 0.481),
    (1000, 2.03, 0.22, 0.491),
    (2694, 5.02, 0.53, 0.510),
];

#[test]
fn the_default_threshold_follows_the_measured_shares_of_strangers() {
    for (templates, at_45, at_50, cosine) in MEASURED {
        for (threshold, share) in [(0.45, at_45), (0.50, at_50)] {
            let expected = MatchThreshold(threshold).strangers(templates) * 100.0;
            assert!((expected / share).log2().abs() < 0.25, "{templates} {threshold}: {expected}");
        }
        let found = f64::from(Threshold::ByRoster.in_force(templates).cosine());
        assert!((-1e-6..0.005).contains(&(found - cosine)), "{templates}: {found}");
    }
}

#[test]
fn the_default_threshold_rises_with_the_roster_and_never_lets_in_more_than_its_share() {
    let mut before: f32 = 0.45;
    for templates in (0..60_000).step_by(7) {
        let threshold = Threshold::ByRoster.in_force(templates);
        assert!(threshold.cosine() >= before, "{templates}: {threshold:?}");
        assert!(threshold.cosine() < 0.6, "{templates}: {threshold:?}");
        assert!(threshold.strangers(templates) <= STRANGERS * 1.0001, "{templates}: {threshold:?}");
        assert_eq!(Threshold::Fixed(threshold).too_low(templates), None, "{templates}");
        before = threshold.cosine();
    }
}

#[test]
fn a_fixed_threshold_stays_and_is_too_low_for_a_roster_that_outgrows_it() {
    let fixed = Threshold::Fixed(MatchThreshold(0.45));
    assert_eq!(fixed.in_force(100_000).cosine(), 0.45);
    assert_eq!(fixed.too_low(150), None);
    assert!((fixed.too_low(250).unwrap() - 0.005).abs() < 1e-6);
    assert_eq!(Threshold::ByRoster.too_low(1_000_000), None);
    assert_eq!(fixed.too_low(usize::MAX), Some(1.0));
}
