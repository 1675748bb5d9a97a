//! Controllers and adapters as they really are: adapters that echo, boards that are busy or answer in
//! their own way, and coils that another hand switches.

use std::sync::atomic::AtomicU64;

use gatehouse::turnstile::drivers::modbus_rtu::{ModbusRtu, ModbusTurnstile};

use super::*;
use crate::turnstile::{Ahead, connect, modbus};

/// The functions of Modbus that the driver uses.
const COILS: u8 = 1;
const INPUTS: u8 = 2;
const WRITE: u8 = 5;
const ACKNOWLEDGE: u8 = 5;
const BUSY: u8 = 6;

/// A board and its driver, step by step.
struct Steps {
    clock: Arc<dyn Clock>,
    device: SimulatedDevice,
    driver: ModbusTurnstile,
}

impl Steps {
    async fn connected(coils: [u16; 2]) -> Steps {
        let clock = clock();
        let bus = simulated(line(Protocol::ModbusRtu, 1, None), &clock);
        let device = bus.device(1).unwrap();
        let config =
            ModbusRtu { release_coil: coils, ..ModbusRtu::usual(device.line(), device.address()) };
        let mut driver = modbus(config, &clock);
        assert_eq!(connect(&mut driver).await.unwrap(), []);
        Steps { clock, device, driver }
    }

    async fn release(
        &mut self,
        direction: Direction,
        within: Duration,
    ) -> Result<(), TurnstileError> {
        let deadline = self.clock.monotonic() + within;
        self.driver.release(direction, deadline).await
    }
}

#[tokio::test]
async fn an_adapter_that_echoes_serves_each_protocol_on_a_shared_line() {
    for protocol in Protocol::all() {
        let mut line = Line::with_adapter(protocol, 3, WALKS, true).await;
        for direction in Direction::BOTH {
            for lane in &mut line.lanes {
                lane.released(direction).await;
                if protocol.confirms_passage() {
                    assert_eq!(lane.passed().await, direction, "{protocol:?}");
                }
            }
        }
        for lane in line.lanes {
            let state = lane.handle.state.borrow().clone();
            assert_eq!((state.releases, state.errors), (2, 0), "{protocol:?}: {state:?}");
            until(|| lane.device.releases() == 2).await;
            lane.stop().await;
        }
    }
}

#[tokio::test]
async fn i1_the_echo_of_a_release_is_never_the_boards_word() {
    let faults = [
        (Fault::Deaf, "but the adapter's own echo: check wiring A/B"),
        (Fault::Mute, "but the adapter's own echo: check wiring A/B"),
        (Fault::Refuses { function: WRITE, code: 4 }, "the board itself failed"),
        (Fault::WrongChecksum, "8 bytes came, but no whole answer"),
        (Fault::WrittenAs { value: 0, ignores: true }, "and it is off"),
    ];
    for (fault, named) in faults {
        let mut steps = Steps::connected([0, 1]).await;
        steps.device.bus().set_echo(true);
        assert_eq!(connect(&mut steps.driver).await.unwrap(), []);
        steps.release(Direction::Entry, SOON).await.unwrap();
        steps.driver.hold(false).await.unwrap();
        steps.device.set_fault(Some(fault.clone()));
        let error = steps.release(Direction::Exit, SOON).await.unwrap_err();
        assert!(error.to_string().contains(named), "{fault:?}: {error}");
        assert!(error.may_have_acted(), "{fault:?}: {error}");
    }
}

/// Waits until the board has refused this many requests, then ends its fault.
async fn relents(device: &SimulatedDevice, times: usize) {
    let mut frames = device.frames();
    for _ in 0..times {
        while frames.recv().await.unwrap().answered.get(1).is_none_or(|code| code & 0x80 == 0) {}
    }
    device.set_fault(None);
}

#[tokio::test]
async fn a_busy_board_is_asked_again() {
    for code in [ACKNOWLEDGE, BUSY] {
        let mut steps = Steps::connected([0, 1]).await;
        let device = steps.device.clone();
        steps.device.set_fault(Some(Fault::Refuses { function: WRITE, code }));
        let (released, ()) =
            tokio::join!(steps.release(Direction::Exit, SOON), relents(&device, 3));
        released.unwrap();
        assert!(device.released(Direction::Exit));
        steps.device.set_fault(Some(Fault::Refuses { function: INPUTS, code }));
        let (polled, ()) = tokio::join!(steps.driver.poll(), relents(&device, 3));
        polled.unwrap();
        steps.device.set_fault(Some(Fault::Refuses { function: COILS, code }));
        let (met, ()) = tokio::join!(steps.driver.connect(), relents(&device, 3));
        assert_eq!(met.unwrap().released, [Direction::Exit]);
    }
}

