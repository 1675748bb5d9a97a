//! One connection: carries out the decisions of [`Delivery`] over one [`Client`].
//!
//! In: events of the client, commits, requests and the platform's messages. Out: publishes, rows
//! struck off, and commands. [`Rows`] reads rows, makes them messages and strikes them off, while
//! publishing goes on. [`inbound`] handles messages from the platform. `heads` publishes
//! signed tree heads. `accessories` leaves out what the broker does not take. `photos` publishes photos after
//! their records. `suspects` finds rows over which connections end. `earlier` publishes what waits in
//! databases that were set aside.

mod accessories;
mod earlier;
mod heads;
mod inbound;
mod photos;
mod rows;
mod suspects;
mod work;

pub(super) use self::accessories::options;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::OptionFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, interval},
};

use self::earlier::Earlier;
use self::photos::{PhotoReading, Photos};
use self::work::{Answer, Later};
use crate::{
    clock::Monotonic,
    config::{Broker, MqttVersion, Upstream},
    failpoint,
    ledger::{self, LedgerError, WithheldFor},
    uplink::{
        authority::Authority,
        client::{Cause, Client, ClientError, ClientEvent, MAX_OUTGOING_BYTES},
        delivery::{Delivery, Late, WINDOW},
        link::{Asked, Context, LinkError},
        photos::Pace,
        profiles::{self, Profile},
        rows::{PageRead, Row, Rows, recount},
        set_aside,
        state::UpstreamState,
        suspects::Suspects,
        terms::{Part, Proofs, Sort, Terms},
        tls::Safety,
    },
};

/// Interval between publishes of the retained status without a change.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// Interval between checks whether an acknowledgement is late.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Interval between transactions that strike off acknowledged rows, if fewer than
/// `rows::STRIKE_ROWS` wait.
const STRIKE_EVERY: Duration = Duration::from_millis(50);
/// Timeout after which the connection is given up, because a subscription is not answered.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(30);
const NO_SUBSCRIBER: &str = "the broker took a record and reports no subscriber for it: the \
                             platform must subscribe, and ask for missing records \
                             (attendance.resend)";

/// The target of a connection, and how to reach it.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub upstream: &'a Upstream,
    pub profile: &'a Arc<dyn Profile>,
    pub authority: &'a Arc<Authority>,
    pub broker: &'a Broker,
    pub version: MqttVersion,
    pub safety: &'a Safety,
}

/// The state of one connection.
struct Session<'a> {
    to: To<'a>,
    context: &'a Context,
    state: &'a watch::Sender<UpstreamState>,
    rows: Rows<'a>,
    terms: &'a mut Terms,
    pace: &'a mut Pace,
    suspects: &'a mut Suspects,
    photos: Photos,
    client: Client,
    connected: bool,
    /// One kind of message at a time goes out, see [`Terms`].
    careful: bool,
    /// What the broker has acknowledged on this connection.
    proofs: Proofs,
    /// The topic of records and stubs.
    stubs_on: Option<String>,
    /// The broker has taken an event, so rows that stand aside for want of that are sent.
    take_back_due: bool,
    /// Messages go out with QoS 0.
    qos_0: bool,
    status_due: bool,
    /// The platform has not answered the greeting of this connection.
    greets: bool,
    head_due: bool,
    /// The size of a head that the broker has not acknowledged yet.
    head_sent: Option<u64>,
    /// Uptime at which the subscriptions were sent.
    asked_at: Monotonic,
    /// Receipts and replies that wait for room in the client.
    later: VecDeque<Later>,
    /// Number of messages other than rows in the client.
    others: usize,
    /// The row that goes last and is offered now.
    last: Option<u64>,
    /// Records of databases that were set aside.
    earlier: Earlier,
    /// Commands that are running, each with its future answer.
    answers: FuturesUnordered<Answer>,
}

