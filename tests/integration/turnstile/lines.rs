//! Lanes on serial lines with each protocol, alone and shared, with simulated controllers.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use gatehouse::{
    clock::{Clock, SystemClock},
    config::{Direction, TurnstileDriver},
    turnstile::{
        Buses, DeviceFrame, Fault, NotReleased, Order, PassageId, Protocol, Release, SimulatedBus,
        SimulatedDevice, SimulatedLine, Turnstile, TurnstileError, TurnstileEvent, TurnstileHandle,
        drivers::{Driver, Means, d7e7f::CountingTurnstile},
        settings::{FramedBoard, Side},
        spawn,
    },
};
use tokio::{sync::broadcast, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);
const FIRE: u16 = 7;

mod dialects;

/// A line, its devices at addresses 1 and up, and a lane for each.
struct Line {
    clock: Arc<dyn Clock>,
    bus: SimulatedBus,
    frames: broadcast::Receiver<DeviceFrame>,
    lanes: Vec<Lane>,
    _dir: tempfile::TempDir,
}

struct Lane {
    clock: Arc<dyn Clock>,
    device: SimulatedDevice,
    handle: TurnstileHandle,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// Those that say who passed.
fn confirming() -> impl Iterator<Item = Protocol> {
    let all = Protocol::all();
    assert!(all.len() >= 3, "{all:?}");
    all.into_iter().filter(|protocol| protocol.confirms_passage())
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new().unwrap())
}

fn simulated(line: SimulatedLine, clock: &Arc<dyn Clock>) -> SimulatedBus {
    SimulatedBus::spawn(line, clock.clone(), broadcast::channel(65_536).0).unwrap()
}

fn line(protocol: Protocol, devices: u8, pass_after: Option<Duration>) -> SimulatedLine {
    let addresses = (1..=devices).collect();
    SimulatedLine {
        speaks: protocol.speaks(),
        addresses,
        pass_after,
        fire_input: Some(FIRE),
        link: None,
    }
}

/// Time from a release until the worker walks.
const WALKS: Option<Duration> = Some(Duration::from_millis(30));

impl Line {
    /// Returns a line whose lanes are all connected.
    async fn up(protocol: Protocol, devices: u8, pass_after: Option<Duration>) -> Self {
        Line::with_adapter(protocol, devices, pass_after, false).await
    }

    async fn with_adapter(
        protocol: Protocol,
        devices: u8,
        pass_after: Option<Duration>,
        echoes: bool,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let link = Some(dir.path().join("ttyUSB0"));
        let clock = clock();
        let line = SimulatedLine { link, ..line(protocol, devices, pass_after) };
        let bus = simulated(line, &clock);
        bus.set_echo(echoes);
        let frames = bus.frames();
        let buses = Buses::new(clock.clone());
        let devices = (1..=devices).map(|address| bus.device(address).unwrap());
        let mut lanes: Vec<_> = devices.map(|device| Lane::on(device, &buses, &clock)).collect();
        for lane in &mut lanes {
            assert_eq!(lane.event().await, TurnstileEvent::Up { withdrawn: vec![] });
        }
        Line { clock, bus, frames, lanes, _dir: dir }
    }

    async fn alone(protocol: Protocol, pass_after: Option<Duration>) -> (Self, Lane) {
        let mut line = Line::up(protocol, 1, pass_after).await;
        let lane = line.lanes.pop().unwrap();
        (line, lane)
    }

    /// Returns the commands since the last call, without polls.
    fn commands(&mut self) -> Vec<String> {
        let mut commands = Vec::new();
        while let Ok(frame) = self.frames.try_recv() {
            if !is_a_look(&self.bus, &frame) {
                commands.push(hex::encode_upper(frame.received));
            }
        }
        commands
    }
}

async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, held).await.expect("in time");
}

fn is_a_look(bus: &SimulatedBus, frame: &DeviceFrame) -> bool {
    bus.order(&frame.received) == Some(Order::Look)
}

