//! The room `turnstile` with its simulated device: real Modbus RTU bytes on a pseudo-terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gatehouse::{
    clock::{Clock, Monotonic, Stamp, SystemClock},
    config::{Direction, TurnstileDriver},
    turnstile::{
        Buses, DeviceFrame, Fault, NotReleased, PassageId, Polled, Release, SimulatedDevice,
        Turnstile, TurnstileError, TurnstileEvent, TurnstileHandle,
        drivers::{
            Driver, Means,
            modbus_rtu::{ModbusRtu, ModbusTurnstile},
            simulated::SimulatedTurnstile,
        },
        settings::SerialLine,
        spawn,
    },
};
mod lines;

use tokio::{io::AsyncWriteExt, sync::broadcast, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);
const ENTRY_ON: [u8; 8] = [0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3A];
const ENTRY_OFF: [u8; 8] = [0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0xCD, 0xCA];
const EXIT_ON: [u8; 8] = [0x01, 0x05, 0x00, 0x01, 0xFF, 0x00, 0xDD, 0xFA];
const READ_COILS: [u8; 8] = [0x01, 0x01, 0x00, 0x00, 0x00, 0x02, 0xBD, 0xCB];
const READ_INPUTS: [u8; 8] = [0x01, 0x02, 0x00, 0x00, 0x00, 0x02, 0xF9, 0xCB];

/// A device on a terminal, and the task under test at its other end.
struct Bench {
    clock: Arc<dyn Clock>,
    device: SimulatedDevice,
    frames: broadcast::Receiver<DeviceFrame>,
    /// A frame was returned by `command`.
    commanded: bool,
    handle: TurnstileHandle,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// Returns the next event that is no level of a passage input.
async fn event(handle: &mut TurnstileHandle) -> TurnstileEvent {
    loop {
        let event = timeout(SOON, handle.events.recv()).await.expect("an event");
        match event.expect("a task") {
            TurnstileEvent::Sensor { .. } => {}
            event => return event,
        }
    }
}

impl Bench {
    fn device(pass_after: Option<Duration>) -> (SimulatedDevice, Arc<dyn Clock>) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let (tap, _) = broadcast::channel(4096);
        let config = SimulatedTurnstile { pass_after, fire_input: None };
        (config.device(clock.clone(), tap).unwrap(), clock)
    }

    fn on(device: SimulatedDevice, clock: Arc<dyn Clock>) -> Self {
        let mut config = board(&device);
        config.pulse = Duration::from_millis(150);
        let frames = device.frames();
        let cancel = CancellationToken::new();
        let driver = TurnstileDriver::ModbusRtu(config);
        let buses = Buses::new(clock.clone());
        let (handle, task) = spawn(&driver, "north", &buses, clock.clone(), cancel.clone(), false);
        Self { clock, device, frames, commanded: false, handle, cancel, task }
    }

    /// Returns a bench whose task is connected.
    async fn up() -> Self {
        Self::up_with(None).await
    }

    async fn up_with(pass_after: Option<Duration>) -> Self {
        let (device, clock) = Self::device(pass_after);
        let mut bench = Self::on(device, clock);
        assert_eq!(bench.event().await, TurnstileEvent::Up { withdrawn: vec![] });
        bench
    }

    async fn event(&mut self) -> TurnstileEvent {
        event(&mut self.handle).await
    }

    async fn frame(&mut self) -> DeviceFrame {
        timeout(SOON, self.frames.recv()).await.expect("a frame").expect("no frame missed")
    }

    /// Returns the next frame other than a poll of the inputs or a later look at the coils.
    async fn command(&mut self) -> Vec<u8> {
        loop {
            let frame = self.frame().await.received;
            let first = !std::mem::replace(&mut self.commanded, true);
            if frame != READ_INPUTS && (first || frame != READ_COILS) {
                return frame;
            }
        }
    }

    fn in_time(&self) -> Monotonic {
        self.clock.monotonic() + SOON
    }

    async fn release(&self, direction: Direction, deadline: Monotonic) -> PassageId {
        let passage = PassageId::random().unwrap();
        self.handle.releases.send(Release { passage, direction, deadline }).await.unwrap();
        passage
    }

    async fn released(&mut self, direction: Direction) {
        let passage = self.release(direction, self.in_time()).await;
        match self.event().await {
            TurnstileEvent::Released { passage: p, .. } => assert_eq!(p, passage),
            other => panic!("{other:?}"),
        }
    }