/// Runs one connection, from CONNECT until it ends or the daemon stops.
pub(super) async fn session(
    to: To<'_>,
    context: &Context,
    state: &watch::Sender<UpstreamState>,
    delivery: &mut Delivery<Row>,
    (terms, pace, suspects): (&mut Terms, &mut Pace, &mut Suspects),
    asked: &mut mpsc::Receiver<Asked>,
) -> Result<(), LinkError> {
    let options = options(to, context, terms)?;
    let client = Client::connect(options);
    state.send_modify(|s| s.version = Some(to.version));
    let photos_on = to.profile.photos_on().filter(|_| to.upstream.photos.are_sent());
    let mut session = Session {
        to,
        context,
        state,
        rows: Rows {
            largest: MAX_OUTGOING_BYTES,
            notes_photos: photos_on.is_some(),
            ..Rows::new((to.upstream, to.profile), context, state, delivery)
        },
        // With one kind of message at a time it shows whether a row is the reason.
        careful: terms.is_careful() || suspects.has_doubts(),
        terms,
        pace,
        suspects,
        photos: Photos::new(photos_on),
        client,
        connected: false,
        proofs: Proofs::default(),
        stubs_on: to.profile.stubs_on(),
        take_back_due: false,
        qos_0: false,
        status_due: false,
        greets: true,
        head_due: false,
        head_sent: None,
        asked_at: Monotonic::default(),
        later: VecDeque::new(),
        others: 0,
        last: None,
        earlier: Earlier::default(),
        answers: FuturesUnordered::new(),
    };
    let mut ended = session.run(asked).await;
    session.photo_lost();
    if session.connected
        && let Err(LinkError::Connection { problem, cause, .. }) = &mut ended
    {
        let now = context.clock.monotonic();
        session.suspect_rows(problem, *cause);
        if let Some(part) = session.terms.ended(session.proofs.unproven(), *cause, now) {
            problem.push_str(&format!(". It came right after {part}, which it may forbid"));
        }
        session.tell();
    }
    // Rows that were acknowledged before the connection ended are not sent again.
    let settled = if session.connected { session.rows.settle().await } else { Ok(()) };
    ended.and(settled)
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Session<'_> {
    async fn run(&mut self, asked: &mut mpsc::Receiver<Asked>) -> Result<(), LinkError> {
        let mut commits = self.context.store.commits();
        let mut online = self.context.online.clone();
        let mut roster = online.borrow().roster_version;
        let mut heads = self.context.heads.clone();
        let heartbeat = self.to.profile.heartbeat();
        let [mut renew, mut check, mut strike] =
            [heartbeat.unwrap_or(STATUS_EVERY), CHECK_EVERY, STRIKE_EVERY].map(every);
        let mut page: Option<PageRead> = None;
        let mut earlier: Option<set_aside::PageRead> = None;
        let mut photo: Option<PhotoReading> = None;
        loop {
            if self.connected {
                self.catch_up()?;
                self.publish_rows()?;
                self.offer_last();
                if page.is_none() {
                    page = self.rows.next_page();
                }
                if earlier.is_none() {
                    earlier = self.next_earlier();
                }
                if self.rows.is_strike_due() {
                    self.rows.strike();
                }
                if photo.is_none() {
                    photo = self.next_photo();
                }
                if self.may_send() && std::mem::take(&mut self.status_due) {
                    self.publish_status(&online).await?;
                }
                if self.may_send() && std::mem::take(&mut self.head_due) {
                    self.publish_head(&mut heads).await?;
                }
                if std::mem::take(&mut self.take_back_due) {
                    self.take_back(WithheldFor::TopicRefused).await?;
                }
                self.note_head().await;
            }
            let connected = self.connected;
            let unstruck = self.rows.striking.is_none() && self.rows.has_to_strike();
            tokio::select! {
                _ = self.context.cancel.cancelled() => {
                    return if connected { self.shut_down().await } else { Ok(()) };
                }
                event = self.client.next() => {
                    self.handle(event, self.context.clock.monotonic()).await?;
                }
                Some(read) = OptionFuture::from(page.as_mut()) => {
                    page = None;
                    self.rows.fetched(read?);
                }
                Some(read) = OptionFuture::from(earlier.as_mut()) => {
                    earlier = None;
                    self.publish_earlier(read?)?;
                }
                Some(read) = OptionFuture::from(photo.as_mut()) => {
                    photo = None;
                    self.publish_photo(read?)?;
                }
                Some(struck) = OptionFuture::from(self.rows.striking.as_mut()) => {
                    self.rows.striking = None;
                    self.rows.struck(struck?);
                    self.photos.rests = false;
                }
                _ = strike.tick(), if connected && unstruck => self.rows.strike(),
                Some((message, answer)) = self.answers.next() => self.answer(message, answer),
                Some(asked) = asked.recv() => match asked {
                    Asked::Again { from, to } => {
                        self.suspects.forget_between(from, to);
                        self.rows.delivery.returned(to);
                        // An earlier acknowledgement of the platform does not count for rows that
                        // are put back.
                        self.rows.struck_upto = self.rows.struck_upto.min(from.saturating_sub(1));
                        self.rows.delivery.again(from, to);
                    }
                    Asked::Recount => recount(self.context, &self.to.upstream.name, self.state).await?,
                    Asked::Earlier => {
                        self.earlier.rests = false;
                        // Dismissed rows may be offered again.
                        recount(self.context, &self.to.upstream.name, self.state).await?;
                    }
                },
                changed = commits.changed(), if connected => match changed {
                    Ok(()) => self.rows.delivery.committed(),
                    Err(_) => return Ok(()),
                },
                _ = check.tick(), if connected => {
                    // A photo may be written now that was not written before.
                    self.photos.rests &= self.state.borrow().photos_waiting == 0;
                    self.check_timeouts()?;
                }
                _ = renew.tick(), if connected => {
                    self.status_due = true;
                    // Records may have been rescued meanwhile.
                    self.earlier.rests = false;
                }
                Ok(()) = online.changed(), if connected => {
                    self.status_due |= heartbeat.is_none();
                    let now = online.borrow().roster_version;
                    if std::mem::replace(&mut roster, now) != now {
                        self.rows.retry_lacking().await?;
                        self.earlier.rests = false;
                    }
                }
                Ok(()) = heads.changed(), if connected => self.head_due = true,
            }
            // Events that have happened by now are handled in batches, at most half a window at a
            // time.
            let now = self.context.clock.monotonic();
            for _ in 0..WINDOW / 2 {
                let Some(event) = self.client.happened() else { break };
                self.handle(event, now).await?;
            }
        }
    }

    fn failed(&self, problem: impl std::fmt::Display) -> LinkError {
        let (broker, problem) = (self.to.broker.to_string(), problem.to_string());
        LinkError::Connection { broker, problem, cause: Cause::Other }
    }

    fn explained(&self, ended: &ClientError) -> String {
        let now = self.context.clock.stamp();
        self.to.safety.explain(self.to.broker, &*ended.error, &now)
    }

    async fn handle(
        &mut self,
        event: Result<ClientEvent, ClientError>,
        now: Monotonic,
    ) -> Result<(), LinkError> {
        match event {
            Ok(ClientEvent::Connected(limits)) => {
                self.limited(limits)?;
                self.begin().await?;
            }
            Ok(ClientEvent::Receipted) => self.others = self.others.saturating_sub(1),
            Ok(ClientEvent::Unexpected) => {
                return Err(self.failed("it sent an answer of QoS 2, which no message asked for"));
            }
            Ok(ClientEvent::Numbered(packet)) => {
                self.proofs.numbered(packet);
                if self.rows.delivery.numbered(packet) {
                    failpoint::at("uplink.published");
                } else {
                    self.others = self.others.saturating_sub(1);
                    self.earlier.numbered(packet);
                }
                if packet == 0 {
                    self.taken(packet, true, now);
                }
            }
            Ok(ClientEvent::Taken { packet, heard }) => self.taken(packet, heard, now),
            Ok(ClientEvent::Refused { packet, reason, topic: forbids }) => {
                let at_ms = self.context.clock.stamp().wall_ms;
                self.earlier.refused(packet, &reason, at_ms);
                let refused = self.proofs.refused(packet);
                let seq = self.rows.delivery.row_of(packet);
                self.answered(seq, false);
                let is_row = self.rows.delivery.refused(packet, now);
                if !is_row {
                    // It may be the head.
                    self.head_sent = None;
                }
                if matches!(refused, Some((_, Sort::Photo))) {
                    self.photo_refused(forbids);
                }
                let refused = refused.filter(|(_, sort)| forbids && *sort != Sort::Record);
                if let Some((topic, _)) = refused {
                    self.forbidden(topic, &reason);
                } else if is_row {
                    self.state.send_modify(|s| {
                        s.refused += 1;
                        let what = format!(
                            "the broker refused a record ({reason}): ask its operator why. The \
                             record is offered again each minute"
                        );
                        s.trouble(now, what);
                    });
                }
            }
            Ok(ClientEvent::Message(message)) => self.message(message),
            Ok(ClientEvent::Subscribed) => {
                self.proofs.subscription_answered();
                if self.terms.works(&Part::Subscriptions) {
                    self.tell();
                }
            }
            Ok(ClientEvent::NotSubscribed(reason)) => {
                self.proofs.subscription_answered();
                tracing::warn!(upstream = %self.to.upstream.name, reason, "the broker refuses a subscription");
                self.state.send_modify(|s| s.not_subscribed = Some(reason));
            }
            Ok(ClientEvent::Nothing) => {}
            Err(ended) => {
                return Err(LinkError::Connection {
                    broker: self.to.broker.to_string(),
                    problem: self.explained(&ended),
                    cause: ended.cause,
                });
            }
        }
        Ok(())
    }

    fn taken(&mut self, packet: u16, heard: bool, now: Monotonic) {
        let seq = self.rows.delivery.row_of(packet);
        let proof = self.proofs.taken(packet);
        let is_refused =
            proof.as_ref().is_some_and(|p| matches!(p.stub, Some((_, WithheldFor::Refused))));
        // A broker that takes events and stubs alone may forbid all records. Then none stands aside.
        let is_record = proof.as_ref().is_some_and(|p| p.sort == Sort::Record && p.stub.is_none());
        self.answered(seq.filter(|_| !is_refused), is_record && seq.is_some());
        if let Some(proof) = proof {
            self.proved(proof);
        }
        if !self.rows.delivery.acknowledged(packet, now) {
            self.earlier_taken(packet);
            return;
        }
        failpoint::at("uplink.acknowledged");
        if !heard {
            self.state.send_modify(|s| {
                s.unheard += 1;
                s.trouble(now, NO_SUBSCRIBER.to_owned());
            });
        }
    }

    /// Begins delivery after CONNACK.
    async fn begin(&mut self) -> Result<(), LinkError> {
        let name = self.to.upstream.name.clone();
        let known = self.context.store.read(move |tx| {
            Ok::<_, LedgerError>((ledger::last_seq(tx)?, ledger::signed_ack(tx, &name)?))
        });
        let (head, signed) = known.await?;
        recount(self.context, &self.to.upstream.name, self.state).await?;
        self.rows.signed = (signed, false);
        self.take_back(WithheldFor::TooLarge).await?;
        self.rows.delivery.connected(head);
        self.connected = true;
        self.status_due = true;
        self.head_due = true;
        let now = self.context.clock.monotonic();
        let topics = self.to.profile.listens_on(self.to.authority);
        let forbidden = !self.terms.takes(&Part::Subscriptions, now) && !topics.is_empty();
        for topic in topics.into_iter().filter(|_| !forbidden) {
            self.client.subscribe(topic).map_err(|e| self.failed(e.error))?;
            self.proofs.subscribing();
        }
        if self.terms.takes(&Part::Will, now) {
            self.terms.works(&Part::Will);
        }
        self.terms.connected();
        self.tell();
        self.asked_at = now;
        tracing::info!(upstream = %self.to.upstream.name, broker = %self.to.broker, "link is up");
        self.state.send_modify(|s| {
            s.connected = true;
            s.since = now;
            s.last_error = None;
            s.not_subscribed =
                forbidden.then(|| "the broker hangs up after a subscription".to_owned());
            s.connects += 1;
            s.certificates = self.to.safety.certificates();
        });
        Ok(())
    }

    fn publish(&self, message: profiles::Message) -> Result<(), LinkError> {
        let published = self.client.publish(message, self.qos_0);
        published.map_err(|ended| self.failed(ended.error))
    }

    /// Fails if the broker or the platform is late.
    fn check_timeouts(&mut self) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        let unanswered =
            self.proofs.subscriptions() > 0 && now.since(self.asked_at) >= SUBSCRIBED_WITHIN;
        let (problem, cause) = match self.rows.delivery.look(now) {
            Some(Late::Broker) => {
                ("it takes messages and does not acknowledge them", Cause::HungUp)
            }
            Some(Late::Platform) => {
                ("no acknowledgement of the platform comes over this connection", Cause::Other)
            }
            None if unanswered => ("it does not answer subscriptions", Cause::HungUp),
            None => return Ok(()),
        };
        self.state.send_modify(|s| s.stalls += 1);
        let (broker, problem) = (self.to.broker.to_string(), problem.to_owned());
        Err(LinkError::Connection { broker, problem, cause })
    }
}
