//! A link, and the broker's end of its connections, which a test controls byte by byte.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Tripwire,
    config::Upstream,
    ledger::Ledger,
    store::Store,
    uplink::{
        Asked, Incoming, Online, Profile, UpstreamState, begin, profiles,
        tests::link::{Base, outbox, record},
    },
};

pub const SOON: Duration = Duration::from_secs(120);
pub const CONNACK: [u8; 4] = [0x20, 0x02, 0x00, 0x00];
pub const CONNACK_5: [u8; 5] = [0x20, 0x03, 0x00, 0x00, 0x00];

/// A packet of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// The byte of the version. 4 is MQTT 3.1.1.
    Connect(u8),
    Publish {
        topic: String,
        packet: u16,
        json: serde_json::Value,
    },
    Subscribe {
        packet: u16,
        topic: String,
    },
    Acknowledged(u16),
    Other(u8),
}

/// The broker's end of a connection.
pub struct Peer {
    stream: TcpStream,
    version: u8,
}

impl Peer {
    /// Accepts the next connection and reads its CONNECT, without an answer.
    pub async fn accept(broker: &TcpListener) -> Peer {
        let (stream, _) = timeout(SOON, broker.accept()).await.expect("in time").unwrap();
        let mut peer = Peer { stream, version: 4 };
        let Packet::Connect(version) = peer.next().await else { panic!("no CONNECT") };
        peer.version = version;
        peer
    }

    /// Accepts the next connection and answers CONNACK. [`Peer::record`] answers its subscriptions
    /// and its status.
    pub async fn welcome(broker: &TcpListener) -> Peer {
        let mut peer = Peer::accept(broker).await;
        peer.let_in().await;
        peer
    }

    pub async fn let_in(&mut self) {
        self.send(if self.version == 5 { &CONNACK_5 } else { &CONNACK }).await;
    }

