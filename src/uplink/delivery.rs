//! Which rows to publish next, and which are acknowledged; touches nothing.
//!
//! The outbox table owns delivery; this holds no more than the window of one connection. A
//! connection's end forgets the window, and the next one begins again with the oldest row (I3).

use std::collections::{HashMap, VecDeque};

/// Rows published and not yet acknowledged, at most.
pub const WINDOW: usize = 32;

#[derive(Debug)]
pub struct Delivery {
    /// The highest seq handed out on this connection.
    cursor: u64,
    /// The highest seq that an earlier connection may have carried.
    repeats_upto: u64,
    /// Handed to the client and not yet numbered by it; `None` is a message of ours that is no row.
    unnumbered: VecDeque<Option<u64>>,
    in_flight: HashMap<u16, u64>,
}

impl Delivery {
    /// `sent_before`: the highest seq that an earlier run may have sent.
    pub fn new(sent_before: u64) -> Delivery {
        Delivery {
            cursor: 0,
            repeats_upto: sent_before,
            unnumbered: VecDeque::new(),
            in_flight: HashMap::new(),
        }
    }

    /// A fresh connection: everything unacknowledged is to be sent (again).
    pub fn connected(&mut self) {
        self.repeats_upto = self.repeats_upto.max(self.cursor);
        self.cursor = 0;
        self.unnumbered.clear();
        self.in_flight.clear();
    }

    fn waiting(&self) -> usize {
        self.unnumbered.iter().flatten().count() + self.in_flight.len()
    }

    /// After which seq, and how many, rows may be published now.
    pub fn wants(&self) -> Option<(u64, usize)> {
        let room = WINDOW.saturating_sub(self.waiting());
        (room > 0).then_some((self.cursor, room))
    }

    /// A row is handed to the client. True where it may be a repeat.
    pub fn publish(&mut self, seq: u64) -> bool {
        self.cursor = self.cursor.max(seq);
        self.unnumbered.push_back(Some(seq));
        seq <= self.repeats_upto
    }

    /// A row cannot be sent; the next connection tries again.
    pub fn pass_over(&mut self, seq: u64) {
        self.cursor = self.cursor.max(seq);
    }

    /// A message that is no row is handed to the client.
    pub fn publish_other(&mut self) {
        self.unnumbered.push_back(None);
    }

    /// The client gave the oldest unnumbered message this packet id and sent it.
    pub fn sent(&mut self, packet: u16) {
        if let Some(Some(seq)) = self.unnumbered.pop_front() {
            self.in_flight.insert(packet, seq);
        }
    }

    /// The broker acknowledged a packet: the row to strike off. `None` for what is no row, or was
    /// acknowledged before.
    pub fn acknowledged(&mut self, packet: u16) -> Option<u64> {
        self.in_flight.remove(&packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    enum Step {
        Commit,
        Fetch,
        Send,
        Acknowledge(usize),
        Reconnect,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Commit),
            4 => Just(Step::Fetch),
            6 => Just(Step::Send),
            6 => (0..WINDOW).prop_map(Step::Acknowledge),
            1 => Just(Step::Reconnect),
        ];
        proptest::collection::vec(step, 0..400)
    }

    proptest! {
        /// Against an outbox that is a set: no row is lost, none is struck off unacknowledged,
        /// first deliveries rise, and only repeats are marked.
        #[test]
        fn every_row_arrives_and_first_deliveries_rise(steps in steps()) {
            let mut delivery = Delivery::new(0);
            let (mut committed, mut outbox) = (0, BTreeSet::new());
            let (mut wire, mut next_packet) = (Vec::new(), 0_u16);
            let (mut queue, mut received, mut last_first) = (VecDeque::new(), BTreeSet::new(), 0);
            let steps = steps.into_iter().chain([Step::Reconnect]);
            let drain = (0..2000).flat_map(|_| [Step::Fetch, Step::Send, Step::Acknowledge(0)]);
            for step in steps.chain(drain) {
                match step {
                    Step::Commit => {
                        committed += 1;
                        outbox.insert(committed);
                    }
                    Step::Fetch => if let Some((after, limit)) = delivery.wants() {
                        for seq in outbox.range(after + 1..).take(limit) {
                            queue.push_back((*seq, delivery.publish(*seq)));
                        }
                    },
                    Step::Send => if let Some((seq, resent)) = queue.pop_front() {
                        next_packet = next_packet.wrapping_add(1).max(1);
                        delivery.sent(next_packet);
                        wire.push(next_packet);
                        if received.insert(seq) {
                            prop_assert!(seq > last_first);
                            last_first = seq;
                        } else {
                            prop_assert!(resent, "{} repeated unmarked", seq);
                        }
                    },
                    Step::Acknowledge(n) => if !wire.is_empty() {
                        let packet = wire.remove(n % wire.len());
                        let seq = delivery.acknowledged(packet).unwrap();
                        prop_assert!(received.contains(&seq));
                        prop_assert!(outbox.remove(&seq));
                        prop_assert_eq!(delivery.acknowledged(packet), None);
                    },
                    Step::Reconnect => {
                        queue.clear();
                        wire.clear();
                        delivery.connected();
                    }
                }
                prop_assert!(queue.len() + wire.len() <= WINDOW);
            }
            prop_assert!(outbox.is_empty());
            prop_assert_eq!(received.len() as u64, committed);
        }
    }
}
