//! One connection: carries out what [`Delivery`] wants, over one [`Client`].
//!
//! Rows are read and turned into messages, and struck off, beside the publishing.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use super::{
    super::{
        Asked, Context, Incoming, LinkError, UpstreamState,
        client::Client,
        client::{Ended, Happened, MAX_OUTGOING_BYTES, Message, OTHERS},
        delivery::{Delivery, Fetch, Late, PAGE, Page, WINDOW},
        native,
    },
    To, options,
};
use crate::{
    clock::Monotonic,
    config::Ack,
    failpoint,
    ledger::{self, LedgerError, Stored},
    store::Priority,
};

/// How often the retained status is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// How often it is seen whether anybody is late.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Acknowledged rows are struck off together: so many, or after so long, or when nothing more is on
/// its way.
const STRIKE_ROWS: usize = 1024;
const STRIKE_EVERY: Duration = Duration::from_millis(50);
/// A broker answers a subscription within this, or the connection is given up.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(30);
/// Messages of the broker whose receipt waits; those beyond it sends again to the next connection.
const RECEIPTS: usize = 4096;
/// While so much waits, commands beyond those being carried out get no answer.
const BUSY: usize = 64;
const UNHEARD: &str = "the broker took a record and has nobody subscribed to it: the platform must \
                       subscribe, and ask for what it lacks (attendance.resend)";
/// At shutdown, how long the last messages may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A row as it goes out.
pub(super) struct Row {
    message: native::Message,
    resent: bool,
}

