//! The Modbus driver with a slave of another project (pymodbus). Our own slave might repeat a
//! mistake of our driver. `tests/run` installs the Python that this needs.

use std::{sync::Arc, time::Duration};

use gatehouse::{
    clock::{Clock, SystemClock},
    config::{Direction, TurnstileDriver},
    turnstile::{
        Buses, PassageId, Release, TurnstileEvent, TurnstileHandle, drivers::modbus_rtu::ModbusRtu,
        settings::SerialLine, spawn,
    },
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::common::Slave;

const PULSE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(120);

fn driver(port: &str, pulse: Duration) -> TurnstileDriver {
    TurnstileDriver::ModbusRtu(ModbusRtu {
        line: SerialLine { port: port.into(), baud: 9600 },
        address: 1,
        release_coil: [3, 5],
        passage_input: Some([9, 2]),
        fire_input: None,
        pulse,
    })
}

/// Returns its next event that is no level of a passage input.
async fn event(handle: &mut TurnstileHandle) -> TurnstileEvent {
    loop {
        let event = timeout(SOON, handle.events.recv()).await.expect("an event");
        match event.expect("a task") {
            TurnstileEvent::Sensor { .. } => {}
            event => return event,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pymodbus_sees_the_pulse_and_its_inputs_are_passages() {
    let mut peer = Slave::start(&[]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let cancel = CancellationToken::new();
    let (driver, buses) = (driver(&peer.port(), PULSE), Buses::new(clock.clone()));
    let (mut handle, task) = spawn(&driver, "north", &buses, clock.clone(), cancel.clone(), false);
    assert_eq!(event(&mut handle).await, TurnstileEvent::Up { withdrawn: vec![] });
    let ways = [(Direction::Entry, 3, 9), (Direction::Exit, 5, 2)];
    for (direction, coil, input) in ways {
        let passage = PassageId::random().unwrap();
        let deadline = clock.monotonic() + SOON;
        handle.releases.send(Release { passage, direction, deadline }).await.unwrap();
        match event(&mut handle).await {
            TurnstileEvent::Released { passage: p, .. } => assert_eq!(p, passage),
            other => panic!("{other:?}"),
        }
        assert_eq!(peer.line(), format!("coil {coil} on"));
        assert_eq!(peer.command(&format!("input {input} on")), [""; 0]);
        match event(&mut handle).await {
            TurnstileEvent::Passed { direction: d, .. } => assert_eq!(d, direction),
            other => panic!("{other:?}"),
        }
        assert_eq!(peer.line(), format!("coil {coil} off"));
        peer.command(&format!("input {input} off"));
    }
    let state = handle.state.borrow().clone();
    assert_eq!((state.releases, state.passages, state.errors), (2, 2, 0), "{state:?}");
    cancel.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_boards_of_pymodbus_share_a_line() {
    let mut peer = Slave::start(&["--second"]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let cancel = CancellationToken::new();
    let buses = Buses::new(clock.clone());
    let mut lanes = Vec::new();
    for (address, name) in [(1, ""), (2, "2:")] {
        let TurnstileDriver::ModbusRtu(mut config) = driver(&peer.port(), PULSE) else {
            unreachable!()
        };
        config.address = address;
        let driver = TurnstileDriver::ModbusRtu(config);
        let (mut handle, task) =
            spawn(&driver, "lane", &buses, clock.clone(), cancel.clone(), false);
        assert_eq!(event(&mut handle).await, TurnstileEvent::Up { withdrawn: vec![] });
        lanes.push((handle, task, name));
    }
    for (handle, _, name) in &mut lanes {
        let passage = PassageId::random().unwrap();
        let deadline = clock.monotonic() + SOON;
        let release = Release { passage, direction: Direction::Entry, deadline };
        handle.releases.send(release).await.unwrap();
        assert!(matches!(event(handle).await, TurnstileEvent::Released { .. }));
        assert_eq!(peer.line(), format!("coil {name}3 on"));
        peer.command(&format!("input {name}9 on"));
        match event(handle).await {
            TurnstileEvent::Passed { direction, .. } => assert_eq!(direction, Direction::Entry),
            other => panic!("{other:?}"),
        }
        assert_eq!(peer.line(), format!("coil {name}3 off"));
    }
    cancel.cancel();
    for (handle, task, _) in lanes {
        timeout(SOON, task).await.unwrap().unwrap();
        let state = handle.state.borrow().clone();
        assert_eq!((state.releases, state.passages, state.errors), (1, 1, 0), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coil_left_on_is_withdrawn_and_a_pulled_cable_comes_back() {
    let mut peer = Slave::start(&["--coil-on", "5"]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let cancel = CancellationToken::new();
    // The pulse is long enough to pull the cable within it.
    let driver = driver(&peer.port(), Duration::from_secs(3));
    let buses = Buses::new(clock.clone());
    let (mut handle, task) = spawn(&driver, "north", &buses, clock.clone(), cancel.clone(), false);
    assert_eq!(event(&mut handle).await, TurnstileEvent::Up { withdrawn: vec![Direction::Exit] });
    assert_eq!(peer.line(), "coil 5 off");
    // The cable is pulled within a pulse, so the coil stays on until the cable is repaired.
    let deadline = clock.monotonic() + SOON;
    let release = Release { passage: PassageId([7; 16]), direction: Direction::Entry, deadline };
    handle.releases.send(release).await.unwrap();
    assert!(matches!(event(&mut handle).await, TurnstileEvent::Released { .. }));
    assert_eq!(peer.line(), "coil 3 on");
    peer.command("cut");
    match event(&mut handle).await {
        TurnstileEvent::Down { error } => {
            assert!(
                error.contains(&format!("no answer from address 1 on {}", peer.port())),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    peer.command("mend");
    assert_eq!(event(&mut handle).await, TurnstileEvent::Up { withdrawn: vec![Direction::Entry] });
    assert_eq!(peer.line(), "coil 3 off");
    cancel.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_coil_number_is_refused_and_named() {
    let peer = Slave::start(&[]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let TurnstileDriver::ModbusRtu(mut config) = driver(&peer.port(), PULSE) else {
        unreachable!()
    };
    config.release_coil = [30, 31];
    let cancel = CancellationToken::new();
    let driver = TurnstileDriver::ModbusRtu(config);
    let buses = Buses::new(clock.clone());
    let (mut handle, task) = spawn(&driver, "north", &buses, clock, cancel.clone(), false);
    match event(&mut handle).await {
        TurnstileEvent::Down { error } => {
            assert!(error.contains("refuses to read coils (exception 02)"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    cancel.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
}