    async fn down(&mut self) -> String {
        match self.event().await {
            TurnstileEvent::Down { error } => error,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) -> SimulatedDevice {
        self.cancel.cancel();
        timeout(SOON, self.task).await.expect("the task ends").expect("without a panic");
        self.device
    }
}

/// Returns the settings for a simulated board.
fn board(device: &SimulatedDevice) -> ModbusRtu {
    ModbusRtu::usual(device.line(), device.address())
}

fn modbus(config: ModbusRtu, clock: &Arc<dyn Clock>) -> ModbusTurnstile {
    ModbusTurnstile::new(config, &Means::new(&Buses::new(clock.clone())))
}

/// Connects as the task does, and returns the directions that were found released.
async fn connect(driver: &mut ModbusTurnstile) -> Result<Vec<Direction>, TurnstileError> {
    let met = loop {
        match driver.connect().await {
            // Another test's new process holds the closed port until its program begins.
            Err(TurnstileError::Busy { .. }) => tokio::task::yield_now().await,
            met => break met?,
        }
    };
    driver.hold(false).await?;
    driver.poll().await?;
    Ok(met.released)
}

fn in_time(clock: &Arc<dyn Clock>) -> Monotonic {
    clock.monotonic() + SOON
}

#[tokio::test]
async fn a_release_pulses_the_coil_and_the_passage_is_reported() {
    let mut bench = Bench::up_with(Some(Duration::from_millis(50))).await;
    assert_eq!(bench.command().await, READ_COILS, "the task reads the coils first");
    bench.released(Direction::Entry).await;
    assert!(matches!(
        bench.event().await,
        TurnstileEvent::Passed { direction: Direction::Entry, .. }
    ));
    assert_eq!(bench.command().await, ENTRY_ON);
    assert_eq!(bench.command().await, ENTRY_OFF);
    bench.released(Direction::Exit).await;
    assert_eq!(bench.command().await, EXIT_ON);
    assert!(matches!(
        bench.event().await,
        TurnstileEvent::Passed { direction: Direction::Exit, .. }
    ));
    let state = bench.handle.state.borrow().clone();
    assert!(state.connected && state.confirms_passage);
    assert_eq!((state.releases, state.passages, state.errors, state.late), (2, 2, 0, 0));
    bench.stop().await;
}

#[tokio::test]
async fn a_release_within_a_pulse_is_a_pulse_of_its_own() {
    let mut bench = Bench::up().await;
    assert_eq!(bench.command().await, READ_COILS);
    bench.released(Direction::Entry).await;
    bench.released(Direction::Entry).await;
    for expected in [ENTRY_ON, ENTRY_OFF, ENTRY_ON, ENTRY_OFF] {
        assert_eq!(bench.command().await, expected);
    }
    assert_eq!(bench.device.releases(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn a_coil_found_on_is_withdrawn_before_anything_else() {
    let (device, clock) = Bench::device(None);
    device.set_released(Direction::Exit, true);
    let mut bench = Bench::on(device, clock);
    let mut seen = Vec::new();
    while seen.last() != Some(&READ_INPUTS.to_vec()) {
        seen.push(bench.frame().await.received);
    }
    let exit_off = [0x01, 0x05, 0x00, 0x01, 0x00, 0x00, 0x9C, 0x0A];
    assert_eq!(seen, [READ_COILS.to_vec(), exit_off.to_vec(), READ_INPUTS.to_vec()]);
    assert_eq!(bench.event().await, TurnstileEvent::Up { withdrawn: vec![Direction::Exit] });
    assert!(!bench.device.released(Direction::Exit));
    bench.stop().await;
}

/// The kernel's clock, set ahead by a number of milliseconds.
struct Ahead(SystemClock, AtomicU64);

impl Ahead {
    fn advance(&self, by: Duration) {
        self.1.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn monotonic(&self) -> Monotonic {
        self.0.monotonic() + Duration::from_millis(self.1.load(Ordering::SeqCst))
    }

    fn stamp(&self) -> Stamp {
        self.0.stamp()
    }
}

#[tokio::test]
async fn i4_a_late_release_never_touches_the_wire() {
    let (device, _) = Bench::device(None);
    let manual = Arc::new(Ahead(SystemClock::new().unwrap(), AtomicU64::new(0)));
    let mut bench = Bench::on(device, manual.clone());
    assert!(matches!(bench.event().await, TurnstileEvent::Up { .. }));
    let deadline = manual.monotonic() + Duration::from_millis(100);
    manual.advance(Duration::from_millis(101));
    let passage = bench.release(Direction::Entry, deadline).await;
    let why = NotReleased::Late;
    assert_eq!(
        bench.event().await,
        TurnstileEvent::NotReleased { passage, why, may_have_released: false }
    );
    assert_eq!(bench.handle.state.borrow().late, 1);
    // The next release succeeds, so the late one was not merely slow.
    bench.released(Direction::Exit).await;
    assert_eq!(bench.command().await, READ_COILS);
    assert_eq!(bench.command().await, EXIT_ON);
    bench.stop().await;
}

#[tokio::test]
async fn i4_a_release_while_the_line_is_down_is_refused_and_never_replayed() {
    let mut bench = Bench::up().await;
    bench.device.set_fault(Some(Fault::Deaf));
    let error = bench.down().await;
    assert!(error.contains("no answer from address 1 on /dev/pts/"), "{error}");
    assert!(error.contains("check wiring A/B, baud and address"), "{error}");
    assert!(!bench.handle.state.borrow().connected);
    let passage = bench.release(Direction::Entry, bench.in_time()).await;
    match bench.event().await {
        TurnstileEvent::NotReleased {
            passage: p,
            why: NotReleased::Failed(why),
            may_have_released,
        } => {
            assert_eq!((p, may_have_released), (passage, false));
            assert!(why.contains("no answer from address 1"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    bench.device.set_fault(None);
    assert_eq!(bench.event().await, TurnstileEvent::Up { withdrawn: vec![] });
    bench.released(Direction::Exit).await;
    let mut commands = Vec::new();
    while commands.last() != Some(&EXIT_ON.to_vec()) {
        commands.push(bench.command().await);
    }
    assert!(!commands.contains(&ENTRY_ON.to_vec()), "{commands:02X?}");
    let state = bench.handle.state.borrow().clone();
    assert_eq!((state.releases, state.reconnects), (1, 1));
    assert!(state.errors >= 1 && state.last_error.is_some());
    bench.stop().await;
}

#[tokio::test]
async fn a_release_without_an_answer_may_have_released_and_is_withdrawn() {
    let mut bench = Bench::up().await;
    bench.device.set_fault(Some(Fault::Mute));
    // A failed poll may come before the release, which is then refused.
    let passage = bench.release(Direction::Entry, bench.in_time()).await;
    let mut may_have = None;
    let mut withdrawn = None;
    while withdrawn.is_none() {
        match bench.event().await {
            TurnstileEvent::NotReleased { passage: p, may_have_released, .. } => {
                assert_eq!(p, passage);
                may_have = Some(may_have_released);
            }
            TurnstileEvent::Down { .. } => bench.device.set_fault(None),
            TurnstileEvent::Up { withdrawn: w } => withdrawn = Some(w),
            other => panic!("{other:?}"),
        }
    }
    let may_have = may_have.expect("an answer to the release");
    let expected = if may_have { vec![Direction::Entry] } else { vec![] };
    assert_eq!(withdrawn.unwrap(), expected);
    assert!(!bench.device.released(Direction::Entry));
    bench.stop().await;
}

#[tokio::test]
async fn a_late_answer_is_not_accepted_for_the_next_request() {
    // The test drives the task step by step.
    let (device, clock) = Bench::device(None);
    let mut frames = device.frames();
    let mut driver = modbus(board(&device), &clock);
    connect(&mut driver).await.unwrap();
    // The delay exceeds the driver's timeout, but not the time for which it then waits for silence.
    device.set_fault(Some(Fault::Late(Duration::from_millis(330))));
    device.set_sensor(Direction::Entry, true);
    let error = driver.poll().await.unwrap_err();
    assert!(matches!(error, TurnstileError::NoAnswer { .. }), "{error}");
    // The late answer would fit a repeated request, so the driver does not repeat it on this line.
    let again = driver.poll().await;
    assert!(matches!(again, Err(TurnstileError::NotConnected { .. })), "{again:?}");
    device.set_fault(None);
    device.set_sensor(Direction::Entry, false);
    // The old answer means "entry is on". It is drained, or it has the wrong function code. It may
    // cost one attempt and is never accepted.
    while connect(&mut driver).await.is_err() {}
    let seen = driver.poll().await.unwrap();
    assert_eq!((seen.passed, seen.inputs), (vec![], Some([false; 2])));
    // A late echo of a write: the next release needs its own echo.
    device.set_fault(Some(Fault::Late(Duration::from_millis(420))));
    driver.release(Direction::Entry, in_time(&clock)).await.unwrap_err();
    device.set_fault(None);
    let withdrawn = loop {
        match connect(&mut driver).await {
            Ok(withdrawn) => break withdrawn,
            Err(error) => assert!(error.may_have_acted(), "{error}"),
        }
    };
    assert!(!device.released(Direction::Entry), "withdrawn: {withdrawn:?}");
    driver.release(Direction::Exit, in_time(&clock)).await.unwrap();
    assert!(device.released(Direction::Exit));
    let mut asked = 0;
    while let Ok(frame) = frames.try_recv() {
        asked += usize::from(frame.received == EXIT_ON);
    }
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn wrong_answers_are_never_accepted() {
    for fault in [
        Fault::WrongChecksum,
        Fault::FromAddress(2),
        Fault::Half,
        // A complete answer of this board to another request.
        Fault::Noise(vec![0x01, 0x05, 0x00, 0x01, 0xFF, 0x00, 0xDD, 0xFA]),
    ] {
        let (device, clock) = Bench::device(None);
        let mut driver = modbus(board(&device), &clock);
        connect(&mut driver).await.unwrap();
        device.set_fault(Some(fault.clone()));
        let error = driver.release(Direction::Entry, in_time(&clock)).await.unwrap_err();
        assert!(error.may_have_acted(), "{fault:?}: {error}");
        let named = match fault {
            Fault::FromAddress(_) => "address 2 answered",
            _ => "check wiring A/B",
        };
        assert!(error.to_string().contains(named), "{fault:?}: {error}");
        // The connection is over: the driver neither sends nor reads until it connects again.
        let next = driver.poll().await.unwrap_err();
        assert!(matches!(next, TurnstileError::NotConnected { .. }), "{fault:?}: {next}");
        device.set_fault(None);
        assert_eq!(connect(&mut driver).await.unwrap(), [Direction::Entry], "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_is_found_behind_noise() {
    for noise in [
        vec![0xFF, 0xFF],
        vec![0x00; 40],
        // Half an answer, and the answer of another board.
        vec![0x01, 0x05, 0x00, 0x00],
        vec![0x02, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x09],
        // I8: more than any frame, and more than the line stores.
        [vec![0x01, 0x02, 0xFF], vec![0x00; 4096]].concat(),
    ] {
        let (device, clock) = Bench::device(None);
        let mut driver = modbus(board(&device), &clock);
        connect(&mut driver).await.unwrap();
        device.set_fault(Some(Fault::Noise(noise)));
        driver.release(Direction::Entry, in_time(&clock)).await.unwrap();
        let seen = driver.poll().await.unwrap();
        assert_eq!(seen, Polled { inputs: Some([false; 2]), ..Polled::default() });
        assert!(device.released(Direction::Entry));
    }
}

#[tokio::test]
async fn i8_a_line_that_is_never_silent_is_refused_and_named() {
    let (mut babbler, terminal) = tokio_serial::SerialStream::pair().unwrap();
    let port = tokio_serial::SerialPort::name(&terminal).unwrap();
    let (device, clock) = Bench::device(None);
    let line = SerialLine { port: port.into(), baud: 9600 };
    let config = ModbusRtu { line, ..board(&device) };
    let mut driver = modbus(config, &clock);
    let babble = tokio::spawn(async move { while babbler.write_all(&[0x5A; 64]).await.is_ok() {} });
    let connect = timeout(SOON, driver.connect()).await.expect("in time");
    assert!(matches!(connect, Err(TurnstileError::NeverSilent { .. })), "{connect:?}");
    babble.abort();
}

#[tokio::test]
async fn a_person_already_in_the_sensor_is_no_passage() {
    let (device, clock) = Bench::device(None);
    device.set_sensor(Direction::Entry, true);
    let mut bench = Bench::on(device, clock);
    assert!(matches!(bench.event().await, TurnstileEvent::Up { .. }));
    bench.device.set_sensor(Direction::Exit, true);
    let passed = bench.event().await;
    assert!(
        matches!(passed, TurnstileEvent::Passed { direction: Direction::Exit, .. }),
        "{passed:?}"
    );
    assert_eq!(bench.handle.state.borrow().passages, 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_stop_withdraws_a_release() {
    let mut bench = Bench::up().await;
    bench.released(Direction::Entry).await;
    assert!(bench.device.released(Direction::Entry));
    let device = bench.stop().await;
    assert!(!device.released(Direction::Entry));
}

#[tokio::test]
async fn a_stop_right_after_a_lost_answer_withdraws_too() {
    let mut bench = Bench::up().await;
    loop {
        bench.device.set_fault(Some(Fault::Mute));
        bench.release(Direction::Exit, bench.in_time()).await;
        while !matches!(bench.event().await, TurnstileEvent::NotReleased { .. }) {}
        if bench.device.released(Direction::Exit) {
            break;
        }
        // A poll met the fault first.
        bench.device.set_fault(None);
        while !matches!(bench.event().await, TurnstileEvent::Up { .. }) {}
    }
    bench.device.set_fault(None);
    let device = bench.stop().await;
    assert!(!device.released(Direction::Exit));
}

#[tokio::test]
async fn a_lane_that_ends_leaves_no_gate_open() {
    let mut bench = Bench::up().await;
    bench.released(Direction::Entry).await;
    drop(bench.handle);
    timeout(SOON, bench.task).await.expect("the task ends").unwrap();
    assert!(!bench.device.released(Direction::Entry));
}

#[tokio::test]
async fn a_lane_that_does_not_listen_does_not_keep_a_gate_open() {
    let mut bench = Bench::up().await;
    // More answers than the events channel holds, and the lane takes none.
    let sent = 70;
    for _ in 0..sent {
        bench.release(Direction::Exit, Monotonic::from_millis(1)).await;
    }
    bench.release(Direction::Entry, bench.in_time()).await;
    while bench.command().await != ENTRY_OFF {}
    assert!(!bench.device.released(Direction::Entry));
    for _ in 0..sent {
        let late = bench.event().await;
        assert!(matches!(late, TurnstileEvent::NotReleased { why: NotReleased::Late, .. }));
    }
    assert!(matches!(bench.event().await, TurnstileEvent::Released { .. }));
    assert_eq!(bench.handle.state.borrow().lost_events, 0);
    bench.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_refused_and_named() {
    let bench = Bench::up().await;
    let mut second = modbus(board(&bench.device), &bench.clock);
    let error = second.connect().await.unwrap_err();
    assert!(matches!(&error, TurnstileError::Busy { port } if port.starts_with("/dev/pts/")));
    assert!(error.to_string().contains("in use by another program"), "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn a_missing_port_is_named_and_tried_again() {
    let (device, clock) = Bench::device(None);
    let mut config = board(&device);
    config.line.port = "/dev/gatehouse-no-such-port".into();
    let cancel = CancellationToken::new();
    let driver = TurnstileDriver::ModbusRtu(config);
    let buses = Buses::new(clock.clone());
    let (mut handle, task) = spawn(&driver, "north", &buses, clock, cancel.clone(), false);
    match timeout(SOON, handle.events.recv()).await.unwrap().unwrap() {
        TurnstileEvent::Down { error } => {
            assert!(error.contains("cannot open /dev/gatehouse-no-such-port"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    timeout(SOON, handle.state.wait_for(|s| s.errors >= 2)).await.unwrap().unwrap();
    cancel.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_simulated_driver_reports_a_passage_and_shows_its_frames() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let driver = TurnstileDriver::Simulated(SimulatedTurnstile {
        pass_after: Some(Duration::from_millis(20)),
        fire_input: None,
    });
    let cancel = CancellationToken::new();
    let buses = Buses::new(clock.clone());
    let (mut handle, task) = spawn(&driver, "north", &buses, clock.clone(), cancel.clone(), false);
    let mut frames = handle.tap.as_ref().expect("a tap").subscribe();
    let deadline = in_time(&clock);
    assert!(matches!(handle.events.recv().await, Some(TurnstileEvent::Up { .. })));
    let passage = PassageId([1; 16]);
    handle.releases.send(Release { passage, direction: Direction::Entry, deadline }).await.unwrap();
    let released = event(&mut handle).await;
    assert!(matches!(released, TurnstileEvent::Released { .. }), "{released:?}");
    let passed = event(&mut handle).await;
    assert!(matches!(passed, TurnstileEvent::Passed { .. }), "{passed:?}");
    let mut on = 0;
    while let Ok(frame) = frames.try_recv() {
        on += usize::from(frame.received == ENTRY_ON && frame.answered == ENTRY_ON);
    }
    assert_eq!(on, 1);
    let status = serde_json::to_value(handle.state.borrow().clone()).unwrap();
    assert_eq!(status["port"], "simulated");
    assert!(status["since_uptime_ms"].is_u64());
    cancel.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
}