/// What is no row and waits for room in the client.
enum Later {
    Receipt(Box<Message>),
    Reply(Vec<u8>),
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type PageRead = Work<Result<(Fetch, Page<Row>), LinkError>>;
type Answer = Work<(Box<Message>, Option<Vec<u8>>)>;

/// What is under way, if anything is; else it never comes.
async fn under_way<T>(work: &mut Option<Work<T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// One connection.
struct Session<'a> {
    to: To<'a>,
    context: &'a Context,
    state: &'a watch::Sender<UpstreamState>,
    delivery: &'a mut Delivery<Row>,
    client: Client,
    connected: bool,
    status_due: bool,
    /// The platform's last word that was struck off.
    struck_upto: u64,
    /// Rows that are being struck off.
    striking: Option<Work<Result<u64, LinkError>>>,
    /// Subscriptions that the broker has not answered, and when they were asked for.
    unanswered: usize,
    asked_at: Monotonic,
    /// What is no row and waits for room in the client, and how much of it is there.
    later: VecDeque<Later>,
    others: usize,
    /// The largest message that this broker takes.
    largest: usize,
    /// Commands that are being carried out, each with the answer to come.
    answers: FuturesUnordered<Answer>,
}

/// One connection, from CONNECT until it ends or the daemon stops.
pub(super) async fn session(
    to: To<'_>,
    context: &Context,
    state: &watch::Sender<UpstreamState>,
    delivery: &mut Delivery<Row>,
    asked: &mut mpsc::Receiver<Asked>,
) -> Result<(), LinkError> {
    let client = Client::connect(options(to, context)?);
    state.send_modify(|s| s.version = Some(to.version));
    let mut session = Session {
        to,
        context,
        state,
        delivery,
        client,
        connected: false,
        status_due: false,
        struck_upto: 0,
        striking: None,
        unanswered: 0,
        asked_at: Monotonic::default(),
        later: VecDeque::new(),
        others: 0,
        largest: MAX_OUTGOING_BYTES,
        answers: FuturesUnordered::new(),
    };
    let ended = session.talk(asked).await;
    // What the broker acknowledged before it went is not sent again.
    let settled = if session.connected { session.settle().await } else { Ok(()) };
    ended.and(settled)
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Session<'_> {
    async fn talk(&mut self, asked: &mut mpsc::Receiver<Asked>) -> Result<(), LinkError> {
        let mut commits = self.context.store.commits();
        let mut online = self.context.online.clone();
        let [mut renew, mut look, mut strike] = [STATUS_EVERY, LOOK_EVERY, STRIKE_EVERY].map(every);
        let mut page: Option<PageRead> = None;
        loop {
            if self.connected {
                self.catch_up()?;
                self.publish_rows()?;
                if page.is_none() {
                    page = self.next_page();
                }
                if self.is_strike_due() {
                    self.strike();
                }
                if std::mem::take(&mut self.status_due) {
                    self.publish_status(&online).await?;
                }
            }
            let connected = self.connected;
            let unstruck = self.striking.is_none() && self.has_to_strike();
            tokio::select! {
                _ = self.context.cancel.cancelled() => {
                    return if connected { self.farewell().await } else { Ok(()) };
                }
                event = self.client.next() => {
                    self.heard(event, self.context.clock.monotonic()).await?;
                }
                read = under_way(&mut page) => {
                    page = None;
                    let (fetch, read) = read?;
                    failpoint::at("uplink.read");
                    if let Some((last, _)) = read.rows.last() {
                        self.context.store.sent(*last);
                    }
                    self.delivery.fetched(&fetch, read);
                }
                struck = under_way(&mut self.striking) => {
                    self.striking = None;
                    self.struck(struck?);
                }
                _ = strike.tick(), if connected && unstruck => self.strike(),
                Some((message, answer)) = self.answers.next() => self.answer(message, answer),
                Some(Asked::Again { from, to }) = asked.recv() => {
                    // The platform's word of before says nothing of rows that are there again.
                    self.struck_upto = self.struck_upto.min(from.saturating_sub(1));
                    self.delivery.again(from, to);
                }
                changed = commits.changed(), if connected => match changed {
                    Ok(()) => self.delivery.committed(),
                    Err(_) => return Ok(()),
                },
                _ = look.tick(), if connected => self.look()?,
                _ = renew.tick(), if connected => self.status_due = true,
                Ok(()) = online.changed(), if connected => self.status_due = true,
            }
            // What else has happened by now goes the same way, a part of a window at a time.
            let now = self.context.clock.monotonic();
            for _ in 0..WINDOW / 2 {
                let Some(event) = self.client.happened() else { break };
                self.heard(event, now).await?;
            }
        }
    }

    fn failed(&self, problem: impl std::fmt::Display) -> LinkError {
        let (broker, problem) = (self.to.broker.to_string(), problem.to_string());
        LinkError::Connection { broker, problem, version_in_doubt: false }
    }

    fn explained(&self, ended: &Ended) -> String {
        let now = self.context.clock.stamp();
        self.to.safety.explain(self.to.broker, &*ended.error, &now)
    }

    fn topic(&self, leaf: &str) -> String {
        native::topic(&self.context.origin, leaf)
    }

    async fn heard(
        &mut self,
        event: Result<Happened, Ended>,
        now: Monotonic,
    ) -> Result<(), LinkError> {
        match event {
            Ok(Happened::Connected { at_once, largest }) => {
                self.delivery.narrow(at_once);
                let largest = largest.and_then(|bytes| usize::try_from(bytes).ok());
                self.largest = largest.unwrap_or(MAX_OUTGOING_BYTES).min(MAX_OUTGOING_BYTES);
                self.begin().await?;
            }
            Ok(Happened::Receipted) => self.others = self.others.saturating_sub(1),
            Ok(Happened::Senseless) => return Err(self.failed("it answers what was not said")),
            Ok(Happened::Numbered(packet)) => {
                if self.delivery.numbered(packet) {
                    failpoint::at("uplink.published");
                } else {
                    self.others = self.others.saturating_sub(1);
                }
            }
            Ok(Happened::Taken { packet, heard }) => {
                if !self.delivery.acknowledged(packet, now) {
                    return Ok(());
                }
                failpoint::at("uplink.acknowledged");
                if !heard {
                    self.state.send_modify(|s| {
                        s.unheard += 1;
                        s.trouble(now, UNHEARD.to_owned());
                    });
                }
            }
            Ok(Happened::Refused { packet, reason }) => {
                if self.delivery.refused(packet, now) {
                    self.state.send_modify(|s| {
                        s.refused += 1;
                        let what = format!(
                            "the broker does not take a record ({reason}): see with its operator; \
                             it is offered again each minute"
                        );
                        s.trouble(now, what);
                    });
                }
            }
            Ok(Happened::Message(message)) => self.message(message),
            Ok(Happened::Subscribed) => self.unanswered = self.unanswered.saturating_sub(1),
            Ok(Happened::NotSubscribed(reason)) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                tracing::warn!(upstream = %self.to.upstream.name, reason, "the broker refuses a subscription");
                self.state.send_modify(|s| s.not_subscribed = Some(reason));
            }
            Ok(Happened::Nothing) => {}
            Err(ended) => {
                return Err(LinkError::Connection {
                    broker: self.to.broker.to_string(),
                    problem: self.explained(&ended),
                    version_in_doubt: ended.version_in_doubt,
                });
            }
        }
        Ok(())
    }

