//! Three real nats-servers on loopback as one broker: JetStream, each stream on all three, and MQTT.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::broker::{free_port, until};

pub const NODES: usize = 3;
/// A follower that takes longer is not being caught up.
const CAUGHT_UP: Duration = Duration::from_secs(5);
const ANSWERED: Duration = Duration::from_secs(5);

/// Debian keeps servers in /usr/sbin, which is not on everybody's PATH.
fn server() -> PathBuf {
    let installed = Path::new("/usr/sbin/nats-server");
    if installed.exists() { installed.into() } else { "nats-server".into() }
}

struct Node {
    config: PathBuf,
    log: PathBuf,
    client: u16,
    mqtt: u16,
    monitor: u16,
    process: Option<Child>,
}

impl Node {
    /// Until it says so. nats-server 2.9 has groups that do not take back a node that was killed; it gets
    /// [`remedy`].
    fn be_well(&mut self) {
        let process = self.process.as_mut().expect("a node that runs");
        let mut since = Instant::now();
        until("a nats-server to be well", || {
            if let Some(ended) = process.try_wait().unwrap() {
                panic!("nats-server ended: {ended}");
            }
            let said = asked(self.monitor, "/healthz").ok()?;
            if since.elapsed() > CAUGHT_UP {
                since = Instant::now();
                let _ = remedy(&said).map(|subject| request(self.client, &subject));
            }
            said.contains("\"ok\"").then_some(())
        });
    }
}

/// The cluster; it ends with this value.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Not started yet. Each node keeps its streams in a folder of its own in `dir`.
    pub fn new(dir: &Path) -> Cluster {
        let routes: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let all: Vec<_> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let nodes = (0..NODES).map(|n| {
            let own = dir.join(format!("node-{n}"));
            std::fs::create_dir_all(&own).unwrap();
            let (client, monitor, mqtt) = (free_port(), free_port(), free_port());
            let (config, log) = (own.join("nats.conf"), own.join("log"));
            let text = format!(
                r#"server_name: node-{n}
listen: "127.0.0.1:{client}"
http: "127.0.0.1:{monitor}"
log_file: {log:?}
jetstream {{ store_dir: {own:?}, max_mem: 64M, max_file: 1G }}
cluster {{ name: gate, listen: "127.0.0.1:{route}", routes: {all:?} }}
mqtt {{ listen: "127.0.0.1:{mqtt}", ack_wait: "10s", max_ack_pending: 1000 }}
"#,
                route = routes[n],
            );
            std::fs::write(&config, text).unwrap();
            Node { config, log, client, mqtt, monitor, process: None }
        });
        Cluster { nodes: nodes.collect() }
    }

    /// Where MQTT is spoken.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.mqtt).collect()
    }

    /// Starts those that do not run, and waits until all have the streams and consumers that their
    /// leaders have: before that, the loss of one more is the loss of two.
    pub fn start(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            let mut command = Command::new(server());
            command.arg("-c").arg(&node.config).stdout(Stdio::null()).stderr(Stdio::null());
            let process = command.spawn();
            node.process = Some(
                process.unwrap_or_else(|e| panic!("cannot run nats-server: {e}; run tests/run")),
            );
        }
        self.nodes.iter_mut().for_each(Node::be_well);
    }

    /// As a power cut would.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.nodes[n].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..NODES).for_each(|n| self.kill(n));
        if std::thread::panicking() {
            for Node { log, .. } in &self.nodes {
                eprintln!("{log:?}:\n{}", std::fs::read_to_string(log).unwrap_or_default());
            }
        }
    }
}

/// What an operator asks of JetStream when `/healthz` says that a node stays behind in a `stream
/// 'ACCOUNT > STREAM'` or a `consumer 'ACCOUNT > STREAM > CONSUMER'`: another leader, who may be able to
/// catch it up (`nats consumer cluster step-down`). A node's own consumer of retained messages goes: it is
/// made anew under its old name with each start, and one that was away meanwhile stays with the old one
/// (nats-io/nats-server, pull request 6507).
fn remedy(said: &str) -> Option<String> {
    let said: Value = serde_json::from_str(said.lines().last()?).ok()?;
    let mut path = said["error"].as_str()?.split('\'').nth(1)?.split(" > ").skip(1);
    let stream = path.next()?;
    Some(match path.next() {
        None => format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}"),
        Some(consumer) if stream == "$MQTT_rmsgs" => {
            format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}")
        }
        Some(consumer) => format!("$JS.API.CONSUMER.LEADER.STEPDOWN.{stream}.{consumer}"),
    })
}

/// Publishes an empty message in NATS' own protocol, and waits until the server has it.
fn request(port: u16, subject: &str) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_read_timeout(Some(ANSWERED))?;
    write!(server, "CONNECT {{\"verbose\":false}}\r\nPUB {subject} 0\r\n\r\nPING\r\n")?;
    BufReader::new(server).lines().find(|line| !matches!(line, Ok(line) if line != "PONG"));
    Ok(())
}

/// What its monitor answers.
fn asked(port: u16, path: &str) -> std::io::Result<String> {
    let mut monitor = TcpStream::connect(("127.0.0.1", port))?;
    monitor.set_read_timeout(Some(ANSWERED))?;
    write!(monitor, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    monitor.read_to_string(&mut answer)?;
    Ok(answer)
}
