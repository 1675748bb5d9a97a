//! One connection to a broker by rumqttc. MQTT 5 and 3.1.1 have the same interface here.
//!
//! rumqttc keeps unacknowledged publishes across a reconnect. They can collide with new publishes,
//! or be lost (its issues 1014 and 1056). So a client here lives for one connection, and the next
//! connection reads the unacknowledged rows again from the outbox.

mod error;
mod event;
mod version;

use std::time::Duration;

use futures_util::FutureExt;
use rumqttc::{self as v4, QoS, Transport, v5};
use tokio_util::{bytes::Bytes, sync::ReusableBoxFuture};
use zeroize::Zeroizing;

pub(super) use self::{
    error::{Cause, ClientError},
    version::refuses_5,
};
use self::{
    error::{error_of_v4, error_of_v5},
    event::{event_of_v4, event_of_v5, qos_5},
};
use super::{
    delivery::WINDOW,
    link::LinkError,
    profiles::{self, profile::COMMAND_MAX},
    tls::Safety,
};
use crate::config::{Broker, MqttVersion, Secret, Upstream};

/// Timeout for TCP, TLS and CONNACK together, in seconds. A NATS cluster that has just lost a node
/// answers within 4 s.
const CONNECT_TIMEOUT_S: u64 = 10;
/// Interval between pings. rumqttc requires the answer to a ping before it sends the next one, and
/// a whole window takes half a minute on a slow link.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Number of packet ids in use before the first is used again. In MQTT 5 the broker's receive
/// maximum may lower it.
const PACKET_IDS: u16 = 4096;
/// Maximum number of messages other than rows in the client that are not yet on the wire.
pub(super) const OTHERS: usize = 16;
/// Maximum number of requests in the client: the window, [`OTHERS`] and two subscriptions.
const REQUESTS: usize = WINDOW + OTHERS + 2;
/// Maximum size of an incoming packet: the largest command that is read, with its MQTT header.
pub(super) const MAX_INCOMING_BYTES: u32 = COMMAND_MAX as u32 + 64 * 1024;
/// Maximum size of an outgoing packet.
pub(super) const MAX_OUTGOING_BYTES: usize = 1024 * 1024;
/// Size of the kernel's send buffer. It holds a whole window of rows, so that rumqttc does not take
/// a slow link for a broken one.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// Time for which a broker keeps the gateway's subscriptions and commands while it is disconnected.
const SESSION_S: u32 = 7 * 24 * 3600;
/// Maximum number of unacknowledged messages that a broker may send (MQTT 5).
const RECEIVE_MAXIMUM: u16 = 8;

/// How to connect to one broker.
pub(super) struct Options {
    version: MqttVersion,
    host: String,
    port: u16,
    transport: Transport,
    client_id: String,
    login: Option<(String, Zeroizing<String>)>,
    /// Timeout for TCP, TLS and CONNACK together.
    pub timeout_s: u64,
    /// Whether the broker keeps the subscriptions and commands while the gateway is disconnected.
    pub lasting: bool,
    pub will: Option<profiles::Message>,
    /// Whether messages go out with QoS 0, because the broker takes no other.
    pub qos_0: bool,
}

/// The limits in a broker's CONNACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Maximum number of unacknowledged messages.
    pub at_once: Option<u16>,
    /// Maximum size of a packet.
    pub largest: Option<u32>,
    pub no_retain: bool,
    pub qos_0: bool,
}

/// What happened on a connection.
pub(super) enum ClientEvent {
    /// The broker sent CONNACK.
    Connected(Limits),
    /// The oldest message without a packet id has got this one and is on its way. A message of
    /// QoS 0 has the packet id 0, and no acknowledgement follows.
    Numbered(u16),
    /// The broker acknowledged the packet. `heard` is false if it reported that it has no
    /// subscriber.
    Taken {
        packet: u16,
        heard: bool,
    },
    /// The broker refused the packet.
    Refused {
        packet: u16,
        reason: String,
        /// The broker forbids the topic. Otherwise the refusal may be over soon.
        topic: bool,
    },
    Message(Box<Message>),
    /// The acknowledgement of a message is on its way.
    Receipted,
    /// A packet of QoS 2, which no broker sends to a client that publishes with QoS 1.
    Unexpected,
    Subscribed,
    NotSubscribed(String),
    Nothing,
}

pub(super) struct Message {
    pub topic: String,
    pub payload: Bytes,
    /// The broker kept it (retained); its age is unknown.
    pub retained: bool,
    receipt: Receipt,
}

impl Message {
    /// Returns whether the broker expects a receipt, as it does not for QoS 0.
    pub fn needs_receipt(&self) -> bool {
        match &self.receipt {
            Receipt::V4(publish) => publish.qos != QoS::AtMostOnce,
            Receipt::V5(publish) => publish.qos != v5::mqttbytes::QoS::AtMostOnce,
        }
    }
}

