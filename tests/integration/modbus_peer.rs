//! The Modbus driver with a slave of another project (pymodbus). Our own slave might repeat a
//! mistake of our driver. `tests/run` installs the Python that this needs.

use std::{sync::Arc, time::Duration};

use gatehouse::{
    clock::{Clock, SystemClock},
    config::{Direction, TurnstileDriver},
    turnstile::{
        Buses, PassageId, Release, TurnstileEvent, TurnstileHandle, TurnstileState,
        drivers::modbus_rtu::ModbusRtu, settings::SerialLine, spawn,
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
        guard_button: [None; 2],
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
            let said = "refuses to read coils 30 to 31 (exception 02): the board has no such coil";
            assert!(error.contains(said), "{error}");
        }
        other => panic!("{other:?}"),
    }
    cancel.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
}

/// A lane at pymodbus, connected.
struct Lane {
    peer: Slave,
    clock: Arc<dyn Clock>,
    handle: TurnstileHandle,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Lane {
    async fn up(arguments: &[&str]) -> Lane {
        let peer = Slave::start(arguments);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let cancel = CancellationToken::new();
        let (driver, buses) = (driver(&peer.port(), PULSE), Buses::new(clock.clone()));
        let (mut handle, task) =
            spawn(&driver, "north", &buses, clock.clone(), cancel.clone(), false);
        assert_eq!(event(&mut handle).await, TurnstileEvent::Up { withdrawn: vec![] });
        Lane { peer, clock, handle, cancel, task }
    }

    async fn release(&mut self, direction: Direction) -> TurnstileEvent {
        let passage = PassageId::random().unwrap();
        let deadline = self.clock.monotonic() + SOON;
        self.handle.releases.send(Release { passage, direction, deadline }).await.unwrap();
        event(&mut self.handle).await
    }

    async fn state(&mut self, is: impl FnMut(&TurnstileState) -> bool) -> TurnstileState {
        let state = timeout(SOON, self.handle.state.wait_for(is)).await;
        state.expect("in time").expect("a task").clone()
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(SOON, self.task).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_board_is_asked_again_and_the_line_stays_up() {
    let mut lane = Lane::up(&[]).await;
    for code in [5, 6] {
        for function in [1, 2, 5] {
            lane.peer.command(&format!("refuse {function} {code} 3"));
        }
        let answer = lane.release(Direction::Exit).await;
        assert!(matches!(answer, TurnstileEvent::Released { .. }), "{answer:?}");
        assert_eq!(lane.peer.line(), "coil 5 on");
        assert_eq!(lane.peer.line(), "coil 5 off");
    }
    assert_eq!(lane.handle.state.borrow().errors, 0);
    lane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_without_discrete_inputs_is_named_with_the_key_to_set() {
    let mut lane = Lane::up(&[]).await;
    lane.peer.command("refuse 2 1 1000000");
    match event(&mut lane.handle).await {
        TurnstileEvent::Down { error } => {
            assert!(error.contains("no discrete inputs (FC02): set passage_input"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    lane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapters_echo_is_never_the_boards_word() {
    let mut lane = Lane::up(&["--echo"]).await;
    let answer = lane.release(Direction::Entry).await;
    assert!(matches!(answer, TurnstileEvent::Released { .. }), "{answer:?}");
    assert_eq!(lane.peer.line(), "coil 3 on");
    assert_eq!(lane.peer.line(), "coil 3 off");
    // The board refuses, and the adapter echoes the frame that would be its consent.
    lane.peer.command("refuse 5 2 1");
    match lane.release(Direction::Entry).await {
        TurnstileEvent::NotReleased { may_have_released, why, .. } => {
            assert!(!may_have_released, "{why:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(event(&mut lane.handle).await, TurnstileEvent::Down { .. }));
    assert_eq!(event(&mut lane.handle).await, TurnstileEvent::Up { withdrawn: vec![] });
    // The board loses its power. Only the echo comes.
    lane.peer.command("cut");
    let passage = PassageId::random().unwrap();
    let deadline = lane.clock.monotonic() + SOON;
    let release = Release { passage, direction: Direction::Entry, deadline };
    lane.handle.releases.send(release).await.unwrap();
    let (mut refused, mut down) = (false, false);
    while !(refused && down) {
        match event(&mut lane.handle).await {
            TurnstileEvent::NotReleased { .. } => refused = true,
            TurnstileEvent::Down { error } => {
                assert!(error.contains("within 300 ms but the adapter's own echo"), "{error}");
                down = true;
            }
            other => panic!("{other:?}"),
        }
    }
    lane.peer.command("mend");
    assert_eq!(event(&mut lane.handle).await, TurnstileEvent::Up { withdrawn: vec![] });
    lane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coil_switched_on_by_another_hand_is_withdrawn_once_and_then_left_and_named() {
    let mut lane = Lane::up(&[]).await;
    for coil in [3, 5] {
        lane.peer.command(&format!("coil {coil} on"));
    }
    let mut off = [lane.peer.line(), lane.peer.line()];
    off.sort();
    assert_eq!(off, ["coil 3 off", "coil 5 off"]);
    let state = lane.state(|state| state.foreign_releases == 2).await;
    assert_eq!(state.foreign, []);
    assert!(state.last_error.unwrap().contains("is on, and this gateway has not switched it on"));
    // They come back, and are left.
    for coil in [3, 5] {
        lane.peer.command(&format!("coil {coil} on"));
    }
    let state = lane.state(|state| state.foreign.len() == 2).await;
    let named: Vec<_> = state.foreign.iter().map(|hold| (hold.direction, &hold.output)).collect();
    let output = |coil| format!("coil {coil} of address 1 on {}", lane.peer.port());
    let (entry, exit) = (output(3), output(5));
    assert_eq!(named, [(Direction::Entry, &entry), (Direction::Exit, &exit)]);
    // A release needs no command: the arm is open. No pulse switches the other hand's coil off.
    let answer = lane.release(Direction::Entry).await;
    assert!(matches!(answer, TurnstileEvent::Released { .. }), "{answer:?}");
    lane.peer.command("input 9 on");
    let passed = event(&mut lane.handle).await;
    assert!(
        matches!(passed, TurnstileEvent::Passed { direction: Direction::Entry, .. }),
        "{passed:?}"
    );
    lane.peer.command("input 9 off");
    // The connection is lost and comes back: the coils are still the other hand's.
    lane.peer.command("cut");
    assert!(matches!(event(&mut lane.handle).await, TurnstileEvent::Down { .. }));
    lane.peer.command("mend");
    assert_eq!(event(&mut lane.handle).await, TurnstileEvent::Up { withdrawn: vec![] });
    assert_eq!(lane.peer.command("coil 3 off"), [""; 0], "no coil was switched");
    let state = lane.state(|state| state.foreign.len() == 1).await;
    assert_eq!(state.foreign[0].direction, Direction::Exit);
    assert_eq!(lane.peer.command("coil 5 off"), [""; 0], "no coil was switched");
    lane.state(|state| state.foreign.is_empty()).await;
    // Releases work as before.
    let answer = lane.release(Direction::Exit).await;
    assert!(matches!(answer, TurnstileEvent::Released { .. }), "{answer:?}");
    assert_eq!(lane.peer.line(), "coil 5 on");
    assert_eq!(lane.peer.line(), "coil 5 off");
    lane.stop().await;
}
