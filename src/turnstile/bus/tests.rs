//! The serial line's task on a pseudo-terminal. The test reads and writes the other end.

use std::sync::atomic::AtomicUsize;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use tokio_serial::{SerialPort, SerialStream};

use super::{hearing::CHUNK, *};
use crate::clock::ManualClock;

const SOON: Duration = Duration::from_secs(120);

/// A serial line and its other end.
struct Bench {
    clock: Arc<ManualClock>,
    port: Arc<Port>,
    far: SerialStream,
    /// The end that the port opens by its name. It is kept open so that `far` does not hang up.
    _near: SerialStream,
}

impl Bench {
    fn new() -> Self {
        let (far, near) = SerialStream::pair().unwrap();
        let clock = Arc::new(ManualClock::new(0, true));
        let line = SerialLine { port: near.name().unwrap().into(), baud: 9600 };
        let port = Buses::new(clock.clone()).port(&line);
        Self { clock, port, far, _near: near }
    }

    async fn connect(&self, address: u8) -> Session {
        connected(&self.port, address).await
    }

    /// Returns the next command: an address and a code, of one byte each.
    async fn hears(&mut self) -> [u8; 2] {
        let mut bytes = [0; 2];
        timeout(SOON, self.far.read_exact(&mut bytes)).await.expect("a command").unwrap();
        bytes
    }

    async fn answers(&mut self, bytes: [u8; 2]) {
        self.far.write_all(&bytes).await.unwrap();
    }
}

async fn connected(port: &Arc<Port>, address: u8) -> Session {
    let mut session = Session::new(port.clone(), address);
    session.connect(Duration::ZERO).await.unwrap();
    session
}

/// Returns an exchange whose answer is two bytes, the address first.
fn ask(address: u8, what: u8, turn: Turn) -> Exchange {
    let find: Find = Box::new(move |heard| match heard.iter().position(|b| *b == address) {
        Some(at) if at + 2 <= heard.len() => Found::Answer { passed_over: at, len: 2 },
        at => Found::Nothing { passed_over: at.unwrap_or(heard.len()) },
    });
    Exchange { send: vec![address, what], find: Some(find), turn, ..Exchange::default() }
}

/// Carries out an exchange in a task of its own.
fn beside(
    mut session: Session,
    exchange: Exchange,
) -> tokio::task::JoinHandle<(Session, Result<Vec<u8>, TurnstileError>)> {
    tokio::spawn(async move {
        let answer = session.exchange(exchange).await;
        (session, answer)
    })
}

impl Bench {
    /// Returns a session whose device has answered once.
    async fn at_work(&mut self, address: u8) -> Session {
        let first = beside(self.connect(address).await, ask(address, 0, Turn::Routine));
        assert_eq!(self.hears().await, [address, 0]);
        self.answers([address, 0]).await;
        let (session, answer) = first.await.unwrap();
        answer.unwrap();
        session
    }
}