impl Lane {
    fn on(device: SimulatedDevice, buses: &Buses, clock: &Arc<dyn Clock>) -> Self {
        let (driver, cancel) = (TurnstileDriver::of(&device).unwrap(), CancellationToken::new());
        let (handle, task) = spawn(&driver, "north", buses, clock.clone(), cancel.clone(), false);
        Lane { clock: clock.clone(), device, handle, cancel, task }
    }

    async fn event(&mut self) -> TurnstileEvent {
        timeout(SOON, self.handle.events.recv()).await.expect("an event").expect("a task")
    }

    async fn release(&self, direction: Direction) -> PassageId {
        let passage = PassageId::random().unwrap();
        let deadline = self.clock.monotonic() + SOON;
        self.handle.releases.send(Release { passage, direction, deadline }).await.unwrap();
        passage
    }

    async fn released(&mut self, direction: Direction) {
        let passage = self.release(direction).await;
        match self.event().await {
            TurnstileEvent::Released { passage: p, .. } => assert_eq!(p, passage),
            other => panic!("{other:?}"),
        }
    }

    async fn passed(&mut self) -> Direction {
        match self.event().await {
            TurnstileEvent::Passed { direction, .. } => direction,
            other => panic!("{other:?}"),
        }
    }

    async fn down(&mut self) -> String {
        match self.event().await {
            TurnstileEvent::Down { error } => error,
            other => panic!("{other:?}"),
        }
    }

    async fn fire(&mut self) -> bool {
        match self.event().await {
            TurnstileEvent::Fire { on, .. } => on,
            other => panic!("{other:?}"),
        }
    }

    async fn held(&mut self, open: bool) {
        let held = self.handle.state.wait_for(|s| s.held_open == open);
        timeout(SOON, held).await.expect("in time").unwrap();
    }

    /// Waits for this state, because a command to a one-way controller arrives after it was sent.
    async fn stands(&self, open: [bool; 2]) {
        until(|| self.is_open() == open).await;
    }

    fn is_open(&self) -> [bool; 2] {
        Direction::BOTH.map(|direction| self.device.released(direction))
    }

    async fn stop(self) -> SimulatedDevice {
        self.cancel.cancel();
        timeout(SOON, self.task).await.expect("the task ends").expect("without a panic");
        self.device
    }
}

#[tokio::test]
async fn a_counting_controller_is_released_and_reports_passages() {
    let (mut line, mut lane) = Line::alone(Protocol::Counting, WALKS).await;
    assert_eq!(
        line.commands(),
        ["7E000184000000FC"],
        "the lane closes an arm that a crash left open"
    );
    lane.released(Direction::Entry).await;
    assert_eq!(lane.passed().await, Direction::Entry);
    lane.released(Direction::Exit).await;
    assert_eq!(lane.passed().await, Direction::Exit);
    assert_eq!(line.commands(), ["7E000180010000FF", "7E000182010000FD"]);
    let state = lane.handle.state.borrow().clone();
    assert!(state.connected && state.confirms_passage);
    assert_eq!((state.releases, state.passages, state.errors), (2, 2, 0));
    assert_eq!((lane.device.releases(), lane.device.passages()), (2, 2));
    // This release has no passage, and a stop withdraws it.
    lane.device.set_fault(None);
    let device = lane.stop().await;
    assert!(Direction::BOTH.iter().all(|direction| !device.released(*direction)));
}

#[tokio::test]
async fn a_one_way_controller_is_released_and_reports_no_passage() {
    let (mut line, mut lane) = Line::alone(Protocol::OneWay, WALKS).await;
    assert_eq!(line.commands(), ["EB014300A9"]);
    lane.released(Direction::Entry).await;
    lane.released(Direction::Exit).await;
    // The next event is about the next release; the walks cause no events.
    lane.released(Direction::Entry).await;
    let state = lane.handle.state.borrow().clone();
    assert!(state.connected && !state.confirms_passage);
    assert_eq!((state.releases, state.passages), (3, 0));
    lane.stop().await;
    let mut commands = line.commands();
    while commands.len() < 4 {
        let frame = timeout(SOON, line.frames.recv()).await.expect("in time").unwrap();
        commands.push(hex::encode_upper(frame.received));
    }
    assert_eq!(commands, ["EB014000AA", "EB014100AB", "EB014000AA", "EB014300A9"]);
    assert_eq!(line.commands(), [""; 0]);
}

