//! Handles the platform's messages, and sends receipts and replies.

use tokio::sync::oneshot;

use super::{Session, work::Later};
use crate::uplink::{
    client::{Message, OTHERS},
    link::{Incoming, LinkError},
    profiles::{self, Heard, profile::Acknowledgement},
};

/// Maximum number of waiting receipts. Without a receipt, the broker sends a message again over the
/// next connection.
const RECEIPTS: usize = 4096;
/// Maximum number of waiting receipts and replies up to which a refused command is answered `busy`.
const BUSY: usize = 64;
/// Number of copies of a command's bytes that are in memory while it is read.
const COPIES: usize = 2;

impl Session<'_> {
    /// Handles a message on a subscribed topic.
    pub(super) fn message(&mut self, message: Box<Message>) {
        match self.to.profile.read(&message.topic, &message.payload) {
            Heard::Command => return self.command(message),
            // A retained acknowledgement may be older than a later request to send rows again.
            Heard::Acknowledgement(ack) if !message.retained => self.platform_acknowledged(ack),
            Heard::Acknowledgement(_) | Heard::Nothing => {}
        }
        self.receipt(message);
    }

    /// Queues the receipt of a message for the broker. Beyond [`RECEIPTS`] the receipt is left out,
    /// and the broker sends the message again.
    fn receipt(&mut self, mut message: Box<Message>) {
        message.payload.clear();
        if self.later.len() < RECEIPTS {
            self.later.push_back(Later::Receipt(message));
        }
    }

    /// Hands waiting receipts and replies to the client while it has room.
    pub(super) fn catch_up(&mut self) -> Result<(), LinkError> {
        while self.others < OTHERS / 2 {
            match self.later.pop_front() {
                Some(Later::Receipt(message)) => {
                    self.client.acknowledge(&message).map_err(|e| self.failed(e.error))?;
                    self.others += 1;
                }
                Some(Later::Reply(reply)) => self.publish_other(reply)?,
                None => break,
            }
        }
        Ok(())
    }

    pub(super) fn publish_other(&mut self, message: profiles::Message) -> Result<(), LinkError> {
        self.delivery.publish_other(self.context.clock.monotonic());
        self.earlier.published_other();
        self.others += 1;
        self.publish(message)
    }

    fn platform_acknowledged(&mut self, ack: Result<Acknowledgement, String>) {
        let now = self.context.clock.monotonic();
        let taken = ack.and_then(|ack| {
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
                tracing::warn!(upstream = %self.to.upstream.name, problem, "an acknowledgement is refused");
                self.state.send_modify(|s| {
                    s.acks_refused += 1;
                    let what = format!("the platform's acknowledgement was refused: {problem}");
                    s.trouble(now, what);
                });
            }
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
        match answer {
            Some(reply) if reply.len() + 1024 > self.largest => {
                let (upstream, bytes) = (&self.to.upstream.name, reply.len());
                tracing::error!(%upstream, bytes, "a reply is too large for the broker and is left out");
            }
            Some(reply) => self.later.extend(self.to.profile.reply(reply).map(Later::Reply)),
            None => {}
        }
    }
}