#[tokio::test]
async fn an_urgent_exchange_waits_behind_one_silent_device_at_most() {
    let mut bench = Bench::new();
    let healthy = bench.at_work(1).await;
    let dead = [2, 3, 4].map(|address| (address, bench.port.clone()));
    let mut silent = Vec::new();
    for (address, port) in dead {
        let session = connected(&port, address).await;
        silent.push(beside(session, ask(address, 9, Turn::Routine)));
    }
    // The first silent device has the line; the others wait.
    assert_eq!(bench.hears().await, [2, 9]);
    let urgent = beside(healthy, ask(1, 7, Turn::Urgent));
    assert_eq!(bench.hears().await, [1, 7]);
    bench.answers([1, 8]).await;
    let (session, answer) = urgent.await.unwrap();
    assert_eq!(answer.unwrap(), [1, 8]);
    // A poll does not wait behind the other two silent devices either. They have their turn after
    // `SPACING`.
    let poll = beside(session, ask(1, 6, Turn::Routine));
    assert_eq!(bench.hears().await, [1, 6]);
    bench.answers([1, 6]).await;
    poll.await.unwrap().1.unwrap();
    assert_eq!(bench.hears().await, [3, 9]);
    for silent in silent {
        let (_, answer) = timeout(SOON, silent).await.unwrap().unwrap();
        assert!(matches!(answer, Err(TurnstileError::NoAnswer { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn i4_a_command_past_its_deadline_at_its_turn_is_not_sent() {
    let mut bench = Bench::new();
    let (first, second) = (bench.at_work(1).await, bench.at_work(2).await);
    let slow = beside(first, ask(1, 1, Turn::Routine));
    assert_eq!(bench.hears().await, [1, 1]);
    let deadline = Some(bench.clock.monotonic() + Duration::from_millis(100));
    let release = beside(second, Exchange { deadline, ..ask(2, 7, Turn::Urgent) });
    tokio::task::yield_now().await;
    bench.clock.advance(Duration::from_millis(101));
    bench.answers([1, 1]).await;
    slow.await.unwrap().1.unwrap();
    let (session, answer) = release.await.unwrap();
    assert!(matches!(answer, Err(TurnstileError::Late { .. })), "{answer:?}");
    // The session goes on: the next bytes on the line are the next command.
    let next = beside(session, ask(2, 8, Turn::Routine));
    assert_eq!(bench.hears().await, [2, 8]);
    bench.answers([2, 8]).await;
    next.await.unwrap().1.unwrap();
}

#[tokio::test]
async fn a_missed_answer_ends_the_session_after_the_driver_stopped_waiting() {
    let mut bench = Bench::new();
    let mut session = bench.at_work(1).await;
    tokio::select! {
        answer = session.exchange(ask(1, 1, Turn::Routine)) => panic!("{answer:?}"),
        heard = bench.hears() => assert_eq!(heard, [1, 1]),
    }
    // The second command is not sent, so it cannot take the first one's late answer.
    let second = beside(session, ask(1, 2, Turn::Urgent));
    let (_, answer) = timeout(SOON, second).await.unwrap().unwrap();
    assert!(matches!(answer, Err(TurnstileError::NotConnected { .. })), "{answer:?}");
    bench.at_work(1).await;
}

#[tokio::test]
async fn a_late_answer_makes_the_line_not_quiet_and_is_taken_for_no_other() {
    let mut bench = Bench::new();
    let mut late = bench.at_work(1).await;
    let mut other = bench.at_work(2).await;
    let missed = late.exchange(ask(1, 1, Turn::Routine)).await;
    assert!(matches!(missed, Err(TurnstileError::NoAnswer { .. })), "{missed:?}");
    bench.hears().await;
    let quiet = tokio::spawn({
        let port = bench.port.clone();
        async move {
            let mut session = Session::new(port, 1);
            session.connect(Duration::from_secs(1)).await.map(|()| session)
        }
    });
    // While another device is asked, the late answer arrives, and then the right answer.
    let asked = tokio::spawn(async move { other.exchange(ask(2, 5, Turn::Routine)).await });
    assert_eq!(bench.hears().await, [2, 5]);
    bench.answers([1, 1]).await;
    assert!(!quiet.is_finished());
    bench.answers([2, 6]).await;
    assert_eq!(asked.await.unwrap().unwrap(), [2, 6]);
    let mut session = timeout(SOON, quiet).await.unwrap().unwrap().unwrap();
    let asked = tokio::spawn(async move { session.exchange(ask(1, 3, Turn::Routine)).await });
    assert_eq!(bench.hears().await, [1, 3]);
    bench.answers([1, 4]).await;
    assert_eq!(asked.await.unwrap().unwrap(), [1, 4]);
}

#[tokio::test]
async fn a_pause_within_an_answer_ends_the_frame() {
    let mut bench = Bench::new();
    let session = bench.at_work(1).await;
    let gap = Some(Duration::from_millis(40));
    let exchange = Exchange { gap, ..ask(1, 1, Turn::Routine) };
    let asked = beside(session, exchange);
    bench.hears().await;
    bench.far.write_all(&[1]).await.unwrap();
    sleep(Duration::from_millis(120)).await;
    bench.answers([1, 9]).await;
    assert_eq!(asked.await.unwrap().1.unwrap(), [1, 9], "not 1 and 1");
}

#[tokio::test]
async fn i10_after_a_panic_of_the_lines_task_drivers_can_connect_again() {
    let mut bench = Bench::new();
    let (one, mut two) = (bench.at_work(1).await, bench.at_work(2).await);
    let find: Find = Box::new(|_| panic!("no frame"));
    let asked = beside(one, Exchange { find: Some(find), ..ask(1, 1, Turn::Routine) });
    bench.hears().await;
    bench.answers([1, 1]).await;
    let (_, answer) = timeout(SOON, asked).await.unwrap().unwrap();
    assert!(matches!(answer, Err(TurnstileError::Line { .. })), "{answer:?}");
    let other = two.exchange(ask(2, 1, Turn::Routine)).await;
    assert!(matches!(other, Err(TurnstileError::NotConnected { .. })), "{other:?}");
    bench.at_work(2).await;
}

#[tokio::test]
async fn i8_the_bytes_kept_for_a_codec_are_bounded() {
    let mut bench = Bench::new();
    let session = bench.at_work(1).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let most = seen.clone();
    let find: Find = Box::new(move |heard| {
        most.fetch_max(heard.len(), Ordering::Relaxed);
        Found::Nothing { passed_over: 0 }
    });
    let asked = beside(session, Exchange { find: Some(find), ..ask(1, 1, Turn::Routine) });
    bench.hears().await;
    bench.far.write_all(&[0xA5; 3000]).await.unwrap();
    let (_, answer) = timeout(SOON, asked).await.unwrap().unwrap();
    assert!(matches!(answer, Err(TurnstileError::Garbled { .. })), "{answer:?}");
    let most = seen.load(Ordering::Relaxed);
    assert!(most > CHUNK / 2 && most <= 2 * CHUNK, "{most}");
}

#[tokio::test]
async fn lanes_that_name_the_same_port_share_its_task_until_the_last_one_drops_it() {
    let (_far, near) = SerialStream::pair().unwrap();
    let line = SerialLine { port: near.name().unwrap().into(), baud: 9600 };
    let buses = Buses::new(Arc::new(ManualClock::new(0, true)));
    let (one, two) = (buses.port(&line), buses.port(&line));
    assert!(Arc::ptr_eq(&one, &two));
    let jobs = one.jobs.clone();
    drop((one, two));
    assert!(buses.ports.lock().unwrap()[&line.port].upgrade().is_none());
    drop(jobs);
    let third = buses.port(&line);
    let other = SerialLine { port: "/dev/other".into(), ..line };
    assert!(!Arc::ptr_eq(&third, &buses.port(&other)));
}
