//! A real mosquitto on a port of its own, and a platform that listens to it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::process::ends_with_test;

/// Longest wait for an event. A busy machine needs far less; a test that waits in vain fails.
pub const SOON: Duration = Duration::from_secs(180);
/// A retained message by which a subscriber knows that its subscription stands.
const PROBE: &str = "gatehouse/probe";

/// A free port below those that the kernel gives to clients: none of them can take it while the
/// broker is away, nor connect to itself on it. Nor does another test on this machine: a port is taken
/// with a socket whose name all tests share, which the kernel keeps until this process ends.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static TAKEN: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    let first = (std::process::id() % 10_000) as u16;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let name = SocketAddr::from_abstract_name(format!("gatehouse-test-port-{port}")).unwrap();
        let Ok(taken) = UnixDatagram::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            TAKEN.lock().unwrap().push(taken);
            return port;
        }
    }
}

/// Debian keeps servers in /usr/sbin, which is not on everybody's PATH.
fn mosquitto() -> PathBuf {
    let installed = Path::new("/usr/sbin/mosquitto");
    if installed.exists() { installed.into() } else { "mosquitto".into() }
}

/// Waits for what `ready` tells, and asks again now and then.
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(begun.elapsed() < SOON, "waited {SOON:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A broker that can go away and come back; it ends with this value.
pub struct Broker {
    pub port: u16,
    config: PathBuf,
    process: Option<Child>,
}

impl Broker {
    /// Not started yet. It keeps subscriptions and what waits for a subscriber in `dir`. It saves after
    /// every change, so that a kill loses nothing that a subscriber has subscribed to.
    pub fn new(dir: &Path) -> Self {
        Self::that_saves(dir, "autosave_on_changes true\nautosave_interval 1\n")
    }

    /// The same, saving as its maker thought: each half hour, and when it is stopped. A kill loses
    /// what it acknowledged since, and who had subscribed.
    pub fn that_saves_seldom(dir: &Path) -> Self {
        Self::that_saves(dir, "")
    }

    fn that_saves(dir: &Path, when: &str) -> Self {
        let port = free_port();
        std::fs::create_dir(dir).unwrap();
        let config = dir.join("mosquitto.conf");
        // It would otherwise give up root for a user who may not write to `dir`.
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser {user}\n\
             persistence true\npersistence_location {}/\nmax_queued_messages 0\n{when}",
            dir.display()
        );
        std::fs::write(&config, text).unwrap();
        Self { port, config, process: None }
    }

    /// What an `[[upstream]]` calls it.
    pub fn address(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// More of its configuration, from the next start on.
    pub fn add(&self, lines: &str) {
        let mut config = File::options().append(true).open(&self.config).unwrap();
        config.write_all(lines.as_bytes()).unwrap();
    }

    pub fn start(&mut self) {
        assert!(self.process.is_none());
        let mut command = Command::new(mosquitto());
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = ends_with_test(&mut command)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run mosquitto: {e}; run tests/run"));
        let process = self.process.insert(process);
        until("mosquitto to listen", || {
            if let Some(ended) = process.try_wait().unwrap() {
                panic!("mosquitto ended: {ended}");
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// As its operator does: it saves what subscribers have acknowledged.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("started");
        // SAFETY: no memory is involved; the process is ours and not yet waited for.
        assert_eq!(unsafe { libc::kill(process.id() as i32, libc::SIGTERM) }, 0);
        assert!(process.wait().unwrap().success());
    }

    /// It takes nothing in, and says nothing, until it goes on.
    pub fn stall(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        let process = self.process.as_ref().unwrap();
        // SAFETY: no memory is involved; the process is ours and not yet waited for.
        assert_eq!(unsafe { libc::kill(process.id() as i32, signal) }, 0);
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Until the broker has heard from the subscriber that it has what it was given; otherwise one that
    /// ends here gives it once more. The subscriber acknowledges a message before it takes the next one,
    /// which the first probe is; and before the broker takes in the second, it has read that.
    pub fn flush(&self, subscriber: &mut Subscriber) {
        static NEXT: AtomicU16 = AtomicU16::new(2);
        let port = self.port.to_string();
        for _ in 0..2 {
            let probe = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
            let mut publish = Command::new("mosquitto_pub");
            publish.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", PROBE, "-m", &probe]);
            assert!(publish.status().unwrap().success());
            let sent: Value = probe.parse().unwrap();
            let is_it = |message: Message| message.topic == PROBE && message.json == sent;
            while !is_it(subscriber.next()) {}
        }
    }

    /// A platform says something.
    pub fn publish(&self, topic: &str, payload: &[u8]) {
        use std::io::Write;
        let mut client = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-t", topic, "-s"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run mosquitto_pub: {e}; run tests/run"));
        client.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(client.wait().unwrap().success());
    }

    /// A platform's subscriber, with a session that outlives the broker.
    pub fn subscriber(&self) -> Subscriber {
        let port = self.port.to_string();
        let client = |program: &str| {
            let mut client = Command::new(program);
            client.args(["-h", "127.0.0.1", "-p", &port, "-q", "1"]);
            client
        };
        let probed = client("mosquitto_pub").args(["-r", "-t", PROBE, "-m", "1"]).status();
        assert!(probed.unwrap_or_else(|e| panic!("cannot run mosquitto_pub: {e}")).success());
        let mut command = client("mosquitto_sub");
        command
            .args(["-c", "-i", "platform", "-t", "gatehouse/#", "-F", "%t %p"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = ends_with_test(&mut command).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut subscriber = Subscriber { process, lines, records: Vec::new() };
        while subscriber.next().topic != PROBE {}
        subscriber
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub json: Value,
}

impl Message {
    /// The last part of the topic: `attendance`, `event`, `status`.
    pub fn leaf(&self) -> &str {
        self.topic.rsplit('/').next().unwrap()
    }
}

/// A subscriber's process; it ends with this value.
pub struct Subscriber {
    process: Child,
    lines: mpsc::Receiver<String>,
    /// All of `attendance` and `event` that came, as it came.
    pub records: Vec<Message>,
}

impl Subscriber {
    pub fn next(&mut self) -> Message {
        self.next_within(SOON)
            .unwrap_or_else(|| panic!("no further message; so far: {:#?}", self.records))
    }

    /// The next message, if one comes within this time.
    pub fn next_within(&mut self, patience: Duration) -> Option<Message> {
        let line = match self.lines.recv_timeout(patience) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => return None,
            Err(e) => panic!("mosquitto_sub has ended ({e})"),
        };
        let (topic, payload) = line.split_once(' ').unwrap();
        let json = serde_json::from_str(payload).unwrap_or_else(|e| panic!("{e}: {line}"));
        let message = Message { topic: topic.to_owned(), json };
        if matches!(message.leaf(), "attendance" | "event") {
            self.records.push(message.clone());
        }
        Some(message)
    }

    /// The next message on this topic.
    pub fn next_on(&mut self, leaf: &str) -> Value {
        loop {
            let message = self.next();
            if message.leaf() == leaf {
                return message.json;
            }
        }
    }

    /// The next event of this kind.
    pub fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next_on("event");
            if event["kind"] == kind {
                return event;
            }
        }
    }

    /// What came is whole: each seq from 1 on, once, in order, of one ledger.
    pub fn assert_whole(&self) {
        let seqs: Vec<_> = self.records.iter().map(|m| m.json["seq"].as_u64().unwrap()).collect();
        let expected: Vec<_> = (1..=seqs.len() as u64).collect();
        assert_eq!(seqs, expected, "{:#?}", self.records);
        let ledger = &self.records.first().expect("records").json["ledger"];
        assert!(self.records.iter().all(|m| &m.json["ledger"] == ledger), "{:#?}", self.records);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
