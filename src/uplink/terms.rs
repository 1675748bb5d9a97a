//! Decides what a broker gets besides records. Pure.
//!
//! In: the answers of one broker, and how its connections end. Out: whether it takes the will,
//! retained messages, subscriptions and each topic. These are accessories: an accessory that a broker
//! forbids falls away, and records go on (I14).
//!
//! A broker may forbid a topic by a reason code, or it hangs up. Then the messages that it had not
//! acknowledged are suspects. The next connection is careful: it sends a message of another kind only
//! when every kind before it has been acknowledged. So it ends with one suspect. A part that is the
//! only suspect [`STRIKES`] times in succession falls away. After [`REFUSED_FOR`] it is tried again.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    time::Duration,
};

use super::{client::Cause, state::Without};
use crate::{clock::Monotonic, ledger::WithheldFor};

/// Number of connections in succession that must end over a part before it falls away, if the
/// broker gives no reason.
const STRIKES: u32 = 3;
/// Time for which a part that the broker forbids is left out.
const REFUSED_FOR: Duration = Duration::from_secs(3600);
/// The broker gave the reason.
pub(super) const SAID_SO: &str = "the broker said so";

/// A part of the link that a broker may forbid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Will,
    /// Retained messages.
    Retain,
    Subscriptions,
    /// The messages on this topic.
    Topic(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Will => f.write_str("the will"),
            Part::Retain => f.write_str("retained messages"),
            Part::Subscriptions => f.write_str("subscriptions"),
            Part::Topic(topic) => write!(f, "messages on {topic}"),
        }
    }
}

/// What one broker takes, over all connections.
#[derive(Debug, Default)]
pub(super) struct Terms {
    refused: BTreeMap<Part, (String, Monotonic)>,
    /// The broker takes messages of QoS 0 only.
    pub qos_0: bool,
    /// Topics with a message that was larger than the broker takes, and what it takes.
    too_large: BTreeMap<String, (String, Monotonic)>,
    careful: bool,
    suspect: Option<(Part, u32)>,
    /// Number of hang-ups at CONNECT in succession.
    pub hung_up: u32,
}

impl Terms {
    pub fn takes(&self, part: &Part, now: Monotonic) -> bool {
        self.refused.get(part).is_none_or(|(_, at)| now.since(*at) >= REFUSED_FOR)
    }

    /// Whether the next connection sends one kind of message at a time.
    pub fn is_careful(&self) -> bool {
        self.careful
    }

    /// Notes that the broker forbids a part.
    pub fn refuse(&mut self, part: Part, why: impl Into<String>, now: Monotonic) {
        self.refused.insert(part, (why.into(), now));
    }

    /// Notes that a message is larger than the broker takes.
    pub fn too_large(&mut self, topic: &str, bytes: usize, largest: usize, now: Monotonic) {
        let why = format!("a message had {bytes} bytes, and it takes {largest}");
        self.too_large.insert(topic.to_owned(), (why, now));
    }

    /// Notes a new connection, whose limits may be others.
    pub fn connected(&mut self) {
        self.too_large.clear();
        self.hung_up = 0;
    }

    /// Notes that the broker took a part. Returns whether it had forbidden it.
    pub fn works(&mut self, part: &Part) -> bool {
        self.suspect = self.suspect.take().filter(|(suspect, _)| suspect != part);
        self.refused.remove(part).is_some()
    }

    /// Notes that a connection that was up ended, with the kinds of messages that it had not proved.
    /// Returns the part over which it ended, if only one is suspect, and not for the first time.
    pub fn ended(&mut self, unproven: Vec<Unproven>, cause: Cause, now: Monotonic) -> Option<Part> {
        match cause {
            Cause::Retain => self.refuse(Part::Retain, SAID_SO, now),
            Cause::Qos => self.qos_0 = true,
            _ => {}
        }
        self.careful = cause.may_be_a_message() && !unproven.is_empty();
        if !self.careful {
            return None;
        }
        let Ok([Unproven { part, essential }]) = <[Unproven; 1]>::try_from(unproven) else {
            return None;
        };
        let strikes = match &self.suspect {
            Some((before, strikes)) if *before == part => strikes + 1,
            _ => 1,
        };
        self.suspect = Some((part.clone(), strikes));
        let is_blamed = strikes > 1 || cause == Cause::Message;
        if !essential && (strikes >= STRIKES || cause == Cause::Message) {
            self.suspect = None;
            // A topic is suspected first of being retained.
            self.refused.retain(|part, (why, _)| *part != Part::Retain || why == SAID_SO);
            let why = match cause {
                Cause::Message => "the broker ended the connection over it, and said so".to_owned(),
                _ => format!("the broker ended {strikes} connections over it"),
            };
            self.refuse(part.clone(), why, now);
        }
        is_blamed.then_some(part)
    }

