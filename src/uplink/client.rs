//! One connection to a broker by rumqttc, MQTT 5 or 3.1.1, as if they were one.
//!
//! rumqttc keeps publishes of its own across a reconnect, and they can collide with new ones or
//! be lost (its issues 1014 and 1056). So a client here lives for one connection, and what it
//! held is read again from the outbox.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use rumqttc::{self as v4, QoS, Transport, v5};
use tokio_util::{bytes::Bytes, sync::ReusableBoxFuture};
use zeroize::Zeroizing;

use super::{
    delivery::WINDOW,
    link::LinkError,
    profiles::{self, profile::COMMAND_MAX},
    tls::Safety,
};
use crate::config::{Broker, MqttVersion, Secret, Upstream};

/// TCP, TLS and CONNACK together; a NATS cluster that has just lost a node answers within 4 s.
const CONNECT_TIMEOUT_S: u64 = 10;
/// rumqttc wants the answer to a ping before the next one, and a window that is under way takes half a
/// minute on a slow link.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// A broker that asks for less, or for none, is pinged as we like it.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Packet ids are reused only after so many, or, in MQTT 5, as many as the broker takes at once.
const PACKET_IDS: u16 = 4096;
/// What is no row and was handed to the client, not yet on the wire.
pub(super) const OTHERS: usize = 16;
/// The window, what is no row, and two subscriptions.
const REQUESTS: usize = WINDOW + OTHERS + 2;
/// The largest command that is answered, and what is around it.
pub(super) const MAX_INCOMING_BYTES: u32 = COMMAND_MAX as u32 + 64 * 1024;
pub(super) const MAX_OUTGOING_BYTES: usize = 1024 * 1024;
/// The kernel takes a whole window of rows at once: a slow link must not look like a broken one.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// How long a broker keeps our subscriptions, and commands, while we are away.
const SESSION_S: u32 = 7 * 24 * 3600;
/// Messages that a broker may send (MQTT 5) before we have acknowledged the first of them.
const RECEIVE_MAXIMUM: u16 = 8;

pub(super) struct Options {
    version: MqttVersion,
    host: String,
    port: u16,
    transport: Transport,
    client_id: String,
    login: Option<(String, Zeroizing<String>)>,
    /// For TCP, TLS and CONNACK together.
    pub timeout_s: u64,
    /// The broker keeps our subscriptions, and commands, while we are away.
    pub lasting: bool,
    pub will: Option<profiles::Message>,
}

/// What came of a connection.
pub(super) enum ClientEvent {
    /// With how many messages the broker takes at once, and how large, where it says.
    Connected {
        at_once: Option<u16>,
        largest: Option<u32>,
    },
    /// The oldest message that has no packet id yet has this one, and is on its way.
    Numbered(u16),
    /// The broker has it. `heard`: as far as it says, somebody subscribed to it.
    Taken {
        packet: u16,
        heard: bool,
    },
    /// The broker has it not.
    Refused {
        packet: u16,
        reason: String,
    },
    Message(Box<Message>),
    /// The acknowledgement of a message is on its way.
    Receipted,
    /// What no broker says to a client that sends with QoS 1.
    Senseless,
    Subscribed,
    NotSubscribed(String),
    Nothing,
}

pub(super) struct Message {
    pub topic: String,
    pub payload: Bytes,
    /// It was kept by the broker, from who knows when.
    pub retained: bool,
    receipt: Receipt,
}

/// By which a message is acknowledged.
enum Receipt {
    V4(v4::Publish),
    V5(v5::mqttbytes::v5::Publish),
}

/// Why a connection ended, or never was.
#[derive(Clone, Debug)]
pub(super) struct ClientError {
    pub error: Arc<dyn std::error::Error + Send + Sync>,
    /// The broker may not know this version of MQTT.
    pub version_in_doubt: bool,
}

impl ClientError {
    fn of(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
        ClientError { error: Arc::new(error), version_in_doubt: false }
    }
}

enum Sender {
    V4(v4::AsyncClient),
    V5(v5::AsyncClient),
}

