//! The demo's MQTT side: a broker (rumqttd, in this process), a link that can be cut, and a
//! subscriber.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Starts the broker on a free port of the loopback interface. It ends with the process.
pub(super) fn start() -> anyhow::Result<SocketAddr> {
    let listen = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let connections = ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: 1024 * 1024,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "demo".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 16,
        max_outgoing_packet_count: 200,
        max_segment_size: 16 * 1024 * 1024,
        max_segment_count: 4,
        ..RouterConfig::default()
    };
    let v4 = Some(HashMap::from([("demo".to_owned(), server)]));
    let mut broker = Broker::new(Config { router, v4, ..Config::default() });
    std::thread::Builder::new().name("demo broker".into()).spawn(move || {
        if let Err(error) = broker.start() {
            eprintln!("the demo's broker ended: {error}; run the demo again");
        }
    })?;
    Ok(listen)
}

/// A TCP relay between the gate and its broker. It takes the place of a 4G modem.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    up: watch::Sender<bool>,
    relay: JoinHandle<()>,
}

impl Link {
    pub(super) async fn to(broker: SocketAddr) -> anyhow::Result<Link> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let up = watch::Sender::new(true);
        let state = up.clone();
        let relay = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = state.subscribe();
                if !*cut.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(broker).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.wait_for(|up| !*up) => {}
                    }
                });
            }
        });
        Ok(Link { address, up, relay })
    }

    pub(super) fn set(&self, up: bool) {
        self.up.send_replace(up);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

/// A message as a platform receives it: the topic's last part, and its JSON.
pub(super) type Received = (String, serde_json::Value);

/// Subscribes at the broker, without the link. Returns after the broker accepted the subscription.
pub(super) async fn subscribe(
    broker: SocketAddr,
    filter: &str,
) -> anyhow::Result<(mpsc::Receiver<Received>, JoinHandle<()>)> {
    const ATTEMPTS: u32 = 50;
    let (sender, received) = mpsc::channel(1024);
    let (subscribed, mut ready) = watch::channel(false);
    let filter = filter.to_owned();
    let mut options = MqttOptions::new("platform", broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(20));
    let (client, mut events) = AsyncClient::new(options, 16);
    let task = tokio::spawn(async move {
        let mut attempts = 0;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    if client.try_subscribe(&filter, QoS::AtLeastOnce).is_err() {
                        return;
                    }
                }
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    subscribed.send_replace(true);
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let leaf = publish.topic.rsplit('/').next().unwrap_or_default().to_owned();
                    let Ok(json) = serde_json::from_slice(&publish.payload) else { continue };
                    if sender.send((leaf, json)).await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) if attempts < ATTEMPTS => {
                    // The broker's thread may not listen yet.
                    attempts += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(_) => return,
            }
        }
    });
    ready.wait_for(|subscribed| *subscribed).await?;
    Ok((received, task))
}
