use super::*;

fn of(ms: &[u64]) -> Spread {
    let histogram = Histogram::default();
    for ms in ms {
        histogram.observe(Duration::from_millis(*ms));
    }
    histogram.spread()
}

#[test]
fn a_bound_belongs_to_its_bucket_and_every_duration_is_counted() {
    let spread = of(&[0, 1, 2, 5000, 5001, 1_000_000]);
    assert_eq!(spread.buckets.first(), Some(&(0.001, 2)));
    assert_eq!(spread.buckets[1], (0.002, 1));
    assert_eq!(spread.buckets[18..], [(5.0, 1), (f64::INFINITY, 2)]);
    assert_eq!(spread.count(), 6);
    assert!((spread.sum_s - 1010.004).abs() < 1e-9);
}

#[test]
fn quantiles_lie_in_the_bucket_of_their_rank() {
    assert_eq!((of(&[]).quantile_s(0.99), of(&[]).mean_s()), (None, None));
    let spread = of(&[vec![15; 90], vec![400; 10]].concat());
    assert_eq!(spread.mean_s(), Some(0.0535));
    let p50 = spread.quantile_s(0.5).unwrap();
    assert!((0.01..0.02).contains(&p50), "{p50}");
    let p99 = spread.quantile_s(0.99).unwrap();
    assert!((0.3..0.5).contains(&p99), "{p99}");
    assert_eq!(of(&[60_000]).quantile_s(0.5), Some(5.0));
}