    /// The broker has let us in.
    async fn begin(&mut self) -> Result<(), LinkError> {
        let head = self.context.store.read(ledger::last_seq).await?;
        self.delivery.connected(head);
        self.connected = true;
        self.status_due = true;
        let acks = (self.to.upstream.ack == Ack::Platform).then_some("ack");
        for leaf in ["command"].into_iter().chain(acks) {
            self.client.subscribe(self.topic(leaf)).map_err(|e| self.failed(e.error))?;
            self.unanswered += 1;
        }
        let now = self.context.clock.monotonic();
        self.asked_at = now;
        tracing::info!(upstream = %self.to.upstream.name, broker = %self.to.broker, "link is up");
        self.state.send_modify(|s| {
            s.connected = true;
            s.since = now;
            s.last_error = None;
            s.not_subscribed = None;
            s.connects += 1;
            s.certificates = self.to.safety.certificates();
        });
        Ok(())
    }

    /// Hands on as many rows as may be under way.
    fn publish_rows(&mut self) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        let (mut published, mut repeated) = (0, 0);
        while let Some((seq, Row { message, resent })) = self.delivery.next(now) {
            // Before it goes, so that a process that is killed has said all that it sent.
            tracing::trace!(seq, resent, "a row is handed on");
            self.publish(message.topic, false, message.payload)?;
            published += 1;
            repeated += u64::from(resent);
        }
        if published > 0 {
            // Nobody is woken for this: it is read with what changes less often.
            self.state.send_if_modified(|s| {
                s.published += published;
                s.repeated += repeated;
                false
            });
        }
        Ok(())
    }

    fn publish(&self, topic: String, retain: bool, payload: Vec<u8>) -> Result<(), LinkError> {
        let handed = self.client.publish(topic, retain, payload);
        handed.map_err(|ended| self.failed(ended.error))
    }

    /// Reads the rows that are wanted next, and makes them messages.
    fn next_page(&self) -> Option<PageRead> {
        let fetch = self.delivery.wants()?;
        let (store, name) = (self.context.store.clone(), self.to.upstream.name.clone());
        let (origin, encoding) = (self.context.origin.clone(), self.to.upstream.encoding);
        Some(Box::pin(async move {
            let (after, until, sent) = (fetch.after, fetch.until, fetch.sent.clone());
            let read = store.read(move |tx| {
                let make = |stored: Stored, cause| {
                    let seq = stored.entry.seq?;
                    let resent = sent.contains(seq);
                    let message = native::message(&origin, encoding, &stored, cause, resent);
                    Some(message.map(|message| (seq, Row { message, resent })))
                };
                let waiting = ledger::waiting(tx, &name, after, until, PAGE, make)?;
                let rows = waiting.rows.into_iter().flatten().collect::<Result<_, _>>()?;
                Ok::<_, LinkError>(Page { rows, upto: waiting.upto, more: waiting.more })
            });
            Ok((fetch, read.await?))
        }))
    }

    fn has_to_strike(&self) -> bool {
        self.delivery.to_strike() > 0 || self.delivery.upto().unwrap_or(0) > self.struck_upto
    }

    fn is_strike_due(&self) -> bool {
        let enough = self.delivery.to_strike() >= STRIKE_ROWS;
        let last = self.has_to_strike() && self.delivery.is_idle();
        self.striking.is_none() && (enough || last)
    }

    /// Begins to take what was acknowledged out of the outbox.
    fn strike(&mut self) {
        let (rows, upto) = (self.delivery.strike(), self.delivery.upto().unwrap_or(0));
        let upto = (upto > self.struck_upto).then_some(upto);
        self.struck_upto = upto.unwrap_or(self.struck_upto);
        let (store, name) = (self.context.store.clone(), self.to.upstream.name.clone());
        self.striking = Some(Box::pin(async move {
            let struck = store.write(Priority::Upkeep, move |tx| {
                let rows = ledger::strike_off(tx, &name, &rows)?;
                let more = upto.map(|upto| ledger::strike_off_upto(tx, &name, upto));
                failpoint::at("uplink.striking");
                Ok::<_, LedgerError>(rows + more.transpose()?.unwrap_or(0))
            });
            Ok(struck.await?)
        }));
    }

    fn struck(&self, rows: u64) {
        failpoint::at("uplink.struck");
        self.state.send_modify(|s| s.acknowledged += rows);
    }

    /// Strikes off all that was acknowledged.
    async fn settle(&mut self) -> Result<(), LinkError> {
        loop {
            match self.striking.take() {
                Some(striking) => {
                    let rows = striking.await?;
                    self.struck(rows);
                }
                None if self.has_to_strike() => self.strike(),
                None => return Ok(()),
            }
        }
    }

    /// Whether anybody is late.
    fn look(&mut self) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        let unanswered = self.unanswered > 0 && now.since(self.asked_at) >= SUBSCRIBED_WITHIN;
        let problem = match self.delivery.look(now) {
            Some(Late::Broker) => "it takes messages and does not acknowledge them",
            Some(Late::Platform) => "no acknowledgement of the platform comes over this connection",
            None if unanswered => "it does not answer subscriptions",
            None => return Ok(()),
        };
        self.state.send_modify(|s| s.stalls += 1);
        Err(self.failed(problem))
    }

    /// What came on a topic that we subscribed to.
    fn message(&mut self, message: Box<Message>) {
        if message.topic == self.topic("command") {
            return self.command(message);
        }
        // What a broker kept from before may be older than what was asked for again since.
        let ours = message.topic == self.topic("ack") && !message.retained;
        if ours && self.to.upstream.ack == Ack::Platform {
            self.platform_acknowledged(&message.payload);
        }
        self.receipt(message);
    }

    /// Tells the broker that a message is dealt with, when there is room. It sends those again that it is
    /// not told of.
    fn receipt(&mut self, mut message: Box<Message>) {
        message.payload.clear();
        if self.later.len() < RECEIPTS {
            self.later.push_back(Later::Receipt(message));
        }
    }

    /// Hands on what is no row, as far as there is room.
    fn catch_up(&mut self) -> Result<(), LinkError> {
        while self.others < OTHERS / 2 {
            match self.later.pop_front() {
                Some(Later::Receipt(message)) => {
                    self.client.acknowledge(&message).map_err(|e| self.failed(e.error))?;
                    self.others += 1;
                }
                Some(Later::Reply(reply)) => self.publish_other("reply", false, reply)?,
                None => break,
            }
        }
        Ok(())
    }

    fn publish_other(
        &mut self,
        leaf: &str,
        retain: bool,
        payload: Vec<u8>,
    ) -> Result<(), LinkError> {
        self.delivery.publish_other(self.context.clock.monotonic());
        self.others += 1;
        self.publish(self.topic(leaf), retain, payload)
    }

    fn platform_acknowledged(&mut self, payload: &[u8]) {
        let now = self.context.clock.monotonic();
        let taken = native::acknowledgement(self.to.upstream.encoding, payload).and_then(|ack| {
            if ack.ledger != self.context.ledger.to_string() {
                return Err(format!("it is of another ledger, {}", ack.ledger));
            }
            self.delivery.platform_acknowledged(ack.upto, now).map_err(|e| e.to_string())
        });
        match taken {
            Ok(()) => {
                let upto = self.delivery.upto();
                self.state.send_modify(|s| s.acknowledged_upto = upto);
            }
            Err(problem) => {
                tracing::warn!(upstream = %self.to.upstream.name, problem, "an acknowledgement is not taken");
                self.state.send_modify(|s| {
                    s.acks_refused += 1;
                    let what = format!("the platform's acknowledgement is not taken: {problem}");
                    s.trouble(now, what);
                });
            }
        }
    }

    /// Hands a command on to whoever carries it out. The broker has its acknowledgement when it is
    /// answered: until then it would send the command again to the next connection.
    fn command(&mut self, mut message: Box<Message>) {
        let (answer, answered) = oneshot::channel();
        let payload = std::mem::take(&mut message.payload);
        let incoming = Incoming {
            upstream: self.to.upstream.name.clone(),
            encoding: self.to.upstream.encoding,
            remote_release: self.to.upstream.remote_release,
            payload: payload.to_vec(),
            received: self.context.clock.monotonic(),
            answer,
        };
        match self.context.commands.try_send(incoming) {
            Ok(()) => {
                self.state.send_modify(|s| s.commands += 1);
                self.answers.push(Box::pin(async move { (message, answered.await.ok()) }));
            }
            Err(_) => {
                self.state.send_modify(|s| s.commands_refused += 1);
                // Where very many come, none has time for the others.
                let few = self.later.len() < BUSY;
                let encoding = self.to.upstream.encoding;
                let busy = few.then(|| native::command::busy(encoding, &payload)).flatten();
                self.answer(message, busy);
            }
        }
    }

    /// The broker has its receipt first: a reply that does not get through is asked for again, and a
    /// command that this broker would send again with each connection is not.
    fn answer(&mut self, message: Box<Message>, answer: Option<Vec<u8>>) {
        self.receipt(message);
        match answer {
            Some(reply) if reply.len() + 1024 > self.largest => {
                let (upstream, bytes) = (&self.to.upstream.name, reply.len());
                tracing::error!(%upstream, bytes, "a reply is too large for the broker");
            }
            Some(reply) => self.later.push_back(Later::Reply(reply)),
            None => {}
        }
    }

    async fn publish_status(
        &mut self,
        online: &watch::Receiver<native::Online>,
    ) -> Result<(), LinkError> {
        let name = self.to.upstream.name.clone();
        let counted = self.context.store.read(move |tx| ledger::backlog(tx, &name));
        let (outbox, _) = counted.await?;
        // A certificate may have been renewed while the connection stands.
        let certificates = self.to.safety.certificates();
        self.state.send_modify(|s| s.certificates = certificates);
        let online = native::Online { outbox, ..online.borrow().clone() };
        self.publish_other("status", true, online.payload(self.to.upstream.encoding)?)
    }

    /// Says offline, and takes in the acknowledgements still on their way, within a bound.
    async fn farewell(&mut self) -> Result<(), LinkError> {
        let offline = native::offline(self.to.upstream.encoding)?;
        let said = self.publish_other("status", true, offline);
        if said.is_ok() && self.client.disconnect().is_ok() {
            let drained = async {
                while let Ok(event) = self.client.next().await {
                    let now = self.context.clock.monotonic();
                    if self.heard(Ok(event), now).await.is_err() {
                        break;
                    }
                }
            };
            let _ = timeout(FAREWELL, drained).await;
        }
        Ok(())
    }
}
