//! A real mosquitto on its own port, and a platform that subscribes to it.

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

/// Timeout after which a test fails because an event has not come. A busy machine needs far less.
pub const SOON: Duration = Duration::from_secs(180);
/// Topic of a retained message; its arrival proves that a subscription is active.
const PROBE: &str = "gatehouse/probe";

/// Returns a free port below the range from which the kernel chooses clients' ports. A client can
/// therefore not take it while the broker is away, nor connect to itself on it. Other tests on this
/// machine do not get it either. Each taken port is a socket with a name that all tests know, and
/// the kernel keeps the socket until this process ends.
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

/// Returns the path of mosquitto. Debian installs it in /usr/sbin, which is not on every PATH.
fn mosquitto() -> PathBuf {
    let installed = Path::new("/usr/sbin/mosquitto");
    if installed.exists() { installed.into() } else { "mosquitto".into() }
}

/// Polls `ready` until it returns a value, and fails the test after `SOON`.
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

/// A broker that can stop and start again. Dropping this value ends its process.
pub struct Broker {
    pub port: u16,
    config: PathBuf,
    process: Option<Child>,
}

impl Broker {
    /// Prepares a broker without starting it. It keeps subscriptions and queued messages in `dir`.
    /// It saves after every change, so that a kill loses nothing for a subscriber.
    pub fn new(dir: &Path) -> Self {
        Self::that_saves(dir, "autosave_on_changes true\nautosave_interval 1\n")
    }

    /// As `new`, but the broker saves with mosquitto's defaults: every half hour and at its end. A
    /// kill loses the acknowledged messages and the subscriptions since the last save.
    pub fn that_saves_seldom(dir: &Path) -> Self {
        Self::that_saves(dir, "")
    }

    fn that_saves(dir: &Path, when: &str) -> Self {
        let port = free_port();
        std::fs::create_dir(dir).unwrap();
        let config = dir.join("mosquitto.conf");
        // As root, mosquitto would change to a user who may not write to `dir`.
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser {user}\n\
             persistence true\npersistence_location {}/\nmax_queued_messages 0\n{when}",
            dir.display()
        );
        std::fs::write(&config, text).unwrap();
        Self { port, config, process: None }
    }

    /// Returns the address for the configuration of an `[[upstream]]`.
    pub fn address(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Appends to the broker's configuration; it applies from the next start.
    pub fn add(&self, lines: &str) {
        let mut config = File::options().append(true).open(&self.config).unwrap();
        config.write_all(lines.as_bytes()).unwrap();
    }

    /// Starts mosquitto and waits until it listens.
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

    /// Stops the broker as its operator does: it saves what subscribers have acknowledged.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("started");
        // SAFETY: no memory is involved; the process is ours and not yet waited for.
        assert_eq!(unsafe { libc::kill(process.id() as i32, libc::SIGTERM) }, 0);
        assert!(process.wait().unwrap().success());
    }

    /// Freezes the broker: it neither reads nor sends until `go_on`.
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

    /// Kills the broker, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Waits until the subscriber's acknowledgements have reached the broker. Otherwise a broker
    /// that ends now would send the same messages again. Two probes prove it. The subscriber
    /// acknowledges all earlier messages before it reads the first probe. The broker reads those
    /// acknowledgements before it handles the second probe.
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

    /// Publishes a message, as a platform does.
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

    /// Connects a platform's subscriber, whose session outlives the broker.
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
    /// Returns the last part of the topic: `attendance`, `event`, `status`.
    pub fn leaf(&self) -> &str {
        self.topic.rsplit('/').next().unwrap()
    }
}

/// A subscriber's process. Dropping this value ends it.
pub struct Subscriber {
    process: Child,
    lines: mpsc::Receiver<String>,
    /// All messages on `attendance` and `event`, in the order of arrival.
    pub records: Vec<Message>,
}

impl Subscriber {
    pub fn next(&mut self) -> Message {
        self.next_within(SOON)
            .unwrap_or_else(|| panic!("no further message; so far: {:#?}", self.records))
    }

    /// Returns the next message, if it comes within this time.
    pub fn next_within(&mut self, timeout: Duration) -> Option<Message> {
        let line = match self.lines.recv_timeout(timeout) {
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

    /// Returns the next message on this topic. Ignores a record that has come before, as a platform must:
    /// a record is sent again if the daemon ends before the broker's acknowledgement is stored.
    pub fn next_on(&mut self, leaf: &str) -> Value {
        loop {
            let message = self.next();
            let number = |m: &Message| (m.json["ledger"].clone(), m.json["seq"].clone());
            let came = self.records.iter().filter(|m| number(m) == number(&message)).count();
            if message.leaf() == leaf && (message.json["seq"].is_null() || came == 1) {
                return message.json;
            }
        }
    }

    /// Returns the next event of this kind.
    pub fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next_on("event");
            if event["kind"] == kind {
                return event;
            }
        }
    }

    /// Asserts that the records are complete: each seq from 1 on that the ledger has not lost, in the order of its first arrival,
    /// from one ledger. A record may come again, for the gateway or the broker may lose an
    /// acknowledgement, but only with the same content.
    pub fn assert_whole(&self) {
        let content = |message: &Message| {
            let mut json = message.json.clone();
            json.as_object_mut().expect("an object").remove("resent");
            json
        };
        let mut first: Vec<Value> = Vec::new();
        for record in self.records.iter().map(content) {
            match first.iter().find(|r| r["seq"] == record["seq"]) {
                Some(earlier) => assert_eq!(earlier, &record, "a record came again, changed"),
                None => first.push(record),
            }
        }
        let mut next = 1;
        for record in &first {
            // Seqs that the ledger has lost are passed over.
            if record["kind"] == "lost" {
                let from = record["first"].as_u64().unwrap();
                // Some of them may have come before they were lost.
                assert!((1..=next).contains(&from), "{:#?}", self.records);
                next = record["last"].as_u64().unwrap() + 1;
            }
            assert_eq!(record["seq"], next, "{:#?}", self.records);
            next += 1;
        }
        let ledger = &first.first().expect("records")["ledger"];
        assert!(first.iter().all(|r| &r["ledger"] == ledger), "{:#?}", self.records);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