/// The original publish, which rumqttc needs to acknowledge a message.
enum Receipt {
    V4(v4::Publish),
    V5(v5::mqttbytes::v5::Publish),
}

enum Sender {
    V4(v4::AsyncClient),
    V5(v5::AsyncClient),
}

enum EventLoop {
    V4(Box<v4::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// The event loop of a connection and its state.
struct Polled {
    eventloop: EventLoop,
    connected: bool,
    ended: Option<ClientError>,
}

/// A client for one connection.
pub(super) struct Client {
    sender: Sender,
    /// The event loop between two polls. During a poll, `polling` owns it. A poll that has begun is
    /// not dropped, because it may have taken a message and not sent it.
    idle: Option<Polled>,
    polling: ReusableBoxFuture<'static, (Polled, Result<ClientEvent, ClientError>)>,
}

impl Client {
    pub fn connect(options: Options) -> Client {
        let (sender, eventloop) = match options.version {
            MqttVersion::V4 => {
                let network = options.network();
                let (client, mut eventloop) = v4::AsyncClient::new(options.v4(), REQUESTS);
                eventloop.network_options = network;
                (Sender::V4(client), EventLoop::V4(Box::new(eventloop)))
            }
            MqttVersion::V5 => {
                let (client, eventloop) = v5::AsyncClient::new(options.v5(), REQUESTS);
                (Sender::V5(client), EventLoop::V5(Box::new(eventloop)))
            }
        };
        let polled = Polled { eventloop, connected: false, ended: None };
        Client { sender, idle: None, polling: ReusableBoxFuture::new(polled.next()) }
    }

    /// Returns the next event. The future may be dropped and the function called again. After an
    /// error the connection has ended.
    pub async fn next(&mut self) -> Result<ClientEvent, ClientError> {
        if let Some(mut polled) = self.idle.take() {
            let before = if polled.ended.is_none() { polled.buffered() } else { None };
            if let Some(happened) = before {
                let happened = polled.track(happened);
                self.idle = Some(polled);
                return Ok(happened);
            }
            self.polling.set(polled.next());
        }
        let (polled, happened) = self.polling.get_pin().await;
        self.idle = Some(polled);
        happened
    }

    /// Returns the next event if it has already happened.
    pub fn happened(&mut self) -> Option<Result<ClientEvent, ClientError>> {
        self.next().now_or_never()
    }

    /// Hands a message to rumqttc, which sends it with QoS 1, or with QoS 0 where `qos_0` says so.
    /// Fails if too many messages wait.
    pub fn publish(&self, message: profiles::Message, qos_0: bool) -> Result<(), ClientError> {
        let profiles::Message { topic, payload, retained } = message;
        match &self.sender {
            Sender::V4(c) => {
                let qos = if qos_0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                c.try_publish(topic, qos, retained, payload).map_err(ClientError::of)
            }
            Sender::V5(c) => {
                c.try_publish(topic, qos_5(qos_0), retained, payload).map_err(ClientError::of)
            }
        }
    }

    pub fn subscribe(&self, topic: String) -> Result<(), ClientError> {
        match &self.sender {
            Sender::V4(c) => c.try_subscribe(topic, QoS::AtLeastOnce).map_err(ClientError::of),
            Sender::V5(c) => {
                c.try_subscribe(topic, v5::mqttbytes::QoS::AtLeastOnce).map_err(ClientError::of)
            }
        }
    }

    /// Acknowledges a message to the broker.
    pub fn acknowledge(&self, message: &Message) -> Result<(), ClientError> {
        match (&self.sender, &message.receipt) {
            (Sender::V4(c), Receipt::V4(publish)) => c.try_ack(publish).map_err(ClientError::of),
            (Sender::V5(c), Receipt::V5(publish)) => c.try_ack(publish).map_err(ClientError::of),
            _ => Ok(()),
        }
    }

    pub fn disconnect(&self) -> Result<(), ClientError> {
        match &self.sender {
            Sender::V4(c) => c.try_disconnect().map_err(ClientError::of),
            Sender::V5(c) => c.try_disconnect().map_err(ClientError::of),
        }
    }
}

impl Options {
    /// Returns the options for a connection without a will and without a lasting session.
    pub fn new(
        upstream: &Upstream,
        broker: &Broker,
        version: MqttVersion,
        safety: &Safety,
        client_id: String,
    ) -> Result<Options, LinkError> {
        let password =
            upstream.password.as_ref().map(Secret::read).transpose()?.unwrap_or_default();
        Ok(Options {
            version,
            host: broker.host.clone(),
            port: broker.port,
            transport: safety.transport(broker)?,
            client_id,
            login: upstream.username.clone().map(|username| (username, password)),
            timeout_s: CONNECT_TIMEOUT_S,
            lasting: false,
            will: None,
            qos_0: false,
        })
    }

    fn network(&self) -> v4::NetworkOptions {
        let mut network = v4::NetworkOptions::new();
        network.set_connection_timeout(self.timeout_s);
        network.set_tcp_send_buffer_size(SEND_BUFFER_BYTES);
        network
    }

    /// Returns the host as rumqttc expects it. Over TCP an IPv6 address stands in brackets, because
    /// rumqttc appends the port. Over TLS it has none, as in the certificate.
    fn host(&self) -> String {
        let bare = matches!(self.transport, Transport::Tcp) && self.host.contains(':');
        if bare { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn v4(self) -> v4::MqttOptions {
        let mut options = v4::MqttOptions::new(&self.client_id, self.host(), self.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(!self.lasting);
        options.set_manual_acks(true);
        options.set_inflight(PACKET_IDS);
        options.set_max_packet_size(MAX_INCOMING_BYTES as usize, MAX_OUTGOING_BYTES);
        if let Some(profiles::Message { topic, payload, retained }) = self.will {
            options.set_last_will(v4::LastWill::new(topic, payload, QoS::AtLeastOnce, retained));
        }
        if let Some((username, password)) = &self.login {
            options.set_credentials(username, password.as_str());
        }
        options.set_transport(self.transport);
        options
    }

    fn v5(self) -> v5::MqttOptions {
        let mut options = v5::MqttOptions::new(&self.client_id, self.host(), self.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_connection_timeout(self.timeout_s);
        options.set_network_options(self.network());
        options.set_clean_start(!self.lasting);
        options.set_session_expiry_interval(self.lasting.then_some(SESSION_S));
        options.set_manual_acks(true);
        options.set_outgoing_inflight_upper_limit(PACKET_IDS);
        options.set_receive_maximum(Some(RECEIVE_MAXIMUM));
        options.set_max_packet_size(Some(MAX_INCOMING_BYTES));
        if let Some(profiles::Message { topic, payload, retained }) = self.will {
            use v5::mqttbytes::v5::LastWill;
            let will = LastWill::new(topic, payload, qos_5(self.qos_0), retained, None);
            options.set_last_will(will);
        }
        if let Some((username, password)) = &self.login {
            options.set_credentials(username, password.as_str());
        }
        options.set_transport(self.transport);
        options
    }
}

impl Polled {
    async fn next(mut self) -> (Polled, Result<ClientEvent, ClientError>) {
        if self.ended.is_none() {
            match self.poll().await {
                Ok(happened) => {
                    let happened = self.track(happened);
                    return (self, Ok(happened));
                }
                Err(ended) => self.ended = Some(ended),
            }
        }
        // Packets that arrived before the error are reported first.
        let over = || ClientError::of(std::io::Error::from(std::io::ErrorKind::NotConnected));
        let before = self.buffered();
        let before = before.filter(|happened| !matches!(happened, ClientEvent::Connected(_)));
        let last = before.map(Ok).unwrap_or_else(|| Err(self.ended.clone().unwrap_or_else(over)));
        (self, last)
    }

    fn track(&mut self, happened: ClientEvent) -> ClientEvent {
        match happened {
            // A second CONNACK would reset the deliveries that are under way.
            ClientEvent::Connected(_) if self.connected => {
                let again = std::io::Error::other("the broker answered CONNECT twice");
                self.ended = Some(ClientError::of(again));
                ClientEvent::Nothing
            }
            happened => {
                self.connected |= matches!(happened, ClientEvent::Connected(_));
                happened
            }
        }
    }

    /// Returns an event that arrived together with the last polled event.
    fn buffered(&mut self) -> Option<ClientEvent> {
        match &mut self.eventloop {
            EventLoop::V4(eventloop) => eventloop.state.events.pop_front().map(event_of_v4),
            EventLoop::V5(eventloop) => eventloop.state.events.pop_front().map(event_of_v5),
        }
    }

    async fn poll(&mut self) -> Result<ClientEvent, ClientError> {
        let connected = self.connected;
        match &mut self.eventloop {
            EventLoop::V4(eventloop) => {
                eventloop.poll().await.map(event_of_v4).map_err(|e| error_of_v4(e, connected))
            }
            EventLoop::V5(eventloop) => {
                let polled = eventloop.poll().await;
                // A broker that sets 0 wants no pings. The gateway wants them, to notice a dead
                // link.
                if eventloop.options.keep_alive().is_zero() {
                    eventloop.options.set_keep_alive(KEEP_ALIVE);
                }
                polled.map(event_of_v5).map_err(|e| error_of_v5(e, connected))
            }
        }
    }
}