#[tokio::test]
async fn the_configuration_sets_the_entry_side() {
    for protocol in [Protocol::Counting, Protocol::OneWay] {
        let clock = clock();
        let bus = simulated(line(protocol, 1, None), &clock);
        let mut frames = bus.frames();
        let device = bus.device(1).unwrap();
        let mut driver = TurnstileDriver::of(&device).unwrap();
        if let TurnstileDriver::Counting(board) | TurnstileDriver::OneWay(board) = &mut driver {
            board.entry_side = Side::Right;
        }
        let cancel = CancellationToken::new();
        let buses = Buses::new(clock.clone());
        let (handle, task) = spawn(&driver, "north", &buses, clock.clone(), cancel.clone(), false);
        let mut lane = Lane { clock, device, handle, cancel, task };
        assert!(matches!(lane.event().await, TurnstileEvent::Up { .. }));
        lane.released(Direction::Entry).await;
        // The right side is the exit of the device.
        let released = loop {
            let frame = timeout(SOON, frames.recv()).await.expect("in time").unwrap();
            if let Some(Order::Release(direction, 1)) = bus.order(&frame.received) {
                break (direction, hex::encode_upper(frame.received));
            }
        };
        let right = if protocol == Protocol::OneWay { "EB014100AB" } else { "7E000182010000FD" };
        assert_eq!(released, (Direction::Exit, right.to_owned()));
        if protocol == Protocol::Counting {
            lane.device.walk(Direction::Exit);
            assert_eq!(lane.passed().await, Direction::Entry);
        }
        lane.stop().await;
    }
}

#[tokio::test]
async fn a_passage_without_a_release_or_behind_another_is_reported() {
    for protocol in confirming() {
        let (_line, mut lane) = Line::alone(protocol, None).await;
        lane.device.walk(Direction::Entry);
        assert_eq!(lane.passed().await, Direction::Entry);
        lane.released(Direction::Exit).await;
        lane.device.walk(Direction::Exit);
        lane.device.walk(Direction::Exit);
        assert_eq!(lane.passed().await, Direction::Exit);
        assert_eq!(lane.passed().await, Direction::Exit);
        assert_eq!((lane.device.releases(), lane.device.passages()), (1, 3));
        lane.stop().await;
    }
}

#[tokio::test]
async fn an_arm_held_open_opens_at_once_and_at_each_connection() {
    for protocol in Protocol::all() {
        let (mut line, mut lane) = Line::alone(protocol, None).await;
        lane.handle.hold_open.send_replace(true);
        lane.held(true).await;
        lane.stands([true, true]).await;
        line.commands();
        // A release sends no command while the arm is open.
        lane.released(Direction::Entry).await;
        assert_eq!(line.commands(), [""; 0], "{protocol:?}");
        // The controller loses power, and with it the commands.
        line.bus.unplug().await;
        lane.down().await;
        Direction::BOTH.iter().for_each(|d| lane.device.set_released(*d, false));
        line.bus.replug().await;
        assert_eq!(lane.event().await, TurnstileEvent::Up { withdrawn: vec![] });
        lane.stands([true, true]).await;
        lane.handle.hold_open.send_replace(false);
        lane.held(false).await;
        lane.stands([false, false]).await;
        // The arm works normally again.
        line.commands();
        lane.released(Direction::Entry).await;
        until(|| lane.device.releases() > 0).await;
        lane.stop().await;
    }
}

#[tokio::test]
async fn neither_a_stop_nor_a_start_closes_an_arm_held_open() {
    for protocol in Protocol::all() {
        let (mut line, mut lane) = Line::alone(protocol, None).await;
        lane.handle.hold_open.send_replace(true);
        lane.held(true).await;
        let device = lane.stop().await;
        line.commands();
        let buses = Buses::new(line.clock.clone());
        let mut lane = Lane::on(device, &buses, &line.clock);
        // A lane in free mode does the same at its start.
        lane.handle.hold_open.send_replace(true);
        lane.held(true).await;
        lane.stands([true, true]).await;
        while let Ok(frame) = line.frames.try_recv() {
            assert_ne!(line.bus.order(&frame.received), Some(Order::Close), "{frame:02X?}");
        }
        lane.stop().await;
    }
}

