//! What comes from the platform, and what goes back that is no row.

use tokio::sync::oneshot;

use super::{Session, work::Later};
use crate::uplink::{
    client::{Message, OTHERS},
    link::{Incoming, LinkError},
    profiles::{self, Heard, profile::Acknowledgement},
};

/// Messages of the broker whose receipt waits; those beyond it sends again to the next connection.
const RECEIPTS: usize = 4096;
/// While so much waits, commands beyond those being carried out get no answer.
const BUSY: usize = 64;

impl Session<'_> {
    /// What came on a topic that we subscribed to.
    pub(super) fn message(&mut self, message: Box<Message>) {
        match self.to.profile.read(&message.topic, &message.payload) {
            Heard::Command => return self.command(message),
            // What a broker kept from before may be older than what was asked for again since.
            Heard::Acknowledgement(ack) if !message.retained => self.platform_acknowledged(ack),
            Heard::Acknowledgement(_) | Heard::Nothing => {}
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
            profile: self.to.profile.clone(),
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
                let busy = few.then(|| self.to.profile.busy(&payload)).flatten();
                self.answer(message, busy);
            }
        }
    }

    /// The broker has its receipt first: a reply that does not get through is asked for again, and a
    /// command that this broker would send again with each connection is not.
    pub(super) fn answer(&mut self, message: Box<Message>, answer: Option<Vec<u8>>) {
        self.receipt(message);
        match answer {
            Some(reply) if reply.len() + 1024 > self.largest => {
                let (upstream, bytes) = (&self.to.upstream.name, reply.len());
                tracing::error!(%upstream, bytes, "a reply is too large for the broker");
            }
            Some(reply) => self.later.extend(self.to.profile.reply(reply).map(Later::Reply)),
            None => {}
        }
    }
}