    /// Returns what the broker forbids, for people.
    pub fn without(&self) -> Vec<Without> {
        let one = |(what, (why, since)): (String, &(String, Monotonic))| Without {
            what,
            why: why.clone(),
            since: *since,
        };
        let refused = self.refused.iter().map(|(part, why)| (part.to_string(), why));
        let large = self.too_large.iter();
        let large = large.map(|(topic, why)| (Part::Topic(topic.clone()).to_string(), why));
        refused.chain(large).map(one).collect()
    }
}

/// A kind of message that this connection has sent, and that the broker has never acknowledged on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unproven {
    pub part: Part,
    /// Records never fall away.
    pub essential: bool,
}

/// A row that was sent as a stub.
pub(super) type Stub = (u64, WithheldFor);

/// What a message is to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A record, or a stub. It never falls away.
    Record,
    /// A row that is no record. A stub may go in its place.
    Event,
    Accessory,
    /// The photo of a passage. At most one is on its way.
    Photo,
}

/// A kind of message on one connection.
#[derive(Debug)]
struct Kind {
    topic: String,
    retained: bool,
    sort: Sort,
    proven: bool,
    outstanding: usize,
}

/// What the broker has acknowledged over one connection.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    kinds: Vec<Kind>,
    unnumbered: VecDeque<(usize, Option<Stub>)>,
    in_flight: HashMap<u16, (usize, Option<Stub>)>,
    subscriptions: usize,
}

/// A message that the broker acknowledged.
#[derive(Debug)]
pub(super) struct Proof {
    pub topic: String,
    pub retained: bool,
    pub sort: Sort,
    /// The row, if the message was a stub.
    pub stub: Option<Stub>,
    /// It is the first message of its kind over this connection.
    pub first: bool,
}

impl Proofs {
    /// Notes that a message was handed to the client.
    pub fn handed(&mut self, topic: &str, retained: bool, sort: Sort, stub: Option<Stub>) {
        let same = |kind: &Kind| kind.topic == topic && kind.retained == retained;
        let at = self.kinds.iter().position(same).unwrap_or_else(|| {
            let (topic, proven, outstanding) = (topic.to_owned(), false, 0);
            self.kinds.push(Kind { topic, retained, sort, proven, outstanding });
            self.kinds.len() - 1
        });
        if let Some(kind) = self.kinds.get_mut(at) {
            kind.outstanding += 1;
        }
        self.unnumbered.push_back((at, stub));
    }

    /// Notes the packet id of the oldest message without one.
    pub fn numbered(&mut self, packet: u16) {
        if let Some(message) = self.unnumbered.pop_front() {
            self.in_flight.insert(packet, message);
        }
    }

    /// Notes that the broker acknowledged a packet.
    pub fn taken(&mut self, packet: u16) -> Option<Proof> {
        let (at, stub) = self.in_flight.remove(&packet)?;
        let kind = self.kinds.get_mut(at)?;
        kind.outstanding = kind.outstanding.saturating_sub(1);
        let first = !std::mem::replace(&mut kind.proven, true);
        let topic = if first { kind.topic.clone() } else { String::new() };
        Some(Proof { topic, retained: kind.retained, sort: kind.sort, stub, first })
    }

    /// Notes that the broker refused a packet. Returns its topic and sort.
    pub fn refused(&mut self, packet: u16) -> Option<(String, Sort)> {
        let (at, _) = self.in_flight.remove(&packet)?;
        let kind = self.kinds.get_mut(at)?;
        kind.outstanding = kind.outstanding.saturating_sub(1);
        Some((kind.topic.clone(), kind.sort))
    }

    pub fn subscribing(&mut self) {
        self.subscriptions += 1;
    }

    pub fn subscription_answered(&mut self) {
        self.subscriptions = self.subscriptions.saturating_sub(1);
    }

    /// Returns the number of subscriptions that the broker has not answered.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Returns whether each kind of message on its way has been acknowledged before.
    pub fn are_complete(&self) -> bool {
        self.subscriptions == 0 && self.kinds.iter().all(|k| k.proven || k.outstanding == 0)
    }

    pub fn unproven(&self) -> Vec<Unproven> {
        let open = self.kinds.iter().filter(|kind| !kind.proven && kind.outstanding > 0);
        let kinds = open.map(|kind| Unproven {
            part: match kind.retained {
                true => Part::Retain,
                false => Part::Topic(kind.topic.clone()),
            },
            essential: kind.sort == Sort::Record,
        });
        let subscriptions = (self.subscriptions > 0)
            .then_some(Unproven { part: Part::Subscriptions, essential: false });
        kinds.chain(subscriptions).collect()
    }
}

#[cfg(test)]
mod tests;
