//! The task with drivers that fail, panic, or report many passages.

#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{state::HELD_BACK, *};
use crate::{
    clock::{Clock, Monotonic, SystemClock},
    turnstile::{Direction, NotReleased, PassageId, TurnstileEvent},
};

const SOON: Duration = Duration::from_secs(120);

fn north<T: Turnstile>(
    make: impl Fn() -> T + Send + Sync + 'static,
    clock: &Arc<dyn Clock>,
    cancel: &CancellationToken,
) -> (TurnstileHandle, JoinHandle<()>) {
    let (clock, cancel) = (clock.clone(), cancel.clone());
    let lane = TaskLane { name: "north".into(), clock, cancel, hold_open: false };
    spawn(make, lane, "broken".into(), None)
}

/// A controller that answers only the first poll of each connection. It reports each connection.
struct Broken {
    /// Number of further attempts to connect that fail.
    failing: usize,
    /// Whether a release is acknowledged. Otherwise its answer is lost.
    acknowledges: bool,
    polled: bool,
    connects: mpsc::UnboundedSender<Instant>,
}

fn no_answer() -> TurnstileError {
    let (port, within) = ("broken".into(), Duration::ZERO);
    TurnstileError::NoAnswer { port, address: 1, within, echoed: false }
}

impl Turnstile for Broken {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        if self.failing > 0 {
            self.failing -= 1;
            return Err(no_answer());
        }
        self.polled = false;
        self.connects.send(Instant::now()).unwrap();
        Ok(ConnectReport::default())
    }

    async fn release(&mut self, _: Direction, _: Monotonic) -> Result<(), TurnstileError> {
        if self.acknowledges { Ok(()) } else { Err(no_answer()) }
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        if std::mem::replace(&mut self.polled, true) {
            return Err(no_answer());
        }
        Ok(Polled::default())
    }

    async fn hold(&mut self, _: bool) -> Result<(), TurnstileError> {
        Ok(())
    }
}

