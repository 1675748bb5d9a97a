//! The shell around [`Delivery`]: rumqttc, one fresh client a connection.
//!
//! rumqttc keeps publishes of its own across a reconnect, and they can collide with new ones or
//! be lost (its issues 1014 and 1056). So a client here lives for one connection, and what it
//! held is read again from the outbox. A panic costs a connection, too, and no more.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    Asked, Context, LinkError, UpstreamState,
    delivery::{Delivery, WINDOW},
    native,
};
use crate::{
    config::{Broker, Upstream},
    failpoint,
    ledger::{self, Body, LedgerError, Stored},
    store::Priority,
    vigil::caught,
};

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// TCP and CONNACK together; a NATS cluster that has just lost a node answers within 4 s.
const CONNECT_TIMEOUT_S: u64 = 5;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How often the retained status is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// Packet ids are reused only after so many, long after an acknowledgement out of order.
const PACKET_IDS: u16 = 4096;
/// Messages handed to the client and not yet on the wire: the window, a status and an offline.
const REQUESTS: usize = WINDOW + 8;
/// Events of the client not yet looked at; the client waits when it is full.
const EVENTS: usize = 64;
/// At shutdown, how long the last messages may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Nothing is subscribed to: what a broker sends is an acknowledgement.
const MAX_INCOMING_BYTES: usize = 8 * 1024 * 1024 + 16 * 1024;
const MAX_OUTGOING_BYTES: usize = 1024 * 1024;

