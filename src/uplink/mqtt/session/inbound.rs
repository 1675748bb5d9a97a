//! Handles the platform's messages, and sends receipts and replies.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Session, work::Later};
use crate::{
    ledger::SignedAck,
    uplink::{
        client::{Message, OTHERS},
        link::{Incoming, LinkError},
        profiles::{Heard, profile::Acknowledgement},
    },
};

/// Maximum number of waiting receipts. Without a receipt, the broker sends a message again over the
/// next connection.
const RECEIPTS: usize = 4096;
/// Maximum number of waiting receipts and replies up to which a refused command is answered `busy`.
const BUSY: usize = 64;
/// Maximum time by which a signed acknowledgement may be ahead of the gateway's clock, in
/// milliseconds.
const AHEAD_MS: i64 = 300_000;
/// Number of copies of a command's bytes that are in memory while it is read.
const COPIES: usize = 2;

impl Session<'_> {
    /// Handles a message on a subscribed topic.
    pub(super) fn message(&mut self, message: Box<Message>) {
        match self.to.profile.read(&message.topic, &message.payload, self.to.authority) {
            Heard::Command => return self.command(message),
            Heard::Undated if !message.retained => return self.command(message),
            Heard::Undated => self.ignored(),
            // A retained acknowledgement may be older than a later request to send rows again.
            Heard::Acknowledgement(ack) if !message.retained => self.platform_acknowledged(ack),
            Heard::Taken(number) if !message.retained => self.platform_has(number),
            Heard::Welcome => self.greets = false,
            Heard::Acknowledgement(_) | Heard::Taken(_) | Heard::Nothing => {}
        }
        self.receipt(message);
    }

    /// Queues the receipt of a message for the broker. Beyond [`RECEIPTS`] the receipt is left out,
    /// and the broker sends the message again.
    fn receipt(&mut self, mut message: Box<Message>) {
        message.payload.clear();
        if !message.needs_receipt() {
            return;
        }
        if self.later.len() < RECEIPTS {
            self.later.push_back(Later::Receipt(message));
        }
    }

    /// Hands waiting receipts and replies to the client while it has room.
    pub(super) fn catch_up(&mut self) -> Result<(), LinkError> {
        while self.others < OTHERS / 2 && self.may_send() {
            match self.later.pop_front() {
                Some(Later::Receipt(message)) => {
                    self.client.acknowledge(&message).map_err(|e| self.failed(e.error))?;
                    self.others += 1;
                }
                Some(Later::Reply(reply)) => {
                    self.publish_accessory(reply)?;
                }
                None => break,
            }
        }
        Ok(())
    }

    fn platform_acknowledged(&mut self, ack: Result<Acknowledgement, String>) {
        let now = self.context.clock.monotonic();
        let taken = ack.and_then(|ack| {
            if ack.ledger != self.context.ledger.to_string() {
                return Err(format!("it is of another ledger, {}", ack.ledger));
            }
            let signed = match ack.signed_at {
                None => None,
                Some(at) => match self.newest(ack.upto, at)? {
                    Some(newest) => Some(newest),
                    // An older one that claims no more does no harm: the broker sent it again.
                    None => return Ok(true),
                },
            };
            let taken = self.rows.delivery.platform_acknowledged(ack.upto, signed.is_some(), now);
            taken.map_err(|e| e.to_string())?;
            if signed.is_some() {
                self.rows.signed = (signed, true);
            }
            Ok(signed.is_some())
        });
        match taken {
            Ok(signed) => {
                let upto = self.rows.delivery.upto();
                self.state.send_modify(|s| {
                    (s.acknowledged_upto, s.acks_signed) = (upto, Some(signed));
                });
            }
            Err(problem) => self.refused_acknowledgement(&problem),
        }
    }

    fn refused_acknowledgement(&self, problem: &str) {
        let now = self.context.clock.monotonic();
        tracing::warn!(upstream = %self.to.upstream.name, problem, "an acknowledgement is refused");
        self.state.send_modify(|s| {
            s.acks_refused += 1;
            s.trouble(now, format!("the platform's acknowledgement was refused: {problem}"));
        });
    }

    /// Takes in that the platform has one row.
    fn platform_has(&mut self, number: Result<u64, String>) {
        let now = self.context.clock.monotonic();
        let Some(row) = self.to.profile.acknowledges_each() else { return };
        let taken = number.and_then(|number| {
            let seq = row(self.context.ledger, number);
            let taken = self.rows.delivery.platform_has(seq, now);
            taken.map_err(|_| format!("it is of the record {number}, which was never sent"))
        });
        match taken {
            // A platform of this kind acknowledges each row, so its reports wake no reader.
            Ok(()) => drop(self.state.send_if_modified(|s| {
                s.acks_signed = Some(self.to.authority.may_be_unsigned().is_err());
                false
            })),
            Err(problem) => self.refused_acknowledgement(&problem),
        }
    }

    /// Notes a retained command whose age is not known.
    fn ignored(&self) {
        let now = self.context.clock.monotonic();
        tracing::warn!(upstream = %self.to.upstream.name, "a retained command is ignored");
        self.state.send_modify(|s| {
            s.commands_refused += 1;
            let what = "a command that the broker had kept (retained) was ignored: the platform must \
                        not publish commands as retained messages";
            s.trouble(now, what.to_owned());
        });
    }

    /// Checks the time of a signed acknowledgement. A replayed one would strike off rows that the
    /// platform has asked for since. Returns `None` for an older one that claims nothing new.
    fn newest(&self, upto: u64, at: Timestamp) -> Result<Option<SignedAck>, String> {
        let stamp = self.context.clock.stamp();
        let latest = stamp.wall_ms.saturating_add(AHEAD_MS);
        let this = SignedAck { upto, issued_ms: at.as_millisecond() };
        if stamp.synced && this.issued_ms > latest {
            return Err(format!("issued_at: {at} is ahead of the gateway's clock"));
        }
        // A time far ahead was taken while the clock was not trusted. It must not stay in the way.
        let known = self.rows.signed.0.filter(|known| !stamp.synced || known.issued_ms <= latest);
        match known {
            Some(known) if this == known => Ok(Some(this)),
            Some(known) if this.issued_ms <= known.issued_ms => {
                if upto <= self.rows.delivery.upto().unwrap_or(0) {
                    return Ok(None);
                }
                Err("it is signed, and older than the one before it: give each a later issued_at"
                    .to_owned())
            }
            _ => Ok(Some(this)),
        }
    }

    /// Hands a command to the task that runs it. The broker gets the receipt when the command is
    /// answered. Until then the broker sends it again over the next connection.
    fn command(&mut self, mut message: Box<Message>) {
        let (answer, answered) = oneshot::channel();
        let payload = std::mem::take(&mut message.payload);
        let room = self.context.memory.try_hold(COPIES * payload.len());
        let sent = room.zip(self.context.commands.try_reserve().ok()).map(|(held, place)| {
            place.send(Incoming {
                upstream: self.to.upstream.name.clone(),
                profile: self.to.profile.clone(),
                authority: self.to.authority.clone(),
                payload: payload.to_vec(),
                held,
                received: self.context.clock.monotonic(),
                answer,
            });
        });
        match sent {
            Some(()) => {
                self.state.send_modify(|s| s.commands += 1);
                self.answers.push(Box::pin(async move { (message, answered.await.ok()) }));
            }
            None => {
                self.state.send_modify(|s| s.commands_refused += 1);
                // In a burst of commands, `busy` replies would crowd out the other messages.
                let few = self.later.len() < BUSY;
                let busy = few.then(|| self.to.profile.busy(&payload)).flatten();
                self.answer(message, busy);
            }
        }
    }

    /// Sends the receipt and then the reply. The receipt goes first: a platform asks again for a
    /// lost reply, but a command without a receipt would come again with each connection.
    pub(super) fn answer(&mut self, message: Box<Message>, answer: Option<Vec<u8>>) {
        self.receipt(message);
        let reply = answer.and_then(|reply| self.to.profile.reply(reply));
        self.later.extend(reply.map(Later::Reply));
    }
}