#[tokio::test]
async fn a_relay_board_that_forgets_an_open_arm_gets_the_command_again() {
    let (_line, mut lane) = Line::alone(Protocol::ModbusRtu, None).await;
    lane.handle.hold_open.send_replace(true);
    lane.held(true).await;
    lane.device.set_released(Direction::Exit, false);
    lane.stands([true, true]).await;
    lane.stop().await;
}

#[tokio::test]
async fn i1_a_fire_alarm_opens_the_arm_before_it_is_reported() {
    let (mut line, mut lane) = Line::alone(Protocol::ModbusRtu, None).await;
    lane.device.set_fire(true);
    assert!(lane.fire().await);
    assert_eq!(lane.is_open(), [true, true], "the arm opens before the report");
    // In one turn the driver reads the input and writes both coils, without a frame between.
    let mut frames = Vec::new();
    while let Ok(frame) = line.frames.try_recv() {
        frames.push(frame);
    }
    let on = |f: &DeviceFrame| f.received.get(1) == Some(&2) && f.answered.get(3) == Some(&0x80);
    let seen = frames.iter().position(on).expect("the input was read");
    let next: Vec<_> =
        frames[seen + 1..].iter().take(2).map(|f| f.received[1..6].to_vec()).collect();
    assert_eq!(next, [[5, 0, 0, 0xFF, 0], [5, 0, 1, 0xFF, 0]]);
    assert_eq!(lane.handle.state.borrow().fire, Some(true));
    // The alarm ends before the lane has reacted: the arm stays open.
    lane.device.set_fire(false);
    assert!(!lane.fire().await);
    assert_eq!(lane.is_open(), [true, true]);
    // The lane takes over and ends the free mode.
    lane.handle.hold_open.send_replace(true);
    line.commands();
    // Several polls pass, and none closes the arm.
    for _ in 0..8 {
        timeout(SOON, line.frames.recv()).await.unwrap().unwrap();
    }
    assert_eq!(lane.is_open(), [true, true]);
    lane.handle.hold_open.send_replace(false);
    lane.held(false).await;
    assert_eq!(lane.is_open(), [false, false]);
    lane.stop().await;
}

#[tokio::test]
async fn a_fire_alarm_outlasts_the_line_and_is_reported_at_each_connection() {
    let (line, mut lane) = Line::alone(Protocol::ModbusRtu, None).await;
    lane.device.set_fire(true);
    assert!(lane.fire().await);
    line.bus.unplug().await;
    lane.down().await;
    Direction::BOTH.iter().for_each(|d| lane.device.set_released(*d, false));
    line.bus.replug().await;
    assert_eq!(lane.event().await, TurnstileEvent::Up { withdrawn: vec![] });
    assert_eq!(lane.is_open(), [true, true]);
    assert!(lane.fire().await);
    // The alarm ends while the line is down. Still only the lane closes the arm.
    line.bus.unplug().await;
    lane.down().await;
    lane.device.set_fire(false);
    line.bus.replug().await;
    assert!(matches!(lane.event().await, TurnstileEvent::Up { .. }));
    assert!(!lane.fire().await);
    assert_eq!(lane.is_open(), [true, true]);
    lane.stop().await;
}

#[tokio::test]
async fn an_alarm_that_the_lane_ends_while_the_line_is_down_opens_nothing_later() {
    let (line, mut lane) = Line::alone(Protocol::ModbusRtu, None).await;
    lane.device.set_fire(true);
    assert!(lane.fire().await);
    line.bus.unplug().await;
    lane.down().await;
    lane.device.set_fire(false);
    let errors = lane.handle.state.borrow().errors;
    lane.handle.hold_open.send_replace(true);
    // The error proves that the lane's command was processed: the task tried to connect at once.
    let taken = lane.handle.state.wait_for(|s| s.errors > errors);
    timeout(SOON, taken).await.expect("in time").unwrap();
    lane.handle.hold_open.send_replace(false);
    line.bus.replug().await;
    match lane.event().await {
        TurnstileEvent::Up { withdrawn } => assert_eq!(withdrawn, Direction::BOTH),
        other => panic!("{other:?}"),
    }
    assert_eq!(lane.is_open(), [false, false]);
    assert!(!lane.handle.state.borrow().held_open);
    lane.stop().await;
}

