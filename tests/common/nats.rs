//! Three real nats-servers on the loopback as one broker: JetStream with each stream on all three,
//! and MQTT.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    broker::{SOON, free_port},
    process::ends_with_test,
    slave::python,
};

pub const NODES: usize = 3;
const ANSWERED: Duration = Duration::from_secs(30);
/// Interval between two health checks of a node.
const LOOK: Duration = Duration::from_millis(250);

/// Returns the server's path, beside the Python that `tests/run` installs: see
/// `tests/peers/nats.txt`.
fn server() -> PathBuf {
    Path::new(&python()).with_file_name("nats-server")
}

struct Node {
    config: PathBuf,
    log: PathBuf,
    mqtt: u16,
    monitor: u16,
    process: Option<Child>,
}

impl Node {
    /// Waits until the node reports that it is healthy: it has all streams and consumers of their
    /// leaders. Recovery may take any time, but what is missing must change within each `SOON`.
    fn be_well(&mut self) {
        let process = self.process.as_mut().expect("a node that runs");
        let (mut lacks, mut changed) = (String::new(), Instant::now());
        loop {
            if let Some(ended) = process.try_wait().unwrap() {
                panic!("nats-server ended: {ended}");
            }
            let said = asked(self.monitor, "/healthz").unwrap_or_default();
            let said = said.lines().last().unwrap_or_default();
            if said.contains("\"ok\"") {
                return;
            }
            if said != lacks {
                (lacks, changed) = (said.to_owned(), Instant::now());
            }
            assert!(changed.elapsed() < SOON, "a nats-server is not well for {SOON:?}: {lacks}");
            std::thread::sleep(LOOK);
        }
    }
}

/// The cluster. Dropping this value ends its processes.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Prepares the cluster without starting it. Each node keeps its streams in its own folder in
    /// `dir`.
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
            Node { config, log, mqtt, monitor, process: None }
        });
        Cluster { nodes: nodes.collect() }
    }

    /// Returns the nodes' ports for MQTT.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.mqtt).collect()
    }

    /// Starts the stopped nodes and waits until all nodes have the streams and consumers of their
    /// leaders. Before that, the loss of one more node would be the loss of two.
    pub fn start(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            let mut command = Command::new(server());
            command.arg("-c").arg(&node.config).stdout(Stdio::null()).stderr(Stdio::null());
            let process = ends_with_test(&mut command).spawn();
            node.process = Some(
                process.unwrap_or_else(|e| panic!("cannot run nats-server: {e}; run tests/run")),
            );
        }
        self.nodes.iter_mut().for_each(Node::be_well);
    }

    /// Sends a signal to all running nodes.
    pub fn signal(&self, signal: i32) {
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            // SAFETY: no memory is involved; the process is ours and not yet waited for.
            assert_eq!(unsafe { libc::kill(process.id() as i32, signal) }, 0);
        }
    }

    /// Kills a node, as a power cut would.
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

/// Returns the answer of a node's monitor.
fn asked(port: u16, path: &str) -> std::io::Result<String> {
    let mut monitor = TcpStream::connect(("127.0.0.1", port))?;
    monitor.set_read_timeout(Some(ANSWERED))?;
    write!(monitor, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    monitor.read_to_string(&mut answer)?;
    Ok(answer)
}