struct Bench {
    handle: TurnstileHandle,
    clock: Arc<dyn Clock>,
    connects: mpsc::UnboundedReceiver<Instant>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Bench {
    fn on(failing: usize, acknowledges: bool) -> Self {
        let (told, connects) = mpsc::unbounded_channel();
        let make = move || Broken { failing, acknowledges, polled: false, connects: told.clone() };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let cancel = CancellationToken::new();
        let (handle, task) = north(make, &clock, &cancel);
        Self { handle, clock, connects, cancel, task }
    }

    async fn connect(&mut self) -> Instant {
        timeout(SOON, self.connects.recv()).await.expect("in time").expect("a task")
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(SOON, self.task).await.expect("in time").unwrap();
    }
}

#[tokio::test]
async fn a_coil_that_may_be_on_is_withdrawn_at_once_after_earlier_failures() {
    for acknowledges in [false, true] {
        // The pause has grown to 1.6 s, and would be 3.2 s next.
        let mut bench = Bench::on(4, acknowledges);
        bench.connect().await;
        while !matches!(bench.handle.events.recv().await, Some(TurnstileEvent::Up { .. })) {}
        let deadline = bench.clock.monotonic() + SOON;
        let passage = PassageId([1; 16]);
        let release = Release { passage, direction: Direction::Entry, deadline };
        bench.handle.releases.send(release).await.unwrap();
        let answer = timeout(SOON, bench.handle.events.recv()).await.unwrap();
        match answer {
            Some(TurnstileEvent::Released { .. }) => assert!(acknowledges),
            Some(TurnstileEvent::NotReleased { may_have_released: true, .. }) => {
                assert!(!acknowledges);
            }
            other => panic!("the first thing after the connect was no release: {other:?}"),
        }
        let released = Instant::now();
        let took = bench.connect().await.saturating_duration_since(released);
        assert!(took < Duration::from_millis(1600), "{took:?}, acknowledged: {acknowledges}");
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_controller_that_fails_after_each_connect_is_tried_at_regular_intervals() {
    let mut bench = Bench::on(0, false);
    let mut before = bench.connect().await;
    for _ in 0..4 {
        let connected = bench.connect().await;
        let pause = connected - before;
        // There is a pause, and it does not double each time: the fourth would be 1.6 s.
        assert!(pause >= *BACKOFF.start() && pause < 5 * *BACKOFF.start(), "{pause:?}");
        before = connected;
    }
    bench.stop().await;
}

/// What all drivers of one line did.
#[derive(Default)]
struct Line {
    made: AtomicUsize,
    connects: Mutex<Vec<(usize, Instant, bool)>>,
}

/// A driver. The first one panics at a release; `connects` may panic at a connection.
struct Faulty {
    number: usize,
    line: Arc<Line>,
    cancel: CancellationToken,
    connects: fn(usize) -> Result<(), TurnstileError>,
}

impl Turnstile for Faulty {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        let connect = (self.number, Instant::now(), self.cancel.is_cancelled());
        self.line.connects.lock().unwrap().push(connect);
        (self.connects)(self.number).map(|()| ConnectReport::default())
    }

    async fn release(&mut self, _: Direction, _: Monotonic) -> Result<(), TurnstileError> {
        assert_ne!(self.number, 1, "no release");
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        Ok(Polled::default())
    }

    async fn hold(&mut self, _: bool) -> Result<(), TurnstileError> {
        Ok(())
    }
}

struct FaultBench {
    handle: TurnstileHandle,
    clock: Arc<dyn Clock>,
    line: Arc<Line>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl FaultBench {
    /// Creates the bench. `connects` returns the result of connecting the driver with this number.
    fn new(connects: fn(usize) -> Result<(), TurnstileError>) -> Self {
        let (line, cancel) = (Arc::new(Line::default()), CancellationToken::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let (shared, token) = (line.clone(), cancel.clone());
        let make = move || Faulty {
            number: 1 + shared.made.fetch_add(1, Ordering::SeqCst),
            line: shared.clone(),
            cancel: token.clone(),
            connects,
        };
        let (handle, task) = north(make, &clock, &cancel);
        Self { handle, clock, line, cancel, task }
    }

    async fn event(&mut self) -> TurnstileEvent {
        timeout(SOON, self.handle.events.recv()).await.expect("in time").expect("a task")
    }

    async fn release(&mut self, n: u8) -> TurnstileEvent {
        let deadline = self.clock.monotonic() + SOON;
        let passage = PassageId([n; 16]);
        let release = Release { passage, direction: Direction::Entry, deadline };
        self.handle.releases.send(release).await.unwrap();
        self.event().await
    }

    /// Makes the first driver panic at a release.
    async fn lose_the_first_driver(&mut self) {
        assert_eq!(self.event().await, TurnstileEvent::Up { withdrawn: vec![] });
        let why = "a fault in this program: assertion `left != right` failed: no release";
        match self.release(1).await {
            TurnstileEvent::NotReleased {
                passage,
                why: NotReleased::Failed(said),
                may_have_released: true,
            } => {
                assert_eq!(passage, PassageId([1; 16]));
                assert!(said.starts_with(why), "{said}");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(self.event().await, TurnstileEvent::Down { .. }));
    }
}

#[tokio::test]
async fn i10_a_driver_that_panics_is_created_again_and_its_release_is_answered() {
    let mut bench = FaultBench::new(|_| Ok(()));
    bench.lose_the_first_driver().await;
    assert_eq!(bench.event().await, TurnstileEvent::Up { withdrawn: vec![] });
    let state = bench.handle.state.borrow().clone();
    assert_eq!((state.connected, state.restarts, state.errors), (true, 1, 1));
    assert!(state.last_error.unwrap().contains("please report this"));
    assert!(matches!(bench.release(2).await, TurnstileEvent::Released { .. }));
    bench.cancel.cancel();
    timeout(SOON, bench.task).await.expect("in time").unwrap();
}

#[tokio::test]
async fn a_release_that_a_panic_lost_is_withdrawn_at_a_stop_too() {
    // The new driver cannot connect until the stop.
    let connects = |number| if number == 1 { Ok(()) } else { Err(no_answer()) };
    let mut bench = FaultBench::new(connects);
    bench.lose_the_first_driver().await;
    bench.handle.state.wait_for(|s| s.errors > 1).await.unwrap();
    bench.cancel.cancel();
    timeout(SOON, bench.task).await.expect("in time").unwrap();
    let connects = bench.line.connects.lock().unwrap();
    let (number, _, stopping) = connects.last().unwrap();
    assert_eq!((*number, *stopping), (2, true), "{connects:?}");
}

#[tokio::test]
async fn drivers_that_panic_at_each_connection_are_tried_at_growing_intervals() {
    let mut bench = FaultBench::new(|_| panic!("no connection"));
    bench.handle.state.wait_for(|s| s.restarts == 4).await.unwrap();
    assert!(matches!(bench.event().await, TurnstileEvent::Down { .. }));
    assert!(bench.handle.events.try_recv().is_err(), "reported once");
    bench.cancel.cancel();
    timeout(SOON, bench.task).await.expect("in time").unwrap();
    let connects = bench.line.connects.lock().unwrap();
    let pauses: Vec<_> = connects.windows(2).map(|two| two[1].1 - two[0].1).collect();
    for (pause, least_ms) in pauses.iter().zip([200, 400, 800]) {
        assert!(*pause >= Duration::from_millis(least_ms), "{pauses:?}");
    }
}

#[tokio::test]
async fn i10_frequent_releases_do_not_delay_the_next_connection() {
    // Four failures: the last pause is 1.6 s, and releases come far more often.
    let mut bench = Bench::on(4, false);
    let releases = bench.handle.releases.clone();
    let deadline = bench.clock.monotonic() + 10 * SOON;
    let keep_coming = tokio::spawn(async move {
        let release =
            |n| Release { passage: PassageId([n; 16]), direction: Direction::Entry, deadline };
        for n in 0.. {
            if releases.send(release(n)).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    bench.connect().await;
    keep_coming.abort();
    bench.stop().await;
}

/// Each poll reports 16 passages.
struct Crowd;

impl Turnstile for Crowd {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        Ok(ConnectReport::default())
    }

    async fn release(&mut self, _: Direction, _: Monotonic) -> Result<(), TurnstileError> {
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        Ok(Polled { passed: vec![Direction::Entry; 16], ..Polled::default() })
    }

    async fn hold(&mut self, _: bool) -> Result<(), TurnstileError> {
        Ok(())
    }
}

#[tokio::test]
async fn i8_a_lane_that_takes_no_events_gets_no_release_and_lost_events_are_counted() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let cancel = CancellationToken::new();
    let (mut handle, task) = north(|| Crowd, &clock, &cancel);
    let state = |holds: fn(&TurnstileState) -> bool| {
        let mut state = handle.state.clone();
        async move { timeout(SOON, state.wait_for(holds)).await.expect("in time").unwrap().clone() }
    };
    // The events in the channel, and half of the events held back.
    state(|s| s.passages as usize > EVENTS + HELD_BACK / 2).await;
    let deadline = clock.monotonic() + SOON;
    let release = |n: usize| {
        let passage = PassageId([n as u8; 16]);
        Release { passage, direction: Direction::Entry, deadline }
    };
    for n in 0..RELEASES {
        handle.releases.try_send(release(n)).unwrap();
    }
    assert!(handle.releases.try_send(release(RELEASES)).is_err(), "the queue is full");
    let lost = state(|s| s.lost_events > 0).await;
    assert_eq!(lost.releases, 0);
    assert_eq!(handle.releases.capacity(), 0, "none was taken");
    // When the lane takes events again, it receives each passage but the lost ones. Its releases
    // are carried out.
    let (mut heard, mut released) = (0, 0);
    while released < RELEASES {
        match timeout(SOON, handle.events.recv()).await.expect("in time").unwrap() {
            TurnstileEvent::Passed { .. } => heard += 1,
            TurnstileEvent::Released { .. } => released += 1,
            TurnstileEvent::Up { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(heard >= EVENTS + HELD_BACK / 2, "{heard}");
    cancel.cancel();
    timeout(SOON, task).await.expect("in time").unwrap();
    while let Some(event) = handle.events.recv().await {
        heard += usize::from(matches!(event, TurnstileEvent::Passed { .. }));
    }
    let state = handle.state.borrow().clone();
    assert_eq!(heard as u64 + state.lost_events, state.passages);
}

/// At its first connection the fire alarm is on and the arm does not open.
struct Stuck {
    holds: Arc<Mutex<Vec<bool>>>,
}

impl Turnstile for Stuck {
    async fn connect(&mut self) -> Result<ConnectReport, TurnstileError> {
        Ok(ConnectReport {
            fire: Some(self.holds.lock().unwrap().is_empty()),
            ..ConnectReport::default()
        })
    }

    async fn release(&mut self, _: Direction, _: Monotonic) -> Result<(), TurnstileError> {
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled, TurnstileError> {
        Ok(Polled { fire: Some(self.holds.lock().unwrap().len() < 2), ..Polled::default() })
    }

    async fn hold(&mut self, open: bool) -> Result<(), TurnstileError> {
        let mut holds = self.holds.lock().unwrap();
        holds.push(open);
        if holds.len() == 1 { Err(no_answer()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_fire_alarm_is_reported_even_if_the_arm_fails_to_open_and_opens_it_later() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let (holds, cancel) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let kept = holds.clone();
    let make = move || Stuck { holds: kept.clone() };
    let (mut handle, task) = north(make, &clock, &cancel);
    let mut said = Vec::new();
    while said.len() < 4 {
        said.push(timeout(SOON, handle.events.recv()).await.expect("in time").expect("a task"));
    }
    assert!(
        matches!(
            said[..],
            [
                TurnstileEvent::Fire { on: true, .. },
                TurnstileEvent::Down { .. },
                // The input has gone off meanwhile. That does not close the arm.
                TurnstileEvent::Up { .. },
                TurnstileEvent::Fire { on: false, .. },
            ]
        ),
        "{said:?}"
    );
    assert!(handle.state.borrow().held_open);
    // The lane has received the alarm. It holds the arm open, and then ends the hold.
    while holds.lock().unwrap().len() < 3 {
        // A value that changes before the task has seen it has no effect.
        handle.hold_open.send_replace(true);
        sleep(Duration::from_millis(5)).await;
        handle.hold_open.send_replace(false);
        sleep(Duration::from_millis(5)).await;
    }
    timeout(SOON, handle.state.wait_for(|s| !s.held_open)).await.expect("in time").unwrap();
    assert_eq!(*holds.lock().unwrap(), [true, true, false]);
    cancel.cancel();
    timeout(SOON, task).await.expect("in time").unwrap();
}