#[tokio::test]
async fn a_fire_alarm_that_is_on_when_the_line_comes_up_closes_nothing_first() {
    let clock = clock();
    let bus = simulated(line(Protocol::ModbusRtu, 1, None), &clock);
    let mut frames = bus.frames();
    let device = bus.device(1).unwrap();
    device.set_fire(true);
    device.set_released(Direction::Entry, true);
    let buses = Buses::new(clock.clone());
    let mut lane = Lane::on(device, &buses, &clock);
    assert_eq!(lane.event().await, TurnstileEvent::Up { withdrawn: vec![] });
    assert!(lane.fire().await);
    while let Ok(frame) = frames.try_recv() {
        let off = frame.received.get(1) == Some(&5) && frame.received.get(4) == Some(&0);
        assert!(!off, "{frame:02X?}");
    }
    lane.stop().await;
}

#[tokio::test]
async fn a_counting_controllers_wrong_answers_are_never_accepted() {
    for fault in [
        Fault::Deaf,
        Fault::Mute,
        Fault::WrongChecksum,
        Fault::FromAddress(2),
        Fault::Half,
        Fault::Late(Duration::from_millis(450)),
    ] {
        let (_line, mut lane) = Line::alone(Protocol::Counting, None).await;
        lane.device.set_fault(Some(fault.clone()));
        let passage = lane.release(Direction::Entry).await;
        // The release meets either the fault itself, or a line that an earlier poll found down.
        let (mut answered, mut down) = (false, false);
        while !(answered && down) {
            match lane.event().await {
                TurnstileEvent::NotReleased { passage: p, .. } => {
                    answered = p == passage;
                }
                TurnstileEvent::Down { error } => {
                    let named = match fault {
                        Fault::FromAddress(_) => "address 2 answered",
                        _ => "check wiring A/B",
                    };
                    assert!(error.contains(named), "{fault:?}: {error}");
                    down = true;
                }
                other => panic!("{fault:?}: {other:?}"),
            }
        }
        lane.device.set_fault(None);
        assert_eq!(lane.event().await, TurnstileEvent::Up { withdrawn: vec![] }, "{fault:?}");
        assert_eq!(
            lane.is_open(),
            [false, false],
            "{fault:?}: a release that got through is withdrawn"
        );
        lane.released(Direction::Exit).await;
        assert_eq!(lane.is_open(), [false, true], "{fault:?}");
        lane.stop().await;
    }
}

#[tokio::test]
async fn noise_before_a_counting_controllers_answer_costs_nothing() {
    let (line, mut lane) = Line::alone(Protocol::Counting, WALKS).await;
    // The beginning of a frame, and a complete frame of another machine.
    let other = "7F01020000000001020000030000 0C00006B".replace(' ', "");
    let noise = [vec![0x7F, 1, 1, 0], hex::decode(other).unwrap(), vec![0x7F]].concat();
    lane.device.set_fault(Some(Fault::Noise(noise)));
    lane.released(Direction::Entry).await;
    assert_eq!(lane.passed().await, Direction::Entry);
    assert_eq!(lane.handle.state.borrow().errors, 0);
    drop(line);
    lane.stop().await;
}