enum EventLoop {
    V4(Box<v4::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// The connection's own end, until it ends.
struct Polled {
    eventloop: EventLoop,
    connected: bool,
    ended: Option<ClientError>,
}

/// Ends with its connection.
pub(super) struct Client {
    sender: Sender,
    /// While nothing is polled; else `polling` has it. A poll that has begun is not dropped: it may
    /// have taken a message, and not sent it.
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

    /// What happens next. May be dropped and called again. After an error the connection is over.
    pub async fn next(&mut self) -> Result<ClientEvent, ClientError> {
        if let Some(mut polled) = self.idle.take() {
            let before = if polled.ended.is_none() { polled.buffered() } else { None };
            if let Some(happened) = before {
                let happened = polled.noted(happened);
                self.idle = Some(polled);
                return Ok(happened);
            }
            self.polling.set(polled.next());
        }
        let (polled, happened) = self.polling.get_pin().await;
        self.idle = Some(polled);
        happened
    }

    /// What has happened already.
    pub fn happened(&mut self) -> Option<Result<ClientEvent, ClientError>> {
        self.next().now_or_never()
    }

    /// Hands a message over, to be sent with QoS 1. Fails where too many wait.
    pub fn publish(&self, message: profiles::Message) -> Result<(), ClientError> {
        let profiles::Message { topic, payload, retained } = message;
        match &self.sender {
            Sender::V4(c) => {
                c.try_publish(topic, QoS::AtLeastOnce, retained, payload).map_err(ClientError::of)
            }
            Sender::V5(c) => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                c.try_publish(topic, qos, retained, payload).map_err(ClientError::of)
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

    /// Tells the broker that a message is dealt with.
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
    /// For a connection that leaves nothing behind at the broker.
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
        })
    }

    fn network(&self) -> v4::NetworkOptions {
        let mut network = v4::NetworkOptions::new();
        network.set_connection_timeout(self.timeout_s);
        network.set_tcp_send_buffer_size(SEND_BUFFER_BYTES);
        network
    }

    /// An address of IPv6 as rumqttc joins it with a port; a certificate names it bare.
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
            use v5::mqttbytes::{QoS, v5::LastWill};
            let will = LastWill::new(topic, payload, QoS::AtLeastOnce, retained, None);
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
                    let happened = self.noted(happened);
                    return (self, Ok(happened));
                }
                Err(ended) => self.ended = Some(ended),
            }
        }
        // What came in before the packet that was one too many.
        let over = || ClientError::of(std::io::Error::from(std::io::ErrorKind::NotConnected));
        let before = self.buffered();
        let before = before.filter(|happened| !matches!(happened, ClientEvent::Connected { .. }));
        let last = before.map(Ok).unwrap_or_else(|| Err(self.ended.clone().unwrap_or_else(over)));
        (self, last)
    }

    fn noted(&mut self, happened: ClientEvent) -> ClientEvent {
        match happened {
            // A second CONNACK would begin anew what is under way.
            ClientEvent::Connected { .. } if self.connected => {
                let again = std::io::Error::other("the broker answered CONNECT twice");
                self.ended = Some(ClientError::of(again));
                ClientEvent::Nothing
            }
            happened => {
                self.connected |= matches!(happened, ClientEvent::Connected { .. });
                happened
            }
        }
    }

    /// What came together with what was polled last.
    fn buffered(&mut self) -> Option<ClientEvent> {
        match &mut self.eventloop {
            EventLoop::V4(eventloop) => eventloop.state.events.pop_front().map(happened_v4),
            EventLoop::V5(eventloop) => eventloop.state.events.pop_front().map(happened_v5),
        }
    }

    async fn poll(&mut self) -> Result<ClientEvent, ClientError> {
        let connected = self.connected;
        match &mut self.eventloop {
            EventLoop::V4(eventloop) => {
                eventloop.poll().await.map(happened_v4).map_err(ClientError::of)
            }
            EventLoop::V5(eventloop) => {
                let polled = eventloop.poll().await;
                if eventloop.options.keep_alive() < LEAST_KEEP_ALIVE {
                    eventloop.options.set_keep_alive(KEEP_ALIVE);
                }
                polled.map(happened_v5).map_err(|e| ended_v5(e, connected))
            }
        }
    }
}

