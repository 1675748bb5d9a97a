use std::sync::Arc;

use super::*;
use crate::{
    clock::SystemClock,
    turnstile::{
        Buses, PassageId,
        settings::{SerialLine, Side},
    },
};

fn driver(entry_side: Side) -> CountingTurnstile {
    let line = SerialLine { port: PassageId([0; 16]).to_string().into(), baud: 9600 };
    let buses = Buses::new(Arc::new(SystemClock::new().unwrap()));
    CountingTurnstile::new(
        FramedBoard { line, address: 1, entry_side, pass_within: Duration::MAX },
        &Means::new(&buses),
    )
}

fn state(left: u32, right: u32) -> State {
    State { fault: 0, alarm: 0, left, right, infrared: 0 }
}

#[tokio::test]
async fn passages_are_the_increase_of_the_counters() {
    let mut driver = driver(Side::Left);
    let mut passed = |left, right| driver.count(&state(left, right)).0;
    assert_eq!(passed(COUNTER_MAX, 7), [], "the first poll");
    assert_eq!(passed(COUNTER_MAX, 7), []);
    assert_eq!(passed(1, 8), [Direction::Entry, Direction::Entry, Direction::Exit], "wrapped");
}

#[tokio::test]
async fn a_controller_that_restarts_reports_no_false_passages() {
    let mut driver = driver(Side::Right);
    driver.count(&state(500, 300));
    let (passed, remark) = driver.count(&state(0, 300));
    assert_eq!(passed, []);
    assert!(remark.unwrap().contains("from [300, 500] to [300, 0]: the controller"));
    assert_eq!(driver.count(&state(0, 301)).0, [Direction::Entry]);
    assert_eq!(driver.count(&state(17, 301)).0, [], "17 passages between two polls are a restart");
    assert_eq!(driver.count(&state(33, 301)).0, [Direction::Exit; 16]);
}

#[tokio::test]
async fn a_fault_or_alarm_is_reported_once() {
    let mut driver = driver(Side::Left);
    let alarm = State { alarm: 2, ..state(0, 0) };
    assert!(driver.trouble(&alarm).unwrap().contains("fault 00 and alarm 02"));
    assert_eq!(driver.trouble(&alarm), None);
    assert_eq!(driver.trouble(&state(0, 0)), None);
    assert!(driver.trouble(&alarm).is_some());
}