#[tokio::test]
async fn a_late_answer_is_not_accepted_for_the_next_command() {
    // The test drives the task step by step.
    let clock = clock();
    let bus = simulated(line(Protocol::Counting, 1, None), &clock);
    let device = bus.device(1).unwrap();
    let TurnstileDriver::Counting(board) = TurnstileDriver::of(&device).unwrap() else {
        unreachable!()
    };
    let mut driver = CountingTurnstile::new(board, &Means::new(&Buses::new(clock.clone())));
    driver.connect().await.unwrap();
    let deadline = || clock.monotonic() + SOON;
    device.set_fault(Some(Fault::Late(Duration::from_millis(420))));
    let error = driver.poll().await.unwrap_err();
    assert!(matches!(error, TurnstileError::NoAnswer { .. }), "{error}");
    // The late answer would fit a release, so the driver sends none before it has waited.
    let error = driver.release(Direction::Entry, deadline()).await.unwrap_err();
    assert!(matches!(error, TurnstileError::NotConnected { .. }), "{error}");
    assert!(!error.may_have_acted());
    // A connection to a controller that is always late never succeeds.
    for _ in 0..2 {
        let error = driver.connect().await.unwrap_err();
        assert!(error.may_have_acted(), "{error}");
    }
    assert_eq!(device.releases(), 0);
    device.set_fault(None);
    while driver.connect().await.is_err() {}
    driver.release(Direction::Entry, deadline()).await.unwrap();
    assert_eq!(device.releases(), 1);
}

#[tokio::test]
async fn a_restart_of_a_controller_is_reported_and_invents_no_passage() {
    let (_line, mut lane) = Line::alone(Protocol::Counting, None).await;
    lane.device.set_counted(Direction::Entry, 5_000);
    let said = lane.handle.state.wait_for(|s| s.last_error.is_some());
    let said = timeout(SOON, said).await.unwrap().unwrap().last_error.clone().unwrap();
    assert!(said.contains("the controller has restarted or was reset"), "{said}");
    lane.device.set_trouble(3, 0);
    let said = lane
        .handle
        .state
        .wait_for(|s| s.last_error.as_ref().is_some_and(|e| e.contains("reports fault 03")));
    timeout(SOON, said).await.expect("in time").unwrap();
    // A wrap of the counter is a passage.
    lane.device.set_counted(Direction::Exit, 0xFF_FFFF);
    let said = lane.handle.state.wait_for(|s| s.last_error.as_ref().unwrap().contains("16777215]"));
    timeout(SOON, said).await.expect("in time").unwrap();
    lane.device.walk(Direction::Exit);
    assert_eq!(lane.passed().await, Direction::Exit);
    let state = lane.handle.state.borrow().clone();
    assert_eq!((state.passages, state.errors, state.connected), (1, 0, true));
    lane.stop().await;
}

#[tokio::test]
async fn i10_a_port_that_disappears_comes_back_with_all_its_lanes() {
    for protocol in Protocol::all() {
        let mut line = Line::up(protocol, 2, None).await;
        line.bus.unplug().await;
        for lane in &mut line.lanes {
            lane.down().await;
            let passage = lane.release(Direction::Entry).await;
            match lane.event().await {
                TurnstileEvent::NotReleased {
                    passage: p,
                    why: NotReleased::Failed(_),
                    may_have_released: false,
                } => assert_eq!(p, passage),
                other => panic!("{other:?}"),
            }
            let missing = lane
                .handle
                .state
                .wait_for(|s| s.last_error.as_ref().is_some_and(|e| e.contains("cannot open")));
            timeout(SOON, missing).await.expect("in time").unwrap();
        }
        line.bus.replug().await;
        for lane in &mut line.lanes {
            assert_eq!(lane.event().await, TurnstileEvent::Up { withdrawn: vec![] });
            assert_eq!(lane.device.releases(), 0, "a release is never replayed");
            lane.released(Direction::Entry).await;
            until(|| lane.device.releases() == 1).await;
        }
        for lane in line.lanes {
            lane.stop().await;
        }
    }
}