fn happened_v4(event: v4::Event) -> ClientEvent {
    use v4::{Event, Outgoing, Packet, SubscribeReasonCode};
    match event {
        Event::Incoming(Packet::ConnAck(_)) => {
            ClientEvent::Connected { at_once: None, largest: None }
        }
        Event::Outgoing(Outgoing::Publish(packet)) => ClientEvent::Numbered(packet),
        Event::Outgoing(Outgoing::PubAck(_)) => ClientEvent::Receipted,
        Event::Incoming(Packet::PubRec(_) | Packet::PubComp(_)) => ClientEvent::Senseless,
        Event::Incoming(Packet::PubAck(ack)) => {
            ClientEvent::Taken { packet: ack.pkid, heard: true }
        }
        Event::Incoming(Packet::Publish(mut publish)) => {
            let payload = std::mem::take(&mut publish.payload);
            let (topic, retained) = (publish.topic.clone(), publish.retain);
            let receipt = Receipt::V4(publish);
            ClientEvent::Message(Box::new(Message { topic, payload, retained, receipt }))
        }
        Event::Incoming(Packet::SubAck(ack)) => {
            let refused = ack.return_codes.contains(&SubscribeReasonCode::Failure);
            let why = || ClientEvent::NotSubscribed("the broker gives no reason".to_owned());
            if refused { why() } else { ClientEvent::Subscribed }
        }
        _ => ClientEvent::Nothing,
    }
}

fn happened_v5(event: v5::Event) -> ClientEvent {
    use v5::{
        Event,
        mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode},
    };
    match event {
        Event::Incoming(Packet::ConnAck(ack)) => {
            let says = ack.properties.as_ref();
            let at_once = says.and_then(|says| says.receive_max);
            ClientEvent::Connected { at_once, largest: says.and_then(|says| says.max_packet_size) }
        }
        Event::Outgoing(v4::Outgoing::Publish(packet)) => ClientEvent::Numbered(packet),
        Event::Outgoing(v4::Outgoing::PubAck(_)) => ClientEvent::Receipted,
        Event::Incoming(Packet::PubRec(_) | Packet::PubComp(_)) => ClientEvent::Senseless,
        Event::Incoming(Packet::PubAck(ack)) => match ack.reason {
            PubAckReason::Success => ClientEvent::Taken { packet: ack.pkid, heard: true },
            PubAckReason::NoMatchingSubscribers => {
                ClientEvent::Taken { packet: ack.pkid, heard: false }
            }
            reason => ClientEvent::Refused { packet: ack.pkid, reason: format!("{reason:?}") },
        },
        Event::Incoming(Packet::Publish(mut publish)) => {
            let payload = std::mem::take(&mut publish.payload);
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            let (retained, receipt) = (publish.retain, Receipt::V5(publish));
            ClientEvent::Message(Box::new(Message { topic, payload, retained, receipt }))
        }
        Event::Incoming(Packet::SubAck(ack)) => {
            let refused =
                ack.return_codes.iter().find(|c| !matches!(c, SubscribeReasonCode::Success(_)));
            refused.map_or(ClientEvent::Subscribed, |code| {
                ClientEvent::NotSubscribed(format!("{code:?}"))
            })
        }
        _ => ClientEvent::Nothing,
    }
}

fn ended_v5(error: v5::ConnectionError, connected: bool) -> ClientError {
    use std::io::ErrorKind as Io;
    use v5::{ConnectionError, mqttbytes::v5::ConnectReturnCode as Code};
    let version_in_doubt = !connected
        && match &error {
            ConnectionError::ConnectionRefused(code) => {
                matches!(code, Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion)
            }
            // rumqttc waits for the rest of a refusal that is in the form of 3.1.1.
            ConnectionError::Timeout(_)
            | ConnectionError::MqttState(_)
            | ConnectionError::NotConnAck(_) => true,
            ConnectionError::Io(e) => matches!(
                e.kind(),
                Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe
            ),
            _ => false,
        };
    ClientError { error: Arc::new(error), version_in_doubt }
}
