use super::*;

fn passages(starting: bool, levels: &[u8]) -> usize {
    let mut sensor = Sensor::starting(starting);
    levels.iter().filter(|level| sensor.passed(**level == 1)).count()
}

#[test]
fn a_sensor_counts_a_passage_once() {
    assert_eq!(passages(false, &[0, 1, 1, 1, 0, 0, 0, 1, 0]), 2);
    assert_eq!(passages(false, &[1, 0, 1, 0, 1, 0, 0]), 1, "a contact that chatters");
    assert_eq!(passages(true, &[1, 1, 0, 1, 0, 0, 1]), 1, "on from the start");
    assert_eq!(passages(false, &[0, 0, 0]), 0);
}
