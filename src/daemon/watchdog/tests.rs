use super::*;
use crate::clock::{Clock, ManualClock};

#[test]
fn the_watchdog_is_not_fed_while_a_part_is_late() {
    let clock = Arc::new(ManualClock::new(0, true));
    let beats = Heartbeats::new(clock.clone() as Arc<dyn Clock>, Duration::from_secs(15));
    let (lane, store) = (beats.part("lane north"), beats.part("store"));
    let mut lateness = Lateness::default();
    assert!(lateness.look(&beats.late()));
    clock.advance(Duration::from_secs(16));
    lane.beat();
    assert!(!lateness.look(&beats.late()));
    assert_eq!(lateness.0, BTreeSet::from(["store".to_owned()]));
    store.beat();
    assert!(lateness.look(&beats.late()));
    assert_eq!(lateness.0, BTreeSet::new());
}
