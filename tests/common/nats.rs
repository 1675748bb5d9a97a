//! Three real nats-servers on loopback as one broker: JetStream, each stream on all three, and MQTT.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::broker::{free_port, until};

pub const NODES: usize = 3;

/// Debian keeps servers in /usr/sbin, which is not on everybody's PATH.
fn server() -> PathBuf {
    let installed = Path::new("/usr/sbin/nats-server");
    if installed.exists() { installed.into() } else { "nats-server".into() }
}

struct Node {
    config: PathBuf,
    log: PathBuf,
    mqtt: u16,
    monitor: u16,
    process: Option<Child>,
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
            Node { config, log, mqtt, monitor, process: None }
        });
        Cluster { nodes: nodes.collect() }
    }

    /// Where MQTT is spoken.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.mqtt).collect()
    }

    /// Starts those that do not run, and waits until all say that they are well.
    pub fn start(&mut self) {
        for n in 0..NODES {
            self.start_node(n);
        }
        for n in 0..NODES {
            self.wait_for(n);
        }
    }

    pub fn start_node(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.process.is_none() {
            let mut command = Command::new(server());
            command.arg("-c").arg(&node.config).stdout(Stdio::null()).stderr(Stdio::null());
            let process = command.spawn();
            node.process = Some(
                process.unwrap_or_else(|e| panic!("cannot run nats-server: {e}; run tests/run")),
            );
        }
    }

    /// Until the cluster has a leader, and it knows what that one knows. (Of single streams it may say
    /// for as long as messages flow that they are not current.)
    pub fn wait_for(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let process = node.process.as_mut().expect("a node that runs");
        until("a nats-server to be well", || {
            if let Some(ended) = process.try_wait().unwrap() {
                let log = std::fs::read_to_string(&node.log).unwrap_or_default();
                panic!("nats-server {n} ended: {ended}\n{log}");
            }
            asked(node.monitor, "/healthz?js-server-only=true")
                .ok()
                .filter(|said| said.contains("\"ok\""))
        });
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
    }
}

/// What its monitor answers.
fn asked(port: u16, path: &str) -> std::io::Result<String> {
    let mut monitor = TcpStream::connect(("127.0.0.1", port))?;
    monitor.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(monitor, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    monitor.read_to_string(&mut answer)?;
    Ok(answer)
}
