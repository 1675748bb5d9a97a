use super::*;

#[test]
fn i8_the_least_recently_used_plan_is_dropped_and_made_again_when_needed() {
    let mut network = InferenceModel::default();
    network.add_source("picture", InferenceFact::default()).unwrap();
    network.auto_outputs().unwrap();
    let plans = Plans::new(network);
    let sizes = || -> Vec<u32> { plans.ready.lock().unwrap().iter().map(|r| r.width).collect() };
    for width in 1..=MAX_PLANS as u32 {
        plans.get(width, 32).unwrap();
    }
    let first = plans.get(1, 32).unwrap();
    assert_eq!(sizes(), [2, 3, 4, 5, 6, 7, 8, 1]);
    plans.get(9, 32).unwrap();
    assert_eq!(sizes(), [3, 4, 5, 6, 7, 8, 1, 9]);
    assert!(Arc::ptr_eq(&first, &plans.get(1, 32).unwrap()), "the first plan is kept");
    plans.get(2, 32).unwrap();
    assert_eq!(sizes(), [4, 5, 6, 7, 8, 9, 1, 2]);
}