#[tokio::test]
async fn a_board_that_stays_busy_is_named_and_only_an_acknowledged_release_may_have_acted() {
    for (code, may_have_acted) in [(ACKNOWLEDGE, true), (BUSY, false)] {
        // The deadline ends the requests, or else the limit of the driver.
        for within in [Duration::from_millis(180), SOON] {
            let mut steps = Steps::connected([0, 1]).await;
            steps.device.set_fault(Some(Fault::Refuses { function: WRITE, code }));
            let error = steps.release(Direction::Entry, within).await.unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("switch coil 0 on (exception 0") && said.contains("busy"),
                "{said}"
            );
            assert!(!said.contains("wiring"), "{said}");
            assert_eq!(error.may_have_acted(), may_have_acted, "{said}");
            assert_eq!(steps.device.released(Direction::Entry), may_have_acted);
            // What was carried out is withdrawn at the next connection.
            steps.device.set_fault(None);
            connect(&mut steps.driver).await.unwrap();
            assert!(!steps.device.released(Direction::Entry));
        }
    }
}

#[tokio::test]
async fn a_write_answered_with_another_value_is_done_only_if_the_coil_says_so() {
    for value in [0x0001, 0x0100, 0xFFFF, 0x0000] {
        let mut steps = Steps::connected([0, 1]).await;
        steps.device.set_fault(Some(Fault::WrittenAs { value, ignores: false }));
        steps.release(Direction::Exit, SOON).await.unwrap();
        assert!(steps.device.released(Direction::Exit));
        steps.driver.hold(false).await.unwrap();
        assert!(!steps.device.released(Direction::Exit));
        steps.device.set_fault(Some(Fault::WrittenAs { value, ignores: true }));
        let error = steps.release(Direction::Exit, SOON).await.unwrap_err();
        assert!(error.to_string().contains("and it is off"), "{error}");
        assert!(error.may_have_acted());
    }
}

#[tokio::test]
async fn a_board_without_discrete_inputs_is_named() {
    let mut steps = Steps::connected([0, 1]).await;
    steps.device.set_fault(Some(Fault::Refuses { function: INPUTS, code: 1 }));
    let error = connect(&mut steps.driver).await.unwrap_err().to_string();
    assert!(
        error.contains("read inputs 0 to 1 (exception 01): the board has no discrete"),
        "{error}"
    );
}

#[tokio::test]
async fn a_release_by_another_hand_is_found_in_each_direction_and_left_until_it_is_withdrawn() {
    for direction in Direction::BOTH {
        let clock = Arc::new(Ahead(SystemClock::new().unwrap(), AtomicU64::new(0)));
        let time: Arc<dyn Clock> = clock.clone();
        let bus = simulated(line(Protocol::ModbusRtu, 1, None), &time);
        let device = bus.device(1).unwrap();
        let mut driver = modbus(ModbusRtu::usual(device.line(), 1), &time);
        connect(&mut driver).await.unwrap();
        let foreign = async |driver: &mut ModbusTurnstile| {
            clock.advance(Duration::from_secs(6));
            let found = driver.poll().await.unwrap().foreign.expect("the coils are read back");
            found.into_iter().map(|release| release.direction).collect::<Vec<_>>()
        };
        assert_eq!(foreign(&mut driver).await, []);
        // A pulse of this driver is no other hand's.
        driver.release(direction, time.monotonic() + SOON).await.unwrap();
        assert_eq!(driver.poll().await.unwrap().foreign, None, "not at each poll");
        assert_eq!(foreign(&mut driver).await, []);
        device.set_released(direction, true);
        assert_eq!(foreign(&mut driver).await, [direction]);
        // It is left at the end of a hold, and at the next connection, which does not report it.
        driver.hold(false).await.unwrap();
        assert_eq!(connect(&mut driver).await.unwrap(), []);
        assert!(device.released(direction));
        // A release needs no command while the coil is on, and is a pulse when it is off again.
        let releases = device.releases();
        driver.release(direction, time.monotonic() + SOON).await.unwrap();
        assert_eq!(foreign(&mut driver).await, [direction]);
        assert_eq!(device.releases(), releases);
        device.set_released(direction, false);
        driver.release(direction, time.monotonic() + SOON).await.unwrap();
        assert_eq!(device.releases(), releases + 1);
        assert_eq!(foreign(&mut driver).await, []);
        // It is withdrawn when the task says so.
        device.set_released(direction, true);
        assert_eq!(foreign(&mut driver).await, [direction]);
        driver.withdraw(direction).await.unwrap();
        assert!(!device.released(direction));
        // What the gateway itself opens, it closes.
        device.set_released(direction, true);
        assert_eq!(foreign(&mut driver).await, [direction]);
        driver.hold(true).await.unwrap();
        driver.hold(false).await.unwrap();
        assert!(!device.released(direction));
    }
}

#[tokio::test]
async fn coils_far_apart_are_read_twice_at_a_connection() {
    let clock = clock();
    let bus = simulated(line(Protocol::ModbusRtu, 1, None), &clock);
    let (device, mut frames) = (bus.device(1).unwrap(), bus.frames());
    // The simulated board has 16 coils, so it refuses the second request.
    let config = ModbusRtu { release_coil: [0, 40], ..ModbusRtu::usual(device.line(), 1) };
    let error = modbus(config, &clock).connect().await.unwrap_err().to_string();
    assert!(error.contains("read coil 40 (exception 02): the board has no such coil"), "{error}");
    assert_eq!(frames.recv().await.unwrap().received[5], 1, "one coil");
}