#[tokio::test]
async fn i10_a_silent_controller_does_not_starve_the_others_on_its_line() {
    for protocol in confirming() {
        let mut line = Line::up(protocol, 3, WALKS).await;
        for dead in [0, 1] {
            line.lanes[dead].device.set_fault(Some(Fault::Deaf));
            line.lanes[dead].down().await;
        }
        let mut lane = line.lanes.pop().unwrap();
        let mut asked = 0;
        let address = |frame: &DeviceFrame| match frame.received[..] {
            [0x7E, _, address, ..] | [address, ..] => address,
            [] => 0,
        };
        for _ in 0..10 {
            while line.frames.try_recv().is_ok() {}
            lane.released(Direction::Entry).await;
            // Before its command the line carries at most one command to a silent controller.
            let mut silent = 0;
            loop {
                let frame = timeout(SOON, line.frames.recv()).await.unwrap().unwrap();
                silent += usize::from(address(&frame) != 3);
                if address(&frame) == 3 && !is_a_look(&line.bus, &frame) {
                    break;
                }
            }
            assert!(silent <= 1, "{protocol:?}: {silent}");
            asked += silent;
            assert_eq!(lane.passed().await, Direction::Entry);
        }
        let state = lane.handle.state.borrow().clone();
        assert_eq!((state.releases, state.passages, state.errors), (10, 10, 0), "{protocol:?}");
        assert!(asked < 10, "silent controllers get a turn at every release: {asked}");
        // The silent controllers are still polled.
        for dead in &mut line.lanes {
            dead.device.set_fault(None);
            assert_eq!(dead.event().await, TurnstileEvent::Up { withdrawn: vec![] });
        }
        line.lanes.push(lane);
        for lane in line.lanes {
            lane.stop().await;
        }
    }
}

#[tokio::test]
async fn lanes_on_one_line_report_only_their_own_passages() {
    for protocol in confirming() {
        let mut line = Line::up(protocol, 4, WALKS).await;
        for round in 0..3 {
            for lane in &mut line.lanes {
                let direction = Direction::BOTH[round % 2];
                lane.released(direction).await;
                assert_eq!(lane.passed().await, direction);
            }
        }
        let ports: BTreeSet<_> =
            line.lanes.iter().map(|l| l.handle.state.borrow().port.clone()).collect();
        assert_eq!(ports.len(), 1);
        for lane in line.lanes {
            let state = lane.handle.state.borrow().clone();
            assert_eq!((state.releases, state.passages, state.errors), (3, 3, 0));
            assert_eq!((lane.device.releases(), lane.device.passages()), (3, 3));
            lane.stop().await;
        }
    }
}

#[tokio::test]
async fn a_one_way_controllers_missing_port_is_named() {
    let clock = clock();
    let port = PathBuf::from("/dev/gatehouse-no-such-port");
    let line = gatehouse::turnstile::settings::SerialLine { port, baud: 9600 };
    let board = FramedBoard { line, address: 1, entry_side: Side::Left };
    let buses = Buses::new(clock.clone());
    let cancel = CancellationToken::new();
    let driver = TurnstileDriver::OneWay(board);
    let probed = gatehouse::turnstile::probe(&driver, &buses).await.unwrap_err().to_string();
    assert!(probed.contains("cannot open /dev/gatehouse-no-such-port"), "{probed}");
    let (mut handle, task) = spawn(&driver, "north", &buses, clock, cancel.clone(), false);
    let down = timeout(SOON, handle.events.recv()).await.unwrap().unwrap();
    assert!(matches!(down, TurnstileEvent::Down { .. }), "{down:?}");
    cancel.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_probe_finds_each_controller_of_a_line_and_closes_no_open_arm() {
    let clock = clock();
    for protocol in Protocol::all() {
        let bus = simulated(line(protocol, 2, None), &clock);
        let mut frames = bus.frames();
        let buses = Buses::new(clock.clone());
        let _port =
            buses.port(TurnstileDriver::of(&bus.device(1).unwrap()).unwrap().place().unwrap().0);
        for address in [1, 2] {
            let device = bus.device(address).unwrap();
            device.set_released(Direction::Entry, true);
            let found = gatehouse::turnstile::probe(&TurnstileDriver::of(&device).unwrap(), &buses)
                .await
                .unwrap();
            let named = device.path().display().to_string();
            assert!(found.contains(&named), "{found}");
            assert!(device.released(Direction::Entry));
        }
        while let Ok(frame) = frames.try_recv() {
            assert!(is_a_look(&bus, &frame), "{frame:02X?}");
        }
    }
}
