//! Sends what the broker takes: rows, or stubs in their place, and accessories as far as they are
//! not forbidden.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use super::{Session, To};
use crate::{
    ledger::{self, LedgerError, WithheldFor},
    store::{Priority, meta, set_meta},
    uplink::{
        client::{Limits, Options},
        link::{Context, LinkError},
        profiles::{self, Online},
        rows::{Row, limit_key, packet_bytes},
        terms::{Part, Proof, SAID_SO, Sort, Stub, Terms},
    },
};

/// Timeout for the last messages at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the options of the daemon's own connection, with what the broker takes.
pub fn options(to: To<'_>, context: &Context, terms: &Terms) -> Result<Options, LinkError> {
    let now = context.clock.monotonic();
    let client_id = to.upstream.client_id(&context.origin.gateway);
    let mut options = Options::new(to.upstream, to.broker, to.version, to.safety, client_id)?;
    (options.lasting, options.qos_0) = (true, terms.qos_0);
    options.will = match terms.takes(&Part::Will, now) {
        true => to.profile.offline()?,
        false => None,
    };
    if let Some(will) = &mut options.will {
        will.retained &= terms.takes(&Part::Retain, now);
    }
    Ok(options)
}

impl Session<'_> {
    /// Takes in the limits of the broker's CONNACK. Fails if it acknowledges no record.
    pub(super) fn limited(&mut self, limits: Limits) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        self.rows.delivery.narrow(limits.at_once);
        let largest = limits.largest.and_then(|bytes| usize::try_from(bytes).ok());
        self.rows.largest = self.rows.largest.min(largest.unwrap_or(self.rows.largest));
        if limits.no_retain {
            self.terms.refuse(Part::Retain, SAID_SO, now);
        }
        self.terms.qos_0 = limits.qos_0;
        self.qos_0 = self.terms.qos_0;
        if self.qos_0 && self.to.upstream.ack == crate::config::Ack::Broker {
            return Err(self.failed(
                "the broker takes messages of QoS 0 only (Maximum QoS 0), and so acknowledges no \
                 record. Nothing is sent or struck off. Ask its operator for QoS 1, or set \
                 ack = \"platform\" if the platform acknowledges records itself",
            ));
        }
        Ok(())
    }

    /// Returns whether a further message may go out. A careful connection waits until the broker has
    /// acknowledged each kind of message that is on its way.
    pub(super) fn may_send(&self) -> bool {
        !self.careful || self.proofs.are_complete()
    }

    /// Notes that a row's message is handed to the client.
    pub(super) fn handed_row(&mut self, message: &profiles::Message, stub: Option<Stub>) {
        let falls_away = self.stubs_on.as_ref().is_some_and(|topic| *topic != message.topic);
        let sort = if falls_away { Sort::Event } else { Sort::Record };
        self.proofs.handed(&message.topic, message.retained, sort, stub);
    }

    /// Returns a row's message, or a stub in its place if the broker does not take the message, or if
    /// the row stands aside.
    pub(super) fn fitting(
        &self,
        row: Row,
        stands_aside: bool,
    ) -> Result<(profiles::Message, Option<WithheldFor>), LinkError> {
        let Row { message, resent, known: (ledger, seq, leaf), .. } = row;
        let Some(records) = &self.stubs_on else { return Ok((message, None)) };
        let forbidden = || {
            let topic = Part::Topic(message.topic.clone());
            !self.terms.takes(&topic, self.context.clock.monotonic())
        };
        let withheld = if stands_aside {
            WithheldFor::Refused
        } else if packet_bytes(&message) > self.rows.largest {
            WithheldFor::TooLarge
        } else if message.topic != *records && forbidden() {
            WithheldFor::TopicRefused
        } else {
            return Ok((message, None));
        };
        tracing::debug!(seq, withheld = withheld.word(), "a stub goes in place of a record");
        let ledger = ledger.to_string();
        let stub = profiles::Stub { ledger, seq, withheld, leaf, resent };
        let stub = self.to.profile.stub(&stub)?;
        let stub = stub.filter(|stub| packet_bytes(stub) <= self.rows.largest);
        let stub = stub.ok_or_else(|| {
            self.failed(format_args!(
                "it takes messages of up to {} bytes, and a record has {}: ask its operator for more",
                self.rows.largest,
                packet_bytes(&message)
            ))
        })?;
        Ok((stub, Some(withheld)))
    }

    /// Publishes a message that is no row, as far as the broker takes it. Returns whether it went
    /// out.
    pub(super) fn publish_accessory(
        &mut self,
        message: profiles::Message,
    ) -> Result<bool, LinkError> {
        self.publish_beside(message, Sort::Accessory)
    }

    /// As [`publish_accessory`](Self::publish_accessory), for an accessory of this sort.
    pub(super) fn publish_beside(
        &mut self,
        mut message: profiles::Message,
        sort: Sort,
    ) -> Result<bool, LinkError> {
        let now = self.context.clock.monotonic();
        let topic = Part::Topic(message.topic.clone());
        if !self.terms.takes(&topic, now) {
            return Ok(false);
        }
        let bytes = packet_bytes(&message);
        if bytes > self.rows.largest {
            let (upstream, largest) = (&self.to.upstream.name, self.rows.largest);
            tracing::warn!(%upstream, topic = message.topic, bytes, largest, "a message is too large for the broker and is left out");
            self.terms.too_large(&message.topic, bytes, largest, now);
            self.tell();
            return Ok(false);
        }
        message.retained &= self.terms.takes(&Part::Retain, now);
        self.rows.delivery.publish_other(now);
        self.earlier.published_other();
        self.others += 1;
        self.proofs.handed(&message.topic, message.retained, sort, None);
        self.publish(message)?;
        Ok(true)
    }

    /// Takes in that the broker acknowledged a message.
    pub(super) fn proved(&mut self, proof: Proof) {
        match proof.stub {
            Some((seq, WithheldFor::Refused)) => self.stub_taken(seq),
            stub => self.rows.stubbed.extend(stub),
        }
        if proof.sort == Sort::Photo {
            self.photo_taken();
        }
        if !proof.first {
            return;
        }
        self.take_back_due |= proof.sort == Sort::Event;
        let mut news = self.terms.works(&Part::Topic(proof.topic));
        if proof.retained {
            news |= self.terms.works(&Part::Retain);
        }
        if news {
            self.tell();
        }
    }

    /// Takes in that the broker refused a message other than a record, or a record whose topic it
    /// forbids.
    pub(super) fn forbidden(&mut self, topic: String, reason: &str) {
        let (upstream, now) = (&self.to.upstream.name, self.context.clock.monotonic());
        tracing::warn!(%upstream, topic, reason, "the broker forbids a topic");
        self.terms.refuse(Part::Topic(topic), format!("the broker's answer is {reason}"), now);
        self.tell();
        self.rows.delivery.offer_refused();
    }

    /// Shows what the broker forbids.
    pub(super) fn tell(&self) {
        let without = self.terms.without();
        self.state.send_modify(|s| s.without = without);
    }

    /// Puts records back that stand aside and that the broker takes now: those on a topic that it
    /// has just taken, or at the begin those of a size that it did not take before.
    pub(super) async fn take_back(&mut self, why: WithheldFor) -> Result<(), LinkError> {
        let (name, largest) = (self.to.upstream.name.clone(), self.rows.largest as u64);
        let taken = self.context.store.read({
            let name = name.clone();
            move |tx| {
                let limit = meta(tx, &limit_key(&name))?.and_then(|bytes| bytes.try_into().ok());
                let limit = limit.map_or(u64::MAX, u64::from_be_bytes);
                let withheld = ledger::withheld(tx, &name)?;
                let returned =
                    meta(tx, &ledger::returned_key(&name))?.and_then(|bytes| bytes.try_into().ok());
                let is_due = why != WithheldFor::TooLarge || largest > limit;
                Ok::<_, LedgerError>((withheld, is_due, returned.map(u64::from_be_bytes)))
            }
        });
        let (mut withheld, is_due, returned) = taken.await?;
        // An earlier run may have ended before it had sent them.
        returned.into_iter().for_each(|last| self.rows.delivery.returned(last));
        let mut back = None;
        if is_due && withheld > 0 {
            let taken = self.context.store.write(Priority::Upkeep, move |tx| {
                let back = ledger::take_back(tx, &name, why)?;
                if let Some((_, last)) = back {
                    set_meta(tx, &ledger::returned_key(&name), &last.to_be_bytes())?;
                }
                Ok::<_, LedgerError>((back, ledger::withheld(tx, &name)?))
            });
            (back, withheld) = taken.await?;
        }
        self.state.send_modify(|s| s.withheld = withheld);
        if let Some((first, last)) = back {
            tracing::info!(upstream = %self.to.upstream.name, first, last, "records that stood aside are sent");
            self.rows.struck_upto = self.rows.struck_upto.min(first.saturating_sub(1));
            self.rows.delivery.again(first, last);
            self.rows.delivery.returned(last);
        }
        Ok(())
    }

    pub(super) async fn publish_status(
        &mut self,
        online: &watch::Receiver<Online>,
    ) -> Result<(), LinkError> {
        let name = self.to.upstream.name.clone();
        let counted = self.context.store.read(move |tx| ledger::backlog(tx, &name));
        let (outbox, _) = counted.await?;
        // A certificate may have been renewed while the connection stands.
        let certificates = self.to.safety.certificates();
        self.state.send_modify(|s| s.certificates = certificates);
        let at = self.context.clock.stamp().timestamp();
        let online = Online { outbox, at, ..online.borrow().clone() };
        let greeting = if self.greets { self.to.profile.greeting(&online)? } else { None };
        if let Some(greeting) = greeting {
            self.publish_accessory(greeting)?;
        }
        let status = self.to.profile.status(&online)?;
        status.map_or(Ok(()), |status| self.publish_accessory(status).map(drop))
    }

    /// Publishes the offline status, and takes in acknowledgements on their way, for at most
    /// [`SHUTDOWN_TIMEOUT`].
    pub(super) async fn shut_down(&mut self) -> Result<(), LinkError> {
        let offline = self.to.profile.offline()?;
        let said = offline.map_or(Ok(false), |offline| self.publish_accessory(offline));
        if said.is_ok() && self.client.disconnect().is_ok() {
            let drained = async {
                while let Ok(event) = self.client.next().await {
                    let now = self.context.clock.monotonic();
                    if self.handle(Ok(event), now).await.is_err() {
                        break;
                    }
                }
            };
            let _ = timeout(SHUTDOWN_TIMEOUT, drained).await;
        }
        Ok(())
    }
}