    pub fn version(&self) -> u8 {
        self.version
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn acknowledge(&mut self, packet: u16) {
        let [high, low] = packet.to_be_bytes();
        self.send(&[0x40, 2, high, low]).await;
    }

    /// Acknowledges a packet with a reason code of MQTT 5.
    pub async fn answer(&mut self, packet: u16, reason: u8) {
        let [high, low] = packet.to_be_bytes();
        self.send(&[0x40, 4, high, low, reason, 0]).await;
    }

    /// Publishes to the client with QoS 1.
    pub async fn publish(&mut self, packet: u16, topic: &str, payload: &[u8]) {
        self.publish_as(0x32, packet, topic, payload).await;
    }

    /// Publishes a retained message to the client with QoS 1.
    pub async fn publish_kept(&mut self, packet: u16, topic: &str, payload: &[u8]) {
        self.publish_as(0x33, packet, topic, payload).await;
    }

    async fn publish_as(&mut self, kind: u8, packet: u16, topic: &str, payload: &[u8]) {
        let mut rest = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        rest.extend(topic.as_bytes());
        rest.extend(packet.to_be_bytes());
        if self.version == 5 {
            rest.push(0);
        }
        rest.extend(payload);
        let mut bytes = vec![kind];
        let mut length = rest.len();
        while length > 0x7F {
            bytes.push((length & 0x7F) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        self.send(&[bytes, rest].concat()).await;
    }

    /// Waits until the client closes the connection. Returns false after [`SOON`].
    pub async fn is_left(&mut self) -> bool {
        let mut rest = Vec::new();
        timeout(SOON, self.stream.read_to_end(&mut rest)).await.is_ok()
    }

    pub async fn next(&mut self) -> Packet {
        timeout(SOON, self.read()).await.expect("in time").expect("a packet")
    }

    async fn read(&mut self) -> std::io::Result<Packet> {
        let kind = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut rest = vec![0; length];
        self.stream.read_exact(&mut rest).await?;
        let number = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
        let text = |at: usize| {
            let end = at + 2 + usize::from(number(at));
            (String::from_utf8(rest[at + 2..end].to_vec()).unwrap(), end)
        };
        let properties = usize::from(self.version == 5);
        Ok(match kind >> 4 {
            1 => Packet::Connect(rest[6]),
            3 => {
                let (topic, at) = text(0);
                let json = serde_json::from_slice(&rest[at + 2 + properties..]).unwrap();
                Packet::Publish { topic, packet: number(at), json }
            }
            4 => Packet::Acknowledged(number(0)),
            8 => Packet::Subscribe { packet: number(0), topic: text(2 + properties).0 },
            other => Packet::Other(other),
        })
    }

    /// Returns the next record: its packet id, its seq and whether it is marked. Other packets are
    /// answered as a broker answers them.
    pub async fn record(&mut self) -> (u16, u64, bool) {
        loop {
            match self.next().await {
                Packet::Publish { packet, json, .. } => {
                    let Some(seq) = json["seq"].as_u64() else {
                        self.acknowledge(packet).await;
                        continue;
                    };
                    return (packet, seq, json["resent"] == true);
                }
                Packet::Subscribe { packet, .. } => {
                    let [high, low] = packet.to_be_bytes();
                    let granted: &[u8] = if self.version == 5 {
                        &[0x90, 4, high, low, 0, 1]
                    } else {
                        &[0x90, 3, high, low, 1]
                    };
                    self.send(granted).await;
                }
                _ => {}
            }
        }
    }
}

/// A link to a broker that is the test's own.
pub struct Link {
    pub broker: TcpListener,
    pub clock: Arc<Tripwire>,
    pub state: watch::Receiver<UpstreamState>,
    pub commands: mpsc::Receiver<Incoming>,
    pub asked: mpsc::Sender<Asked>,
    pub store: Store,
    pub ledger: Ledger,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    _online: watch::Sender<Online>,
    _dir: tempfile::TempDir,
}

impl Link {
    /// Starts a link with one row to deliver, in MQTT 3.1.1.
    pub async fn start() -> Link {
        Link::with(1, |_| {}).await
    }

    /// Starts a link with this number of rows. `change` alters the upstream's configuration.
    pub async fn with(rows: u64, change: impl FnOnce(&mut Upstream)) -> Link {
        Link::speaking(None, rows, change).await
    }

    /// Starts a link with this number of rows and a profile of the test's own.
    pub async fn speaking(
        profile: Option<Arc<dyn Profile>>,
        rows: u64,
        change: impl FnOnce(&mut Upstream),
    ) -> Link {
        let Base { dir, store, ledger, clock, context, online, commands, cancel } =
            Base::new().await;
        let broker = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = broker.local_addr().unwrap().port();
        let text = "name = 'platform'\nversion = '3.1.1'\nbroker = 'mqtt://127.0.0.1'";
        let mut upstream: Upstream = toml::from_str(text).unwrap();
        upstream.brokers[0].port = port;
        change(&mut upstream);
        record(&store, &ledger, rows).await;
        let native = profiles::of(&upstream, &context.origin).unwrap();
        let (link, task) = begin(upstream, profile.unwrap_or(native), context);
        Link {
            broker,
            clock,
            state: link.state,
            commands,
            asked: link.asked,
            store,
            ledger,
            cancel,
            task,
            _online: online,
            _dir: dir,
        }
    }

    pub async fn record(&self, rows: u64) {
        record(&self.store, &self.ledger, rows).await;
    }

    pub async fn state_when(&mut self, holds: fn(&UpstreamState) -> bool) -> UpstreamState {
        let now = self.state.clone();
        let state = timeout(SOON, self.state.wait_for(holds)).await;
        state.unwrap_or_else(|_| panic!("not yet: {:?}", now.borrow())).unwrap().clone()
    }

    /// Returns the seqs in the outbox.
    pub async fn outbox(&self) -> Vec<u64> {
        outbox(&self.store).await
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        timeout(SOON, self.task).await.expect("in time").unwrap();
    }
}