pub(super) async fn run(
    upstream: Upstream,
    context: Context,
    state: watch::Sender<UpstreamState>,
    mut asks: mpsc::Receiver<Asked>,
) {
    let name = upstream.name.clone();
    let mut delivery = Delivery::new(context.sent_before);
    let mut backoff = FIRST_BACKOFF;
    for broker in upstream.brokers.iter().cycle() {
        state.send_modify(|s| s.broker = broker.to_string());
        let acknowledged = state.borrow().acknowledged;
        // What outlives a panic: counters, and a delivery that the next connection resets but for
        // its highest seqs, each set before the row is handed on. So a repeat is marked as one.
        let ended =
            caught(session(&upstream, broker, &context, &state, &mut delivery, &mut asks)).await;
        let ended = ended.unwrap_or_else(|fault| {
            state.send_modify(|s| s.restarts += 1);
            Err(fault.into())
        });
        if context.cancel.is_cancelled() {
            break;
        }
        let error = ended.err().map(|e| e.to_string());
        let (was_up, known) = (state.borrow().connected, state.borrow().last_error == error);
        // Said once, not at each attempt: a link may be down for days.
        if was_up || !known {
            tracing::warn!(upstream = %name, error = error.as_deref(), "link is down");
        }
        let now = context.clock.monotonic();
        let held = was_up && now.since(state.borrow().since) > LONGEST_BACKOFF;
        state.send_modify(|s| {
            if s.connected {
                s.since = now;
            }
            s.connected = false;
            s.last_error = error;
        });
        // Only a link that carried something, or held, begins anew: a broker that lets in and throws
        // out again is left alone for longer and longer.
        if state.borrow().acknowledged != acknowledged || held {
            backoff = FIRST_BACKOFF;
        }
        tokio::select! {
            _ = context.cancel.cancelled() => break,
            _ = tokio::time::sleep(jittered(backoff)) => {}
        }
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// From half to all of it, so that a hundred gateways do not come back in the same moment.
fn jittered(backoff: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without randomness the whole backoff is waited.
    let fraction = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    backoff.mul_f64(0.5 + fraction / 2.0)
}

fn options(
    upstream: &Upstream,
    broker: &Broker,
    context: &Context,
) -> Result<MqttOptions, LinkError> {
    let default_id = || format!("{}-{}", context.origin.gateway, upstream.name);
    let client_id = upstream.client_id.clone().unwrap_or_else(default_id);
    let mut options = MqttOptions::new(client_id, &broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_clean_session(true);
    options.set_inflight(PACKET_IDS);
    options.set_max_packet_size(MAX_INCOMING_BYTES, MAX_OUTGOING_BYTES);
    let topic = native::topic(&context.origin, "status");
    options.set_last_will(LastWill::new(
        topic,
        native::offline(upstream.encoding)?,
        QoS::AtLeastOnce,
        true,
    ));
    if let Some(username) = &upstream.username {
        let password = upstream.password.as_ref().map(|p| p.read()).transpose()?;
        options.set_credentials(username, password.as_deref().map_or("", |p| p.as_str()));
    }
    Ok(options)
}

/// Polls the client and ends with it, whoever drops it.
struct Poller {
    events: mpsc::Receiver<Result<Event, rumqttc::ConnectionError>>,
    task: JoinHandle<()>,
}

impl Poller {
    fn start(mut client: EventLoop) -> Poller {
        let (sender, events) = mpsc::channel(EVENTS);
        let task = tokio::spawn(async move {
            loop {
                let event = client.poll().await;
                let last = event.is_err();
                if sender.send(event).await.is_err() || last {
                    break;
                }
            }
        });
        Poller { events, task }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, from CONNECT until it ends or the daemon stops.
async fn session(
    upstream: &Upstream,
    broker: &Broker,
    context: &Context,
    state: &watch::Sender<UpstreamState>,
    delivery: &mut Delivery,
    asks: &mut mpsc::Receiver<Asked>,
) -> Result<(), LinkError> {
    let (client, mut eventloop) = AsyncClient::new(options(upstream, broker, context)?, REQUESTS);
    eventloop.network_options.set_connection_timeout(CONNECT_TIMEOUT_S);
    let mut poller = Poller::start(eventloop);
    let mut commits = context.store.commits();
    let mut online = context.online.clone();
    let mut renew = tokio::time::interval(STATUS_EVERY);
    let mut acknowledged = Vec::new();
    let mut answers = FuturesUnordered::new();
    let mut connected = false;
    let mut status_due = false;
    let mut again = false;
    loop {
        if again && answers.is_empty() {
            farewell(context, upstream, &client, &mut poller, delivery, state).await?;
            return Err(failed(broker, "rows were asked for again"));
        }
        if connected {
            strike_off(context, &upstream.name, &mut acknowledged, state).await?;
            publish_rows(context, upstream, broker, &client, delivery, state).await?;
            if std::mem::take(&mut status_due) {
                let payload = status_payload(context, upstream, &online).await?;
                delivery.publish_other();
                let topic = native::topic(&context.origin, "status");
                client
                    .try_publish(topic, QoS::AtLeastOnce, true, payload)
                    .map_err(|e| failed(broker, e))?;
            }
        }
        tokio::select! {
            _ = context.cancel.cancelled() => {
                if connected {
                    farewell(context, upstream, &client, &mut poller, delivery, state).await?;
                }
                return Ok(());
            }
            event = poller.events.recv() => match event {
                Some(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    delivery.connected();
                    let commands = native::topic(&context.origin, "command");
                    client
                        .try_subscribe(commands, QoS::AtLeastOnce)
                        .map_err(|e| failed(broker, e))?;
                    connected = true;
                    status_due = true;
                    renew.reset();
                    let now = context.clock.monotonic();
                    tracing::info!(upstream = %upstream.name, %broker, "link is up");
                    state.send_modify(|s| {
                        s.connected = true;
                        s.since = now;
                        s.last_error = None;
                        s.connects += 1;
                    });
                }
                Some(Ok(event)) => {
                    hear(&event, upstream, context, &mut answers, delivery, &client);
                    note(event, delivery, &mut acknowledged);
                }
                Some(Err(error)) => return Err(failed(broker, error)),
                None => return Err(failed(broker, "the client ended")),
            },
            Some(reply) = answers.next(), if !answers.is_empty() => {
                if let Ok(reply) = reply {
                    delivery.publish_other();
                    let topic = native::topic(&context.origin, "reply");
                    client
                        .try_publish(topic, QoS::AtLeastOnce, false, reply)
                        .map_err(|e| failed(broker, e))?;
                }
            }
            Some(Asked::Again { .. }) = asks.recv(), if connected && !again => again = true,
            changed = commits.changed(), if connected => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            _ = renew.tick(), if connected => status_due = true,
            Ok(()) = online.changed(), if connected => status_due = true,
        }
        // What else has come in by now is struck off in the same transaction.
        while let Ok(event) = poller.events.try_recv() {
            let event = event.map_err(|e| failed(broker, e))?;
            hear(&event, upstream, context, &mut answers, delivery, &client);
            note(event, delivery, &mut acknowledged);
        }
    }
}

/// Hands a command on.
fn hear(
    event: &Event,
    upstream: &Upstream,
    context: &Context,
    answers: &mut FuturesUnordered<oneshot::Receiver<Vec<u8>>>,
    delivery: &mut Delivery,
    client: &AsyncClient,
) {
    let Event::Incoming(Packet::Publish(publish)) = event else { return };
    let (answer, reply) = oneshot::channel();
    let incoming = super::Incoming {
        upstream: upstream.name.clone(),
        encoding: upstream.encoding,
        remote_release: upstream.remote_release,
        payload: publish.payload.to_vec(),
        received: context.clock.monotonic(),
        answer,
    };
    match context.commands.try_send(incoming) {
        Ok(()) => answers.push(reply),
        Err(_) => {
            if let Some(busy) = native::command::busy(upstream.encoding, &publish.payload) {
                delivery.publish_other();
                let topic = native::topic(&context.origin, "reply");
                let _ = client.try_publish(topic, QoS::AtLeastOnce, false, busy);
            }
        }
    }
}

fn note(event: Event, delivery: &mut Delivery, acknowledged: &mut Vec<u64>) {
    match event {
        Event::Outgoing(Outgoing::Publish(packet)) => {
            delivery.sent(packet);
            failpoint::at("uplink.published");
        }
        Event::Incoming(Packet::PubAck(ack)) => {
            acknowledged.extend(delivery.acknowledged(ack.pkid));
            failpoint::at("uplink.acknowledged");
        }
        _ => {}
    }
}

async fn strike_off(
    context: &Context,
    upstream: &str,
    acknowledged: &mut Vec<u64>,
    state: &watch::Sender<UpstreamState>,
) -> Result<(), LedgerError> {
    if acknowledged.is_empty() {
        return Ok(());
    }
    let (name, seqs) = (upstream.to_owned(), std::mem::take(acknowledged));
    let count = seqs.len() as u64;
    let struck = context.store.write(Priority::Upkeep, move |tx| {
        ledger::strike_off(tx, &name, &seqs)?;
        failpoint::at("uplink.striking");
        Ok::<_, LedgerError>(())
    });
    struck.await?;
    failpoint::at("uplink.struck");
    state.send_modify(|s| s.acknowledged += count);
    Ok(())
}

async fn publish_rows(
    context: &Context,
    upstream: &Upstream,
    broker: &Broker,
    client: &AsyncClient,
    delivery: &mut Delivery,
    state: &watch::Sender<UpstreamState>,
) -> Result<(), LinkError> {
    let Some((after, limit)) = delivery.wants() else { return Ok(()) };
    let name = upstream.name.clone();
    let rows = context.store.read(move |tx| {
        let with_cause = |stored: Stored| {
            let cause = match stored.entry.body {
                Body::Outcome { cause, .. } => Some(ledger::read(tx, cause)),
                _ => None,
            };
            (stored, cause)
        };
        let rows = ledger::unacknowledged(tx, &name, after, limit)?;
        Ok::<_, LedgerError>(rows.into_iter().map(with_cause).collect::<Vec<_>>())
    });
    for (stored, cause) in rows.await? {
        let Some(seq) = stored.entry.seq else { continue };
        let cause = match cause.transpose() {
            Ok(cause) => cause,
            Err(
                error @ (LedgerError::Damaged { .. }
                | LedgerError::Missing { .. }
                | LedgerError::Pruned { .. }),
            ) => {
                // An outcome is nothing without its cause; it must not hold up what comes after.
                tracing::error!(upstream = %upstream.name, seq, %error, "not sent");
                delivery.pass_over(seq);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        failpoint::at("uplink.read");
        let resent = delivery.publish(seq);
        let message =
            native::message(&context.origin, upstream.encoding, &stored, cause.as_ref(), resent)?;
        client
            .try_publish(message.topic, QoS::AtLeastOnce, false, message.payload)
            .map_err(|e| failed(broker, e))?;
        state.send_modify(|s| s.published += 1);
        context.store.sent(seq);
    }
    Ok(())
}

fn failed(broker: &Broker, problem: impl std::fmt::Display) -> LinkError {
    LinkError::Connection { broker: broker.to_string(), problem: problem.to_string() }
}

async fn status_payload(
    context: &Context,
    upstream: &Upstream,
    online: &watch::Receiver<native::Online>,
) -> Result<Vec<u8>, LinkError> {
    let name = upstream.name.clone();
    let (outbox, _) = context.store.read(move |tx| ledger::backlog(tx, &name)).await?;
    let online = native::Online { outbox, ..online.borrow().clone() };
    Ok(online.payload(upstream.encoding)?)
}

/// Says offline, and takes in the acknowledgements still on their way, within a bound.
async fn farewell(
    context: &Context,
    upstream: &Upstream,
    client: &AsyncClient,
    poller: &mut Poller,
    delivery: &mut Delivery,
    state: &watch::Sender<UpstreamState>,
) -> Result<(), LinkError> {
    let topic = native::topic(&context.origin, "status");
    delivery.publish_other();
    let said =
        client.try_publish(topic, QoS::AtLeastOnce, true, native::offline(upstream.encoding)?);
    let left = client.try_disconnect();
    let mut acknowledged = Vec::new();
    if said.is_ok() && left.is_ok() {
        let drained = async {
            while let Some(Ok(event)) = poller.events.recv().await {
                note(event, delivery, &mut acknowledged);
            }
        };
        let _ = tokio::time::timeout(FAREWELL, drained).await;
    }
    Ok(strike_off(context, &upstream.name, &mut acknowledged, state).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        attendance::Origin,
        clock::{Clock, SystemClock, Tripwire},
        config::{Ack, Encoding, MqttVersion, Secret, Storage},
        ledger::Ledger,
        store,
        uplink::spawn,
    };

    const SOON: Duration = Duration::from_secs(10);
    const CONNACK: [u8; 4] = [0x20, 0x02, 0x00, 0x00];

    /// A broker's end of a connection, after CONNECT and before its answer.
    async fn next_client(broker: &TcpListener) -> TcpStream {
        let (mut client, _) = timeout(SOON, broker.accept()).await.expect("in time").unwrap();
        let connect = client.read(&mut [0; 1024]).await.unwrap();
        assert!(connect > 0);
        client
    }

    /// What is published until the first row has come; nothing is acknowledged.
    async fn first_row(client: &mut TcpStream) -> String {
        client.write_all(&CONNACK).await.unwrap();
        let mut all = Vec::new();
        loop {
            let read = timeout(SOON, client.read_buf(&mut all)).await.expect("in time").unwrap();
            assert!(read > 0, "hung up");
            let text = String::from_utf8_lossy(&all);
            if text.contains("\"seq\":1") && text.ends_with('}') {
                return text.into_owned();
            }
        }
    }

    /// A link to a broker that is the test's own, with one row to deliver.
    struct Link {
        broker: TcpListener,
        clock: Arc<Tripwire>,
        state: watch::Receiver<UpstreamState>,
        cancel: CancellationToken,
        task: JoinHandle<()>,
        _online: watch::Sender<native::Online>,
        _dir: tempfile::TempDir,
    }

    impl Link {
        async fn start() -> Link {
            let dir = tempfile::tempdir().unwrap();
            let key = Secret::File(dir.path().join("key"));
            let config = Storage::usual(dir.path().into(), key);
            let (store, _) = store::open(&config, Arc::new(SystemClock::new().unwrap())).unwrap();
            let clock = Arc::new(Tripwire::default());
            let stamp = clock.stamp();
            let boot = Body::Boot { version: "1".into() };
            let filled = store.write(Priority::Upkeep, move |tx| {
                let ledger = Ledger::open(tx, vec!["platform".to_owned()])?;
                ledger.append(tx, stamp, boot).map(drop)
            });
            filled.await.map_err(|e: LedgerError| e).unwrap();
            let broker = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = broker.local_addr().unwrap().port();
            let upstream = Upstream {
                name: "platform".into(),
                brokers: vec![Broker { host: "127.0.0.1".into(), port, tls: false }],
                client_id: None,
                username: None,
                password: None,
                tls: Default::default(),
                version: Some(MqttVersion::V4),
                encoding: Encoding::Json,
                ack: Ack::Broker,
                remote_release: false,
            };
            let (_online, online) = watch::channel(native::Online::default());
            let timezone = jiff::tz::TimeZone::UTC;
            let cancel = CancellationToken::new();
            let context = Context {
                store,
                clock: clock.clone(),
                origin: Origin { gateway: "g".into(), project: "p".into(), timezone },
                online,
                sent_before: 0,
                commands: mpsc::channel(1).0,
                cancel: cancel.clone(),
            };
            let (link, task) = spawn(upstream, context);
            let state = link.state;
            Link { broker, clock, state, cancel, task, _online, _dir: dir }
        }

        async fn state_when(&mut self, holds: fn(&UpstreamState) -> bool) -> UpstreamState {
            let state = timeout(SOON, self.state.wait_for(holds)).await.expect("in time");
            state.expect("a task").clone()
        }

        async fn stop(self) {
            self.cancel.cancel();
            timeout(SOON, self.task).await.expect("in time").unwrap();
        }
    }

    #[tokio::test]
    async fn i10_a_panic_costs_a_connection_and_what_was_sent_before_it_is_marked() {
        let mut link = Link::start().await;
        let mut client = next_client(&link.broker).await;
        assert!(!first_row(&mut client).await.contains("resent"));
        drop(client);
        let mut client = next_client(&link.broker).await;
        link.clock.arm();
        client.write_all(&CONNACK).await.unwrap();
        link.state_when(|s| s.restarts == 1).await;
        let mut client = next_client(&link.broker).await;
        let said = link.state.borrow().last_error.clone().unwrap();
        assert!(said.starts_with("a fault in this program: tripped"), "{said}");
        assert!(first_row(&mut client).await.contains("\"resent\":true"));
        assert_eq!(link.state_when(|s| s.connected).await.connects, 2);
        drop(client);
        link.stop().await;
    }

    #[tokio::test]
    async fn i8_a_broker_that_sends_too_much_is_left_and_connected_to_anew() {
        let mut link = Link::start().await;
        let mut client = next_client(&link.broker).await;
        first_row(&mut client).await;
        // A message that nobody subscribed to: as large as may be, it is nothing.
        let publish = |length: usize| {
            let [low, middle, high] = [0, 7, 14].map(|shift| (length >> shift) as u8 & 0x7F);
            let mut packet = vec![0x30, low | 0x80, middle | 0x80, high, 0, 1, b't'];
            packet.resize(4 + length, b'x');
            packet
        };
        client.write_all(&publish(MAX_INCOMING_BYTES)).await.unwrap();
        // Its own message is what is acknowledged next, on the same connection.
        client.write_all(&[0x40, 0x02, 0x00, 0x01]).await.unwrap();
        assert_eq!(link.state_when(|s| s.acknowledged == 1).await.connects, 1);
        // The announcement is enough: its bytes are not waited for.
        client.write_all(&publish(MAX_INCOMING_BYTES + 1)[..8]).await.unwrap();
        let state = link.state_when(|s| !s.connected).await;
        let said = state.last_error.unwrap();
        assert!(said.contains("payload size limit exceeded: 16385"), "{said}");
        let mut client = next_client(&link.broker).await;
        client.write_all(&CONNACK).await.unwrap();
        assert_eq!(link.state_when(|s| s.connected).await.connects, 2);
        drop(client);
        link.stop().await;
    }
}
